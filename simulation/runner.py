"""One run of a scenario: build the actors on a clock, let it run, and hand over what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, assert_never

import msgspec

from actors.actor import Actor, handles
from actors.instants import ns
from actors.messages import NotificationChannel
from actors.notifier import Pipeline
from actors.pipeline.preferences import Preferences, Quiet, SwitchedOff
from actors.pipeline.templates import BUILT_IN, Template, Templates
from actors.policies.quiet_hours import QuietHours
from actors.storage.memory import MemoryStore
from actors.system import ActorSystem
from actors.unreliable import NotificationService
from simulation.recorder import Recorder
from simulation.result import Result
from simulation.scenario import EventWorkload, Scenario, load
from simulation.series import bucket_width_ns
from simulation.workload import Source

Runtime = Literal["simpy", "trio"]


class _ArrivalsEnd(msgspec.Struct, frozen=True, gc=False):
    """From now on nothing arrives."""


class Conductor(Actor):
    """Ends the run when arrivals are over and nothing is in flight."""

    def __init__(self, scenario: Scenario, recorder: Recorder) -> None:
        super().__init__()
        self._arrivals_end_ns = scenario.arrivals_end_ns
        self._recorder = recorder

    def on_start(self) -> None:
        self.at(self._arrivals_end_ns, _ArrivalsEnd())

    @handles(_ArrivalsEnd)
    def on_arrivals_end(self, _: _ArrivalsEnd) -> None:
        if self._recorder.in_flight == 0:
            self.system.stop()
        else:
            self._recorder.when_quiet = self.system.stop


def run(
    scenario: str | Path | Scenario,
    *,
    seed: int | None = None,
    runtime: Runtime = "simpy",
    sets: Sequence[str] = (),
    progress: Callable[[float], None] | None = None,
) -> Result:
    """Run a scenario and return its result.

    Args:
        scenario: a file, or a scenario that has been loaded.
        seed: in place of the scenario's own.
        runtime: the clock to run on: SimPy's, or trio's `MockClock`. Both give the same history.
        sets: ``path=value`` changes to the file, as ``--set`` on the command line.
        progress: called now and then with the seconds of the run that are over.

    Raises:
        ConfigurationError: the file cannot be used; all its problems.
        InvariantBreach: the run broke a law that always holds: a bug.
    """
    if not isinstance(scenario, Scenario):
        scenario = load(Path(scenario), sets=sets, seed=seed)
    elif sets:
        raise ValueError("sets: wanted a file to change, got a scenario that is loaded already")
    elif seed is not None:
        scenario = scenario.model_copy(update={"seed": seed})
    recorder = Recorder(
        scenario.channels_used,
        keep_history=scenario.record == "full",
        series_bucket_ns=bucket_width_ns(scenario.arrivals_end_ns),
    )
    if progress is not None:
        recorder.on_chunk = lambda at_ns: progress(at_ns / 1e9)
    match runtime:
        case "simpy":
            simulated_ns = _run_on_simpy(scenario, recorder)
        case "trio":
            simulated_ns = _run_on_trio(scenario, recorder)
        case _:
            assert_never(runtime)
    return Result(scenario, runtime, recorder, simulated_ns)


def _run_on_simpy(scenario: Scenario, recorder: Recorder) -> int:
    from simulation.system import SimulatedSystem

    with SimulatedSystem(seed=scenario.seed, start=scenario.start, record=recorder.record) as system:
        build(system, scenario, recorder)
        system.run(until_ns=scenario.arrivals_end_ns + scenario.drain_ns)
        return system.now_ns


def _run_on_trio(scenario: Scenario, recorder: Recorder) -> int:
    import trio
    import trio.testing

    from actors.live import LiveSystem

    async def main() -> int:
        async with LiveSystem(seed=scenario.seed, start=scenario.start, record=recorder.record) as system:
            build(system, scenario, recorder)
            await system.run(until_ns=scenario.arrivals_end_ns + scenario.drain_ns)
            return system.now_ns

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def build(system: ActorSystem, scenario: Scenario, recorder: Recorder) -> Pipeline:
    """Put the pipeline and the workload of a scenario on a system."""
    channels = {channel: scenario.channel_config(channel) for channel in scenario.channels_used}
    pipeline = Pipeline(
        system,
        channels,
        _providers(scenario, system),
        store=MemoryStore(remember_ids_ns=ns(scenario.remember_ids)),
        preferences=_preferences(scenario),
        templates=_templates(scenario),
        notify=_ignore_alert,
        log=False,
    )
    recorder.in_flight_now = pipeline.handler.actor.count_in_flight
    for number, entry in enumerate(scenario.workload):
        send = pipeline.bus.announce if isinstance(entry, EventWorkload) else pipeline.handler.tell
        system.spawn(Source, number, scenario, send)
    system.spawn(Conductor, scenario, recorder)
    return pipeline


def _providers(scenario: Scenario, system: ActorSystem) -> Mapping[NotificationChannel, NotificationService]:
    return {
        channel: NotificationService.from_config(
            scenario.channel_config(channel).provider,
            [fault for fault in scenario.faults if channel in fault.channel],
            system.streams,
            f"{channel}.provider",
        )
        for channel in scenario.channels_used
    }


def _preferences(scenario: Scenario) -> Preferences | None:
    if not scenario.preferences and not scenario.quiet_hours:
        return None
    return Preferences(
        switched_off=[
            SwitchedOff(share=rule.share, channels=frozenset({rule.channel}))
            for rule in scenario.preferences
            if not rule.enabled
        ],
        quiet=[
            Quiet(share=rule.share, hours=QuietHours(rule.from_, rule.to, rule.zone), channels=frozenset(rule.channels))
            for rule in scenario.quiet_hours
        ],
    )


def _templates(scenario: Scenario) -> Templates:
    texts = {
        name: Template(subject=text.subject, body=text.body, html=text.html)
        for name, text in scenario.templates.items()
    }
    return Templates({**BUILT_IN, **texts}, variables={"platform": scenario.name})


def _ignore_alert(_text: str) -> None:
    """Alert nobody: the dead letters are in the result."""
