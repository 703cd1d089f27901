"""The events of a run under a schedule, in order, with its deviations from the usual order marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.instants import NS_PER_S
from actors.kernel.actor import Actor
from actors.messages import NotificationEvent, RecordedEvent
from simulation.engine.schedules import Deviations
from simulation.scenario import Scenario
from simulation.verification.laws.text import what_happened

if TYPE_CHECKING:
    from simulation.engine.schedules import Ready

LINES_MAX = 24


@dataclass(frozen=True, slots=True)
class _Deviated:
    at_ns: int
    step: int
    chosen: str
    others: tuple[str, ...]


class _Telling(Deviations):
    def __init__(self, deviations: Sequence[tuple[int, int]], tell: Callable[[_Deviated], None]) -> None:
        super().__init__(deviations)
        self._tell = tell

    def choose(self, ready: Ready) -> int:
        choice = super().choose(ready)
        if choice:
            names = [type(each).__name__ for each in ready]
            oldest = ready[0]
            assert isinstance(oldest, Actor)  # the clock stands last
            self._tell(_Deviated(oldest.now_ns, len(self.widths), names[choice], tuple(names[:choice])))
        return choice


def interleaving(scenario: Scenario) -> list[str]:
    """Return the lines of what happens in a scenario with a schedule of deviations, up to where it breaks.

    Lines of deviations begin with ``>``: which actor took its message, and which ones were there before it. What lies
    far from any of them is left out.
    """
    from simulation.running.runner import run

    if scenario.schedule is None or not scenario.schedule.deviations:
        return []
    happened: list[Any] = []

    def hear(event: RecordedEvent) -> None:
        happened.append(event)

    try:
        schedule = _Telling(scenario.schedule.deviations, happened.append)
        run(scenario, schedule=schedule, invariants=["all", hear])
    except Exception:
        return _lines(happened)  # what it breaks is reported elsewhere
    return _lines(happened)


def _lines(happened: list[Any]) -> list[str]:
    marked = [index for index, each in enumerate(happened) if type(each) is _Deviated]
    around = max(1, LINES_MAX // (2 * max(1, len(marked)))) - 1
    near = {index for mark in marked for index in range(mark - around, mark + around + 1)}
    near |= set(range(len(happened) - 3, len(happened)))
    lines: list[str] = []
    left_out = False
    for index, each in enumerate(happened):
        if index not in near:
            left_out = True
            continue
        if left_out:
            lines.append("  …")
            left_out = False
        lines.append(_line(each))
    return lines


def _line(each: Any) -> str:
    at = f"{each.at_ns / NS_PER_S:12.6f} s"
    if type(each) is _Deviated:
        return f"> {at}  {each.chosen} goes before {' and '.join(each.others)} (decision {each.step})"
    subject = f"{each.notification_id} " if isinstance(each, NotificationEvent) else ""
    return f"  {at}  {subject}{what_happened(each)}"
