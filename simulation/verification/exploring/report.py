"""The report on an exploration, as text and as a plain document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.formatting import counted
from actors.instants import NS_PER_S
from simulation.scenario.writing import as_data, write
from simulation.verification.exploring.coverage import SOMETIMES, demanded
from simulation.verification.exploring.explore import Exploration, Failure
from simulation.verification.exploring.interleaving import interleaving
from simulation.verification.exploring.pairs import EVENTS, PAIRS, STATES

WIDE = 125
"""Characters of a line in which two columns have room, and the widest table of pairs."""
_COLUMN_WIDTH = 58
_LINES_OF_A_CASE = 40


def report(exploration: Exploration, width: int = WIDE) -> str:
    """Return the report. The first two lines of a failed one are the seed, and the command that shows it again."""
    return "\n".join(line.rstrip() for line in _lines(exploration, width))


def interrupted(exploration: Exploration, seeds: int) -> str:
    """Return the report on an exploration of so many seeds that was interrupted."""
    lines = list(_mended(exploration))
    cases = exploration.cases
    for failure in exploration.failures:
        which = f"seed {failure.seed}" if failure.kept is None else str(failure.kept)
        lines.append(f"interrupted: {which} broke, and its case is not shrunk to the end; to see it again:")
        lines.append(exploration.replay_of(failure))
    if not exploration.failures and not cases:
        lines.append("interrupted before a case had finished")
    elif not exploration.failures:
        lines.append(f"interrupted: no case broke in {counted(cases, 'case')}, {_seeds(exploration)}")
        if cases < seeds:
            lines[-1] += "; to go on from there:"
            lines.append(exploration.command(exploration.first_seed + cases, seeds - cases))
    return "\n".join(lines)


def _lines(exploration: Exploration, width: int) -> Iterator[str]:
    failures = exploration.failures
    if exploration.keeps_going and failures:
        yield f"{len(failures):,} of {counted(exploration.cases, 'case')} broke, {_seeds(exploration)}"
    for number, failure in enumerate(failures):
        if number or exploration.keeps_going:
            yield ""
        yield f"seed {failure.seed}"
        yield exploration.replay_of(failure)
        yield ""
        yield from _failed(failure)
    if failures:
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
    if exploration.variations:
        yield f"{counted(exploration.variations, 'case')} varied an earlier one that had seen something new"
    if exploration.with_drawn_settings:
        changed, refused = exploration.settings_changed, exploration.settings_refused
        yield (
            f"settings were drawn in {counted(exploration.with_drawn_settings, 'case')}: {counted(changed, 'change')}, "
            f"and {refused:,} more that the validator refused"
        )
    if exploration.with_drawn_order:
        cases = counted(exploration.with_drawn_order, "case")
        yield f"the order of messages was drawn in {cases}: no reference model judges these, the other invariants do"
    yield f"reached, in how many of {counted(exploration.cases, 'case')}"
    yield from _coverage(exploration, width)
    yield ""
    yield from _pairs(exploration, width)


def _mended(exploration: Exploration) -> Iterator[str]:
    for file in exploration.mended:
        yield f"mended: {file} broke before and no longer does"


def _seeds(exploration: Exploration) -> str:
    first, last = exploration.first_seed, exploration.first_seed + exploration.cases - 1
    return f"seed {first}" if first == last else f"seeds {first:,} to {last:,}"


def _reached(exploration: Exploration) -> dict[str, int]:
    """Return the number of cases in which each possible event happened, and each that drawn settings made possible."""
    counts, known = exploration.coverage, demanded(exploration.scenario)
    return {each.text: counts[each.text] for each in SOMETIMES if each in known or counts[each.text]}


def _coverage(exploration: Exploration, width: int) -> Iterator[str]:
    cells = [f"{count:7,}  {text}" for text, count in _reached(exploration).items()]
    rows = -(-len(cells) // max(1, width // _COLUMN_WIDTH))
    for row in range(rows):
        yield "".join(cell.ljust(_COLUMN_WIDTH) for cell in cells[row::rows])


def _pairs(exploration: Exploration, width: int) -> Iterator[str]:
    seen = exploration.seen
    states = [state for state in STATES if seen[state]]
    events = [event for event in EVENTS if seen[event]]
    if not states or not events:
        return
    reached = sum(seen[f"{event} while {state}"] > 0 for event in events for state in states)
    yield f"pairs of an event and a state, in how many cases; {reached:,} of {len(states) * len(events):,} were seen"
    letters = [chr(ord("A") + number) for number in range(len(states))]
    label = max(map(len, events))
    digits = len(f"{max(seen.values())}")
    gap = max(digits + 1, min(6, (width - label) // len(states)))
    in_one = max(1, (width - label) // gap)
    for first in range(0, len(states), in_one):
        yield " " * label + "".join(f"{letter:>{gap}}" for letter in letters[first : first + in_one])
        for event in events:
            counts = [seen[f"{event} while {state}"] for state in states[first : first + in_one]]
            yield f"{event:<{label}}" + "".join(f"{count or '·':>{gap}}" for count in counts)
    for letter, state in zip(letters, states, strict=True):
        yield f"{letter:>4}  while {state}"


def _failed(failure: Failure) -> Iterator[str]:
    failing_case = failure.failing_case if failure.shrunk is None else failure.shrunk.failing_case
    yield f"{failing_case.headline}:"
    yield from (f"  {line}" for line in failing_case.text.splitlines())
    if failing_case.history:
        yield "what had happened until then:"
        yield from (f"  {line}" for line in failing_case.history)
    if failure.shrunk is None:
        yield from _kept(failure)
        return
    shrunk = failure.shrunk
    order = interleaving(shrunk.scenario)
    if order:
        yield "in this order (deviations from the usual order are marked):"
        yield from (f"  {line}" for line in order)
    yield f"shrunk in {shrunk.runs:,} runs from {shrunk.before} to {shrunk.after}:"
    written = write(failure.smallest).splitlines()
    shown = _LINES_OF_A_CASE if failure.file is not None else len(written)  # all of it, where it is nowhere else
    yield from (f"  {line}" for line in written[:shown])
    if len(written) > shown:
        yield f"  … and {len(written) - shown} more lines"
    yield from _kept(failure)


def _kept(failure: Failure) -> Iterator[str]:
    if failure.file is None:
        yield "not kept: --out DIR writes it to a file there"
    else:
        yield f"kept: retrylab run {failure.file} --check{' --code' if failure.smallest.may_import else ''}"


def document(exploration: Exploration) -> dict[str, Any]:
    """Return the exploration as a plain dict that is also the JSON document."""
    failure = exploration.failure
    return {
        "scenario": exploration.scenario.name,
        "first_seed": exploration.first_seed,
        "cases": exploration.cases,
        "notifications": exploration.notifications,
        "reached": _reached(exploration),
        "never": exploration.never if failure is None else [],
        "pairs": {pair: exploration.seen[pair] for pair in PAIRS if exploration.seen[pair]},
        "variations": exploration.variations,
        "drawn_settings": {
            "cases": exploration.with_drawn_settings,
            "changes": exploration.settings_changed,
            "refused": exploration.settings_refused,
        },
        "drawn_order": exploration.with_drawn_order,
        "mended": [str(file) for file in exploration.mended],
        "failure": None if failure is None else _failure(failure),
        "failures": [{**_failure(each), "command": exploration.replay_of(each)} for each in exploration.failures],
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
        "scenario": as_data(failure.smallest),
        "file": None if failure.file is None else str(failure.file),
    }
