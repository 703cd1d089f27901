"""When an endpoint is disabled: the rule alone."""

import pytest
from hypothesis import given, strategies as st

from actors.endpoints import EndpointMark, EndpointState
from actors.errors import ConfigurationError
from actors.policies.failing_endpoints import after_failure
from actors.settings.base import validated
from actors.settings.redrive import EndpointsConfig

H = 3600 * 10**9
FIVE_DAYS = EndpointsConfig()


def states_after(*failures_h: float, config: EndpointsConfig = FIVE_DAYS) -> list[str | None]:
    """Return what each failure makes of an endpoint, by the hours at which they are."""
    known, states = None, []
    for hours in failures_h:
        mark = after_failure(known, config, round(hours * H))
        states.append(None if mark is None else mark.state.value)
        known = mark or known
    return states


def test_after_five_days_of_failures_it_is_disabled():
    assert states_after(0, 6, 12, 50, 119.9, 120, 121) == ["suspected", None, "failing", None, None, "disabled", None]


def test_the_clock_starts_by_two_failures_within_a_day_that_are_half_a_day_apart():
    assert states_after(0, 11.99, 24, 120) == ["suspected", None, "failing", "disabled"]
    assert states_after(0, 24.01, 48) == ["suspected", "suspected", "failing"]  # from the second on
    assert states_after(0, 24.01, 48, 144, 144.01) == ["suspected", "suspected", "failing", None, "disabled"]


def test_one_that_is_seldom_asked_is_never_disabled_for_a_bad_moment_now_and_then():
    assert set(states_after(*range(0, 24 * 365, 24 * 7))) == {"suspected"}
    assert states_after(0, 12, 239.9) == ["suspected", "failing", "disabled"]
    assert states_after(0, 12, 240) == ["suspected", "failing", "suspected"]  # what was known is forgotten


def test_a_calendar_that_is_set_back_starts_the_clock_anew():
    assert states_after(100, 112, 50, 62, 219) == ["suspected", "failing", "suspected", "failing", "disabled"]


def test_one_that_lasts_for_longer_than_a_database_can_say_is_never_over():
    ages = EndpointsConfig(disable_after=1e30)
    mark = after_failure(None, ages, 2**60 + 2**59)
    assert mark is not None
    assert mark.until_ns < 2**63


@given(st.lists(st.integers(0, 40), max_size=40), st.sampled_from([0.5, 10, 86_400.0]))
def test_whatever_fails_when_it_is_disabled_only_after_the_time_and_by_failures_close_enough(steps, disable_after):
    config = validated(EndpointsConfig, {"disable_after": disable_after})
    unit_ns = round(disable_after * 10**9) // 20
    now_ns, known, failures_ns = 10**18, None, []
    for step in steps:
        now_ns += step * unit_ns
        failures_ns.append(now_ns)
        mark = after_failure(known, config, now_ns)
        known = mark or known
        assert isinstance(known, EndpointMark)
        assert known.since_ns in failures_ns
        if mark is not None and mark.state is EndpointState.DISABLED:
            assert now_ns - known.since_ns >= 20 * unit_ns
            between = [each for each in failures_ns if 2 * unit_ns <= each - known.since_ns <= 4 * unit_ns]
            assert between
            return


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"disable_after": 0}, "disable_after: wanted"),
        ({"disable_after": "never"}, "disable_after: wanted"),
        ({"after": "5d"}, "after: unknown key"),
    ],
)
def test_settings_that_cannot_be(settings, problem):
    with pytest.raises(ConfigurationError) as raised:
        validated(EndpointsConfig, settings)
    assert problem in " ".join(raised.value.problems)
