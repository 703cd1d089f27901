"""The policies of the reference model and those of the product: the same settings, the same calls, the same answers."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import TypeVar

import pytest
from effort import examples
from hypothesis import assume, given, settings, strategies as st
from pydantic import ValidationError

from actors.instants import since_1970_ns
from actors.kernel.randomness import RandomStreams
from actors.messages import BreakerState
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.pipeline.lane import Lane, _record_failure_with_breaker
from actors.pipeline.retries import succeeded
from actors.policies.adaptive.concurrency import make_concurrency_limit
from actors.policies.adaptive.rate import AdaptiveRate
from actors.policies.adaptive.throttle import AdaptiveThrottle
from actors.policies.breaker import windows
from actors.policies.breaker.breaker import Breaker, BreakerEvent, IllegalTransition, Transition
from actors.policies.breaker.per_host import BreakerGroup
from actors.policies.order import Order, Turns
from actors.policies.quiet_hours import QuietHours
from actors.policies.rate_limit.limiter import make_limiter
from actors.policies.resuming import Arrivals, Ceiling, Pace
from actors.policies.retry.budgets import make_budget
from actors.policies.retry.policy import Progress, RetryPolicy, failure_kind
from actors.settings.adaptive import AdaptiveRateConfig, AdaptiveThrottleConfig, GradientConfig, VegasConfig
from actors.settings.base import Settings
from actors.settings.breaker import BreakerWindow, CircuitBreakerConfig
from actors.settings.channel import ChannelConfig
from actors.settings.order import OrderConfig, OrderWeights
from actors.settings.quantities import FROM_FILE
from actors.settings.rate_limit import RateLimitConfig
from actors.settings.retry import FinagleBudgetConfig, RetryConfig
from simulation.verification.drawing.drawn_settings import Values
from simulation.verification.drawing.whole_groups import GROUPS, budget
from simulation.verification.model import (
    adaptive,
    backoff,
    breaker_groups,
    breakers,
    budgets,
    limits,
    order,
    people,
    resuming,
)
from simulation.verification.model.randomness import Stream

SECOND = 10**9
M = TypeVar("M", bound=Settings)

SEEDS = st.integers(0, 2**32)
"""Of the calls: what is drawn one by one from a seed is cheap enough for long sequences."""

FAILURES = (Transient(), Transient(reason="busy"), Transient(throttled=True), Ambiguous(), Ambiguous(reason="busy"))
ENDS = (*FAILURES, Sent(), Permanent(), DeadDestination(), ChannelFault())
STEPS_NS = (0, 0, 0, 1, 2, 99, 100, 101, 10**6, SECOND // 2, SECOND - 1, SECOND, SECOND + 1, 10 * SECOND, 60 * SECOND)
HINTS = (None, None, None, 0.0, 1e-9, 0.5, 3.7, 60.0, 86401.0, 1e12, -1.0, float("nan"), float("inf"))


def any_step_ns(random: Random) -> int:
    """Return how long it is until the next call: nothing, one of the usual steps, or up to three seconds."""
    return random.choice(STEPS_NS) if random.random() < 0.7 else random.randrange(3 * SECOND)


def any_end(random: Random, share_sent: float) -> Outcome:
    """Return an outcome, so often a success."""
    return Sent() if random.random() < share_sent else random.choice(ENDS)


def is_taken(outcome: Outcome) -> bool:
    """Return whether the provider took it, as a lane asks."""
    return isinstance(outcome, (Sent, Permanent, DeadDestination))


def is_throttled(outcome: Outcome) -> bool:
    """Return whether the provider said that we send too fast, as a lane asks."""
    return isinstance(outcome, Transient) and outcome.throttled


def drawn(model: type[M], group: str) -> st.SearchStrategy[M]:
    """Return settings as the cases of the swarm have them, in half of the examples with values at edges."""

    def draw(seed: int) -> M:
        random = Random(seed)
        if random.random() < 0.5 and isinstance(found := GROUPS[group](random), model):
            return found
        try:
            return model.model_validate(Values(random, {}).group(model), context=FROM_FILE)
        except ValidationError:
            assume(False)
            raise

    return SEEDS.map(draw)


@given(st.integers(0, 2**70), st.text())
def test_streams_of_the_same_seed_and_name_draw_the_same(seed: int, name: str) -> None:
    name = name.encode("utf-8", "ignore").decode()
    model, product = Stream(seed, name), RandomStreams(seed).stream(name)
    assert [model.draw(), model.draw(), model.draw()] == [product.random(), product.random(), product.random()]


# ── retries ─────────────────────────────────────────────────────────────────────────────────────────────────────


@given(drawn(RetryConfig, "retry"), st.one_of(st.integers(1, 12), st.integers(1, 3000)))
def test_delays_without_jitter_are_the_same(config: RetryConfig, attempt: int) -> None:
    assert backoff.delay_s(config, attempt) == config.calculate_delay(attempt)


@settings(max_examples=examples(250))
@given(drawn(RetryConfig, "retry"), SEEDS)
def test_retries_follow_after_the_same_waits(config: RetryConfig, seed: int) -> None:
    product = RetryPolicy(config, RandomStreams(seed).stream("email.backoff"))
    model = backoff.Retrying(config, Stream(seed, "email.backoff"))
    assert model.last_start_ns(7) == product.last_start_ns(7)
    random = Random(seed)
    for _ in range(4):  # one notification after the other
        progress, used = Progress(), backoff.Progress()
        heeds = random.random() < 0.5
        for _ in range(12):
            outcome, what = random.choice(FAILURES), random.random()
            if what < 0.1:
                fault = ChannelFault()
                assert model.next_wait_ns(fault, used) == product.next_wait_ns(fault, progress)
                continue
            if what < 0.2:
                waited_ns = any_step_ns(random)
                model.recall(outcome, waited_ns, used)
                product.recall(outcome, waited_ns, progress)
                continue
            if isinstance(outcome, Transient) and heeds:
                hint = random.choice(HINTS)
                outcome = Transient(reason=outcome.reason, throttled=outcome.throttled, retry_after=hint)
            assert model.next_wait_ns(outcome, used) == product.next_wait_ns(outcome, progress)


@settings(max_examples=examples(100))
@given(SEEDS)
def test_budgets_allow_the_same_retries(seed: int) -> None:
    random, now_ns = Random(seed), 0
    config = RetryConfig.model_validate({"budget": budget(random)}).budget
    assert config is not None
    product, model = make_budget(config), budgets.budget_of(config)
    share_sent, share_asked = random.choice([0.1, 0.5, 0.9]), random.choice([0.3, 0.5])
    ttl_ns = int(config.ttl * SECOND / 10) if isinstance(config, FinagleBudgetConfig) else 0
    under_way: list[int] = []
    allowed: list[int] = []
    for _ in range(150):
        now_ns += random.choice([0, 1, ttl_ns - 1, ttl_ns]) if ttl_ns else any_step_ns(random)
        what, outcome = random.random(), any_end(random, share_sent)
        if what < share_asked:
            failure = random.choice(FAILURES)
            charge = product.try_retry(failure_kind(failure), now_ns)
            assert model.ask(failure, now_ns) == charge
            if charge is not None:
                allowed.append(charge)
        elif what < share_asked + 0.05 and allowed:
            charge = allowed.pop()
            product.give_back(charge, now_ns)
            model.give_back(charge, now_ns)
        elif what < 0.7 and under_way:
            charge = under_way.pop(0)
            product.end(charge, succeeded(outcome), now_ns)
            model.end(charge, outcome, now_ns)
        else:
            charge = allowed.pop() if allowed and random.random() < 0.5 else 0
            under_way.append(charge)
            product.start(charge, now_ns)
            model.begin(charge, now_ns)


# ── limits, and the pace of resuming ────────────────────────────────────────────────────────────────────────────


@settings(max_examples=examples(200))
@given(drawn(RateLimitConfig, "rate_limit"), SEEDS)
def test_limits_let_the_same_go_at_the_same_instants(config: RateLimitConfig, seed: int) -> None:
    product, model = make_limiter(config), limits.limit_of(config)
    width_ns = round(config.limits[0].period * SECOND)
    random, now_ns, fits_at_ns = Random(seed), 0, 0
    steps_ns = (0, 0, 0, 0, 1, width_ns // 7, width_ns // 2, width_ns - 1, width_ns, width_ns + 1, 2 * width_ns)
    for _ in range(150):
        what = random.random()
        if what < 0.25:
            now_ns = max(now_ns, fits_at_ns - random.choice([0, 0, 1]))
        elif what < 0.5:
            now_ns += random.choice(steps_ns)
        elif what < 0.55:
            now_ns += any_step_ns(random)
        key = random.choice("aaaaab")
        if random.random() < 0.8:
            fits_at_ns = product.try_acquire(key, now_ns)
            assert model.take(key, now_ns) == fits_at_ns
        else:
            assert model.fits_at(key, now_ns) == product.fits_at(key, now_ns)


CLASS_ORDERS = [
    OrderConfig(),
    OrderConfig(aging=7e-9),
    OrderConfig(kind="weighted"),
    OrderConfig(kind="weighted", weights=OrderWeights(critical=1.5, normal=1, bulk=2)),
]


@given(SEEDS)
def test_slots_go_to_the_same_classes_and_hosts(seed: int) -> None:
    random = Random(seed)
    limit = random.choice([1, 2, 3, 7, 8, 9, 20, 40])
    config = ChannelConfig(
        max_in_flight=limit, circuit_breaker=CircuitBreakerConfig(per="host"), order=random.choice(CLASS_ORDERS)
    )
    turns = Turns(Order(config.order, "host"), int)
    places: dict[tuple[int, str], int] = {}
    classes = order.Classes[None](order.Order(config), lambda flow: places[flow])
    product = Lane(0, "email", None, config, RandomStreams(seed).stream, Arrivals())
    model = limits.Slots()
    permits: list[tuple[int, str]] = []
    for place in range(60):
        host = random.choice(["", "a", "a", "a", "b", "c"])
        assert model.are_taken(limit) == (product.room_at_ns(0) is None)
        others_wait = random.random() < 0.5
        is_kept = product.slots.are_kept_from(host, product.in_flight, lambda _, others_wait=others_wait: others_wait)  # type: ignore[misc]
        assert model.are_kept_from(host, limit, do_others_wait=others_wait) == is_kept
        flow = random.randrange(3), random.choice(["", "a", "b", "c"])
        if flow not in places:
            places[flow] = place
            turns.add(flow, place)
            classes.of(flow, None)
        elif random.random() < 0.3:
            del places[flow]
            turns.discard(flow)
            classes.discard(flow)
        turn = classes.next_for_slot(model, limit)
        assert turn == product.next_turn(turns)
        if turn is not None and random.random() < 0.6:
            turns.take(turn)
            classes.take(turn)
        if permits and random.random() < 0.4:
            permit, host = permits.pop(random.randrange(len(permits)))
            product.take_back(permit, host, 0, host)
            model.change(host, -1)
        elif isinstance(admitted := product.try_admit(host, 0, host), int):
            permits.append((admitted, host))
            model.change(host, 1)


@settings(max_examples=examples(80))
@given(drawn(CircuitBreakerConfig, "circuit_breaker"), SEEDS)
def test_what_waited_resumes_at_the_same_pace(config: CircuitBreakerConfig, seed: int) -> None:
    random, now_ns = Random(seed), 5
    product, model = Pace(config, now_ns), resuming.Pace(config, now_ns)
    arrivals, came = Arrivals(), resuming.Arrivals()
    share_arriving = random.choice([0.0, 0.1, 0.8])
    for _ in range(100):
        due = random.random() < 0.5
        now_ns = max(now_ns, product.next_ns) + random.choice([0, 0, 1]) if due else now_ns + any_step_ns(random) // 10
        if random.random() < share_arriving:
            host = random.choice("ab")
            arrivals.note(now_ns)
            arrivals.note_host(host, now_ns)
            for each in (None, host):
                came.add(each, now_ns)
        for host in (None, "a"):
            assert came.per_second(host, now_ns) == arrivals.per_second(host, now_ns)
        ceiling = Ceiling(config).per_s(arrivals.per_second(None, now_ns))
        assert resuming.ceiling_per_s(config, came.per_second(None, now_ns)) == ceiling
        if product.next_ns <= now_ns and random.random() < 0.8:
            product.release(now_ns)
            product.charge(now_ns, ceiling)
            model.go(now_ns, ceiling)
        elif random.random() < 0.3:
            product.charge(now_ns, ceiling)
            model.pass_by(now_ns, ceiling)
        assert model.next_ns == product.next_ns


# ── breakers ────────────────────────────────────────────────────────────────────────────────────────────────────


def steps_of(config: CircuitBreakerConfig) -> tuple[int, ...]:
    """Return the times between calls: short ones, and those that the settings name, and a part of them."""
    named_s = [config.timeout, config.half_open_max, *([] if config.ramp is None else [config.ramp.over])]
    named_s += [] if config.window is None else [config.window.time]
    named_s += [] if config.open_growth is None else [config.open_growth.max]
    named_ns = [round(each * SECOND) for each in named_s if each is not None]
    return (0, 0, 0, 1, 1, *named_ns, *(each - 1 for each in named_ns), *(each // 10 for each in named_ns * 3))


ORDERS = {
    "force-open": BreakerEvent.FORCE_OPEN,
    "disable": BreakerEvent.DISABLE,
    "metrics-only": BreakerEvent.METRICS_ONLY,
    "close": BreakerEvent.CLOSE,
}


def settle(
    breaker: Breaker, counts: Collection[str], permit: int, outcome: Outcome | None, now_ns: int, took_ns: int
) -> None:
    """Settle a permit as a lane does."""
    if outcome is None:
        breaker.record_neutral(permit, now_ns)
    elif isinstance(outcome, Sent):
        breaker.record_success(permit, now_ns, took_ns)
    else:
        _record_failure_with_breaker(breaker, counts, outcome, permit, now_ns, took_ns)


def as_change(transition: Transition, host: str = "") -> breakers.Change:
    """Return a transition of the product in the model's words."""
    return breakers.Change(transition.at_ns, host, transition.from_state, transition.to_state, str(transition.event))


class BreakerPair:
    """A breaker of each, one for all hosts or one for each, and what both were asked."""

    def __init__(self, config: CircuitBreakerConfig, *, per_host: bool) -> None:
        self.counts = config.counts
        self.happened: list[breakers.Change] = []
        self.predicted: list[breakers.Change] = []
        stream, random = Stream(7, "email.breaker"), RandomStreams(7).stream("email.breaker")
        self.per_host, self.counts = per_host, config.counts
        self.slow_ns = 0 if config.slow_call is None else round(config.slow_call.duration * SECOND)
        if per_host:
            config = config.model_copy(update={"per": "host"})
            self.group = BreakerGroup(
                config, random=random, on_transition=self._note, idle_ns=3 * round(config.timeout * SECOND), keys_max=2
            )
            self.model_group = breaker_groups.BreakersByHost(config, stream, self.predicted.append)
            self.model_group.KEYS_MAX, self.model_group._idle_ns = 2, self.group._idle_ns
        else:
            product = Breaker(config, random=random, on_transition=lambda each: self._note("", each))
            self.both = product, breakers.Breaker(config, stream, self.predicted.append)

    def _note(self, host: str, transition: Transition) -> None:
        self.happened.append(as_change(transition, host))

    def of(self, host: str, now_ns: int) -> tuple[Breaker, breakers.Breaker]:
        if self.per_host:
            return self.group.of(host, now_ns), self.model_group.of(host, now_ns)
        return self.both

    def override(self, order: str, now_ns: int) -> None:
        if self.per_host:
            self.model_group.override(order, now_ns)
            self.group.override(ORDERS[order], now_ns)
        else:
            product, model = self.both
            model.override(order, now_ns)
            with suppress(IllegalTransition):  # it changes nothing
                product.override(ORDERS[order], now_ns)

    def play(self, random: Random, calls: int, steps_ns: tuple[int, ...]) -> None:
        """Make so many calls, with the same questions to both."""
        now_ns, slow_ns = 0, self.slow_ns
        permits: list[tuple[int, str]] = []
        share_sent, share_ordered = random.choice([0.0, 0.2, 0.5, 0.8]), random.choice([0.0, 0.0, 0.03])
        has_faults = random.random() < 0.5  # which trip so often that no window fills
        if share_ordered:
            self.override(random.choice(sorted(ORDERS)), now_ns)  # before there is any breaker of a host
        for _ in range(calls):
            host = random.choice("aaaab" if now_ns % 2 else "aabbc") if self.per_host else ""
            what = random.random()
            if what < 0.5:
                now_ns += random.choice(steps_ns)
            product, model = self.of(host, now_ns)
            if what > 0.85 and product.changes_at_ns is not None:
                now_ns = max(now_ns, product.changes_at_ns + random.choice([-1, 0, 0, 1]))
            what = random.random()
            if what < share_ordered:
                self.override(random.choice(sorted(ORDERS)), now_ns)
            elif what < 0.5 or not permits:
                permit = product.try_acquire(now_ns)
                assert model.take_permit(now_ns) == permit
                if permit is not None:
                    permits.append((permit, host))
            elif what < 0.95:
                permit, host = permits.pop(-1 if random.random() < 0.8 else random.randrange(len(permits)))
                product, model = self.of(host, now_ns)
                outcome = any_end(random, share_sent) if random.random() < 0.9 else None
                outcome = outcome if has_faults or not isinstance(outcome, ChannelFault) else Ambiguous()
                took_ns = random.choice([0, slow_ns, slow_ns + 1])
                settle(product, self.counts, permit, outcome, now_ns, took_ns)
                model.settle(permit, outcome, now_ns, took_ns)
                if product.state is BreakerState.CLOSED:
                    product.advance(now_ns)  # only the end of a ramp is due then, which no result asks for
            else:
                product.advance(now_ns)
                model.advance(now_ns)
                assert model.admits_at_ns(now_ns) == product.admits_at_ns(now_ns)
            assert self.predicted == self.happened
            assert (model.state, model.generation) == (product.state, product.generation)
            assert model.ramping_until_ns == product.ramping_until_ns
            assert model.changes_at_ns == product.changes_at_ns
            self.predicted.clear()
            self.happened.clear()


@settings(max_examples=examples(250))
@given(drawn(CircuitBreakerConfig, "circuit_breaker"), SEEDS)
def test_breakers_change_at_the_same_instants(config: CircuitBreakerConfig, seed: int) -> None:
    BreakerPair(config, per_host=False).play(Random(seed), 200, steps_of(config))


@settings(max_examples=examples(80))
@given(drawn(CircuitBreakerConfig, "circuit_breaker"), SEEDS)
def test_breakers_of_hosts_change_at_the_same_instants(config: CircuitBreakerConfig, seed: int) -> None:
    BreakerPair(config, per_host=True).play(Random(seed), 200, steps_of(config))


@settings(max_examples=examples(40))
@given(st.integers(10, 30), SEEDS)
def test_long_windows_lay_the_same_instants_together(minimum_calls: int, seed: int) -> None:
    """So many instants are not reached in a test: both count with fewer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "EXACT_INSTANTS", 10)
        patch.setattr(breakers, "EXACT_INSTANTS", 10)
        window = BreakerWindow(time=1e-7)
        config = CircuitBreakerConfig(window=window, minimum_calls=minimum_calls, failure_rate=0.5, timeout=1e-9)
        BreakerPair(config, per_host=False).play(Random(seed), 500, (0, 1, 2, 3, 4, 5, 12))


# ── what adapts ─────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=examples(100))
@given(drawn(AdaptiveRateConfig, "adaptive_rate"), SEEDS)
def test_adaptive_rates_let_the_same_go_at_the_same_instants(config: AdaptiveRateConfig, seed: int) -> None:
    product, model = AdaptiveRate(config), adaptive.AdaptiveRate(config)
    random, now_ns = Random(seed), 0
    share_sent = random.choice([0.3, 0.8, 0.95])
    cooldown_ns = round(config.cooldown * SECOND)
    for _ in range(100):
        what = random.random()
        if what < 0.4:
            now_ns = product.fits_at("", now_ns)
        elif what < 0.8:
            now_ns += any_step_ns(random) // random.choice([1, 10])
        else:
            now_ns += random.choice([cooldown_ns - 1, cooldown_ns]) if cooldown_ns else 0
        assert model.take("", now_ns) == product.try_acquire("", now_ns)
        outcome = any_end(random, share_sent)
        if is_throttled(outcome):
            product.on_throttled(now_ns)
        elif is_taken(outcome):
            product.on_success(now_ns)
        model.after(outcome, now_ns)
        assert model.rate == product.rate
        assert model.fits_at("", now_ns) == product.fits_at("", now_ns)


@settings(max_examples=examples(100))
@given(st.one_of(drawn(VegasConfig, "concurrency_limit"), drawn(GradientConfig, "concurrency_limit")), SEEDS)
def test_adaptive_bounds_of_concurrency_are_the_same(config: VegasConfig | GradientConfig, seed: int) -> None:
    product = make_concurrency_limit(config, RandomStreams(seed).stream("email.concurrency"))
    model = adaptive.concurrency_of(config, Stream(seed, "email.concurrency"))
    random = Random(seed)
    share_sent, slow = random.choice([0.3, 0.8, 0.99]), random.choice([1, 2, 10])
    for _ in range(150):
        outcome = any_end(random, share_sent)
        took_ns = random.choice([0, 1, 10, 15, 16, 100 * slow, random.randrange(10, 30), random.randrange(300)])
        in_flight = max(1, product.limit - random.choice([0, 0, 0, 1, 5, 50]))
        answered = is_taken(outcome)
        if answered or is_throttled(outcome) or isinstance(outcome, Ambiguous):
            product.on_result(max(1, took_ns), in_flight, dropped=not answered)
        model.after(outcome, took_ns, in_flight)
        assert (model.limit, model._estimate) == (product.limit, product._estimate)


@settings(max_examples=examples(60))
@given(drawn(AdaptiveThrottleConfig, "adaptive_throttle"), SEEDS)
def test_adaptive_throttles_refuse_the_same(config: AdaptiveThrottleConfig, seed: int) -> None:
    product = AdaptiveThrottle(config, RandomStreams(seed).stream("email.throttle"))
    model = adaptive.AdaptiveThrottle(config, Stream(seed, "email.throttle"))
    random, now_ns = Random(seed), 0
    share_sent = random.choice([0.0, 0.3, 0.8])
    for _ in range(150):
        now_ns += random.choice([0, 1, any_step_ns(random), int(config.window * SECOND / 60)])
        admitted = product.admits(now_ns)
        assert model.admits(now_ns) == admitted
        if admitted:
            outcome = any_end(random, share_sent)
            if is_taken(outcome):
                product.on_accepted(now_ns)
            model.after(outcome, now_ns)


# ── quiet hours ─────────────────────────────────────────────────────────────────────────────────────────────────

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "America/Sao_Paulo",  # changes at midnight
    "Pacific/Apia",  # once left out a day
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Europe/Dublin",
]
CHANGES = [
    datetime(2024, 3, 31, 1, tzinfo=UTC),
    datetime(2024, 10, 27, 1, tzinfo=UTC),
    datetime(2024, 3, 10, 7, tzinfo=UTC),
    datetime(2024, 11, 3, 6, tzinfo=UTC),
    datetime(2024, 4, 6, 15, tzinfo=UTC),
    datetime(2018, 11, 4, 3, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
]
TIMES = st.one_of(
    st.builds(time, st.sampled_from([0, 1, 2, 3, 7, 22, 23]), st.sampled_from([0, 0, 30, 59])),
    st.times().map(lambda shown: shown.replace(microsecond=0)),
    st.times(),
)
INSTANTS = st.builds(
    lambda change, away_s, part: change + timedelta(seconds=away_s, microseconds=part),
    st.one_of(
        st.sampled_from(CHANGES),
        st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
    ),
    st.one_of(st.sampled_from([-7200, -3600, -1, 0, 1, 3599, 3600]), st.integers(-90_000, 90_000)),
    st.sampled_from([0, 0, 1, 999_999]),
)


@settings(max_examples=examples(300))
@given(TIMES, TIMES, st.sampled_from(ZONES), INSTANTS)
def test_quiet_hours_end_at_the_same_instant(start: time, end: time, zone: str, at: datetime) -> None:
    assume(start != end)
    expected = QuietHours(start, end, zone).end_of_quiet(at)
    hours = people.QuietHours(start, end, zone)
    epoch_ns = since_1970_ns(at) - 5
    until_ns = people.quiet_until_ns([hours], 5, epoch_ns)
    assert until_ns == (5 if expected is None else max(5, since_1970_ns(expected) - epoch_ns))
