"""All that is random in a run follows its seed: `random`, `secrets`, `uuid`, `os.urandom`, the order of trio's tasks.

Each module that asks has a stream of its own, so that a module which is imported late, or only in the first of two
runs, does not shift the draws of the others.
"""

from __future__ import annotations

import gc
import os
import random
import ssl
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from trio._core import _run

from simulation.world.patching import Patches

_BETWEEN: Final = frozenset({__name__, "os", "random", "secrets", "uuid", "tempfile"})
"""Modules that pass entropy on: the stream is their caller's."""

REAL_URANDOM: Final = os.urandom
_REAL_SEED: Final = random.Random.seed
_Random: Final = random.Random


class _Streams:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._by_module: dict[str, random.Random] = {}

    def of_caller(self) -> random.Random:
        frame = sys._getframe(1)
        while (module := frame.f_globals.get("__name__", "")) in _BETWEEN and frame.f_back is not None:
            frame = frame.f_back
        if module not in self._by_module:
            self._by_module[module] = _seeded(f"{self._seed}/{module}")
        return self._by_module[module]


_open: list[_Streams] = []
"""The streams of the blocks that are open; the last ones count."""


@contextmanager
def seeded_entropy(seed: int) -> Iterator[None]:
    state = random.getstate()
    with Patches() as patches:
        _open.append(_Streams(seed))
        patches.callback(_open.pop)
        patches.callback(random.setstate, state)
        random.seed(f"{seed}/random")
        patches.rebind([(REAL_URANDOM, _urandom)])
        patches.put(os, "urandom", _urandom)
        patches.put(random, "_urandom", _urandom)
        patches.put(random.Random, "seed", _seed)
        patches.put(random, "seed", random._inst.seed)
        patches.put(ssl, "RAND_bytes", _urandom)
        patches.put(uuid, "_node", _seeded(f"{seed}/node").getrandbits(48) | 1 << 40)  # a random node has this bit set
        if hasattr(os, "getrandom"):
            patches.put(os, "getrandom", lambda size, flags=0: _urandom(size))
        if "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed(_seeded(f"{seed}/numpy").getrandbits(32))
        yield


def reseed(seed: int) -> None:
    _open[-1] = _Streams(seed)
    random.seed(f"{seed}/random")


def _urandom(size: int, /) -> bytes:
    return _open[-1].of_caller().randbytes(size) if _open else REAL_URANDOM(size)


def _seed(self: random.Random, a: Any = None, version: int = 2) -> None:
    if a is None and _open:
        a = _open[-1].of_caller().getrandbits(64)
    _REAL_SEED(self, a, version)


def _seeded(text: str) -> random.Random:
    return _Random(text)


@contextmanager
def seeded_scheduler(seed: int) -> Iterator[None]:
    """Let a seed decide the order in which trio runs tasks that are ready at the same instant."""
    with Patches() as patches:
        patches.put(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        patches.put(_run, "_r", _seeded(f"{seed}/schedule"))
        yield


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep the garbage collector from running finalizers where the heap happens to be full."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
