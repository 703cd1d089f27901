"""Backoff: the numbers of the specification and of peers, and the invariants that hold for any settings."""

import itertools
import math
import random
from collections.abc import Iterable
from typing import Any

import pytest
from beside import tables
from each_row import over_each
from hypothesis import assume, given, strategies as st
from pydantic import ValidationError

from actors.instants import LONGEST_WAIT_NS, NS_PER_S, ns, wait_ns
from actors.policies.retry.backoff import Backoff, retry_after_ns
from actors.settings.channel import RetryConfig

TABLES = tables(__file__)

LARGEST_DRAW = 1 - 2**-53


class Scripted(random.Random):
    """Draws what it is given, and says how often it was asked."""

    def __init__(self, draws: Iterable[float]) -> None:
        super().__init__(0)
        self._draws = iter(draws)
        self.count = 0

    def random(self) -> float:
        self.count += 1
        return next(self._draws)


def delays(attempts: Iterable[int], **settings: Any) -> list[float]:
    config = RetryConfig(**settings)
    return [config.calculate_delay(attempt) for attempt in attempts]


def jittered_s(draws: Iterable[float], attempts: Iterable[int], **settings: Any) -> list[float]:
    backoff = Backoff(RetryConfig(**settings), Scripted(draws))
    return [backoff.next_delay_ns(attempt, None) / NS_PER_S for attempt in attempts]


# Without jitter


def test_the_delays_of_the_specification() -> None:
    assert delays([1, 2, 3, 4, 10]) == [1.0, 2.0, 4.0, 8.0, 60.0]
    assert RetryConfig().calculate_delay(3) == 4.0


@over_each(map(tuple, TABLES["delays"].values()))
def test_delays_without_jitter(settings: dict[str, Any], expected: list[float]) -> None:
    attempts = range(1, len(expected) + 1)
    assert delays(attempts, **settings) == pytest.approx(expected, rel=1e-15)
    assert jittered_s([], attempts, **settings) == pytest.approx(expected, abs=0.5e-9)


def test_v02_a_power_far_above_the_cap_is_the_cap() -> None:
    assert delays([50], max_delay=40) == [40]


def test_v04_the_twentieth_delay() -> None:
    assert delays([20], initial_delay=2, min_delay=20, max_delay=1e9) == [1048576]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(
            {"schedule": [5, 300, 1800, 7200, 18000, 36000, 36000]},
            [5, 305, 2105, 9305, 27305, 63305, 99305],
            id="svix",
        ),
        pytest.param(
            {"initial_delay": math.exp(2.5), "backoff_multiplier": math.exp(2.5), "max_delay": 86400},
            [12.18, 160.60, 1968.64, 23995.10, 110395.10, 196795.10],
            id="qstash",
        ),
        pytest.param(
            {"backoff_multiplier": 1.6, "max_delay": 120},
            [1, 2.6, 5.16, 9.256, 15.8096, 26.29536, 43.072576, 69.9161216, 112.86579456, 181.585271296, 291.536434],
            id="grpc-connection",
        ),
        pytest.param({"initial_delay": 10, "max_delay": 300}, [10, 30, 70, 150, 310, 610, 910], id="kubernetes"),
        pytest.param(
            {"initial_delay": 0.05, "max_delay": 20},
            [0.05, 0.15, 0.35, 0.75, 1.55, 3.15, 6.35, 12.75, 25.55, 45.55, 65.55],
            id="botocore-v2.1",
        ),
    ],
)
def test_fidelity_15_and_16_published_schedules_add_up(settings: dict[str, Any], expected: list[float]) -> None:
    config = RetryConfig(**settings)
    waits = [config.calculate_delay(attempt) for attempt in range(1, len(expected) + 1)]
    assert list(itertools.accumulate(waits)) == pytest.approx(expected, abs=0.01)


def test_fidelity_16_fails_three_times_then_succeeds() -> None:
    config = RetryConfig(schedule=(5, 300, 1800, 7200, 18000, 36000, 36000))
    assert sum(config.calculate_delay(attempt) for attempt in (1, 2, 3)) == 35 * 60 + 5
    assert config.max_attempts == 8


def test_v14_a_day_doubled_a_thousand_times() -> None:
    day = 86400.0
    assert delays([1000], initial_delay=day, max_delay=2 * day) == [2 * day]
    endless = RetryConfig(initial_delay=day, max_delay=1e300)
    assert endless.calculate_delay(2000) == 1e300
    assert Backoff(endless, random.Random(1)).next_delay_ns(2000, None) == LONGEST_WAIT_NS


@pytest.mark.parametrize("attempt", [0, -1, -64])
@pytest.mark.parametrize("jitter", ["none", "full", "decorrelated"])
def test_an_attempt_below_one_is_refused(attempt: int, jitter: Any) -> None:
    config = RetryConfig(jitter=jitter)
    with pytest.raises(ValueError, match="at least 1"):
        config.calculate_delay(attempt)
    with pytest.raises(ValueError, match="at least 1"):
        Backoff(config, random.Random(1)).next_delay_ns(attempt, None)


durations = st.one_of(st.just(0.0), st.floats(1e-9, 1e7), st.floats(0, 1e308))


@st.composite
def formulas(draw: st.DrawFn) -> dict[str, Any]:
    min_delay, max_delay = sorted([draw(st.just(0.0) | durations), draw(durations)])
    words = st.sampled_from(["exponential", "constant", "linear", "fibonacci"])
    kind = draw(words | st.sampled_from([{"polynomial": {"power": power}} for power in (0, 0.5, 1, 4)]))
    return {
        "initial_delay": draw(durations),
        "backoff_multiplier": draw(st.one_of(st.just(1.0), st.floats(1, 3), st.floats(1, 1e308))),
        "min_delay": min_delay,
        "max_delay": max_delay,
        "backoff": kind,
        "increment": draw(st.none() | durations) if kind == "linear" else None,
    }


schedules = st.fixed_dictionaries({"schedule": st.lists(durations, min_size=1, max_size=100)})
attempts = st.one_of(st.integers(1, 70), st.integers(1, 10**6), st.integers(1, 10**400))


@given(formulas(), attempts, attempts)
def test_without_jitter_delays_are_finite_bounded_and_never_fall(
    settings: dict[str, Any], one: int, other: int
) -> None:
    config = RetryConfig(**settings)
    earlier, later = (config.calculate_delay(attempt) for attempt in sorted((one, other)))
    assert config.min_delay <= earlier <= later <= config.max_delay
    assert math.isfinite(later)


@given(formulas())
def test_the_first_delay_is_the_initial_one_within_its_bounds(settings: dict[str, Any]) -> None:
    config = RetryConfig(**settings)
    if config.growth == "polynomial" and config.calculate_delay(1) == config.min_delay:
        return  # the first of these is 0^power times the initial delay
    assert config.calculate_delay(1) == max(config.min_delay, min(config.initial_delay, config.max_delay))


@given(st.one_of(formulas(), schedules), attempts)
def test_backoff_without_jitter_is_the_base_delay_and_draws_nothing(settings: dict[str, Any], attempt: int) -> None:
    config = RetryConfig(**settings)
    expected_s = config.calculate_delay(attempt)
    expected_ns = ns(expected_s) if expected_s < LONGEST_WAIT_NS / NS_PER_S else LONGEST_WAIT_NS
    assert Backoff(config, Scripted([])).next_delay_ns(attempt, 123) == expected_ns


# With jitter


def test_v20_full_jitter_with_a_pinned_generator() -> None:
    backoff = Backoff(RetryConfig(jitter="full", backoff="constant", initial_delay=10), random.Random(42))
    got = [backoff.next_delay_ns(attempt, None) / NS_PER_S for attempt in range(1, 6)]
    assert got == pytest.approx([6.3943, 0.2501, 2.7503, 2.2321, 7.3647], rel=1e-3)


def test_v26_proportional_jitter_of_a_quarter() -> None:
    got = jittered_s([0, 0.4, 0.6, 1], [1, 1, 1, 1], jitter="proportional", jitter_share=0.25)
    assert got == [0.75, 0.95, 1.05, 1.25]


def test_v28_the_cap_comes_after_the_jitter() -> None:
    got = jittered_s([0.5, 0.9, 1], [2, 2, 2], jitter="proportional", initial_delay=10, max_delay=1)
    assert got == [1, 1, 1]


def test_v30_the_largest_draw_of_full_jitter_stays_below_the_delay() -> None:
    draws = [LARGEST_DRAW] * 8
    got = jittered_s(draws, [1, 2, 3, 4, 5, 6, 7, 1], jitter="full", initial_delay=0.005, max_delay=0.1)
    assert [int(delay * 1000) for delay in got] == [4, 9, 19, 39, 79, 99, 99, 4]


def test_equal_jitter_keeps_half() -> None:
    assert jittered_s([0, 0.5, 1], [2, 2, 2], jitter="equal") == [1.0, 1.5, 2.0]


def test_decorrelated_jitter_draws_between_the_initial_delay_and_three_times_the_last() -> None:
    config = RetryConfig(jitter="decorrelated", initial_delay=1, max_delay=10)
    backoff = Backoff(config, Scripted([0.5, 0.5, 0.5, 0.5]))
    first = backoff.next_delay_ns(1, None)
    second = backoff.next_delay_ns(2, first)
    third = backoff.next_delay_ns(3, second)
    fourth = backoff.next_delay_ns(4, third)
    # U(1, 3), U(1, 6), then U(1, 3 * 3.5) and U(1, 3 * 5.5) with the range cut at 10.
    assert [first, second, third, fourth] == [ns(2), ns(3.5), ns(5.5), ns(5.5)]


def test_v22_decorrelated_jitter_with_another_factor_and_a_pinned_generator() -> None:
    config = RetryConfig(jitter="decorrelated", jitter_factor=2, initial_delay=1)
    backoff, previous_ns, waits = Backoff(config, random.Random(42)), None, []
    for attempt in range(1, 6):
        previous_ns = backoff.next_delay_ns(attempt, previous_ns)
        waits.append(previous_ns / NS_PER_S)
    assert waits == pytest.approx([1.6394, 1.0570, 1.3064, 1.3600, 2.2667], rel=1e-4)


def test_x8_the_cap_bounds_the_range_or_the_draw() -> None:
    previous_ns = ns(10)
    bounded = Backoff(RetryConfig(jitter="decorrelated", max_delay=10), Scripted([0.5]))
    piled_up = Backoff(RetryConfig(jitter="decorrelated", max_delay=10, cap_after_draw=True), Scripted([0.5]))
    assert bounded.next_delay_ns(5, previous_ns) == ns(5.5)
    assert piled_up.next_delay_ns(5, previous_ns) == ns(10)


def test_proportional_jitter_may_lift_a_scheduled_wait_by_its_share() -> None:
    got = jittered_s([1, 1], [1, 2], jitter="proportional", jitter_share=0.1, schedule=[100, 200], max_delay=60)
    assert got == pytest.approx([110, 220])


def soft_waits(config: RetryConfig, source: random.Random, count: int) -> list[float]:
    backoff, memory_ns, waits = Backoff(config, source), None, []
    for attempt in range(1, count + 1):
        delay_ns, memory_ns = backoff.next_wait(attempt, memory_ns)
        waits.append(delay_ns / NS_PER_S)
    return waits


@pytest.mark.parametrize(
    ("max_delay", "expected"),
    [
        (1e9, [10.2537, 3.7838, 20.3690, 32.1965, 123.7448]),
        (30, [10.2537, 3.7838, 20.3690, 30, 30]),
    ],
)
def test_v24_soft_jitter_with_a_pinned_generator(max_delay: float, expected: list[float]) -> None:
    config = RetryConfig(jitter="soft", initial_delay=10, max_delay=max_delay)
    assert soft_waits(config, random.Random(42), 5) == pytest.approx(expected, rel=1e-4)


def test_v28_soft_jitter_is_capped_after_the_draw() -> None:
    assert soft_waits(RetryConfig(jitter="soft", initial_delay=10, max_delay=1), Scripted([0.5] * 3), 3) == [1, 1, 1]


def test_soft_waits_add_up_to_the_curve_whatever_was_drawn_on_the_way() -> None:
    config = RetryConfig(jitter="soft", max_delay=1e9)
    for seed in range(20):
        source = random.Random(seed)
        waits = soft_waits(config, source, 9)
        source = random.Random(seed)
        t = 8 + [source.random() for _ in range(9)][-1]
        assert sum(waits) == pytest.approx(2**t * math.tanh(math.sqrt(4 * t)) / 1.4)


def test_soft_jitter_goes_on_from_the_middle_when_its_memory_is_lost() -> None:
    backoff = Backoff(RetryConfig(jitter="soft", max_delay=1e9), Scripted([0.5, 0.5, 0.5, 0.5]))
    _, reached_ns = backoff.next_wait(3, None)
    lost, _ = backoff.next_wait(4, None)
    kept, _ = backoff.next_wait(4, reached_ns)
    assert lost == kept
    assert backoff.next_delay_ns(4, 123) == kept


@given(st.one_of(st.just(0.0), durations), durations, attempts, st.floats(0, LARGEST_DRAW))
def test_soft_waits_are_bounded_for_any_attempt(initial: float, longest: float, attempt: int, draw: float) -> None:
    config = RetryConfig(jitter="soft", initial_delay=initial, max_delay=longest)
    backoff, memory_ns = Backoff(config, Scripted([draw] * 3)), None
    for later in range(3):
        delay_ns, memory_ns = backoff.next_wait(attempt + later, memory_ns)
        assert 0 <= delay_ns <= wait_ns(longest)
        assert 0 <= memory_ns <= LONGEST_WAIT_NS


def test_v32_additive_jitter_under_the_cap() -> None:
    for draw in (0, 0.3, LARGEST_DRAW):
        got = jittered_s([draw] * 8, range(1, 9), jitter="additive", jitter_max=1, max_delay=60)
        assert got[6:] == [60, 60]
        assert got[:6] == pytest.approx([2**n + draw for n in range(6)])


def test_sidekiqs_and_obans_waits_are_their_formulas() -> None:
    sidekiq = {"backoff": {"polynomial": {"power": 4, "plus": 15}}, "initial_delay": 1}
    assert delays(range(1, 6), **sidekiq) == [15, 16, 31, 96, 271]
    assert delays([25], **sidekiq) == [24**4 + 15]
    assert delays([25], **sidekiq, max_delay=3600) == [3600]
    count_by_10 = jittered_s([0.5] * 3, [1, 2, 25], jitter="by_count", jitter_max=10, **sidekiq)
    assert count_by_10 == [15 + 5, 16 + 10, 24**4 + 15 + 125]
    oban = {"backoff": {"exponential": {"plus": 15}}, "initial_delay": 2, "max_delay": 86400}
    assert delays(range(1, 21), **oban) == [min(15 + 2**n, 86400) for n in range(1, 21)]
    above = jittered_s([0, 0.5, 1], [1, 1, 1], jitter="proportional", jitter_side="above", jitter_share=0.1, **oban)
    assert above == pytest.approx([17, 17.85, 18.7])


def test_no_number_of_attempts_overflows_a_polynomial() -> None:
    config = RetryConfig(backoff={"polynomial": {"power": 9}}, jitter="by_count")
    assert Backoff(config, Scripted([0.5])).next_delay_ns(10**400, None) == LONGEST_WAIT_NS
    rule = RetryConfig(backoff={"polynomial": {"power": 4}}, per_outcome={"throttled": {"max_delay": 60}})
    assert rule.calculate_delay(9) == 4096
    assert rule.per_outcome.throttled is not None
    assert rule.with_rule(rule.per_outcome.throttled).calculate_delay(9) == 60


def test_x4_the_cap_comes_last_or_before_the_jitter() -> None:
    settings: dict[str, Any] = {"initial_delay": 1, "backoff_multiplier": 1.6, "max_delay": 120}
    last = jittered_s([1, 0], [20, 20], jitter="proportional", **settings)
    before = jittered_s([1, 0], [20, 20], jitter="proportional", cap_before_jitter=True, **settings)
    assert last == [120, 96]
    assert before == [144, 96]
    added = jittered_s([0.5], [20], jitter="additive", jitter_max=8, cap_before_jitter=True, **settings)
    assert added == [124]


def test_a_minimum_bounds_the_range_of_full_jitter() -> None:
    assert jittered_s([0, 0.5, 1], [5, 5, 5], jitter="full", min_delay=4) == [4, 10, 16]
    assert jittered_s([0, 0.5, 1], [1, 1, 1], jitter="full", min_delay=4) == [4, 4, 4]


@over_each(map(tuple, TABLES["without_effect"]))
def test_settings_that_would_do_nothing_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        RetryConfig(**settings)


jitters = st.sampled_from(["full", "equal", "decorrelated", "proportional", "additive", "by_count"])
shares = st.floats(0, LARGEST_DRAW)
previous = st.none() | st.integers(0, LONGEST_WAIT_NS)


@given(formulas(), jitters, st.floats(0.001, 1), st.booleans(), attempts, previous, shares)
def test_no_jitter_exceeds_the_cap_or_turns_the_range_over(
    settings: dict[str, Any],
    jitter: Any,
    share: float,
    cap_after_draw: bool,
    attempt: int,
    previous_ns: int | None,
    draw: float,
) -> None:
    assume(jitter != "decorrelated" or isinstance(settings["backoff"], str))
    config = RetryConfig(
        **settings,
        jitter=jitter,
        jitter_share=share,
        jitter_factor=1 + 1e308 * share,
        cap_after_draw=cap_after_draw and jitter == "decorrelated",
    )
    source = Scripted([draw])
    delay_ns = Backoff(config, source).next_delay_ns(attempt, previous_ns)
    cap_ns = Backoff(RetryConfig(backoff="constant", initial_delay=1e308, max_delay=config.max_delay), source)
    assert source.count == 1
    assert Backoff(RetryConfig(**settings | {"initial_delay": 0, "increment": None}), source).next_delay_ns(
        1, None
    ) <= (delay_ns)
    assert delay_ns <= cap_ns.next_delay_ns(1, None)
    base_ns = Backoff(RetryConfig(**settings), source).next_delay_ns(attempt, None)
    if jitter in ("full", "equal"):
        assert delay_ns <= base_ns
    if jitter == "equal":
        assert delay_ns >= math.floor(base_ns / 2)
    if jitter == "decorrelated":
        assert delay_ns >= Backoff(RetryConfig(**settings), source).next_delay_ns(1, None)


@given(schedules, st.sampled_from(["full", "equal"]), attempts, shares)
def test_jitter_never_lifts_a_scheduled_wait(settings: dict[str, Any], jitter: Any, attempt: int, draw: float) -> None:
    scheduled_ns = Backoff(RetryConfig(**settings), Scripted([])).next_delay_ns(attempt, None)
    backoff = Backoff(RetryConfig(**settings, jitter=jitter), Scripted([draw]))
    assert backoff.next_delay_ns(attempt, None) <= scheduled_ns


def test_the_same_seed_gives_the_same_waits() -> None:
    def waits(seed: int) -> list[int]:
        backoff = Backoff(RetryConfig(jitter="full"), random.Random(seed))
        return [backoff.next_delay_ns(attempt, None) for attempt in range(1, 20)]

    assert waits(7) == waits(7) != waits(8)


# A provider's hint


@pytest.mark.parametrize(
    ("hint", "expected_ns"),
    [
        (None, 0),
        (0, 0),
        (1.5, ns(1.5)),
        (30, ns(30)),
        (-0.1, 0),
        (math.nan, 0),
        (math.inf, 0),
        (-math.inf, 0),
        (True, 0),
        ("30", 0),
        (1e300, LONGEST_WAIT_NS),
        (10**400, LONGEST_WAIT_NS),
    ],
)
def test_a_hint_in_seconds_or_nonsense(hint: Any, expected_ns: int) -> None:
    assert retry_after_ns(hint) == expected_ns
