"""Templates: subject and body by name and language.

``{name}`` stands for a variable. A template that says ``{{`` or ``{%`` is Jinja's, and may say as much of it as
:mod:`actors.pipeline.template_language` allows. Variables are the notification's metadata, beside `recipient`,
`user_id`, `notification_id`, `subject` and `message`, and those that all templates have, which the metadata cannot
replace.

A team edits templates as files of a directory, in UTF-8. ``welcome.txt`` is the template `welcome`, ``welcome.de.txt``
its German version, for notifications whose metadata has ``lang: de``; the first serves every other language. With
``.html`` for ``.txt`` the body is HTML. A first line ``Subject: …`` is the subject. Files whose name starts with a dot
are an editor's own, and ignored::

    Subject: Welcome to {platform}!

    Hello {name}, thank you for joining {platform}.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import msgspec

from actors.errors import TemplateError, TemplateRefused
from actors.messages import SendNotification
from actors.settings.whole_file import read_whole

logger = logging.getLogger(__name__)

SUFFIXES = (".txt", ".html")
"""The endings of the names of template files."""


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """The text of one notification, in one language."""

    body: str
    subject: str | None = None
    """None: the notification's own."""

    html: bool = False
    """Whether the body is HTML; then values are escaped."""


BUILT_IN: Mapping[str, Template] = {
    "welcome": Template(
        subject="Welcome to {platform}!",
        body="Hello {name}, thank you for joining {platform}.",
    ),
    "order_confirm": Template(
        subject="Order #{order_id} Confirmed",
        body="Hello {name}, your order #{order_id} is confirmed.",
    ),
}


class Templates:
    """Templates by name; ``name.lang`` is the one in that language, `name` alone the one in any other."""

    # The defaults for a user's subclass that does not set them.
    _ready: Mapping[str, _Ready] = MappingProxyType({})
    _refused: Mapping[str, str] = MappingProxyType({})
    """By name of a template that cannot be used, the problem."""

    def __init__(self, templates: Mapping[str, Template] = BUILT_IN, *, variables: Mapping[str, Any] | None = None):
        """Take templates, and variables that all of them have (such as `platform`).

        A template that cannot be used is logged with its problems; notifications that name it wait for a better one.
        """
        self._variables = dict(variables or {})
        ready, refused = {}, {}
        for name, template in templates.items():
            try:
                ready[name] = _ready(f"template {name!r}: line ", template)
            except TemplateRefused as error:
                refused[name] = str(error)
                logger.error("%s", error)
        self._ready, self._refused = ready, refused

    @classmethod
    def from_directory(cls, directory: Path, *, variables: Mapping[str, Any] | None = None) -> Self:
        """Read the files of a directory, beside the built-in templates.

        Raises:
            TemplateError: there is no such directory, a file is not UTF-8 or no template, or two give the same name;
                all problems, a line each.
        """
        templates, problems = cls.read(directory, variables=variables)
        if problems:
            raise TemplateError("\n".join(problems))
        return templates

    @classmethod
    def read(
        cls, directory: Path, *, variables: Mapping[str, Any] | None = None, earlier: Self | None = None
    ) -> tuple[Self, list[str]]:
        """Read the files of a directory as :meth:`from_directory` does, but skip files that cannot be used.

        Args:
            directory: the directory of the files.
            variables: the variables that all templates have.
            earlier: the templates read before; a file that cannot be used leaves the earlier one in place.

        Returns: the templates, and the problems, a line each: ``welcome.de.txt:3: unexpected '}'``, with the directory
            in front. If the directory cannot be read, the templates are the earlier ones, or else the built-in ones.
        """
        made = cls(BUILT_IN, variables=variables)
        try:
            paths = template_files(directory)
        except OSError as error:
            if earlier is not None:
                made.take_over(earlier)
            return made, [f"{directory}: wanted a directory of templates, got {(error.strerror or str(error)).lower()}"]
        problems, ready, refused = [], dict(made._ready), {}
        former = {} if earlier is None else earlier._ready
        by_name: dict[str, list[Path]] = {}
        for path in paths:
            by_name.setdefault(path.stem, []).append(path)
        for name, alike in by_name.items():
            try:
                if len(alike) > 1:
                    others = " and ".join(path.name for path in alike)
                    raise TemplateRefused(f"{alike[0]}: wanted one file for template {name!r}, got {others}")
                ready[name] = _read(alike[0], directory)
            except TemplateRefused as error:
                problems += str(error).splitlines()
                if name in former:
                    ready[name] = former[name]
                elif _base(name) not in former:
                    refused[name] = str(error)
        made._ready, made._refused = ready, refused
        return made, problems

    def take_over(self, other: Templates) -> None:
        """Have the templates and variables of others from now on, in place of all that were here."""
        self._ready, self._refused, self._variables = other._ready, other._refused, other._variables

    def languages(self) -> dict[str, list[str | None]]:
        """Return the languages that there are of each template, by its name; None is the one for any other."""
        languages: dict[str, list[str | None]] = {}
        for name in sorted(self._ready):
            base = _base(name)
            languages.setdefault(base, []).append(None if base == name else name[len(base) + 1 :])
        return languages

    def check(self, command: SendNotification) -> None:
        """Check that the template that the metadata of a command names is none that cannot be used.

        Raises:
            TemplateRefused: it is.
        """
        for name in self._names(command):
            if name in self._refused:
                raise TemplateRefused(self._refused[name])
            if name in self._ready:
                return

    def fill_in(self, command: SendNotification) -> SendNotification:
        """Return the command with subject and message made from the template that its metadata names.

        An HTML template leaves ``html: True`` in the metadata, which tells a transport what the message is.

        Raises:
            TemplateRefused: the template cannot be used. The notification waits for another one.
            TemplateError: there is no such template, a variable of it is missing or does not fit, or it takes too much
                work. The notification is dead-lettered then, and also if templates of a user's class raise any other
                error, or return anything but this notification.
        """
        from actors.pipeline.template_language import RenderBudget

        self.check(command)
        metadata = command.metadata
        exact, name = self._names(command)
        ready = self._ready.get(exact) or self._ready.get(name)
        if ready is None:
            name = name if len(name) <= _NAME_SHOWN else name[:_NAME_SHOWN] + "…"
            raise TemplateError(f"template {name!r} is unknown; known are {', '.join(sorted(self._ready))}")
        variables = {
            "recipient": command.recipient,
            "user_id": command.user,
            "notification_id": command.notification_id,
            "subject": command.subject,
            "message": command.message,
            **metadata,
            **self._variables,  # the operator's words, which no client may put others in place of
        }
        budget = RenderBudget()
        subject = command.subject
        if ready.subject is not None:
            subject = _filled(name, ready.subject, variables, budget)
        body = _filled(name, ready.body, variables, budget)
        if ready.html:
            return msgspec.structs.replace(command, subject=subject, message=body, metadata={**metadata, "html": True})
        return msgspec.structs.replace(command, subject=subject, message=body)

    def _names(self, command: SendNotification) -> tuple[str, str]:
        name = str(command.metadata["template"])
        return f"{name}.{command.metadata.get('lang')}", name


class _Ready(msgspec.Struct, frozen=True):
    subject: Any
    body: Any
    html: bool


def _ready(place: str, template: Template, body_line: int = 1) -> _Ready:
    """Return a template that can be filled in.

    Raises:
        TemplateRefused: names its problems, a line each.
    """
    from actors.pipeline.template_language import read

    subject, wrong = (None, ()) if template.subject is None else read(template.subject, False)
    body, wrong_in_body = read(template.body, template.html)
    problems = [*wrong, *((line + body_line - 1, why) for line, why in wrong_in_body)]
    if problems:
        raise TemplateRefused("\n".join(f"{place}{line}: {why}" for line, why in problems))
    return _Ready(subject, body, template.html)


def _filled(name: str, compiled: Any, variables: Mapping[str, Any], budget: Any) -> str:
    from jinja2 import TemplateError as JinjaError

    from actors.pipeline.template_language import Unfit, fill_in

    try:
        return fill_in(compiled, variables, budget)
    except (Unfit, JinjaError) as error:
        raise TemplateError(f"template {name!r}: {error}") from None
    except Exception as error:  # of a variable's own code, or of an expression in the template
        raise TemplateError(f"template {name!r}: {type(error).__name__}: {error}") from None


def _base(name: str) -> str:
    base, dot, language = name.rpartition(".")
    return base if dot and _LANGUAGE.fullmatch(language) else name


def _read(path: Path, directory: Path) -> _Ready:
    """Return the template in a file of a directory.

    Raises:
        TemplateRefused: the file cannot be read; or names its problems, a line each.
    """
    try:
        target = path.resolve()
        if not target.is_relative_to(directory.resolve()):
            raise TemplateRefused(f"{path}: wanted a file in its directory, got a link to {target}")
        content = read_whole(target, _FILE_BYTES_MAX)
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise TemplateRefused(f"{path}: wanted text in UTF-8") from None
    except (OSError, RuntimeError) as error:  # the latter of links in a circle
        raise TemplateRefused(f"{path}: {(getattr(error, 'strerror', None) or str(error)).lower()}") from None
    if len(content) > _FILE_BYTES_MAX:
        raise TemplateRefused(f"{path}: too long: wanted at most {_FILE_BYTES_MAX:,} bytes")
    subject, line = None, 1
    if text.startswith("Subject:"):
        first, _, text = text.partition("\n")
        subject, line = first.removeprefix("Subject:").strip(), 2
    body = text.lstrip("\n")
    line += len(text) - len(body)
    return _ready(f"{path}:", Template(subject=subject, body=body, html=path.suffix == ".html"), line)


def template_files(directory: Path) -> list[Path]:
    """Return the files of a directory that are templates, in the order of their names.

    Raises:
        OSError: there is no such directory, or it cannot be read.
    """
    return sorted(
        path for path in directory.iterdir() if path.suffix in SUFFIXES and not path.name.startswith(".") and path.stem
    )


def problems_in(path: Path) -> list[str]:
    """Return the problems of the file of a template, or of the files of a directory, a line each.

    Raises:
        TemplateError: there is none.
    """
    if path.is_dir():
        if not template_files(path):
            raise TemplateError(f"{path}: wanted templates, files that end in .txt or .html, got none")
        return Templates.read(path)[1]
    if not path.exists():
        raise TemplateError(f"{path}: no such file or directory")
    try:
        _read(path, path.parent)
    except TemplateRefused as error:
        return str(error).splitlines()
    return []


_FILE_BYTES_MAX = 2**20

_NAME_SHOWN = 100
"""Characters of the name of a template that is unknown."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
"""The form of a tag of a language, roughly (RFC 5646): ``de``, ``pt-BR``, ``zh-Hant``."""
