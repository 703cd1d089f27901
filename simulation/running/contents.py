"""The parts of a pipeline that a scenario gives: the settings of its channels, users' preferences, and templates."""

from __future__ import annotations

from actors.messages import NotificationChannel
from actors.pipeline.preferences import Preferences, Quiet, SwitchedOff
from actors.pipeline.templates import BUILT_IN, Template, Templates
from actors.policies.quiet_hours import QuietHours
from actors.settings.channel import ChannelConfig
from simulation.scenario import Scenario
from simulation.scenario.workload import zone_of_user


def channels_of(scenario: Scenario) -> dict[NotificationChannel, ChannelConfig]:
    return {channel: scenario.channel_config(channel) for channel in scenario.channels_used}


def preferences_of(scenario: Scenario) -> Preferences | None:
    """Return the preferences of its users; None where the scenario has none."""
    if not scenario.preferences and not scenario.quiet_hours:
        return None

    def zone_of(user: str) -> str | None:
        zone = zone_of_user(user)
        return zone if zone in scenario.zones else None

    return Preferences(
        switched_off=[
            SwitchedOff(share=rule.share, channels=frozenset({rule.channel})) for rule in scenario.preferences
        ],
        quiet=[
            Quiet(
                share=rule.share,
                hours=QuietHours(rule.from_, rule.to, rule.zone),
                zone_of=zone_of if rule.own_zone is None and scenario.zones != ("UTC",) else None,
                channels=rule.channels,
            )
            for rule in scenario.quiet_hours
        ],
    )


def templates_of(scenario: Scenario) -> Templates:
    """Return its templates, and the built-in ones that it does not replace."""
    texts = {
        name: Template(subject=text.subject, body=text.body, html=text.html)
        for name, text in scenario.templates.items()
    }
    return Templates({**BUILT_IN, **texts}, variables={"platform": scenario.name})
