"""The report on an exploration, as text and as a plain document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.formatting import counted
from actors.instants import NS_PER_S
from simulation.exploration.coverage import SOMETIMES, demanded
from simulation.exploration.explore import Exploration, Failure
from simulation.exploration.interleaving import interleaving

_COLUMNS = 2
_COLUMN_WIDTH = 58
_LINES_OF_A_CASE = 40


def report(exploration: Exploration) -> str:
    """Return the report. The first two lines of a failed one are the seed, and the command that shows it again."""
    return "\n".join(line.rstrip() for line in _lines(exploration))


def interrupted(exploration: Exploration, seeds: int) -> str:
    """Return the report on an exploration of so many seeds that was interrupted."""
    lines = list(_mended(exploration))
    failure, cases = exploration.failure, exploration.cases
    if failure is not None:
        which = f"seed {failure.seed}" if failure.kept is None else str(failure.kept)
        lines.append(f"interrupted: {which} broke, and its case is not shrunk to the end; to see it again:")
        lines.append(exploration.replay)
    elif not cases:
        lines.append("interrupted before a case had finished")
    else:
        lines.append(f"interrupted: no case broke in {counted(cases, 'case')}, {_seeds(exploration)}")
        if cases < seeds:
            lines[-1] += "; to go on from there:"
            lines.append(exploration.command(exploration.first_seed + cases, seeds - cases))
    return "\n".join(lines)


def _lines(exploration: Exploration) -> Iterator[str]:
    failure = exploration.failure
    if failure is not None:
        yield f"seed {failure.seed}"
        yield exploration.replay
        yield ""
        yield from _failed(failure)
        return
    seeds = _seeds(exploration)
    if exploration.never:
        yield seeds
        yield exploration.replay
        yield ""
        cases = counted(exploration.cases, "case")
        yield f"no case broke, but this never happened in {cases}, though the settings make it possible:"
        yield from (f"  {text}" for text in exploration.never)
        yield "try more seeds, or find out what prevents it"
        yield ""
    else:
        yield f"{exploration.scenario.name}  {seeds} · {exploration.notifications:,} notifications · no case broke"
    yield from _mended(exploration)
    yield f"reached, in how many of {counted(exploration.cases, 'case')}"
    yield from _coverage(exploration)


def _mended(exploration: Exploration) -> Iterator[str]:
    for file in exploration.mended:
        yield f"mended: {file} broke before and no longer does"


def _seeds(exploration: Exploration) -> str:
    first, last = exploration.first_seed, exploration.first_seed + exploration.cases - 1
    return f"seed {first}" if first == last else f"seeds {first:,} to {last:,}"


def _coverage(exploration: Exploration) -> Iterator[str]:
    counts = exploration.coverage
    known = {each.text for each in demanded(exploration.scenario)}
    cells = [f"{counts[each.text]:7,}  {each.text}" for each in SOMETIMES if each.text in known or counts[each.text]]
    rows = -(-len(cells) // _COLUMNS)
    for row in range(rows):
        yield "".join(cell.ljust(_COLUMN_WIDTH) for cell in cells[row::rows])


def _failed(failure: Failure) -> Iterator[str]:
    failing_case = failure.failing_case if failure.shrunk is None else failure.shrunk.failing_case
    yield f"{failing_case.headline}:"
    yield from (f"  {line}" for line in failing_case.text.splitlines())
    if failing_case.history:
        yield "what had happened until then:"
        yield from (f"  {line}" for line in failing_case.history)
    if failure.shrunk is None:
        if failure.file is not None:
            yield f"kept: retrylab run {failure.file} --check"
        return
    shrunk = failure.shrunk
    order = interleaving(shrunk.scenario)
    if order:
        yield "in this order (deviations from the usual order are marked):"
        yield from (f"  {line}" for line in order)
    yield f"shrunk in {shrunk.runs:,} runs from {shrunk.before} to {shrunk.after}:"
    assert failure.file is not None
    text = failure.file.read_text(encoding="utf-8").splitlines()
    written = [line for line in text if not line.startswith("#")]
    yield from (f"  {line}" for line in written[:_LINES_OF_A_CASE])
    if len(written) > _LINES_OF_A_CASE:
        yield f"  … and {len(written) - _LINES_OF_A_CASE} more lines"
    yield f"kept: retrylab run {failure.file} --check"


def document(exploration: Exploration) -> dict[str, Any]:
    """Return the exploration as a plain dict that is also the JSON document."""
    failure = exploration.failure
    return {
        "scenario": exploration.scenario.name,
        "first_seed": exploration.first_seed,
        "cases": exploration.cases,
        "notifications": exploration.notifications,
        "reached": {each.text: exploration.coverage[each.text] for each in demanded(exploration.scenario)},
        "never": exploration.never if failure is None else [],
        "mended": [str(file) for file in exploration.mended],
        "failure": None if failure is None else _failure(failure),
        "command": exploration.replay,
    }


def _failure(failure: Failure) -> dict[str, Any]:
    failing_case = failure.failing_case if failure.shrunk is None else failure.shrunk.failing_case
    return {
        "seed": failure.seed,
        "broken": failing_case.kind,
        "text": failing_case.text,
        "at_s": None if failing_case.at_ns is None else failing_case.at_ns / NS_PER_S,
        "history": list(failing_case.history),
        "file": None if failure.file is None else str(failure.file),
    }
