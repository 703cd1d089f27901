"""After a restart with many waiting, order and fairness are as before: on disk, and behind a provider that is slow."""

import itertools
from collections import Counter

import pytest
import trio

from actors import NotifierConfig
from actors.domain.attempts import Provider
from actors.messages import NotificationChannel, Priority, SendNotification
from actors.notifier import Notifier
from actors.outcomes import Sent
from actors.storage.sqlite.store import SqliteStore

EMAIL = NotificationChannel.EMAIL
CONFIG = {
    "channels": {
        "email": {
            "max_in_flight": 4,
            "order": {"fair_by": "tenant"},
            "circuit_breaker": {"resume_rate": "1000/s"},
            "timeout": 2e6,
        }
    },
    "drain": 0,
    "max_pending": None,
}


class Slow(Provider):
    """Takes so many seconds for each; knows who came, in order."""

    def __init__(self, latency: float) -> None:
        self.seen: list[SendNotification] = []
        self.latency = latency

    def attempt(self, attempt, now_ns):
        self.seen.append(attempt.command)

        async def deliver():
            await trio.sleep(self.latency)
            return Sent()

        return deliver


def command(number: int, priority: str, tenant: str) -> SendNotification:
    return SendNotification(
        notification_id=f"{priority}-{tenant}-{number}",
        channel=EMAIL,
        recipient="ann@example.org",
        message="Hi",
        priority=priority,
        metadata={"tenant": tenant},
    )


async def look_at_the_order(path, waiting: int) -> None:
    config = NotifierConfig.model_validate(CONFIG)
    async with SqliteStore.open(path) as store, Notifier.open(config, providers=Slow(1e6), store=store) as notifier:
        tenants = itertools.cycle(["noisy"] * 9 + ["quiet"])
        for number in range(waiting):
            await notifier.send(command(number, "bulk", next(tenants)))
        for number in range(20):
            await notifier.send(command(number, "normal", ["noisy", "noisy", "noisy", "quiet"][number % 4]))
        await notifier.send(command(0, "critical", "noisy"))
        # Left as in a crash: nothing is drained.
    provider = Slow(0.002)
    async with SqliteStore.open(path) as store, Notifier.open(config, providers=provider, store=store) as notifier:
        await notifier.send(command(1, "critical", "quiet"))
        with trio.move_on_after(100):
            await notifier.wait_until_quiet()
    ranks = [list(Priority).index(each.priority) for each in provider.seen]
    # A few of those that are first at the pace of resuming have gone before the newcomer came.
    assert ranks[:1] == [0]
    assert {each.notification_id for each in provider.seen if each.priority == "critical"} == {
        "critical-noisy-0", "critical-quiet-1"
    }  # fmt: skip
    assert max(place for place, rank in enumerate(ranks) if rank == 0) <= waiting // 2  # however late it came
    normal = [each for each in provider.seen if each.priority == "normal"]
    assert len(normal) == 20
    assert Counter(each.metadata["tenant"] for each in normal[:8])["quiet"] >= 3  # in turns, while both wait
    last_normal = max(place for place, rank in enumerate(ranks) if rank == 1)
    assert ranks[:last_normal].count(2) <= 4  # those that had found a slot before
    bulk = [each for each in provider.seen if each.priority == "bulk"][4:44]
    assert 15 <= Counter(each.metadata["tenant"] for each in bulk)["quiet"] <= 25


async def test_after_a_restart_with_two_hundred_waiting(tmp_path):
    await look_at_the_order(tmp_path / "waiting.db", 200)


@pytest.mark.slow
async def test_after_a_restart_with_ten_thousand_waiting(tmp_path):
    await look_at_the_order(tmp_path / "waiting.db", 10_000)
