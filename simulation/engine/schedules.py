"""Other orders of the same run, in which ready messages are not handled first in, first out.

The actor system handles messages in the order in which they were sent, whatever actor they are for, and all that
follows from a timer before the next one fires. It promises its actors less: that each receives its own messages in the
order in which they were sent, and that timers fire in the order in which they were set. All else in the order of a run
is chance, which another runtime need not share. An :class:`ExploringSystem` keeps the promises, and asks a
:class:`Schedule` for the rest: whenever several actors have a message to take, which of them is next, or whether
another timer that is due at this instant fires first.

Each such question is a *decision*; they are numbered from 0. The ready actors stand in the order of their oldest
messages, with the clock behind them, so choice 0 is what the normal system does, and every other choice is a
*deviation* from it. A run is determined by its deviations: :class:`Deviations` does it again, :func:`shrink` leaves out
those that do not matter, and :func:`search` tries all runs with a few of them::

    def run(schedule):
        with ExploringSystem(schedule) as system:
            ...  # spawn actors and tell them something
            system.run()
        assert ...  # what must hold in any order

    print(search_result(search(run, most_deviations=2), most_deviations=2))
    walk = RandomWalk(random.Random(7))
    run(walk)  # where it breaks:
    shrink(run, walk.deviations)

A whole scenario runs under a schedule with ``simulation.run(…, schedule=…)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop
from random import Random
from typing import Any, NamedTuple, TypeAlias, TypeVar

from actors.errors import ActorSystemError, described
from actors.formatting import counted
from actors.kernel.actor import Actor
from simulation.engine.system import _NO_CALLBACKS, BEHIND, SimulatedSystem


class Clock:
    """Stands, among the ready actors, for the next timer that is due at this instant."""

    __slots__ = ()


CLOCK = Clock()

Ready: TypeAlias = Sequence[Actor | Clock]
"""At least two candidates to be next: actors, by the age of their oldest message, and at last the clock if it may."""


class Deviation(NamedTuple):
    """A decision that was not for the actor whose message is oldest."""

    step: int
    """Which decision of the run it was; the first is 0."""

    choice: int
    """The index of the chosen candidate; 1 is the actor whose message is second oldest, or the clock."""


class Schedule(ABC):
    """Chooses the next actor at each decision, and notes its choice. Good for one run."""

    def __init__(self) -> None:
        self.deviations: list[Deviation] = []
        """The decisions so far that differ from the normal system's."""
        self.widths = array("H")
        """The number of candidates at each decision so far."""

    @abstractmethod
    def choose(self, ready: Ready) -> int:
        """Return the index in `ready` of the next one."""

    @property
    def decisions(self) -> int:
        """How many decisions there were so far."""
        return len(self.widths)

    def decide(self, ready: Ready) -> int:
        """Choose, and note the choice; for systems.

        Raises:
            ActorSystemError: the choice is not among the ready ones.
        """
        choice = self.choose(ready)
        if choice:
            if not 0 < choice < len(ready):
                raise ActorSystemError(f"choose: wanted an index below {len(ready)}, got {choice}")
            self.deviations.append(Deviation(len(self.widths), choice))
        self.widths.append(len(ready))
        return choice


class Deviations(Schedule):
    """The normal order but for these decisions: does a run again. With none, it is the normal order."""

    def __init__(self, deviations: Iterable[tuple[int, int]] = ()) -> None:
        """Make a schedule.

        Args:
            deviations: pairs of decision and choice, as in :class:`Deviation`, in the order of the decisions.

        Raises:
            ValueError: they are not in order, or no deviations.
        """
        super().__init__()
        self._planned = [Deviation(*pair) for pair in deviations]
        last = -1
        for step, choice in self._planned:
            if step <= last or choice < 1:
                raise ValueError(
                    f"deviations: wanted decisions from 0 on, rising, and choices of at least 1, got {(step, choice)}"
                )
            last = step
        self._choices = dict(self._planned)

    def choose(self, ready: Ready) -> int:
        choice = self._choices.get(len(self.widths), 0)
        return choice if choice < len(ready) else 0

    @property
    def missed(self) -> list[Deviation]:
        """The planned deviations that were impossible, since too few actors were ready."""
        done = set(self.deviations)
        return [deviation for deviation in self._planned if deviation not in done]


class RandomWalk(Schedule):
    """Each ready actor is equally likely to be next."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    def choose(self, ready: Ready) -> int:
        return self._random.randrange(len(ready))


class PCT(Schedule):
    """Strict priorities of actors, drawn at random, and a few changes of them at random decisions.

    Finds a bug that takes `depth` constraints on the order ("this before that") with a probability of at least
    1 / (n · k^(depth - 1)) in each run of n actors and at most k decisions. A random walk has no such bound: where an
    actor must not be chosen m times in a row it takes 2^m runs.

    The algorithm is that of Burckhardt, Kothari, Musuvathi and Nagarakatte, "A Randomized Scheduler with Probabilistic
    Guarantees of Finding Bugs", ASPLOS 2010, with actors, and the clock, for threads. Only decisions are counted as
    steps: where one alone is ready, its priority changes nothing.
    """

    def __init__(self, random: Random, depth: int, steps: int) -> None:
        """Make a schedule.

        Args:
            random: draws priorities and changes.
            depth: of the bugs looked for, at least 1: how many constraints on the order they take.
            steps: how many decisions a run is expected to have, at least 1; a run in the normal order tells. Priorities
                change in these only.

        Raises:
            ValueError: a number is less than 1.
        """
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth: wanted at least 1, got {depth}")
        if steps < 1:
            raise ValueError(f"steps: wanted at least 1, got {steps}")
        self.depth = depth
        self.steps = steps
        self._random = random
        self._changes: dict[int, list[float]] = {}
        for number in range(1, depth):
            self._changes.setdefault(random.randrange(steps), []).append(number / depth)
        self._priorities: dict[Actor | Clock, float] = {}

    def choose(self, ready: Ready) -> int:
        priorities = self._priorities
        for actor in ready:
            if actor not in priorities:
                priorities[actor] = 1.0 + self._random.random()  # above what any change leaves it with

        def first() -> int:
            return max(range(len(ready)), key=lambda index: priorities[ready[index]])

        for lowered in self._changes.get(len(self.widths), ()):
            priorities[ready[first()]] = lowered
        return first()

    @property
    def bound(self) -> float:
        """The least probability with which such a run finds a bug of this depth, by the actors it had so far.

        It holds for bugs within the first `steps` decisions. Actors that were never ready beside others are not
        counted.
        """
        return 1.0 / (max(1, len(self._priorities)) * float(self.steps) ** (self.depth - 1))


class _ReadyByActor:
    """Stands in for the queue of ready messages: a queue for each actor, and a schedule says whose turn it is."""

    def __init__(self, schedule: Schedule, is_timer_due: Callable[[], bool], fire: Callable[[], None]) -> None:
        self._schedule = schedule
        self._is_timer_due = is_timer_due
        self._fire = fire
        self._queues: dict[Actor, deque[tuple[int, Any]]] = {}
        """The messages of each actor, numbered by their place in the normal order. No queue is empty."""
        self._front = 0
        self._back = 0

    def __bool__(self) -> bool:
        return bool(self._queues)

    def append(self, ready: tuple[Actor, Any]) -> None:
        self._back += 1
        self._queue_of(ready[0]).append((self._back, ready[1]))

    def appendleft(self, ready: tuple[Actor, Any]) -> None:
        self._front -= 1
        self._queue_of(ready[0]).appendleft((self._front, ready[1]))

    def popleft(self) -> tuple[Actor, Any]:
        queues = self._queues
        while True:
            if len(queues) == 1 and not self._is_timer_due():
                (actor,) = queues
                break
            actors = sorted(queues, key=lambda actor: queues[actor][0][0])
            choice = self._schedule.decide([*actors, CLOCK] if self._is_timer_due() else actors)
            if choice < len(actors):
                actor = actors[choice]
                break
            self._fire()
        queue = queues[actor]
        _, message = queue.popleft()
        if not queue:
            del queues[actor]
        return actor, message

    def _queue_of(self, actor: Actor) -> deque[tuple[int, Any]]:
        queue = self._queues.get(actor)
        if queue is None:
            queue = self._queues[actor] = deque()
        return queue


class ExploringSystem(SimulatedSystem):
    """Actors in simulated time, in an order of the schedule's choice."""

    def __init__(self, schedule: Schedule, **settings: Any) -> None:
        """Make a system.

        Args:
            schedule: a new one.
            settings: as for :class:`~simulation.engine.system.SimulatedSystem`.

        Raises:
            ValueError: the schedule has been used.
        """
        super().__init__(**settings)
        if schedule.decisions:
            raise ValueError("schedule: wanted a new one for each run, got one that has been used")
        self.schedule = schedule
        ready = _ReadyByActor(schedule, self._is_timer_due, self._fire_next)
        self._ready = ready  # type: ignore[assignment]  # as much of a deque as systems need

    def _is_timer_due(self) -> bool:
        queue: Any = self.env._queue
        while queue and queue[0][0] == self.env.now and not self._stopping:
            callbacks = queue[0][3].callbacks
            if callbacks is not _NO_CALLBACKS:
                # Or it is an event of the user's, for SimPy to handle in its turn, or behind all else of this instant.
                return callbacks is self._fire_callbacks and queue[0][1] != BEHIND
            heappop(queue)
        return False

    def _fire_next(self) -> None:
        timer: Any = heappop(self.env._queue)[3]
        self._ready.append((timer.actor, timer.message))

    def _step_until_stopped(self) -> None:
        # The message of a timer goes through the queue as all others, since another one may be handled before it.
        queue: Any = self.env._queue
        while not self._stopping:
            if queue and queue[0][3].callbacks is _NO_CALLBACKS:
                heappop(queue)
            else:
                self.env.step()


# ── many runs ───────────────────────────────────────────────────────────────────────────────────────────────────

T = TypeVar("T")

RunUnder: TypeAlias = Callable[[Schedule], object]
"""Makes everything anew, runs it under the schedule, and raises if something does not hold: that is a breach."""


@dataclass(frozen=True, slots=True)
class Explored:
    """One run of a search."""

    deviations: tuple[Deviation, ...]
    decisions: int
    breach: Exception | None
    """The error that the run raised; None: it raised none."""


def search(run: RunUnder, *, most_deviations: int) -> Iterator[Explored]:
    """Run every schedule with at most `most_deviations` deviations once, those with the fewest first; end with the
    first breach.

    With d decisions in a run and w actors to choose from at each, these are about ``(d * (w - 1)) ** k / k!`` runs for
    k deviations: for small programs, and few deviations. (Orders that differ only in independent steps are not left
    out: actors may share more than messages, so independence cannot be known.)

    Raises:
        ActorSystemError: the run is not the same when it is done again, so that nothing can be said about it.
    """
    layer: Iterator[tuple[Deviation, ...]] = iter([()])
    for count in range(most_deviations + 1):
        done: list[tuple[tuple[Deviation, ...], array[int]]] = []
        for deviations in layer:
            schedule = Deviations(deviations)
            explored = _explore(run, schedule)
            if schedule.missed:
                raise ActorSystemError(
                    f"search: wanted a run that is the same when it is done again, got one without the decision "
                    f"{schedule.missed[0]} that it had before"
                )
            yield explored
            if explored.breach is not None:
                return
            if count < most_deviations:
                done.append((deviations, schedule.widths))
        layer = _with_one_more(done)


def _with_one_more(done: list[tuple[tuple[Deviation, ...], array[int]]]) -> Iterator[tuple[Deviation, ...]]:
    for deviations, widths in done:
        after = deviations[-1].step + 1 if deviations else 0
        for step in range(after, len(widths)):
            for choice in range(1, widths[step]):
                yield (*deviations, Deviation(step, choice))


def _explore(run: RunUnder, schedule: Schedule) -> Explored:
    breach = None
    try:
        run(schedule)
    except Exception as error:
        breach = error
    return Explored(tuple(schedule.deviations), schedule.decisions, breach)


@dataclass(frozen=True, slots=True)
class SearchResult:
    runs: int
    most_deviations: int
    breach: Exception | None
    deviations: tuple[Deviation, ...]
    """The deviations that lead to the breach; no breach has fewer."""

    def __str__(self) -> str:
        if self.breach is None:
            return f"no breach with {counted(self.most_deviations, 'deviation')}, in any of {self.runs:,} schedules"
        found = described(self.breach)
        which = ", ".join(f"({step}, {choice})" for step, choice in self.deviations)
        return f"breach with {counted(len(self.deviations), 'deviation')} [{which}], in schedule {self.runs:,}: {found}"


def search_result(explored: Iterable[Explored], *, most_deviations: int) -> SearchResult:
    """Go through a search to its end, and return its result."""
    runs = 0
    for each in explored:
        runs += 1
        if each.breach is not None:
            return SearchResult(runs, most_deviations, each.breach, each.deviations)
    return SearchResult(runs, most_deviations, None, ())


def shrink(run: RunUnder, deviations: Iterable[tuple[int, int]]) -> Explored:
    """Return a run that breaks in the same way with fewer deviations: without any one of them, it does not.

    A breach is the same if the class of its exception is.

    Raises:
        ValueError: it does not break with all of them.
    """
    found = _explore(run, Deviations(deviations))
    if found.breach is None:
        raise ValueError("shrink: wanted deviations with which the run breaks, got some with which it does not")
    kind = type(found.breach)

    def still(fewer: list[Deviation]) -> Sequence[Deviation] | None:
        nonlocal found
        tried = _explore(run, Deviations(fewer))
        if type(tried.breach) is not kind:
            return None
        found = tried
        return found.deviations  # as it was in fact: what could not be done any more is left out too

    minimal(found.deviations, still)
    return found


def minimal(items: Sequence[T], still: Callable[[list[T]], Sequence[T] | bool | None]) -> list[T]:
    """Return items of which none can be left out so that `still` holds; it holds for all of them to begin with.

    The algorithm is ddmin without its complements (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing
    Input", IEEE TSE 28(2), 2002).

    Args:
        items: to begin with.
        still: tells whether it holds for some of them; or returns, where it does, which of these it takes.
    """
    kept = list(items)
    if kept and still([]) not in (None, False):
        return []
    size = len(kept)
    while size:
        before = len(kept)
        start = 0
        while start < len(kept):
            fewer = kept[:start] + kept[start + size :]
            result = still(fewer) if fewer else None
            if result is None or result is False:
                start += size
            else:
                kept = fewer if result is True else list(result)
        if size > 1:
            size //= 2
        elif len(kept) == before:
            break  # one that was left out may have made an earlier one needless: until then, once more
    return kept
