"""The failure handling of a notification service, as actors that exchange messages.

Everything a service needs is importable from here; a module is imported when a name of it is first used. These names
are public; deeper paths are private and may change with any release.
"""

from __future__ import annotations

import logging

from actors.lazy_names import lazy_names

# A library stays silent until its user sets up logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__getattr__, __all__ = lazy_names(__name__)


def __dir__() -> list[str]:
    return __all__
