"""Traps that take more than one window of a scenario: bursts in an outage, and quiet hours of two zones."""

import pytest

from simulation.scenario import parse
from simulation.scenario.lint import lint_scenario


@pytest.mark.parametrize(("at", "is_said"), [("50m", True), ("5m", False)])
def test_a_burst_in_an_outage_is_not_spread_over_the_hour(at, is_said):
    """150,000 come within a second of each hour: five minutes have all of them, or none."""
    text = f"""
        duration: 2h
        workload: [{{channel: email, arrivals: {{burst: {{size: 150000, every: 55m}}}}}}]
        channels: {{email: {{provider: {{latency: 200ms}}}}}}
        faults: [{{channel: email, at: {at}, for: 10m, outage: true}}]
    """
    found = [str(each) for each in lint_scenario(parse(text)) if str(each).startswith("faults.")]
    assert (
        found
        == [
            "faults.0.for: 150,000 notifications arrive meanwhile, and a live notifier has at most 100,000 pending by "
            "default and refuses what is more, the first of these at 95,000 pending; max_pending says so here"
        ]
        * is_said
    )


QUIET = """
duration: 1m
workload: [{{channel: sms, arrivals: {{constant: 1/s}}}}, {{channel: push, arrivals: {{constant: 1/s}}}}]
quiet_hours:
  - {{share: 40%, from: 22:00, to: 07:00, zone: Europe/Berlin}}
  - {{share: 40%, from: 00:00, to: {until}, zone: America/New_York, channels: sms}}
"""


@pytest.mark.parametrize(("until", "is_said"), [("15:59", False), ("16:00", True), ("23:59", True)])
def test_quiet_hours_of_two_zones_may_leave_no_moment_of_a_day(until, is_said):
    text = (
        "quiet_hours: leave no moment of a day on sms to the 16% of the users who are in all of them: these get "
        "nothing there that is not critical"
    )
    found = [str(each) for each in lint_scenario(parse(QUIET.format(until=until))) if each.rule.startswith("quiet")]
    assert found == ([text] if is_said else [])
