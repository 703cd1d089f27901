"""The effects of defaults that a scenario's file does not name, counted as the run is recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from actors.domain.attempts import TIMED_OUT
from actors.formatting import counted
from actors.lint.findings import duration
from actors.messages import DeferralCause, NotificationChannel, NotificationDeferred, NotificationFailed
from actors.outcomes import Ambiguous, Transient
from actors.pipeline.blocked import BREAKER_OPEN
from actors.settings.channel import PRIMARY
from simulation.scenario import Scenario
from simulation.scenario.unnamed import NOT_NAMED, unnamed

_RETRIED = {Transient.__name__, Ambiguous.__name__}


class DefaultsAtWork:
    def __init__(self, scenario: Scenario) -> None:
        self._unnamed = {channel: unnamed(scenario, channel) for channel in scenario.channels_used}
        self._may_act = any(each.breakers or each.timeouts or each.attempts for each in self._unnamed.values())
        """Whether any of them acts on attempts, so that these are looked at."""
        self._drain_s = None if "drain" in scenario.model_fields_set else scenario.drain
        self._end_ns = scenario.arrivals_end_ns + scenario.drain_ns
        self._kept_back = Counter[NotificationChannel]()
        self._refused = Counter[NotificationChannel]()
        self._timed_out = Counter[NotificationChannel]()
        self._out_of_attempts = Counter[NotificationChannel]()

    def fold(self, events: Mapping[type, Sequence[Any]]) -> None:
        if not self._may_act:
            return
        for deferred in events.get(NotificationDeferred, ()):
            if deferred.cause is DeferralCause.CIRCUIT_BREAKER:
                self._kept_back[deferred.channel] += 1
        for failed in events.get(NotificationFailed, ()):
            found, reason = self._unnamed[failed.channel], failed.reason
            if reason == TIMED_OUT.reason and (failed.provider or PRIMARY) in found.timeouts:
                self._timed_out[failed.channel] += 1
            elif failed.refused and reason == BREAKER_OPEN:
                self._refused[failed.channel] += 1
            if found.attempts and failed.given_up == reason and failed.kind in _RETRIED:
                self._out_of_attempts[failed.channel] += 1

    def summary(
        self, breakers: Mapping[str, Mapping[str, Any]], channels: Mapping[str, Any], in_flight: int, simulated_ns: int
    ) -> list[dict[str, Any]]:
        """Return the effect of each default, in numbers and in words; a default without effect is left out.

        `breakers` and `channels` are the metrics of each by name; `in_flight` notifications had not ended when the run
        did."""
        found: list[dict[str, Any]] = [
            {"setting": setting, "counts": counts, "text": text}
            for channel in self._unnamed
            for setting, counts, text in self._of(
                channel, breakers, channels[channel.value]["peaks"]["waiting"]["slots"]
            )
        ]
        if self._drain_s is not None and in_flight and simulated_ns >= self._end_ns:
            text = f"the drain of {duration(self._drain_s)}, {NOT_NAMED}, ended the run with {in_flight:,} in flight"
            found.append({"setting": "drain", "counts": {"in_flight": in_flight}, "text": text})
        return found

    def _of(
        self, channel: NotificationChannel, breakers: Mapping[str, Mapping[str, Any]], waited: int
    ) -> Iterator[tuple[str, dict[str, int], str]]:
        found = self._unnamed[channel]
        setting, whose = f"channels.{channel.value}", f"{channel.value}'s"
        if opened := sum(breakers[name]["opened"] for name in found.breakers):
            kept_back, refused = self._kept_back[channel], self._refused[channel]
            text = f"{whose} circuit breaker, {NOT_NAMED} (default: {found.breaker_text})"
            times, waits = (("once" if count == 1 else f"{count:,} times") for count in (opened, kept_back))
            did = f"opened {times}" + (f" and kept notifications back {waits}" if kept_back else "")
            counts = {"opened": opened, "kept_back": kept_back, "refused": refused}
            yield f"{setting}.circuit_breaker", counts, f"{text}, {did}{f', refused {refused:,}' if refused else ''}"
        if cut_off := self._timed_out[channel]:
            text = f"{whose} timeout, {NOT_NAMED} (default: {duration(found.config.timeout)})"
            yield f"{setting}.timeout", {"timed_out": cut_off}, f"{text}, ended {counted(cut_off, 'attempt')}"
        if ended := self._out_of_attempts[channel]:
            most = found.config.retry.max_attempts
            text = f"{whose} max_attempts, {NOT_NAMED} (default: {most})"
            counts = {"dead_lettered": ended}
            yield f"{setting}.retry.max_attempts", counts, f"{text}, left no further attempt to {ended:,}"
        if found.slots and waited:
            text = f"{whose} max_in_flight, {NOT_NAMED} (default: {found.config.slots}, the provider's connections)"
            yield f"{setting}.max_in_flight", {"waited": waited}, f"{text}, had up to {waited:,} wait at once"
