"""Remedies: the fewest of some well-known changes with which settings come through an incident."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeAlias

from actors.instants import seconds
from actors.messages import NotificationChannel
from actors.settings.channel import ChannelConfig, NotifierConfig
from actors.settings.quantities import Rate, write_rate
from simulation.experiments.incidents import Incident, Verdict, called_in
from simulation.running.runner import run
from simulation.scenario import Scenario, load
from simulation.scenario.writing import in_one_line

Change: TypeAlias = Mapping[str, Any]
"""Keys of a channel with what is under them, as in a file."""


@dataclass(frozen=True)
class Remedy:
    """Changes with which settings hold in an incident; with fewer of those that are tried they do not."""

    changes: Mapping[NotificationChannel, Change]
    """By channel; empty where all of them together do not suffice."""

    arrive_per_s: float
    """The mean arrivals a second in the incident."""

    is_scaled_down: bool
    """Whether the incident's file has less load than the incident had."""

    @property
    def has_rates(self) -> bool:
        """Whether any of them is a rate, which yours has to exceed by as many times as your load is larger."""
        return any(
            "quota" in change or "resume_rate" in change.get("circuit_breaker", ()) for change in self.changes.values()
        )

    @property
    def lines(self) -> list[str]:
        """The changes of each channel in a line, as they would stand in a file."""
        return [f"{channel}: {in_one_line(change)}" for channel, change in self.changes.items()]


def remedy(settings: NotifierConfig, verdict: Verdict) -> Remedy:
    """Return what settings lack that have not held in an incident: as few changes as suffice."""
    scenario = load(verdict.incident.path)
    is_scaled_down = "scaled down" in scenario.description
    arrive_per_s = verdict.result.summary["offered"] / seconds(scenario.arrivals_end_ns)
    for count in range(1, len(_CHANGES) + 1):
        for chosen in combinations(_CHANGES, count):
            changed = _with(settings, verdict.incident, scenario, chosen)
            if changed is None:
                continue
            with_them, changes = changed
            if Verdict(verdict.incident, run(verdict.incident.with_settings(with_them))).holds:
                return Remedy(changes, arrive_per_s, is_scaled_down)
    return Remedy({}, arrive_per_s, is_scaled_down)


def _with(
    settings: NotifierConfig, incident: Incident, scenario: Scenario, chosen: Sequence[_Suggest]
) -> tuple[NotifierConfig, dict[NotificationChannel, Change]] | None:
    """Return settings with some changes, and these by channel; None: one of them changes nothing."""
    channels = dict(settings.channels)
    changes: dict[NotificationChannel, Change] = {}
    for suggest in chosen:
        is_one = False
        for channel in scenario.channels_used:
            name = called_in(settings, channel, scenario) or channel
            own = channels.get(name, ChannelConfig())
            change = suggest(incident, channel, scenario.channel_as_given(channel))
            new = _merged(own, change)
            if new != own:
                is_one, channels[name] = True, new
                changes[name] = _joined(changes.get(name, {}), change)
        if not is_one:
            return None
    return settings.model_copy(update={"channels": channels}), changes


def _merged(own: ChannelConfig, change: Change) -> ChannelConfig:
    """Return settings of a channel with a change: of a breaker what it names, all else as a whole."""
    given = ChannelConfig.model_validate(change)
    new = {key: getattr(given, key) for key in change}
    if "circuit_breaker" in change:
        breaker = {key: getattr(given.circuit_breaker, key) for key in change["circuit_breaker"]}
        new["circuit_breaker"] = own.circuit_breaker.model_copy(update=breaker)
    return own.model_copy(update=new)


def _joined(one: Change, other: Change) -> Change:
    return {
        key: {**one.get(key, {}), **other.get(key, {})} if isinstance(value, Mapping) else value
        for key, value in {**one, **other}.items()
    }


# ── what is tried, that which others notice least first ─────────────────────────────────────────────────────────────

_Suggest: TypeAlias = Callable[[Incident, NotificationChannel, ChannelConfig], Change]


_CHANGES: tuple[_Suggest, ...] = (
    # Go on for hours: nothing is lost to an outage that ends, and what is late is not late for long after it.
    lambda *_: {"retry": {"max_attempts": 500, "max_delay": "1m", "jitter": "full"}},
    # Have others not wait for one that is down.
    lambda *_: {"circuit_breaker": {"per": "host"}},
    # Have those that come back not meet all that has waited.
    lambda *_: {"circuit_breaker": {"resume_rate": "2/s", "resume_rate_max": "5/s"}},
    lambda incident, channel, _: _keep_to_the_limit(*incident.enforced.get(channel, (None, None))),
    # Switch to a second provider, where the sender of the incident had one.
    lambda _incident, _channel, told: {"switch_after": 1, "failover": {"backup": {}}} if told.failover else {},
)


def _keep_to_the_limit(rate: Rate | None, provider: str | None) -> Change:
    """Know what the provider enforces, and do not find it out by its refusals."""
    return {} if rate is None or provider is not None else {"quota": {"rate": write_rate(rate), "kind": "leaky_bucket"}}
