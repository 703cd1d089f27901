"""A notification's id as a header: any text, in characters that a header may hold."""

from __future__ import annotations

from urllib.parse import quote

_KEPT = "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


def header_value(text: str) -> str:
    """Return `text` with everything percent-encoded that is no visible ASCII, and the % itself: no two are the same."""
    return quote(text, safe=_KEPT, errors="surrogatepass")
