"""Active Job's `retry_on`; source: `ActiveJob::Exceptions` of Rails 5.1 to 8.1."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from tree_sitter import Node

from simulation.importing.policy import Policy, PolicyDraft
from simulation.importing.readers.sidekiq_classes import Common, JobClass, calls_to, options_of
from simulation.importing.ruby import Block, Raised
from simulation.importing.syntax_trees import (
    Entry,
    Span,
    Unknown,
    arguments_of,
    is_number,
    of_waits,
    part,
    settled,
    text,
)
from simulation.importing.waits import UNLIMITED, attempts as attempts_of, constant


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
            for key in self.given.keys() & {"wait", "jitter"}:
                draft.dead(self.given[key], "there is no retry")
        for key in self.given.keys() - {"attempts", "wait", "jitter", "queue", "priority", "report"}:
            draft.refuse(self.given[key], f"retry_on has no argument {key}: it raises an error")
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
        found, cut = of_waits([float(count**4 + 2) for count in range(1, min(attempts, 1_000))], attempts - 1)
        words = [f"jitter is drawn of the wait without its 2 s: up to {2 * jitter:g} s less" if jitter else "", cut]
        words.append("executions**4 + 2; Rails raises an error from 7.2 on" if is_former else "")
        self.draft.noted(entry, "retry.schedule", "; ".join(filter(None, words)))
        return {**found, **_above(jitter)}

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
            if not is_number(value) and not isinstance(value, Span):
                why = value.why if isinstance(value, (Unknown, Raised)) else "no number"
                self.draft.refuse(entry, f"worked out by code: {why}", "retry.schedule")
                return {}
            waits.append(value)
        found, words = of_waits(waits, attempts - 1)
        self.draft.noted(entry, "retry.schedule", words)
        return found

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
