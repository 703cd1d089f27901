"""The findings in the fault that mattered most, and after it; over the whole run they are hidden by the good times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from actors.formatting import instant_text
from simulation.reporting.fault_windows import Window
from simulation.reporting.plots import findings
from simulation.reporting.plots.source import Taken, arrivals_end_of, end_of

Floats = npt.NDArray[np.float64]

WORSE = 3.0
"""The ratio of median delivery times after and before a fault from which on it is still felt."""

LOST_AFTER = 0.01
"""Or when more than this share of them is never made."""


class Fault(NamedTuple):
    """The fault in which deliveries were worst."""

    window: Window
    inside_s: Floats
    """The delivery times of requests accepted in the fault."""

    after_s: Floats
    """The delivery times of requests accepted after it."""

    before_s: Floats

    @property
    def is_felt_after(self) -> bool:
        """Whether delivery times after it are worse than before it."""
        if not len(self.after_s):
            return False
        if np.isinf(self.after_s).mean() > LOST_AFTER + (np.isinf(self.before_s).mean() if len(self.before_s) else 0):
            return True
        return bool(len(self.before_s)) and _half(self.after_s) > WORSE * _half(self.before_s)


def worst_fault(part: Taken, accepted_s: Floats, times_s: Floats) -> Fault | None:
    """Return the fault of a part of a run in which half of the deliveries, else 99%, took longest.

    None: there is no fault in which anything was accepted, but for those that hold as long as anything is.
    """
    if part.run is None:
        return None
    end_s = end_of(part.run)
    arrivals_end_s = min(arrivals_end_of(part.run) or end_s, end_s)
    found: list[tuple[tuple[float, float], Fault]] = []
    for window in part.windows(end_s):
        if window.quiet or (window.spans[0][0] == 0 and window.spans[0][1] >= arrivals_end_s):
            continue
        inside = np.zeros(len(accepted_s), bool)
        for start_s, stop_s in window.spans:
            inside |= (accepted_s >= start_s) & (accepted_s < stop_s)
        if inside.any():
            before, after = accepted_s < window.spans[0][0], accepted_s >= window.spans[-1][1]
            fault = Fault(window, times_s[inside], times_s[after], times_s[before])
            rank = _half(fault.inside_s), findings.quantile(fault.inside_s, 0.99)
            found.append((rank, fault))
    if not found:
        return None
    worst = max(found, key=lambda each: each[0])[1]
    return _to_blame(worst, [fault for _, fault in found], accepted_s, times_s)


def _to_blame(worst: Fault, faults: Sequence[Fault], accepted_s: Floats, times_s: Floats) -> Fault:
    """Return the fault that caused the worst of one: another that held before it began, and in which deliveries had
    been late or lost already, is the cause."""
    from_s = worst.window.spans[0][0]
    for fault in faults:
        start_s, stop_s = fault.window.spans[0]
        alone = times_s[(accepted_s >= start_s) & (accepted_s < from_s)]
        before = times_s[accepted_s < start_s]
        if start_s < from_s < stop_s and len(alone) and len(before) and _half(alone) > WORSE * _half(before):
            return fault
    return worst


def found_in(fault: Fault, name: str) -> str:
    """Return how long deliveries took in a fault, and after it where they are not as before."""
    said = f"{name} {findings.of_the_times(fault.inside_s, short=True)}"
    if not fault.is_felt_after:
        return said
    count, never = len(fault.after_s), int(np.isinf(fault.after_s).sum())
    if not never:
        return f"{said}; after it half within {findings.quantile_text(fault.after_s, 0.5)}"
    after = f"all {count:,}" if never == count else f"{never:,} of {count:,}"
    return f"{said}; after it {after}{'' if np.isinf(fault.inside_s).any() else ' never delivered'}"


def name_of(fault: Fault, among: Sequence[Window]) -> str:
    """Return the name of a fault where windows have no letters."""
    faults = sum(not window.quiet for window in among)
    return "in the fault" if faults == 1 else f"in the fault from {instant_text(fault.window.spans[0][0])} on"


def _half(times_s: Floats) -> float:
    return findings.quantile(times_s, 0.5)
