"""Templates: subject and body by name and language, filled in in a sandbox.

``{name}`` stands for a variable. A template that says ``{{`` or ``{%`` is Jinja's, with all that it can do. Variables
are the notification's metadata, beside `recipient`, `user_id`, `notification_id`, `subject` and `message`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from actors.errors import TemplateError
from actors.messages import SendNotification


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
        from jinja2 import StrictUndefined
        from jinja2.sandbox import SandboxedEnvironment

        self._templates = dict(templates)
        self._variables = dict(variables or {})
        self._environments = {
            (is_jinja, html): SandboxedEnvironment(
                undefined=StrictUndefined,
                autoescape=html,
                keep_trailing_newline=True,
                **({} if is_jinja else _SINGLE_BRACES),
            )
            for is_jinja in (False, True)
            for html in (False, True)
        }
        self._compiled: dict[tuple[str, bool], Any] = {}

    @classmethod
    def from_directory(cls, directory: Path, *, variables: Mapping[str, Any] | None = None) -> Templates:
        """Read ``name.txt``, ``name.html``, ``name.lang.txt`` …; a first line ``Subject: …`` gives the subject.

        Raises:
            TemplateError: there is no such directory, a file is not UTF-8 or no template, or two give the same name.
        """
        if not directory.is_dir():
            raise TemplateError(f"{directory}: wanted a directory of templates")
        templates = dict(BUILT_IN)
        found: dict[str, Path] = {}
        for path in sorted((*directory.glob("*.txt"), *directory.glob("*.html"))):
            if path.stem in found:
                raise TemplateError(f"template {path.stem!r} is in both {found[path.stem].name} and {path.name}")
            found[path.stem] = path
            try:
                text = path.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError:
                raise TemplateError(f"{path}: wanted text in UTF-8") from None
            subject = None
            if text.startswith("Subject:"):
                first, _, text = text.partition("\n")
                subject = first.removeprefix("Subject:").strip()
            templates[path.stem] = Template(subject=subject, body=text.lstrip("\n"), html=path.suffix == ".html")
        made = cls(templates, variables=variables)
        for name, template in templates.items():
            made._compile(name, template.body, template.html)
            made._compile(name, template.subject or "", False)
        return made

    def fill_in(self, command: SendNotification) -> SendNotification:
        """Return the command with subject and message made from the template that its metadata names.

        An HTML template leaves ``html: True`` in the metadata, which tells a transport what the message is.

        Raises:
            TemplateError: there is no such template, it is broken, or a variable of it is missing.
        """
        metadata = command.metadata
        name = str(metadata["template"])
        language = metadata.get("lang")
        template = self._templates.get(f"{name}.{language}") or self._templates.get(name)
        if template is None:
            raise TemplateError(f"template {name!r} is unknown; known are {', '.join(sorted(self._templates))}")
        variables = {
            "recipient": command.recipient,
            "user_id": command.user,
            "notification_id": command.notification_id,
            "subject": command.subject,
            "message": command.message,
            **self._variables,
            **metadata,
        }
        subject = command.subject
        if template.subject is not None:
            subject = self._render(name, template.subject, False, variables)
        body = self._render(name, template.body, template.html, variables)
        if template.html:
            return msgspec.structs.replace(command, subject=subject, message=body, metadata={**metadata, "html": True})
        return msgspec.structs.replace(command, subject=subject, message=body)

    def _render(self, name: str, text: str, html: bool, variables: Mapping[str, Any]) -> str:
        from jinja2 import TemplateError as JinjaError
        from jinja2 import UndefinedError

        compiled = self._compiled.get((text, html)) or self._compile(name, text, html)
        try:
            return str(compiled.render(variables))
        except UndefinedError as error:
            raise TemplateError(f"template {name!r}: {error.message}") from None
        except JinjaError as error:
            raise TemplateError(f"template {name!r}: {error}") from None
        except Exception as error:  # of a variable's own code, or of an expression in the template
            raise TemplateError(f"template {name!r}: {type(error).__name__}: {error}") from None

    def _compile(self, name: str, text: str, html: bool) -> Any:
        from jinja2 import TemplateError as JinjaError

        is_jinja = "{{" in text or "{%" in text
        try:
            compiled = self._compiled[text, html] = self._environments[is_jinja, html].from_string(text)
        except JinjaError as error:
            raise TemplateError(f"template {name!r}: {error}") from None
        return compiled


_SINGLE_BRACES = {
    "variable_start_string": "{",
    "variable_end_string": "}",
    # Not to be met in a text: a template that says {% is Jinja's own, and keeps Jinja's braces.
    "block_start_string": "\x00{%",
    "comment_start_string": "\x00{#",
}
