"""The result of a search, as text of eighty columns."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.formatting import counted, plain_number
from simulation.experiments.paired import Difference
from simulation.experiments.tuning.goal import Goal, Margin, Objective
from simulation.experiments.tuning.trial import Trial
from simulation.experiments.tuning.tuning import DOCUMENT, RUNS, TRIALS, Tuning
from simulation.reporting.expectations import with_unit
from simulation.results.files import folder_to_fill
from simulation.results.formatting import NOTHING, metric_text, never_text, seeds_text
from simulation.running.replicates import kinds_of_metrics
from simulation.running.sequential_test import Decision
from simulation.scenario.metrics import NEVER, MetricKind, path_of
from simulation.scenario.space import number_of
from simulation.scenario.writing import write

COLUMNS = 80
LABEL = 34
CELL = 13
LABEL_OF_ONE = 16
"""The width of the label of one of several settings, which is a number."""


def report(tuning: Tuning, directory: Path | None = None) -> str:
    """Return the result of a search as text.

    Args:
        tuning: the search.
        directory: where it was written, if it was.
    """
    lines = [_heading(tuning), *_outcome(tuning)]
    if directory is not None:
        lines.append(f"written to {directory}")
    return "\n".join(line.rstrip() for line in lines)


def origin(tuning: Tuning, trial: Trial) -> str:
    """Return where the setting of a trial comes from, as the comment above a scenario that has it."""
    own = tuning.own_values()
    lines = [f"{tuning.path.name} with settings that `retrylab tune` found:"]
    lines += [f"{path}: {value}, was {_written(own[path])}" for path, value in tuning.values(trial).items()]
    if tuning.sets:
        lines.append("and changed with " + " ".join(f"--set {shlex.quote(text)}" for text in tuning.sets))
    lines += _evidence(tuning, trial)
    first = tuning.first_fresh_seed
    lines.append(f"Seeds {tuning.first_seed} to {first - 1}, fresh ones {first} to {first + len(trial.fresh) - 1}.")
    return "\n".join(lines)


def _heading(tuning: Tuning) -> str:
    runs = sum(len(trial.searched) + len(trial.fresh) for trial in tuning.trials)
    runs = runs if tuning.is_finished else tuning.finished_runs  # as many as the folder keeps
    tried = sum(trial.in_space for trial in tuning.trials)
    and_own = ""
    if not tuning.exhaustive and tuning.baseline.in_space and tried > 1:
        tried, and_own = tried - 1, " and the file's own"
    seeds = seeds_text(range(tuning.first_seed, tuning.first_fresh_seed))
    which = "all " if tuning.exhaustive and not tuning.invalid and tried > 1 else ""
    left_out = f" · {tuning.invalid:,} not valid" if tuning.invalid else ""
    state = "" if tuning.is_finished else " · interrupted"
    return (
        f"{tuning.baseline.scenario.name}  {seeds} · {which}{counted(tried, 'setting')}{and_own}"
        f" · {counted(runs, 'run')}{left_out}{state}"
    )


def _outcome(tuning: Tuning) -> Iterator[str]:
    if not tuning.found:
        yield from _not_found(tuning)
    elif len(tuning.goal.objectives) > 1:
        yield from _pareto(tuning)
    else:
        yield from _found(tuning, tuning.found[0])


# ── one setting ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _found(tuning: Tuning, trial: Trial) -> Iterator[str]:
    (objective,) = tuning.goal.objectives
    value = _value(tuning, trial, objective)
    if trial.is_baseline:
        yield f"{objective.metric} {value} with the file's own settings, on which nothing gains beyond chance"
        yield f"{_for(tuning).removeprefix(' ')}:" if tuning.goal.expectations else "of what was tried:"
    else:
        yield f"{objective.metric} {value}, the {'largest' if objective.maximize else 'smallest'}{_for(tuning)}:"
    yield from _setting(tuning, trial)
    yield from _same_costs(tuning, trial)
    if tuning.goal.expectations:
        yield from _evidence(tuning, trial)
        usual = "its share" if len(tuning.goal.parts) > 1 else f"{_percent(tuning.goal.parts[0].probability)} of runs"
        yield _row("", ["worst run", usual, "to spare"])
        for margin in tuning.margins(trial):
            kind = _kind(tuning, path_of(margin.expectation.path))
            cells = [_plain(margin.worst, kind), _plain(margin.usual, kind), _spare(margin, kind)]
            yield from _rows(margin.expectation.text, cells)
    yield from _beaten(tuning, trial, objective)


def _for(tuning: Tuning) -> str:
    if not tuning.goal.expectations:
        return ""
    return f" where all expectations hold in {_shares(tuning.goal)}"


def _shares(goal: Goal) -> str:
    of_all = f"{_percent(goal.probability)} of runs"
    if not any(expectation.share is not None for expectation in goal.expectations):
        return of_all
    together = any(expectation.share is None for expectation in goal.expectations)
    return f"{of_all}, or their own share of them" if together else "their share of runs"


def _setting(tuning: Tuning, trial: Trial) -> Iterator[str]:
    own, values = tuning.own_values(), tuning.values(trial)
    width = max(map(len, values))
    texts = {path: _written(value) for path, value in values.items()}
    column = max(map(len, texts.values()))
    for path, text in texts.items():
        was = "as it was" if _same(own[path], values[path]) else f"was {_written(own[path])}"
        yield f"  {path:{width}}  {text:{column}}  {was}"


def _same_costs(tuning: Tuning, trial: Trial) -> Iterator[str]:
    own, ties = tuning.values(trial), [tuning.values(each) for each in tuning.ties(trial)]
    for path in own:
        same = [each[path] for each in ties if all(each[key] == own[key] for key in own if key != path)]
        if same:
            texts = sorted({_written(value) for value in (own[path], *same)}, key=_in_order)
            tried = {_written(tuning.values(each)[path]) for each in tuning.trials if each.in_space}
            within = [text for text in tried if _in_order(texts[0]) <= _in_order(text) <= _in_order(texts[-1])]
            is_range = len(within) == len(texts) > 2 and number_of(texts[0]) is not None
            shown = f"{texts[0]} to {texts[-1]}" if is_range else ", ".join(texts)
            yield f"{path}: {shown} do the same; this is the least change."


def _in_order(text: str) -> tuple[bool, float, str]:
    number = number_of(text)
    return number is None, number or 0.0, text


def _evidence(tuning: Tuning, trial: Trial) -> Iterator[str]:
    parts, confidence = tuning.goal.parts, _percent(tuning.goal.confidence)
    for part in parts:
        held, runs = sum(map(part.holds, trial.fresh)), len(trial.fresh)
        share = _percent(part.probability)
        text = f"confirmed in {held:,} of {runs:,} runs with fresh seeds (at least {share}, {confidence} confidence)"
        (*others, last) = part.expectations
        of_which = "all others" if others and len(parts) > 1 else replace(last, share=None).text
        yield text if len(parts) == 1 else f"{of_which}: {text}"


def _spare(margin: Margin, kind: MetricKind) -> str:
    if margin.spare is None or math.isinf(margin.spare):
        return NOTHING
    text = "none" if margin.spare == 0 else ("-" if margin.spare < 0 else "") + _distance(abs(margin.spare), kind)
    relative = None if kind is MetricKind.SHARE else margin.relative(margin.spare)
    return f"{text}, {_two_digits(relative)}" if relative else text


def _beaten(tuning: Tuning, found: Trial, objective: Objective) -> Iterator[str]:
    beaten = [trial for trial in tuning.beaten if trial is not found]
    if not beaten:
        return
    kind = _kind(tuning, objective.metric)
    long = [trial for trial in beaten if len(trial.label) > LABEL]
    names = {trial: f"#{trial.number}" if long and not trial.is_baseline else trial.label for trial in beaten}
    yield _row(
        "compared with" if found.is_baseline else "what it beat",
        ["holds in", _short(objective.metric, CELL - 1), "difference"],
    )
    by_sign = False
    for trial in beaten:
        runs = tuning.runs_of(trial)
        holds = f"{tuning.held(runs):,} of {len(runs):,}" if tuning.goal.expectations else NOTHING
        apart = tuning.difference(trial, found, objective)
        by_sign = by_sign or (apart is not None and apart.mean is None)
        yield _row(names[trial], [holds, _value(tuning, trial, objective), _apart(apart, kind)])
    left_out = sum(trial.in_space and trial is not found and trial not in beaten for trial in tuning.trials)
    if left_out:
        yield f"and {counted(left_out, 'other')}, not compared"
    for trial in beaten:
        if names[trial] != trial.label:
            yield f"  {names[trial]}  {trial.label}"
    yield "± 95% confidence, Student's t over the differences by seed; *: excludes 0"
    yield f"{_short(objective.metric, CELL - 1)}: what was found, in its fresh runs; others, that plus the difference"
    if by_sign:
        yield "where one of a pair is never: the median difference, and * by the sign test"
    if any(trial.decision is Decision.REJECTED and not trial.is_baseline for trial in beaten):
        yield "Cheaper ones were refused: their fresh runs failed too often to confirm them."


def _apart(found: Difference | None, kind: MetricKind) -> str:
    if found is None:
        return NOTHING
    if not found.more and not found.less:
        return "same"
    text = NOTHING if found.value is None else _signed(found.value, kind)
    if found.half_width is not None:
        text += f" ± {_text(found.half_width, kind, 3)}"
    return text + (" *" if found.excludes_0 else "")


# ── several settings ────────────────────────────────────────────────────────────────────────────────────────────────


def _pareto(tuning: Tuning) -> Iterator[str]:
    objectives = tuning.goal.objectives
    yield f"{counted(len(tuning.found), 'setting')}{_for(tuning)}; the Pareto set of"
    yield "  " + ", ".join(objective.text for objective in objectives)
    yield from _table_of(tuning, {f"#{trial.number}": trial for trial in tuning.found})
    if not any(trial.is_baseline for trial in tuning.found):
        yield from _table_of(tuning, {"the file's own": tuning.baseline}, heading=False)
    for trial in tuning.found:
        yield f"  #{trial.number}  {trial.label}"
    if tuning.goal.expectations:
        confidence = _percent(tuning.goal.confidence)
        shares = ", ".join(dict.fromkeys(_percent(part.probability) for part in tuning.goal.parts))
        yield f"confirmed with fresh seeds (at least {shares}, {confidence} confidence for all together)"


def _table_of(tuning: Tuning, trials: dict[str, Trial], *, heading: bool = True) -> Iterator[str]:
    objectives = tuning.goal.objectives
    width = max(CELL, (COLUMNS - LABEL_OF_ONE - CELL) // len(objectives))
    if heading:
        headings = [_short(objective.metric, width - 1) for objective in objectives]
        yield f"{'':{LABEL_OF_ONE}}{'holds in':>{CELL}}" + "".join(f"{heading:>{width}}" for heading in headings)
    for name, trial in trials.items():
        runs = tuning.runs_of(trial)
        holds = f"{tuning.held(runs):,} of {len(runs):,}" if tuning.goal.expectations else NOTHING
        values = [_value(tuning, trial, each) for each in objectives]
        yield f"{name:{LABEL_OF_ONE}}{holds:>{CELL}}" + "".join(f"{value:>{width}}" for value in values)


# ── none ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _not_found(tuning: Tuning) -> Iterator[str]:
    trial, goal = tuning.nearest, tuning.goal
    runs = tuning.runs_of(trial)
    if not runs:
        yield "No run had finished."
        return
    if all(each.costs is None for each in tuning.trials if each.in_space and each.searched):
        yield f"No setting has the metric {' and '.join(each.metric for each in goal.objectives)} in every run."
        if trial.is_never:
            all_runs = [*trial.searched, *trial.fresh]
            never = never_text(sum(map(goal.is_never, all_runs)), len(all_runs))
            yield f"It is {never} runs of the nearest one:"
            yield from _setting(tuning, trial)
        return
    share = _shares(goal)
    own = trial.is_baseline and tuning.is_finished
    closest = "No other comes nearer by more than chance than the file's own:" if own else "The nearest one:"
    if not tuning.is_finished:
        yield "The best so far, not confirmed yet:" if not trial.given_up else "Nothing so far; the nearest is:"
    elif any(each.decision is Decision.REJECTED and not each.is_baseline for each in tuning.trials):
        yield f"No setting was confirmed to meet the expectations in {share}. {closest}"
    else:
        yield f"No setting was found to meet the expectations in {share}. {closest}"
    yield from _setting(tuning, trial)
    yield "Nothing else was turned."
    fresh = " with fresh seeds" if trial.fresh else ""
    yield f"all expectations held in {tuning.held(runs):,} of {counted(len(runs), 'run')}{fresh}"
    yield from _too_many_failures(tuning, trial)
    yield _row("", ["holds in", "median", "worst is off by"])
    for margin in tuning.margins(trial):
        kind = _kind(tuning, path_of(margin.expectation.path))
        cells = [f"{margin.held:,} of {margin.runs:,}", _plain(margin.median, kind), _off_by(margin, kind)]
        yield from _rows(margin.expectation.text, cells)


def _too_many_failures(tuning: Tuning, trial: Trial) -> Iterator[str]:
    """Yield when each part of the goal that was refused would have been confirmed, and the failure that ended it."""
    for part, plan in zip(tuning.goal.parts, trial.plans, strict=False):
        failed = [number for number, run in enumerate(trial.fresh, start=1) if not part.holds(run)]
        if len(failed) < len(plan):
            continue
        none, one, two = plan
        share = _percent(part.probability)
        yield f"To confirm {share} takes {none:,} runs without a failure, {one:,} with one or {two:,} with two;"
        yield f"it was given up at the third one, in run {failed[len(plan) - 1]:,} of {two:,}."


def _off_by(margin: Margin, kind: MetricKind) -> str:
    if margin.spare_at_worst is None:
        return "no value"
    if margin.never:
        return NEVER
    if margin.held == margin.runs:
        return NOTHING
    relative = None if kind is MetricKind.SHARE else margin.relative(margin.spare_at_worst)
    text = _distance(-margin.spare_at_worst, kind)
    return f"{text}, {_two_digits(-relative)}" if relative else text


def _distance(apart: float, kind: MetricKind) -> str:
    return f"{plain_number(100 * apart, 2)} points" if kind is MetricKind.SHARE else _plain(apart, kind, 3)


# ── text ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _row(label: str, cells: Sequence[str]) -> str:
    *others, last = cells
    return (
        f"{label:{LABEL}}"
        + "".join(f"{cell:>{CELL}}" for cell in others)
        + f"{last:>{COLUMNS - LABEL - CELL * len(others)}}"
    )


def _rows(label: str, cells: Sequence[str]) -> Iterator[str]:
    if len(label) > LABEL:
        yield label
        label = ""
    yield _row(label, cells)


def _same(one: Any, other: Any) -> bool:
    """Return whether two values of a file are the same setting, as 60s and 1m are."""
    texts = _written(one), _written(other)
    numbers = [number_of(text) for text in texts]
    return texts[0] == texts[1] or (numbers[0] is not None and numbers[0] == numbers[1])


def _short(path: str, width: int) -> str:
    keys = path.split(".")
    while len(keys) > 1 and len(".".join(keys)) > width:
        del keys[0]
    return ".".join(keys)[-width:]


def _percent(share: float) -> str:
    return f"{share * 100:.4g}%"


def _two_digits(share: float) -> str:
    return f"{share * 100:.2g}%" if abs(share) < 0.1 else f"{share:.0%}"


def _written(value: Any) -> str:
    if value is None:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value)


def _kind(tuning: Tuning, path: str) -> MetricKind:
    return kinds_of_metrics([path], [trial.scenario for trial in tuning.trials], "")[path]


def _value(tuning: Tuning, trial: Trial, objective: Objective) -> str:
    never = tuning.never(trial, objective)
    if never:
        return f"{NEVER} ({never}/{len(tuning.runs_of(trial))})"
    return _text(tuning.value(trial, objective), _kind(tuning, objective.metric))


def _signed(value: float, kind: MetricKind) -> str:
    return ("-" if value < 0 else "+") + _text(abs(value), kind, 3)


def _text(value: float | None, kind: MetricKind, digits: int = 4) -> str:
    return NOTHING if value is None else metric_text(value, kind, digits)


def _plain(value: float | None, kind: MetricKind, digits: int = 4) -> str:
    if value is None or math.isinf(value) or kind is not MetricKind.SHARE:
        return _text(value, kind, digits)
    return with_unit(value, kind)


# ── on disk ───────────────────────────────────────────────────────────────────────────────────────────────────────────


_FOUND = re.compile(r"tuned(-[0-9]+)?\.yaml")
"""The names of the scenarios with the settings that were found."""


def save_tuning(tuning: Tuning, directory: str | Path) -> list[Path]:
    """Write `tuning.json`, the tables of trials and runs as Parquet, and the scenario with the setting that was
    found as `tuned.yaml` into a folder; return the paths.

    Where several were found they are `tuned-1.yaml` and so on. The files of an earlier search are removed. Equal
    searches are equal byte by byte.

    Raises:
        ConfigurationError: the folder has the results of another kind of command, or the file of the scenario
            itself under one of these names.
        OSError: it, or a file in it, cannot be written.
    """
    directory = folder_to_fill(directory, DOCUMENT, tuning.path)
    for stale in directory.glob("tuned*.yaml"):
        if _FOUND.fullmatch(stale.name):  # and not a file that a user has called tuned-by-hand.yaml
            stale.unlink()
    written = [directory / name for name in (DOCUMENT, TRIALS, RUNS)]
    tuning.table.to_parquet(written[1], index=False)
    tuning.runs.to_parquet(written[2], index=False)
    for number, trial in enumerate(tuning.found, start=1):
        written.append(directory / ("tuned.yaml" if len(tuning.found) == 1 else f"tuned-{number}.yaml"))
        written[-1].write_text(tuned_yaml(tuning, trial), encoding="utf-8")
    written[0].write_text(json.dumps(tuning.document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return written


def tuned_yaml(tuning: Tuning, trial: Trial) -> str:
    return write(trial.scenario, origin(tuning, trial))
