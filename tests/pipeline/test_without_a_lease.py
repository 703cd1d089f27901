"""What a notifier does while the lease of its store is over: it starts no attempt, and goes on by itself."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
import trio
from worlds import Scripted, Sleeping

from actors import Notifier, SendNotification
from actors.domain.attempts import Provider
from actors.domain.store import LeaseRenewed
from actors.messages import NotificationChannel, NotificationFailed
from actors.outcomes import Transient
from actors.storage.memory import MemoryStore


class Leased(MemoryStore):
    """A store with a lease that the test ends and renews."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[bool] = []
        """What is answered first, whether it holds or not."""
        self.is_held = True
        self.lease_holds = self._holds

    def _holds(self) -> bool:
        return self.answers.pop(0) if self.answers else self.is_held

    def lose(self) -> None:
        self.is_held = False

    def renew(self) -> None:
        self.is_held = True
        assert self.on_news is not None
        self.on_news(LeaseRenewed())


def command(notification_id: str, **fields: Any) -> SendNotification:
    given = {"channel": NotificationChannel.EMAIL, "recipient": "ann@example.org", "message": "Hello"}
    return SendNotification(notification_id=notification_id, **{**given, **fields})


RETRY = {"backoff": "constant", "initial_delay": "10s", "jitter": "none", "max_attempts": 3}
PLAIN: dict[str, Any] = {"channels": {"email": {"retry": RETRY}}}
HEDGED = {"channels": {"email": {"retry": RETRY, "hedging": {"delay": "1s", "max_attempts": 2}}}}
ONE_SLOT = {"channels": {"email": {"retry": RETRY, "max_in_flight": 1}}}
LIMITED = {"channels": {"email": {"retry": RETRY, "rate_limit": {"max_per_minute": 1}}}}


async def running(
    config: dict[str, Any], receiver: Provider, store: Leased, body: Callable[[Notifier], Awaitable[None]]
) -> list[Any]:
    """Run a notifier over a store; return its failures."""
    failures: list[Any] = []
    async with Notifier.open(config, providers=receiver, store=store) as notifier:
        notifier.bus.subscribe(NotificationFailed)(failures.append)
        await body(notifier)
        with trio.fail_after(10_000):
            assert await notifier.wait_until_quiet()
    return failures


async def send_all(notifier: Notifier, ids: Iterable[str], **fields: Any) -> None:
    for each in ids:
        await notifier.send(command(each, **fields))


@pytest.mark.parametrize("is_real", [True, False])
@pytest.mark.parametrize("config", [PLAIN, HEDGED, ONE_SLOT, LIMITED])
async def test_nothing_starts_on_a_lease_that_is_over_and_all_goes_on_when_it_is_renewed(
    config, is_real, autojump_clock
):
    sends = 2 if config is HEDGED else 1  # of an attempt that fails
    store, receiver = Leased(), (Sleeping if is_real else Scripted)(outcomes=[Transient(reason="busy")] * sends)

    async def body(notifier: Notifier) -> None:
        await notifier.send(command("a", user_id="a"))
        await trio.sleep(1)
        store.lose()  # before the retry is due, and others come
        for each in ("b", "c"):
            await notifier.send(command(each, user_id=each))
        await trio.sleep(3600)
        assert receiver.ids == ["a"] * sends
        assert notifier.in_flight == 3
        store.renew()

    begun_at = trio.current_time()
    failures = await running(config, receiver, store, body)
    assert sorted(receiver.ids[sends:]) == ["a", "b", "c"]
    assert [event.reason for event in failures] == ["busy"]  # to wait for a lease is no failure
    assert trio.current_time() - begun_at >= 3600


@pytest.mark.parametrize("answers", [(True, False), (True, True, False)], ids=["at the channel", "as it begins"])
@pytest.mark.parametrize("config", [PLAIN, HEDGED, ONE_SLOT])
async def test_the_lease_is_looked_at_again_right_before_an_attempt(config, answers, autojump_clock):
    """It was admitted, and the process was stopped before the attempt began; nothing is charged for that."""
    store, receiver = Leased(), Sleeping()

    async def body(notifier: Notifier) -> None:
        store.answers, store.is_held = list(answers), False
        await notifier.send(command("a"))
        await trio.sleep(3600)
        (lane,) = notifier.pipeline.wiring.stages[NotificationChannel.EMAIL].lanes
        assert (receiver.ids, lane.in_flight, store.answers) == ([], 0, [])
        store.renew()

    failures = await running(config, receiver, store, body)
    assert (receiver.ids, failures) == (["a"], [])


async def test_a_probe_that_is_not_made_leaves_the_breaker_half_open_for_another(autojump_clock):
    breaker = {"failure_threshold": 1, "timeout": "30s", "half_open_max": 1}
    config = {"channels": {"email": {"retry": RETRY, "circuit_breaker": breaker}}}
    store, receiver = Leased(), Sleeping(outcomes=[Transient(reason="busy")])

    async def body(notifier: Notifier) -> None:
        await send_all(notifier, ["a"])
        await trio.sleep(5)
        await send_all(notifier, ["b", "c"])  # which wait for the breaker
        store.lose()
        await trio.sleep(3600)
        assert receiver.ids == ["a"]
        store.renew()

    await running(config, receiver, store, body)
    assert sorted(receiver.ids) == ["a", "a", "b", "c"]


async def test_what_expires_or_is_unwanted_while_it_waits_for_the_lease_is_not_sent(autojump_clock):
    store, receiver = Leased(), Sleeping()

    async def body(notifier: Notifier) -> None:
        store.lose()
        await send_all(notifier, ["expires"], expires_after=60)
        await send_all(notifier, ["stays"])
        await trio.sleep(3600)
        store.renew()

    async with Notifier.open(PLAIN, providers=receiver, store=store) as notifier:
        await body(notifier)
        await notifier.wait_until_quiet()
        assert [letter.failure_reason for letter in notifier.dead_letter_queue] == ["expired"]
    assert receiver.ids == ["stays"]


async def test_no_more_copies_are_sent_on_a_lease_that_is_over_and_the_first_answer_counts(autojump_clock):
    store, receiver = Leased(), Sleeping(5)

    async def body(notifier: Notifier) -> None:
        await send_all(notifier, ["a"])
        await trio.sleep(0.5)
        store.lose()
        await trio.sleep(60)
        assert notifier.in_flight == 0

    assert await running(HEDGED, receiver, store, body) == []
    assert receiver.ids == ["a"]


async def test_a_stage_that_crashes_while_the_lease_is_over_strands_nothing(autojump_clock):
    store, receiver = Leased(), Sleeping(2)

    async def body(notifier: Notifier) -> None:
        await send_all(notifier, ["a"])
        await trio.sleep(1)
        store.lose()
        ref = notifier.pipeline.wiring.stages[NotificationChannel.EMAIL].circuit_breaker
        assert ref is not None
        notifier.system.crash(ref, RuntimeError("planted"))
        await trio.sleep(3600)
        store.renew()

    await running(PLAIN, receiver, store, body)
    assert receiver.ids == ["a", "a"]  # it was at the provider: it is sent again, as after any crash
