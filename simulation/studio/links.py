"""A text as it can stand in an address, in the part that browsers do not send."""

from __future__ import annotations

import base64
import zlib

from actors.settings.yaml_tree import CHARACTERS_MAX
from simulation.studio.folder import Refused

BYTES_MAX = 4 * CHARACTERS_MAX


def packed(text: str) -> str:
    """Return a text in the letters, digits and marks that an address may have."""
    return base64.urlsafe_b64encode(zlib.compress(text.encode())).decode().rstrip("=")


def unpacked(code: str) -> str:
    """Return the text that was packed.

    Raises:
        Refused: it was not, or is longer than a scenario may be.
    """
    try:
        reader = zlib.decompressobj()
        text = reader.decompress(base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)), BYTES_MAX)
        if reader.eof:
            return text.decode()
    except (ValueError, zlib.error):
        pass
    raise Refused("The link is broken: its text cannot be read.")
