"""Services in the manner of public examples, in `services/`: what comes of them is the same in every process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SERVICES = Path(__file__).with_name("services")
DIGEST = "5c82f4c46eb1e64204e3fef96a7114d38be38b1244ff46a17a96bcded13520e3"
"""Of `prices` in 25 s, as Python 3.11 and 3.13 had it."""


def digests(hash_seed, *options):
    """Return what came of services in a process of its own."""
    done = subprocess.run(
        [sys.executable, "digests.py", *options],
        cwd=SERVICES,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.integration
def test_each_process_and_version_has_the_digest_that_others_had():
    (prices,) = digests(2, "25s", "prices")
    assert prices["digest"] == DIGEST


@pytest.mark.slow
@pytest.mark.integration
def test_ten_minutes_have_one_digest_with_all_hash_seeds():
    first = digests(1, "10m")
    assert [each["name"] for each in first] == ["invoices", "prices", "proxy"]
    assert all(each["attempts"] > each["offered"] > each["sent"] for each in first)
    assert [each["findings"] for each in first] == [[], [], []]
    assert digests(2, "10m") == first
