"""The command ``retrylab tune``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulation.commands.shared import (
    Dask,
    Exit,
    File,
    FirstSeed,
    Workers,
    announce,
    check_who_does_them,
    exits_in_words,
    json_option,
    option,
    path_option,
    set_option,
    warn_of_varied,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulation.experiments.tuning.tuning import Tuning
    from simulation.scenario.metrics import MetricKind


def tune(
    file: File,
    vary: Annotated[
        list[str] | None,
        option(
            "A setting to search, and its values: channels.sms.max_in_flight=1..8, "
            "channels.sms.timeout=100ms..10s, channels.sms.retry.jitter=none,full or "
            "drain={from: 1m, to: 1h, scale: log}. The file's sweep when left out.",
            metavar="PATH=VALUES",
        ),
    ] = None,
    minimize: Annotated[
        list[str] | None,
        option(
            "A metric of the summary to minimize: requests, the load on the providers, when left out. "
            "Given several times, or beside --maximize, the search is for the Pareto set.",
            metavar="METRIC",
        ),
    ] = None,
    maximize: Annotated[list[str] | None, option("A metric to maximize.", metavar="METRIC")] = None,
    probability: Annotated[
        str, typer.Option(metavar="SHARE", help="The share of runs in which all expectations have to hold.")
    ] = "95%",
    confidence: Annotated[str, typer.Option(metavar="SHARE", help="The confidence that the share is reached.")] = "95%",
    trials: Annotated[int, typer.Option(min=1, help="How many settings to try at most.")] = 40,
    replicates: Annotated[
        int, typer.Option(min=1, help="How many runs a setting gets at most, before the best is confirmed.")
    ] = 20,
    seed: FirstSeed = None,
    sets: Annotated[
        list[str] | None,
        set_option("Change the file, as for run: what it expects, or duration=2m for a shorter search."),
    ] = None,
    workers: Workers = None,
    dask: Dask = None,
    out: Annotated[
        Path | None,
        path_option(
            "DIR",
            "Write tuning.json, tables and tuned.yaml, the scenario with the setting that was found, here. Finished "
            "runs are kept here too, and another search does not repeat them.",
        ),
    ] = None,
    as_json: Annotated[bool, json_option("the result as ")] = False,
) -> None:
    """Search for the cheapest settings that meet the expectations of a scenario.

    It tries every combination if they are few, and samples many with Optuna. Each setting gets a run or two, the most
    promising get more, and fresh seeds confirm the best. A setting whose metric is never in one of its runs is dropped.
    A search takes a few hundred runs: to shorten it, set a shorter duration or fewer --trials.

    Exit code 0: a setting is found; 1: none meets the expectations; 2: bad input; 130: interrupted, with the best so
    far.
    """
    from simulation.experiments.tuning.report import report
    from simulation.experiments.tuning.tune import tune as search
    from simulation.reporting.terminal import watch_runs
    from simulation.scenario.space import parse_space

    def show(tuning: Tuning) -> None:
        typer.echo(json.dumps(tuning.document, indent=2, allow_nan=False) if as_json else report(tuning, out))

    kinds = _kinds(file, sets or [], [*(minimize or []), *(maximize or [])])
    with exits_in_words(file, out, show) as finished:
        check_who_does_them(workers, dask)
        space = parse_space(vary) if vary else None
        if (scenario := warn_of_varied(file, sets, space)) is not None:
            announce(file, [scenario], trials * replicates, workers, dask)
        with watch_runs(
            quiet=as_json, figures=kinds, better="more" if maximize and not minimize else "less", cell="setting"
        ) as progress:
            tuning = search(
                file,
                space,
                minimize=minimize or [],
                maximize=maximize or [],
                probability=_share("--probability", probability, low=0.0),
                confidence=_share("--confidence", confidence, low=0.5),
                trials=trials,
                replicates=replicates,
                seed=seed,
                sets=sets or [],
                workers=workers,
                cluster=dask,
                out=out,
                progress=finished.counted(progress),
            )
    show(tuning)
    if not tuning.found:
        raise typer.Exit(Exit.DOES_NOT_HOLD)


def _kinds(file: Path, sets: Sequence[str], metrics: Sequence[str]) -> dict[str, MetricKind]:
    from actors.errors import ConfigurationError
    from simulation.experiments.tuning.goal import DEFAULT_METRIC
    from simulation.running.replicates import checked_metrics
    from simulation.scenario import load_each
    from simulation.scenario.metrics import metric_kind

    try:
        (scenario,) = load_each(file, [sets])
        if isinstance(scenario, ConfigurationError):
            return {}
        paths = checked_metrics(metrics or [DEFAULT_METRIC], [scenario], "")
        return {path: metric_kind(scenario.outline, path) for path in paths}
    except ConfigurationError:
        return {}


def _share(name: str, text: str, low: float) -> float:
    from actors.errors import ConfigurationError
    from actors.settings.quantities import parse_share
    from simulation.experiments.tuning.tune import PROBABILITY_MAX

    try:
        share = parse_share(float(text)) if "%" not in text else parse_share(text)
    except ValueError:
        share = None
    if share is None or not low <= share <= PROBABILITY_MAX or not share:
        at_least = f"from {low:.0%}" if low else "of more than 0%"
        raise ConfigurationError([f"{name}: wanted a share {at_least} to {PROBABILITY_MAX:.1%}, got {text!r}"])
    return share
