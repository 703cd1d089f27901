"""The result of a reader: policies, the mark of each line, and the questions that a file leaves open."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from actors.settings.hints import nearest
from actors.settings.yaml_tree import printable


class Mark(StrEnum):
    """How well the settings of a channel express a line of a file."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    CANNOT_BE_SAID = "cannot be said"
    DOES_NOTHING = "does nothing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a file, or one default of the library, and its meaning here.

    ``text`` is the setting as the file writes it (``retry_backoff=True``), at most 200 characters. ``line`` counts from
    1; 0 stands for a default that no line gives. ``reason`` says by how much and where a meaning is approximate, why a
    line does nothing, and why it cannot be said; empty for an exact one. ``path`` names the setting that the line
    became (``retry.max_attempts``), empty if there is none.
    """

    file: str
    line: int
    text: str
    mark: Mark
    path: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.mark is Mark.DOES_NOTHING:  # so it becomes nothing
            object.__setattr__(self, "path", "")


@dataclass(frozen=True, slots=True)
class Question:
    """A value that decides and does not stand in the files: ``--given NAME=VALUE`` answers it."""

    name: str
    file: str
    line: int
    wanted: str
    """The kind of answer, in words: ``a number of seconds``."""

    @property
    def asked(self) -> str:
        """The place, the option to type, and the wanted value."""
        typed = f"{self.name}=…" if shlex.quote(self.name) == self.name else shlex.quote(f"{self.name}=…")
        return printable(f"{self.file}:{self.line}: --given {typed} wants {self.wanted}")


@dataclass(frozen=True, slots=True)
class Policy:
    """The reaction of one task, queue, client or route to a failed call.

    ``channel`` has the settings in the words of a scenario's channel, nested as YAML would be read
    (``{"retry": {"max_attempts": 4}}``); None if nothing can be run because a question is open or the policy cannot be
    said at all. The name is the library's own (``shop.tasks.charge``), made a channel's name only where it is written.
    """

    name: str
    kind: str
    channel: Mapping[str, Any] | None
    findings: tuple[Finding, ...]
    questions: tuple[Question, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """Sentences about the policy as a whole: ``a retried task goes to the back of its queue``."""


class Said(Protocol):
    """A setting where a file has it, or a default of the library, of line 0."""

    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def text(self) -> str:
        """As the file writes it, in one line."""

    @property
    def assumed(self) -> str:
        """The assumption from another place on which its value rests, as a sentence's part; it is then not exact."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file with its text, or a default with the line 0."""

    file: str
    line: int
    text: str
    assumed: str = ""


class PolicyDraft:
    """A policy while its reader finds out its settings."""

    def __init__(self, name: str, kind: str, file: str = "", files: Sequence[str] = ()) -> None:
        self.name, self.kind, self.file = name, kind, file
        self.files = files
        """The files in the order of their findings, files of the policy's own lines first; others follow by name."""

        self.findings: dict[Finding, None] = {}
        self.questions: list[Question] = []
        self.notes: list[str] = []
        self.channel: dict[str, Any] = {}
        self.is_open = False
        """Whether the policy cannot be said, whatever is answered."""

    def say(self, of: Said, mark: Mark, reason: str = "", path: str = "") -> None:
        """Add a finding; a setting with an assumption from another place is not exact."""
        if of.assumed and mark is Mark.EXACT:
            mark = Mark.APPROXIMATE
        reason = "; ".join(filter(None, [reason, of.assumed]))
        self.findings[Finding(of.file, of.line, of.text, mark, path, reason)] = None

    def exact(self, of: Said, path: str = "", reason: str = "") -> None:
        self.say(of, Mark.EXACT, reason, path)

    def approximate(self, of: Said, reason: str, path: str = "") -> None:
        self.say(of, Mark.APPROXIMATE, reason, path)

    def noted(self, of: Said, path: str, off: str) -> None:
        """Say that a setting is exact, or how far it is off."""
        self.say(of, Mark.APPROXIMATE if off else Mark.EXACT, off, path)

    def unsaid(self, of: Said, reason: str, path: str = "") -> None:
        self.say(of, Mark.CANNOT_BE_SAID, reason, path)

    def dead(self, of: Said, reason: str) -> None:
        self.say(of, Mark.DOES_NOTHING, reason)

    def refuse(self, of: Said, reason: str, path: str = "") -> None:
        """Say that a setting cannot be said, and with it the policy."""
        self.unsaid(of, reason, path)
        self.is_open = True

    def default(self, text: str, path: str, off: str = "", why: str = "") -> None:
        """Say a default of the library: how far it is off, or why it holds."""
        file = self.file or next((each.file for each in self.findings), "")
        self.say(Line(file, 0, text), Mark.APPROXIMATE if off else Mark.EXACT, off or why, path)

    def ask_for(self, name: str, of: Said, wanted: str) -> None:
        """Ask for a value that decides and does not stand in the files."""
        question = Question(name, of.file, of.line, wanted)
        if question not in self.questions:
            self.questions.append(question)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def put(self, path: str, value: Any, of: Said, off: str = "", why: str = "") -> None:
        """Set a value of the channel, with its setting, the size of its approximation, or the reason for it."""
        self.set(path, value)
        self.say(of, Mark.APPROXIMATE if off else Mark.EXACT, off or why, path)

    def set(self, path: str, value: Any) -> None:
        """Set a value of the channel that needs no finding."""
        *above, last = path.split(".")
        block = self.channel
        for key in above:
            block = block.setdefault(key, {})
        block[last] = value

    @property
    def policy(self) -> Policy:
        """The policy; it has a channel if nothing is open."""
        channel = None if self.is_open or self.questions else self.channel
        found = in_order(self.findings, self.files)
        return Policy(self.name, self.kind, channel, found, tuple(self.questions), tuple(self.notes))


def in_order(findings: Iterable[Finding], first: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Return findings by their lines: of the files that are named first, then of others by name; defaults come last."""
    places = {file: place for place, file in reversed([*enumerate(first)])}
    last = len(places)
    return tuple(sorted(findings, key=lambda each: (each.line == 0, places.get(each.file, last), each.file, each.line)))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that says which known name is meant; empty if none is near."""
    near = nearest(name, known)
    return f"; did you mean {near}?" if near else ""


def duration(seconds: float) -> str:
    """Return a duration as a scenario has it, to the nanosecond: ``180s``, ``100ms``, ``1.5s``."""
    if seconds and abs(seconds) < 1:
        return f"{f'{seconds * 1000:.6f}'.rstrip('0').rstrip('.')}ms"
    return f"{f'{seconds:.9f}'.rstrip('0').rstrip('.')}s"
