"""A service with a store on disk, restarted in an outage while thousands wait: they go at a pace, and all arrive."""

from collections import Counter
from pathlib import Path

import pytest
import trio
from effort import sliced
from trio.testing import MockClock

from actors import Foreseen, Notifier, SendNotification, Sent, SqliteStore, Transient
from actors.domain.attempts import Attempt, Provider
from actors.messages import NotificationChannel

WAITING = 800
S = 1_000_000_000
CHANNELS = {"push": {"retry": {"max_attempts": 3}, "circuit_breaker": {"failure_threshold": 5, "timeout": "60s"}}}


class Receiver(Provider):
    """Is down, or takes everything."""

    def __init__(self, is_down: bool) -> None:
        self.is_down = is_down
        self.asked_ns: list[int] = []

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        self.asked_ns.append(now_ns)
        return Foreseen(0, Transient(reason="down") if self.is_down else Sent())


def command(number: int) -> SendNotification:
    return SendNotification(
        notification_id=str(number), channel=NotificationChannel.PUSH, recipient="device", message="Hello"
    )


class Killed(Exception):
    """Ends a process without a drain."""


@pytest.mark.parametrize("restarts", sliced([0, 3], 4))
def test_a_restart_in_an_outage_does_not_send_all_that_waits_at_once(tmp_path: Path, restarts: int) -> None:
    path = tmp_path / "notifications.sqlite"

    async def process(receiver: Receiver, new: int, lasts: float) -> int:
        """Run one process, which is killed after a while if the receiver is down; return how many are dead letters."""
        config = {"channels": CHANNELS}
        async with SqliteStore.open(path) as store, Notifier.open(config, providers=receiver, store=store) as notifier:
            for number in range(min(new, 5)):  # which open the breaker
                await notifier.send(command(number))
            for answer in [notifier.send(command(number)) for number in range(5, new)]:
                await answer
            if receiver.is_down:
                await trio.sleep(lasts)
                raise Killed
            await notifier.wait_until_quiet()
            return len(notifier.dead_letter_queue)

    async def live() -> list[Receiver]:
        receivers = [*(Receiver(is_down=True) for _ in range(restarts + 1)), Receiver(is_down=False)]
        with pytest.raises(Killed):
            await process(receivers[0], WAITING, lasts=0)
        clock.autojump_threshold = 0  # not before: what is at the disk would take minutes
        for receiver in receivers[1:-1]:
            with pytest.raises(Killed):
                await process(receiver, 0, lasts=20)
        assert await process(receivers[-1], 0, lasts=0) == 0
        return receivers

    clock = MockClock()
    first, *while_down, back = trio.run(live, clock=clock)
    assert len(first.asked_ns) == 5
    assert len(while_down) == restarts
    assert all(5 <= len(receiver.asked_ns) <= 12 for receiver in while_down)
    in_second = Counter((at_ns - back.asked_ns[0]) // S for at_ns in back.asked_ns)
    assert sum(in_second.values()) == WAITING
    assert in_second[0] <= 11 + 5 * (restarts + 1)  # the retries of those that failed have a time of their own
    assert max(in_second.values()) <= 100
