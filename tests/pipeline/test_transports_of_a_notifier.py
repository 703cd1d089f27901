"""Real transports: what their answers and errors mean, what they are given, and how many run at once."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
import trio
from timetables import send_at
from worlds import Scripted, Transport, World, email, on_both_clocks

from actors import Foreseen, NotificationService, Notifier, SqliteStore
from actors.domain.attempts import Attempt, Provider
from actors.domain.codec import decode_event, encode_event
from actors.errors import (
    PermanentError,
    TransientError,
)
from actors.faults.chaos import FaultyProvider
from actors.instants import NS_PER_S
from actors.messages import ActorFailed, NotificationFailed, NotificationSent
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient


async def outcomes_of(deliver: Callable[[Attempt], Awaitable[Any]], **settings: Any) -> tuple[Notifier, list[Any]]:
    """Send one email over a transport, and return the notifier and what was recorded."""
    received: list[Any] = []
    config = {"channels": {"email": {"circuit_breaker": {"enabled": False}, "timeout": "10s", **settings}}}
    async with Notifier.open(config, providers=Transport(deliver), notify=received.append) as notifier:
        notifier.bus.subscribe(NotificationFailed, NotificationSent, ActorFailed)(received.append)
        await notifier.send(email("a"))
        await notifier.wait_until_quiet(timeout=1000)
    return notifier, received


async def test_a_transport_gets_the_attempt_and_its_result_counts(autojump_clock):
    seen = []

    async def deliver(attempt: Attempt) -> Outcome:
        await trio.sleep(0.5)
        seen.append((attempt.command.notification_id, attempt.number))
        return Sent(answer="250 OK") if attempt.number == 2 else Transient(reason="busy", answer="451")

    notifier, _ = await outcomes_of(deliver)
    assert seen == [("a", 1), ("a", 2)]
    (sent,) = notifier.sent_notifications
    assert (sent.attempt, (sent.at_ns - sent.started_ns) / 1e9) == (2, pytest.approx(0.5))


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (TransientError("busy", 7.0), "Transient", "busy"),
        (PermanentError("no such mailbox"), "Permanent", "no such mailbox"),
        (OSError(101, "Network is unreachable"), "Ambiguous", "OSError: [Errno 101] Network is unreachable"),
        (trio.BrokenResourceError("reset"), "Ambiguous", "BrokenResourceError: reset"),
        (KeyError("a bug"), "Ambiguous", "KeyError: 'a bug'"),
    ],
)
async def test_what_a_transport_raises_becomes_an_outcome(autojump_clock, error, kind, reason):
    async def deliver(attempt: Attempt) -> Outcome:
        await trio.sleep(0.1)
        if attempt.number == 1:
            raise error
        return Sent()

    notifier, received = await outcomes_of(deliver)
    failed = next(event for event in received if isinstance(event, NotificationFailed))
    assert (failed.kind, failed.reason) == (kind, reason)
    if kind == "Permanent":
        assert [letter.failure_reason for letter in notifier.dead_letter_queue] == [reason]
    else:
        assert [event.attempt for event in notifier.sent_notifications] == [2]
    if kind == "Transient":
        assert (failed.next_retry_at_ns - failed.at_ns) / 1e9 == 7.0
    assert not [event for event in received if isinstance(event, ActorFailed)]


class Down(TransientError):
    """Does not call the `__init__` of its base."""

    def __init__(self, status: int) -> None:
        self.status = status


class Speechless(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise ValueError


class Queued(Sent):
    """A success with a class of its own."""


@pytest.mark.parametrize(
    ("end", "kind", "reason"),
    [
        (TransientError(503), "Transient", "503"),  # type: ignore[arg-type]
        (PermanentError(OSError("gone")), "Permanent", "OSError: gone"),  # type: ignore[arg-type]
        (PermanentError(None), "Permanent", "PermanentError"),  # type: ignore[arg-type]
        (Down(503), "Transient", "Down"),
        (TimeoutError(), "Ambiguous", "TimeoutError"),
        (Speechless(), "Ambiguous", "Speechless, which cannot be shown"),
        (Permanent(reason=None, answer=404), "Permanent", "permanent failure"),  # type: ignore[arg-type]
        (Transient(reason=429, throttled=1, answer=b"no"), "Transient", "429"),  # type: ignore[arg-type]
        (Queued(reason=None), "Sent", None),  # type: ignore[arg-type]
    ],
    ids=repr,
)
async def test_what_is_not_as_it_should_be_about_an_end_of_an_attempt_does_not_change_its_kind(
    tmp_path, end, kind, reason
):
    """And it can be read again from a disk: what could not would shut the store for good."""

    async def deliver(attempt: Attempt) -> Any:
        if isinstance(end, Exception):
            raise end
        return end

    received: list[Any] = []
    config = {"channels": {"email": {"retry": {"max_attempts": 1}}}}
    async with (
        SqliteStore.open(tmp_path / "store.db") as store,
        Notifier.open(config, providers=Transport(deliver), store=store, on_event=received.append) as notifier,
    ):
        await notifier.send(email("a"))
    assert not [event for event in received if isinstance(event, ActorFailed)]
    failed = [(event.kind, event.reason) for event in received if isinstance(event, NotificationFailed)]
    assert failed == ([] if kind == "Sent" else [(kind, reason)])
    assert [sent.notification_id for sent in notifier.sent_notifications] == (["a"] if kind == "Sent" else [])
    async with SqliteStore.open(tmp_path / "store.db") as store:
        assert [letter.failure_reason for letter in store.dead_letters()] == ([] if kind == "Sent" else [reason])


@pytest.mark.parametrize("hedging", [{}, {"hedging": {"delay": "50s"}}], ids=["alone", "hedged"])
@pytest.mark.parametrize(
    ("retry_after", "waits_s"), [("7", 7), (Decimal(7), 7), ("soon", 0.5), (True, 0.5), (None, 0.5)], ids=repr
)
@pytest.mark.parametrize("is_raised", [True, False], ids=["raised", "returned"])
async def test_a_provider_may_say_how_long_to_wait_as_the_header_has_it(
    autojump_clock, is_raised, retry_after, waits_s, hedging
):
    async def deliver(attempt: Attempt) -> Outcome:
        if len(transport.started) > 1:
            return Sent()
        if is_raised:
            raise TransientError("busy", retry_after)
        return Transient(retry_after=retry_after)

    transport = Transport(deliver)
    config = {"channels": {"email": {"retry": {"initial_delay": "500ms", "jitter": "none"}, **hedging}}}
    async with Notifier.open(config, providers=transport) as notifier:
        await notifier.send(email("a"))
    # Where there is no hint, the next copy is sent at once; one that is no number wants none, as a negative one does.
    assert transport.started == [0, 0 if hedging and retry_after is None else waits_s]


async def test_an_error_out_of_a_nursery_in_the_transport_is_unwrapped(autojump_clock):
    async def fails() -> None:
        raise PermanentError("refused")

    async def deliver(attempt: Attempt) -> Outcome:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
        return Sent()

    notifier, _ = await outcomes_of(deliver)
    assert [letter.failure_reason for letter in notifier.dead_letter_queue] == ["refused"]


async def test_a_transport_that_takes_too_long_is_cancelled_and_ambiguous(autojump_clock):
    cancelled = []

    async def deliver(attempt: Attempt) -> Outcome:
        if attempt.number == 1:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                cancelled.append(trio.current_time())
                raise
        return Sent()

    began = trio.current_time()
    notifier, received = await outcomes_of(deliver)
    assert cancelled == [pytest.approx(began + 10)]
    failed = next(event for event in received if isinstance(event, NotificationFailed))
    assert (failed.kind, failed.reason) == ("Ambiguous", "timed out")
    assert [event.attempt for event in notifier.sent_notifications] == [2]


async def test_a_transport_whose_own_deadline_passes_is_no_cancellation_of_ours(autojump_clock):
    async def deliver(attempt: Attempt) -> Outcome:
        with trio.move_on_after(1):
            await trio.sleep_forever()
        if attempt.number == 1:
            with trio.fail_after(1):
                await trio.sleep_forever()
        return Sent()

    notifier, received = await outcomes_of(deliver)
    assert received[0].reason.startswith("TooSlowError")
    assert [event.attempt for event in notifier.sent_notifications] == [2]


async def test_a_transport_may_return_any_of_the_six_and_nothing_else(autojump_clock):
    async def deliver(attempt: Attempt) -> Any:
        return [None, ChannelFault(reason="bad key"), "OK", Permanent(reason="no")][deliveries.pop(0)]

    deliveries = [0, 1, 2, 3]
    notifier, received = await outcomes_of(deliver, retry={"max_attempts": 5})
    assert [event.kind for event in received if isinstance(event, NotificationFailed)] == [
        "Ambiguous",
        "ChannelFault",
        "Ambiguous",
        "Permanent",
    ]
    assert "Channel email is broken: bad key" in received
    assert notifier.dead_letter_queue[0].attempts == 3


def test_a_provider_whose_effect_is_none_is_told_what_was_wanted():
    class NoEffect(Provider):
        """Gives an outcome, nothing, and what an `async def attempt` would: a coroutine."""

        def attempt(self, attempt: Attempt, now_ns: int) -> Any:
            async def deliver() -> Outcome:
                return Sent()

            return deliver() if attempt.number == 3 else [Sent(), None, ..., Foreseen(0, Sent())][attempt.number - 1]

    world = send_at({0: email("a")}, opens=lambda world: world.open(NoEffect(), email={"retry": {"max_attempts": 4}}))
    assert {event.kind for event in world.failures} == {"Ambiguous"}
    assert [event.reason for event in world.failures] == [
        "wanted an effect: an async function, Foreseen or a Promise, got Sent(reason='', answer=None)",
        "wanted an effect: an async function, Foreseen or a Promise, got None",
        "wanted an effect: an async function, Foreseen or a Promise, got a coroutine; attempt() itself is a plain "
        "function",
    ]
    assert world.sent_ids() == ["a"]


class Unmeasured:
    """A hint that is no number."""

    def __float__(self) -> float:
        raise NotImplementedError


WRONG_INSIDE: list[tuple[Any, dict[str, Any]]] = [
    (Permanent(reason=5), {"kind": "Permanent", "reason": "5"}),  # type: ignore[arg-type]
    (DeadDestination(answer=550), {"kind": "DeadDestination", "answer": "550"}),  # type: ignore[arg-type]
    (Ambiguous(reason=None), {"kind": "Ambiguous", "reason": "timed out"}),  # type: ignore[arg-type]
    (Transient(throttled="no"), {"kind": "Transient", "throttled": True}),  # type: ignore[arg-type]
    (Transient(retry_after="7"), {"kind": "Transient", "next_retry_at_ns": 7 * NS_PER_S}),  # type: ignore[arg-type]
    (Transient(retry_after=10**400), {"kind": "Transient", "next_retry_at_ns": NS_PER_S}),
    (Transient(retry_after=Unmeasured()), {"kind": "Transient", "next_retry_at_ns": NS_PER_S}),  # type: ignore[arg-type]
]


class _Foresees(NotificationService):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self._outcome = outcome

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        return Foreseen(0, self._outcome)


@pytest.mark.parametrize(
    "provider",
    [
        lambda outcome: Scripted(lambda _: outcome),
        _Foresees,
        lambda outcome: NotificationService(latency=0, rules=[lambda attempt, now_ns, load: outcome]),
        lambda outcome: FaultyProvider(Scripted(lambda _: outcome), []),
    ],
    ids=["provider", "subclass", "rule", "wrapped"],
)
@pytest.mark.parametrize(
    ("outcome", "expected_fields"),
    WRONG_INSIDE,
    ids=["reason", "answer", "none", "throttled", "hint", "many digits", "no float"],
)
def test_an_outcome_that_is_foreseen_with_something_wrong_in_it_is_told_as_one_that_can_be_read_again(
    outcome, expected_fields, provider
):
    def scenario(world: World) -> None:
        world.open(provider(outcome), email={"retry": {"max_attempts": 2, "jitter": "none"}})
        world.send(email("a"))

    world = on_both_clocks(scenario)
    assert not world.events(ActorFailed)
    first = world.failures[0]
    assert decode_event(encode_event(first)) == first
    assert {name: getattr(first, name) for name in expected_fields} == expected_fields


async def test_a_function_of_a_provider_that_is_not_async_is_no_effect_either(autojump_clock):
    class Plain(Provider):
        def attempt(self, attempt: Attempt, now_ns: int) -> Any:
            return lambda: Sent()

    config = {"channels": {"email": {"retry": {"max_attempts": 1}}}}
    async with Notifier.open(config, providers=Plain()) as notifier:
        await notifier.send(email("a"))
    (letter,) = notifier.dead_letter_queue
    assert letter.failure_reason == (
        "wanted an effect: an async function, Foreseen or a Promise, "
        "got a plain function, which returned Sent(reason='', answer=None)"
    )


async def test_transports_run_side_by_side_up_to_the_bulkhead(autojump_clock):
    under_way: list[int] = [0]
    most: list[int] = []

    async def deliver(attempt: Attempt) -> Outcome:
        under_way[0] += 1
        most.append(under_way[0])
        await trio.sleep(1)
        under_way[0] -= 1
        return Sent()

    began = trio.current_time()
    async with Notifier.open({"channels": {"email": {"max_in_flight": 4}}}, providers=Transport(deliver)) as notifier:
        for number in range(12):
            await notifier.send(email(f"n{number}"))
    assert max(most) == 4
    assert trio.current_time() - began == pytest.approx(3.0)
