"""The limits that a scenario must withstand, as its `limits` state them: ``email.outage: ">= 2m"``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from actors.settings.quantities import Wanted, parse_duration, parse_share


def _factor(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) and float(text) >= 1 else None


def _count(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,6}", text) else None


_FORMS: Mapping[str, tuple[str, Callable[[str], float | None]]] = {
    "outage": ("a duration such as >= 2m", parse_duration),
    "latency": ("a factor of at least 1 such as >= 2.5", _factor),
    "failure_rate": ("a share such as >= 10%", parse_share),
    "load": ("a factor of at least 1 such as >= 1.5", _factor),
    "capacity": ("how much of it may be gone, such as >= 3", _count),
    "nodes": ("how many may be lost, such as >= 1", _count),
}
KINDS = tuple(_FORMS)
"""The kinds of limits that a scenario can have, such as `outage`."""

ALL = "all"
"""In place of a channel: the limit is of all channels together."""


class WantedLimit(NamedTuple):
    """The least outage, load or loss that a scenario must withstand."""

    on: str
    """A channel, or `ALL`."""

    kind: str
    amount: float
    """A duration in seconds, a factor, a share from 0 to 1, or how many are lost."""

    text: str
    """As it was written: ``email.outage >= 2m``."""


def problem_of(name: str, bound: str, channels: tuple[str, ...]) -> str | None:
    """Return the wanted form of a limit that is wrong, with the existing channels; None: it can be used."""
    on, _, kind = name.rpartition(".")
    if kind not in KINDS or on not in (ALL, *channels):
        there = ", ".join((*channels, ALL))
        return f"a place ({there}) and a kind ({', '.join(KINDS)}) such as {channels[0]}.outage"
    what, read = _FORMS[kind]
    is_read = bound.strip().startswith(">=") and read(bound.strip().removeprefix(">=").strip()) is not None
    return None if is_read else what


def wanted_limits(limits: Mapping[str, str]) -> tuple[WantedLimit, ...]:
    """Return the limits that can be used."""
    found = []
    for name, bound in limits.items():
        on, _, kind = name.rpartition(".")
        amount = _FORMS[kind][1](bound.removeprefix(">=").strip())
        assert amount is not None
        found.append(WantedLimit(on, kind, amount, f"{name} {bound}"))
    return tuple(found)


def _at_least(value: Any, _unit_required: bool) -> str | None:
    return f">= {value.strip().removeprefix('>=').strip()}" if isinstance(value, str) else None


LimitBound = Annotated[
    str, Wanted("at least how much, such as '>= 2m'", _at_least, {"type": "string", "pattern": r"^\s*>=\s*\S"})
]
"""At least how much."""
