"""Packages of npm that judge what a transport writes: installed for a test, which is skipped where they cannot be."""

import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL_PATIENCE_S = 120


def node_with(package: str, folder: Path) -> str:
    """Install a package, such as ``mailparser@3.14.2``, without running its scripts; return node's path."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip(f"needs node and npm, to install the package {package}")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), package]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_PATIENCE_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the package {package} cannot be installed: {error}")
    return node
