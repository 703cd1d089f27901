"""The command ``retrylab compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from simulation.commands.run import Sets
from simulation.commands.shared import given_path, refuse, save


def compare(
    file: Annotated[
        Path, typer.Argument(parser=given_path, metavar="FILE", help="A scenario file.", show_default=False)
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=A,B",
            help="Values to compare, e.g. channels.sms.retry.jitter=none,full; the first one is the baseline. "
            "Given several times, every combination is run.",
            show_default=False,
        ),
    ] = None,
    replicates: Annotated[int, typer.Option(min=1, help="Runs of each setting, with one seed after the other.")] = 10,
    seed: Annotated[
        int | None, typer.Option(help="The first seed, in place of the file's.", show_default=False)
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="PATH", help="A figure of the summary, e.g. delivery_time_s.p99.", show_default=False
        ),
    ] = None,
    sets: Sets = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the runs; as many as cores.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON and nothing else.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=given_path, metavar="DIR", help="Write comparison.json and tables here.", show_default=False
        ),
    ] = None,
) -> None:
    """Compare settings on the same luck: the mean of each, and the differences with their 95% confidence intervals."""
    from simulation.commands.shared import exits_in_words
    from simulation.experiments.comparison import DOCUMENT, compare as compare_settings
    from simulation.reporting.terminal import watch_runs
    from simulation.results.files import check_folder
    from simulation.scenario.variations import parse_vary

    with exits_in_words(file, None), watch_runs(quiet=as_json) as progress:
        if out is not None:
            check_folder(out, DOCUMENT, [file])
        comparison = compare_settings(
            file,
            parse_vary(vary or []),
            replicates=replicates,
            seed=seed,
            metrics=metrics or None,
            sets=sets or [],
            workers=workers,
            progress=progress,
        )
    unsaved = None if out is None else save(comparison, out)
    if as_json:
        typer.echo(json.dumps(comparison.document, indent=2, allow_nan=False))
    else:
        from simulation.experiments.comparison_table import print_comparison

        print_comparison(comparison, out if unsaved is None else None)
    if unsaved is not None:
        refuse([unsaved])
