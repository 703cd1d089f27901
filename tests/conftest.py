"""What all tests share: how Hypothesis looks for examples, and which tests start processes.

The same examples in every run, so that a run says something about the change at hand, and a part of them, as `effort`
says. To look for new ones: ``RETRYLAB_EXPLORE=1 python -m pytest``.

A test that starts a process (a command, a worker, a browser, PostgreSQL, a notebook) has the mark `integration`. One
that does so without it fails under ``-m 'not slow and not integration'``, so that this stays quick.
"""

import gc
import multiprocessing.process
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from _pytest.assertion import rewrite
from effort import examples
from hypothesis import HealthCheck, settings
from undrawn import undrawn

# Two cores, often busy with something else: how long one example takes says nothing.
settings.register_profile(
    "retrylab",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=examples(60),
    derandomize="RETRYLAB_EXPLORE" not in os.environ,
)
settings.load_profile("retrylab")

# What was computed for several tests stays for the whole run; to look through it again and again was a quarter of the
# time of some folders.
gc.set_threshold(100_000, 20, 20)
gc.disable()  # until all is collected

# No test asks a server whose certificate the authorities of this machine have signed: to read them took 5 ms of each
# service and each transport. The one here has signed nothing, and its key is thrown away.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("support") / "no_authority.pem")

# Each of some 200 processes that tests start would compile the modules that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


WHOLE = "RETRYLAB_WHOLE_RUN"


def pytest_configure(config: pytest.Config) -> None:
    """Have each worker of a whole run compile its part of the tests first; else each compiles all: 12 s of CPU."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
            os.environ[WHOLE] = "1"
    elif WHOLE in os.environ:
        tests = sorted(Path(__file__).parent.rglob("test_*.py"))
        for path in tests[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
            _compile(path, config)


def _compile(path: Path, config: pytest.Config) -> None:
    """Write what pytest reads in place of a test file, as it does itself when it imports one."""
    folder = rewrite.get_cache_dir(path)
    compiled = folder / f"{path.stem}{rewrite.PYC_TAIL}"
    if rewrite._read_pyc(path, compiled) is None and rewrite.try_makedirs(folder):
        stamp, code = rewrite._rewrite_test(path, config)
        rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, stamp, compiled)


def pytest_xdist_auto_num_workers() -> int:
    """Return what ``-n auto`` means: one more than cores, since tests of stores wait for leases and locks."""
    return (os.cpu_count() or 1) + 1


# A shell starts what it puts in the background with Ctrl-C ignored, and all that the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]
"""Runs pytest in a test, for those of the plugin."""

collect_ignore_glob = ["*.yaml"]
"""Scenarios in tests/ are data of tests, and wrong on purpose; `pytest scenarios/` is for those that are tests."""


@pytest.fixture(name="undrawn")
def _undrawn() -> Iterator[None]:
    """Save results without their pictures."""
    with undrawn():
        yield


# ── what starts processes ───────────────────────────────────────────────────────────────────────────────────────────

FIXTURES_OF_INTEGRATION = {"postgres_server"}
"""Fixtures that start a process, once for several tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a fixture that starts a process. What is thorough is slow; what is slow by itself is a soak."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.own_markers[:] = [mark for mark in item.own_markers if mark.name != "thorough"]
        elif item.get_closest_marker("thorough"):
            item.add_marker("slow")
        if FIXTURES_OF_INTEGRATION.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("integration")


def pytest_collection_finish() -> None:
    """Keep the garbage collector away from what was imported and collected: it stays until the end."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Have a test that is not marked fail when it starts a process, where those that are marked are left out.

    Only where tests run one after the other, as tests/check.py has them.
    """
    if "not integration" not in item.config.option.markexpr or hasattr(item.config, "workerinput"):
        return (yield)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(subprocess.Popen, "__init__", _refuse)
        patched.setattr(multiprocessing.process.BaseProcess, "start", _refuse)
        return (yield)


def _refuse(*_: object, **__: object) -> NoReturn:
    pytest.fail("it starts a process: mark it `integration`")
