"""The command ``retrylab compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulation.commands.foreign_files import GivenValues, Library, Profile, given_of, scenario_file
from simulation.commands.shared import (
    File,
    FirstSeed,
    Sets,
    WithinOption,
    Workers,
    announce,
    exits_in_words,
    half_widths,
    json_option,
    option,
    path_option,
    print_document,
    refuse,
    save,
    warn_of_varied,
)

if TYPE_CHECKING:
    from simulation.experiments.comparison import Comparison


def compare(
    file: File,
    vary: Annotated[
        list[str] | None,
        option(
            "Values to compare, e.g. channels.sms.retry.jitter=none,full; the first one is the baseline. "
            "Given several times, every combination is run.",
            metavar="PATH=A,B",
        ),
    ] = None,
    replicates: Annotated[
        int, typer.Option(min=1, help="Runs of each setting, on consecutive seeds; with --within, at most.")
    ] = 10,
    within: WithinOption = None,
    seed: FirstSeed = None,
    metrics: Annotated[
        list[str] | None, option("A metric of the summary, e.g. delivery_time_s.p99.", "--metric", metavar="PATH")
    ] = None,
    sets: Sets = None,
    workers: Workers = None,
    values: GivenValues = None,
    profiles: Profile = None,
    libraries: Library = None,
    as_json: Annotated[bool, json_option("the comparison as ")] = False,
    out: Annotated[
        Path | None,
        path_option(
            "DIR",
            "Write comparison.json and tables here, and each run as soon as it has ended; finished runs that are here "
            "are not repeated.",
        ),
    ] = None,
) -> None:
    """Compare settings on the same seeds: the mean of each, and the differences with their 95% confidence intervals.

    For a metric that may be never, such as delivery_time_s.p99, the table has the median and the number of nevers.
    """
    from simulation.experiments.comparison import run_settings
    from simulation.reporting.console import print_sheets, print_written
    from simulation.reporting.terminal import watch_runs
    from simulation.scenario.space import parse_space

    def show(comparison: Comparison) -> None:
        if as_json:
            print_document(comparison.document)
        else:
            print_sheets(comparison.sheet)

    with exits_in_words(file, out, show) as finished:
        varied = parse_space(vary) if vary else {}
        warn_of_varied(file, sets, varied)
        with (
            watch_runs(quiet=as_json) as progress,
            scenario_file(file, given_of(values, profiles, libraries)) as scenario,
        ):
            comparison = run_settings(
                scenario,
                varied,
                replicates,
                half_widths(within),
                seed,
                metrics or None,
                sets or [],
                workers,
                out,
                finished.counted(progress),
                lambda scenarios: announce(file, scenarios, replicates, workers),
            )
    unsaved = None if out is None else save(comparison, out)
    show(comparison)
    if out is not None and unsaved is None and not as_json:
        print_written(str(out))
    if unsaved is not None:
        refuse([unsaved])
