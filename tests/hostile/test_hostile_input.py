"""Inputs of strangers of each kind that has a `kind_NAME.py`, and whether the harness finds what breaks a bound."""

import ctypes
import os
from contextlib import suppress
from random import Random

import pytest
import trio
from bounds import Bounds, Kind, hold, load, names

LONG = int(os.environ.get("RETRYLAB_HOSTILE", "3000"))
"""Inputs of each kind in the slow run."""


@pytest.mark.parametrize("name", names())
def test_no_input_keeps_the_loop_takes_the_memory_or_ends_the_process(name: str):
    kind = load(name)
    hold(kind, kind.short)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_none_of_very_many_inputs_does(name: str):
    kind = load(name)
    inputs = min(kind.long, LONG)
    worst = hold(kind, inputs, first=1_000_000)
    print(f"{name}: {inputs} inputs; steps and seed {worst.steps}, bytes and seed {worst.memory}")


# ── the harness itself ──────────────────────────────────────────────────────────────────────────────────────────────

SMALL = Bounds(steps=20_000, cpu_s=0.2, memory=10**6)


def draw(random: Random) -> int:
    return random.randrange(10**9)


def kind(bad, good=lambda: None, **more) -> Kind:
    """Return a kind whose input of seed 7 does `bad`, and any other `good`."""
    wanted = Kind("tried", draw).input(7)
    return Kind("tried", draw, lambda given: bad() if given == wanted else good(), **more)


def loop() -> None:
    for _ in range(30_000):
        pass


def swallow() -> None:
    with suppress(BaseException):
        loop()


async def loop_in_pieces() -> None:
    for _ in range(3):
        for _ in range(5_000):
            pass
        await trio.lowlevel.checkpoint()


async def loop_in_a_task() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.lowlevel.checkpoint)
        nursery.start_soon(trio.to_thread.run_sync, loop)  # no work of the loop
        await trio.lowlevel.checkpoint()
        loop()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        pytest.param(loop, "more than 20,000 steps in one piece of work", id="steps"),
        pytest.param(swallow, "more than 20,000 steps in one piece of work", id="steps-swallowed"),
        pytest.param(loop_in_a_task, "more than 20,000 steps in one piece of work", id="steps-of-a-task"),
        pytest.param(lambda: sum(range(10**9)), "killed by SIGVTALRM", id="a-long-c-function"),
        pytest.param(lambda: len(b"x" * 2 * 10**6), "bytes, of at most 1,000,000", id="memory"),
        pytest.param(lambda: bytes(10**11), "MemoryError", id="memory-of-the-machine"),
        pytest.param(lambda: ctypes.string_at(0), "killed by SIGSEGV", id="signal"),
        pytest.param(lambda: os._exit(3), "exit code 3", id="exit"),
        pytest.param(lambda: {}["lost"], "KeyError: 'lost'", id="exception"),
    ],
)
def test_the_harness_names_the_seed_of_what_breaks_a_bound(bad, said: str):
    with pytest.raises(AssertionError) as failed:
        hold(kind(bad), 20, bounds=SMALL)
    text = str(failed.value)
    assert text.startswith("tried, seed 7: ")
    assert said in text
    assert f"input: {kind(bad).input(7)}\nagain: python tests/hostile/bounds.py tried 7" in text


def test_the_harness_lets_go_what_keeps_within_the_bounds():
    worst = hold(kind(lambda: {}["lost"], loop_in_pieces, refuses=(KeyError,)), 20, bounds=SMALL)
    assert 5_000 < worst.steps[0] < 15_000
