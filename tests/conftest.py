"""What all tests share: how Hypothesis looks for examples.

The same ones in every run, so that a run says something about the change at hand. To look for new ones:
``RETRYLAB_EXPLORE=1 python -m pytest``.
"""

import os
import signal

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
