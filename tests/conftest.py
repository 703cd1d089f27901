"""What all tests share: how Hypothesis looks for examples, and which tests start processes.

The same examples in every run, so that a run says something about the change at hand. To look for new ones:
``RETRYLAB_EXPLORE=1 python -m pytest``.

A test that starts a process (a command, a worker, a browser, PostgreSQL, a notebook) has the mark `integration`. One
that does so without it fails, so that ``-m 'not slow and not integration'`` stays quick.
"""

import gc
import multiprocessing.process
import os
import signal
import subprocess
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# Two cores, often busy with something else: how long one example takes says nothing.
settings.register_profile(
    "retrylab",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=60,
    derandomize="RETRYLAB_EXPLORE" not in os.environ,
)
settings.load_profile("retrylab")

# A shell starts what it puts in the background with Ctrl-C ignored, and all whom the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]
"""Runs pytest in a test, for those of the plugin."""

collect_ignore_glob = ["*.yaml"]
"""Scenarios in tests/ are data of tests, and wrong on purpose; `pytest scenarios/` is for those that are tests."""


# ── what starts processes ───────────────────────────────────────────────────────────────────────────────────────────

FIXTURES_OF_INTEGRATION = {"postgres_server"}
"""Fixtures that start a process, once for several tests."""

_now: list[pytest.Item] = []
"""The test that runs; one of pytester's runs inside another."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a fixture that starts a process."""
    for item in items:
        if FIXTURES_OF_INTEGRATION.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("integration")


def pytest_collection_finish() -> None:
    """Keep the collector of garbage from what was imported and collected: it stays until the end."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Remember which test runs."""
    _now.append(item)
    try:
        return (yield)
    finally:
        _now.pop()


def _marked(start):
    """Have a function that starts a process refuse to do so in a test that is not marked."""

    def start_if_marked(*args, **kwargs):
        if _now and not any(_now[0].get_closest_marker(mark) for mark in ("integration", "slow")):
            pytest.fail(f"{_now[0].nodeid} starts a process: mark it `integration`")
        return start(*args, **kwargs)

    return start_if_marked


subprocess.Popen.__init__ = _marked(subprocess.Popen.__init__)
multiprocessing.process.BaseProcess.start = _marked(multiprocessing.process.BaseProcess.start)
