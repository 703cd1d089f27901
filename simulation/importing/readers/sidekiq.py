"""Sidekiq's jobs, and those of Active Job with their `retry_on`, from Ruby.

Sources: `Sidekiq::JobRetry` of 6.0 to 8.1, and `ActiveJob::Exceptions` of Rails 5.1 to 8.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tree_sitter import Node

from simulation.importing.policy import Policy, PolicyDraft, duration
from simulation.importing.readers.active_job import ActiveJob
from simulation.importing.readers.sidekiq_classes import (
    Common,
    JobClass,
    bases_of,
    calls_to,
    is_job,
    opened,
    options_of,
)
from simulation.importing.ruby import Program, Programs, Raised
from simulation.importing.source import Given, SourceFile
from simulation.importing.syntax_trees import (
    RETRIES_MAX,
    Entry,
    Span,
    Unknown,
    arguments_of,
    arithmetic,
    bounded,
    is_number,
    of_waits,
    parsed,
    part,
    settled,
    text,
)

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
        """Yield the class's policy, and one for each branch that depends on the error or on what is not known."""
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
        """Note bases and modules that the files do not have, or whose options stand in a method: they may say it."""
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
            seconds: float | Span = value if isinstance(value, Span) else math.trunc(value) if is_number(value) else 0
            if not isinstance(seconds, Span) and seconds <= 0:
                seconds, defaults = count**4 + 15, defaults + 1
            elif isinstance(seconds, Span) and seconds.low <= 0:
                why.append("0 is the default formula")
            waits.append(arithmetic("+", seconds, Span(0.0, float(wide * (count + 1)))) if wide else seconds)
        if not waits:
            draft.exact(at, "retry.max_attempts")
            return {"max_attempts": 1}
        is_ended = len(waits) < min(attempts - 1, RETRIES_MAX)
        found, off = of_waits(waits, 0 if is_ended else attempts - 1)
        if raised == len(waits):
            draft.dead(at, why[0])
            return found
        if defaults > raised:
            why.append(f"nil, 0 or less is the default formula ({defaults - raised} of {len(waits)} retries)")
        words = dict.fromkeys(filter(None, [off, self.common.drawn if wide else "", *why]))
        draft.noted(at, "retry.schedule", "; ".join(words))
        return {**found, **({"max_attempts": len(waits) + 1} if is_ended else {})}

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
