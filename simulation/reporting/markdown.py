"""The results of runs as Markdown, for the summary of a job or a comment: which scenarios fail, and by how much."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from actors.formatting import counted
from simulation.reporting.expectations import ExpectationResult, in_words
from simulation.reporting.facts import defaults_at_work, facts
from simulation.sheets import Code, Column, Row, Sheet, Word, markdown as table, markdown_text

if TYPE_CHECKING:
    from simulation.results.result import Result

DIGEST = 16
"""The characters of a digest that are shown, enough to tell it from any other."""


class RunFacts(NamedTuple):
    """The facts of a run that the text shows; nothing else of its result is kept."""

    scenario: str
    seed: int
    digest: str
    expectations: list[ExpectationResult]
    said: list[str]
    """Sentences about the requests that went wrong."""
    again: str
    """The command that runs it again."""
    defaults: Sequence[str] = ()
    """The effects of defaults that the file does not name; `said` has them too."""

    @classmethod
    def of(cls, result: Result, again: str) -> RunFacts:
        summary = result.summary
        said, defaults = facts(result), defaults_at_work(summary)
        return cls(summary["scenario"], summary["seed"], summary["digest"], in_words(result), said, again, defaults)

    @property
    def failing(self) -> list[ExpectationResult]:
        return [each for each in self.expectations if each.holds is False]

    @property
    def undecided(self) -> int:
        return sum(each.holds is None for each in self.expectations)


def markdown(runs: Sequence[RunFacts], problems: Sequence[str], of: int) -> str:
    """Return the results of runs as Markdown of GitHub's kind.

    Args:
        runs: the runs that have ended.
        problems: the problems of the files, or why no more runs have ended.
        of: how many files there are.
    """
    lines = [f"### retrylab: {_headline(runs, problems, of)}", ""]
    if runs:
        columns = [Column(heading) for heading in ("result", "scenario", "seed", "digest")]
        lines += [*table(Sheet(columns=columns, rows=list(map(_row, runs)))), ""]
    failing = [run for run in runs if run.failing]
    if failing:
        columns = [Column(heading) for heading in ("scenario", "expectation", "wanted", "is", "off")]
        rows = [row for run in failing for row in _failures(run)]
        lines += [*table(Sheet(columns=columns, rows=rows)), ""]
        for run in failing:
            if run.said:
                lines += [f"{markdown_text(run.scenario)}:", "", *(f"- {markdown_text(fact)}" for fact in run.said), ""]
    for run in runs:
        if run.defaults and not run.failing:
            lines += [f"{markdown_text(run.scenario)}:", "", *(f"- {markdown_text(text)}" for text in run.defaults), ""]
    if failing:
        lines += ["Run again:", "", *_verbatim(run.again for run in failing), ""]
    if problems:
        lines += [*_verbatim(problems), ""]
    return "\n".join(lines)


def _headline(runs: Sequence[RunFacts], problems: Sequence[str], of: int) -> str:
    failing = sum(bool(run.failing) for run in runs)
    if failing:
        text = f"{failing:,} of {counted(len(runs), 'scenario')} {'fails' if failing == 1 else 'fail'}"
    elif runs:
        text = f"{counted(len(runs), 'scenario')} {'holds' if len(runs) == 1 else 'hold'}"
    else:
        text = "no scenario has run"
    left = of - len(runs)
    if runs and left:
        text += f", {left:,} {'has' if left == 1 else 'have'} not run to the end"
    return text + (f" · {counted(len(problems), 'problem')}" if problems else "")


def _row(run: RunFacts) -> Row:
    count, failing = len(run.expectations), len(run.failing)
    if failing:
        result = Word("fails", "bad", f"{failing:,} of {counted(count, 'expectation')}")
    else:
        undecided = f", {run.undecided:,} undecided" if run.undecided else ""
        met = f"meets {counted(count - run.undecided, 'expectation')}{undecided}"
        result = Word(met if count else "expects nothing", "fine")
    return Row((result, run.scenario, str(run.seed), Code(run.digest[:DIGEST])))


def _failures(run: RunFacts) -> Iterator[Row]:
    for each in run.failing:
        value, wanted, off = each.words
        yield Row((run.scenario, Code(each.text), wanted, value, off or ""))


def _verbatim(texts: Iterable[str]) -> list[str]:
    """Return texts as a block of code, with a fence that none of them has."""
    lines = [line for text in texts for line in text.splitlines()]
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *lines, fence]
