"""The command ``retrylab plot``."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulation.commands.shared import announce, argument, exits_in_words, option, path_option, say, set_option

if TYPE_CHECKING:
    from simulation.reporting.plots.kinds import Options, PlotKind
    from simulation.reporting.plots.source import PlottedRun


class KindName(StrEnum):
    OVERVIEW = "overview"
    THROUGHPUT = "throughput"
    IN_FLIGHT = "in-flight"
    DLQ_GROWTH = "dlq-growth"
    BREAKER_CAUSES = "breaker-causes"
    BREAKER_STATES = "breaker-states"
    AMPLIFICATION = "amplification"
    DELIVERY_OVER_TIME = "delivery-over-time"
    WAITING = "waiting"
    DELIVERY_TIMES = "delivery-times"
    RASTER = "raster"
    TIMELINE = "timeline"
    BACKOFF = "backoff"
    LINES = "lines"
    HEATMAP = "heatmap"
    PARETO = "pareto"
    DIFFERENCES = "differences"
    TRIALS = "trials"
    ALL = "all"


ENDINGS = (".png", ".svg")


def _of_a_sweep(help: str) -> Any:
    return option(f"Of a sweep: {help}", metavar="PATH")


def plot(
    source: Annotated[
        Path,
        argument(
            "DIR|FILE",
            "The directory of a saved run, sweep, comparison or search of tune; or a scenario file, which is run.",
        ),
    ],
    other: Annotated[
        Path | None,
        argument(
            "OTHER",
            "Another saved run or scenario file: both are drawn over time, one below the other on the same scales.",
        ),
    ] = None,
    kinds: Annotated[
        list[KindName] | None,
        option(
            "What to draw; may be given several times. lines, heatmap and pareto draw a sweep, differences a "
            "comparison, trials a search, the others a run. Without it the overview of a run, and lines of a sweep.",
            "--kind",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        path_option(
            "PATH",
            "Write here: a name that ends in .png or .svg, or a directory. Default: DIR itself; for a FILE, the "
            "current directory.",
        ),
    ] = None,
    notification: Annotated[
        str | None,
        option("The notification whose timeline to draw; the one with the most attempts when left out.", metavar="ID"),
    ] = None,
    channel: Annotated[str | None, option("Of a run: this channel alone; all when left out.")] = None,
    entry: Annotated[str | None, option("Of a run over time: this entry of the workload alone.")] = None,
    metric: Annotated[
        str | None,
        option(
            "Of a sweep: the metric to draw, e.g. delivery_time_s.p99; sent_fraction when left out. Of a search: an "
            "objective; the first when left out.",
            metavar="PATH",
        ),
    ] = None,
    figure: Annotated[str | None, option("The former name of --metric.", hidden=True)] = None,
    x: Annotated[str | None, _of_a_sweep("the setting on the x axis.")] = None,
    y: Annotated[str | None, _of_a_sweep("the setting on the y axis.")] = None,
    by: Annotated[
        str | None,
        option(
            "Of a run over time: channel, entry or priority, each drawn apart. Of a sweep: the setting with a line for "
            "each value.",
            metavar="PATH",
        ),
    ] = None,
    gain: Annotated[
        str | None, option("Of pareto: the metric to maximize; sent_fraction when left out.", metavar="PATH")
    ] = None,
    cost: Annotated[
        str | None, option("Of pareto: the metric to minimize; requests when left out.", metavar="PATH")
    ] = None,
    seed: Annotated[int | None, option("Of a FILE: the seed, instead of its own.")] = None,
    sets: Annotated[list[str] | None, set_option("Of a FILE: change a setting.")] = None,
) -> None:
    """Draw the results of a run, sweep, comparison or search. Exit code 0: drawn; 2: bad input."""
    from actors.errors import ConfigurationError
    from simulation.reporting.plots.kinds import Options

    if figure is not None:
        say("warning: --figure is deprecated: use --metric")
        metric = figure if metric is None else metric
    options = Options(notification, channel, metric, x, y, by, gain, cost, entry)
    names = [kind.value for kind in kinds or []]
    with exits_in_words(source, None):
        _check_out(out)
        if other is not None:
            written = [_plot_two(source, other, names, out, options, seed, sets or [])]
            typer.echo(f"written to {written[0]}")
            return
        if os.path.isdir(source) and (seed is not None or sets):
            raise ConfigurationError([f"{'--seed' if sets is None or not sets else '--set'}: wanted only with a FILE"])
        written = _plot(source, names, out, options, seed, sets or [])
    for path in written:
        typer.echo(f"written to {path}")


def _check_out(out: Path | None) -> None:
    from actors.errors import ConfigurationError
    from simulation.results.files import check_writable

    if out is None:
        return
    if not out.is_dir() and out.suffix and out.suffix.lower() not in ENDINGS:
        raise ConfigurationError([f"--out {out}: wanted a name that ends in .png or .svg, or a directory"])
    check_writable(out.parent if out.suffix and not out.is_dir() else out)


def _plot(
    source: Path, names: list[str], out: Path | None, options: Options, seed: int | None, sets: list[str]
) -> list[Path]:
    from simulation.reporting.plots.canvas import write_picture
    from simulation.reporting.plots.kinds import kinds_to_draw

    _check_source(source)  # before anything is said of kinds that go with what is there
    what, known = _drawable(source)
    kinds = kinds_to_draw(names, known, what, options)
    paths = _paths(source, kinds, out)
    drawn_from = _opened(source, what, seed, sets)
    if "all" in names:
        paths = {name: path for name, path in paths.items() if known[name].possible(drawn_from)}
    for name, path in paths.items():
        figure = known[name].draw(drawn_from, options)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(figure, path)
    return list(paths.values())


def _drawable(source: Path) -> tuple[str, dict[str, PlotKind]]:
    from simulation.reporting.plots.kinds import OF_A_COMPARISON, OF_A_RUN, OF_A_SEARCH, OF_A_SWEEP

    found = {
        "sweep.json": ("a sweep", OF_A_SWEEP),
        "comparison.json": ("a comparison", OF_A_COMPARISON),
        "tuning.json": ("a search", OF_A_SEARCH),
    }
    return next((each for name, each in found.items() if _has(source, name)), ("a run", OF_A_RUN))


def _opened(source: Path, what: str, seed: int | None, sets: list[str]) -> Any:
    if what == "a sweep":
        return _sweep(source)
    if what == "a run":
        return _run(source, seed, sets)
    from simulation.reporting.plots.experiments import saved_comparison, saved_search

    return saved_comparison(source) if what == "a comparison" else saved_search(source)


OF_TWO = ("channel", "entry", "by")
"""The options that a picture of two runs heeds."""


def _plot_two(
    source: Path, other: Path, names: list[str], out: Path | None, options: Options, seed: int | None, sets: list[str]
) -> Path:
    from actors.errors import ConfigurationError
    from simulation.reporting.plots import compare
    from simulation.reporting.plots.canvas import write_picture

    given = [name for name, value in options._asdict().items() if value is not None and name not in OF_TWO]
    problems = [f"--{name}: wanted only with a single run, sweep, comparison or search" for name in given]
    if names:
        problems.append(f"--kind: wanted only with a single run, sweep, comparison or search, got {', '.join(names)}")
    for each in (source, other):
        _check_source(each)
        if (what := _drawable(each)[0]) != "a run":
            problems.append(f"{each}: wanted a run, got {what}")
    if problems:
        raise ConfigurationError(problems)
    labels = [str(source), str(other)] if str(source) != str(other) else [str(source), f"{other} again"]
    runs = dict(zip(labels, (_run(each, seed, sets) for each in (source, other)), strict=True))
    figure = compare(runs, channel=options.channel, entry=options.entry, by=options.by)  # type: ignore[arg-type]
    path = Path(f"{source.stem}-and-{other.stem}.png") if out is None else out
    if path.suffix.lower() not in ENDINGS or path.is_dir():
        path = path / f"{source.stem}-and-{other.stem}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(figure, path)
    return path


def _paths(source: Path, names: list[str], out: Path | None) -> dict[str, Path]:
    from actors.errors import ConfigurationError

    if out is not None and out.suffix.lower() in ENDINGS and not out.is_dir():
        if len(names) > 1:
            raise ConfigurationError([f"--out {out}: wanted a directory for {len(names)} pictures, got a file"])
        return {names[0]: out}
    if os.path.isdir(source):
        return {name: (out or source) / f"{name}.png" for name in names}
    return {name: (out or Path()) / f"{source.stem}-{name}.png" for name in names}


def _has(source: Path, name: str) -> bool:
    """Return whether a directory has a file of this name. One that may not be read counts: reading it reports that."""
    from actors.errors import ConfigurationError

    try:
        return os.path.isdir(source) and name in os.listdir(source)
    except OSError as error:
        raise ConfigurationError([f"{source}: {error.strerror}"]) from None


def _check_source(source: Path) -> None:
    from actors.errors import ConfigurationError
    from simulation.results.files import KINDS
    from simulation.scenario import load

    if not os.path.exists(source):
        load(source)  # says why
    if os.path.isdir(source) and not any(_has(source, name) for name in KINDS):
        wanted = f"the directory of saved results, with one of {', '.join(KINDS)} in it"
        raise ConfigurationError([f"{source}: wanted {wanted}"])


def _sweep(directory: Path) -> Any:
    from simulation.experiments.sweeping.result import open_sweep

    return open_sweep(directory)


def _run(source: Path, seed: int | None, sets: list[str]) -> PlottedRun:
    if os.path.isdir(source):
        from simulation.results.saved_result import missing_text, opened

        saved = opened(source)
        if saved.missing:
            say(f"warning: {missing_text(saved)}")
        return saved
    from simulation.reporting.terminal import watch_run
    from simulation.running.runner import run
    from simulation.scenario import load

    scenario = load(source, sets=sets, seed=seed)
    announce(source, [scenario])
    with watch_run(scenario) as progress:
        return run(scenario, progress=progress)
