"""Writes a scenario's settings back into the file that they were imported from, as literals in lines with an exact
meaning.

Nothing here knows a library: a literal is replaced, the file is read again, and the change is kept only if the policy
then equals the scenario's and every other policy is unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import unified_diff
from pathlib import Path
from typing import Any, TypeGuard

from actors.errors import ConfigurationError
from actors.settings.channel import NotifierConfig
from actors.settings.file import settings_of_tree
from simulation.importing.channels import channel_names, root_of
from simulation.importing.policy import Finding, Mark, Policy
from simulation.importing.source import Given, Kind, SourceFile, read_source
from simulation.scenario.loading import load_channels

_NUMBER = r"[0-9][0-9_]*(?:\.[0-9]+)?"
_BETWEEN = r"""['"]?\s*(?:=>|[:=(])?\s*['"]?(?:PT)?"""
_TEXT = re.compile(rf"""(?P<key>[\w.@:-]*\w){_BETWEEN}(?P<number>{_NUMBER})\s*[a-zA-Z]*['")]?""")
"""A finding whose value is one number: ``attempts: 5``, ``retry_backoff=30``, ``"maxAttempts": 4``, ``5s``."""


@dataclass(frozen=True, slots=True)
class Exported:
    path: Path
    before: str
    after: str

    @property
    def diff(self) -> str:
        name = str(self.path)
        before, after = self.before.splitlines(keepends=True), self.after.splitlines(keepends=True)
        return "".join(unified_diff(before, after, name, name))

    def write(self) -> None:
        """Replace the file's text, its line ends as they are."""
        with self.path.open("w", encoding="utf-8", newline="") as stream:
            stream.write(self.after)


def export(scenario: Path, kind: Kind, into: Path, given: Given) -> Exported:
    """Return a file of a library with the settings that a scenario's channels of the same names have.

    Raises:
        ConfigurationError: a setting stands in several places, is computed or stands elsewhere, or the file cannot say
            it; no channel is of a policy of the file; a file cannot be read.
    """
    loaded, _ = load_channels(scenario)
    wanted = {each.value: each for each in loaded.channels_used}
    text = read_source(into).text
    raw = into.read_bytes().decode()
    state = _State(kind, given, SourceFile(str(into), text))
    names = [name for name in state.channels if name in wanted]
    if not names:
        known = ", ".join(state.channels) or "none"
        raise ConfigurationError(
            [f"{scenario}: wanted a channel of a policy in {into}: {known}; got {', '.join(wanted)}"]
        )
    for name in names:
        leaves = dict(_leaves(loaded.channels.of(wanted[name]).model_dump()))
        own = {path: leaves.get(path) for path in state.channels[name] | leaves}
        state = _changed(state, name, own)
    lines, own_lines = raw.split("\n"), state.file.text.split("\n")
    if len(lines) != len(own_lines):
        raise ConfigurationError([f"{into}: wanted lines that end in a line feed"])
    ends = ["\r" if each.endswith("\r") else "" for each in lines]
    mark = "\ufeff" if raw.startswith("\ufeff") else ""
    return Exported(into, raw, mark + "\n".join(each + end for each, end in zip(own_lines, ends, strict=True)))


class _State:
    def __init__(self, kind: Kind, given: Given, file: SourceFile) -> None:
        self.kind = kind
        self.given = given
        self.file = file
        self.policies = list(kind.read([file], replace(given, others=())))
        names = channel_names(self.policies)
        found = {
            each.value: config
            for each, config in settings_of_tree(NotifierConfig, root_of(self.policies)).channels.items()
        }
        self.channels = {name: dict(_leaves(found[name].model_dump())) for name in names if name in found}
        self.by_name: dict[str, Policy] = dict(zip(names, self.policies, strict=True))

    def with_line(self, number: int, line: str) -> _State:
        lines = self.file.text.split("\n")
        lines[number - 1] = line
        return _State(self.kind, self.given, SourceFile(self.file.name, "\n".join(lines)))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            if path or key not in ("provider", "failover"):
                yield from _leaves(each, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _changed(state: _State, name: str, wanted: Mapping[str, Any]) -> _State:
    done: set[str] = set()
    while different := [path for path, value in wanted.items() if state.channels[name].get(path) != value]:
        said = {finding.path for finding in state.by_name[name].findings} - done
        path = next((each for each in different if each in said), None)
        if path is None:
            path = different[0]
            got = f"no line of {state.file.name} gives it, which means {state.channels[name].get(path)!r}"
            raise ConfigurationError([f"channels.{name}.{path}: wanted {wanted[path]!r}: {got}"])
        state = _with_setting(state, name, path, wanted[path])
        done.add(path)
    return state


def _with_setting(state: _State, name: str, path: str, wanted: Any) -> _State:
    policy, old, file = state.by_name[name], state.channels[name].get(path), state.file
    place = f"channels.{name}.{path}"
    finding = _finding(policy, path, place, file)
    line = file.text.split("\n")[finding.line - 1]
    match = _TEXT.fullmatch(finding.text)
    if match is None:
        raise ConfigurationError([f"{place}: {file.name}:{finding.line}: wanted one number to replace: {finding.text}"])
    number = float(match["number"].replace("_", ""))
    key = re.escape(match["key"])
    found = [
        each
        for each in re.finditer(rf"(?<!\w){key}{_BETWEEN}(?P<number>{_NUMBER})", line)
        if float(each["number"].replace("_", "")) == number
    ]
    if len(found) != 1:
        raise ConfigurationError([f"{place}: {file.name}:{finding.line}: wanted {finding.text} once in that line"])
    if not _is_number(old) or not _is_number(wanted):
        raise ConfigurationError([f"{place}: {file.name}:{finding.line}: wanted a number, got {wanted!r}"])
    others: set[str] = set()
    for literal in _literals(found[0]["number"], number, old, wanted):
        start, end = found[0].span("number")
        tried = state.with_line(finding.line, line[:start] + literal + line[end:])
        if tried.channels.get(name, {}).get(path) != wanted:
            continue
        changed = {each for each in state.channels if each != name and tried.channels.get(each) != state.channels[each]}
        if not changed and tried.channels.keys() == state.channels.keys():
            return tried
        others |= changed
    if others:
        also = ", ".join(sorted(others))
        raise ConfigurationError([f"{place}: {file.name}:{finding.line}: {finding.text} is of {also} too"])
    raise ConfigurationError([f"{place}: {file.name}:{finding.line}: {finding.text} cannot be made {wanted!r}"])


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _finding(policy: Policy, path: str, place: str, file: SourceFile) -> Finding:
    found = [each for each in policy.findings if each.path == path]
    exact = [each for each in found if each.mark == Mark.EXACT and each.line]
    elsewhere = [each for each in found if each.file != file.name]
    if elsewhere:
        raise ConfigurationError([f"{place}: stands elsewhere: {elsewhere[0].file}:{elsewhere[0].line}"])
    if not exact:
        words = found[0].text + (f" is {found[0].mark.value}: {found[0].reason}" if found[0].reason else "")
        where = f"{file.name}:{found[0].line}" if found[0].line else "the library's default"
        raise ConfigurationError([f"{place}: {where}: {words}"])
    if len(found) > 1:
        lines = ", ".join(str(each.line) for each in found)
        raise ConfigurationError([f"{place}: named in several places of {file.name}: lines {lines}"])
    return exact[0]


def _literals(written: str, number: float, old: float, wanted: float) -> Iterator[str]:
    """Yield candidates for the literal: changed by the same difference as the setting, or by the same ratio."""
    tried = [number + wanted - old] + ([number * wanted / old] if old else [])
    for value in tried if float(wanted).is_integer() and number + wanted - old > 0 else reversed(tried):
        value = round(value, 9)
        if value < 0:
            continue
        whole = value.is_integer()
        literal = f"{int(value):_}" if whole and "_" in written else f"{int(value)}" if whole else f"{value:g}"
        yield f"{literal}.0" if whole and "." in written else literal
