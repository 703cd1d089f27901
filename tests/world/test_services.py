"""Services in the manner of public examples, in `services/`: what comes of them is the same in every process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SERVICES = Path(__file__).with_name("services")
DURATION = "10m"


def digests(hash_seed):
    """Return what came of each service in a process of its own."""
    done = subprocess.run(
        [sys.executable, "digests.py", DURATION],
        cwd=SERVICES,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.integration
def test_ten_minutes_have_one_digest_with_all_hash_seeds():
    first = digests(1)
    assert [each["name"] for each in first] == ["invoices", "prices", "proxy"]
    assert all(each["attempts"] > each["offered"] > each["sent"] for each in first)
    assert [each["findings"] for each in first] == [[], [], []]
    assert digests(2) == first
