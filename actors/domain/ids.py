"""The rule for ids of notifications: one for every store, and for every way in."""

from __future__ import annotations

import re

from actors.errors import Unstorable

ID_BYTES_MAX = 2_000
"""The longest id, in bytes of UTF-8. It is a key of PostgreSQL's, whose index takes some 2,700; what is sent instead on
another channel has a few more."""

_SHORT = ID_BYTES_MAX // 4
"""Characters that take no more bytes than an id may have, whatever they are."""

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters and line breaks (Unicode's categories Cc, Zl and Zp). An id goes into headers, keys and lines of
the log; NUL no PostgreSQL text can have."""


def problem_of_id(text: str) -> str | None:
    """Return what keeps a text from being an id, or from being a part of one; None: nothing."""
    if not text.isprintable() and _CONTROLS.search(text) is not None:
        return "wanted an id without line breaks and other control characters"
    if len(text) > _SHORT and (size := len(text.encode(errors="replace"))) > ID_BYTES_MAX:
        return f"wanted an id of at most {ID_BYTES_MAX} bytes, got one of {size}"
    return None


def is_keepable(text: str) -> bool:
    """Tell whether every store can keep a text: NUL no PostgreSQL text can have, and half a surrogate pair is none."""
    if text.isascii():
        return "\x00" not in text
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def check_id(notification_id: str) -> None:
    """Check the id of a notification that is to be accepted.

    Raises:
        Unstorable: it cannot be one.
    """
    # First what problem_of_id would come to, with one call less: the way of nearly every id.
    if len(notification_id) <= _SHORT and notification_id.isprintable():
        return
    problem = problem_of_id(notification_id)
    if problem is not None:
        raise Unstorable(f"notification {notification_id[:40]!r} cannot be accepted; {problem}")
