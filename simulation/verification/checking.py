"""The checker of a run of a scenario: what invariants have to know of it, and what comes to the door of its service."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from actors.faults.build import with_defaults
from actors.instants import NEVER_NS, ns, seconds, since_1970_ns
from actors.kernel.randomness import RandomStreams
from actors.kernel.system import ActorSystem
from actors.messages import SendNotification
from actors.pipeline.recipients import recipient_check
from actors.pipeline.templates import BUILT_IN
from simulation.results.recorder import Recorder
from simulation.running.checking import Choice, ProvidersByName
from simulation.running.contents import channels_of, preferences_of, templates_of
from simulation.running.service import Service
from simulation.running.workload import REPEATED, Refuse, Send
from simulation.scenario import ChannelWorkload, ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.identity import Origins, host_of_user, id_prefix, tenant_of_user
from simulation.scenario.workload import class_of
from simulation.verification.checker import Checker
from simulation.verification.laws.base import ArrivalsOf, ClientsOf, Context
from simulation.verification.laws.observations import Offered
from simulation.verification.lockstep import LockStep
from simulation.verification.model.world import World

if TYPE_CHECKING:
    from simulation.engine.schedules import Schedule
    from simulation.results.result import Result


class RunChecker(Checker):
    def notify(self, text: str) -> None:
        """Compare an alert with the reference model, if that is checked."""
        if self.lock_step is not None:
            self.lock_step.on_alert(text)

    def follow(self, service: Service) -> None:
        """Let the invariants ask the pipelines of a service, and compare which node each arrival goes to."""
        self.context.pipeline = lambda: service.pipeline
        self.context.pipeline_of = service.pipeline_of
        if self.lock_step is not None:
            self.lock_step.watch_routes(service)

    def at_the_door(self, send: Send, system: ActorSystem) -> Send:
        """Return a way for what may be refused, on which each arrival and each refusal is noted."""

        def offer(message: Any, refuse: Refuse) -> None:
            names = ("notification_id", "order_id", "payment_id", "user_id")
            key = next(str(getattr(message, name)) for name in names if hasattr(message, name))

            def refused(why: str) -> None:
                self.note(Offered(at_ns=system.now_ns, key=key, refused=why))
                refuse(why)

            self.note(Offered(at_ns=system.now_ns, key=key))
            send(message, refused)

        return offer


def check_of(
    scenario: Scenario,
    invariants: Choice,
    recorder: Recorder,
    *,
    has_rules: bool,
    schedule: Schedule | None,
    providers: ProvidersByName | None,
) -> RunChecker:
    """Return what checks a run of a scenario, whose schedule and providers may be in place of its own.

    Raises:
        ConfigurationError: the invariants cannot be used; all their problems.
    """
    world = world_of(scenario, schedule, providers)
    context = Context(
        channels=channels_of(scenario),
        as_given={channel: scenario.channel_as_given(channel) for channel in scenario.channels_used},
        faults=scenario.faults,
        preferences=preferences_of(scenario),
        remember_ids_ns=ns(scenario.remember_ids),
        max_pending=scenario.max_pending,
        dead_letters=scenario.dead_letters,
        commit_latency_ns=ns(max(scenario.commit_latency, _partitioned_s(scenario))),
        world=world,
        clients=_clients_of(scenario),
        arrivals=_arrivals_of(scenario),
        entry_named=Origins(scenario).number if scenario.actors else None,
        windows={
            window.name: (ns(window.from_s), NEVER_NS if window.to_s is None else ns(window.to_s))
            for window in scenario.outline.windows
        },
        within_s=scenario.outline.all_within_s,
        nodes=scenario.nodes_at_most,
        takeover_after_ns=ns(scenario.fleet.takeover_after) if scenario.nodes_at_most > 1 else 0,
        has_rules=has_rules,
        in_flight_now=lambda: recorder.in_flight_now(),
    )
    return RunChecker(invariants, context, record=recorder.record)


def _clients_of(scenario: Scenario) -> list[ClientsOf]:
    streams, found = RandomStreams(scenario.seed), []
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, ClosedWorkload):
            own = (streams.stream(f"workload.{number}.client.{client}.think") for client in range(entry.clients))
            thinks = tuple(entry.think.sampler(stream) for stream in own)
            prefix, ends_ns = id_prefix(number, entry.channel), scenario.arrivals_end_of(entry)
            found.append(ClientsOf(prefix, ns(entry.at), ends_ns, thinks))
    return found


def _arrivals_of(scenario: Scenario) -> list[ArrivalsOf]:
    found = []
    for number, (name, entry) in enumerate(zip(scenario.outline.entries, scenario.workload, strict=True)):
        times, resend = None, None
        if not isinstance(entry, ClosedWorkload):
            times, resend = partial(_times_of, scenario, number, entry), entry.resend
        parties = {"hosts": host_of_user(entry), "tenants": tenant_of_user(entry)}
        found.append(
            ArrivalsOf(
                name,
                class_of(entry),
                entry.channels,
                times,
                resent_at_most=0 if resend is None else resend.at_most,
                has_repeats=isinstance(entry, ChannelWorkload) and entry.repeats > 0,
                parties={kind: party_of for kind, party_of in parties.items() if party_of is not None},
            )
        )
    return found


def _times_of(scenario: Scenario, number: int, entry: ChannelWorkload | EventWorkload) -> Iterator[tuple[int, int]]:
    """Yield when each one of an open entry arrives, and its number; of what comes once more, the one that it had."""
    streams, latest = RandomStreams(scenario.seed), deque[int](maxlen=REPEATED)
    repeats = entry.repeats if isinstance(entry, ChannelWorkload) else 0.0
    random = streams.stream(f"workload.{number}.repeats")
    times_ns = scenario.arrival_times_ns(entry, streams.stream(f"workload.{number}.arrivals"))
    for own, at_ns in enumerate(times_ns):
        if repeats and latest and random.random() < repeats:
            yield at_ns, random.choice(latest)
        else:
            latest.append(own)
            yield at_ns, own


def _partitioned_s(scenario: Scenario) -> float:
    """Return for how many seconds a node may not reach its store, one partition behind the other."""
    end_s = seconds(scenario.arrivals_end_ns + scenario.drain_ns)
    return sum(fault.for_ or end_s for fault in scenario.faults if fault.partition is not None)


def world_of(scenario: Scenario, schedule: Schedule | None = None, providers: ProvidersByName | None = None) -> World:
    """Return what the reference model has to know of a run, with the schedule and the providers that it is given."""
    channels, templates = channels_of(scenario), templates_of(scenario)
    if providers is not None:
        channels = with_defaults(channels, providers)
    checks = {
        channel: recipient_check([*by_name.values()], templates) for channel, by_name in (providers or {}).items()
    }

    def recipient_problem(command: SendNotification) -> str | None:
        check = checks.get(command.channel)
        return None if check is None else check(command)

    return World(
        seed=scenario.seed,
        epoch_ns=since_1970_ns(scenario.start),
        channels=channels,
        faults=scenario.faults,
        preferences=scenario.preferences,
        quiet_hours=scenario.quiet_hours,
        zones=scenario.zones,
        operations=scenario.operations,
        templates={**BUILT_IN, **scenario.templates},
        fill_in=templates.fill_in,
        recipient_problem=recipient_problem,
        platform=scenario.name,
        dead_letters=scenario.dead_letters,
        remember_ids=scenario.remember_ids,
        commit_latency=scenario.commit_latency,
        max_pending=scenario.max_pending,
        nodes=None if scenario.nodes_at_most == 1 else scenario.fleet,
        nodes_at_most=scenario.nodes_at_most,
        schedule=scenario.schedule if schedule is None else schedule,
        accounts=scenario.accounts,
        simulates_providers=providers is None,
    )


def comparison_text(result: Result) -> str:
    """Return whether a checked run was compared with the reference model, event by event."""
    if LockStep.name in result.checked:
        return "in lock-step with the reference model"
    return "not compared with the reference model, as its messages have another order than the usual one (schedule)"
