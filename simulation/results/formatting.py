"""What came of runs, in the one line that a notebook or a prompt shows of an object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from actors.formatting import counted


def line(kind: str, scenario: str, facts: Iterable[str]) -> str:
    """Return the line of an object.

    Args:
        kind: the name of its class.
        scenario: that of the scenario, or what else it is of.
        facts: what one wants to know.
    """
    return f"<{kind} of {scenario!r}: {', '.join(facts)}>"


def line_of_run(kind: str, summary: Mapping[str, Any]) -> str:
    """Return the line of a result of one run, of which only the summary is looked at: no table is made for it."""
    expectations = summary["expectations"]
    failing = sum(not expectation["holds"] for expectation in expectations)
    if not expectations:
        verdict = "no expectations"
    elif failing:
        verdict = f"{failing} of {counted(len(expectations), 'expectation')} not met"
    else:
        verdict = f"{counted(len(expectations), 'expectation')} met"
    sent = f"{summary['sent']:,} of {counted(summary['accepted'], 'notification')} sent"
    return line(kind, summary["scenario"], [f"seed {summary['seed']}", str(summary["runtime"]), sent, verdict])


def seeds_text(seeds: Sequence[int]) -> str:
    """Return seeds that follow one another: ``seed 7``, ``seeds 7 to 11``."""
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
