"""Sidekiq's jobs, and Active Job's with their `retry_on`, from Ruby.

Sources: `Sidekiq::JobRetry` of 6.0 to 8.1, and `ActiveJob::Exceptions` of Rails 5.1 to 8.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tree_sitter import Node

from simulation.importing.policy import Line, Policy, PolicyDraft, Said, duration
from simulation.importing.ruby import Block, Program, Programs, Raised
from simulation.importing.source import Given, SourceFile, Version, rests_on, version_of
from simulation.importing.syntax_trees import (
    NAMESAKES_MAX,
    RETRIES_MAX,
    Entry,
    Unknown,
    above,
    arguments_of,
    arithmetic,
    bounded,
    is_number,
    parsed,
    part,
    settled,
    shown,
    text,
    whole,
)
from simulation.importing.waits import UNLIMITED, Drawn, attempts as attempts_of, constant, near

# ── Active Job ────────────────────────────────────────────────────────────────────────────────────────────────────────


# ── classes of jobs ───────────────────────────────────────────────────────────────────────────────────────────────────


_NOT_IN_PRODUCTION = re.compile(r"(?:^|/)(?:test|spec|environments/(?:test|development))\b")
_YAML = re.compile(r"(?:^|/)sidekiq[^/]*\.ya?ml$")
_MAX_RETRIES = re.compile(r"^([ \t]*):?max_retries:[ \t]*(.*?)[ \t]*(?:#.*)?$", re.MULTILINE)
_CONDITIONS = ("if", "unless", "elsif", "if_modifier", "unless_modifier", "case")
_PARTS = ("then", "else", "begin", "when", "body_statement")
JOBS = frozenset({"Sidekiq::Job", "Sidekiq::Worker", "Sidekiq::IterableJob", "Sidekiq::Job::Iterable"})


@dataclass(frozen=True, eq=False)
class JobClass:
    name: str
    program: Program
    node: Node
    calls: tuple[Node, ...]
    bases: tuple[str, ...]


def opened(program: Program, node: Node) -> JobClass:
    names = [text(node, "name")]
    names += [text(each, "name") for each in above(node) if each.type in ("class", "module")]
    body = part(node, "body")
    calls = tuple(_calls_of(body.named_children)) if body is not None else ()
    above_it = part(node, "superclass")
    mixed = [arguments_of(each) for each in calls if text(each, "method") in ("include", "extend")]
    bases = [text(above_it.named_children[0])] if above_it is not None and above_it.named_children else []
    return JobClass(
        "::".join(reversed(names)), program, node, calls, (*bases, *(text(b) for each in mixed for b in each))
    )


def _calls_of(nodes: Sequence[Node]) -> Iterator[Node]:
    for each in nodes:
        if each.type == "call":
            yield each
            block = part(each, "block")
            if text(each, "method") in ("included", "class_methods") and block is not None:
                body = part(block, "body")
                yield from _calls_of(body.named_children if body is not None else ())
        elif each.type in _CONDITIONS or each.type in _PARTS:
            yield from _calls_of(each.named_children)


def bases_of(one: JobClass, all_of: Programs, seen: set[int]) -> Iterator[JobClass]:
    """Yield the bases of a class within the files, the nearest first."""
    for name in one.bases:
        if name in JOBS or len(seen) > 50:
            continue
        places = [opened(*each) for each in all_of.classes(name)[:NAMESAKES_MAX] if each[1].id not in seen]
        scopes = one.name.split("::")[:-1]
        inside = ["::".join((*scopes[:end], name)) for end in range(len(scopes), -1, -1)]
        named = next((same for full in inside if (same := [each for each in places if each.name == full])), places)
        if len(named) == 1:
            seen.add(named[0].node.id)
            yield named[0]
            yield from bases_of(named[0], all_of, seen)


def calls_to(one: JobClass, name: str) -> list[Node]:
    return [each for each in one.calls if text(each, "method") == name]


def is_job(family: Sequence[JobClass]) -> bool:
    has_options = any(calls_to(family[0], name) for name in ("sidekiq_options", "sidekiq_retry_in"))
    return has_options or any(base.removeprefix("::") in JOBS for each in family for base in each.bases)


class Common:
    """The versions and the settings of the process that hold for all jobs."""

    def __init__(self, programs: Sequence[Program], given: Given) -> None:
        self.given = given
        self.version = version_of(given, "sidekiq", ())
        self.rails = version_of(given, "rails", ())
        self.adapter = given.values.get("queue_adapter", "")
        self.retries: tuple[Any, Said] | None = None
        """The default of all jobs, `:max_retries`, and where it stands."""

        self.defaults: Version = ()
        """Of `load_defaults`, which gives the settings of that version of Rails."""
        self.options: dict[str, Entry] = {}
        for program in (each for each in programs if not _NOT_IN_PRODUCTION.search(each.tree.file.name)):
            for node in program.tree.find("assignment"):
                self._assigned(program, node)
        for file in filter(lambda each: _YAML.search(each.name), given.others):
            self._configured(file)
        texts = [each.text for each in given.others if not _NOT_IN_PRODUCTION.search(each.name)]
        texts += [program.tree.file.text for program in programs]
        self.adapter = self.adapter or _only(r"queue_adapter\s*=\s*:(\w+)", texts)
        self.jitter_of_rails = _only(r"retry_jitter\s*=\s*([\d.]+)\s*$", texts)
        if not self.rails and (defaults := _only(r"\bload_defaults[ (]+[\"']?(\d+\.\d+)", texts)):
            self.defaults = tuple(int(each) for each in defaults.split("."))

    def _assigned(self, program: Program, node: Node) -> None:
        left, right = text(node, "left"), part(node, "right")
        if left.endswith("[:max_retries]"):
            self.retries = program.value(right), program.tree.at(node)
        elif re.search(r"\.default_(?:job|worker)_options\[:?['\"]?retry['\"]?\]$", left):
            self.options["retry"] = program.tree.at(node, program.value(right))
        elif re.search(r"\.default_(?:job|worker)_options$", left):
            values = program.value(right)
            found = values if isinstance(values, dict) else {"**": Unknown("", shown(right))}
            self.options |= {key: program.tree.at(node, value) for key, value in found.items()}

    def _configured(self, file: SourceFile) -> None:
        """Take `:max_retries` of `sidekiq.yml`; one for an environment, or of a template, has to be given."""
        if found := list(_MAX_RETRIES.finditer(file.text)):
            self.given.used.add(file.name)
            line = Line(file.name, file.text.count("\n", 0, found[0].start()) + 1, found[0][0].strip())
            is_plain = len(found) == 1 and not found[0][1]
            value = self.given.values.get("max_retries", found[0][2] if is_plain else "")
            self.retries = whole(value), line

    @property
    def drawn(self) -> str:
        return "; ".join(["drawn in whole seconds", *rests_on(self.given, "sidekiq", "8.0", "up to 1 s a retry less")])

    @property
    def jitter(self) -> int:
        """Seconds by which each attempt widens the jitter."""
        return 9 if self.version and self.version < (8,) else 10


def _only(pattern: str, texts: Sequence[str]) -> str:
    found = {each[1] for words in texts for each in re.finditer(pattern, words, re.MULTILINE)}
    return found.pop() if len(found) == 1 else ""


def options_of(family: Sequence[JobClass], common: Common) -> dict[str, Entry]:
    """Return the options of a class: its own first, then its bases', then the process's."""
    found = dict(common.options)
    for one in reversed(family):
        for call in calls_to(one, "sidekiq_options"):
            arguments = part(call, "arguments")
            if arguments is None:
                continue
            nodes = one.program.keyed(one.program.tree.find("pair", below=arguments))
            values = one.program.pairs(arguments, {}, 0)
            for each in arguments.named_children:
                if each.type not in ("pair", "hash_splat_argument", "comment"):
                    passed = one.program.value(each)
                    values |= passed if isinstance(passed, dict) else {"**": Unknown("", shown(each))}
            around = next((each for each in above(call) if each.type in (*_CONDITIONS, "class", "module")), call)
            for key, value in values.items():
                if around.type in _CONDITIONS:  # sidekiq_options retry: 5 if Rails.env.production?
                    condition = shown(part(around, "condition") or part(around, "value"))
                    value = Unknown("", f"the condition {condition}", value)
                found[key] = one.program.tree.at(nodes.get(key, call), value)
    return found


class ActiveJob:
    """The `retry_on` of one class, each a policy for its errors."""

    draft: PolicyDraft
    given: dict[str, Entry]
    """The arguments of the call that is read."""

    def __init__(self, family: Sequence[JobClass], common: Common) -> None:
        self.one, self.family, self.common = family[0], family, common

    def policies(self) -> Iterator[Policy]:
        tree = self.one.program.tree
        names: set[str] = set()
        for call in calls_to(self.one, "retry_on"):
            errors = [each for each in arguments_of(call) if each.type != "pair"]
            name = f"{self.one.name} on {', '.join(map(text, errors))}"
            name = name if name not in names else f"{name}:{call.start_point.row + 1}"
            names.add(name)
            self.draft = PolicyDraft(name, "sidekiq", tree.file.name)
            yield self._policy(call)
        for call in calls_to(self.one, "rescue_from"):
            if "retry_job" in text(call):
                of = ", ".join(map(text, arguments_of(call)))
                draft = PolicyDraft(f"{self.one.name} rescued from {of}", "sidekiq", tree.file.name)
                draft.refuse(tree.at(call), "retry_job, of code")
                yield draft.policy

    def _policy(self, call: Node) -> Policy:
        draft, program = self.draft, self.one.program
        nodes = program.keyed(arguments_of(call))
        values = {key: program.value(part(each, "value")) for key, each in nodes.items()}
        self.given = {key: program.tree.at(each, values[key]) for key, each in nodes.items()}
        number = self._number("attempts", 5, "retry.max_attempts", "a number of attempts")
        attempts = max(1, math.ceil(number)) if number is not None else 1
        draft.channel["retry"] = {
            "max_attempts": attempts_of(attempts),
            **(self._waits(attempts) if attempts > 1 else {}),
        }
        if attempts == 1 and not draft.is_open and not draft.questions:
            for key in ("wait", "jitter"):
                if key in self.given:
                    draft.dead(self.given[key], "there is no retry")
        for key, entry in self.given.items():
            if key not in ("attempts", "wait", "jitter", "queue", "priority", "report"):
                draft.refuse(entry, f"retry_on has no argument {key}: it raises an error")
        self._exhausted(call)
        for one in self.family:
            for each in calls_to(one, "discard_on"):
                draft.unsaid(one.program.tree.at(each), "such an error ends the job at once")
        return draft.policy

    def _number(self, key: str, default: float, path: str, wanted: str) -> float | None:
        if key not in self.given:
            self.draft.default(f"{key}: {default:g}", path)
            return default
        entry = self.given[key]
        found = settled(self.draft, entry, wanted, path)
        if found is None:
            return None
        value, reason = found
        if value in (":unlimited", math.inf):
            self.draft.exact(entry, path, "without an end")
            return UNLIMITED
        if not is_number(value):
            self.draft.refuse(entry, f"wanted {wanted}", path)
            return None
        self.draft.noted(entry, path, reason)
        return float(value)

    def _waits(self, attempts: int) -> dict[str, Any]:
        entry, rails = self.given.get("wait"), self.common.rails
        wait = entry.value if entry is not None else 3
        if isinstance(wait, Block) and entry is not None:
            return self._of_lambda(wait, entry, attempts)
        jitter = self._jitter()
        if entry is None or wait not in (":exponentially_longer", ":polynomially_longer"):
            seconds = self._number("wait", 3, "retry.initial_delay", "a number of seconds")
            return {} if seconds is None else {**constant(seconds), **_above(jitter)}
        is_former = wait == ":exponentially_longer"
        if is_former and not () < rails < (7, 2):
            why = "Rails raises an error from 7.2 on: it is :polynomially_longer (--library rails=7.1 reads it)"
            self.draft.refuse(entry, why)
            return {}
        if not is_former and () < rails < (7, 1):
            self.draft.refuse(entry, "Rails raises an error before 7.1: it is :exponentially_longer")
            return {}
        found = near([float(count**4 + 2) for count in range(1, min(attempts, 1_000))], attempts - 1)
        words = [
            f"jitter is drawn of the wait without its 2 s: up to {2 * jitter:g} s less" if jitter else "",
            found.off,
        ]
        words.append("executions**4 + 2; Rails raises an error from 7.2 on" if is_former else "")
        self.draft.noted(entry, "retry.schedule", "; ".join(filter(None, words)))
        return {**found.retry, **_above(jitter)}

    def _jitter(self) -> float:
        entry = self.given.get("jitter")
        if self.common.rails and self.common.rails < (6, 1):
            if entry is not None:
                self.draft.refuse(entry, "Rails has jitter from 6.1 on: this raises an error")
            return 0.0
        if entry is None:
            return self._jitter_of_rails()
        if entry.value in (None, False):
            return 0.0
        part = self._number("jitter", 0.15, "retry.jitter_share", "a share")
        if part is not None and not 0 <= part <= 1:
            self.draft.refuse(entry, "wanted a share from 0 to 1", "retry.jitter_share")
        return part if part is not None and 0 <= part <= 1 else 0.0

    def _jitter_of_rails(self) -> float:
        common, path = self.common, "retry.jitter_share"
        if common.jitter_of_rails:
            self.draft.default(f"retry_jitter = {common.jitter_of_rails}", path)
            return min(1.0, float(common.jitter_of_rails))
        if common.defaults:
            found = 0.15 if common.defaults >= (6, 1) else 0.0
            self.draft.default(f"load_defaults {'.'.join(map(str, common.defaults))}: jitter {found:g}", path)
            return found
        self.draft.default("jitter: 0.15", path, "with load_defaults 6.1 or later; 0 before")
        return 0.15

    def _of_lambda(self, block: Block, entry: Entry, attempts: int) -> dict[str, Any]:
        waits: list[Any] = []
        for count in range(1, min(attempts, 1_000)):
            value = block.program.called(block.node, (count, Unknown("error", "the error")))
            if not is_number(value) and not isinstance(value, Drawn):
                why = value.why if isinstance(value, (Unknown, Raised)) else "no number"
                self.draft.refuse(entry, f"worked out by code: {why}", "retry.schedule")
                return {}
            waits.append(value)
        found = near(waits, attempts - 1)
        self.draft.noted(entry, "retry.schedule", found.off)
        return found.retry

    def _exhausted(self, call: Node) -> None:
        if part(call, "block") is not None:
            self.draft.note("the block of retry_on is run when no attempt is left; the job ends with it")
            return
        options, adapter = options_of(self.family, self.common), self.common.adapter
        if ("retry" in options and options["retry"].value in (False, 0)) or adapter not in ("", "sidekiq"):
            return
        words = "the error then goes to the queue: Sidekiq retries the job 25 times more, each of them one attempt"
        words += "" if adapter else "; other queues do not"
        self.draft.default("without a block", "retry.max_attempts", words)


def _above(jitter: float) -> dict[str, Any]:
    above_it = {"jitter": "proportional", "jitter_share": jitter, "jitter_side": "above", "cap_before_jitter": True}
    return above_it if jitter else {}


RETRIES = 25
"""Of Sidekiq, where nothing else is said."""

_NAMES = re.compile(
    r"\bsidekiq_options\b|\bSidekiq::(?:Job|Worker)\b|\bsidekiq_retry_in\b|\bSidekiq\.(?:configure|default)|"
    r"\bActiveJob::Base\b|\bApplicationJob\b|^[ \t]*(?:retry_on|discard_on)\b",
    re.MULTILINE,
)
_KNOWN = frozenset({"retry", "retry_for", "retry_queue", "backtrace"})
_OF_OTHERS = re.compile(r"Sidekiq::|Active[A-Z]|Action[A-Z]|Rails\b|ApplicationJob$|Object$|Rack::|Comparable$")


def recognises(file: SourceFile) -> bool:
    return file.suffix == ".rb" and bool(_NAMES.search(file.text))


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each class of jobs, for each branch of its waits, and for each `retry_on`."""
    trees, refused = parsed(files, "sidekiq", lambda _: "ruby")
    all_of = Programs(given, len(trees))
    all_of.programs = {tree.file.name: Program(tree, all_of) for tree in trees}
    own = list(all_of.programs.values())
    common = Common(own, given)
    found = (policy for program in own for policy in _of_program(program, all_of, common))
    return [*bounded(found, files), *refused]


def _of_program(program: Program, all_of: Programs, common: Common) -> Iterator[Policy]:
    for node in program.tree.find("class"):
        one = opened(program, node)
        family = [one, *bases_of(one, all_of, {one.node.id})]
        if is_job(family):
            yield from _Sidekiq(family, all_of, common).policies(one.name)
        if calls_to(one, "retry_on") or calls_to(one, "rescue_from"):
            yield from ActiveJob(family, common).policies()
    yield from _set_elsewhere(program, all_of, common)


def _set_elsewhere(program: Program, all_of: Programs, common: Common) -> Iterator[Policy]:
    """Yield a policy for each `Job.set(retry: 3)`, which goes over the options of its class."""
    for call in program.tree.find("call"):
        receiver = part(call, "receiver")
        if text(call, "method") != "set" or receiver is None:
            continue
        given = program.keyed(arguments_of(call)) if receiver.type in ("constant", "scope_resolution") else {}
        places = all_of.classes(text(receiver)) if given.keys() & {"retry", "retry_for"} else []
        if len(places) == 1:
            one = opened(*places[0])
            family = [one, *bases_of(one, all_of, {one.node.id})]
            values = {key: program.value(part(each, "value")) for key, each in given.items()}
            options = {key: program.tree.at(each, values[key]) for key, each in given.items()}
            name = f"{one.name}.set:{call.start_point.row + 1}"
            yield from _Sidekiq(family, all_of, common, options).policies(name)


class _Sidekiq:
    draft: PolicyDraft

    def __init__(
        self, family: Sequence[JobClass], all_of: Programs, common: Common, over: dict[str, Entry] | None = None
    ) -> None:
        self.family, self.all, self.common = family, all_of, common
        self.options = options_of(family, common) | (over or {})

    def policies(self, name: str) -> Iterator[Policy]:
        """Yield the class's policy, and one for each branch that depends on the error or on an unknown value."""
        yield from self.all.branches(name, self._policy)

    def _policy(self, name: str) -> Policy:
        draft = self.draft = PolicyDraft(name, "sidekiq", self.family[0].program.tree.file.name)
        by_time = self._by_time()
        is_alone = bool(by_time) and (not self.common.version or self.common.version >= (8, 1))
        count = self.options.get("retry", self.options.get("**"))
        if not is_alone or (count and isinstance(count.value, Unknown) and count.value.otherwise is None):
            attempts = self._attempts()  # what is not known may be false
        else:
            attempts = 1
            before = "" if self.common.version else "; before that both bound them (--library sidekiq=…)"
            if count is not None:
                draft.dead(count, f"retry_for alone bounds the retries from Sidekiq 8.1 on{before}")
        retry: dict[str, Any] = {"max_attempts": attempts}
        if attempts > 1 or by_time:
            retry |= self._waits(RETRIES_MAX + 1 if by_time else attempts)
        elif not draft.is_open and not draft.questions:
            for one, call in self._blocks():
                draft.dead(one.program.tree.head(call), "there is no retry")
        if by_time:
            retry |= {"max_elapsed": duration(by_time), "max_elapsed_checked": "after_failure"}
            retry["max_attempts"] = _attempts_within(retry, by_time) if is_alone else attempts
        self._others()
        draft.channel["retry"] = retry
        return draft.policy

    def _attempts(self) -> int:
        draft, option, unread = self.draft, self.options.get("retry"), self.options.get("**")
        if option is None:
            if unread is not None:
                draft.refuse(unread, "options that these files do not say: retry may be among them")
            return RETRIES + 1 if self._is_said_elsewhere() else self._default() + 1
        found = settled(draft, option, "a number of retries", "retry.max_attempts")
        if found is None:
            return 1
        value, reason = found
        if value is True or (isinstance(value, (str, float)) and value):
            retries = self._default()
            if value is True:
                draft.noted(option, "retry.max_attempts", reason)
            else:
                draft.dead(option, f"only a whole number counts: {retries} retries")
            return retries + 1
        if value is not None and not isinstance(value, int):
            draft.refuse(option, "wanted a number of retries, true or false", "retry.max_attempts")
            return 1
        draft.noted(option, "retry.max_attempts", reason)
        if value is False:
            draft.note("retry: false keeps no dead job; retry: 0 does")
        return max(0, value or 0) + 1

    def _is_said_elsewhere(self) -> bool:
        """Note bases and modules that the files lack, or whose options stand in a method: they may have it."""
        known = {each.name.rpartition("::")[2] for each in self.family}
        named = [base.removeprefix("::") for each in self.family for base in each.bases]
        missing = [base for base in named if base.rpartition("::")[2] not in known and not _OF_OTHERS.match(base)]
        for each in self.family[1:]:
            if "sidekiq_options" in text(each.node) and not calls_to(each, "sidekiq_options"):
                missing.append(each.name)
        if missing:
            words = f"unless {' or '.join(dict.fromkeys(missing))}, which these files do not settle, says otherwise"
            self.draft.default(f"retry: {RETRIES}", "retry.max_attempts", words)
        return bool(missing) and self.common.retries is None

    def _default(self) -> int:
        if self.common.retries is not None:
            value, place = self.common.retries
            if isinstance(value, int):
                self.draft.exact(place, "retry.max_attempts")
                return value
            self.draft.unsaid(place, "worked out there", "retry.max_attempts")
            self.draft.ask_for("max_retries", place, "a number of retries")
            return RETRIES
        self.draft.default(f"retry: {RETRIES}, unless :max_retries is set", "retry.max_attempts")
        return RETRIES

    def _blocks(self) -> list[tuple[JobClass, Node]]:
        return [(one, call) for one in self.family for call in calls_to(one, "sidekiq_retry_in")]

    def _waits(self, attempts: int) -> dict[str, Any]:
        draft, blocks, wide = self.draft, self._blocks(), self.common.jitter
        draft.default("the poller", "retry", "a due retry is started when the poller looks: up to some 15 s later")
        is_former = bool(self.common.version) and self.common.version < (6, 2, 2)
        if blocks:
            return self._of_block(*blocks[0], attempts, 0 if is_former else wide)
        wide = 29 if is_former else wide
        drawn = f"rand({wide + 1}) * (count + 1)" if wide != 10 else "rand(10 * (count + 1))"
        draft.default(f"count**4 + 15 + {drawn}", "retry.backoff", self.common.drawn)
        backoff = {"polynomial": {"power": 4, "plus": "15s"}}
        return {"initial_delay": "1s", "backoff": backoff, "jitter": "by_count", "jitter_max": duration(wide)}

    def _of_block(self, one: JobClass, call: Node, attempts: int, wide: int) -> dict[str, Any]:
        draft, node, at = self.draft, part(call, "block"), one.program.tree.head(call)
        if node is None:
            draft.refuse(one.program.tree.at(call), "a block that is not written here", "retry.schedule")
            return {}
        waits, why, defaults, raised = list[Any](), list[str](), 0, 0
        for count in range(min(attempts - 1, RETRIES_MAX)):
            value = one.program.called(node, (count, Unknown("exception", "the error")), of_class=True)
            if isinstance(value, Unknown):
                if not is_number(value.otherwise):
                    draft.refuse(one.program.tree.at(call), f"worked out by code: {value.why}", "retry.schedule")
                    return {}
                why.append(f"{value.otherwise:g} s unless {value.why} says otherwise")
                value = value.otherwise
            if value in (":kill", ":discard"):
                break
            if isinstance(value, Raised):
                why.append(f"{value.why}: the default formula holds")
                raised += 1
            seconds: float | Drawn = value if isinstance(value, Drawn) else math.trunc(value) if is_number(value) else 0
            if not isinstance(seconds, Drawn) and seconds <= 0:
                seconds, defaults = count**4 + 15, defaults + 1
            elif isinstance(seconds, Drawn) and seconds.low <= 0:
                why.append("0 is the default formula")
            waits.append(arithmetic("+", seconds, Drawn(0.0, float(wide * (count + 1)))) if wide else seconds)
        if not waits:
            draft.exact(at, "retry.max_attempts")
            return {"max_attempts": 1}
        is_ended = len(waits) < min(attempts - 1, RETRIES_MAX)
        found = near(waits, 0 if is_ended else attempts - 1)
        if raised == len(waits):
            draft.dead(at, why[0])
            return found.retry
        if defaults > raised:
            why.append(f"nil, 0 or less is the default formula ({defaults - raised} of {len(waits)} retries)")
        words = dict.fromkeys(filter(None, [found.off, self.common.drawn if wide else "", *why]))
        draft.noted(at, "retry.schedule", "; ".join(words))
        return {**found.retry, **({"max_attempts": len(waits) + 1} if is_ended else {})}

    def _by_time(self) -> float:
        """Return the seconds of `retry_for`; 0 where it says nothing."""
        option, count = self.options.get("retry_for"), self.options.get("retry")
        if option is None or option.value is None:
            return 0.0
        if count is not None and count.value is False:
            self.draft.dead(option, "there is retry: false")
            return 0.0
        if self.common.version and self.common.version < (7, 1, 3):
            self.draft.dead(option, "Sidekiq has retry_for from 7.1.3 on")
            return 0.0
        seconds = option.value.otherwise if isinstance(option.value, Unknown) else option.value
        if not is_number(seconds) or seconds <= 0:
            self.draft.refuse(option, "wanted a number of seconds", "retry.max_elapsed")
            return 0.0
        words = "looked at after a failure, from the first one on: one attempt more starts later"
        self.draft.approximate(option, words, "retry.max_elapsed")
        return float(seconds)

    def _others(self) -> None:
        dead = self.options.get("dead")
        if dead is not None and dead.value is False:
            self.draft.unsaid(dead, "exhausted jobs are dropped; a channel keeps them as dead letters")
        for key, option in self.options.items():
            if re.search(r"retr|attempt|delay|backoff|wait", key) and key not in _KNOWN:
                self.draft.dead(option, f"Sidekiq has no option {key}")
        for one in self.family:
            for name in ("sidekiq_throttle", "sidekiq_throttle_as"):
                for call in calls_to(one, name):
                    self.draft.unsaid(one.program.tree.at(call), "a limit of another library")


def _attempts_within(retry: dict[str, Any], seconds: float) -> int:
    """Return how many attempts fit at most, so that the time alone ends them."""
    least = None
    if "schedule" in retry or retry.get("backoff") == "constant":
        listed = retry.get("schedule") or [retry["initial_delay"]]
        least = [max(1.0, float(re.sub(r"m?s$", "", each)) / (1000 if each.endswith("ms") else 1)) for each in listed]
    passed, count = 0.0, 1
    while passed <= seconds and count < 10_000:
        passed += (count - 1) ** 4 + 15 if least is None else least[min(count, len(least)) - 1]
        count += 1
    return count + 1
