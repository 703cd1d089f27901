"""One time for all processes: what is due when, what follows at an instant, and which event comes next.

Rules are methods of a `Loop` (a process, or what surrounds all) and of what belongs to one. They use five words:

* ``expect(event, why, …)``: this is what happens next, by a rule in words and with the settings that it is about.
* ``follow(actor, where, rule, …)``: that rule is applied at this instant, behind all that follows already, by this
  actor. While the actor is down it waits in a mailbox, as a message would.
* ``carry(channel, actor, where, rule, …)``: the same, by a message that carries an attempt, so that it may come twice
  or late.
* ``at(instant_ns, kind, what)``: that falls due then; ``wake`` does the same in place of the instant set before. Which
  rule it is for stands in `TURNS`, by its kind.
* ``stream(name)``: the random draws of that name.

The run tells four things: what has happened (`Timeline.compare`), whose turn it is (`turn`), what has fallen due for an
actor that is down (`falls_due`), and that time has passed (`settle`). For one answer of a provider that is::

    turn("answer", 7)       it was due now; its rule counts it for the breaker, which expects a transition if it trips,
                            and has the rule of the handler follow
    compare(transition)     the first that is expected
    compare(sent)           nothing is expected: what follows is applied until something is, here by the handler
    settle(later)           nothing is expected, nothing follows, and nothing was due before that has not come

The first thing that is otherwise is a `Difference`.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

from actors.messages import DeadLetterMessage, NotificationEvent, RecordedEvent, SendNotification
from simulation.reference.instants import NS_PER_S, ns
from simulation.reference.notifications import Commit, News, Notification, Send, Store
from simulation.reference.randomness import Stream
from simulation.reference.world import World

E = TypeVar("E", bound=RecordedEvent)
Key = tuple[str, Any]
"""What falls due: a kind, and of what."""
Place = tuple[str, str]
"""An actor of a process: what it does, and where (``email``; ``email/backup`` for one that asks a provider)."""

MAY_LOOK = frozenset(
    {"limiter", "tenants", "breaker", "backlog", "ages", "redrive", "copy", "hedge", "settle", "leases", "other"}
)
"""Of these one look more does no harm: the rule for it looks whether anything is due."""


class Difference(Exception):
    """The product does something else than the model."""


class Step(NamedTuple):
    """Something that follows: in which process and at which of its actors, and by which rule."""

    loop: Loop
    place: Place
    rule: Callable[..., None]
    args: tuple[Any, ...]

    def waits_for(self, loop: Loop, key: Key) -> bool:
        """Tell whether it stands in a mailbox for something that fell due while its actor was down."""
        return (self.loop, self.rule, self.args) == (loop, turn_that_waits, (key,))


class Timeline:
    """Time, and what is expected next.

    Of what is due at one instant the order is open, and is the product's: `turn`. All that follows from one thing comes
    before the next, first come, first served, at whichever process. What is for an actor that is down waits in its
    mailbox, and comes before all else when it is restarted.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.now_ns = 0
        self.epoch_ns = world.epoch_ns
        is_one = world.nodes_at_most == 1
        self.store = Store(ns(world.remember_ids), ns(world.commit_latency) if is_one else 0)
        self.say: Callable[..., None] = lambda *said: None
        """Tells the other nodes what one says of a breaker."""
        self.tell_others: Callable[[int | None, News], None] = lambda *said: None
        """Tells the other nodes what one has done to a letter."""
        self.carrier: Any = None
        """Brings what carries attempts; see `carrying`."""
        self.number_of_asked = 0
        """That of the latest send; none is given twice."""
        self.not_made: deque[int] = deque()
        """Those that the nodes had no lease for, by number."""
        self._agenda: list[tuple[int, int, Loop, Key]] = []
        self._number = 0
        self._following: deque[Step] = deque()
        self._handed_over: deque[Step] = deque()
        """What was in the mailbox of an actor that has just been restarted."""
        self._expected: deque[tuple[Any, str, tuple[Any, ...]]] = deque()

    # ── for the processes ───────────────────────────────────────────────────────────────────────────────────────

    def put_on_agenda(self, loop: Loop, key: Key) -> None:
        """Have something come up when it is due at a process."""
        self._number += 1
        heapq.heappush(self._agenda, (loop.due[key], self._number, loop, key))

    def follow(self, step: Step) -> None:
        """Have a rule applied at this instant, behind all that follows already."""
        self._following.append(step)

    def expect(self, event: Any, why: str, about: tuple[Any, ...]) -> None:
        """Expect an event next, by a rule in words and with the settings that it is about."""
        self._expected.append((event, why, about))

    def hand_over(self, mailbox: list[Step]) -> None:
        """Have what was in a mailbox handled before all that follows."""
        self._handed_over.extend(mailbox)

    def forget_what_follows(self, loop: Loop) -> None:
        """Drop what was about to be done at a process, as that is gone."""
        for steps in (self._following, self._handed_over):
            others = [step for step in steps if step.loop is not loop]
            steps.clear()
            steps.extend(others)

    def is_not_made(self) -> int:
        """Return the number of an attempt that has just not been made, as the node has no lease for that."""
        self._run()  # perhaps as far as an event behind it
        if not self.not_made:
            self._check_that_all_has_come()
            raise Difference("an attempt is not made, as the node has no lease; it has one")
        return self.not_made.popleft()

    # ── in lock-step ────────────────────────────────────────────────────────────────────────────────────────────

    def compare(self, event: Any) -> None:
        """Compare what has happened with what is expected."""
        self._run()
        if not self._expected:
            raise Difference(f"nothing is expected now, and this has happened: {shown(event)}")
        expected, why, about = self._expected.popleft()
        if expected != event:
            raise Difference(
                f"{_differing(expected, event)}\nrule: {_rule(why, about)}\n"
                f"expected: {shown(expected)}\ngot: {shown(event)}"
            )

    def settle(self, now_ns: int) -> None:
        """Let time pass: all that was to happen before has to have happened."""
        self._run()
        self._check_that_all_has_come()
        if self._handed_over:
            step = self._handed_over[0]
            raise Difference(f"{_named(step.loop, step.args[0])} has waited in a mailbox and has not come")
        self.now_ns = now_ns
        while self._agenda and self._agenda[0][0] < now_ns:
            instant_ns, _, loop, key = heapq.heappop(self._agenda)
            if loop.due.get(key) != instant_ns:
                continue
            place = loop.place_of(key)
            if place not in loop.mailboxes:
                raise Difference(f"{_named(loop, key)} was due at {instant_ns / NS_PER_S:.9f} s and has not come")
            del loop.due[key]
            step = Step(loop, place, turn_that_waits, (key,))
            if key[0] not in MAY_LOOK or step not in loop.mailboxes[place]:  # it looks at all that is due by then
                loop.mailboxes[place].append(step)

    def falls_due(self, loop: Loop, key: Key, now_ns: int, is_first: bool) -> None:
        """Take note that something is due now whose actor is down, so that it stands in the mailbox from now on.

        It is first where nothing else is under way at this instant.
        """
        is_due = loop.due.get(key) == now_ns
        if not is_due and key[0] not in MAY_LOOK:
            return
        if now_ns > self.now_ns or is_first:
            self.settle(now_ns)
        place = loop.place_of(key)
        if place in loop.mailboxes:
            if is_due:
                del loop.due[key]
            loop.mailboxes[place].append(Step(loop, place, turn_that_waits, (key,)))  # also for one look more

    def turn(self, loop: Loop, key: Key, now_ns: int, is_first: bool = True) -> None:
        """Take note that it is the turn of something: it is due now, or comes out of a mailbox, or is one look more.

        It is first where nothing else is under way at this instant.
        """
        has_waited = any(step.waits_for(loop, key) for step in self._handed_over)
        is_one_look_more = not has_waited and key[0] in MAY_LOOK and loop.due.get(key) != now_ns
        if now_ns > self.now_ns or (not has_waited and is_first):
            self.settle(now_ns)
        elif not is_one_look_more:  # else it came before what is in the mailbox, or behind it: that is not known
            while self._handed_over and self._handed_over[0].rule is not turn_that_waits:
                self._apply_next()
                self._check_that_all_has_come()
        if has_waited:
            if not self._handed_over.popleft().waits_for(loop, key):
                raise Difference(f"{_named(loop, key)} has come before what was in the mailbox before it")
        elif loop.due.get(key) == now_ns:
            del loop.due[key]
        elif key[0] not in MAY_LOOK:
            due_ns = loop.due.get(key)
            due = "never" if due_ns is None else f"due at {due_ns / NS_PER_S:.9f} s"
            raise Difference(f"{_named(loop, key)} has come at {now_ns / NS_PER_S:.9f} s; it is {due}")
        loop.take_turn(*key)

    def _run(self) -> None:
        """Apply what follows until an event is expected."""
        while not self._expected and (self._handed_over or self._following):
            if self._handed_over and self._handed_over[0].rule is turn_that_waits:
                return
            self._apply_next()

    def _apply_next(self) -> None:
        step = (self._handed_over or self._following).popleft()
        if step.place in step.loop.mailboxes:
            step.loop.mailboxes[step.place].append(step)
        else:
            step.rule(*step.args)

    def _check_that_all_has_come(self) -> None:
        if self._expected:
            event, why, about = self._expected[0]
            raise Difference(f"{shown(event)} is missing\nrule: {_rule(why, about)}")


def turn_that_waits(_key: Key) -> None:
    """What falls due while its actor is down stands in the mailbox by this, and comes when the product says so."""


class Loop:
    """A process of the service, as its rules know it; or what surrounds them all."""

    TURNS: ClassVar[Mapping[str, Callable[[Any, Any], None]]] = {}
    """By kind of what falls due, the rule for it."""

    def __init__(self, timeline: Timeline, node: int | None = None) -> None:
        """Make one at which nothing is due; `node` says which one it is of several. None: it is alone."""
        self.timeline = timeline
        self.node = node
        self.world = timeline.world
        self.store = timeline.store
        self.side: Any = None
        """Of several nodes, what this one has to do with the store; see `durability`."""
        self.admitted: dict[str, Notification] = {}
        """What is accepted and has not ended, by id."""
        self.asked: dict[int, Send] = {}
        """What is at a provider, by number."""
        self.commits: dict[str, Commit] = {}
        """What is not durable yet, by notification."""
        self.overtaken: dict[str, SendNotification] = {}
        """By id, what another node has under way, or took first, of what is being accepted or redriven here."""
        self.mailboxes: dict[Place, list[Step]] = {}
        """Of the actors that are down."""
        self.due: dict[Key, int] = {}
        self.is_down = True
        self.starts = 0
        """How often it has started."""

    @property
    def now_ns(self) -> int:
        """The instant."""
        return self.timeline.now_ns

    @property
    def epoch_ns(self) -> int:
        """Where on the calendar the clock started, as the wall clock shows it now."""
        return self.timeline.epoch_ns

    def at(self, instant_ns: int, kind: str, what: Any) -> None:
        """Put on the agenda that something falls due; one in the past is now."""
        self.due[kind, what] = max(instant_ns, self.now_ns)
        self.timeline.put_on_agenda(self, (kind, what))

    def make_durable(self, kind: str, event: NotificationEvent, command: SendNotification) -> None:
        """Have the store take a change, and the rule for a kind applied when it is durable: after `commit_latency`."""
        name = event.notification_id
        if self.side is not None and self.side.takes_time:
            self.side.hand_over(event, command)
            return
        first = self.store.accepted_first(event)
        if first is not None:
            self.overtaken[name] = first
            self.at(self.now_ns, "overtaken", name)
            return
        self.timeline.tell_others(self.node, self.store.keep(event, command, self.node))
        if self.store.latency_ns:
            self.at(self.now_ns + self.store.latency_ns, kind, name)
        else:
            self.take_turn(kind, name)

    def has_lease(self) -> bool:
        """Tell whether this node may start an attempt."""
        has_lease: bool = self.side is None or self.side.has_lease(self.now_ns)
        if not has_lease:
            self.side.was_refused = True
        return has_lease

    def has_letter(self, letter: DeadLetterMessage | str) -> bool:
        """Return whether a notification is a dead letter, or a letter that of its latest death, as this node knows."""
        name = letter if isinstance(letter, str) else letter.notification_id
        return not (self.side is not None and self.side.has_taken(name)) and self.store.has_letter(letter)

    def wake(self, kind: str, where: Any, instant_ns: int | None) -> None:
        """Have a place where some wait looked at then, and not at the instant set before; None: at none."""
        if instant_ns is None:
            self.due.pop((kind, where), None)
        elif self.due.get((kind, where)) != instant_ns:
            self.at(instant_ns, kind, where)

    def follow(self, actor: str, where: str, rule: Callable[..., None], *args: Any) -> None:
        """Have a rule applied at this instant, behind all that follows already."""
        self.timeline.follow(Step(self, (actor, where), rule, args))

    def carry(self, channel: str, actor: str, where: str, rule: Callable[..., None], *args: Any) -> None:
        """Have a rule applied when a message comes that carries an attempt: at this instant, but for some faults."""
        self.timeline.carrier.send(Step(self, (actor, where), rule, args), channel)

    def event(self, kind: type[E], command: SendNotification | None, /, **fields: Any) -> E:
        """Return an event of this instant, of a notification where it is of one."""
        if command is not None:
            fields |= {"notification_id": command.notification_id, "channel": command.channel}
        return kind(at_ns=self.now_ns, epoch_ns=self.epoch_ns, node=self.node, **fields)

    def expect(self, event: Any, why: str, *about: Any) -> None:
        """Expect an event next, by a rule in words and with the settings that it is about."""
        self.timeline.expect(event, why, about)

    def stream(self, name: str) -> Stream:
        """Return the draws of a name: each of several nodes has its own."""
        return Stream(self.world.seed, name if self.node is None else f"node.{self.node}.{name}")

    def named(self, breaker: str) -> str:
        """Return the name of a breaker in the history: that of email's at node 3 is ``email@3``."""
        return breaker if self.node is None else f"{breaker}@{self.node}"

    def take_turn(self, kind: str, what: Any) -> None:
        """Apply the rule for something that is due."""
        self.TURNS[kind](self, what)

    def place_of(self, key: Key) -> Place:
        """Return the actor that something on the agenda is for."""
        kind, what = key
        if kind == "answer" and not self.timeline.carrier.may_repeat:
            return "breaker", self.asked[what].admitted.attempt.command.channel
        if kind in ("limiter", "tenants", "breaker"):
            return kind, what
        if kind in ("copy", "hedge"):
            return "channel", what[0]
        if kind in ("go-on", "commit", "overtaken", "backlog"):
            return "handler", ""
        return ("dlq", "") if kind in ("ages", "discarded", "redrive") else ("", "")


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
