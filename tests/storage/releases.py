"""Earlier releases, out of the history of the repository."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def unpacked(commit: str, directory: Path) -> Path:
    """Unpack the package of a commit into a directory, and return that; skip the test where there is no history."""
    argv = ["git", "-C", str(ROOT), "archive", commit, "actors"]
    try:
        done = subprocess.run(argv, capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"no git here: {error}")
    if done.returncode != 0:
        pytest.skip(f"the history does not go back to {commit}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory
