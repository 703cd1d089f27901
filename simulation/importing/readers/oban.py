"""Oban's workers, from Elixir: attempts, back-off, and the limits of their configuration.

Sources: `Oban.Worker`, `Oban.Backoff` and `Oban.Queues.Executor` of 2.23.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tree_sitter import Node

from simulation.importing.elixir import NO_MATCH, Module, Modules, arguments_of, block_of, key_of, of_oban, target
from simulation.importing.policy import Policy, PolicyDraft, duration
from simulation.importing.source import Given, SourceFile, Version, version_of
from simulation.importing.syntax_trees import (
    RETRIES_MAX,
    Entry,
    Tree,
    Unknown,
    above,
    bounded,
    inner,
    is_number,
    line,
    parsed,
    part,
    settled,
    text,
)
from simulation.importing.waits import LONGEST_S, Drawn, fitted, near

ATTEMPTS = 20
"""Of Oban, the first included, where nothing else is said."""

_NAMES = re.compile(r"\bOban\.(?:Pro\.)?Worker\b|\bconfig\b[^\n]{0,80},[ \t]*Oban\b")
_WORKERS = frozenset({"Oban.Worker", "Oban.Pro.Worker"})
_KNOWN = frozenset({"max_attempts", "queue", "priority", "tags", "unique", "replace", "meta", "args", "worker",
                    "schedule_in", "scheduled_at", "recorded", "structured", "encrypted", "hooks", "deadline",
                    "args_schema", "aliases"})  # fmt: skip


def recognises(file: SourceFile) -> bool:
    return file.suffix in (".ex", ".exs") and bool(_NAMES.search(file.text))


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each worker, for each branch of its back-off, and for jobs with attempts of their own."""
    trees, refused = parsed(files, "oban", lambda _: "elixir")
    all_of = Modules(given, len(trees))
    all_of.modules = {}
    own = [module for tree in trees for module in all_of.add(tree)]
    bases = {module.name: use for module in own if (use := _macro(module)) is not None}
    found = _of_modules(own, trees, all_of, bases, version_of(given, "oban", ()))
    return [*bounded(found, files), *refused]


def _of_modules(
    own: Sequence[Module], trees: Sequence[Tree], all_of: Modules, bases: dict[str, Node], version: Version
) -> Iterator[Policy]:
    queues = _queues(trees, all_of)
    workers: dict[str, list[_Worker]] = {}
    for module in own:
        for use in module.uses if module.name not in bases else ():
            name = text(arguments_of(use)[0]) if arguments_of(use) else ""
            full = module.aliases.get(name, name)
            base = next((each for each in bases if each == full or each.endswith(f".{full}")), "")
            if full in _WORKERS or base:
                worker = _Worker(module, use, (base, bases[base]) if base else None, queues, version)
                workers.setdefault(module.name.rpartition(".")[2], []).append(worker)
                yield from all_of.branches(module.name, worker.policy)
    for tree in trees:
        yield from _inserted(tree, workers, all_of)


def _macro(module: Module) -> Node | None:
    for node in inner(block_of(module.node)):
        if target(node) == "defmacro" and text(arguments_of(node)[0] if arguments_of(node) else None).startswith(
            "__using__"
        ):
            for call in module.tree.find("call", below=node):
                given = arguments_of(call)
                if target(call) == "use" and given and text(given[0]) in _WORKERS:
                    return call
    return None


def _queues(trees: Sequence[Tree], all_of: Modules) -> dict[str, Entry]:
    """Return the limits of queues, from `config :app, Oban, queues: […]`."""
    found: dict[str, Entry] = {}
    for tree in trees:
        for call in tree.find("call"):
            given = arguments_of(call)
            if target(call) != "config" or len(given) < 3 or text(given[1]) != "Oban":
                continue
            reader = Module("", call, tree, all_of)
            for pair in tree.find("pair", below=given[2]):
                for words in tree.find("keywords", below=pair) if key_of(pair) == "queues" else ():
                    if words.parent is not None and words.parent.parent == pair:
                        values = {key_of(each): (each, reader.of_pair(each)) for each in words.named_children}
                        found |= {key: tree.at(*each) for key, each in values.items()}
    return found


class _Worker:
    """One worker: the options of its `use`, its back-off and the ends that its code decides."""

    draft: PolicyDraft

    def __init__(
        self,
        module: Module,
        use: Node,
        base: tuple[str, Node] | None,
        queues: dict[str, Entry],
        version: Version,
        overridden: Entry | None = None,
    ) -> None:
        self.module, self.use, self.base, self.queues, self.version = module, use, base, queues, version
        self.overridden = overridden
        self.at = module.tree.at

    def policy(self, name: str) -> Policy:
        """Return the policy under the current assumption of unknown conditions."""
        draft = self.draft = PolicyDraft(name, "oban", self.module.tree.file.name)
        options = self._options()
        attempts = self._attempts(options.get("max_attempts"))
        retry = draft.channel["retry"] = {"max_attempts": attempts}
        if attempts > 1:
            draft.default("the stager", "retry", "a due retry is started when Oban looks: up to 1 s later")
            retry |= self._waits(attempts)
        elif not draft.is_open and not draft.questions:
            for clause in self.module.functions.get("backoff", ()):
                draft.dead(self.module.tree.head(clause.node), "there is no retry")
        self._limits(options.get("queue"))
        self._endings()
        return draft.policy

    def _options(self) -> dict[str, Entry]:
        draft, found = self.draft, dict[str, Entry]()
        for use in (self.base[1] if self.base else None, self.use):
            for given in arguments_of(use)[1:] if use is not None else ():
                list_of = given.named_children[0] if given.type == "list" and given.named_children else given
                words = list_of if list_of.type == "keywords" else given
                if words.type != "keywords" and use is self.use:
                    why = "options that are worked out by code: max_attempts may be among them"
                    draft.refuse(self.at(words), why)
                elif words.type == "keywords":
                    pairs = [each for each in words.named_children if each.type == "pair"]
                    found |= {key_of(each): self.at(each, self.module.of_pair(each)) for each in pairs}
        if self.base is not None:
            draft.approximate(self.at(self.use), f"the macro of {self.base[0]} may change what its users give", "retry")
        name = text(arguments_of(self.use)[0])
        is_pro = ".Pro." in self.module.aliases.get(name, name)
        for key, entry in found.items():
            if key in _KNOWN:
                continue
            if self.base is not None:
                draft.unsaid(entry, f"the macro of {self.base[0]} decides what it does")
            elif not is_pro:
                draft.refuse(entry, f"Oban refuses it: unknown option {key}, with which the module is not compiled")
            elif re.search(r"attempt|retr|backoff|delay|timeout", key):
                draft.dead(entry, f"Oban has no option {key}")
        return found

    def _attempts(self, option: Entry | None) -> int:
        entry, path = self.overridden or option, "retry.max_attempts"
        if entry is None:
            self.draft.default(f"max_attempts: {ATTEMPTS}", path)
            return ATTEMPTS
        found = settled(self.draft, entry, "a number of attempts", path)
        if found is None:
            return 1
        value, reason = found
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.draft.refuse(entry, "wanted a whole number of at least 1", path)
            return 1
        self.draft.noted(entry, path, reason)
        return value

    def _waits(self, attempts: int) -> dict[str, Any]:
        clauses, path = self.module.clauses("backoff"), "retry.schedule"
        if not clauses:
            if (elsewhere := self._elsewhere()) is not None:
                self.draft.refuse(self.at(elsewhere), "its backoff is not in this module", path)
                return {}
            return self._default(attempts)
        waits: list[float | Drawn] = []
        for attempt in range(1, min(attempts, RETRIES_MAX + 1)):
            job = {"attempt": attempt, "max_attempts": attempts, "__struct__": ":job"}
            value = self.module.called("backoff", [job])
            value = value.otherwise if isinstance(value, Unknown) and is_number(value.otherwise) else value
            why = ""
            if value is NO_MATCH:
                why = f"no clause for attempt {attempt} where nothing else is known"
            elif not (is_number(value) or isinstance(value, Drawn)):
                why = f"worked out by code: {value.why if isinstance(value, Unknown) else 'no number'}"
            elif isinstance(value, float):
                why = f"Oban takes whole seconds, and this gives {value!r}: the job fails to be put back"
            if why:
                self.draft.refuse(self.at(clauses[0].node), why, path)
                return {}
            waits.append(value if isinstance(value, Drawn) else max(0.0, float(value)))
        found = near(waits, attempts - 1)
        reason = found.off
        if any(isinstance(each, Drawn) for each in waits) and _DRAWN.search(text(self.module.node)):
            reason = "; ".join(filter(None, [reason, _LESS]))
        for clause in clauses:
            self.draft.noted(self.module.tree.head(clause.node), path, reason)
        return found.retry

    def _elsewhere(self) -> Node | None:
        """Return the source of a back-off that the module does not define itself."""
        for node in inner(block_of(self.module.node)):
            if target(node) == "defdelegate" and re.search(r"\bbackoff\(", text(node)):
                return node
            if target(node) == "use" and (given := arguments_of(node)) and text(given[0]) not in _WORKERS:
                name = text(given[0])
                module = self.module.all.module(self.module.aliases.get(name, name))
                if module is not None and re.search(r"\bdef backoff\b", text(module.node)):
                    return node
        return None

    def _default(self, attempts: int) -> dict[str, Any]:
        has_jitter = not self.version or self.version >= (2, 2)
        self.draft.default(
            "15 + 2**attempt" + (", and up to 10%" if has_jitter else ""), "retry.backoff", _LESS * has_jitter
        )
        jitter = {"jitter": "proportional", "jitter_share": 0.1, "jitter_side": "above"} if has_jitter else {}
        if attempts > ATTEMPTS:
            spans = [of_oban("backoff", [{"attempt": n, "max_attempts": attempts}]) for n in range(1, attempts)]
            return {**fitted([each.low for each in spans[:RETRIES_MAX]]).retry, **jitter}
        longest = duration(LONGEST_S)
        return {"initial_delay": "2s", "backoff": {"exponential": {"plus": "15s"}}, **jitter, "max_delay": longest}

    def _limits(self, queue: Entry | None) -> None:
        limit = self.queues.get(str(queue.value if queue is not None else ":default").removeprefix(":"))
        if limit is not None:
            value = limit.value.get("limit") if isinstance(limit.value, dict) else limit.value
            if isinstance(value, int) and value > 0:
                words = "of each node, for all workers of the queue together"
                self.draft.put("max_in_flight", value, limit, words)
            else:
                self.draft.unsaid(limit, "a limit that is not in these files")
        if clauses := self.module.clauses("timeout"):
            value = self.module.called("timeout", [{"attempt": 1}])
            if is_number(value) and value > 0:
                self.draft.put("timeout", duration(value / 1000), self.at(clauses[0].node))
            elif value != ":infinity":
                self.draft.unsaid(self.at(clauses[0].node), "a time-out that is worked out by code")

    def _endings(self) -> None:
        said: set[str] = set()
        for node in self.module.tree.find("tuple", "atom", below=self.module.node):
            first = node.named_children[0] if node.type == "tuple" and node.named_children else node
            word = text(first) if first.type == "atom" else ""
            if word in said or word not in _ENDINGS or (node.type == "atom" and word != ":discard"):
                continue
            is_type = any(each.type == "unary_operator" and text(each).startswith("@") for each in above(node))
            if is_type or _is_pattern(node):
                continue
            said.add(word)
            self.draft.unsaid(self.at(node), _ENDINGS[word])


def _is_pattern(node: Node) -> bool:
    below = node
    for around in above(node):
        is_head = around.type == "arguments" and target(around.parent or around) in ("def", "defp")
        if (is_head and below.type != "keywords") or (around.type == "stab_clause" and part(around, "left") == below):
            return True
        below = around
    return False


_ENDINGS = {
    ":snooze": "a snooze puts the job back and takes no attempt",
    ":cancel": "such a job ends at once",
    ":discard": "such a job ends at once",
}


_DRAWN = re.compile(r"\b(?:Worker\.backoff|Backoff\.jitter|super)\(")
_LESS = "whole seconds are drawn: up to 1 s less"


def _inserted(tree: Tree, workers: dict[str, list[_Worker]], all_of: Modules) -> Iterator[Policy]:
    for call in tree.find("call"):
        name = target(call)
        words = next((each for each in arguments_of(call) if each.type == "keywords"), None)
        if not name.endswith(".new") or words is None:
            continue
        own = [each for each in words.named_children if each.type == "pair" and key_of(each) == "max_attempts"]
        fitting = workers.get(name.removesuffix(".new").rpartition(".")[2], [])
        if own and len(fitting) == 1:
            of = fitting[0]
            over = tree.at(own[0], Module("", call, tree, all_of).of_pair(own[0]))
            worker = _Worker(of.module, of.use, of.base, of.queues, of.version, over)
            yield from all_of.branches(f"{of.module.name}.new:{line(call)}", worker.policy)
