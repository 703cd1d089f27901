"""The trace that an event or a command belongs to, as its sender names it (W3C Trace Context).

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
from typing import Any

from actors.errors import WrongType

_TRACEPARENT = re.compile("(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_LONGEST = 200
_OF_VERSION_00 = 55


def trace_of(traceparent: Any) -> str | None:
    """Return the trace that a `traceparent` names, as far as version 00 goes; None: none, or it cannot be read (3.2.2
    and 4.3: then it counts as none).

    Raises:
        WrongType: it is no str.
    """
    if traceparent is None:
        return None
    if not isinstance(traceparent, str):
        raise WrongType(f"traceparent: wanted a str such as the header of a request, or None, got {traceparent!r:.100}")
    is_read = len(traceparent) < _LONGEST and _TRACEPARENT.fullmatch(traceparent) is not None
    is_whole = traceparent[:2] != "00" or len(traceparent) == _OF_VERSION_00
    return traceparent[:_OF_VERSION_00] if is_read and is_whole else None
