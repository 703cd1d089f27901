"""Scenarios on a simulated clock: run one, and look at its result.

::

    import simulation

    result = simulation.run("scenarios/provider-outage.yaml", seed=7)
    result.summary["sent_fraction"]
    result.attempts.groupby("outcome").size()

These names are the public ones; deeper paths are private and may change with any release.
"""

from __future__ import annotations

from typing import Any

from actors.lazy_names import lazy_names
from actors.optional_dependencies import needs

_get, __all__ = lazy_names(__name__)


def __getattr__(name: str) -> Any:
    with needs("lab"):
        return _get(name)


def __dir__() -> list[str]:
    return __all__
