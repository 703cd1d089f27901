"""A scenario live, in real time, through real transports: does the service do what the simulation said it would?

::

    async with email, webhook:  # real transports, to a staging environment
        live = await simulation.run_live(
            "scenarios/provider-outage.yaml",
            {"email": email, "webhook": webhook},
            addresses={"webhook": lambda user: f"https://hooks.staging.example.com/{user}"},
        )
    print(simulation.predict("scenarios/provider-outage.yaml", workers=None).surprises(live.summary))

A scenario of ten minutes takes ten minutes. The arrivals are those of a simulation with the same seed, at the same
instants; and so are the random draws of the injected faults, as long as the attempts come in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from actors.domain.attempts import Attempt, Provider, WrappedProvider
from actors.errors import ConfigurationError
from actors.faults.build import checked_providers, faults_of, stream_name
from actors.faults.chaos import FaultyProvider
from actors.kernel.effects import Effect
from actors.kernel.live import LiveSystem
from actors.kernel.randomness import RandomStreams
from actors.messages import NotificationChannel, SendNotification
from actors.settings.channel import ProviderConfig
from simulation.results.result import Result
from simulation.running.own_code import actors_of
from simulation.running.runner import RunPlan, build, recorder_of
from simulation.scenario import Scenario
from simulation.scenario.arguments import check_mapping
from simulation.scenario.loading import given

Inject: TypeAlias = Literal["all", "faults", "nothing"]

Addresses: TypeAlias = Mapping[str, Callable[[str], str]]
"""By channel: turns a recipient of the workload, such as ``user-0-17``, into an address that the transport takes."""


async def run_live(
    scenario: str | Path | Scenario,
    providers: Mapping[Any, Any] | Provider | None = None,
    *,
    inject: Inject = "faults",
    addresses: Addresses | None = None,
    seed: int | None = None,
    sets: Sequence[str] = (),
    code: bool = False,
) -> Result:
    """Run a scenario in real time, under trio, and return its result; `runtime` in its summary is ``live``.

    Args:
        scenario: a file, or a scenario that has been loaded.
        providers: deliver, one for all or those of each channel; where a channel has several, by their names. The
            scenario's own unreliable ones, which deliver nothing, when None.
        inject: the faults that are injected here, round the given providers: the `faults` of the scenario alone, so
            that the latency and the failures of real ones count (``faults``); all of the scenario about them, its
            `provider` settings too (``all``), for servers of a test that answer at once and refuse nothing, as a real
            provider like the described one would have both twice; or nothing, where the servers fail by themselves
            (``nothing``). The scenario's own providers have all its faults. A fault of the actors, such as a crash, is
            injected in any case.
        addresses: how the recipients of the workload are addressed, for the channels whose transports need that.
        seed: in place of the scenario's own.
        sets: ``path=value`` changes to the file, as ``--set`` on the command line.
        code: whether the own actors that the scenario names are imported.

    Raises:
        ConfigurationError: the file, the providers or the addresses cannot be used, or it names code and `code` is
            false; all their problems.
        ValueError: arguments that do not go together.
    """
    if inject not in get_args(Inject):
        raise ValueError(f"inject: wanted one of {', '.join(get_args(Inject))}, got {inject!r}")
    scenario = given(scenario, sets, seed, code)
    if scenario.schedule is not None:
        raise ConfigurationError(["schedule: wanted none, as in real time the order cannot be chosen"])
    plan = RunPlan(scenario, recorder_of(scenario), actors=actors_of(scenario))
    async with LiveSystem(**plan.system_options()) as system:
        wrapped = (
            None
            if providers is None
            else _wrapped(scenario, providers, inject, {} if addresses is None else addresses, system.streams)
        )
        build(system, replace(plan, providers=wrapped))
        await system.run(until_ns=plan.end_ns)
        ran_ns = system.now_ns
    plan.recorder.end()
    return Result(scenario, "live", plan.recorder, ran_ns)


def _wrapped(
    scenario: Scenario,
    providers: Mapping[Any, Any] | Provider,
    inject: Inject,
    addresses: Addresses,
    streams: RandomStreams,
) -> dict[NotificationChannel, dict[str, Provider]]:
    check_mapping("addresses", addresses, "from channels to functions")
    channels = {channel: scenario.channel_config(channel) for channel in scenario.channels_used}
    by_name = checked_providers(channels, providers)
    problems = [
        f"addresses: wanted a channel that the scenario uses ({', '.join(channels)}), got {channel!r}"
        for channel in addresses
        if channel not in channels
    ]
    if problems:
        raise ConfigurationError(problems)
    wrapped: dict[NotificationChannel, dict[str, Provider]] = {}
    for channel, config in channels.items():
        wrapped[channel] = {}
        for name, settings in config.by_provider().items():
            provider = by_name[channel][name]
            if channel in addresses:
                provider = Readdressed(provider, addresses[channel])
            if inject != "nothing":
                provider = FaultyProvider(
                    provider,
                    faults_of(scenario.faults, channel, name),
                    settings=settings.provider if inject == "all" else ProviderConfig(),
                    streams=streams,
                    name=stream_name(channel, name),
                )
            wrapped[channel][name] = provider
    return wrapped


class Readdressed(WrappedProvider):
    """Hands each attempt to another provider, with the address that this provider takes."""

    def __init__(self, provider: Provider, address: Callable[[str], str]) -> None:
        super().__init__(provider)
        self._address = address

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        command = self._readdressed(attempt.command)
        return self._provider.attempt(msgspec.structs.replace(attempt, command=command), now_ns)

    def recipient_problem(self, command: SendNotification) -> str | None:
        """Return the other provider's problem with the address that it gets."""
        return self._provider.recipient_problem(self._readdressed(command))

    def _readdressed(self, command: SendNotification) -> SendNotification:
        return msgspec.structs.replace(command, recipient=self._address(command.recipient))
