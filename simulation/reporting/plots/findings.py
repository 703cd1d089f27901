"""The findings of a plot, in the few words of its title."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from actors.formatting import counted, instant_text
from simulation.results.formatting import duration_text
from simulation.scenario.metrics import NEVER


def titled(label: str, *said: str) -> str:
    """Return a title: the subject where it has to be named, and the findings."""
    words = ", ".join(each for each in said if each)
    return f"{label}: {words}" if label else f"{words[:1].upper()}{words[1:]}"


def of_the_rates(binned: pd.DataFrame, offered_delivered: tuple[int, int] | None) -> str:
    """Return how many of the offered requests were delivered; for a table alone, how many of its own."""
    came, sent, failed = (int(binned[column].sum()) for column in ("arrivals", "sent", "failed"))
    came, sent = offered_delivered or (came, sent)
    if not came:
        return "nothing arrives"
    all_of = sent == came > 1
    said = f"all {came:,} delivered" if all_of else f"{sent:,} of {came:,} delivered"
    return f"{said}, {counted(failed, 'failed attempt')}" if failed else said


def of_a_level(highest: int, at_s: float, last: int, what: str) -> str:
    """Return how high a level was at most and when, and how high it is at the end."""
    if not highest:
        return f"never any {what}"
    at_the_end = f", {last:,} at the end" if last and last != highest else ""
    noun = what.removesuffix("s") if highest == 1 and what.endswith("letters") else what
    return f"at most {highest:,} {noun}, at {instant_text(at_s)}{at_the_end}"


def of_the_times(times_s: npt.NDArray[np.float64], *, short: bool = False) -> str:
    """Return the delivery times in words, with infinite times for requests never delivered, and the number of these."""
    if not len(times_s):
        return "nothing offered"
    never = int(np.isinf(times_s).sum())
    if never == len(times_s):
        return f"none of {never:,} delivered"
    p50, p99 = (quantile_text(times_s, share) for share in (0.5, 0.99))
    parts = [f"half within {p50}"] if p50 != NEVER else []
    parts += [f"99% {'' if short and parts else 'within '}{p99}"] if p99 != NEVER else []
    parts += [f"{never:,} of {len(times_s):,} never delivered"] if never else []
    return ", ".join(parts)


def quantile_text(times_s: npt.NDArray[np.float64], share: float) -> str:
    value = quantile(times_s, share)
    return NEVER if np.isinf(value) else duration_text(value)


def quantile(times_s: npt.NDArray[np.float64], share: float) -> float:
    """Return the quantile of a share, linear between ranks as in the summary.

    It is infinite where either of these is.
    """
    beyond, before = math.modf(share * (len(times_s) - 1))
    ordered = np.sort(times_s)
    low, high = float(ordered[int(before)]), float(ordered[min(int(before) + bool(beyond), len(ordered) - 1)])
    return low if low == high else low + beyond * (high - low)


def listed(said: Iterable[str], most: int) -> str:
    """Return some texts after each other; beyond `most`, the number of the rest."""
    known = list(said)
    rest = f" and {len(known) - most:,} more" if len(known) > most else ""
    return ", ".join(known[:most]) + rest
