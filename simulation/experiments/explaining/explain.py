"""The effect of settings: ``retrylab explain``, and `simulation.explain`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.channel_names import channel_named
from actors.errors import ConfigurationError
from actors.messages import NotificationChannel
from simulation.experiments.explaining.channel import ChannelExplained, explained, sheets
from simulation.importing.channels import NO_TIMEOUT_S, imported_from, load_foreign, without_timeout
from simulation.importing.source import Given
from simulation.results.formatting import line
from simulation.running.executors import executor
from simulation.scenario import Scenario, parse
from simulation.scenario.loading import given
from simulation.sheets import Sheet, notebook

_DEFAULTS = "{{name: defaults, duration: 10m, workload: [{{channel: {channel}, arrivals: {{constant: 10/s}}}}]}}"


@dataclass(frozen=True)
class Explanation:
    """The effects of a scenario's settings, by channel; a notebook shows it as text, tables and a picture."""

    scenario: Scenario
    channels: tuple[ChannelExplained, ...]

    def __repr__(self) -> str:
        return line("Explanation", self.scenario.name, [each.channel for each in self.channels])

    def _repr_html_(self) -> str:
        from simulation.experiments.explaining.picture import picture
        from simulation.reporting.plots.canvas import as_image

        return notebook(*self.sheets) + as_image(picture(self.scenario.name, self.channels))

    @property
    def sheets(self) -> list[Sheet]:
        return sheets(self.scenario.name, self.channels)

    @property
    def document(self) -> dict[str, Any]:
        """Everything as a plain dict, fit for JSON: durations in seconds, rates a second; `by` says how each was
        found: ``formula``, ``draws`` or ``run``."""
        return {"scenario": self.scenario.name, "channels": [asdict(each) for each in self.channels]}


def explain(
    scenario: str | Path | Scenario | None = None,
    *,
    sets: Sequence[str] = (),
    channel: str | None = None,
    load: float | None = None,
    workers: int | None = 1,
    library: Given | None = None,
) -> Explanation:
    """Return the effects of settings: the times of attempts, and the effect of a total outage on a call and on a load.

    ::

        simulation.explain(sets=["channels.email.retry.max_attempts=8", "channels.email.retry.jitter=full"])

    Numbers come by a closed form where there is one, else by a small run of the simulation with seed 0. Each says
    which.

    Args:
        scenario: a file, of a scenario, with the `channels` of a notifier or a service, or of another library that
            `retrylab import` reads; or a scenario that has been loaded; None: the defaults.
        sets: ``path=value`` changes to the file, or to the defaults.
        channel: explain this one alone; None: all that the scenario uses.
        load: calls a second in the outages, more than 0 and at most 10,000; None: as many as the scenario has on
            average, or 10.
        workers: how many processes share the runs; as many as cores when None.
        library: parameters that matter and are not in a file of another library.

    Example:
        >>> explained = simulation.explain(sets=["channels.email.retry.max_attempts=4"])
        >>> [attempt.start.longest for attempt in explained.channels[0].schedules[0].attempts]
        [0.0, 1.0, 3.0, 7.0]

    Raises:
        ConfigurationError: the file, an override, the channel or the load cannot be used.
        ValueError: there are overrides, and a scenario that has been loaded.
    """
    has_load, unbounded = True, frozenset[str]()
    if scenario is None:
        loaded, has_load = parse(_DEFAULTS.format(channel=_channel_of(sets, channel)), "defaults", sets=sets), False
    elif isinstance(scenario, Scenario):
        loaded = given(scenario, sets)
    else:
        loaded, is_settings = load_foreign(scenario, sets, library)
        has_load = not is_settings
        if (imported := imported_from(scenario, library)) is not None:
            unbounded = without_timeout(imported.policies)
    if load is not None and not 0 < load <= 10_000:
        raise ConfigurationError([f"load: wanted calls a second, more than 0 and at most 10,000, got {load!r}"])
    used = [one for one in loaded.channels_used if channel is None or one.value == channel]
    if not used:
        known = ", ".join(one.value for one in loaded.channels_used)
        raise ConfigurationError([f"channel: wanted one of {known}, got {channel!r}"])
    bounded = {
        one: one not in unbounded or loaded.channel_config(one).timeout != NO_TIMEOUT_S  # but for what `sets` say
        for one in used
    }
    with executor(workers) as pool:
        return Explanation(
            loaded, tuple(explained(loaded, one, load, has_load, pool, has_timeout=bounded[one]) for one in used)
        )


def _channel_of(sets: Sequence[str], channel: str | None) -> str:
    named = [
        parts[1] for text in sets if len(parts := text.partition("=")[0].split(".")) > 1 and parts[0] == "channels"
    ]
    asked = [channel] if channel is not None and channel in (*NotificationChannel, *named) else []
    return next((name for name in (*asked, *named) if channel_named(name)), "email")
