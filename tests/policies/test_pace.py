"""The pace at which those resume that have waited, its ceiling, and the count of new ones that it follows."""

import itertools
from collections import deque

import pytest
from hypothesis import example, given, strategies as st

from actors.instants import NS_PER_S
from actors.policies.resuming import Arrivals, Ceiling, Pace, Relapse
from actors.settings.breaker import CircuitBreakerConfig
from actors.settings.quantities import Rate

S = NS_PER_S


def config(rate: float = 10.0, doubling: float = 10.0, most: float | None = None) -> CircuitBreakerConfig:
    return CircuitBreakerConfig(
        resume_rate=Rate(rate, 1.0),
        resume_doubling=doubling,
        resume_rate_max=None if most is None else Rate(most, 1.0),
    )


def released(pace: Pace, ceiling: float, count: int) -> list[int]:
    """Return the instants of so many, each of which goes as soon as it may."""
    instants = []
    for _ in range(count):
        now_ns = pace.next_ns
        pace.release(now_ns)
        pace.charge(now_ns, ceiling)
        instants.append(now_ns)
    return instants


def most_in_a_second(instants: list[int]) -> int:
    window: deque[int] = deque()
    most = 0
    for instant in instants:
        window.append(instant)
        while window[0] <= instant - S:
            window.popleft()
        most = max(most, len(window))
    return most


@pytest.mark.parametrize(("arriving", "ceiling"), [(0.0, 100.0), (49.0, 100.0), (51.0, 102.0), (1000.0, 2000.0)])
def test_the_ceiling_follows_the_load_and_is_ten_times_the_rate_at_least(arriving, ceiling):
    assert Ceiling(config()).per_s(arriving) == ceiling
    assert Ceiling(config(most=30.0)).per_s(arriving) == 30.0


@given(
    rate=st.floats(0.1, 100.0),
    doubling=st.floats(0.1, 100.0),
    times=st.floats(1.0, 50.0),
    late=st.lists(st.integers(0, 3 * S), max_size=5),
)
@example(rate=10.0, doubling=10.0, times=10.0, late=[])
def test_it_is_never_above_its_ceiling_nor_below_its_rate_and_makes_up_for_nothing(rate, doubling, times, late):
    pace, ceiling = Pace(config(rate, doubling), S), rate * times
    instants = released(pace, ceiling, 200)
    assert instants[0] == S
    gaps = [later - earlier for earlier, later in itertools.pairwise(instants)]
    assert min(gaps) >= S / ceiling - 1
    assert max(gaps) <= S / rate + 2
    for wait_ns in late:
        before_ns = pace.next_ns + wait_ns
        pace.release(before_ns)
        pace.charge(before_ns, ceiling)
        assert pace.next_ns - before_ns >= S / ceiling - 1


def test_it_doubles_up_to_its_ceiling_and_stays_there():
    instants = released(Pace(config(), 0), 100.0, 5000)
    in_second = [sum(second * S <= each < (second + 1) * S for each in instants) for second in (0, 10, 20, 30, 40, 60)]
    assert in_second == pytest.approx([11, 21, 41, 83, 100, 100], abs=2)
    assert most_in_a_second(instants) == 100


@pytest.mark.parametrize(
    ("released_before", "arriving", "ceiling"),
    [
        (200, 8.0, 11.93),  # 10/s and 200 · ln 2 / 10s, halved
        (200, 11.0, 13.75),  # half of it would hardly be more than arrives
        (50, 12.0, 13.47),  # nor is it ever more than the pace was
        (50, 14.0, None),  # less than what arrives cannot overload
        (5000, 0.0, 50.0),  # of its ceiling, 100/s
    ],
)
def test_half_the_pace_of_a_relapse_is_the_ceiling(released_before, arriving, ceiling):
    pace = Pace(config(), 0)
    released(pace, 100.0, released_before)
    relapse = Relapse.after(pace, arriving, 7 * S)
    assert (relapse and relapse.ceiling_per_s(7 * S)) == (ceiling and pytest.approx(ceiling, abs=0.01))


def test_what_a_relapse_teaches_bounds_the_first_rate_too_and_grows_by_2_percent_a_minute():
    relapse = Relapse.after(Pace(config(0.6), 0), 0.0, 0)
    assert relapse is not None
    assert relapse.ceiling_per_s(0) == 0.5
    assert relapse.ceiling_per_s(600 * S) == pytest.approx(0.5 * 1.02**10)
    assert relapse.ceiling_per_s(10**9 * S) > 10**9
    pace = Pace(config(), 0, 4.0)
    assert released(pace, 4.0, 5)[-1] == 1 * S


def test_those_who_pass_by_take_their_part_of_the_ceiling():
    pace = Pace(config(), 0)
    released(pace, 100.0, 3000)  # it is at its ceiling
    start_ns, together, resumed = pace.next_ns, [], 0
    for tick in range(1000):  # forty a second pass by
        now_ns = start_ns + tick * 25_000_000
        while pace.next_ns <= now_ns:
            together.append(pace.next_ns)
            resumed += 1
            pace.release(together[-1])
            pace.charge(together[-1], 100.0)
        together.append(now_ns)
        pace.charge(now_ns, 100.0)
    assert most_in_a_second(sorted(together)) <= 101
    assert resumed == pytest.approx(25 * 60, rel=0.02)


@pytest.mark.parametrize("at_once", [1, 300])
def test_however_many_pass_by_the_others_go_on_at_their_rate(at_once):
    pace = Pace(config(), 0)
    resumed = []
    for tick in range(300):  # three hundred a second, of a hundred that may go
        now_ns = tick * at_once * S // 300
        while pace.next_ns <= now_ns:
            resumed.append(pace.next_ns)
            pace.release(resumed[-1])
            pace.charge(resumed[-1], 100.0)
        for _ in range(at_once):
            pace.charge(now_ns, 100.0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(resumed)]
    assert max(gaps) <= S // 10 + 1


def test_a_crowd_that_passes_by_is_paid_off_within_a_second():
    pace = Pace(config(rate=0.1, doubling=1.0), 0)
    released(pace, 1.0, 1)
    assert S < pace.next_ns < 3 * S
    for _ in range(1000):
        pace.charge(5 * S // 2, 1.0)
    assert pace.next_ns == 7 * S // 2


@given(
    gaps=st.lists(st.integers(0, 20 * S), max_size=200),
    after_ns=st.integers(0, 70 * S),
)
def test_arrivals_are_those_of_the_last_59_to_60_seconds(gaps, after_ns):
    arrivals, instants = Arrivals(), [0]
    for gap in gaps:
        instants.append(instants[-1] + gap)
    arrived = []
    for instant in instants:
        arrivals.note(instant)
        arrived.append(instant)
        check_arrivals(arrivals, arrived, instant)
    check_arrivals(arrivals, arrived, instants[-1] + after_ns)


def check_arrivals(arrivals, arrived, now_ns):
    of_59, of_60 = (sum(each > now_ns - width * S for each in arrived) for width in (59, 60))
    assert of_59 <= round(arrivals.per_second(None, now_ns) * 60) <= of_60


def test_a_host_without_arrivals_for_a_minute_costs_nothing():
    arrivals = Arrivals()
    for number in range(10_000):
        arrivals.note_host(f"host-{number}.example", number * S // 10)
    assert len(arrivals._hosts) <= 601
    assert not any(minute.seconds for minute in arrivals._hosts.values())
    assert arrivals.per_second("host-9999.example", 1000 * S) == pytest.approx(1 / 60)
    assert arrivals.per_second("host-0.example", 1000 * S) == 0


def test_the_ceiling_is_at_least_the_rate():
    with pytest.raises(ValueError, match="resume_rate_max of at least the resume_rate"):
        config(rate=20.0, most=19.0)
    assert config(rate=20.0, most=20.0).resume_rate_max == Rate(20.0, 1.0)
