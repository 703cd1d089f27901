"""Three hosts on a virtual clock, for one program: a plain thread, trio and asyncio.

A program is an ``async def`` of its host. In the thread nothing that it awaits ever waits: functions are plain, and a
sleep is a step of the clock.
"""

from __future__ import annotations

import asyncio
import selectors
import types
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from actors.standalone import host as product

HOSTS = ("thread", "trio", "asyncio")


class VirtualSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Steps the clock of its loop instead of waiting."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "nothing would ever happen"
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop of asyncio's on a virtual clock."""

    def __init__(self) -> None:
        self._virtual = VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


class VirtualTime:
    """What the thread sees of the module `time`."""

    def __init__(self) -> None:
        self.now_ns = 5_000_000_000

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


class PolicyHost:
    def __init__(self, name: str, virtual: VirtualTime) -> None:
        self.name = name
        self._virtual = virtual

    @property
    def is_async(self) -> bool:
        return self.name != "thread"

    def now(self) -> float:
        """Return the seconds on its clock, to the microsecond."""
        match self.name:
            case "thread":
                return round(self._virtual.now_ns / 1e9, 6)
            case "trio":
                return round(trio.current_time(), 6)
            case _:
                return round(asyncio.get_running_loop().time(), 6)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        match self.name:
            case "thread":
                self._virtual.sleep(seconds)
            case "trio":
                await trio.sleep(seconds)
            case _:
                await asyncio.sleep(seconds)

    def function(self, body: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        """Return a function of this host that does what `body` does: itself, or one that is plain."""
        if self.is_async:
            return body
        return lambda *args, **kwargs: _at_once(body(*args, **kwargs))

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return await result if self.is_async else result

    def run(self, program: Callable[[PolicyHost], Awaitable[Any]]) -> Any:
        """Run a program from its beginning to its end."""
        match self.name:
            case "thread":
                return _at_once(program(self))
            case "trio":
                return trio.run(program, self, clock=trio.testing.MockClock(autojump_threshold=0))
            case _:
                with asyncio.Runner(loop_factory=VirtualLoop) as runner:
                    return runner.run(program(self))  # type: ignore[arg-type]


def _at_once(awaitable: Awaitable[Any]) -> Any:
    try:
        awaitable.send(None)  # type: ignore[attr-defined]
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits, in a thread")


def made_host(name: str, monkeypatch: pytest.MonkeyPatch) -> PolicyHost:
    """Return a host; the policies see its clock in place of the real one."""
    virtual = VirtualTime()
    monkeypatch.setattr(product, "time", types.SimpleNamespace(monotonic_ns=virtual.monotonic_ns, sleep=virtual.sleep))
    monkeypatch.setattr(product.ThreadHost, "now_ns", virtual.monotonic_ns)
    return PolicyHost(name, virtual)
