"""One run of a scenario: build the actors on a clock, let it run, and return its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, assert_never, get_args

import msgspec

from actors.errors import ConfigurationError, InvariantBreach
from actors.faults.build import (
    Providers,
    checked_providers,
    enforced_quotas,
    fault_rules_of,
    unreliable_providers,
)
from actors.faults.provider import SimulatedProvider
from actors.faults.rules import FailureRule
from actors.instants import ns
from actors.kernel.actor import Actor, handles
from actors.kernel.effects import Cancellable
from actors.kernel.interceptors import Interceptor
from actors.kernel.node import Node
from actors.kernel.randomness import RandomStreams
from actors.kernel.system import ActorSystem
from actors.messages import NotificationChannel, RecordedEvent, SendNotification
from actors.notifier import Pipeline
from actors.pipeline.lane import breaker_name, names_among_nodes
from actors.pipeline.own_actors import OwnActors, replaced_by
from actors.pipeline.subscribers import BUILT_IN_SUBSCRIBERS, Subscribers, commands_of
from actors.policies.waiting_room import WaitingCounts
from actors.settings.faults import FLEET_FAULT_KEYS, channels_hit
from actors.storage.lossy import LossyStore
from actors.storage.memory import MemoryStore
from actors.storage.shared_memory import SharedMemory
from simulation.engine.message_faults import MessageFaults, is_message_fault
from simulation.results.backlogs import FaultTimes
from simulation.results.defaults import DefaultsAtWork
from simulation.results.interruptions import LateAnswers
from simulation.results.ledger import Entry, Ledger, Refused
from simulation.results.progress import RunSnapshot
from simulation.results.provider_queues import ProviderQueues
from simulation.results.recorder import Recorder
from simulation.results.reproduce import Origin
from simulation.results.result import Result
from simulation.results.series import bucket_width_ns
from simulation.results.tallies import Counted
from simulation.results.windows import WindowMetrics
from simulation.running.checking import Check, Choice, ProvidersByName, Rules, check_of
from simulation.running.contents import channels_of, preferences_of, templates_of
from simulation.running.memory import left
from simulation.running.operator import Operator
from simulation.running.own_code import actors_of
from simulation.running.service import UNHANDLED, Service
from simulation.running.system_faults import FaultInjector, is_system_fault
from simulation.running.watching import Watch, too_large
from simulation.running.workload import Clients, Send, Source
from simulation.scenario import ChannelWorkload, ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.arguments import check_mapping, check_word
from simulation.scenario.identity import host_of_user, tenant_of_user
from simulation.scenario.loading import given
from simulation.scenario.run_size import log_size, size_of
from simulation.scenario.workload import class_of

if TYPE_CHECKING:
    from simulation.engine.schedules import Schedule

Runtime = Literal["simpy", "trio"]

RulesByName: TypeAlias = Rules | Mapping[str, Sequence[FailureRule]]
"""Failure rules by channel; a channel may be written as in a file."""

_INTERRUPTING = FLEET_FAULT_KEYS | {"crash"}
"""Faults for which no one may take the answer to a request."""


@dataclass(frozen=True)
class RunPlan:
    """The checked arguments of a run, and the parts made of them. Good for one run."""

    scenario: Scenario
    """The scenario: arrivals, faults and settings."""

    recorder: Recorder
    """Of the history."""

    _: KW_ONLY
    rules: Rules = field(default_factory=dict)
    """Failure rules by channel, where the providers are the scenario's own."""

    providers: ProvidersByName | None = None
    """The providers, by channel and name; None: the unreliable ones that the scenario describes."""

    actors: OwnActors = field(default_factory=dict)
    """Own actors, by their names."""

    schedule: Schedule | None = None
    """Chooses the next of several ready actors; None: the one that has waited longest."""

    checker: Check | None = None
    """The check of the invariants, if any are checked beside the recorder's own."""

    fail: Callable[[Exception], None] | None = None
    """Ends the run with the error of a failure rule; None: it runs live, where the error is logged."""

    @property
    def end_ns(self) -> int:
        return self.scenario.arrivals_end_ns + self.scenario.drain_ns

    def system_options(self) -> dict[str, Any]:
        scenario, checker = self.scenario, self.checker
        interceptors: list[Interceptor] = [] if checker is None else checker.interceptors
        if any(is_message_fault(fault) for fault in scenario.faults):
            interceptors = [*interceptors, MessageFaults(scenario.faults)]  # who watches sees what is sent when it is
        record = self.recorder.record if checker is None else checker.record
        return {"seed": scenario.seed, "start": scenario.start, "record": record, "interceptors": interceptors}


class _ActivityEnd(msgspec.Struct, frozen=True, gc=False):
    """From now on nothing arrives, and no operator does anything."""


class _Look(msgspec.Struct, frozen=True, gc=False):
    """Nothing was in flight a moment ago."""


class _LookForMore(msgspec.Struct, frozen=True, gc=False):
    """Look again: arrivals that could not be accepted may have been accepted meanwhile."""


_LOOK, _LAST_LOOK, _LOOK_FOR_MORE = _Look(), _Look(), _LookForMore()

_LOOK_PAUSE_S = 1.0
"""Seconds between two looks at arrivals that cannot be accepted just now."""


class RunController(Actor):
    """Ends the run when arrivals and operations have ended and nothing is in flight."""

    def __init__(self, scenario: Scenario, recorder: Recorder, service: Service) -> None:
        super().__init__()
        self._activity_end_ns = scenario.activity_end_ns
        self._next_look: Cancellable | None = None
        self._commits_take = scenario.commit_latency or (_LOOK_PAUSE_S if scenario.has_partitions else 0.0)
        self._service = service
        self._recorder = recorder
        self._redrives_may_wait = scenario.max_pending is not None and any(
            operation.redrive is not None for operation in scenario.operations
        )

    def on_start(self) -> None:
        self.at(self._activity_end_ns, _ActivityEnd())

    @handles(_ActivityEnd)
    def on_activity_end(self, _: _ActivityEnd) -> None:
        self._recorder.call_when_quiet(self._look_again)
        self._look_again()

    def _look_again(self) -> None:
        # Not at once: what falls back to another channel ends, and only then begins anew.
        self.actor_ref.tell(_LOOK)

    @handles(_LookForMore)
    def on_look_for_more(self, _: _LookForMore) -> None:
        self._next_look = None
        self.on_look(_LOOK)

    @handles(_Look)
    def on_look(self, look: _Look) -> None:
        if self._recorder.in_flight > 0:
            return
        if self._service.is_accepting:
            self.after(self._commits_take, _LOOK)  # what is being accepted will be in flight
        elif self._service.is_offered_more:
            if self._next_look is None:
                self._next_look = self.after(_LOOK_PAUSE_S, _LOOK_FOR_MORE)
        elif self._redrives_may_wait and look is _LOOK:
            self.after(1e-9, _LAST_LOOK)  # one that had waited for room is on its way to the handler now
        else:
            self.system.stop()


def run(
    scenario: str | Path | Scenario,
    *,
    seed: int | None = None,
    runtime: Runtime = "simpy",
    sets: Sequence[str] = (),
    rules: RulesByName | None = None,
    providers: Providers | None = None,
    schedule: Schedule | None = None,
    invariants: Choice = "default",
    code: bool = False,
    on_events: Callable[[Sequence[RecordedEvent]], None] | None = None,
    progress: Callable[[RunSnapshot], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    until: Callable[[RunSnapshot], bool] | None = None,
) -> Result:
    """Run a scenario and return its result.

    Args:
        scenario: a file, or a scenario that has been loaded.
        seed: in place of the scenario's own.
        runtime: the clock to run on: SimPy's, or trio's `MockClock`. Both give the same history.
        sets: ``path=value`` changes to the file, as ``--set`` on the command line.
        rules: failure rules by channel, beside the faults of the scenario; see :data:`actors.faults.rules.FailureRule`.
            Give each run new ones if they remember anything.
        providers: deliver, in place of the unreliable ones that the scenario describes; for every channel that it uses.
            Each answers with :class:`actors.Foreseen`, or with an :class:`actors.Promise` that something keeps, such as
            a process of SimPy's in the `env` of the system that its `on_wired` is given; and faults do not touch it.
            Give each run new ones.
        schedule: chooses the next of several ready actors, in place of the scenario's own schedule or the normal order,
            on SimPy's clock; a new one for each run. See :mod:`simulation.engine.schedules`.
        invariants: which to check; the run stops at the first breach: ``"default"``, that nothing is lost; ``"all"``
            that apply to the scenario; or a list of ``"all"``, of names of :data:`simulation.invariants.KNOWN`, of
            subclasses of :class:`simulation.invariants.Invariant`, and of functions that are called with each recorded
            event and return what is wrong with it, or None.
        code: whether the own actors that the scenario names are imported.
        on_events: called with the events of the history, some thousands at a time, or 256 where `progress` or
            `cancelled` is given, in order, each once; with all there are, also when the run breaks an invariant or is
            cancelled. Its errors are treated as those of `progress`.
        progress: called up to ten times a second of the wall clock, and at the end, with how the run stands: the
            `seconds` that have passed, the metrics and the breakers so far; see
            :class:`simulation.results.progress.RunSnapshot`. Its error ends the run at once and is raised, and it is
            not called again.
        cancelled: called before the run begins, and then after every 256 events: when it returns true, the run ends at
            the instant it has come to. What it raises is treated as what `progress` raises.
        until: called with how the run stands after every 4,096 events: when it returns true, the run ends there, as by
            `cancelled`. What it raises is treated as what `progress` raises.

    Example:
        >>> result = simulation.run("scenarios/flapping-provider.yaml", seed=7, sets=["duration=2m"])
        >>> result.summary["offered"], result.summary["delivered"]
        (2312, 2312)
        >>> result.attempts.groupby("outcome").size().to_dict()
        {'sent': 2312, 'transient': 8}

    Raises:
        ConfigurationError: the file, the runtime, the rules or the invariants cannot be used; or it names code, and
            `code` is false; all their problems.
        ValueError: arguments that do not go together.
        InvariantBreach: the run broke an invariant: a bug.
        RunCancelled: `cancelled` or `until` has returned true.
        RunTooLarge: it would have filled the memory of the machine.
    """
    check_word("runtime", runtime, get_args(Runtime))
    only_in_python = tuple(name for name, value in (("rules", rules), ("schedule", schedule is not None)) if value)
    plan = _plan(given(scenario, sets, seed, code), runtime, rules, providers, schedule, invariants)
    file = None if isinstance(scenario, Scenario) else Path(scenario)
    recorder, checker = plan.recorder, plan.checker
    log_size(plan.scenario.name, size_of(plan.scenario), left)
    breakers = plan.scenario.breakers
    watch = Watch(recorder, breakers, on_events=on_events, progress=progress, cancelled=cancelled, until=until)
    watch.begin()
    plan = replace(plan, fail=watch.fail)
    try:
        match runtime:
            case "simpy":
                simulated_ns = _run_on_simpy(plan)
            case "trio":
                simulated_ns = _run_on_trio(plan)
            case _:
                assert_never(runtime)
        watch.check()
        if checker is not None:
            checker.end(simulated_ns)
        recorder.end()
        checked = () if checker is None else checker.names
        origin = Origin(file, tuple(sets), only_in_python, code=bool(plan.actors))
        result = Result(plan.scenario, runtime, recorder, simulated_ns, checked, origin)
        if checker is not None:
            checker.look_at(result.summary)
    except MemoryError:
        raise too_large(recorder) from None
    except InvariantBreach as breach:
        only = {"rules": rules or None, "providers": providers, "schedule": plan.schedule}
        replay = _replay(scenario, plan.scenario.seed, sets, runtime, invariants, only, code=bool(plan.actors))
        raise breach.of_run(plan.scenario.seed, replay) from None
    finally:
        recorder.fold()
    watch.end()
    return result


def _plan(
    scenario: Scenario,
    runtime: Runtime,
    rules: RulesByName | None,
    providers: Providers | None,
    schedule: Schedule | None,
    invariants: Choice,
) -> RunPlan:
    if schedule is None and scenario.schedule is not None:
        if runtime != "simpy":
            raise ConfigurationError([f"schedule: wanted the runtime simpy, whose order can be chosen, got {runtime}"])
        schedule = scenario.schedule.make(RandomStreams(scenario.seed).stream("schedule"))
    if schedule is not None and runtime != "simpy":
        raise ValueError(f"schedule: wanted the runtime simpy, whose order can be chosen, got {runtime}")
    rules_of = _rules_of(scenario, {} if rules is None else rules)
    own = None if providers is None else checked_providers(channels_of(scenario), providers)
    recorder = recorder_of(scenario)
    checker = None
    if invariants != "default":
        checker = check_of(scenario, invariants, recorder, rules=rules_of, schedule=schedule, providers=own)
    return RunPlan(
        scenario,
        recorder,
        rules=rules_of,
        providers=own,
        actors=actors_of(scenario),
        schedule=schedule,
        checker=checker,
    )


def recorder_of(
    scenario: Scenario, beside: Sequence[NotificationChannel] = (), *, is_in_order: bool = True
) -> Recorder:
    """Return a recorder for a run of a scenario; its arrivals may lead to more on the channels `beside` their own.
    `is_in_order` says whether events are recorded in the order of their instants where no actor is ever down."""
    keeps_history = scenario.record == "full"
    ledger = partial(
        Ledger,
        scenario.outline,
        [
            Entry(
                class_of(entry),
                tuple({**dict.fromkeys(entry.channels), **dict.fromkeys(beside)}),
                host_of_user(entry),
                tenant_of_user(entry),
            )
            for entry in scenario.workload
        ],
        counted=_counted(scenario),
        prices=_prices(scenario),
    )
    return Recorder(
        ledger(),
        scenario.providers_used,
        keep_history=keeps_history,
        series_bucket_ns=bucket_width_ns(scenario.arrivals_end_ns),
        faults=[
            FaultTimes(number, channels_hit(fault), ns(fault.at), ns(fault.ends_at))
            for number, fault in enumerate(scenario.faults)
            if fault.ends_at is not None
        ],
        windows=[WindowMetrics(window, ledger()) for window in scenario.outline.windows],
        nodes=scenario.nodes_at_most,
        shares_breakers=scenario.shares_breakers,
        is_in_order=is_in_order and not (_interrupts(scenario) or scenario.commit_latency),
        defaults=DefaultsAtWork(scenario),
        queues=ProviderQueues(channels_of(scenario), bucket_width_ns(scenario.arrivals_end_ns)),
        longest_ns=max(
            ns(lane.timeout) for config in channels_of(scenario).values() for lane in config.by_provider().values()
        ),
    )


def _prices(scenario: Scenario) -> dict[NotificationChannel, dict[str, float]]:
    return {
        channel: {name: lane.provider.price for name, lane in config.by_provider().items()}
        for channel, config in channels_of(scenario).items()
    }


def _replay(
    scenario: str | Path | Scenario,
    seed: int,
    sets: Sequence[str],
    runtime: Runtime,
    invariants: Choice,
    only_in_python: Mapping[str, Any],
    *,
    code: bool,
) -> str:
    """Return the command that runs it again at the shell, or the Python call where no command can."""
    from simulation.results.reproduce import python_call, shell_command

    arguments = {name: value for name, value in only_in_python.items() if value is not None}
    if not isinstance(scenario, Scenario) and not arguments and isinstance(invariants, str):
        return shell_command(scenario, seed, sets, runtime, check=invariants != "default", code=code)
    if invariants != "default":
        arguments["invariants"] = invariants
    if code:
        arguments["code"] = True
    return python_call(scenario, seed, sets=sets, runtime=runtime, **arguments)


def _run_on_simpy(plan: RunPlan) -> int:
    from simulation.engine.system import SimulatedSystem

    make: Callable[..., SimulatedSystem] = SimulatedSystem
    if plan.schedule is not None:
        from simulation.engine.schedules import ExploringSystem

        make = partial(ExploringSystem, plan.schedule)
    with make(**plan.system_options()) as system:
        build(system, plan)
        system.run(until_ns=plan.end_ns)
        return system.now_ns


def _run_on_trio(plan: RunPlan) -> int:
    import trio
    import trio.testing

    from actors.kernel.live import LiveSystem

    async def main() -> int:
        async with LiveSystem(**plan.system_options()) as system:
            build(system, plan)
            await system.run(until_ns=plan.end_ns)
            return system.now_ns

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def build(system: ActorSystem, plan: RunPlan) -> Pipeline:
    """Put the pipeline and the workload of a run on a system, which was made with the options of the plan."""
    scenario, recorder, checker = plan.scenario, plan.recorder, plan.checker
    recorder.stop = system.stop
    store = _store(scenario)
    providers = plan.providers
    if providers is None:
        providers = _providers(scenario, system, plan.rules)
    for by_name in providers.values():
        for rules in (rules for provider in by_name.values() for rules in fault_rules_of(provider)):
            rules.when_rule_fails = plan.fail
    recorder.queues.watch(providers)
    if checker is not None:
        checker.watch(system)
        providers = checker.observed(providers)
    if _interrupts(scenario):
        providers = recorder.find_interruptions().observed(providers)
    providers = LateAnswers(recorder.reach, recorder.first_start_ns).observed(providers, channels_of(scenario))
    waiting = recorder.peaks.waiting_by_channel
    start = partial(
        Pipeline,
        system,
        channels_of(scenario),
        providers,
        preferences=preferences_of(scenario),
        templates=templates_of(scenario),
        notify=_ignore_alert if checker is None else checker.notify,
        dead_letters=scenario.dead_letters,
        max_pending=scenario.max_pending,
        log=False,
        subscribers=_subscribers(scenario),
        actors=plan.actors,
    )

    def make(store: MemoryStore, node: Node | None) -> Pipeline:
        own = waiting if node is None else {channel: WaitingCounts(counts) for channel, counts in waiting.items()}
        return start(store=store, node=node, waiting=own)

    # In the order of a schedule, a crash may come before a handler that has an arrival of the same instant.
    is_reordered = plan.schedule is not None and scenario.may_refuse
    may_end_accepting = scenario.may_end_accepting or is_reordered
    service = Service(system, store, recorder, make, scenario.fleet, may_end_accepting=may_end_accepting)
    if checker is not None:
        checker.follow(service)
    if any(is_system_fault(fault) for fault in scenario.faults):
        system.spawn(FaultInjector, scenario.faults, service)
    if scenario.may_end_accepting or scenario.resends or plan.actors:
        system.call_at(plan.end_ns - 1, service.give_up)
    # Where none is ever refused, arrivals go to the one pipeline that there is, by the shortest way.
    is_gated = scenario.may_refuse or bool(plan.actors)
    send = None if is_gated else service.pipeline.handler.tell
    announce = None if is_gated else service.pipeline.bus.announce
    offer: Send = service.send
    offer_event: Send = service.announce
    if checker is not None:
        offer, offer_event = (checker.at_the_door(way, system) for way in (offer, offer_event))
    replaced = {kind.__name__ for kind in replaced_by(plan.actors)}
    for number, entry in enumerate(scenario.workload):
        is_replaced = isinstance(entry, EventWorkload) and entry.event in replaced
        lose = partial(_refuse, recorder, system, number, (None,) if is_replaced else entry.channels)
        if isinstance(entry, ClosedWorkload):
            service.answer(system.spawn(Clients, number, scenario, entry, send, offer, lose))
        elif isinstance(entry, EventWorkload):
            service.serve(system.spawn(Source, number, scenario, entry, announce, offer_event, lose))
        else:
            service.serve(system.spawn(Source, number, scenario, entry, send, offer, lose))
    if scenario.operations:
        system.spawn(Operator, scenario.operations, lambda: service.pipelines, system.future_class)
    system.spawn(RunController, scenario, recorder, service)
    return service.pipeline


def _refuse(
    recorder: Recorder,
    system: ActorSystem,
    entry: int,
    channels: Sequence[NotificationChannel | None],
    message: Any,
    why: str,
) -> None:
    if why == UNHANDLED:  # by an own actor, of which no one knows what it would have sent
        channels = (None,)
    commands = [message] if isinstance(message, SendNotification) else commands_of(message)
    ids = {command.channel: command.notification_id for command in commands}
    for channel in channels:
        recorder.refuse(Refused(entry, channel, why, None if channel is None else ids[channel]), system.now_ns)


def _interrupts(scenario: Scenario) -> bool:
    """Tell whether answers to requests may be lost, and messages handled late."""
    return any(fault.injects & _INTERRUPTING or is_message_fault(fault) for fault in scenario.faults)


def _counted(scenario: Scenario) -> Counted:
    repeats = any(isinstance(entry, ChannelWorkload) and entry.repeats for entry in scenario.workload)
    has_halves = scenario.may_be_down and any(len(entry.channels) > 1 for entry in scenario.workload)
    channels = channels_of(scenario).values()
    lanes = [config for channel in channels for config in channel.by_provider().values()]
    return Counted(
        hedges=any(config.hedging is not None for config in lanes),
        refusals=any(
            config.adaptive_throttle is not None
            or config.circuit_breaker.when_open == "fail"
            or config.slot_wait is not None
            for config in lanes
        ),
        fallbacks=any(config.fallback is not None for config in channels),
        forgotten_ids=repeats and scenario.remember_ids < scenario.duration + scenario.drain,
        accepted_ids=has_halves or (repeats and scenario.may_refuse),
        upstreams=scenario.upstream_layers,
        endpoints=scenario.has_endpoints,
        own_actors=bool(scenario.actors),
    )


def _store(scenario: Scenario) -> MemoryStore | SharedMemory:
    remember_ids_ns = ns(scenario.remember_ids)
    if scenario.nodes_at_most > 1:
        return SharedMemory(
            range(1, scenario.nodes_at_most + 1),
            remember_ids_ns=remember_ids_ns,
            commit_delay_ns=ns(scenario.commit_latency),
            has_leases=scenario.has_partitions,
            share_latency_ns={
                said: ns(config.circuit_breaker.share_latency)
                for channel, settings in channels_of(scenario).items()
                for number, (name, config) in enumerate(settings.by_provider().items())
                for said in names_among_nodes(breaker_name(channel, number, name))
            },
        )
    if scenario.commit_latency == 0:
        return MemoryStore(remember_ids_ns=remember_ids_ns)  # with nothing to lose in a crash: it commits at once
    return LossyStore(commit_delay_ns=ns(scenario.commit_latency), remember_ids_ns=remember_ids_ns)


def _rules_of(scenario: Scenario, rules: RulesByName) -> Rules:
    check_mapping("rules", rules, "from channels to their rules")
    used = scenario.channels_used
    problems = [
        f"rules: wanted a channel that the scenario uses ({', '.join(used)}), got {str(channel)!r}"
        for channel in rules
        if channel not in used
    ]
    if problems:
        raise ConfigurationError(problems)
    return {NotificationChannel(channel): of_channel for channel, of_channel in rules.items()}


def _providers(
    scenario: Scenario, system: ActorSystem, rules: Rules
) -> Mapping[NotificationChannel, Mapping[str, SimulatedProvider]]:
    accounts = enforced_quotas(scenario.accounts)
    return {
        channel: unreliable_providers(
            channel, config, scenario.faults, system.streams, rules.get(channel, ()), accounts
        )
        for channel, config in channels_of(scenario).items()
    }


def _subscribers(scenario: Scenario) -> Subscribers:
    arriving = {entry.event for entry in scenario.workload if isinstance(entry, EventWorkload)}
    return {kind: functions for kind, functions in BUILT_IN_SUBSCRIBERS.items() if kind.__name__ in arriving}


def _ignore_alert(_text: str) -> None:
    """Send no alert: the dead letters are in the result."""
