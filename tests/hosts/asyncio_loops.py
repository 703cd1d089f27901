"""Loops of asyncio to run a test in: Python's own, and uvloop's."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

RunIn = Callable[[Coroutine[Any, Any, T]], T]


def _uvloop() -> asyncio.AbstractEventLoop:
    return pytest.importorskip("uvloop").new_event_loop()


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": _uvloop}


def run_in(loop: str, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new loop of this kind, as a program does."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(main)
