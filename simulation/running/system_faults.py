"""The fault injector: injects the faults that hit the system itself and not its providers, each at its window's start.

At one instant the entries go in the order of the file, and all of them before anything else that is due then. Within an
entry the wall clock steps first; then the crash, so that a process that starts again reads the new time.

After a step the `epoch_ns` of every event says where the wall clock stood, and its `at_ns` goes on as before. Timers
use the monotonic clock: a notification that waits for the end of quiet hours wakes at the foreseen instant, and reads
the wall clock anew; so after a step back it waits on, and after a step forward it is late by at most the step. A
notification that is read from the store later, after a crash of the handler or the process, or for a redrive, is read
by the calendar, and is off by the step.

While the process is down there is no actor that could crash, and a process that crashes again is not down any longer
for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from actors.errors import RetrylabError
from actors.instants import ns
from actors.kernel.actor import Actor, ActorRef, Supervision, handles
from actors.kernel.turns import takes_turn
from actors.messages import NotificationChannel
from actors.notifier import Pipeline
from actors.settings.faults import FLEET_FAULT_KEYS, FaultConfig
from simulation.running.service import Process, Service


class InjectedCrash(RetrylabError):
    """Fails an actor, or the process, that the scenario crashes."""


class Stopped(RetrylabError):
    """Ends a node that the scenario stops: for a deploy, or to scale down."""


class _Inject(msgspec.Struct, frozen=True):
    """The window of this fault begins."""

    fault: FaultConfig


class _Stop(msgspec.Struct, frozen=True):
    """This node is to end."""

    process: Process
    drain: float
    back_after: float | None
    """How long the node is gone, in seconds. None: for good."""


class _IsDrained(msgspec.Struct, frozen=True):
    """This node's time to finish its notifications is over."""

    stop: _Stop
    starts: int


class _Restart(msgspec.Struct, frozen=True):
    """These processes come back."""

    processes: Sequence[Process]


def is_system_fault(fault: FaultConfig) -> bool:
    """Tell whether there is anything in a fault for the fault injector to do."""
    return bool(fault.injects & (FLEET_FAULT_KEYS | {"crash", "clock_step"}))


class FaultInjector(Actor):
    supervision = Supervision(max_restarts=0, then="escalate")

    def __init__(self, faults: Sequence[FaultConfig], service: Service) -> None:
        super().__init__()
        self._faults = [fault for fault in faults if is_system_fault(fault)]
        self._service = service

    def on_start(self) -> None:
        for fault in self._faults:
            self.at(ns(fault.at), _Inject(fault))

    @handles(_Inject)
    @takes_turn("inject", lambda _, inject: inject.fault)
    def on_inject(self, inject: _Inject) -> None:
        fault = inject.fault
        if fault.clock_step is not None:
            self.system.step_wall_clock(fault.clock_step)
        of_nodes = self._service.of_nodes(fault.node)
        if fault.partition is not None:
            self._service.cut_off(of_nodes)
            if fault.for_ is not None:
                self.system.call_at(ns(fault.at + fault.for_), partial(self._service.reconnect, of_nodes))
        hit = [process for process in of_nodes if not process.is_down]
        if fault.crash == "process":
            self._crash(hit, fault.restart_after)
        elif fault.crash is not None:
            error = InjectedCrash(f"injected crash of the {fault.crash.actor}")
            for process in hit:
                for ref in victims(process.pipeline, fault.crash.actor, fault.channel, fault.provider):
                    self.system.crash(ref, error, fault.restart_after)

        if fault.deploy is not None:
            for place, process in enumerate(self._service.living):
                stop = _Stop(process, fault.deploy.drain, fault.deploy.each_down)
                self.after(place * fault.deploy.every, stop)
        if fault.scale is not None:
            processes = self._service.processes
            for process in processes[fault.scale.to :]:
                process.is_surplus = True
                self.on_stop_node(_Stop(process, fault.scale.drain, None))
            wanted = [process for process in processes[: fault.scale.to] if process.is_surplus]
            for process in wanted:
                process.is_surplus = False
            self._service.start(wanted)

    def _crash(self, processes: Sequence[Process], restart_after: float | None) -> None:
        if not processes:
            return
        self._service.crash(InjectedCrash("injected crash of the process"), processes)
        if restart_after:
            self.after(restart_after, _Restart(processes))
        else:
            self._bring_back(processes)

    @handles(_Stop)
    @takes_turn("stop", lambda _, stop: [stop.process])
    def on_stop_node(self, stop: _Stop) -> None:
        """Have a node that is there get nothing new, and end when it is drained."""
        if not stop.process.is_down:
            self._service.drain(stop.process)
            self.after(stop.drain, _IsDrained(stop, stop.process.starts))

    @handles(_IsDrained)
    @takes_turn("drained", lambda _, drained: [drained.stop.process])
    def on_is_drained(self, drained: _IsDrained) -> None:
        process = drained.stop.process
        if process.is_down or process.starts != drained.starts:
            return  # it has crashed meanwhile
        self._service.crash(Stopped("stopped"), [process], is_parked=True)
        if drained.stop.back_after is None:
            self._bring_back([process])  # which is wanted again where the fleet has grown meanwhile
        else:
            self.after(drained.stop.back_after, _Restart([process]))

    @handles(_Restart)
    @takes_turn("back", lambda _, restart: restart.processes)
    def on_restart(self, restart: _Restart) -> None:
        self._bring_back(restart.processes)

    def _bring_back(self, processes: Sequence[Process]) -> None:
        self._service.start([process for process in processes if not process.is_surplus])


def victims(
    pipeline: Pipeline, name: str, channels: Sequence[NotificationChannel], provider: str | None
) -> list[ActorRef[Any]]:
    """Return the actors of a pipeline that go by a name of :data:`actors.settings.faults.ActorName`, on some of its
    channels: none for the limiter of a channel without one; of actors that ask providers the one of `provider`, or
    all."""
    if name in pipeline.own_actors:
        return [pipeline.own_actors[name]]
    match name:
        case "handler":
            return [pipeline.handler]
        case "dlq":
            return [pipeline.dead_letter_queue]
        case "alert":
            return [pipeline.alert]
    found: list[ActorRef[Any] | None] = []
    for channel, stages in pipeline.wiring.stages.items():
        if channel not in channels:
            continue
        match name:
            case "limiter":
                found.append(stages.rate_limiter)
            case "breaker":
                found.append(stages.circuit_breaker)
            case "channel":
                asking = zip(stages.lanes, stages.channels, strict=True)
                found += [channel for lane, channel in asking if provider in (None, lane.provider_name)]
            case _:
                raise AssertionError(f"no actor is called {name!r}")
    return [ref for ref in found if ref is not None]
