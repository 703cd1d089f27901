"""Configuration files (YAML, JSON, properties, INI) with the line of each value, and drafts of the policies in them.

A value that is a template of Helm, Go or Jinja (``{{ … }}``) is kept as one: the file is read around it. A line with
nothing but a template decides which lines follow; it is left out and remembered. An unreadable line is an error:
nothing is guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, TypeAlias

from actors.errors import ConfigurationError
from actors.formatting import without_passwords
from actors.settings.yaml_tree import (
    FOREIGN_VALUES_MAX,
    ListNode,
    MappingNode,
    Node,
    Place,
    ScalarNode,
    Unreadable,
    plain_scalar,
    printable,
    read_foreign,
)
from simulation.importing.policy import Finding, Mark, Policy, PolicyDraft, Said
from simulation.importing.source import Given, SourceFile

TEXT_MAX = 200
RENDER = "render it first, then import the result"
"""The cure for a template that decides more than a value."""


# ── templates, and what no file may have ────────────────────────────────────────────────────────────────────────

_HIDDEN = 0xE000
"""Characters of templates stand here meanwhile, where no syntax looks at them: one for one, so that places hold."""
_HIDE = {code: _HIDDEN + code for code in range(256) if code != ord("\n")}
LINES_MAX = 200_000
_TEMPLATE_LINE = re.compile(r"[ \t]*[\ue000-\ue0ff][\ue000-\ue0ff \t]*")
_HARMLESS = re.compile(r"\{\{-?\s*(?:end|/\*.*\*/)\s*-?\}\}|\{%-?\s*end\w*\s*-?%\}", re.DOTALL)
"""The end of a branch, and a comment."""
_CONFLICT = re.compile(r"^(?:<{7} |>{7} |={7}$)", re.MULTILINE)
_NAME = re.compile(r"\{\{-?\s*\$?\.?([\w.-]+)\s*-?\}\}")


def _hidden(text: str) -> str:
    parts: list[str] = []
    done = 0
    for start, end in (("{{", "}}"), ("{%", "%}")):
        if start not in text:
            continue
        parts, done = [], 0
        while (begin := text.find(start, done)) >= 0 and (stop := text.find(end, begin + 2)) >= 0:
            parts += text[done:begin], text[begin : stop + 2].translate(_HIDE)
            done = stop + 2
        text = "".join(parts) + text[done:]
    return text


def shown(text: str) -> str:
    """Return a text of a file that was read here with its templates as the file has them."""
    return "".join(chr(ord(each) - _HIDDEN) if _HIDDEN <= ord(each) < _HIDDEN + 256 else each for each in text)


def is_template(text: str) -> bool:
    return any(_HIDDEN <= ord(each) < _HIDDEN + 256 for each in text)


def _without_conflicts(file: SourceFile) -> str:
    if file.text.count("\n") > LINES_MAX:
        raise ConfigurationError([f"{file.name}:{LINES_MAX}: too long: wanted at most {LINES_MAX:,} lines"])
    if found := _CONFLICT.search(file.text):
        line = file.text.count("\n", 0, found.start()) + 1
        raise ConfigurationError([f"{file.name}:{line}: a merge conflict that is not resolved"])
    return file.text


# ── settings and documents ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of a file with its value; line 0 stands for a default of the library."""

    file: str
    line: int
    key: str
    node: Node
    shown: str = ""
    """The value as the file has it, where a placeholder or a template was filled."""

    assumed: str = ""
    """The assumption on which the value rests, as a sentence's part; a finding of it is not exact then."""

    @classmethod
    def of(cls, file: str, line: int, key: str, written: str, value: Any = None) -> Setting:
        """Return a setting with a scalar; its value is the text that is written, if no other is given."""
        return cls(file, line, key, ScalarNode(Place(file, line, 1), written if value is None else value, written))

    @property
    def text(self) -> str:
        """As the file has it, on one line."""
        written = self.shown or shown(_in_short(self.node)) + (" (default)" if self.line == 0 else "")
        return printable(without_passwords(f"{shown(self.key)}: {' '.join(written.split())}"))[:TEXT_MAX]

    @property
    def written(self) -> str:
        """The scalar as it is written without quotes; empty for a list and a mapping."""
        return self.node.written.strip() if isinstance(self.node, ScalarNode) else ""

    @property
    def value(self) -> Any:
        """The scalar's value; None for a list and a mapping."""
        return self.node.value if isinstance(self.node, ScalarNode) else None

    @property
    def is_template(self) -> bool:
        return isinstance(self.node, ScalarNode) and is_template(self.node.written)

    @property
    def is_empty(self) -> bool:
        return isinstance(self.node, ScalarNode) and self.node.value is None

    @property
    def items(self) -> list[Setting]:
        """The items of a list, under the key; a scalar is a list of one, nothing an empty one."""
        if isinstance(self.node, ListNode):
            return [replace(self, line=each.place.line, node=each) for each in self.node.items]
        return [] if self.is_empty else [self]

    @property
    def whole(self) -> int | None:
        """The whole number that it is, quoted or not; None for all else, and for one that begins with a 0, which is
        octal for some programs and decimal for others."""
        number = self.value if isinstance(self.value, int) and not isinstance(self.value, bool) else None
        if number is None and re.fullmatch(r"[-+]?[0-9]{1,15}", self.written):
            number = int(self.written)
        return None if re.match(r"[-+]?0[0-9]", self.written) else number

    @property
    def number(self) -> float | None:
        """The number that it is, quoted or not."""
        value = plain_scalar(self.written) if isinstance(self.value, str) else self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 1e15:
            return None
        return None if re.match(r"[-+]?0[0-9]", self.written) else float(value)

    @property
    def truth(self) -> bool | None:
        """The truth value that it is, quoted or not."""
        return {"true": True, "false": False}.get(self.written.lower())


Timed: TypeAlias = tuple[float, Setting]
"""Seconds, and the setting that says them."""


def _in_short(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return node.written[:TEXT_MAX]
    each = node.items[:20] if isinstance(node, ListNode) else []
    return "{…}" if isinstance(node, MappingNode) else "[" + ", ".join(map(_in_short, each)) + "]"


class Section:
    """The keys of a mapping, which a reader takes one by one; the keys left over are unknown to the library."""

    def __init__(self, setting: Setting, canonical: Callable[[str], str] = str) -> None:
        self.setting = setting
        self._settings: dict[str, Setting] = {}
        node = setting.node
        if isinstance(node, MappingNode):
            for key, value in node.entries.items():
                self._settings[canonical(key)] = Setting(setting.file, node.key_places[key].line, key, value)
        self._canonical = canonical

    def __contains__(self, key: str) -> bool:
        return key in self._settings

    def take(self, *names: str) -> Setting | None:
        """Return the first of these settings that is there and has a value; all of them are known."""
        taken = [setting for name in names if (setting := self._settings.pop(name, None)) is not None]
        return next((setting for setting in taken if not setting.is_empty), None)

    def section(self, *names: str) -> Section | None:
        setting = self.take(*names)
        if setting is None or not isinstance(setting.node, MappingNode):
            return None
        return type(self)(setting, self._canonical)

    def sections(self, name: str) -> list[Section]:
        setting = self.take(name)
        found = [] if setting is None or not isinstance(setting.node, ListNode) else setting.items
        return [type(self)(each, self._canonical) for each in found if isinstance(each.node, MappingNode)]

    @property
    def left(self) -> list[Setting]:
        return list(self._settings.values())


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: its root, its lines, and the lines of them on which a template stands alone."""

    root: Setting
    last_line: int
    template_lines: tuple[int, ...] = ()

    @property
    def section(self) -> Section:
        return Section(self.root)


_SEPARATOR = re.compile(r"---(?=\s|$)")


def yaml_documents(file: SourceFile, wanted: str = "") -> list[Document]:
    """Return the documents of a YAML or JSON file in which a regular expression is found.

    Raises:
        ConfigurationError: one of them is not YAML, too large, or has an alias inside its own value.
    """
    lines = _hidden(_without_conflicts(file)).split("\n")
    alone: list[int] = []
    starts = [0]
    for place, line in enumerate(lines):
        if _TEMPLATE_LINE.fullmatch(line):
            lines[place] = ""
            alone += [] if _HARMLESS.fullmatch(shown(line).strip()) else [place + 1]
        elif _SEPARATOR.match(line):
            starts.append(place)
    documents: list[Document] = []
    size = 0
    for start, end in pairwise([*starts, len(lines)]):
        text = "\n".join(lines[start:end])
        if not text.strip() or not re.search(wanted, text):
            continue
        size += 20 + end - start + text.count(",")  # about 20 values' time go into the document itself
        if size > FOREIGN_VALUES_MAX:
            raise ConfigurationError(
                [f"{file.name}:{start + 1}: too large: wanted at most {FOREIGN_VALUES_MAX:,} values"]
            )
        try:
            root = _read(file.name, text, start + 1)
        except ConfigurationError as error:
            if alone:
                hint = f"{file.name}:{alone[0]}: a template decides which lines are there; render it first"
                others = [each for each in error.problems if "duplicate key" not in str(each)]  # of two branches
                raise ConfigurationError([hint, *others]) from None
            raise
        documents.append(Document(root, end, tuple(line for line in alone if start < line <= end)))
    return documents


def _read(name: str, text: str, line: int = 1) -> Setting:
    try:
        return Setting(name, line, "", read_foreign(text, Place(name, line)))
    except Unreadable as error:
        raise ConfigurationError([shown(str(problem)) for problem in error.problems[:5]]) from None


_JSON_TEXT = r'"(?:[^"\\\n]|\\(?:.|\Z))*+"?'
"""A text, closed or not: without backtracking, as each quote of a long line could begin one."""
_JSON_WORD = re.compile(rf"{_JSON_TEXT}|//[^\n]*|/\*.*?(?:\*/|\Z)|\t", re.DOTALL)
_LAST_COMMA = re.compile(rf"{_JSON_TEXT}|,(?=\s*[}}\]])", re.DOTALL)


def json_document(file: SourceFile, *, with_comments: bool = False) -> Document:
    """Return the document of a JSON file; with comments as .NET reads it, ``// …``, ``/* … */`` and last commas.

    Raises:
        ConfigurationError: it is no JSON, too large or too deep, or has a key twice.
    """
    text = _hidden(_without_conflicts(file))
    if text.count(",") > FOREIGN_VALUES_MAX:
        raise ConfigurationError([f"{file.name}:1: too large: wanted at most {FOREIGN_VALUES_MAX:,} values"])

    def blank(word: re.Match[str]) -> str:
        found = word[0]
        if found[0] == '"':
            return found
        if found == "\t":
            return " "
        return "\n".join(" " * len(line) for line in found.split("\n")) if with_comments else found

    text = _JSON_WORD.sub(blank, text)
    if with_comments:
        text = _LAST_COMMA.sub(lambda word: word[0] if word[0] != "," else " ", text)
    try:
        json.loads(re.sub("[\ue000-\ue0ff]+", "0", text) if text != file.text else text)
    except json.JSONDecodeError as error:
        raise ConfigurationError([f"{file.name}:{error.lineno}:{error.colno}: not JSON: {error.msg}"]) from None
    except (RecursionError, ValueError):
        raise ConfigurationError([f"{file.name}: not JSON that can be read: too deep, or a number too long"]) from None
    return Document(_read(file.name, text), text.count("\n") + 1)


_GOES_ON = re.compile(r"(?<!\\)(?:\\\\)*\\$")
_KEY_END = re.compile(r"(?<!\\)(?:\\\\)*(\s*[=:]\s*|\s+)")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def properties_documents(file: SourceFile) -> list[list[Setting]]:
    """Return the settings of each document of a ``.properties`` file; ``#---`` parts them, as in Spring Boot 2.4."""
    lines = _hidden(_without_conflicts(file)).split("\n")
    documents: list[list[Setting]] = [[]]
    number = 0
    while number < len(lines):
        line, first = lines[number].strip(), number + 1
        number += 1
        if line[:1] in ("#", "!"):
            if re.fullmatch(r"[#!]---\s*", line):
                documents.append([])
            continue
        pieces = [line]
        while _GOES_ON.search(pieces[-1]) and number < len(lines):
            pieces[-1] = pieces[-1][:-1]
            pieces.append(lines[number].strip())
            number += 1
        if line := "".join(pieces):
            end = _KEY_END.search(line)
            key, value = (line, "") if end is None else (line[: end.start(1)], line[end.end(1) :])
            documents[-1].append(Setting.of(file.name, first, _unescaped(key), _unescaped(value)))
        if number > FOREIGN_VALUES_MAX:
            raise ConfigurationError([f"{file.name}:{number}: too long: wanted at most {FOREIGN_VALUES_MAX:,} lines"])
    return documents


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(
        lambda found: chr(int(found[1][1:], 16)) if len(found[1]) > 1 else _ESCAPED.get(found[1], found[1]), text
    )


def ini_sections(file: SourceFile) -> list[tuple[str, int, list[Setting]]]:
    """Return the sections of an INI file as Python's configparser reads it: name, line, settings.

    A line that is indented goes on with the value before it; ``#`` and ``;`` begin a comment at the start of a line
    alone.
    """
    found: list[tuple[str, int, list[Setting]]] = []
    for number, line in enumerate(_hidden(_without_conflicts(file)).split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if header := re.fullmatch(r"\[\s*(.*?)\s*\]\s*", stripped):
            found.append((header[1], number, []))
        elif found and not line[0].isspace():
            key, _, value = stripped.partition("=") if "=" in stripped else stripped.partition(":")
            if any(each.key == key.strip().lower() for each in found[-1][2]):
                raise ConfigurationError([f"{file.name}:{number}: {key.strip()} is there twice in [{found[-1][0]}]"])
            found[-1][2].append(Setting.of(file.name, number, key.strip().lower(), value.strip()))
        if number > FOREIGN_VALUES_MAX:
            raise ConfigurationError([f"{file.name}:{number}: too long: wanted at most {FOREIGN_VALUES_MAX:,} lines"])
    return found


# ── drafts of policies ──────────────────────────────────────────────────────────────────────────────────────────


class Draft(PolicyDraft):
    def __init__(self, name: str, kind: str, given: Given) -> None:
        super().__init__(shown(name), kind)
        self.given = given
        self.open_keys: set[str] = set()
        """Keys that a file gives and whose values are open questions: their defaults are not reported."""

    def say(self, of: Said, mark: Mark, reason: str = "", path: str = "") -> None:
        key = of.key if isinstance(of, Setting) else ""
        if not of.line and key in self.open_keys:
            return
        if is_template(key) and mark is Mark.DOES_NOTHING:
            mark, reason = Mark.CANNOT_BE_SAID, f"a template decides which setting this is; {RENDER}"
            self.is_open = True
        refused = Finding(of.file, of.line, of.text, Mark.CANNOT_BE_SAID)
        is_refused = any(replace(each, path="", reason="") == refused for each in self.findings)
        if not (is_refused and mark is Mark.EXACT and not of.assumed):
            super().say(of, mark, reason, path)

    def known(self, setting: Setting | None, wanted: str) -> Setting | None:
        """Return a setting with its templates filled from given values; None, and a question, if one is missing."""
        if setting is None or not setting.is_template:
            return setting
        found = _NAME.fullmatch(shown(setting.written))
        name = found[1] if found else f"{self.name}.{shown(setting.key)}"
        if (answer := self.given.values.get(name)) is not None:
            written = re.sub("[\ue000-\ue0ff]+", lambda _: answer, setting.written)
            node = ScalarNode(setting.node.place, plain_scalar(written), written)
            return replace(setting, node=node, shown=shown(setting.written))
        self.unsaid(setting, f"a template decides it; give it with --given {name}=…")
        self.ask_for(name, setting, wanted)
        self.open_keys.add(setting.key)
        return None

    def timed(
        self, setting: Setting | None, read: Callable[[str], float | None], such: str, refused: str
    ) -> Timed | None:
        """Return a duration in seconds with its setting; None, and a finding, where it is open or none."""
        known = self.known(setting, such)
        if known is None:
            return None
        seconds = read(known.written)
        if seconds is None:
            self.refuse(known, refused)
        return None if seconds is None else (seconds, known)

    def unknown(self, section: Section, known: Sequence[str], library: str) -> None:
        """Say of each setting left over that the library has none of that name."""
        for setting in section.left:
            self.dead(setting, no_such_setting(setting.key, known, library))

    def within(self, document: Document, first: int, last: int) -> None:
        """Refuse the policy if a template stands alone on one of its lines: it decides which lines are there."""
        for line in document.template_lines:
            if first <= line <= last:
                setting = Setting.of(document.root.file, line, "template", "{{ … }}")
                self.refuse(setting, f"a template decides which lines are here; {RENDER}")


def no_such_setting(key: str, known: Sequence[str], library: str) -> str:
    """Return why a key does nothing, with the nearest one that is known."""
    near = get_close_matches(key[:60], known, 1, 0.75)
    return f"{library} has no such setting here" + (f"; did you mean {near[0]}?" if near else "")


def default(file: str, key: str, written: str) -> Setting:
    """Return a setting that a library has where no file gives it."""
    return Setting.of(file, 0, key, written)


def unreadable(error: ConfigurationError, file: SourceFile, kind: str) -> Policy:
    """Return the stand-in for a file that cannot be read, beside others that can."""
    problem = str(error.problems[0])
    found = re.match(r":([0-9]+)", problem.removeprefix(printable(file.name)))
    finding = Finding(file.name, int(found[1]) if found else 0, "", Mark.CANNOT_BE_SAID, "", problem)
    return Policy(file.name, kind, None, (finding,))


def each_readable(
    files: Sequence[SourceFile], kind: str, read: Callable[[SourceFile], Sequence[Any]], broken: list[Policy]
) -> Iterator[Any]:
    """Yield the items of `read` in each file; an unreadable file is put with `broken`, or raised if it is alone."""
    for file in files:
        try:
            yield from read(file)
        except ConfigurationError as error:
            if len(files) == 1:
                raise
            broken.append(unreadable(error, file, kind))
