r"""Half of a surrogate pair, such as ``\ud800`` alone: JSON can write it with an escape, and it is no text.

msgspec says of it that the data was truncated, or names a byte; Python's own reader takes it, and only the answer, or
the store, cannot be written.
"""

from __future__ import annotations

import json
from typing import Any

NO_TEXT = "half a surrogate pair is no text"


def has_half_a_character(content: Any) -> bool:
    """Return whether half of a surrogate pair is anywhere in what JSON says, keys included."""
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def is_why_it_cannot_be_read(body: bytes) -> bool:
    """Return whether JSON that msgspec does not read is that otherwise, but for half of a surrogate pair."""
    try:
        return has_half_a_character(json.loads(body))
    except (ValueError, RecursionError):
        return False
