"""Templates: subject and body by name and language, filled in in a sandbox.

``{name}`` stands for a variable. A template that says ``{{`` or ``{%`` is Jinja's, with all that it can do in a bounded
number of steps. Variables are the notification's metadata, beside `recipient`, `user_id`, `notification_id`, `subject`
and `message`, and those that all templates have, which the metadata cannot replace.

A team edits them as files of a directory, in UTF-8. ``welcome.txt`` is the template `welcome`, ``welcome.de.txt`` the
same in German, for notifications whose metadata has ``lang: de``; the first is for those in any other language. With
``.html`` for ``.txt`` the body is HTML. A first line ``Subject: …`` is the subject. Files whose name starts with a dot
are an editor's own, and passed by::

    Subject: Welcome to {platform}!

    Hello {name}, thank you for joining {platform}.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import msgspec

from actors.errors import TemplateError, described, shortened
from actors.kernel.async_handlers import failure
from actors.messages import SendNotification
from actors.settings.whole_file import read_whole

logger = logging.getLogger(__name__)


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """The text of one notification, in one language."""

    body: str
    subject: str | None = None
    """None: the notification's own."""

    html: bool = False
    """Whether the body is HTML; then what is filled in is escaped."""


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

    def __init__(self, templates: Mapping[str, Template] = BUILT_IN, *, variables: Mapping[str, Any] | None = None):
        """Take templates, and variables that all of them have (such as `platform`)."""
        from actors.pipeline.template_sandbox import BoundedEnvironment

        self._templates = dict(templates)
        self._variables = dict(variables or {})
        self._environments = {
            (is_jinja, html): BoundedEnvironment(
                autoescape=html,
                keep_trailing_newline=True,
                **({} if is_jinja else _SINGLE_BRACES),
            )
            for is_jinja in (False, True)
            for html in (False, True)
        }
        self._compiled: dict[tuple[str, bool], Any] = {}

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
        """Read the files of a directory as :meth:`from_directory` does, and pass by what cannot be used.

        Args:
            directory: of the files.
            variables: that all of them have.
            earlier: what was read before; in place of a file that cannot be used it has the template to go on with.

        Returns: the templates, and what is wrong, a line each: ``welcome.de.txt:3: unexpected '}'``, with the
            directory before it. Without the directory they are the earlier ones, or else the built-in ones alone.
        """
        made = cls(BUILT_IN, variables=variables)
        try:
            paths = template_files(directory)
        except OSError as error:
            if earlier is not None:
                made.take_over(earlier)
            return made, [f"{directory}: wanted a directory of templates, got {(error.strerror or str(error)).lower()}"]
        problems = []
        by_name: dict[str, list[Path]] = {}
        for path in paths:
            by_name.setdefault(path.stem, []).append(path)
        for name, alike in by_name.items():
            try:
                if len(alike) > 1:
                    others = " and ".join(path.name for path in alike)
                    raise TemplateError(f"{alike[0]}: wanted one file for template {name!r}, got {others}")
                made._add(name, alike[0])
            except TemplateError as error:
                problems.append(str(error))
                if earlier is not None and name in earlier._templates:
                    made._templates[name] = earlier._templates[name]
        return made, problems

    def _add(self, name: str, path: Path) -> None:
        """Add the template in a file."""
        try:
            content = read_whole(path, _FILE_BYTES_MAX)
            text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            raise TemplateError(f"{path}: wanted text in UTF-8") from None
        except OSError as error:
            raise TemplateError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        if len(content) > _FILE_BYTES_MAX:
            raise TemplateError(f"{path}: too long: wanted at most {_FILE_BYTES_MAX:,} bytes")
        subject, line = None, 1
        if text.startswith("Subject:"):
            first, _, text = text.partition("\n")
            subject, line = first.removeprefix("Subject:").strip(), 2
        body = text.lstrip("\n")
        line += len(text) - len(body)
        html = path.suffix == ".html"
        for part, is_html, starts_at in ((subject or "", False, 1), (body, html, line)):
            try:
                self._compile(part, is_html)
            except _Broken as broken:
                raise TemplateError(f"{path}:{starts_at + broken.line - 1}: {broken.why}") from None
        self._templates[name] = Template(subject=subject, body=body, html=html)

    def take_over(self, other: Templates) -> None:
        """Have the templates and variables of others from now on, in place of all that were here."""
        self._templates, self._variables, self._compiled = other._templates, other._variables, other._compiled

    def languages(self) -> dict[str, list[str | None]]:
        """Return the languages that there are of each template, by its name; None is the one for any other."""
        languages: dict[str, list[str | None]] = {}
        for name in sorted(self._templates):
            base, dot, language = name.rpartition(".")
            if dot and _LANGUAGE.fullmatch(language):
                languages.setdefault(base, []).append(language)
            else:
                languages.setdefault(name, []).append(None)
        return languages

    def fill_in(self, command: SendNotification) -> SendNotification:
        """Return the command with subject and message made from the template that its metadata names.

        An HTML template leaves ``html: True`` in the metadata, which tells a transport what the message is.

        Raises:
            TemplateError: there is no such template, it is broken, or a variable of it is missing. The notification
                is dead-lettered for it, and for whatever else templates of a class of one's own raise, or where they
                return anything else than this notification.
        """
        metadata = command.metadata
        name = str(metadata["template"])
        language = metadata.get("lang")
        template = self._templates.get(f"{name}.{language}") or self._templates.get(name)
        if template is None:
            name = name if len(name) <= _NAME_SHOWN else name[:_NAME_SHOWN] + "…"
            raise TemplateError(f"template {name!r} is unknown; known are {', '.join(sorted(self._templates))}")
        variables = {
            "recipient": command.recipient,
            "user_id": command.user,
            "notification_id": command.notification_id,
            "subject": command.subject,
            "message": command.message,
            **metadata,
            **self._variables,  # the operator's words, which no client may put others in place of
        }
        subject = command.subject
        if template.subject is not None:
            subject = self._render(name, template.subject, False, variables)
        body = self._render(name, template.body, template.html, variables)
        if template.html:
            return msgspec.structs.replace(command, subject=subject, message=body, metadata={**metadata, "html": True})
        return msgspec.structs.replace(command, subject=subject, message=body)

    def _render(self, name: str, text: str, html: bool, variables: Mapping[str, Any]) -> str:
        from jinja2 import TemplateError as JinjaError, UndefinedError

        from actors.pipeline.template_sandbox import TooMuch, render

        try:
            compiled = self._compiled.get((text, html)) or self._compile(text, html)
            return render(compiled, variables)
        except TooMuch as error:
            raise TemplateError(f"template {name!r}: {error}") from None
        except _Broken as broken:
            raise TemplateError(f"template {name!r}: {broken.why}") from None
        except UndefinedError as error:
            raise TemplateError(f"template {name!r}: {error.message}") from None
        except JinjaError as error:
            raise TemplateError(f"template {name!r}: {error}") from None
        except Exception as error:  # of a variable's own code, or of an expression in the template
            raise TemplateError(f"template {name!r}: {type(error).__name__}: {error}") from None

    def _compile(self, text: str, html: bool) -> Any:
        from jinja2 import TemplateSyntaxError

        is_jinja = "{{" in text or "{%" in text
        try:
            compiled = self._compiled[text, html] = self._environments[is_jinja, html].from_string(text)
        except TemplateSyntaxError as error:
            raise _Broken(error.message or "no template", error.lineno) from None
        except Exception as error:  # what the compiler's own limits end in, as for a number of 5,000 digits
            raise _Broken(f"{type(error).__name__}: {error}", 1) from None
        return compiled


class _Broken(Exception):
    """A text is no template."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why, line)
        self.why = why
        self.line = line
        """In the text, from 1."""


def template_files(directory: Path) -> list[Path]:
    """Return the files of a directory that are templates, in the order of their names.

    Raises:
        OSError: there is no such directory, or it cannot be read.
    """
    return sorted(
        path
        for path in directory.iterdir()
        if path.suffix in (".txt", ".html") and not path.name.startswith(".") and path.stem
    )


_FILE_BYTES_MAX = 2**20

_NAME_SHOWN = 100
"""Characters of the name of a template that is unknown."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
"""What a tag of a language looks like, roughly (RFC 5646): ``de``, ``pt-BR``, ``zh-Hant``."""

_SINGLE_BRACES = {
    "variable_start_string": "{",
    "variable_end_string": "}",
    # Not to be met in a text: a template that says {% is Jinja's own, and keeps Jinja's braces.
    "block_start_string": "\x00{%",
    "comment_start_string": "\x00{#",
}


def filled_in(templates: Templates, command: SendNotification) -> SendNotification:
    """Return what templates, perhaps custom ones, make of a command.

    Raises:
        TemplateError: they raise, or return anything else than this notification.
    """
    try:
        filled = templates.fill_in(command)
    except TemplateError as error:
        raise TemplateError(shortened(str(error))) from None
    except BaseException as error:
        logger.error("templates raised on notification %r", command.notification_id, exc_info=failure(error))
        raise TemplateError(f"templates raised {described(error)}") from error
    if (
        type(filled) is not SendNotification
        or filled.notification_id != command.notification_id
        or filled.channel != command.channel
    ):
        raise TemplateError(shortened(f"templates: wanted the notification with its text filled in, got {filled!r}"))
    return filled
