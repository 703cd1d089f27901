"""An hour of overload with a full dead letter queue: nothing grows but what has a bound, and that to its bound."""

from __future__ import annotations

import gc
import itertools
import json
import logging
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
from effort import thorough

import simulation
from actors import MemoryStore, Notifier, SendNotification
from actors.instants import NS_PER_S, ns
from actors.messages import DeadLetterDiscarded, NotificationChannel, RecordedEvent

EMAILS_A_SECOND, PUSHES_A_SECOND = 30, 20
"""The mail server below takes 20 a second, and attempts that no one waits for any more take up some of these."""

GROWTH_MAX = 0.2
"""Blocks of memory for each notification: what comes and goes makes for less, in some minutes."""

PATIENCE_S = 20
"""How long a notification may take, and its id is remembered: shorter than half of the shortest run."""

FEW = 150
"""What is bounded by a number, in a short run."""

CHANNELS: dict[str, Any] = {
    "email": {
        "retry": {"max_attempts": 3, "initial_delay": "1s", "jitter": "full"},
        "circuit_breaker": {"window": {"time": "10s"}, "failure_rate": 0.9, "timeout": "5s", "resume_rate": "50/s"},
        "rate_limit": {"max_per_minute": 100},
        "timeout": "2s",
        "max_in_flight": 50,
        "provider": {"latency": {"constant": "100ms"}, "capacity": 2},
    },
    "push": {
        "retry": {"max_attempts": 2, "initial_delay": "1s", "jitter": "full"},
        "circuit_breaker": {"enabled": False},
        "provider": {"latency": {"exponential": {"mean": "100ms"}}, "failure_rate": 0.6},
    },
}


class Sample(NamedTuple):
    blocks: int
    """Blocks of memory that Python's objects take."""

    rss: int
    """Pages of memory that the process has; 0 where the system does not say."""

    letters: int
    in_flight: int
    discarded: str
    """The latest that was discarded."""


def command(number: int, channel: NotificationChannel) -> SendNotification:
    return SendNotification(
        notification_id=f"{channel}-{number}",
        channel=channel,
        recipient=f"user-{number}",  # each its own, so that what is kept of users shows
        message="It is on its way to you.",
        expires_after=float(PATIENCE_S),
    )


async def overload(notifier: Notifier, seconds: int, numbers: itertools.count[int]) -> None:
    """Send more than can be delivered."""
    for _ in range(seconds):
        for channel, count in (
            (NotificationChannel.EMAIL, EMAILS_A_SECOND),
            (NotificationChannel.PUSH, PUSHES_A_SECOND),
        ):
            for number in itertools.islice(numbers, count):
                await notifier.send(command(number, channel))
        await trio.sleep(1.0)


def resident_pages() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) if statm.exists() else 0


async def samples(quarter: int, at_most: int) -> list[Sample]:
    """Return what there is at the end of each of four quarters of an overload, so many seconds long each."""
    discarded: deque[DeadLetterDiscarded] = deque(maxlen=1)
    """The latest."""
    settings = {
        "channels": CHANNELS,
        "dead_letters": {"keep": "30d", "at_most": at_most},
        "remember_ids": f"{PATIENCE_S}s",
        "drain": 0,
    }
    store = MemoryStore(remember_ids_ns=ns(PATIENCE_S))
    taken = []
    async with Notifier.open(settings, store=store, notify=lambda text: None, seed=1) as notifier:
        notifier.bus.subscribe(DeadLetterDiscarded)(discarded.append)
        numbers = itertools.count()
        for _ in range(4):
            await overload(notifier, quarter, numbers)
            gc.collect()
            taken.append(
                Sample(
                    sys.getallocatedblocks(),
                    resident_pages(),
                    len(notifier.dead_letter_queue),
                    notifier.in_flight,
                    discarded[0].notification_id,
                )
            )
    return taken


@pytest.fixture
def lower_bounds(monkeypatch):
    """What is bounded by a number comes to it in a short run, too."""
    for bound in (
        "actors.notifier.SENT_KEPT",
        "actors.storage.memory.AUDIT_KEPT",
        "simulation.results.recorder.DEAD_LETTERS_KEPT",
    ):
        monkeypatch.setattr(bound, FEW)


@pytest.fixture
def silence():
    """Nothing is logged: pytest would keep every line."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def growth(blocks: list[int], quarter: int) -> float:
    """Return by how many blocks of memory each notification of the second half has made it grow.

    The first half is for coming to all bounds. What is not bounded is at least a block for each.
    """
    return (blocks[3] - blocks[1]) / (2 * quarter * (EMAILS_A_SECOND + PUSHES_A_SECOND))


def check_flat(taken: list[Sample], quarter: int, at_most: int) -> None:
    assert all(sample.letters == at_most for sample in taken)
    assert len({sample.discarded for sample in taken}) == len(taken)
    assert all(sample.in_flight < PATIENCE_S * (EMAILS_A_SECOND + PUSHES_A_SECOND) for sample in taken)
    assert growth([sample.blocks for sample in taken], quarter) < GROWTH_MAX
    assert taken[3].rss <= 1.05 * taken[1].rss


@pytest.mark.thorough
@pytest.mark.usefixtures("silence")
async def test_a_few_minutes_of_overload_leave_memory_as_it_was(lower_bounds, autojump_clock):
    check_flat(await samples(quarter=80, at_most=FEW), quarter=80, at_most=FEW)


def simulated_samples(quarter: int, at_most: int, tmp_path: Path) -> tuple[list[int], dict[str, Any]]:
    """Return the blocks of memory at the end of each quarter of the same overload simulated, and its summary."""
    path = tmp_path / "overload.yaml"
    document = {
        "name": "overload",
        "duration": f"{4 * quarter}s",
        "workload": [
            {"channel": "email", "arrivals": {"poisson": f"{EMAILS_A_SECOND}/s"}, "expires_after": f"{PATIENCE_S}s"},
            {"channel": "push", "arrivals": {"poisson": f"{PUSHES_A_SECOND}/s"}, "expires_after": f"{PATIENCE_S}s"},
        ],
        "channels": CHANNELS,
        "dead_letters": {"keep": "30d", "at_most": at_most},
        "remember_ids": f"{PATIENCE_S}s",
        "record": "aggregates",
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    taken: list[int] = []

    def look(chunk: Sequence[RecordedEvent]) -> None:
        # When a chunk is full, so that there is as much of the history in memory each time.
        if chunk[-1].at_ns >= ((len(taken) + 1) * quarter - 5) * NS_PER_S:
            gc.collect()
            taken.append(sys.getallocatedblocks())

    summary = simulation.run(path, on_events=look).summary
    return taken[:4], summary


@pytest.mark.parametrize(
    ("quarter", "at_most"),
    [thorough((20, FEW)), pytest.param(900, 10_000, marks=pytest.mark.slow)],
    ids=["minutes", "an hour"],
)
def test_simulated_it_leaves_memory_as_it_was_too(quarter, at_most, tmp_path, lower_bounds):
    blocks, summary = simulated_samples(quarter, at_most, tmp_path)
    assert summary["dlq"]["final"] == at_most
    assert summary["dead_lettered"] > 4 * at_most
    assert growth(blocks, quarter) < GROWTH_MAX


@pytest.mark.thorough
def test_with_room_for_all_of_them_it_grows(tmp_path, lower_bounds):
    blocks, _ = simulated_samples(30, 10**6, tmp_path)
    assert growth(blocks, 30) > 1


@pytest.mark.slow
@pytest.mark.usefixtures("silence")
async def test_an_hour_of_overload_leaves_memory_as_it_was(autojump_clock):
    taken = await samples(quarter=900, at_most=10_000)
    print(*taken, sep="\n")
    check_flat(taken, quarter=900, at_most=10_000)
