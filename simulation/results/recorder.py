"""The recorder: keeps the history of a run, or only its metrics, and watches that nothing is lost in it.

It collects events until they fill a chunk, and then folds the chunk into the digest and the metrics in one go, so that
recording an event costs next to nothing. The digest depends on where chunks end: ask for it once, at the end. Ask for
metrics at any time.
"""

from __future__ import annotations

import hashlib
import zlib
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, overload

import msgspec

from actors.domain.attempts import Attempt
from actors.domain.codec import StoredEvent
from actors.errors import InvariantBreach
from actors.kernel.node import whole_and_nodes
from actors.messages import (
    ActorFailed,
    BreakerTransitioned,
    NodeTookOver,
    NotificationChannel,
    NotificationMovedToDeadLetter,
    OwnActorMessage,
    RecordedEvent,
    UpstreamRequested,
)
from actors.pipeline.lane import breaker_name
from actors.pipeline.wiring import Wiring
from simulation.results.backlogs import CHANGES as CHANGES_OF_PENDING, Backlogs, FaultTimes
from simulation.results.counters import (
    BreakerMetrics,
    NodeMetrics,
    ProviderMetrics,
    by_type,
    fold_transition,
)
from simulation.results.defaults import DefaultsAtWork
from simulation.results.interruptions import Interruptions, Request
from simulation.results.ledger import WHOLE, Group, Ledger, Refused
from simulation.results.peaks import Peaks
from simulation.results.provider_queues import ProviderQueues
from simulation.results.series import SeriesCounter
from simulation.results.windows import WindowMetrics

# ── the history ───────────────────────────────────────────────────────────────────────────────────────────────────────


Recorded: TypeAlias = (
    StoredEvent | UpstreamRequested | BreakerTransitioned | ActorFailed | NodeTookOver | OwnActorMessage
)
"""Every kind of event in a history."""

OBJECTS = 250_000
"""The events kept as objects, of 200 bytes each; a packed event takes 20, and half a microsecond to unpack."""

_decode = msgspec.msgpack.Decoder(list[Recorded]).decode


class History(Sequence[RecordedEvent]):
    """Events in order, to be read as a list is."""

    def __init__(self) -> None:
        self._objects: list[RecordedEvent] = []
        """The first."""
        self._packed: list[bytes] = []
        """The chunks after them."""
        self._starts = array("q")
        """The number of the first event of each."""
        self._count = 0
        self._last_read: tuple[int, Sequence[RecordedEvent]] | None = None
        """A chunk by its number, and its events: most look-ups in a row are of one chunk."""

    def add(self, chunk: Sequence[RecordedEvent], written: bytes) -> None:
        """Add a chunk of events, which are also given in writing, as msgpack."""
        if self._packed or len(self._objects) >= OBJECTS:
            self._starts.append(self._count)
            self._packed.append(zlib.compress(written, 1))
        else:
            self._objects.extend(chunk)
        self._count += len(chunk)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[RecordedEvent]:
        yield from self._objects
        for packed in self._packed:
            yield from _unpacked(packed)

    @overload
    def __getitem__(self, index: int) -> RecordedEvent: ...
    @overload
    def __getitem__(self, index: slice) -> list[RecordedEvent]: ...
    def __getitem__(self, index: int | slice) -> RecordedEvent | list[RecordedEvent]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"wanted one of {self._count} events, got number {index}")
        index %= self._count
        if index < len(self._objects):
            return self._objects[index]
        number = bisect_right(self._starts, index) - 1
        if self._last_read is None or self._last_read[0] != number:
            self._last_read = number, _unpacked(self._packed[number])
        return self._last_read[1][index - self._starts[number]]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (History, list)):
            return NotImplemented
        return len(self) == len(other) and all(own == each for own, each in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"History({self._count:,} events)"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last_read": None}


def _unpacked(packed: bytes) -> Sequence[RecordedEvent]:
    return _decode(zlib.decompress(packed))


CHUNK = 4096
LOOK = 256
"""The number of events between two calls of a watcher, if there is one."""
DEAD_LETTERS_KEPT = 10_000
"""The most dead letters that a run without a history keeps."""


class Recorder:
    """Receives every event of a run, in order."""

    def __init__(
        self,
        ledger: Ledger,
        providers: Mapping[NotificationChannel, Sequence[str]],
        *,
        keep_history: bool,
        series_bucket_ns: int,
        faults: Sequence[FaultTimes] = (),
        longest_ns: int = 0,
        windows: Sequence[WindowMetrics] = (),
        nodes: int = 1,
        shares_breakers: bool = False,
        is_in_order: bool = True,
        defaults: DefaultsAtWork | None = None,
        queues: ProviderQueues | None = None,
    ) -> None:
        """Make a recorder; `providers` are the names of each channel's providers in order.

        Args:
            ledger: counts what happens.
            keep_history: whether to keep every event.
            series_bucket_ns: the width of a bucket of the series.
            faults: the faults of the scenario that have an end.
            longest_ns: the most time that an attempt takes, where events are in order.
            windows: each has metrics of its own.
            nodes: the number of processes, which may share breakers.
            is_in_order: whether events are recorded in the order of their instants.
            defaults: counts the effects of settings that the scenario does not name; None: no one counts them.
            queues: counts the attempts in the queues of providers; None: no queue is bounded."""
        self.ledger = ledger
        self.queues = queues or ProviderQueues({}, series_bucket_ns)
        self.defaults = defaults
        self.windows = windows
        self.history = History() if keep_history else None
        """Every event; None: it is not kept."""
        self.dead_letters: list[NotificationMovedToDeadLetter] = []
        """The first dead letters, up to `DEAD_LETTERS_KEPT`; empty where a history is kept."""
        self.breaker_metrics = {
            each: BreakerMetrics(is_shared=shares_breakers)
            for channel, names in providers.items()
            for number, name in enumerate(names)
            for each in whole_and_nodes(breaker_name(channel, number, name), nodes)
        }
        self.shares_breakers = shares_breakers
        self.node_metrics = NodeMetrics(nodes)
        self.provider_metrics = ProviderMetrics(providers)
        self.peaks = Peaks(providers, longest_ns if is_in_order else None, hedges=ledger.counted.hedges)
        self.backlogs = Backlogs(faults, is_in_order=is_in_order)
        self.series = SeriesCounter(series_bucket_ns, is_in_order=is_in_order)
        self.interrupted: list[Request] = []
        """Requests whose answers are lost; filled only where a history is kept."""
        self.interrupted_ns: dict[tuple[NotificationChannel, int | None], array[int]] = {}
        """When these began, by channel and node; also where no history is kept."""
        self.interruptions: Interruptions | None = None
        """Finds the requests whose answers are lost; None where none can be."""
        self.wirings: Sequence[Wiring] = ()
        """The wiring of each pipeline of the run."""
        self.living: list[tuple[int, set[int]]] = []
        """Which processes are there from an instant on, by number: each time that this may have changed."""
        self.in_flight_now: Callable[[], int] = lambda: 0
        """Returns how many notifications the pipeline itself holds in flight."""
        self.is_quiet_now: Callable[[], bool] = lambda: self.in_flight_now() == 0
        """Tells whether the pipeline holds none in flight."""
        self._when_quiet: Callable[[], None] | None = None
        """Called after an event that leaves nothing in flight; None: no one wants to know."""
        self.on_events: Callable[[Sequence[RecordedEvent]], None] | None = None
        """Receives each event once: by the chunk, or by `LOOK` events where the run is watched."""
        self.stop: Callable[[], None] = _nothing
        """Ends the run at this instant."""
        self.when_grown: Callable[[], None] = _nothing
        """Called after each chunk."""
        self._watch: Callable[[], None] | None = None
        self._due = CHUNK
        """The number of events in the chunk at which `_look` is called; 0: at every event."""
        self._counted = 0
        """How many events of the chunk are in the metrics."""
        self._handed = 0
        """How many events of the chunk were given to `on_events`."""
        self._in_flight = 0
        """The number in flight after the last event that is in the metrics."""
        self.latest_ns = 0
        """The instant of the latest event that is in the metrics, in nanoseconds."""
        self._chunk: list[RecordedEvent] = []
        self._digest = hashlib.sha256()
        self._encoder = msgspec.msgpack.Encoder()

    def record(self, event: RecordedEvent) -> None:
        """Take an event into the history.

        Raises:
            InvariantBreach: :meth:`check` has failed, which runs when a chunk is full.
        """
        chunk = self._chunk
        chunk.append(event)
        if len(chunk) >= self._due:
            self._look(event)

    def watch(self, watch: Callable[[], None]) -> None:
        """Have a function called each time that LOOK more events have been recorded."""
        self._watch = watch
        self._set_due()

    def call_when_quiet(self, when_quiet: Callable[[], None]) -> None:
        """Have a function called from now on with each event after which nothing is in flight."""
        self._when_quiet = when_quiet
        self._set_due()

    def find_interruptions(self) -> Interruptions:
        """From now on, look for requests whose answers are lost; return the finder."""
        self.interruptions = Interruptions(self.interrupt)
        self._set_due()
        return self.interruptions

    def _set_due(self) -> None:
        if self.interruptions is not None or self._when_quiet is not None:
            self._due = 0
        else:
            self._due = CHUNK if self._watch is None else min((len(self._chunk) // LOOK + 1) * LOOK, CHUNK)

    def _look(self, event: RecordedEvent) -> None:
        changes_pending = type(event) in CHANGES_OF_PENDING
        if self.interruptions is not None:
            self.interruptions.follow(event)
        if len(self._chunk) >= CHUNK:
            self.fold()
            if changes_pending:  # at other events an actor may have failed between the two counts
                self.check()
        if self._watch is not None and len(self._chunk) % LOOK == 0:
            self._hand_out(self._chunk)
            self._watch()
        if self._due:
            self._set_due()
        if self._when_quiet is not None and changes_pending and self.is_quiet_now():
            self._when_quiet()

    def refuse(self, refused: Refused, at_ns: int) -> None:
        """Count a refused arrival, which the history does not have; see :meth:`Ledger.refuse`."""
        self.ledger.refuse(refused)
        for window in self.windows:
            window.refuse(refused, at_ns)

    def interrupt(self, request: Request) -> None:
        """Count a request whose answer is lost, which the history does not have; see :meth:`Ledger.interrupt`."""
        assert request.lost_ns is not None
        if self.history is not None:
            self.interrupted.append(request)
        begun_ns = self.interrupted_ns.setdefault((request.channel, request.attempt.node), array("q"))
        begun_ns.append(request.started_ns)
        self.ledger.interrupt(request)
        self.peaks.interrupt((request.channel, request.provider), request.started_ns, request.lost_ns)
        for window in self.windows:
            window.interrupt(request)

    def reach(self, request: Request) -> None:
        """Count a delivered request whose answer comes too late, which the history does not have."""
        self.ledger.interrupt(request, counts=False)
        for window in self.windows:
            window.reach(request)

    def first_start_ns(self, attempt: Attempt) -> int | None:
        """Return when the first attempt of an attempt's notification began; None: no earlier one has ended."""
        stages = (wiring.stages.get(attempt.command.channel) for wiring in self.wirings)
        found = (each.first_start_ns(attempt) for each in stages if each is not None)
        return next((began_ns for began_ns in found if began_ns is not None), None)

    @property
    def in_flight(self) -> int:
        new = Counter(map(type, self._chunk[self._counted :]))
        return self._in_flight + sum(change * new[kind] for kind, change in CHANGES_OF_PENDING.items())

    def end(self) -> None:
        """Fold the last events of a finished run, and drop its actors.

        Otherwise the result of the run would keep all that the pipeline remembers.

        Raises:
            InvariantBreach: see :meth:`check`.
        """
        self.fold()
        if self.interruptions is not None:
            self.interruptions.end([wiring.stages for wiring in self.wirings])
        self.peaks.end()
        self.check()
        self.in_flight_now = partial(int, self._in_flight)
        self.is_quiet_now = _is_over
        self._when_quiet = self.on_events = self.interruptions = self._watch = None
        self.wirings = ()
        self.stop = self.when_grown = _nothing

    def check(self) -> None:
        """Check that nothing has been lost: notifications in flight are counted twice, by the history and by the
        pipeline.

        Raises:
            InvariantBreach: accepted is not sent + dead-lettered + suppressed + in flight.
        """
        in_flight, in_pipeline = self.in_flight, self.in_flight_now()
        if in_flight != in_pipeline:
            raise InvariantBreach(
                f"accepted - sent - dead-lettered - suppressed is {in_flight} by the history, but {in_pipeline} are in "
                "flight in the pipeline; check all invariants to see after which event",
                "conservation",
                self.latest_ns,
            )

    def fold(self) -> None:
        """Complete a chunk of recorded events: it goes into the metrics, into the digest, and to the caller."""
        self._count(len(self._chunk))
        # Emptied before it is handed out: if that raises, none is folded twice.
        chunk, self._chunk, self._counted = self._chunk, [], 0
        if not chunk:
            return
        written = self._encoder.encode(chunk)
        self._digest.update(written)
        if self.history is not None:
            self.history.add(chunk, written)
        self._hand_out(chunk)
        self._handed = 0
        self.when_grown()

    def _hand_out(self, chunk: list[RecordedEvent]) -> None:
        new, self._handed = chunk[self._handed :], len(chunk)
        if self.on_events is not None and new:
            self.on_events(new)

    def count(self) -> None:
        """Count all events before the latest instant, which may get more events: so the metrics do not depend on when
        this is called.

        Events of one instant are not always counted in their order: dead letters that come are counted before those
        that leave, for the peak. The digest keeps the order.
        """
        chunk = self._chunk
        end = len(chunk)
        while end > self._counted and chunk[end - 1].at_ns == chunk[-1].at_ns:
            end -= 1
        self._count(end)

    def _count(self, end: int) -> None:
        chunk = self._chunk[self._counted : end] if self._counted or end < len(self._chunk) else self._chunk
        if not chunk:
            return
        sorted_events = by_type(chunk)
        for transition in sorted_events.get(BreakerTransitioned, []):
            fold_transition(self.breaker_metrics, transition)
        places = self.ledger.fold(sorted_events)
        for window in self.windows:
            window.fold(chunk)
        self.provider_metrics.fold(sorted_events)
        self.node_metrics.fold(sorted_events)
        self.peaks.fold(places, chunk[-1].at_ns)
        self.backlogs.fold(chunk)
        if self.defaults is not None:
            self.defaults.fold(sorted_events)
        self.series.fold(sorted_events)
        if self.history is None:
            room = DEAD_LETTERS_KEPT - len(self.dead_letters)
            self.dead_letters.extend(sorted_events.get(NotificationMovedToDeadLetter, [])[:room])
        for kind, change in CHANGES_OF_PENDING.items():
            self._in_flight += change * len(sorted_events.get(kind, ()))
        self.latest_ns = chunk[-1].at_ns
        self._counted = end

    def summary_of(self, channel: NotificationChannel | None, simulated_ns: int) -> dict[str, Any]:
        """Return the metrics of a channel at the end of the run; None: of all channels."""
        self._count(len(self._chunk))
        return self.ledger.figures(group_of(channel)).summary(simulated_ns, self.ledger.within_s)

    def __getstate__(self) -> dict[str, Any]:
        """Return the pickled state: all attributes but the state of the digest and the encoder."""
        return {name: value for name, value in vars(self).items() if name not in ("_digest", "_encoder")}

    def digest(self) -> str:
        """End the chunk, and return the SHA-256 of the history so far; a call during a run changes the later digest."""
        self.fold()
        return self._digest.hexdigest()


def _nothing() -> None:
    """Do nothing."""


def _is_over() -> bool:
    return True


def group_of(channel: NotificationChannel | None) -> Group:
    """Return the group of the counts on a channel, or on all when it is None."""
    return WHOLE if channel is None else ("channels", channel.value)
