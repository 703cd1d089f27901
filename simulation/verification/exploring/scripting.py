"""The answers of a run's providers, as scripts of a scenario.

A case depends on its random draws: without one of its notifications, all later ones draw other values. A case whose
answers are written down does not, and shrinks further.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from actors.domain.attempts import Attempt, WrappedProvider
from actors.faults.build import enforced_quotas, unreliable_providers
from actors.faults.conditions import NEVER_NS
from actors.faults.provider import SimulatedProvider
from actors.faults.rules import SCRIPTED
from actors.instants import seconds
from actors.kernel.effects import Foreseen, Promise
from actors.kernel.randomness import RandomStreams
from actors.kernel.system import ActorSystem
from actors.messages import NotificationChannel
from actors.outcomes import Outcome, Transient
from actors.settings.channel import PRIMARY
from actors.settings.faults import SYSTEM_FAULT_KEYS
from actors.settings.quantities import write_duration
from simulation.scenario import Scenario

Data: TypeAlias = dict[str, Any]
Arrival: TypeAlias = tuple[int, int]
"""The number of an entry of the workload, and which of its arrivals, from 0 on."""

_KEPT_OF_A_PROVIDER = ("connections", "price")
"""The keys of a provider that are no part of its answers."""

_ARRIVAL = re.compile(r"(\d+)-(\d+)(?:/[a-z][a-z0-9_-]*)*$")


@dataclass
class Answer:
    notification_id: str
    written: Data

    @property
    def arrival(self) -> Arrival | None:
        """Which arrival the attempt came of, itself or instead of another; None where its id does not say it."""
        found = _ARRIVAL.search(self.notification_id)
        return None if found is None else (int(found[1]), int(found[2]))


Answers: TypeAlias = Mapping[tuple[NotificationChannel, str], list[Answer]]
"""The answers of each provider of each channel, in the order of the attempts."""


@dataclass
class NotingProvider(WrappedProvider):
    _provider: SimulatedProvider
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outcomes_are_plain = self._provider.outcomes_are_plain

    @property
    def delivered(self) -> int:
        return self._provider.delivered

    def on_wired(self, system: ActorSystem) -> None:
        self._system = system
        super().on_wired(system)

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen | Promise:
        before = self._provider.delivered
        effect = self._provider.attempt(attempt, now_ns)
        unanswered: Data = {"outcome": "lost" if self._provider.delivered > before else "hang"}
        answer = Answer(attempt.command.notification_id, unanswered)
        self.answers.append(answer)
        if isinstance(effect, Promise):
            effect.when_kept(lambda outcome: self._note(answer, outcome, self._system.now_ns - now_ns))
        elif effect.delay_ns < NEVER_NS:
            self._note(answer, effect.result, effect.delay_ns)
        return effect

    @staticmethod
    def _note(answer: Answer, outcome: Outcome, after_ns: int) -> None:
        answer.written = _written(outcome, after_ns)


def noting_providers(scenario: Scenario) -> dict[NotificationChannel, dict[str, NotingProvider]]:
    """Return the providers of a scenario for one run, with the draws that they have in it."""
    streams, accounts = RandomStreams(scenario.seed), enforced_quotas(scenario.accounts)
    return {
        channel: {
            name: NotingProvider(provider)
            for name, provider in unreliable_providers(
                channel, scenario.channel_config(channel), scenario.faults, streams, accounts=accounts
            ).items()
        }
        for channel in scenario.channels_used
    }


def answers_of(providers: Mapping[NotificationChannel, Mapping[str, NotingProvider]]) -> Answers:
    return {
        (channel, name): provider.answers
        for channel, of_channel in providers.items()
        for name, provider in of_channel.items()
        if provider.answers
    }


def scripted(data: Data, answers: Answers, *, without: Collection[Arrival] = (), faults: bool = False) -> Data:
    """Return the plain data of a scenario with providers that answer so, and are nothing else; with `faults` what goes
    wrong at them stays, which has no say in what is written down."""
    data = deepcopy(data)
    for (channel, name), of_provider in answers.items():
        settings = data.setdefault("channels", {}).setdefault(channel.value, {})
        if name != PRIMARY:
            settings = settings["failover"][name]
        provider = {key: value for key, value in settings.get("provider", {}).items() if key in _KEPT_OF_A_PROVIDER}
        script = [answer.written for answer in of_provider if answer.arrival not in without]
        settings["provider"] = provider | ({"script": script} if script else {})
    if not faults and "faults" in data:
        data["faults"] = [fault for fault in data["faults"] if fault.keys() & SYSTEM_FAULT_KEYS]
        if not data["faults"]:
            del data["faults"]
    return data


def _written(outcome: Outcome, after_ns: int) -> Data:
    throttled = isinstance(outcome, Transient) and outcome.throttled
    kind = next(
        name for name, usual in SCRIPTED.items() if type(usual) is type(outcome) and throttled == (name == "throttled")
    )
    written: Data = {} if kind == "sent" else {"outcome": kind}
    if after_ns:
        written["latency"] = write_duration(seconds(after_ns))
    if isinstance(outcome, Transient) and outcome.retry_after is not None:
        written["retry_after"] = write_duration(outcome.retry_after)
    if kind != "sent" and outcome.reason != SCRIPTED[kind].reason:
        written["reason"] = outcome.reason
    return written
