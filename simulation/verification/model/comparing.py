"""The model's expectations, compared in lock-step with the product. The rules of the model can be read without this.

The run tells what has happened (`Comparison.compare`), whose turn it is (`turn`), what has fallen due for an actor that
is down (`falls_due`), and that time has passed (`settle`). For one answer of a provider that is::

    turn("answer", 7)       it was due now; its rule counts it for the breaker, which expects a transition if it trips,
                            and has the rule of the handler follow
    compare(transition)     the first that is expected
    compare(sent)           nothing is expected: what follows is applied until something is, here by the handler
    settle(later)           nothing is expected, nothing follows, and nothing was due before that has not come

The first thing that is otherwise is a `Difference`.
"""

from __future__ import annotations

import heapq
from typing import Any

from actors.messages import SendNotification
from simulation.verification.model.instants import NS_PER_S
from simulation.verification.model.loop import Key, Loop, Step, Timeline


class Difference(Exception):
    """The product does something else than the model."""


class Comparison(Timeline):
    """The next expected events, in the turns of the product."""

    def compare(self, event: Any) -> None:
        if not self.expected:
            self._run()
        if not self.expected:
            raise Difference(f"nothing is expected now, and this has happened: {shown(event)}")
        expected, why, about = self.expected.popleft()
        if expected != event:
            raise Difference(
                f"{_differing(expected, event)}\nrule: {_rule(why, about)}\n"
                f"expected: {shown(expected)}\ngot: {shown(event)}"
            )

    def settle(self, now_ns: int) -> None:
        """Let time pass: all that was to happen before has to have happened."""
        self._run()
        if self.expected:
            raise self._missing()
        if self.handed_over:
            step = self.handed_over[0]
            raise Difference(f"{_named(step.loop, step.args[0])} has waited in a mailbox and has not come")
        if now_ns != self.now_ns:
            self.now_ns = now_ns
            for loop in self.loops:
                loop.now_ns = now_ns
        while self.agenda and self.agenda[0][0] < now_ns:
            instant_ns, _, loop, key = heapq.heappop(self.agenda)
            if loop.due.get(key) != instant_ns:
                continue
            place = loop.place_of(key)
            if place not in loop.mailboxes:
                raise Difference(f"{_named(loop, key)} was due at {instant_ns / NS_PER_S:.9f} s and has not come")
            del loop.due[key]
            step = Step(loop, place, timer_that_waits, (key,))
            is_looked_at = loop.TIMERS[key[0]].may_look and step in loop.mailboxes[place]
            if not is_looked_at:  # one look is at all that is due by then
                loop.mailboxes[place].append(step)

    def falls_due(self, loop: Loop, key: Key, now_ns: int, is_first: bool) -> None:
        """Take note that something is due now whose actor is down, so that it stands in the mailbox from now on.

        It is first where nothing else is under way at this instant.
        """
        is_due = loop.due.get(key) == now_ns
        if not is_due and not loop.TIMERS[key[0]].may_look:
            return
        if now_ns > self.now_ns or is_first:
            self.settle(now_ns)
        place = loop.place_of(key)
        if place in loop.mailboxes:
            if is_due:
                del loop.due[key]
            loop.mailboxes[place].append(Step(loop, place, timer_that_waits, (key,)))  # also for one look more

    def turn(self, loop: Loop, key: Key, now_ns: int, is_first: bool = True) -> None:
        """Take note that it is the turn of something: it is due now, or comes out of a mailbox, or is one look more.

        It is first where nothing else is under way at this instant.
        """
        kind, what = key
        rule, _, may_look = loop.TIMERS[kind]
        handed_over = self.handed_over
        has_waited = bool(handed_over) and any(_waits_for(step, loop, key) for step in handed_over)
        if now_ns > self.now_ns or (not has_waited and is_first):
            self.settle(now_ns)
        elif handed_over and (has_waited or not may_look or loop.due.get(key) == now_ns):
            # else it is one look more, before what is in the mailbox or behind it: that is not known
            while handed_over and handed_over[0].rule is not timer_that_waits:
                self._apply_next()
                if self.expected:
                    raise self._missing()
        if has_waited:
            if not _waits_for(handed_over.popleft(), loop, key):
                raise Difference(f"{_named(loop, key)} has come before what was in the mailbox before it")
        elif loop.due.get(key) == now_ns:
            del loop.due[key]
        elif not may_look:
            due_ns = loop.due.get(key)
            due = "never" if due_ns is None else f"due at {due_ns / NS_PER_S:.9f} s"
            raise Difference(f"{_named(loop, key)} has come at {now_ns / NS_PER_S:.9f} s; it is {due}")
        rule(loop, what)

    def _run(self) -> None:
        while not self.expected and (self.handed_over or self.following):
            if self.handed_over and self.handed_over[0].rule is timer_that_waits:
                return
            self._apply_next()

    def _apply_next(self) -> None:
        step = (self.handed_over or self.following).popleft()
        mailboxes = step.loop.mailboxes
        if mailboxes and step.place in mailboxes:
            mailboxes[step.place].append(step)
        else:
            step.rule(*step.args)

    def _missing(self) -> Difference:
        event, why, about = self.expected[0]
        return Difference(f"{shown(event)} is missing\nrule: {_rule(why, about)}")

    def is_not_made(self) -> int:
        """Return the number of an attempt that has just not been made, as the node has no lease for that."""
        self._run()  # perhaps as far as an event behind it
        if not self.not_made:
            if self.expected:
                raise self._missing()
            raise Difference("an attempt is not made, as the node has no lease; it has one")
        return self.not_made.popleft()


def timer_that_waits(_key: Key) -> None:
    """Stands in a mailbox for a timer that is due while its actor is down, and comes with the product's turn."""


def _waits_for(step: Step, loop: Loop, key: Key) -> bool:
    return step.loop is loop and step.rule is timer_that_waits and step.args == (key,)


# ── in words ────────────────────────────────────────────────────────────────────────────────────────────────────────


def shown(event: Any) -> str:
    """Return an event in one line: its kind, its instant, and what it says."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__ if name not in ("at_ns", "epoch_ns")}
    text = ", ".join(f"{name} {_worded(value)}" for name, value in fields.items() if value is not None)
    at = f" at {event.at_ns / NS_PER_S:.9f} s" if hasattr(event, "at_ns") else ""
    return f"{type(event).__name__}{at} ({text})"


def _differing(expected: Any, got: Any) -> str:
    if type(expected) is not type(got):
        return f"a {type(expected).__name__} is expected, not a {type(got).__name__}"
    names = [name for name in expected.__struct_fields__ if getattr(expected, name) != getattr(got, name)]
    pairs = [(name, _worded(getattr(expected, name)), _worded(getattr(got, name))) for name in names]
    return "; ".join(f"{name} should be {wanted}, not {other}" for name, wanted, other in pairs)


def _worded(value: Any) -> Any:
    if isinstance(value, SendNotification):
        return f"{value.notification_id} to {value.recipient}: {value.message}"
    return f"of {len(value)}" if isinstance(value, tuple) else value


def _rule(why: str, about: tuple[Any, ...]) -> str:
    """Return a rule in words, with the settings that are given in a file."""
    return why.format(*[_settings(each) if hasattr(each, "model_fields_set") else each for each in about])


def _settings(config: Any) -> str:
    given = sorted(config.model_fields_set)
    return ", ".join(f"{name}={getattr(config, name)!r}" for name in given) or "all by default"


def _named(loop: Loop, key: Key) -> str:
    where = "" if loop.node is None else f" at node {loop.node}"
    kind, what = key
    return f"the turn of {what!r} ({kind}){where}" if what != "" else f"the turn of the {kind}{where}"
