"""Classes of Ruby with the jobs that they describe: their calls, their bases, and what holds for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tree_sitter import Node

from simulation.importing.policy import Line, Said
from simulation.importing.ruby import Program, Programs
from simulation.importing.source import Given, SourceFile, Version, rests_on, version_of
from simulation.importing.syntax_trees import (
    NAMESAKES_MAX,
    Entry,
    Unknown,
    above,
    arguments_of,
    part,
    shown,
    text,
    whole,
)

_NOT_IN_PRODUCTION = re.compile(r"(?:^|/)(?:test|spec|environments/(?:test|development))\b")
_YAML = re.compile(r"(?:^|/)sidekiq[^/]*\.ya?ml$")
_MAX_RETRIES = re.compile(r"^([ \t]*):?max_retries:[ \t]*(.*?)[ \t]*(?:#.*)?$", re.MULTILINE)
_CONDITIONS = ("if", "unless", "elsif", "if_modifier", "unless_modifier", "case")
_PARTS = ("then", "else", "begin", "when", "body_statement")
JOBS = frozenset({"Sidekiq::Job", "Sidekiq::Worker", "Sidekiq::IterableJob", "Sidekiq::Job::Iterable"})


@dataclass(frozen=True, eq=False)
class JobClass:
    """A class or a module with the calls in its body, and what it is based on."""

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
    """Yield what a class is based on within the files, the nearest first."""
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
    """What holds for all jobs: versions, and the settings of the whole process."""

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
        """How the jitter is approximate."""
        return "; ".join(["drawn in whole seconds", *rests_on(self.given, "sidekiq", "8.0", "up to 1 s a retry less")])

    @property
    def jitter(self) -> int:
        """Seconds by which each attempt widens the jitter."""
        return 9 if self.version and self.version < (8,) else 10


def _only(pattern: str, texts: Sequence[str]) -> str:
    found = {each[1] for words in texts for each in re.finditer(pattern, words, re.MULTILINE)}
    return found.pop() if len(found) == 1 else ""


def options_of(family: Sequence[JobClass], common: Common) -> dict[str, Entry]:
    """Return the options of a class over those of its bases, and these over those of the process."""
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
