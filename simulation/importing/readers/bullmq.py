"""BullMQ, and Bull before it: the queues, jobs, flows and workers of JavaScript and TypeScript, and of NestJS.

Sources: `Backoffs`, `Job.shouldRetryJob` and `Worker` of BullMQ 6.2, `lib/backoffs.js` and `lib/job.js` of Bull 4.15.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from tree_sitter import Node

from simulation.importing.javascript import SUFFIXES, Function, Object, Program, Programs, language, string
from simulation.importing.policy import Policy, PolicyDraft, duration
from simulation.importing.source import Given, SourceFile, rests_on, version_of
from simulation.importing.syntax_trees import (
    NAMESAKES_MAX,
    RETRIES_MAX,
    Entry,
    Unknown,
    above,
    arguments_of,
    bounded,
    is_number,
    line,
    parsed,
    part,
    settled,
    shown,
    text,
)
from simulation.importing.waits import (
    LONGEST_S,
    UNLIMITED,
    Drawn,
    attempts as attempts_of,
    constant,
    exponential,
    fitted,
    from_0,
    near,
)

# ── the options of a job ──────────────────────────────────────────────────────────────────────────────────────────────


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
    """Whether these are options alone, which no queue of the files has."""


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
    """The queues, jobs and workers of all files."""

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
        """Lay the job's options over its queue's, and these over the options of all queues, key by key."""
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
        """Return the waits of BullMQ, d, 2d, 4d, …, or of Bull and of BullMQ before 3.4.1: d, 3d, 7d, …"""
        longest = seconds * 2.0 ** min(attempts - 2, RETRIES_MAX)
        reason = "waits of more than a hundred years are that long here" if longest > LONGEST_S else ""
        if self.is_bull or self._is_before(3, 4, 1):
            self.draft.noted(kind, "retry.schedule", reason)
            return fitted([(2**number - 1) * seconds for number in range(1, max(2, min(attempts, 100)))]).retry
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
        waits: list[float | Drawn] = []
        for made in range(1, max(2, min(attempts, RETRIES_MAX))):
            named = (made, None, backoff.get("options")) if self.is_bull else (made, kind.value)
            value = strategy.program.returned(strategy.node, named)
            if not is_number(value) and not isinstance(value, Drawn):
                why = value.why if isinstance(value, Unknown) else "no number"
                words = f"a strategy that cannot be worked out: {why}"
                self.draft.refuse(tree.at(strategy.node), words, "retry.schedule")
                return {}
            if value == -1:
                break
            waits.append(from_0(value, 1000))
        if not waits:
            return constant(0.0)
        for each in filter(None, map(backoff.entries.get, ("delay", "jitter"))):
            self.draft.dead(each, "the strategy alone says how long to wait, and does not read it")
        found = near(waits, 0 if len(waits) < RETRIES_MAX - 1 else attempts - 1)
        self.draft.noted(kind, "retry.schedule", found.off)
        self.draft.noted(tree.head(strategy.node), "retry.schedule", found.off)
        return {**found.retry, **({"max_attempts": len(waits) + 1} if len(waits) + 1 < attempts else {})}

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


def _of_text(written: str) -> float | None:
    try:
        return float(written)
    except ValueError:
        return None


_MODULES = {
    "bullmq": "bullmq",
    "@nestjs/bullmq": "bullmq",
    "@taskforcesh/bullmq-pro": "bullmq",
    "@taskforcesh/nestjs-bullmq-pro": "bullmq",
    "bull": "bull",
    "@nestjs/bull": "bull",
}
"""The library, by the module that is imported."""

_IMPORTED = re.compile(rf"""(?:from|require\(|import)\s*\(?['"]({"|".join(_MODULES)})['"]""")

_CALLED = re.compile(r"\b(?:const|let) (\w+)(?:: [\w<>]{1,80})? = (?:await )?(?:\w+\.)?(\w+)\(")
_URLS = re.compile(r"url|uri|redis|connection", re.IGNORECASE)
_QUEUES = frozenset({"Queue", "QueuePro", "default", "*"})
_WORKERS = frozenset({"Worker", "WorkerPro"})
_FLOWS = frozenset({"FlowProducer", "FlowProducerPro"})
_FEATURES = frozenset({"registerQueue", "registerQueueAsync"})
_FACTORIES = frozenset({"useFactory", "useClass", "useExisting"})
_ROOTS = frozenset({"forRoot", "forRootAsync"})

_RETRIES = frozenset({"attempts", "backoff", "timeout"})


def recognises(file: SourceFile) -> bool:
    return file.suffix in SUFFIXES and bool(_IMPORTED.search(file.text))


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each queue's default job options, and for each kind of job that has options of its own."""
    trees, refused = parsed(files, "bullmq", language)
    all_of = Programs(given, len(trees))
    all_of.programs = {tree.file.name: Program(tree, all_of) for tree in trees}
    programs = list(all_of.programs.values())
    found = Found()
    for program in programs:
        _Queues(program, found).collect()
    made = {queue.name: queue for queue in reversed(found.queues)}
    for queues in found.by_variable.values():  # what is injected may be made in a later file
        queues[:] = [queue if queue.is_made_here else made.get(queue.name, queue) for queue in queues]
    for program in programs:
        _Jobs(program, found).collect()
    for program in programs:
        _loose_options(program, found)
    return [*bounded(policies(found, given), files), *refused]


# ── what stands in the files ────────────────────────────────────────────────────────────────────────────────────


def _library(program: Program) -> str:
    found = [_MODULES[path] for path, _ in program.imports.values() if path in _MODULES]
    if not found and (match := _IMPORTED.search(program.tree.file.text)):
        found = [_MODULES[match[1]]]
    return found[0] if found else ""


def _called(value: Any, node: Node, program: Program) -> str:
    """Return a queue's name; where it is not known the class, the variable or the file that it stands in."""
    if isinstance(value, str):
        return value
    around = next((each for each in above(node) if each.type in ("class_declaration", "class")), None)
    of_class = text(around, "name") if around is not None else ""
    return of_class or _variable(node).rstrip("()") or PurePosixPath(program.tree.file.name).stem


class _Queues:
    """Queues and workers of one file: made with `new`, registered with NestJS, or injected."""

    def __init__(self, program: Program, found: Found) -> None:
        self.program = program
        self.found = found
        self.library = _library(program)

    def collect(self) -> None:
        assert self._code is not None  # workers are known before what they throw
        for node in self.program.tree.find("new_expression", "call_expression", "decorator", "throw_statement"):
            if node.type == "new_expression":
                self._made(node, _imported_as(self.program, part(node, "constructor")))
            elif node.type == "call_expression":
                self._registered(node)
            elif node.type == "decorator":
                self._decorated(node)
            elif "UnrecoverableError" in text(node):
                self._ending(node)

    def _ending(self, node: Node) -> None:
        place = self.program.tree.at(node)
        queue = next((self._code[each.id] for each in above(node) if each.id in self._code), None)
        if queue is None:
            self.found.endings.setdefault(self.program.tree.file.name, place)
        else:
            self.found.endings_of.setdefault(queue, place)

    @cached_property
    def _code(self) -> dict[int, str]:
        """The queues of workers, by the identity of the node in which their code stands."""
        find, found = self.program.tree.find, dict[int, str]()
        functions = {text(each, "name"): each for each in find("function_declaration")}
        functions |= {
            text(each, "name"): value
            for each in find("variable_declarator")
            if (value := part(each, "value")) is not None
        }
        for node in find("new_expression"):
            library, made = _imported_as(self.program, part(node, "constructor"))
            arguments = arguments_of(node)
            if library in _MODULES and made in _WORKERS and len(arguments) > 1:
                queue = _called(self.program.value(arguments[0]), node, self.program)
                code = functions.get(text(arguments[1]), arguments[1])
                found[code.id] = queue
                thrown = _always_thrown(code)
                ending = None if thrown is None else self.program.tree.at(thrown)
                self.found.processors.setdefault(queue, []).append(ending)
        for node in find("decorator"):
            call = next((each for each in node.named_children if each.type == "call_expression"), None)
            if call is not None and node.parent is not None and text(call, "function") == "Processor":
                value = self.program.value(arguments_of(call)[0]) if arguments_of(call) else None
                queue = _called(value.get("name") if isinstance(value, Object) else value, node, self.program)
                found[node.parent.id] = queue
                self.found.processors.setdefault(queue, []).append(None)
        return found

    def _made(self, node: Node, imported: tuple[str, str]) -> None:
        library, made = _MODULES.get(imported[0], ""), imported[1]
        arguments = arguments_of(node)
        if not library or not arguments:
            if text(node, "constructor") == "UnrecoverableError":
                self._ending(node)
            return
        name = self.program.value(arguments[0])
        if made in _QUEUES:
            objects = [self.program.value(each) for each in arguments[1:]]
            options = next((each for each in reversed(objects) if isinstance(each, (Object, Unknown))), None)
            if isinstance(options, Unknown) and (library == "bull" and _URLS.search(text(arguments[-1]))):
                options = None
            self._queue(_called(name, node, self.program), library, node, options)
        elif made in _WORKERS and len(arguments) > 2:
            self._worker(_called(name, node, self.program), self.program.value(arguments[2]))

    def _queue(self, name: str, library: str, node: Node, given: Object | Unknown | None) -> None:
        options = given if isinstance(given, Object) else Object({})
        defaults = options.get("defaultJobOptions")
        if isinstance(given, Unknown):
            defaults = Unknown("", given.why)
        elif unread := [each for each, after in options.unread if "defaultJobOptions" not in after]:
            defaults = Unknown("", shown(unread[0]), defaults)
        queue = Queue(name, library, self.program, node, defaults, options.get("settings"))
        self.found.queues.append(queue)
        if library == "bull" and {"limiter", "settings"} & options.entries.keys():
            self._worker(name, options)
        for variable in {_variable(node), _maker(node)} - {""}:
            self.found.by_variable.setdefault(variable, []).append(queue)

    def _worker(self, queue: str, options: Any) -> None:
        if isinstance(options, Object):
            self.found.workers.setdefault(queue, []).append((self.program, options))

    def _registered(self, node: Node) -> None:
        function = text(node, "function")
        if function == "super":
            self._extended(node)
            return
        around, _, name = function.rpartition(".")
        module = self.program.imports.get(around, ("",))[0]
        if module not in _MODULES:
            return
        if name in _FEATURES:
            for each in arguments_of(node):
                options = self._of_factory(self.program.value(each))
                if isinstance(options, Object):
                    self._queue(_called(options.get("name"), each, self.program), _MODULES[module], each, options)
                    self.found.queues[-1].is_registered = True
        elif name in _ROOTS:
            self.found.has_root = True
            for each in arguments_of(node):
                options = self._of_factory(self.program.value(each))
                defaults = options.get("defaultJobOptions") if isinstance(options, Object) else None
                if isinstance(options, Object) and options.unread and defaults is None:
                    defaults = Unknown("", f"{function}, whose options are worked out")
                if defaults is not None:
                    self.found.roots.append(self.program.tree.at(node, defaults))

    def _extended(self, node: Node) -> None:
        body = next((each for each in above(node) if each.type == "class_declaration"), None)
        heritage = self.program.tree.find("extends_clause", below=body) if body is not None else []
        if heritage and heritage[0].named_children:
            self._made(node, _imported_as(self.program, heritage[0].named_children[0]))

    def _of_factory(self, options: Any) -> Any:
        """Return options with the result of their factory; unread if that is unknown."""
        keys = _FACTORIES & options.entries.keys() if isinstance(options, Object) else set()
        if not keys:
            return options
        entry = options.entries[min(keys)]
        factory = entry.value
        made = factory.program.returned(factory.node, ()) if isinstance(factory, Function) else None
        if isinstance(made, Object):
            return made.over(options)
        return Object(options.entries, ((entry.node, frozenset({"name"})),))

    def _decorated(self, node: Node) -> None:
        call = next((each for each in node.named_children if each.type == "call_expression"), None)
        if call is None:
            return
        name, arguments = text(call, "function"), arguments_of(call)
        if self.program.imports.get(name, ("",))[0] not in _MODULES or not arguments:
            return
        values = [self.program.value(each) for each in arguments]
        if name == "InjectQueue":
            holder = node.parent
            field_of = part(holder, "pattern") or part(holder, "name") if holder else None
            known = [each for each in self.found.queues if each.name == values[0]]
            named = _called(values[0], node, self.program)
            queue = known[0] if known else Queue(named, self.library, self.program, node, is_made_here=False)
            if field_of is not None:
                self.found.by_variable.setdefault(text(field_of), []).append(queue)
        elif name == "Processor":
            queue_name = values[0].get("name") if isinstance(values[0], Object) else values[0]
            self._worker(_called(queue_name, node, self.program), values[-1])


def _always_thrown(code: Node) -> Node | None:
    """Return the UnrecoverableError that a function throws whatever its job is, with nothing before it but logs."""
    body = part(code, "body")
    for each in body.named_children if body is not None else ():
        if each.type == "throw_statement":
            return each if re.match(r"throw\s+new\s+(?:\w+\.)?UnrecoverableError\b", text(each)) else None
        if each.type != "comment" and not re.match(r"(?:console|(?:this\.)?logger)\.\w+\(", text(each)):
            return None
    return None


def _imported_as(program: Program, constructor: Node | None) -> tuple[str, str]:
    around, _, name = text(constructor).rpartition(".")
    if around and (path := program.imports.get(around)):
        return path[0], name
    return program.imports.get(name, ("", ""))


def _variable(node: Node) -> str:
    for around in above(node):
        for key in ("name", "left", "key"):
            if (target := part(around, key)) is not None and around.type in _GIVEN_TO:
                return text(target).rpartition(".")[2]
        if around.type not in _PASSED_THROUGH:
            return ""
    return ""


def _maker(node: Node) -> str:
    """Return the function or method that a queue is made in: its result may be that queue."""
    for around in above(node):
        is_value = around.type in ("arrow_function", "function_expression")
        named = around.parent if is_value else around
        if named is not None and named.type in (("variable_declarator",) if is_value else _MAKERS):
            return text(named, "name") + "()"
    return ""


_MAKERS = ("function_declaration", "method_definition")
_GIVEN_TO = frozenset(
    {"variable_declarator", "assignment_expression", "public_field_definition", "field_definition", "pair"}
)
_PASSED_THROUGH = frozenset(
    {"as_expression", "parenthesized_expression", "non_null_expression", "satisfies_expression", "binary_expression"}
)


class _Jobs:
    """Jobs of one file: jobs that are added to a queue, and options that are passed to none in the files given."""

    def __init__(self, program: Program, found: Found) -> None:
        self.program = program
        self.found = found
        self.library = _library(program)

    def collect(self) -> None:
        for node in self.program.tree.find("call_expression"):
            function = part(node, "function")
            if function is None or function.type != "member_expression":
                continue
            verb = text(function, "property")
            if verb in ("add", "addBulk", "upsertJobScheduler", "createJob"):
                self._added(node, verb, part(function, "object"))

    def _added(self, node: Node, verb: str, receiver: Node | None) -> None:
        arguments = arguments_of(node)
        name = _receiver(receiver)
        queue = self._queue(name)
        if name in self._flows and arguments:
            for each in arguments[:1]:
                self._flow(self.program.value(each), node, self.program.value(arguments[1]) if arguments[1:] else None)
            return
        if queue is None:
            options = self._options(arguments)
            if options is None:
                return
            queue = Queue(name or "queue", self.library or "bullmq", self.program, node, is_made_here=False)
        if verb == "addBulk":
            listed = self.program.value(arguments[0]) if arguments else None
            jobs = self._listed(listed, arguments[0]) if arguments else []
            for job in jobs:
                self._job(queue, job.get("name"), node, job.get("opts"))
            return
        if verb == "upsertJobScheduler":
            template = self.program.value(arguments[2]) if len(arguments) > 2 else None
            template = template if isinstance(template, Object) else Object({})
            self._job(queue, template.get("name"), node, template.get("opts"))
            return
        first = self.program.value(arguments[0]) if arguments else None
        if queue.library == "bull":
            is_named = isinstance(first, str) or (isinstance(first, Unknown) and len(arguments) > 2)
            self._job(queue, first if is_named else None, node, self._value(arguments, 2 if is_named else 1))
        else:
            self._job(queue, first, node, self._value(arguments, 2))

    def _value(self, arguments: Sequence[Node], place: int) -> Any:
        return self.program.value(arguments[place]) if len(arguments) > place else None

    def _listed(self, listed: Any, node: Node) -> list[Object]:
        if isinstance(listed, list) and all(isinstance(each, Object) for each in listed):
            return listed
        if node.type == "identifier":  # const jobs = rows.map((row) => ({ name, data, opts }))
            made = self.program.tree.find("variable_declarator")
            node = next((each for each in made if text(each, "name") == text(node)), node)
        functions = self.program.tree.find("arrow_function", below=node)
        jobs = [self.program.returned(each, ()) for each in functions[:1]]
        unread = self.program.tree.at(node, Unknown("", f"{shown(node)}: jobs that are made elsewhere"))
        return [each for each in jobs if isinstance(each, Object)] or [Object({"opts": unread})]

    def _options(self, arguments: Sequence[Node]) -> Object | None:
        """Return the only possible options of a job: the last argument of a call where the library is imported."""
        value = self.program.value(arguments[-1]) if self.library and arguments else None
        return value if isinstance(value, Object) and "attempts" in value.entries else None

    def _queue(self, variable: str) -> Queue | None:
        """Return the queue that a variable holds: of this file, else of the one that it is imported from."""
        named = self.found.by_variable.get(variable, [])[: NAMESAKES_MAX + 1]
        named = [each for each in named if each.program is self.program]
        if not named and variable in self.program.imports:
            path, wanted = self.program.imports[variable]
            named = self._imported(path, wanted, variable)
        if not named and variable in self._called:
            return self._queue(self._called[variable])
        if not named and variable.endswith("()") and variable[:-2] in self.program.imports:
            named = self.found.by_variable.get(self.program.imports[variable[:-2]][1] + "()", [])
        if len(named) > NAMESAKES_MAX:
            return None
        return named[0] if len({each.name for each in named}) == 1 else None

    def _imported(self, path: str, wanted: str, variable: str) -> list[Queue]:
        is_whole = wanted in ("default", "*")
        for program in self.program.all.of_path(self.program.tree.file, path, variable if is_whole else wanted):
            node = program.exported.get("default" if is_whole else wanted)
            own = [each for each in self.found.queues if each.program is program]
            made = [each for each in own if node is not None and each.node.id == node.id]
            name = text(node) if node is not None and node.type == "identifier" else wanted
            if found := made or [each for each in self.found.by_variable.get(name, []) if each.program is program]:
                return found
        return [] if is_whole else self.found.by_variable.get(wanted, [])  # a file may hand on what others export

    @cached_property
    def _flows(self) -> set[str]:
        made = {
            _variable(each)
            for each in self.program.tree.find("new_expression")
            if _imported_as(self.program, part(each, "constructor"))[1] in _FLOWS
        }
        return made | set(re.findall(r"\b(\w+)[!?]?: ?FlowProducer\b", self.program.tree.file.text))

    @cached_property
    def _called(self) -> dict[str, str]:
        """The function that gives each variable its value: ``const queue = await getQueue()``."""
        return {each[1]: f"{each[2]}()" for each in _CALLED.finditer(self.program.tree.file.text)}

    def _flow(self, flow: Any, node: Node, options: Any) -> None:
        queues = options.get("queuesOptions") if isinstance(options, Object) else None
        waiting = [flow]
        while waiting:
            job = waiting.pop(0)
            if not isinstance(job, Object):
                continue
            name = _called(job.get("queueName"), node, self.program)
            settings = queues.get(name) if isinstance(queues, Object) else None
            defaults = settings.get("defaultJobOptions") if isinstance(settings, Object) else None
            place = job.entries["name"].node if "name" in job.entries else node
            queue = Queue(name, "bullmq", self.program, place, defaults)  # a flow leaves out the queue's own defaults
            self._job(queue, job.get("name"), place, job.get("opts"), always=True)
            children = job.get("children")
            waiting += children if isinstance(children, list) else []

    def _job(self, queue: Queue, name: Any, node: Node, options: Any, *, always: bool = False) -> None:
        said = isinstance(options, Object) and (bool(_RETRIES & options.entries.keys()) or bool(options.unread))
        said = said or isinstance(options, Unknown)
        if not said and not always:
            queue.jobs += 1
            if queue.is_made_here:
                return
        own = name if isinstance(name, str) and name != "__default__" else str(line(node))
        self.found.jobs.append(Job(f"{queue.name}:{own}", queue, self.program, node, options))


def _loose_options(program: Program, found: Found) -> None:
    """Take in options of jobs that are passed to no queue in the files, as in a file of constants."""
    passed = [each for queue in found.queues for each in (queue.options, queue.settings)]
    passed += [*(job.options for job in found.jobs), *(root.value for root in found.roots)]
    passed += [each.otherwise for each in passed if isinstance(each, Unknown)]
    used = {entry.node.id for each in passed if isinstance(each, Object) for entry in each.entries.values()}
    for node in program.tree.find("object"):
        keys = {string(part(each, "key")): each for each in node.named_children if each.type == "pair"}
        if not {"attempts", "backoff"} <= keys.keys() or used & {each.id for each in keys.values()}:
            continue
        name = _variable(node)
        if name in program.changed:
            continue
        name = name or f"{PurePosixPath(program.tree.file.name).stem}:{line(node)}"
        queue = Queue(name, _library(program), program, node, program.value(node), is_loose=True)
        if not any(each.type in ("formal_parameters", "object_type") for each in above(node)):
            found.queues.append(queue)


def _receiver(node: Node | None) -> str:
    """Return the variable whose method is called, or the called function with its brackets."""
    while node is not None and node.type in ("await_expression", "parenthesized_expression", "non_null_expression"):
        node = node.named_children[0]
    if node is not None and node.type == "call_expression":
        return text(node, "function").rpartition(".")[2] + "()"
    return text(node).rpartition(".")[2].rstrip("!?")
