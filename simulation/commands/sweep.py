"""The command ``retrylab sweep``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from simulation.commands.shared import (
    Dask,
    File,
    FirstSeed,
    SetsAsForRun,
    WithinOption,
    Workers,
    announce,
    check_who_does_them,
    exits_in_words,
    half_widths,
    json_option,
    option,
    path_option,
    print_document,
    warn_of_varied,
)

if TYPE_CHECKING:
    from simulation.experiments.sweeping.result import SweepResult

DesignName = Literal["grid", "random", "latin-hypercube"]
"""How the combinations are chosen."""


def sweep(
    file: File,
    vary: Annotated[
        list[str] | None,
        option(
            "A setting and its values, as above; may be given several times. Replaces the file's sweep.",
            metavar="PATH=VALUES",
        ),
    ] = None,
    replicates: Annotated[
        int | None,
        option("Runs of each combination, on consecutive seeds, with --within at most; 10 when left out.", min=1),
    ] = None,
    within: WithinOption = None,
    design: Annotated[
        DesignName | None, option("Every combination (grid), or samples of them; grid when left out.")
    ] = None,
    samples: Annotated[int | None, option("How many combinations to sample, if the design is no grid.", min=1)] = None,
    seed: FirstSeed = None,
    metrics: Annotated[
        list[str] | None,
        option(
            "A metric of the summary to print, e.g. delivery_time_s.p99; all of them are in the tables.",
            "--metric",
            metavar="PATH",
        ),
    ] = None,
    sets: SetsAsForRun = None,
    workers: Workers = None,
    dask: Dask = None,
    as_json: Annotated[bool, json_option("the result of each combination as ")] = False,
    out: Annotated[
        Path | None,
        path_option(
            "DIR",
            "Write the tables here, and each run as soon as it has ended; finished runs that are here are not "
            "repeated.",
        ),
    ] = None,
) -> None:
    """Run every combination of settings with the same seeds; means with their 95% confidence intervals.

    A setting goes through values, channels.email.retry.max_attempts=1,2,3,5, or a range,
    channels.email.timeout=100ms..10s or 'channels.email.timeout={from: 100ms, to: 10s, scale: log, steps: 5}'.
    For a metric that may be never, such as delivery_time_s.p99, the table has the median and the number of nevers. With
    --out, an interrupted sweep resumes where it stopped. Exit code 0: it has finished; 2: bad input; 3: an invariant
    broke; 4: a worker process is gone.
    """
    from simulation.experiments.sweeping.result import SHOWN
    from simulation.experiments.sweeping.sweep import Plan
    from simulation.reporting.console import print_sheets, print_written
    from simulation.reporting.terminal import watch_runs
    from simulation.running.replicates import kinds_of_metrics
    from simulation.scenario.space import parse_space

    def show(swept: SweepResult) -> None:
        if as_json:
            print_document(swept.document(list(shown)))
        else:
            print_sheets(swept.sheet(shown))

    with exits_in_words(file, out, show) as finished:
        check_who_does_them(workers, dask)
        space = parse_space(vary) if vary else None
        warn_of_varied(file, sets, space)
        plan = Plan.of(file, space, replicates, design, samples, seed, sets or [], half_widths(within))
        shown = kinds_of_metrics(metrics or SHOWN, plan.scenarios, "--metric")
        announce(file, plan.scenarios, len(plan.seeds), workers, dask)
        with watch_runs(quiet=as_json, figures=shown) as progress:
            swept = plan.run(workers, dask, out, finished.counted(progress))
    show(swept)
    if out is not None and not as_json:
        print_written(f"{out}; to see it: retrylab plot {shlex.quote(str(out))}")
