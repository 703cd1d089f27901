"""Retry budgets in a pipeline: what they allow of a storm of failures, and that what is charged is settled."""

from typing import Any

import pytest
from hypothesis import given, strategies as st
from timetables import crash, numbered, redrive, send_at
from worlds import OK, Scripted, Try, World, email, on_both_clocks, simulate

from actors.messages import NotificationSuppressed
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Permanent, Transient
from actors.pipeline.retries import BUDGET_SPENT, RETRY_TIME_UP
from actors.policies.retry.budgets import Budget, EnvoyBudget, FinagleBudget, GrpcBudget

BUSY = Transient(reason="busy")
NO_BREAKER = {"enabled": False}
FINAGLE = {"kind": "finagle", "share": 0.2, "min_rate": None}


def budget_of(world: World) -> Budget:
    return world.pipeline.handler.actor._budgets.of("email")


def is_settled(world: World) -> bool:
    """Tell whether to an Envoy budget nothing is under way."""
    budget = budget_of(world)
    assert isinstance(budget, EnvoyBudget)
    return (budget._active, budget._retries) == (0, 0)


def storm(budget: dict[str, Any], failure: Any = BUSY, latency: float = 0.0, count: int = 20, **settings: Any):
    """Return a scenario in which every first attempt fails and every retry succeeds."""

    def fate(this: Try) -> Any:
        return failure if this.number == 1 else OK

    def scenario(world: World) -> None:
        world.open(
            Scripted(fate, latency=latency),
            email={"circuit_breaker": NO_BREAKER, "retry": {"budget": budget}, **settings},
        )
        world.send(*(email(f"n{number}") for number in range(count)))

    return scenario


@pytest.mark.parametrize(
    ("budget", "failure", "latency", "retries"),
    [
        # More than half of the tokens: of 10, five failures leave 5.
        ({"kind": "grpc", "max_tokens": 10}, BUSY, 1.0, 4),
        ({"kind": "envoy", "share": 0, "min_concurrency": 3}, BUSY, 1.0, 3),
        # A fifth of those that are under way still when it is asked: 19, 18, 17.
        ({"kind": "envoy", "share": 0.2, "min_concurrency": 0}, BUSY, 1.0, 3),
        (FINAGLE, BUSY, 1.0, 4),
        ({"kind": "finagle", "share": 0, "min_rate": "1/s", "ttl": 7}, BUSY, 1.0, 7),
        ({"kind": "finagle", "share": 0.2}, BUSY, 1.0, 20),  # of 104 that it allows, a hundred being there
        ({"share": 0.2}, BUSY, 1.0, 5),
        # Of a full bucket, nothing that the twenty put in remains.
        ({"kind": "token_bucket", "capacity": 6}, BUSY, 1.0, 6),
        ({"kind": "token_bucket", "capacity": 6, "inclusive": False}, BUSY, 1.0, 5),
        ({"kind": "aws", "capacity": 30}, BUSY, 1.0, 2),
        ({"kind": "aws", "capacity": 30}, Transient(reason="busy", throttled=True), 1.0, 6),
        ({"kind": "aws", "capacity": 30, "timeout_cost": 10}, Ambiguous(reason="busy"), 1.0, 3),
    ],
)
def test_a_storm_of_failures_is_retried_as_far_as_the_budget_goes(budget, failure, latency, retries):
    world = on_both_clocks(storm(budget, failure, latency))
    assert len(world.provider.tries) == 20 + retries
    assert len(world.sent_ids()) == retries
    assert world.reasons == [BUDGET_SPENT] * (20 - retries)
    refused = [failure for failure in world.failures if failure.next_retry_at_ns is None]
    assert [(each.reason, each.given_up) for each in refused] == [("busy", BUDGET_SPENT)] * (20 - retries)


def test_a_channel_without_a_budget_is_not_bound_by_that_of_another():
    sends = {0: [email("e"), email("s", channel="sms")]}
    settings = {"retry": {"budget": {"kind": "envoy", "share": 0, "min_concurrency": 0}}}
    world = send_at(
        sends, lambda this: BUSY if this.number == 1 else OK, email=settings, sms={"circuit_breaker": NO_BREAKER}
    )
    assert (world.sent_ids(), world.reasons) == (["s"], [BUDGET_SPENT])


def test_successes_give_back_what_failures_took():
    outcomes = [BUSY] * 3 + [OK] * 4 + [BUSY]
    budget = {"kind": "grpc", "max_tokens": 4, "token_ratio": 0.5}
    retry = {"max_attempts": 2, "initial_delay": 100, "max_delay": 100, "budget": budget}
    sends = {number: email(f"n{number}") for number in range(8)}
    world = send_at(sends, outcomes, email={"circuit_breaker": NO_BREAKER, "retry": retry})
    # 4 tokens: the first failure leaves 3, the second 2, the third 1; four successes make 3 of it, the last one 2.
    assert [failure.given_up for failure in world.failures] == [None, BUDGET_SPENT, BUDGET_SPENT, BUDGET_SPENT]
    assert isinstance(budget_of(world), GrpcBudget)
    assert budget_of(world).tokens == 2.5  # the one retry succeeded


def test_other_limits_come_first_and_then_nothing_is_charged():
    """By attempts, by expiry, by the time for retries: the budget is left for those that may go on."""

    retry = {"max_attempts": 2, "initial_delay": 5, "budget": FINAGLE, "max_elapsed": 8}
    fates = {"spent": BUSY, "expired": BUSY, "late": Transient(reason="busy", retry_after=8), "n": BUSY}
    sends = {0: [*numbered(6, "ok"), email("expired", expires_after=4), email("late"), email("n"), email("spent")]}
    settings = {"circuit_breaker": NO_BREAKER, "retry": retry}
    world = send_at(sends, lambda this: fates.get(this.notification_id, OK) if this.at < 5 else BUSY, email=settings)
    reasons = {letter.notification_id: letter.failure_reason for letter in world.letters}
    assert reasons == {"expired": "expired", "late": RETRY_TIME_UP, "n": "busy", "spent": "busy"}


def test_a_refusal_of_the_breaker_is_no_failure_to_the_budget_and_its_retry_is_charged():
    settings = {
        "circuit_breaker": {"failure_threshold": 1, "when_open": "fail", "timeout": 60},
        "retry": {"max_attempts": 2, "budget": {"kind": "grpc", "max_tokens": 3}},
    }
    world = send_at({0: email("a"), 0.5: email("b")}, [BUSY] * 2, email=settings)
    assert world.reasons == ["circuit breaker is open"] * 2
    assert budget_of(world).tokens == 2.0


def test_a_channel_fault_asks_no_budget():
    budget = {"kind": "envoy", "share": 0, "min_concurrency": 0}
    world = send_at({0: email("n")}, [ChannelFault()] * 3, email={"retry": {"budget": budget}})
    assert world.sent_ids() == ["n"]
    assert is_settled(world)


# ── what is charged is settled ──────────────────────────────────────────────────────────────────────────────────

ENVOY = {"kind": "envoy", "share": 0.5, "min_concurrency": 2}


def test_a_retry_that_never_sets_out_is_given_back():
    """The first one's address turns out to be dead while it waits; so the other one's retry finds room."""

    budget = {"kind": "envoy", "share": 0, "min_concurrency": 1}
    sends = {0: [email("a"), email("b")], 2: email("c", recipient="bob@example.org")}
    settings = {"circuit_breaker": NO_BREAKER, "retry": {"budget": budget}}
    world = send_at(sends, [BUSY, DeadDestination(), BUSY], email=settings)
    assert [event.notification_id for event in world.events(NotificationSuppressed)] == ["a"]
    assert world.sent_ids() == ["c"]
    assert is_settled(world)


def test_a_retry_that_expires_while_it_waits_in_a_line_is_settled():
    settings = {"retry": {"budget": ENVOY}, "circuit_breaker": {"failure_threshold": 1}}
    world = send_at({0: email("a", expires_after=5)}, [BUSY], email=settings)
    assert world.reasons == ["expired"]  # waiting for the breaker
    assert is_settled(world)


@pytest.mark.parametrize("victim", ["handler", "breaker"])
@pytest.mark.parametrize("instant", [0.5, 1.5, 2.5])
def test_a_restart_leaves_nothing_charged(victim, instant):
    sends = {0: [email("a"), email("b")], instant: crash(victim)}
    settings = {"retry": {"budget": ENVOY}, "circuit_breaker": NO_BREAKER}
    world = send_at(sends, [BUSY, BUSY, OK, BUSY], latency=1.0, email=settings)
    assert len(world.sent_ids()) + len(world.letters) == 2
    assert is_settled(world)


def test_a_first_attempt_that_is_sent_anew_is_one_to_the_budget():
    sends = {
        0: email("a"),
        0.5: crash("breaker"),
        2: lambda world: world.notes.append(budget_of(world).balance(world.system.now_ns)),
    }
    settings = {"retry": {"budget": {**FINAGLE, "share": 1}}, "circuit_breaker": NO_BREAKER}
    world = send_at(sends, latency=1.0, email=settings)
    assert isinstance(budget_of(world), FinagleBudget)
    assert world.notes[-1] == 1


OUTCOMES = st.sampled_from(
    [BUSY, BUSY, Transient(throttled=True), Ambiguous(), ChannelFault(), Permanent(), DeadDestination(), OK, OK]
)


@given(
    st.lists(OUTCOMES, max_size=40),
    st.floats(0, 1),
    st.integers(0, 4),
    st.sampled_from(["wait", "fail"]),
    st.sampled_from([None, 0.5, 4.0]),
    st.lists(st.tuples(st.sampled_from(["handler", "breaker"]), st.integers(1, 60)), max_size=3),
)
def test_at_quiet_nothing_is_under_way_to_the_budget(outcomes, share, least, when_open, expires_after, crashes):
    commands = [
        email(f"n{number}", recipient=f"{number % 5}@example.org", expires_after=expires_after) for number in range(15)
    ]
    sends = [(number * 0.25, command) for number, command in enumerate(commands)]
    sends += [(tenths / 10, crash(victim)) for victim, tenths in crashes]
    settings = {
        "circuit_breaker": {"failure_threshold": 3, "timeout": 2, "when_open": when_open},
        "retry": {"budget": {"kind": "envoy", "share": share, "min_concurrency": least}},
        "max_in_flight": 3,
    }
    world = send_at([*sends, (100, redrive("n1"))], outcomes, latency=0.3, run=simulate, email=settings)
    assert world.pipeline.in_flight == 0
    assert is_settled(world)
