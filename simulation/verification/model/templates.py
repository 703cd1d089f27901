"""Templates by name: what is in braces is filled in from the metadata (section 6). What Jinja makes of one is given."""

from __future__ import annotations

import html
import re

import msgspec

from actors.errors import TemplateError
from actors.messages import SendNotification
from simulation.verification.model.world import World

_VARIABLE = re.compile(r"\{ *(\w+) *\}")


class Missing(Exception):
    """A template is unknown, or "a missing variable is a permanent failure that names it"."""


def filled_in(command: SendNotification, world: World) -> SendNotification:
    """Return a command with subject and message made from the template that its metadata names, if it names one."""
    metadata = command.metadata
    if "template" not in metadata:
        return command
    name, templates = str(metadata["template"]), world.templates
    template = templates.get(f"{name}.{metadata.get('lang')}") or templates.get(name)
    if template is None:
        raise Missing(f"template {name!r} is unknown; known are {', '.join(sorted(templates))}")
    if any(mark in f"{template.subject} {template.body}" for mark in ("{{", "{%")):
        try:
            return world.fill_in(command)
        except TemplateError as error:
            raise Missing(str(error)) from None
    variables = {
        "recipient": command.recipient,
        "user_id": command.user,
        "notification_id": command.notification_id,
        "subject": command.subject,
        "message": command.message,
        **metadata,
        "platform": world.platform,
    }

    def fill(text: str, is_html: bool) -> str:
        def value(match: re.Match[str]) -> str:
            if match[1] not in variables:
                raise Missing(f"template {name!r}: {match[1]!r} is undefined")
            found = str(variables[match[1]])
            return html.escape(found) if is_html else found

        return _VARIABLE.sub(value, text)

    subject = command.subject if template.subject is None else fill(template.subject, False)
    more = {"metadata": {**metadata, "html": True}} if template.html else {}
    return msgspec.structs.replace(command, subject=subject, message=fill(template.body, template.html), **more)
