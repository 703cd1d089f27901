"""The properties of a Spring Boot application: its files, documents, profiles, relaxed names and placeholders."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from actors.errors import ConfigurationError
from actors.settings.yaml_tree import ListNode, MappingNode, Place, ScalarNode
from simulation.importing.configuration import Setting, is_template, properties_documents, yaml_documents
from simulation.importing.source import SourceFile

Parts = tuple[str, ...]

_PART = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
_PLACEHOLDER = re.compile(r"\$\{([^${}:]+)(?::([^${}]*))?\}")
_FILTERED = re.compile(r"@([\w.-]+)@")
"""As Maven fills it in when it packs the file."""
_BARE = re.compile(r"(?<=: )(@[\w.-]+@)[ \t]*$", re.MULTILINE)


def relaxed(name: str) -> str:
    """Return a name as Spring compares them: ``max-attempts``, ``maxAttempts`` and ``max_attempts`` are one."""
    return name.replace("-", "").replace("_", "").lower()


@dataclass(frozen=True)
class Properties:
    """One document: its settings by the parts of their names, and the profiles that it is for."""

    settings: Mapping[Parts, Setting]
    when: tuple[str, ...]
    """Expressions such as ``prod & !eu``, of which one must hold; empty: always."""

    of_profile_file: bool = False
    last_line: int = 0
    template_lines: tuple[int, ...] = ()


@dataclass(frozen=True)
class Application:
    """The files of one application: files of one folder whose names differ only in the profile."""

    label: str
    documents: Sequence[Properties]

    @property
    def profiles(self) -> list[str]:
        names = {name for each in self.documents for when in each.when for name in re.findall(r"[^\s!&|(),]+", when)}
        return sorted(names - {"default"})

    def effective(self, profiles: Sequence[str]) -> Effective:
        """Return the settings that hold with these active profiles; with none, Spring's profile is ``default``."""
        active = self._with_groups(profiles) or ["default"]
        found: dict[Parts, Setting] = {}
        documents = [
            each for each in self.documents if not each.when or any(_holds(when, active) for when in each.when)
        ]
        for each in sorted(documents, key=lambda each: each.of_profile_file):
            found |= each.settings
        return Effective(found, documents)

    def active_by_files(self) -> Setting | None:
        """Return ``spring.profiles.active`` of the documents without a profile, if one of them has it."""
        return Effective(
            {
                parts: each
                for document in self.documents
                if not document.when
                for parts, each in document.settings.items()
            }
        ).find("spring.profiles.active")

    def _with_groups(self, profiles: Sequence[str]) -> list[str]:
        active = list(profiles)
        plain = Effective({parts: each for document in self.documents for parts, each in document.settings.items()})
        for name in active:  # grows meanwhile
            for key in (f"spring.profiles.group.{name}", "spring.profiles.include"):
                active += [each for each in names_of(plain.find(key)) if each not in active and len(active) < 100]
        return active


@dataclass(frozen=True)
class Effective:
    settings: Mapping[Parts, Setting]
    documents: Sequence[Properties] = ()
    _plain: dict[str, Setting] = field(default_factory=dict)

    def find(self, name: str) -> Setting | None:
        """Return a setting by its name with dots, in any spelling."""
        if not self._plain:
            self._plain.update({".".join(map(relaxed, parts)): each for parts, each in self.settings.items()})
        return self._plain.get(relaxed(name))

    def filled(self, setting: Setting, given: Mapping[str, str]) -> Filled:
        """Return a setting with its placeholders filled: by given values, other settings, and their defaults."""
        text = setting.written
        defaults: dict[str, str] = {}
        for _ in range(20):
            match = _PLACEHOLDER.search(text) or _FILTERED.search(text)
            if match is None:
                break
            name, fallback = match[1].strip(), match[2] if match.re is _PLACEHOLDER else None
            other = self.find(name)
            if name in given:
                value = given[name]
            elif other is not None and isinstance(other.node, ScalarNode) and other is not setting:
                value = other.written
            elif fallback is None:
                return Filled(setting, missing=name)
            else:
                value = defaults[name] = fallback
            text = text[: match.start()] + value + text[match.end() :]
            if len(text) > 1000:
                return Filled(setting, missing=name)
        if text == setting.written:
            return Filled(setting)
        if "${" in text or text.startswith("#{"):
            return Filled(setting, missing=text[:100])
        filled = Setting.of(setting.file, setting.line, setting.key, text)
        return Filled(replace(filled, shown=setting.written), defaults)


@dataclass(frozen=True)
class Filled:
    setting: Setting
    defaults: Mapping[str, str] = field(default_factory=dict)
    """The variables for which the default in the file stands."""

    missing: str = ""
    """A variable without a default that nothing gives."""


def names_of(setting: Setting | None) -> list[str]:
    """Return the names in a list, or in a text with commas."""
    items = [] if setting is None else setting.items
    return [name.strip() for each in items for name in each.written.split(",") if name.strip()]


def applications(files: Sequence[SourceFile], broken: dict[SourceFile, ConfigurationError]) -> list[Application]:
    """Return the applications that files are of; a file that cannot be read is put with `broken`."""
    by_folder: dict[str, dict[str, list[SourceFile]]] = {}
    for file in files:
        folder = str(PurePath(file.name).parent).removesuffix("/config")
        by_folder.setdefault(folder, {}).setdefault(PurePath(file.name).stem, []).append(file)
    found: list[Application] = []
    for folder, stems in by_folder.items():
        groups: dict[str, list[Properties]] = {}
        for stem in sorted(stems, key=len):
            base, profile = _base_of(stem, stems)
            documents = groups.setdefault(base, [])
            for file in sorted(stems[stem], key=lambda file: file.suffix == ".properties"):
                try:
                    documents += _documents(file, profile)
                except ConfigurationError as error:
                    broken[file] = error
        label = re.sub(r"/?src/main/resources$", "", folder)
        found += [
            Application("/".join(part for part in (label, base) if part not in (".", "application")), documents)
            for base, documents in groups.items()
            if documents
        ]
    return found


def _base_of(stem: str, stems: Mapping[str, object]) -> tuple[str, str]:
    """Return the name and the profile of a file; ``bootstrap`` is of the application too, and holds below it."""
    for base in ("application", "bootstrap", *sorted(stems, key=len)):
        if stem == base or stem.startswith(f"{base}-"):
            return ("application" if base == "bootstrap" else base), stem[len(base) + 1 :]
    return stem, ""


def _documents(file: SourceFile, profile: str) -> Iterator[Properties]:
    packed = replace(file, text=_BARE.sub(r"'\1'", file.text))  # no YAML before it is packed
    if file.suffix == ".properties":
        read: list[tuple[dict[Parts, Setting], int, tuple[int, ...]]]
        read = [(_gathered(each), 0, ()) for each in properties_documents(file)]
    else:
        read = [
            (dict(_flat(each.root, ())), each.last_line, tuple(each.template_lines)) for each in yaml_documents(packed)
        ]
    for settings, last_line, template_lines in read:
        plain = Effective(settings)
        when = [profile] if profile else []
        for key in ("spring.config.activate.on-profile", "spring.profiles"):
            of_document = ", ".join(names_of(plain.find(key)))
            when = (
                [f"({one}) & ({of_document.replace(',', '|')})" for one in when or ["default | !default"]]
                if of_document
                else when
            )
        if platform := plain.find("spring.config.activate.on-cloud-platform"):
            when = [f"({one}) & cloud-platform:{platform.written}" for one in when or ["default | !default"]]
        yield Properties(settings, tuple(when), bool(profile), last_line, template_lines)


def _parts(key: str) -> Parts:
    return tuple(found[1] if found[1] is not None else found[2] for found in _PART.finditer(key[:1000]))


def _flat(setting: Setting, above: Parts) -> Iterator[tuple[Parts, Setting]]:
    node = setting.node
    if not isinstance(node, MappingNode) or not node.entries:
        if above:
            yield above, setting
        return
    for key, value in node.entries.items():
        below = Setting(setting.file, node.key_places[key].line, key, value)
        if is_template(key):
            yield (*above, *_parts(key)), below
        yield from _flat(below, (*above, *_parts(key)))


def _gathered(settings: Sequence[Setting]) -> dict[Parts, Setting]:
    found: dict[Parts, Setting] = {}
    for each in settings:
        parts = _parts(each.key)
        if parts and parts[-1].isdigit() and each.key.endswith("]"):
            known = found.setdefault(parts[:-1], replace(each, node=ListNode(Place(each.file, each.line))))
            if isinstance(known.node, ListNode):
                known.node.items.append(each.node)
                continue
        found[parts] = replace(each, key=parts[-1] if parts else each.key)
    return found


def _holds(expression: str, active: Sequence[str]) -> bool:
    tokens = re.findall(r"[!&|()]|[^\s!&|()]+", expression)
    place = 0

    def unit() -> bool:
        nonlocal place
        token = tokens[place] if place < len(tokens) else ""
        place += 1
        if token == "!":
            return not unit()
        if token == "(":
            value = either()
            place += 1
            return value
        return token in active

    def both() -> bool:
        nonlocal place
        value = unit()
        while place < len(tokens) and tokens[place] == "&":
            place += 1
            value = unit() and value
        return value

    def either() -> bool:
        nonlocal place
        value = both()
        while place < len(tokens) and tokens[place] == "|":
            place += 1
            value = both() or value
        return value

    return len(tokens) < 200 and either()
