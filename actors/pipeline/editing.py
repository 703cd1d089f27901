"""The edits of a dead letter before it is tried again, and their checks.

An edit cannot change the id, the channel, or the user whose preferences and limits apply: by these the sender knows
the notification.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from actors.domain.codec import encode_command
from actors.errors import EditRefused, Unstorable
from actors.frozen import FrozenDict
from actors.messages import Priority, SendNotification
from actors.settings.hints import unknown

EDITABLE = ("recipient", "subject", "message", "metadata", "expires_after", "priority")
"""The fields that may be edited: `metadata` as a whole; `expires_after` counts from the redrive on."""


def checked_edit(
    command: SendNotification,
    edit: Mapping[str, Any],
    recipient_problem: Callable[[SendNotification], str | None] | None = None,
) -> Mapping[str, Any]:
    """Return an edit of a command, frozen.

    Args:
        command: it.
        edit: new values by field.
        recipient_problem: tells why nothing could be sent to the recipient of a command. None: it always could.

    Raises:
        EditRefused: it has other fields, or values that are invalid or cannot be stored; it lists all problems.
    """
    problems = {name: problem for name, value in edit.items() if (problem := _problem(name, value)) is not None}
    if not problems:
        try:
            edited = msgspec.structs.replace(command, **edit)
            encode_command(edited)
            if "recipient" in edit and recipient_problem is not None:
                problem = recipient_problem(edited)
                problems |= {} if problem is None else {"recipient": problem}
        except Unstorable as error:
            problems["metadata" if "metadata" in edit else next(iter(edit))] = str(error)
    if problems:
        raise EditRefused(problems)
    return FrozenDict(edit)


def _problem(name: str, value: Any) -> str | None:
    match name:
        case "recipient":
            fits, what = isinstance(value, str) and bool(value.strip()), "an address"
        case "subject":
            fits, what = value is None or isinstance(value, str), "text or null"
        case "message":
            fits, what = isinstance(value, str), "text"
        case "metadata":
            fits = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
            what = "a mapping with text for keys"
        case "expires_after":
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            fits, what = value is None or (is_number and 0 <= value < math.inf), "seconds of at least 0, or null"
        case "priority":
            fits = isinstance(value, str) and value in set(Priority)
            what = f"one of {', '.join(Priority)}"
        case _:
            return unknown(name, EDITABLE, "field; it cannot be edited")
    return None if fits else f"wanted {what}, got {value!r:.100}"
