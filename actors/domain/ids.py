"""The rule for ids of notifications: one for every store, and for every way in."""

from __future__ import annotations

import re

from actors.errors import Unstorable

ID_BYTES_MAX = 2_000
"""The longest id, in bytes of UTF-8. It is a key of PostgreSQL's, whose index takes some 2,700 bytes; the id of a
fallback is a few bytes longer."""

_SHORT = ID_BYTES_MAX // 4
"""This many characters, whichever they are, never take more bytes than an id may have."""

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters and line breaks (Unicode's categories Cc, Zl and Zp). An id goes into headers, keys and lines of
the log; NUL no PostgreSQL text can have."""


def problem_of_id(text: str) -> str | None:
    """Return why a text cannot be an id, or a part of one; None: it can."""
    if not text.isprintable() and _CONTROLS.search(text) is not None:
        return "wanted an id without line breaks and other control characters"
    if len(text) > _SHORT and (size := len(text.encode(errors="replace"))) > ID_BYTES_MAX:
        return f"wanted an id of at most {ID_BYTES_MAX} bytes, got one of {size}"
    return None


def is_keepable(text: str) -> bool:
    """Tell whether every store can keep a text: PostgreSQL refuses NUL, and half a surrogate pair is no text."""
    if text.isascii():
        return "\x00" not in text
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def check_id(notification_id: str) -> None:
    """Check the id of a notification before its acceptance.

    Raises:
        Unstorable: the id is too long, or has a line break or another control character.
    """
    # First the common case of problem_of_id, with one call less: nearly every id goes this way.
    if len(notification_id) <= _SHORT and notification_id.isprintable():
        return
    problem = problem_of_id(notification_id)
    if problem is not None:
        raise Unstorable(f"notification {notification_id[:40]!r} cannot be accepted; {problem}")
