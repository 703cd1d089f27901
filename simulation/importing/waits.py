"""Durations as other programs write them, and waits that were worked out one by one, as the settings of retries."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from actors.formatting import duration_text
from simulation.importing.policy import duration

LONGEST_S = 36_525 * 86_400.0
"""A hundred years: no duration of a scenario is longer."""

_GO_PART = re.compile(r"(\d{1,15}(?:\.\d{0,12})?|\.\d{1,12})(ns|us|µs|μs|ms|s|m|h)")
_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def go_duration(text: str) -> float | None:
    """Return a duration in seconds as Go writes it: ``1m30s``, ``250ms``, ``0``; None for all else, as below zero."""
    text = text.removeprefix("+")
    if text == "0":
        return 0.0
    parts = list(_GO_PART.finditer(text[:100]))
    if not parts or "".join(part[0] for part in parts) != text:
        return None
    return within(round(sum(float(part[1]) * _GO_UNITS[part[2]] for part in parts), 9))


def protobuf_duration(text: str) -> float | None:
    """Return a duration as protobuf's JSON has it: ``0.25s``, ``15s``, not ``250ms`` nor ``.5s``; not below zero."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)s", text)
    return within(float(match[1])) if match else None


def grpc_go_duration(text: str) -> float | None:
    """Return a duration as grpc-go reads it: protobuf's form, where one side of the point may be empty (``.5s``)."""
    match = re.fullmatch(r"(?=\.?\d)(\d{0,12}(?:\.\d{0,9})?)s", text)
    return within(float(match[1])) if match else None


def within(seconds: float) -> float | None:
    """Return seconds that are at most a hundred years."""
    return seconds if seconds <= LONGEST_S else None


UNLIMITED = 1_000_000
"""The number of attempts from which on they are as good as without an end."""


def attempts(most: float) -> int | str:
    """Return a number of attempts as `max_attempts` has it."""
    return "unlimited" if most >= UNLIMITED else int(most)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A number drawn at random between two bounds, both included."""

    low: float
    high: float
    is_even: bool = True
    """Whether all between the bounds are equally likely."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Settings of retries, and how far they are from the waits; an empty text if they are the same."""

    retry: dict[str, Any]
    off: str = ""


class NoFormula(Exception):
    """Waits that no settings have; the text says which they are."""


def bounds_of(values: Iterable[float | Drawn]) -> tuple[list[float], list[float]]:
    """Return the least and the most that each number can be."""
    drawn = [each if isinstance(each, Drawn) else Drawn(float(each), float(each)) for each in values]
    return [each.low for each in drawn], [each.high for each in drawn]


def from_0(value: float | Drawn, per: float = 1) -> float | Drawn:
    """Return a number over another one, where nothing is below 0."""
    if isinstance(value, Drawn):
        return Drawn(max(0.0, value.low / per), max(0.0, value.high / per), value.is_even)
    return max(0.0, float(value) / per)


def fitted(waits: Sequence[float | Drawn], retries: int = 0) -> Fitted:
    """Return the settings of waits in seconds, one a retry, of which the last one repeats if there are more `retries`.

    Raises:
        NoFormula: there are no such settings.
    """
    lows, highs = bounds_of(waits)
    is_even = all(each.is_even for each in waits if isinstance(each, Drawn))
    is_cut = retries > len(highs) > 1 and highs[-1] != highs[-2]
    reasons = [f"the wait before retry {len(highs):,} repeats" if is_cut else ""]
    all_widths = [high - low for low, high in zip(lows, highs, strict=True)]
    lows, highs = _cut(lows, highs)
    if lows == highs:
        return Fitted(_steady(highs), reasons[0])
    if (capped := _capped(lows, highs)) is not None:
        return Fitted(capped, reasons[0])
    reasons.append("" if is_even else "drawn evenly between the same bounds here")
    off = "; ".join(filter(None, reasons))
    if all(low == 0 for low in lows):
        return Fitted({**_steady(highs), "jitter": "full"}, off)
    widths = [high - low for low, high in zip(lows, highs, strict=True)]
    if _same(widths):
        added = {"jitter": "additive", "jitter_max": duration(max(widths)), "cap_before_jitter": True}
        return Fitted({**_steady(lows), **added}, off)
    a_time = [width / count for count, width in enumerate(all_widths, 1)]  # which go on to grow where others repeat
    if _same(a_time):
        by_count = {"jitter": "by_count", "jitter_max": duration(a_time[0]), "cap_before_jitter": True}
        return Fitted({**_steady(_cut(lows, lows)[0]), **by_count}, off)
    middles = [(low + high) / 2 for low, high in zip(lows, highs, strict=True)]
    shares = [width / (2 * middle) if middle else 0.0 for width, middle in zip(widths, middles, strict=True)]
    if _same([share for share, middle in zip(shares, middles, strict=True) if middle]):
        spread = {"jitter": "proportional", "jitter_share": max(shares), "cap_before_jitter": True}
        return Fitted({**_steady(middles), **spread}, off)
    reaches = [
        duration_text(low) + ("" if low == high else f" to {duration_text(high)}")
        for low, high in zip(lows, highs, strict=True)
    ]
    raise NoFormula(f"waits of {', '.join(reaches[:4])} have no formula here")


def near(waits: Sequence[float | Drawn], retries: int = 0) -> Fitted:
    """Return the settings of waits; of those whose jitter grows in no way that a channel knows, of their middle."""
    try:
        return fitted(waits, retries)
    except NoFormula:
        lows, highs = bounds_of(waits)
        most = max(high - low for low, high in zip(lows, highs, strict=True)) / 2
        middle = [(low + high) / 2 for low, high in zip(lows, highs, strict=True)]
        return Fitted(fitted(middle).retry, f"the middle of what is drawn: up to {duration(most)} more or less")


def _capped(lows: Sequence[float], highs: Sequence[float]) -> dict[str, Any] | None:
    """Return the settings of exponential waits with a random part on top, both of which are cut at the longest."""
    longest, width = max(highs), highs[0] - lows[0]
    if len(lows) < 3 or not lows[0] or width <= 0 or lows[1] < lows[0] or highs[-1] != longest:
        return None
    base = lows[1] / lows[0]
    for number, (low, high) in enumerate(zip(lows, highs, strict=True)):
        grown = lows[0] * base**number
        if not _same([low, min(longest, grown)]) or not _same([high, min(longest, grown + width)]):
            return None
    found = exponential(lows[0], base, longest)
    return None if found is None else {**found, "jitter": "additive", "jitter_max": duration(width)}


def _cut(lows: Sequence[float], highs: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return waits without the repetitions of the last one, none below 0 or beyond reach."""
    found = [tuple(min(max(0.0, end), LONGEST_S) for end in pair) for pair in zip(lows, highs, strict=True)]
    while len(found) > 1 and found[-1] == found[-2]:
        found.pop()
    return [low for low, _ in found], [high for _, high in found]


def _same(values: Sequence[float]) -> bool:
    return all(math.isclose(value, values[0], rel_tol=1e-9, abs_tol=1e-12) for value in values)


def _steady(waits: Sequence[float]) -> dict[str, Any]:
    if len(waits) == 1:
        return constant(waits[0])
    return {"schedule": [duration(wait) for wait in waits]}


def constant(wait: float) -> dict[str, Any]:
    """Return the settings of a wait that stays the same, in seconds."""
    return {"backoff": "constant", "initial_delay": duration(wait), "max_delay": duration(wait)}


def exponential(initial: float, base: float, longest: float, least: float = 0.0) -> dict[str, Any] | None:
    """Return the settings of waits ``min(longest, initial · base^k)``, none below `least`; None of a base below 1."""
    longest = min(longest, LONGEST_S)
    if least >= longest or (initial >= longest and base >= 1):
        return constant(max(least, longest))
    if base < 1 or initial < 0:
        return None
    found = {"initial_delay": duration(initial), "backoff_multiplier": base, "max_delay": duration(longest)}
    return found | ({"min_delay": duration(least)} if least > 0 else {})
