"""An hour of overload with a full dead letter queue: nothing grows but what has a bound, and that to its bound."""

from __future__ import annotations

import gc
import itertools
import logging
import sys
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from actors import MemoryStore, Notifier, SendNotification
from actors.instants import ns
from actors.messages import DeadLetterDiscarded, NotificationChannel

EMAILS_A_SECOND, PUSHES_A_SECOND = 30, 20
"""The mail server below takes 20 a second, and attempts that nobody waits for any more take up some of these."""

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
    """What there is at an instant."""

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
        expires_after=60.0,
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
        "remember_ids": "1m",
        "drain": 0,
    }
    store = MemoryStore(remember_ids_ns=ns(60.0))
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
def silence():
    """Nothing is logged: pytest would keep every line."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def check_flat(taken: list[Sample], at_most: int, share: float) -> None:
    assert all(sample.letters == at_most for sample in taken)
    assert len({sample.discarded for sample in taken}) == len(taken)
    assert all(sample.in_flight < 60 * (EMAILS_A_SECOND + PUSHES_A_SECOND) for sample in taken)
    first = taken[0]
    for sample in taken[1:]:
        assert abs(sample.blocks - first.blocks) < share * first.blocks
        assert sample.rss <= (1 + share) * first.rss


@pytest.mark.usefixtures("silence")
async def test_a_few_minutes_of_overload_leave_memory_as_it_was(monkeypatch, autojump_clock):
    for module in ("notifier.SENT_KEPT", "storage.memory.AUDIT_KEPT"):
        monkeypatch.setattr(f"actors.{module}", 500)  # so that even a short run comes to the bounds
    check_flat(await samples(quarter=120, at_most=500), at_most=500, share=0.05)


@pytest.mark.slow
@pytest.mark.usefixtures("silence")
async def test_an_hour_of_overload_leaves_memory_as_it_was(autojump_clock):
    taken = await samples(quarter=900, at_most=10_000)
    print(*taken, sep="\n")
    check_flat(taken, at_most=10_000, share=0.05)
