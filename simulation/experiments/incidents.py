"""Your own channel settings in the published incidents that ship: which expectations hold, and which break.

An incident gives the arrivals, the providers and their faults; the settings give all that the sender decides: retries,
breakers, limits, order, failover and fallback. Loads are scaled down there, so that a bulkhead or a quota of yours
binds less than it would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

from rich.markup import escape

from actors.errors import ConfigurationError
from actors.formatting import plain_number
from actors.instants import seconds
from actors.messages import NotificationChannel
from actors.pipeline.fallback import problems_of_fallbacks
from actors.settings.channel import ChannelConfig, NotifierConfig, kind_of
from actors.settings.faults import FaultConfig
from actors.settings.file import settings_of_tree, text_of, tree_of
from actors.settings.quantities import Rate, write_rate
from actors.settings.yaml_tree import MappingNode
from simulation.importing.channels import channel_names, channels_root, imported_from
from simulation.importing.files import Imported
from simulation.importing.source import Given
from simulation.reporting.console import stdout
from simulation.reporting.expectations import with_unit
from simulation.results.formatting import value_text
from simulation.results.result import Result
from simulation.running.executors import executor
from simulation.running.runner import run
from simulation.scenario import Expectation, Scenario, load
from simulation.scenario.metrics import metric_kind, path_of
from simulation.scenario.writing import in_one_line
from simulation.sheets import Column, Row, Sheet, Word

EMAIL, SMS, PUSH = NotificationChannel.EMAIL, NotificationChannel.SMS, NotificationChannel.PUSH

FURTHER = "further"
"""Stands for the further providers of a channel, whatever they are called."""


@dataclass(frozen=True)
class Incident:
    name: str

    happened: str
    """The published course of the incident in a few words."""

    wanted: tuple[str, ...]
    """The expectations, the most important first; the last is the subject of the incident."""

    kept: tuple[str, ...] = ()
    """The sender's settings that stay as in the incident's file, since they are part of how it is scaled down."""

    enforced: Mapping[NotificationChannel, tuple[Rate, str | None]] = field(default_factory=dict)
    """Limits of the providers that the incident's file has as quotas of the sender: by channel, with the provider."""

    @property
    def path(self) -> Path:
        return _folder() / f"{self.name}.yaml"

    def with_settings(self, settings: NotifierConfig) -> Scenario:
        """Return its scenario with all that the sender decides from these settings."""
        scenario = load(self.path)
        used = scenario.channels_used
        called = {channel: called_in(settings, channel, scenario) or channel for channel in used}
        channels = {
            channel.value: self._behind(
                settings.channels.get(name, ChannelConfig()), scenario.channel_as_given(channel)
            )
            for channel, name in called.items()
        }
        further = {
            channel.value: settings.channels[channel]
            for channel in _reached_from(settings, list(called.values()))
            if channel not in (*used, *called.values()) and channel in settings.channels
        }
        accounts = {  # of which what a provider enforces is not of this incident
            name: account.model_copy(update={"throttle": None, "quota": account.quota_of(name)})
            for name, account in settings.accounts.items()
        }
        return scenario.model_copy(
            update={
                "channels": type(scenario.channels)(**channels, **further),
                "accounts": accounts,
                "faults": (*scenario.faults, *self._limits(settings)),
                "expect": tuple(map(Expectation.parse, self.wanted)),
            }
        )

    def missing(self, settings: NotifierConfig) -> list[NotificationChannel]:
        """Return its channels that settings have neither by their names nor another one of their kinds; none of the
        defaults, which stand for all channels."""
        scenario = load(self.path)
        used = scenario.channels_used if settings.channels else ()
        return [channel for channel in used if called_in(settings, channel, scenario) is None]

    def _behind(self, own: ChannelConfig, told: ChannelConfig) -> ChannelConfig:
        """Return settings of a channel before the providers that it tells of, the further ones in their order."""
        others = [other.provider for other in told.failover.values()] or [told.provider]
        failover = {
            name: other.model_copy(update={"provider": others[min(number, len(others) - 1)]})
            for number, (name, other) in enumerate(own.failover.items())
        }
        kept = {"kind": told.kind, **{key: getattr(told, key) for key in self.kept}}
        return own.model_copy(update={"provider": told.provider, "failover": failover, **kept})

    def _limits(self, settings: NotifierConfig) -> Iterator[FaultConfig]:
        for channel, (rate, provider) in self.enforced.items():
            names: Sequence[str | None] = [provider]
            if provider == FURTHER:
                names = list(settings.channels.get(channel, ChannelConfig()).failover)
            for name in names:
                yield FaultConfig.model_validate(
                    {"channel": channel, "provider": name, "throttle": {"rate": rate, "kind": "token_bucket"}}
                )


INCIDENTS = (
    Incident(
        "github-notifications-2026",
        "80 min late, none lost",
        ("sent_fraction == 1", "sent_time_s.max <= 90m"),
        kept=("timeout", "max_in_flight"),  # one stands for many
    ),
    Incident("gatewayapi-2016", "each SMS up to three times", ("sent_fraction >= 98%", "reached_twice <= 100")),
    Incident(
        "github-retries-2026", "ten times the traffic for hours", ("sent_fraction >= 85%", "peaks.requests_per_s <= 40")
    ),
    Incident(
        "github-webhooks-2024",
        "71 min late, none lost, and a herd",
        ("sent_fraction == 1", "delivery_time_s.p95 <= 72m", "peaks.requests_per_s <= 20"),
    ),
    Incident(
        "improvmx-2025",
        "one dead host, all others an hour late",
        ("workload.others.sent_fraction == 1", "workload.others.delivered_within(1m) >= 99%"),
    ),
    Incident(
        "onfido-2025",
        "49 min late, none lost, refusals by receivers",
        ("sent_fraction == 1", "sent_time_s.max <= 49m"),
        kept=("timeout", "max_in_flight"),
    ),
    Incident(
        "opsgenie-2022",
        "50 min late, none lost",
        ("sent_fraction == 1", "sent_time_s.max <= 60m"),
        enforced={PUSH: (Rate(40.0, 60.0), None), SMS: (Rate(7.0, 60.0), None)},
    ),
    Incident(
        "pagerduty-2017",
        "32% late, none lost",
        ("sent_fraction == 1", "channels.email.delivered_within(1m) == 1", "delivered_within(1m) >= 68%"),
        enforced={SMS: (Rate(24.0, 60.0), FURTHER)},
    ),
    Incident(
        "va-debt-2023",
        "400 to 500/s where 15/s are agreed",
        ("sent_fraction == 1", "sent_time_s.max <= 6m"),
        enforced={EMAIL: (Rate(15.0, 1.0), None)},
    ),
    Incident(
        "vonage-2022", "20 to 23 s late for three days, none lost", ("sent_fraction == 1", "sent_time_s.max <= 20s")
    ),
)


def called_in(settings: NotifierConfig, channel: NotificationChannel, scenario: Scenario) -> NotificationChannel | None:
    """Return the name in settings for a channel of an incident: the same, or the first other name of its kind; None:
    they have none."""
    if channel in settings.channels:
        return channel
    kind = kind_of(channel, scenario.channel_as_given(channel))
    return next((name for name, own in settings.channels.items() if kind_of(name, own) is kind), None)


@dataclass(frozen=True)
class Verdict:
    incident: Incident
    result: Result

    @property
    def holds(self) -> bool:
        """Whether all was as wanted."""
        return self.result.holds

    @cached_property
    def decisive(self) -> Mapping[str, Any]:
        """The first expectation that does not hold; else the last, which is the subject of the incident."""
        expectations: Sequence[Mapping[str, Any]] = self.result.summary["expectations"]
        return next((each for each in expectations if not each["holds"]), expectations[-1])

    @property
    def document(self) -> dict[str, Any]:
        summary = self.result.summary
        return {
            "incident": self.incident.name,
            "happened": self.incident.happened,
            "holds": self.holds,
            "decisive": self.decisive["text"],
            "expectations": summary["expectations"],
            "digest": summary["digest"],
        }


def verdicts(settings: NotifierConfig, workers: int | None = 1) -> Iterator[Verdict]:
    """Yield the verdict on these settings in each incident whose channels they all have.

    Args:
        settings: the settings of the channels.
        workers: how many processes share the runs; as many as cores when None.

    Raises:
        ConfigurationError: there is no such incident.
    """
    judged = [incident for incident in INCIDENTS if not incident.missing(settings)]
    if not judged:
        known = sorted({channel.value for incident in INCIDENTS for channel in incident.missing(settings)})
        got = ", ".join(sorted(channel.value for channel in settings.channels))
        raise ConfigurationError([f"channels: wanted those of an incident, of {', '.join(known)}, got {got}"])
    found: dict[int, Result] = {}
    number = 0
    with executor(workers) as pool:
        for place, result in pool.map(partial(_fare, settings), judged):
            found[place] = result
            while number in found:
                yield Verdict(judged[number], found.pop(number))
                number += 1


def _fare(settings: NotifierConfig, incident: Incident) -> Result:
    # No event is looked at: without them the result is small where it comes from another process.
    return run(incident.with_settings(settings).model_copy(update={"record": "aggregates"}))


def settings_given(path: Path | None, policy: str | None, given: Given) -> tuple[NotifierConfig, list[str]]:
    """Return the settings in a file, and notes about them: a policy of another library holds for every channel of the
    incidents.

    Args:
        path: the file; None: the defaults.
        policy: the name of the chosen policy of another library, or of its channel.
        given: parameters that matter and are not in a file of another library.

    Raises:
        ConfigurationError: the file cannot be used, there are several policies and none is named, or none such.
    """
    imported = None if path is None else imported_from(path, given)
    if imported is None and policy is not None:
        raise ConfigurationError([f"--policy {policy}: wanted it with a file of another library"])
    if imported is None:
        return (NotifierConfig() if path is None else settings_in(path)), []
    names = dict(zip(channel_names(imported.policies), imported.policies, strict=True))
    chosen = [name for name, each in names.items() if policy is None or policy in (name, each.name)]
    if len(chosen) != 1:
        known = ", ".join(each.name for each in imported.policies)
        raise ConfigurationError([f"--policy: wanted one of {known}, got {policy or 'none'}"])
    found = names[chosen[0]]
    root = channels_root(Imported((found,), imported.files))
    own = settings_of_tree(NotifierConfig, root).channels
    (config,) = own.values()
    scenarios = [load(incident.path) for incident in INCIDENTS]
    kinds = {channel: each.channel_as_given(channel).kind for each in scenarios for channel in each.channels_used}
    channels = {channel: config.model_copy(update={"kind": kind}) for channel, kind in kinds.items()}
    where = f"{found.name} of {', '.join(imported.files)}"
    return NotifierConfig(channels=channels), [f"every channel has the policy {where}"]


def settings_in(path: Path) -> NotifierConfig:
    """Return the `channels` and `accounts` of a file, be it of a scenario, of a notifier or of a service.

    Raises:
        ConfigurationError: it has none, or they cannot be used; all that is wrong, with its place.
    """
    root = tree_of(text_of(path), str(path))
    if not isinstance(root, MappingNode) or "channels" not in root.entries:
        raise ConfigurationError([f"{path}: wanted a file with settings of `channels`, got one without"])
    own = {key: node for key, node in root.entries.items() if key in ("channels", "accounts")}
    settings = settings_of_tree(NotifierConfig, MappingNode(root.place, own, root.key_places))
    if problems := list(problems_of_fallbacks(settings.channels)):
        raise ConfigurationError([f"{path}: {problem}" for problem in problems])
    return settings


def _reached_from(settings: NotifierConfig, used: Sequence[NotificationChannel]) -> list[NotificationChannel]:
    """Return these channels, and the ones that their fallbacks lead to."""
    reached = list(used)
    for each in reached:
        config = settings.channels.get(each)
        if config is not None and config.fallback is not None and config.fallback.channel not in reached:
            reached.append(config.fallback.channel)
    return reached


def _folder() -> Path:
    """Return where the files are: in the package as it is installed, or beside it in a checkout."""
    installed = Path(__file__).with_name("published")
    return installed if installed.is_dir() else Path(__file__).parents[2] / "scenarios" / "incidents"


# ── remedies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


Change: TypeAlias = Mapping[str, Any]
"""Keys of a channel with their contents, as in a file."""


@dataclass(frozen=True)
class Remedy:
    """Changes with which settings hold in an incident; with fewer of the tried changes they do not."""

    changes: Mapping[NotificationChannel, Change]
    """By channel; empty where all of them together do not suffice."""

    arrive_per_s: float
    """The mean arrivals a second in the incident."""

    is_scaled_down: bool
    """Whether the incident's file has less load than the incident had."""

    @property
    def has_rates(self) -> bool:
        """Whether any of them is a rate; yours must be larger by the ratio of your load to the incident's."""
        return any(
            "quota" in change or "resume_rate" in change.get("circuit_breaker", ()) for change in self.changes.values()
        )

    @property
    def lines(self) -> list[str]:
        """The changes of each channel in a line, as they would stand in a file."""
        return [f"{channel}: {in_one_line(change)}" for channel, change in self.changes.items()]


def remedy(settings: NotifierConfig, verdict: Verdict) -> Remedy:
    """Return the fewest changes with which settings that failed an incident would have held."""
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
    """Return settings of a channel with a change: a breaker gets the named keys, any other group is replaced."""
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
    """Limit the rate by a quota to the provider's own limit, in place of finding it out by refusals."""
    return {} if rate is None or provider is not None else {"quota": {"rate": write_rate(rate), "kind": "leaky_bucket"}}


# ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def verdicts_sheet(verdicts: Sequence[Verdict], called: str, settings: NotifierConfig) -> Sheet:
    held = sum(verdict.holds for verdict in verdicts)
    rows = [
        Row(
            (
                verdict.incident.name,
                Word("holds", "fine") if verdict.holds else Word("breaks", "bad"),
                verdict.decisive["text"],
                _value(verdict),
                verdict.incident.happened,
            )
        )
        for verdict in verdicts
    ]
    columns = [Column(heading) for heading in ("incident", "", "what decides", "is", "as it happened")]
    said = [f"{name}: not judged, for the file has no {' and no '.join(each)}" for name, each in not_judged(settings)]
    return Sheet(called, columns, rows, said=said, about=f"{held} of {len(verdicts)} incidents hold")


def not_judged(settings: NotifierConfig) -> list[tuple[str, list[NotificationChannel]]]:
    """Return the names of the incidents that are not judged, with the channels that settings lack."""
    return [(each.name, missing) for each in INCIDENTS if (missing := each.missing(settings))]


def print_remedies(remedies: Mapping[str, Remedy]) -> None:
    """Print on stdout, by incident, the changes with which each failed incident would have held."""
    console = stdout()
    for incident, remedy in remedies.items():
        console.print(f"\n[bold]{incident}[/bold] would hold with")
        for line in remedy.lines or ["nothing that is tried: no change by itself, nor all of them together"]:
            console.print(f"  {escape(line)}", soft_wrap=True)
        if remedy.has_rates:
            scaled = ", scaled down from what it was" if remedy.is_scaled_down else ""
            load = f"{plain_number(remedy.arrive_per_s, 2)}/s that arrive here on average{scaled}"
            told = f"its rates are of the {load}: multiply them by as many times as your load is larger"
            console.print(f"  [dim]{told}[/dim]", soft_wrap=True)


def _value(verdict: Verdict) -> str:
    path = path_of(Expectation.parse(verdict.decisive["text"]).path)
    kind = metric_kind(verdict.result.scenario.outline, path)
    return value_text(verdict.decisive, lambda value: with_unit(value, kind))
