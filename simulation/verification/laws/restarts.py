"""Restarts: what has crashed is restarted at its instant, and once."""

from __future__ import annotations

from actors.event_words import class_in_words
from actors.formatting import seconds_text
from actors.instants import NEVER_NS, ns
from actors.kernel.actor import Supervision
from actors.messages import ActorFailed, NotificationEvent
from actors.pipeline.handler import Handler
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import PROCESS, STEPS
from simulation.verification.laws.observations import ActorCrashed, ActorStarted


class Restarts(Invariant):
    """An actor that has crashed starts again at the instant at which its supervision, or the fault, has it do so: after
    0.1 s, twice as long for each restart of the last minute, and at most 10 s; not before, not later, and once. So does
    the process: its handler is started when it is back.
    """

    name = "restarts"
    of_one_process = True
    watches_actors = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._seen: set[str] = set()
        """Actors that have started."""
        self._restarts_ns: dict[str, list[int]] = {}
        self._due: dict[str, tuple[str, int]] = {}
        """By actor that is down: what it is, and when it starts again."""
        self._back_ns: frozenset[int] = frozenset()
        """When the process is back that is down: one of these."""

    @observes(ActorCrashed)
    def on_crashed(self, crashed: ActorCrashed) -> Objection:
        if (wrong := self._overdue(crashed.at_ns)) is not None:
            return wrong
        delay_ns = crashed.restart_after_ns
        recent = self._restarts_ns.setdefault(crashed.actor, [])
        if delay_ns is None:
            delay_ns = _delay_ns(crashed.supervision, recent, crashed.at_ns)
        if delay_ns is not None:
            recent.append(crashed.at_ns)
            self._due[crashed.actor] = class_in_words(crashed.kind.__name__), crashed.at_ns + delay_ns
        return None

    @observes(ActorStarted)
    def on_started(self, started: ActorStarted) -> Objection:
        kind = class_in_words(started.kind.__name__)
        if started.actor not in self._seen:
            self._seen.add(started.actor)
            return self._process_is_back(started) if started.kind is Handler and self._back_ns else None
        due = self._due.pop(started.actor, None)
        if due is None:
            return f"the {kind} is started again, and runs already"
        if due[1] == started.at_ns:
            return None
        return f"the {kind} is restarted at {seconds_text(started.at_ns)}, and was to be at {seconds_text(due[1])}"

    def _process_is_back(self, started: ActorStarted) -> Objection:
        back_ns, self._back_ns = self._back_ns, frozenset()
        if started.at_ns in back_ns:
            return None
        due = " or ".join(map(seconds_text, sorted(back_ns)))
        return f"the process is back at {seconds_text(started.at_ns)}, and was to be at {due}"

    @observes(ActorFailed)
    def on_failure(self, event: ActorFailed) -> None:
        if event.actor != PROCESS:
            return
        self._due.clear()  # with all that was to be restarted in it
        faults = self.context.faults
        crashes = [fault for fault in faults if fault.crash == PROCESS and ns(fault.at) == event.at_ns]
        down_s = [fault.restart_after or 0.0 for fault in crashes]
        # One that a deployment stops at that instant is down for as long as that says.
        down_s += [fault.deploy.each_down for fault in faults if crashes and fault.deploy is not None]
        self._back_ns = frozenset(event.at_ns + ns(each) for each in down_s)
        if self.context.has_partitions or any(fault.scale is not None for fault in faults):
            self._back_ns = frozenset()  # by then the store may be out of reach, or the fleet too small for it

    @observes(*STEPS)
    def on_event(self, event: NotificationEvent) -> Objection:
        return self._overdue(event.at_ns)

    def at_end(self, now_ns: int) -> Objection:
        return self._overdue(now_ns)

    def _overdue(self, now_ns: int) -> Objection:
        for kind, due_ns in self._due.values():
            if due_ns < now_ns:
                return f"the {kind} was to be restarted at {seconds_text(due_ns)}, and is not"
        if max(self._back_ns, default=NEVER_NS) < now_ns:
            return f"the process was to be back at {seconds_text(max(self._back_ns))}, and is not"
        return None


def _delay_ns(rule: Supervision, restarts_ns: list[int], now_ns: int) -> int | None:
    """Return how long an actor is down that has been restarted at these instants; None: it is up to its parent."""
    recent = sum(at_ns > now_ns - ns(rule.window) for at_ns in restarts_ns) if rule.window < 1e9 else len(restarts_ns)
    is_left_to_others = recent >= rule.max_restarts and rule.then != "restart"
    return None if is_left_to_others else ns(min(rule.max_delay, rule.initial_delay * 2**recent))
