"""Whether the run is as expected, and by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actors.formatting import counted
from simulation.reporting.expectations import ExpectationResult, in_words
from simulation.reporting.html.words import count

if TYPE_CHECKING:
    from simulation.results.result import Result


class Overall(NamedTuple):
    kind: str
    """``fine``, ``bad``, or ``off`` where nothing was expected."""

    mark: str
    word: str
    """The result in a word or two."""

    text: str
    """The result in a sentence."""


def expectation_results(result: Result) -> list[ExpectationResult]:
    """Return the result of each expectation: first the failed, then the undecided, each in the order of the file."""
    return sorted(in_words(result), key=lambda each: (False, None, True).index(each.holds))


def overall(found: list[ExpectationResult]) -> Overall:
    failing = sum(each.holds is False for each in found)
    undecided = sum(each.holds is None for each in found)
    if not found:
        return Overall(
            "off", "–", "No expectations", "The scenario expects nothing, so the run neither holds nor fails."
        )
    if undecided and not failing:
        verb = "is" if undecided == 1 else "are"
        text = f"{count(undecided)} of {counted(len(found), 'expectation')} {verb} undecided; none fails."
        return Overall("off", "–", "Undecided", text)
    if len(found) == 1:
        text = "The one expectation does not hold." if failing else "The one expectation holds."
    elif failing:
        text = f"{count(failing)} of {count(len(found))} expectations {'does' if failing == 1 else 'do'} not hold."
    else:
        text = f"All {count(len(found))} expectations hold."
    return Overall("bad", "✗", "Fails", text) if failing else Overall("fine", "✓", "Holds", text)
