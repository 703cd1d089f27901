"""Hedging in the pipeline: when copies are sent, which answer counts, and what holds whatever the answers are."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import trio
from effort import sliced
from hypothesis import given, strategies as st
from timetables import crash, numbered, send_at
from worlds import EMAIL, OK, Scripted, Try, World, email, on_both_clocks, run_on_trio, simulate

import simulation
from actors.domain.attempts import Attempt, Provider
from actors.kernel.effects import Effect
from actors.messages import BreakerTransitioned, NotificationFailed, NotificationSent
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Permanent, Transient
from actors.pipeline.channel import Channel
from actors.pipeline.hedging_channel import HedgingChannel
from actors.pipeline.lane import Lane
from simulation.scenario import parse

LOST = Ambiguous(reason="reply lost")
DOWN = Transient(reason="down")


def copies(*script: tuple[float, Any]) -> Scripted:
    """Return a provider that takes so long for each copy and then answers so; the last goes for all that follow."""
    sent = Counter[str]()

    def this(attempt: Try) -> tuple[float, Any]:
        return script[min(sent[attempt.notification_id], len(script)) - 1]

    def latency(attempt: Try) -> float:
        return this(attempt)[0]

    def outcome(attempt: Try) -> Any:
        sent[attempt.notification_id] += 1
        return this(attempt)[1]

    return Scripted(outcome, latency)


def hedged(max_attempts: int = 2, delay: float = 1.0, **settings: Any) -> dict[str, Any]:
    return {
        "hedging": {"max_attempts": max_attempts, "delay": delay},
        "retry": {"max_attempts": 1},
        "timeout": 10,
        **settings,
    }


def at_their_instants(timetable: dict[float, Any], provider: Callable[[], Provider], **settings: Any) -> World:
    """Send over a hedging channel on both clocks, to a new provider on each."""
    return send_at(timetable, opens=lambda world: world.open(provider(), email=hedged(**settings)))


def one(provider: Callable[[], Provider], **settings: Any) -> World:
    return at_their_instants({0: email()}, provider, **settings)


def channel_of(world):
    return world.pipeline.wiring.stages[email().channel].channels[0]


def lane_of(world: World) -> Lane:
    return world.pipeline.wiring.stages[email().channel].lanes[0]


def check_at_rest(world: World) -> None:
    stages = world.pipeline.wiring.stages[email().channel]
    assert stages.in_flight == 0
    if stages.budget is not None:
        assert (stages.budget._active, stages.budget._retries) == (0, 0)


# ── one attempt ─────────────────────────────────────────────────────────────────────────────────────────────────


BUSY, GO_AWAY = Transient(reason="busy", retry_after=3), Transient(reason="go away", retry_after=-1)

ONE_ATTEMPT = {
    "a copy follows a late answer, and the first answer counts": ([(5, OK), (0.5, OK)], {}, [0, 1], (1.5, "sent")),
    "none follows an answer in time, one at that very instant included": ([(1, OK)], {}, [0], (1, "sent")),
    "up to so many": ([(9, OK)], {"max_attempts": 4}, [0, 1, 2, 3], (9, "sent")),
    "a failure sends the next one at once": (
        [(0.25, DOWN), (0.25, LOST), (0.25, OK)], {"max_attempts": 3}, [0, 0.25, 0.5], (0.75, "sent")
    ),
    "the delay of the next one counts from the latest send": (
        [(0.25, DOWN), (5, OK), (0.25, OK)], {"max_attempts": 3}, [0, 0.25, 1.25], (1.5, "sent")
    ),
    "a hint puts the next one off": ([(0.25, BUSY), (0.25, OK)], {}, [0, 3.25], (3.5, "sent")),
    "a hint holds for what other copies would send too": (
        [(1.5, BUSY), (1, DOWN), (0.25, OK)], {"max_attempts": 3}, [0, 1, 4.5], (4.75, "sent")
    ),
    "a hint that forbids ends them": ([(1.5, GO_AWAY), (9, OK)], {"max_attempts": 3}, [0, 1], (10, "sent")),
    "after a hint that forbids no failure of another one brings one": (
        [(1.5, GO_AWAY), (1, DOWN), (0, OK)], {"max_attempts": 3}, [0, 1], (2, "down")
    ),
    "a hint beyond the timeout ends the attempt with its failure": (
        [(0.25, Transient(reason="busy", retry_after=9.75))], {}, [0], (0.25, "busy")
    ),
    "of failures the latest counts": (
        [(0.5, DOWN), (0.5, Transient(reason="still down"))], {}, [0, 0.5], (1, "still down")
    ),
    "an ambiguous failure counts before a plain one": ([(0.5, LOST), (0.5, DOWN)], {}, [0, 0.5], (1, "reply lost")),
    "of ambiguous failures the latest counts": (
        [(0.5, LOST), (0.5, Ambiguous(reason="lost again"))], {}, [0, 0.5], (1, "lost again")
    ),
    "the timeout runs from the first send": (
        [(20, OK)], {"max_attempts": 3, "delay": 4}, [0, 4, 8], (10, "timed out")
    ),
    "an answer at the instant of the timeout counts": ([(20, OK), (9, OK)], {}, [0, 1], (10, "sent")),
    "none is sent at the timeout or behind it": ([(20, OK)], {"delay": 10}, [0], (10, "timed out")),
}  # fmt: skip
"""What each copy takes and answers, the settings, when copies are sent, and when and how the attempt ends."""


@pytest.mark.parametrize(("script", "settings", "sends", "ends"), ONE_ATTEMPT.values(), ids=ONE_ATTEMPT)
def test_copies_are_one_attempt(script, settings, sends, ends):
    world = one(lambda: copies(*script), **settings)
    assert [(each.notification_id, each.number, each.at) for each in world.provider.tries] == [
        ("n", 1, at_s) for at_s in sends
    ]
    (end,) = [*world.failures, *world.events(NotificationSent)]
    assert (end.at_ns / 1e9, "sent" if isinstance(end, NotificationSent) else end.reason) == ends
    assert (end.started_ns, end.attempt, end.hedges) == (0, 1, len(sends) - 1)
    check_at_rest(world)


@pytest.mark.parametrize("decides", [Permanent(reason="no"), DeadDestination(), ChannelFault(reason="key")])
def test_a_failure_for_good_decides_as_a_success_does(decides):
    world = one(lambda: copies((5, OK), (0.5, decides)))
    failure = world.failures[0]
    assert (failure.at_ns, failure.kind, failure.hedges) == (1_500_000_000, type(decides).__name__, 1)


def test_a_provider_that_raises_fails_that_copy_only():
    def outcome(attempt: Try) -> Any:
        if attempt.at < 2:
            raise RuntimeError("broken")
        return OK

    world = one(lambda: Scripted(outcome, 0.25), retry={"max_attempts": 2, "initial_delay": 2})
    assert (world.provider.times, world.times(NotificationSent)) == ([0, 0, 2], [2.25])
    assert [(failure.reason, failure.hedges) for failure in world.failures] == [("RuntimeError: broken", 1)]


def test_a_retry_is_hedged_anew():
    world = one(lambda: copies((0.5, DOWN), (0.5, DOWN), (9, OK), (0.5, OK)), retry={"max_attempts": 2})
    assert [(each.number, each.at) for each in world.provider.tries] == [(1, 0), (1, 0.5), (2, 2), (2, 3)]
    assert [event.hedges for event in (*world.failures, *world.events(NotificationSent))] == [1, 1]


def test_a_channel_without_hedging_has_the_plain_actor():
    stages = send_at({}, run=simulate, email={}, sms={"hedging": {"delay": 1}}).pipeline.wiring.stages
    assert [type(each.channels[0].actor) for each in stages.values()] == [Channel, HedgingChannel]


def test_each_provider_of_a_channel_has_its_own_hedging():
    settings = hedged(
        circuit_breaker={"failure_threshold": 1},
        retry={"max_attempts": 2},
        failover={"backup": {"hedging": None}},
    )

    def scenario(world: World) -> None:
        provider = copies((0.5, DOWN), (0.5, DOWN), (9, OK))
        world.open({EMAIL: {"primary": provider, "backup": provider}}, email=settings)
        world.send(email())
        world.notes.append(provider.tries)

    world = on_both_clocks(scenario)
    assert [each.at for each in world.notes[0]] == [0, 0.5, 2]
    assert [(event.provider, event.hedges) for event in world.events(NotificationSent)] == [("backup", 0)]


# ── what speaks against a copy ──────────────────────────────────────────────────────────────────────────────────


def test_the_quota_bounds_copies_and_is_charged_for_them():
    sends = {0: email("a"), 2.5: email("b")}
    world = at_their_instants(sends, lambda: copies((5, OK)), max_attempts=5, quota={"rate": "3/min"})
    # All three are charged by the time b comes, which therefore waits for the next minute.
    assert [(each.notification_id, each.at) for each in world.provider.tries] == [
        ("a", 0), ("a", 1), ("a", 2), ("b", 60), ("b", 61), ("b", 62),
    ]  # fmt: skip


def test_a_copy_that_does_not_fit_is_not_made_up_for():
    quota = {"kind": "token_bucket", "rate": "1/1500ms", "burst": 1}
    world = one(lambda: copies((1.75, DOWN), (0, OK)), max_attempts=3, quota=quota)
    assert (world.provider.times, world.failures[0].reason) == ([0], "down")


def test_the_adaptive_rate_bounds_copies():
    world = one(lambda: copies((5, OK)), max_attempts=5, adaptive_rate={"initial_rate": "1/2s", "minimum_rate": "1/2s"})
    assert world.provider.times == [0]


@pytest.mark.parametrize(
    ("per", "host", "copies_sent"),
    [("channel", "a.org", 0), ("channel", "b.org", 0), ("host", "a.org", 0), ("host", "b.org", 1)],
)
def test_a_breaker_that_has_opened_since_lets_no_copy_through(per, host, copies_sent):
    world = send_at(
        {0: email("slow", recipient="ann@a.org"), 1: email("bad", recipient=f"bob@{host}")},
        lambda attempt: ChannelFault(reason="key") if attempt.notification_id == "bad" else OK,
        lambda attempt: 5 if attempt.notification_id == "slow" else 0,
        until=30,
        email=hedged(delay=2, circuit_breaker={"failure_threshold": 1, "per": per}),
    )
    assert [event.to_state for event in world.events(BreakerTransitioned)] == ["open"]
    assert [(each.notification_id, each.at) for each in world.provider.tries] == [
        ("slow", 0), ("bad", 1), *[("slow", 2)] * copies_sent,
    ]  # fmt: skip


def test_a_probe_of_a_half_open_breaker_gets_no_copy():
    breaker = {"failure_threshold": 1, "timeout": 5}
    world = one(lambda: copies((0, DOWN), (0, DOWN), (3, OK)), circuit_breaker=breaker, retry={"max_attempts": 2})
    assert world.provider.times == [0, 0, 5]
    assert [event.hedges for event in world.events(NotificationSent)] == [0]


@pytest.mark.parametrize(("minimum", "most"), [(0, 0), (2, 2), (9, 9)])
def test_the_retry_budget_bounds_the_copies_that_are_out(minimum, most):
    budget = {"kind": "envoy", "share": 0, "min_concurrency": minimum}
    world = at_their_instants({0: numbered(9)}, lambda: copies((5, OK)), retry={"max_attempts": 1, "budget": budget})
    assert len(world.provider.tries) == 9 + most
    assert sum(event.hedges for event in world.events(NotificationSent)) == most
    check_at_rest(world)


@pytest.mark.parametrize(
    ("script", "tokens"),
    [
        ([(0, DOWN), (1, OK)], 3.5),  # one send has failed, and one has delivered
        ([(5, OK), (0.5, OK)], 4),  # the first is cancelled
        ([(0, DOWN), (1, Permanent(reason="no"))], 3),
        ([(5, OK), (0.5, Permanent(reason="no"))], 4),
        ([(0, DOWN), (0, DOWN)], 2),
        ([(5, OK), (0.5, DOWN)], 3.5),
    ],
)
def test_to_a_grpc_budget_each_send_may_fail_and_an_attempt_succeeds_once(script, tokens):
    budget = {"kind": "grpc", "max_tokens": 4, "token_ratio": 0.5}
    world = one(lambda: copies(*script), retry={"max_attempts": 1, "budget": budget})
    assert world.pipeline.wiring.stages[email().channel].budget.tokens == tokens


@pytest.mark.parametrize(("max_tokens", "copies_sent"), [(2, 0), (4, 1), (6, 2), (9, 4)])
def test_a_grpc_budget_counts_each_failed_send_before_its_next_copy(max_tokens, copies_sent):
    budget = {"kind": "grpc", "max_tokens": max_tokens}
    retry = {"max_attempts": 1, "budget": budget}
    world = one(lambda: copies((0.25, DOWN)), max_attempts=5, retry=retry)
    assert len(world.provider.times) == 1 + copies_sent
    assert world.pipeline.wiring.stages[email().channel].budget.tokens == max_tokens - 1 - copies_sent


def test_a_grpc_budget_knows_of_a_first_send_that_failed_while_its_copy_is_awaited():
    retry = {"max_attempts": 1, "budget": {"kind": "grpc", "max_tokens": 4}}
    world = at_their_instants(dict(enumerate(numbered(3))), lambda: copies((0.25, DOWN), (6, DOWN)), retry=retry)
    assert [event.hedges for event in world.events(NotificationFailed)] == [0, 0, 1]
    assert world.provider.times == [0, 0.25, 1, 2]


@pytest.mark.parametrize("stage", ["breaker", "channel"])
def test_a_crash_of_a_stage_has_no_failed_send_counted_twice(stage):
    retry = {"max_attempts": 1, "budget": {"kind": "grpc", "max_tokens": 10}}
    steps = {0: email(), 1.125: crash(stage)}
    world = at_their_instants(steps, lambda: copies((0.25, DOWN), (6, OK), (0.5, OK)), retry=retry)
    assert world.provider.times[:2] == [0, 0.25]
    assert len(world.provider.times) == 3
    assert world.pipeline.wiring.stages[email().channel].budget.tokens == 9.1  # one has failed, and one delivered


def test_an_aws_budget_gets_back_what_a_copy_cost_that_succeeded():
    retry = {"max_attempts": 1, "budget": {"kind": "aws", "capacity": 10, "retry_cost": 10}}
    sends = {0: email("a"), 10: email("b"), 20: email("c")}
    world = at_their_instants(sends, lambda: copies((5, OK), (0.5, OK)), retry=retry)
    assert [event.hedges for event in world.events(NotificationSent)] == [1, 1, 1]


def test_a_copy_takes_no_slot():
    steps = {0: [email("a"), email("b")], 4.5: lambda world: world.notes.append(lane_of(world).in_flight)}
    world = at_their_instants(steps, lambda: copies((5, OK)), max_in_flight=2, max_attempts=5)
    assert (len(world.provider.tries), world.notes[-1]) == (10, 2)
    assert {each.at for each in world.provider.tries} == {0, 1, 2, 3, 4}


# ── restarts ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("down_at", [0.5, 1.5])
def test_after_a_restart_of_its_actor_the_notification_is_sent_anew_and_the_old_answers_do_nothing(down_at):
    budget = {"kind": "envoy", "share": 0, "min_concurrency": 9}
    half_open = {"failure_threshold": 1, "half_open_permits": 1, "timeout": 5}
    settings = {"retry": {"max_attempts": 3, "budget": budget}, "max_in_flight": 2, "circuit_breaker": half_open}
    world = at_their_instants({0: email(), down_at: crash("channel")}, lambda: copies((3, OK)), **settings)
    again = down_at + 0.1
    before = [0] if down_at < 1 else [0, 1]
    assert world.provider.times == pytest.approx([*before, again, again + 1])
    assert world.times(NotificationSent) == pytest.approx([again + 3])
    check_at_rest(world)


def test_of_the_answers_that_came_while_the_actor_was_down_the_first_settles_the_permit():
    steps = {0: email(), 1.02: crash("channel"), 2: email("next")}
    world = at_their_instants(steps, lambda: copies((1.04, OK), (0.05, OK), (0.5, OK)), max_in_flight=1)
    assert world.sent_ids() == ["n", "next"]
    check_at_rest(world)


def test_after_a_restart_of_the_handler_budget_and_bulkhead_are_in_balance():
    retry = {"max_attempts": 3, "budget": {"kind": "envoy", "share": 0, "min_concurrency": 9}}
    steps = {0: email(), 1.5: crash("handler")}
    world = at_their_instants(steps, lambda: copies((3, OK)), max_attempts=3, retry=retry)
    assert world.sent_ids() == ["n"]
    check_at_rest(world)


# ── real I/O ────────────────────────────────────────────────────────────────────────────────────────────────────


class Transport(Provider):
    """Sleeps for so long for each copy, and notes which were cancelled."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = list(seconds)
        self.cancelled: list[float] = []
        self.finished: list[float] = []

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        seconds = self._seconds.pop(0)

        async def deliver() -> Any:
            try:
                await trio.sleep(seconds)
            except trio.Cancelled:
                self.cancelled.append(seconds)
                raise
            self.finished.append(seconds)
            return OK

        return deliver


def test_copies_that_lose_are_cancelled_at_their_transport():
    sends = {0: email()}
    world = send_at(sends, run=run_on_trio, until=20, opens=lambda world: world.open(Transport(9, 0.5), email=hedged()))
    assert (world.provider.finished, world.provider.cancelled) == ([0.5], [9])
    assert world.times(NotificationSent) == pytest.approx([1.5])
    assert [event.hedges for event in world.events(NotificationSent)] == [1]
    check_at_rest(world)


def test_all_that_are_out_are_cancelled_at_the_timeout():
    def scenario(world: World) -> None:
        world.open(Transport(90, 90, 90), email=hedged(max_attempts=3))
        world.send(email())

    world = run_on_trio(scenario, until=20)
    assert (world.provider.finished, world.provider.cancelled) == ([], [90, 90, 90])
    assert [(failure.reason, failure.at_ns) for failure in world.failures] == [("timed out", 10_000_000_000)]
    check_at_rest(world)


# ── the tail of latency ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("slow_share", sliced([0.05, 0.2], 4))
def test_it_cuts_the_tail_and_costs_the_share_of_answers_beyond_the_delay(slow_share):
    """An answer takes U(0, 0.2) s, or with probability s 5 s; a copy follows after 0.5 s.

    So a copy follows a share s of the attempts, and a share s² is slow all the same: P(more than 0.7 s) = s².
    """
    count, fast, slow = 8_000, 0.2, 5.0

    def scenario(world: World) -> None:
        random = world.system.streams.stream("latency")

        def latency(_attempt: Try) -> float:
            return slow if random.random() < slow_share else fast * random.random()

        world.open(Scripted(latency=latency), email=hedged(delay=0.5))
        world.send(*(email(f"n{number}") for number in range(count)))

    world = simulate(scenario)
    sent = world.events(NotificationSent)
    hedges = sum(event.hedges for event in sent)
    late = sum(event.at_ns > 700_000_000 for event in sent)
    for observed, share in ((hedges, slow_share), (late, slow_share**2)):
        assert abs(observed - count * share) <= 4 * math.sqrt(count * share * (1 - share))
    # The fraction 1 - p of all is above its quantile q: without hedging 5 s for p = 0.99; with it, between the delay
    # and the delay and a fast answer, at (1 - s + s · (1 - s) · (q - 0.5) / 0.2) = p where s² < 1 - p.
    if slow_share**2 < 0.01:
        expected = 0.5 + fast * (0.99 - (1 - slow_share)) / (slow_share * (1 - slow_share))
        times = sorted(event.at_ns / 1e9 for event in sent)
        assert times[round(0.99 * count)] == pytest.approx(expected, abs=0.02)


# ── invariants ──────────────────────────────────────────────────────────────────────────────────────────────────

OUTCOMES = st.sampled_from(
    [
        OK, OK, DOWN, LOST, Permanent(), DeadDestination(), ChannelFault(reason="key"),
        Transient(retry_after=2.5), Transient(retry_after=-1), Transient(throttled=True),
    ]
)  # fmt: skip
SECONDS = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 3.0, 6.0, 20.0])


class ByTurns(Provider):
    """Answers copies by a list, over and over, and notes when each was sent and what it would have answered."""

    def __init__(self, answers: list[tuple[float, Any]]) -> None:
        self._scripted = Scripted(lambda _: answers[(len(self.tries) - 1) % len(answers)][1])
        self._scripted._latency = lambda _: answers[(len(self.tries) - 1) % len(answers)][0]
        self.attempts: defaultdict[int, list[int]] = defaultdict(list)
        """When the copies of each attempt were sent, by the identity of the attempt."""
        self._kept: list[Attempt] = []

    @property
    def tries(self) -> list[Try]:
        return self._scripted.tries

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        self._kept.append(attempt)  # so that no other gets its identity
        self.attempts[id(attempt)].append(now_ns)
        return self._scripted.attempt(attempt, now_ns)


@given(
    answers=st.lists(st.tuples(SECONDS, OUTCOMES), min_size=1, max_size=12),
    max_attempts=st.integers(2, 5),
    delay=st.sampled_from([0.0, 0.25, 1.0, 4.0, 30.0]),
    sends=st.lists(SECONDS, min_size=1, max_size=6),
    budget=st.none()
    | st.builds(
        lambda share, least: {"kind": "envoy", "share": share, "min_concurrency": least},
        st.sampled_from([0, 0.5, 1]),
        st.integers(0, 3),
    ),
    quota=st.none() | st.sampled_from(["2/s", "1/s", "5/min"]),
    slots=st.none() | st.integers(1, 3),
    crash_at=st.none() | SECONDS,
)
def test_whatever_the_answers_the_invariants_hold(answers, max_attempts, delay, sends, budget, quota, slots, crash_at):
    settings = hedged(
        max_attempts,
        delay,
        retry={"max_attempts": 2} | ({} if budget is None else {"budget": budget}),
        timeout=5,
        max_in_flight=slots,
        circuit_breaker={"failure_threshold": 4, "timeout": 7},
        quota=None if quota is None else {"rate": quota},
    )

    def scenario(world: World) -> None:
        world.open(ByTurns(answers), email=settings)
        for number, at in enumerate(sends):
            world.send(email(f"n{number}", recipient=f"{number}@example.org", expires_after=100.0), at=at)
        if crash_at is not None:
            world.at(crash_at, lambda: world.system.crash(channel_of(world), RuntimeError("pulled")))

    world = on_both_clocks(scenario, until=1000)
    assert world.pipeline.in_flight == 0
    check_at_rest(world)
    ended = [*world.failures, *world.events(NotificationSent)]
    for sent_ns in world.provider.attempts.values():
        assert 1 <= len(sent_ns) <= max_attempts
        assert sent_ns[-1] - sent_ns[0] < 5_000_000_000
    attempts, extra = len(world.provider.attempts), len(world.provider.tries) - len(world.provider.attempts)
    if crash_at is None:
        assert len(ended) == attempts
        assert sum(event.hedges for event in ended) == extra
    else:
        assert len(ended) <= attempts
        assert sum(event.hedges for event in ended) <= extra


# ── in a scenario ───────────────────────────────────────────────────────────────────────────────────────────────

HEDGED = """\
duration: 10s
workload:
  - {channel: email, arrivals: {constant: 10/s}}
  - {channel: sms, arrivals: {constant: 1/s}}
channels:
  email:
    hedging: {delay: 200ms}
    provider: {latency: {mixture: [{weight: 9, constant: 100ms}, {weight: 1, constant: 3s}]}}
"""


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_a_run_counts_the_copies_and_shows_them_by_the_attempt(runtime):
    result = simulation.run(parse(HEDGED), runtime=runtime)
    hedges = result.summary["hedges"]
    assert 2 <= hedges <= 25
    assert result.summary["channels"]["email"]["hedges"] == hedges
    assert result.summary["channels"]["sms"]["hedges"] == 0
    assert result.summary["attempts"] == 110
    attempts = result.attempts
    assert attempts["hedges"].sum() == hedges
    took = attempts["end_s"] - attempts["start_s"]
    assert set(attempts["hedges"][took > 0.15]) == {1}
    assert set(attempts["hedges"][took < 0.15]) == {0}
    without = simulation.run(parse(HEDGED.replace("    hedging: {delay: 200ms}\n", "")), runtime=runtime)
    assert (without.summary["hedges"], without.summary["attempts"]) == (0, 110)


@pytest.mark.parametrize("most", [2, 3])
def test_a_copy_that_was_planned_is_not_sent_beside_the_one_that_a_failure_had_sent_at_that_instant(most):
    """In some orders the message that its time has come waits when the failure of the copy before is handled."""
    scenario = f"""\
    duration: 171s
    workload: [{{channel: sms, arrivals: {{times: [0s]}}}}]
    channels: {{sms: {{hedging: {{delay: 0s, max_attempts: {most}}}, provider: {{failure_rate: 100%}}}}}}
    """
    for place in range(24):
        schedule = f"schedule: {{deviations: [[{place}, 1]]}}"
        summary = simulation.run(parse(f"{scenario}\n    {schedule}"), invariants="all").summary
        assert summary["requests"] == 3 * most
