"""What options of jobs mean in BullMQ, and in Bull before it: attempts, back-off, and the workers that bound them.

Sources: `Backoffs`, `Job.shouldRetryJob` and `Worker` of BullMQ 6.2, `lib/backoffs.js` and `lib/job.js` of Bull 4.15.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tree_sitter import Node

from simulation.importing.javascript import Function, Object, Program
from simulation.importing.policy import Policy, PolicyDraft, duration
from simulation.importing.source import Given, rests_on, version_of
from simulation.importing.syntax_trees import (
    NAMESAKES_MAX,
    RETRIES_MAX,
    Entry,
    Span,
    Unknown,
    above,
    is_number,
    line,
    of_waits,
    settled,
    text,
)
from simulation.importing.waits import LONGEST_S, UNLIMITED, attempts as attempts_of, constant, exponential

_OPTIONS = (
    "timestamp priority delay attempts backoff lifo removeOnComplete removeOnFail keepLogs stackTraceLimit sizeLimit "
    "repeatJobKey jobId parent prevMillis deduplication debounce failParentOnFailure continueParentOnFailure "
    "ignoreDependencyOnFailure removeDependencyOnFailure telemetry de group preventParsingData repeat timeout"
)
"""Options of a job; any other name is passed over by both libraries."""

_KNOWN = frozenset(_OPTIONS.split())
_LOOK_ALIKES = re.compile(r"retr|attempt|backoff|delay|timeout|factor|max", re.IGNORECASE)


@dataclass(eq=False)
class Queue:
    """A queue that the files make or name."""

    name: str
    library: str
    program: Program
    node: Node
    options: Any = None
    """Its `defaultJobOptions`; None where there are none."""

    settings: Any = None
    """Bull's `settings`, with its strategies."""

    jobs: int = 0
    """Jobs that were added with its options alone."""

    is_made_here: bool = True
    is_registered: bool = False
    """NestJS makes it: the options of all queues hold for it."""

    is_loose: bool = False
    """These are options alone, which no queue of the files has."""


@dataclass(eq=False)
class Job:
    """Jobs that are added with options of their own, or the options of a queue."""

    name: str
    queue: Queue
    program: Program
    node: Node
    options: Any


@dataclass(eq=False)
class Found:
    """All of the files."""

    queues: list[Queue] = field(default_factory=list)
    by_variable: dict[str, list[Queue]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    workers: dict[str, list[tuple[Program, Object]]] = field(default_factory=dict)
    """The options of workers, by their queue."""

    roots: list[Entry] = field(default_factory=list)
    has_root: bool = False
    """The options of all queues are in the files."""

    endings: dict[str, Entry] = field(default_factory=dict)
    """By the file, the first place that ends a job for good and is in the code of no worker that is known."""

    endings_of: dict[str, Entry] = field(default_factory=dict)
    """By the queue, the first such place in the code of its workers."""

    processors: dict[str, list[Entry | None]] = field(default_factory=dict)
    """By the queue, for each of its workers the place at which it ends every job; None where it does not."""


def policies(found: Found, given: Given) -> Iterator[Policy]:
    names: dict[str, int] = {}
    jobs = list(found.jobs)
    for queue in found.queues:
        if queue.jobs or queue.options is not None or not any(job.queue is queue for job in jobs):
            jobs.append(Job(queue.name, queue, queue.program, queue.node, None))
    jobs.sort(key=lambda job: (job.program.tree.file.name, job.node.start_byte))
    for job in jobs:
        names[job.name] = names.get(job.name, 0) + 1
        name = job.name if names[job.name] == 1 else f"{job.name}:{line(job.node)}"
        name = name if name == job.name or name not in names else f"{job.program.tree.file.name}:{line(job.node)}"
        names[name] = names.get(name, 0) + 1 if name != job.name else names[name]
        yield _Options(job, found, given, PolicyDraft(name, "bullmq", job.program.tree.file.name)).policy()


class _Options:
    """The options of one kind of job, as the library takes them together."""

    def __init__(self, job: Job, found: Found, given: Given, draft: PolicyDraft) -> None:
        self.job, self.found, self.given, self.draft = job, found, given, draft
        self.is_bull = job.queue.library == "bull"
        self.version = version_of(given, job.queue.library, ())
        self.workers = found.workers.get(job.queue.name, [])[:NAMESAKES_MAX]
        self.entries: dict[str, Entry] = {}

    def policy(self) -> Policy:
        self._merge()
        attempts = self._attempts()
        retry = {"max_attempts": attempts_of(attempts), **self._backoff(attempts)}
        self.draft.channel["retry"] = retry
        self._strategies(attempts)
        self._others()
        for _, options in self.workers:
            self._worker(options)
        files = [self.job.program.tree.file.name, *(program.tree.file.name for program, _ in self.workers)]
        endings = [self.found.endings.get(file) for file in dict.fromkeys(files)]
        for ending in (*endings, self.found.endings_of.get(self.job.queue.name)) if attempts > 1 else ():
            if ending is not None:
                self.draft.unsaid(ending, "an UnrecoverableError ends its job at once, whatever attempts are left")
        self.draft.note("a job that waits for its retry holds no place in a worker")
        return self.draft.policy

    def _is_before(self, *version: int) -> bool:
        return () < self.version < version

    def _merge(self) -> None:
        """Lay the job's options over the queue's, and these over those of all queues, key by key."""
        merged, queue, job = Object({}), self.job.queue, self.job
        roots = [each.value for each in self.found.roots] if queue.is_made_here and queue.options is None else []
        why: dict[int, str] = {}
        layers = [*((each, queue.node) for each in (*roots, queue.options)), (job.options, job.node)]
        for options, node in layers:
            if isinstance(options, Unknown):
                why[node.id] = options.why
                otherwise = options.otherwise.entries if isinstance(options.otherwise, Object) else {}
                merged = Object(otherwise, ((node, frozenset()),)).over(merged)
            elif isinstance(options, Object):
                merged = options.over(merged)
        self.entries = dict(merged.entries)
        at, both = job.program.tree.at, {"attempts", "backoff"}
        if queue.is_loose:
            call = next(above(next(above(queue.node))))
            words = "of jobs that get these options: no queue here does"
            if call.type == "call_expression":
                words = f"of jobs that {text(call, 'function')} makes with these options, which it may change or add to"
            self.draft.approximate(at(queue.node), words, "retry")
        for node, after in merged.unread:
            missing, reason = both - after, why.get(node.id, "options that these files do not say")
            if missing and missing <= self.entries.keys():
                self.draft.approximate(at(node), f"{reason}: they may say otherwise", "retry")
            elif missing:
                self.draft.refuse(at(node), f"{reason}: {' and '.join(sorted(missing))} may be among them")
        if queue.is_registered and not self.found.has_root and not both <= self.entries.keys():
            words = "unless defaultJobOptions of BullModule.forRoot, which is not in these files, say otherwise"
            self.draft.approximate(at(queue.node), words, "retry")
        if not queue.is_made_here and (missing := both - self.entries.keys()):
            named = " and ".join(sorted(missing))
            words = f"the queue {queue.name} is made elsewhere: its defaultJobOptions hold for {named}"
            self.draft.approximate(at(job.node), words, "retry")

    def _number(self, entry: Entry, path: str, wanted: str) -> tuple[float | None, str]:
        """Return a number of an option, and a reason why it is approximate; None where it is not known."""
        found = settled(self.draft, entry, wanted, path)
        if found is None:
            return None, ""
        value: Any = _of_text(found[0]) if isinstance(found[0], str) else found[0]
        if not is_number(value):
            self.draft.refuse(entry, f"wanted {wanted}", path)
            return None, ""
        return float(value), found[1]

    def _attempts(self) -> int:
        entry, draft = self.entries.get("attempts"), self.draft
        if entry is None or entry.value is None:
            draft.default("attempts unset: one attempt", "retry.max_attempts")
            return 1
        if entry.value == math.inf:
            draft.refuse(entry, "options are stored as JSON, which has no Infinity")
            return 1
        number, reason = self._number(entry, "retry.max_attempts", "a number of attempts")
        if number is None:
            return 1
        attempts = max(1, math.floor(number) if self.is_bull else math.ceil(number))
        if attempts > UNLIMITED:
            attempts, reason = UNLIMITED, "as good as unlimited"
        always = self.found.processors.get(self.job.queue.name, [])
        if attempts > 1 and always and None not in always:
            draft.dead(entry, "the worker ends every job at its first attempt")
            for each in filter(None, always):
                words = "one attempt: an UnrecoverableError ends its job at once, and is always thrown"
                draft.exact(each, "retry.max_attempts", words)
            return 1
        draft.noted(entry, "retry.max_attempts", reason)
        for _, options in self.workers:
            bound = options.entries.get("maxStartedAttempts")
            if bound is not None and self._is_before(5, 59):
                draft.dead(bound, "BullMQ has maxStartedAttempts from 5.59 on")
            elif bound is not None:
                most, _ = self._number(bound, "retry.max_attempts", "a number of starts")
                if most and most < attempts:
                    attempts = int(most)
                    rest = rests_on(self.given, "bullmq", "5.59", "it does nothing")
                    draft.noted(bound, "retry.max_attempts", "; ".join(rest))
                elif most:
                    draft.dead(bound, f"attempts: {attempts} is no more than that")
        return attempts

    def _backoff(self, attempts: int) -> dict[str, Any]:
        entry, draft = self.entries.get("backoff"), self.draft
        if entry is None or entry.value in (None, 0, False):
            if attempts > 1:
                draft.default("no backoff: retries start at once", "retry.initial_delay")
            return constant(0.0) if attempts > 1 else {}
        if attempts == 1 and not draft.is_open and not draft.questions:
            draft.dead(entry, "there is one attempt: without attempts of more than 1 no retry waits")
            return {}
        if isinstance(entry.value, Object):
            return self._strategy(entry, entry.value, attempts)
        if isinstance(entry.value, str):
            draft.refuse(entry, "a text is no delay: the library raises an error")
            return {}
        seconds = self._delay(entry)
        return {} if seconds is None else constant(seconds)

    def _delay(self, entry: Entry) -> float | None:
        delay, reason = self._number(entry, "retry.initial_delay", "a number of milliseconds")
        if delay is not None:
            self.draft.noted(entry, "retry.initial_delay", reason)
        return None if delay is None else max(0.0, delay / 1000)

    def _strategy(self, entry: Entry, backoff: Object, attempts: int) -> dict[str, Any]:
        draft = self.draft
        for key, each in backoff.entries.items():
            if key not in ("type", "delay", "jitter", "options"):
                draft.dead(each, f"a backoff has no {key}: it has type, delay and jitter")
        for node, _ in backoff.unread:
            draft.refuse(self.job.program.tree.at(node), "options that these files do not say")
        kind, delay = backoff.entries.get("type"), backoff.entries.get("delay")
        if kind is None or not isinstance(kind.value, str):
            if kind is not None and isinstance(kind.value, Unknown) and kind.value.name:
                draft.ask_for(kind.value.name, entry, "fixed or exponential")
            draft.refuse(entry, "the type of the backoff is not known here", "retry.backoff")
            return {}
        if kind.value not in ("fixed", "exponential"):
            return self._custom(kind, backoff, attempts)
        if delay is None:
            draft.dead(entry, "a backoff without delay does not wait: retries start at once")
            return constant(0.0)
        seconds = self._delay(delay)
        if seconds is None:
            return {}
        if kind.value == "fixed":
            draft.exact(kind, "retry.backoff")
            found = constant(seconds)
        else:
            found = self._exponential(kind, seconds, attempts)
        return self._jittered(backoff.entries.get("jitter"), found, seconds)

    def _exponential(self, kind: Entry, seconds: float, attempts: int) -> dict[str, Any]:
        """Return the waits d, 2d, 4d, … of BullMQ, and those of Bull and of BullMQ before 3.4.1: d, 3d, 7d, …"""
        longest = seconds * 2.0 ** min(attempts - 2, RETRIES_MAX)
        reason = "waits of more than a hundred years are that long here" if longest > LONGEST_S else ""
        if self.is_bull or self._is_before(3, 4, 1):
            self.draft.noted(kind, "retry.schedule", reason)
            return of_waits([(2**number - 1) * seconds for number in range(1, max(2, min(attempts, 100)))])[0]
        rest = rests_on(self.given, "bullmq", "3.4.1", "waits are d, 3d, 7d, …") if attempts > 2 else []
        self.draft.noted(kind, "retry.backoff", "; ".join(filter(None, [reason, *rest])))
        return exponential(seconds, 2, LONGEST_S) or {}

    def _jittered(self, entry: Entry | None, waits: dict[str, Any], seconds: float) -> dict[str, Any]:
        if entry is None or not waits:
            return waits
        if self.is_bull or self._is_before(5, 54):
            self.draft.dead(entry, "Bull has no jitter" if self.is_bull else "BullMQ has jitter from 5.54 on")
            return waits
        part, reason = self._number(entry, "retry.jitter", "a share from 0 to 1")
        if part is not None and not 0 <= part <= 1:
            self.draft.refuse(entry, "BullMQ refuses a jitter outside 0 to 1", "retry.jitter")
        if not part or not 0 <= part <= 1:
            return waits
        rest = rests_on(self.given, "bullmq", "5.54", "there is none")
        self.draft.noted(entry, "retry.jitter", "; ".join(filter(None, [reason, *rest])))
        if part in (1, 0.5):
            return {**waits, "jitter": "full" if part == 1 else "equal"}
        middle = {"initial_delay": duration(seconds * (1 - part / 2)), "jitter": "proportional"}
        return {**waits, **middle, "jitter_share": part / (2 - part), "cap_before_jitter": True}

    def _custom(self, kind: Entry, backoff: Object, attempts: int) -> dict[str, Any]:
        strategy = self._function(kind.value)
        if strategy is None:
            words = f"{kind.value!r} is no type of the library's own, and these files have no backoffStrategy for it"
            self.draft.refuse(kind, words, "retry.backoff")
            return {}
        tree = strategy.program.tree
        waits: list[float | Span] = []
        for made in range(1, max(2, min(attempts, RETRIES_MAX))):
            named = (made, None, backoff.get("options")) if self.is_bull else (made, kind.value)
            value = strategy.program.returned(strategy.node, named)
            if not is_number(value) and not isinstance(value, Span):
                why = value.why if isinstance(value, Unknown) else "no number"
                words = f"a strategy that cannot be worked out: {why}"
                self.draft.refuse(tree.at(strategy.node), words, "retry.schedule")
                return {}
            if value == -1:
                break
            waits.append(_seconds(value))
        if not waits:
            return constant(0.0)
        for each in filter(None, map(backoff.entries.get, ("delay", "jitter"))):
            self.draft.dead(each, "the strategy alone says how long to wait, and does not read it")
        found, reason = of_waits(waits, 0 if len(waits) < RETRIES_MAX - 1 else attempts - 1)
        self.draft.noted(kind, "retry.schedule", reason)
        self.draft.noted(tree.head(strategy.node), "retry.schedule", reason)
        return {**found, **({"max_attempts": len(waits) + 1} if len(waits) + 1 < attempts else {})}

    def _settings(self) -> Iterator[Object]:
        for _, options in self.workers:
            if isinstance(settings := options.get("settings"), Object):
                yield settings

    def _strategies(self, attempts: int) -> None:
        """Name a strategy that is written and never asked, since the backoff is of a type of the library's own."""
        entry = self.entries.get("backoff")
        kind = entry.value.get("type") if entry is not None and isinstance(entry.value, Object) else "fixed"
        if attempts == 1 or kind not in ("fixed", "exponential") or self.is_bull:
            return
        for settings in self._settings():
            if (strategy := settings.entries.get("backoffStrategy")) is not None:
                words = "jobs without a backoff" if entry is None else f"a backoff of type {kind!r}"
                self.draft.dead(strategy, f"it is not asked for {words}")

    def _function(self, kind: str) -> Function | None:
        for settings in self._settings():
            named = settings.get("backoffStrategies")
            chosen = named.get(kind) if isinstance(named, Object) else settings.get("backoffStrategy")
            if isinstance(chosen, Function):
                return chosen
        return None

    def _others(self) -> None:
        draft = self.draft
        for key, entry in self.entries.items():
            if key not in _KNOWN and _LOOK_ALIKES.search(key):
                draft.dead(entry, f"{'Bull' if self.is_bull else 'BullMQ'} has no job option {key}")
        timeout, delay = self.entries.get("timeout"), self.entries.get("delay")
        if timeout is not None and not self.is_bull:
            draft.dead(timeout, "BullMQ has no timeout of a job; Bull had one")
        elif timeout is not None and timeout.value is not None:
            number, reason = self._number(timeout, "timeout", "a number of milliseconds")
            if number:
                draft.channel["timeout"] = duration(number / 1000)
                draft.noted(timeout, "timeout", reason)
        if delay is not None and delay.value not in (0, None):
            draft.unsaid(delay, "when the first attempt is due: not_before of a workload, and no setting of a channel")

    def _worker(self, options: Object) -> None:
        draft, found = self.draft, options.entries
        limiter, concurrency, stalled = (found.get(key) for key in ("limiter", "concurrency", "maxStalledCount"))
        if limiter is not None and isinstance(limiter.value, Object):
            numbers = [each for key in ("max", "duration") if is_number(each := limiter.value.get(key))]
            if len(numbers) == 2 and min(numbers) > 0:
                rate = f"{numbers[0]:g}/{duration(numbers[1] / 1000)}"
                words = "a window that begins with its first job, of all workers of the queue together"
                draft.channel["quota"] = {"rate": rate}
                draft.approximate(limiter, words, "quota")
            else:
                draft.unsaid(limiter, "a limiter whose numbers are not in these files")
        if concurrency is not None:
            number, words = concurrency.value, "of each worker: so many times as many as there are workers"
            if isinstance(number, Unknown) and is_number(number.otherwise):
                number, words = number.otherwise, f"{words}; {number.otherwise} unless {number.why} says otherwise"
            if is_number(number) and number >= 1:
                draft.channel["max_in_flight"] = int(number)
                draft.approximate(concurrency, words, "max_in_flight")
            else:
                draft.unsaid(concurrency, "how many jobs a worker does at once is not in these files")
        if stalled is not None:
            draft.unsaid(stalled, "how often a job is started again after its worker died; such starts are no attempts")


def _seconds(value: Any) -> float | Span:
    if isinstance(value, Span):
        return Span(max(0.0, value.low / 1000), max(0.0, value.high / 1000), value.draws)
    return max(0.0, float(value) / 1000)


def _of_text(written: str) -> float | None:
    try:
        return float(written)
    except ValueError:
        return None
