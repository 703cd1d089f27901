"""The command ``retrylab fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from simulation.commands.shared import argument, json_option, option, path_option, print_document, refuse

Timeouts = Literal["hang", "lost_reply"]
"""The meaning of attempts without an answer."""

LatencyUnit = Literal["s", "ms", "us", "ns"]
"""The units of latencies."""

Attempts = Annotated[
    Path,
    argument(
        "ATTEMPTS",
        "A CSV file with a header and a line for each attempt, an attempts.parquet, or the directory of a run.",
    ),
]
TimeColumn = Annotated[
    str | None,
    option(
        "When an attempt started: ISO 8601, seconds or milliseconds since 1970, or seconds from the start.",
        "--time",
        metavar="COLUMN",
    ),
]
LatencyColumn = Annotated[str | None, option("How long it took.", "--latency", metavar="COLUMN")]
LatencyUnitOption = Annotated[
    LatencyUnit | None, option("The unit of the latency; when left out, that of the column's name, such as latency_ms.")
]
OutcomeColumn = Annotated[
    str | None,
    option(
        "How it ended: sent, 200, failed, 429, timeout, …; none: the log does not say.", "--outcome", metavar="COLUMN"
    ),
]
OutcomeMap = Annotated[
    list[str] | None, option("What a word means, e.g. bounced=permanent.", "--outcome-map", metavar="WORD=OUTCOME")
]
ChannelName = Annotated[
    str | None,
    option("Use only this channel; or name the channel of a log that has none.", "--channel", metavar="NAME"),
]


def fit(
    attempts: Attempts,
    time: TimeColumn = None,
    latency: LatencyColumn = None,
    latency_unit: LatencyUnitOption = None,
    outcome: OutcomeColumn = None,
    outcome_map: OutcomeMap = None,
    channel: ChannelName = None,
    timeouts: Annotated[
        Timeouts | None,
        option(
            "How the scenario explains attempts without an answer, since no log can tell. When left out: a hang in "
            "windows, lost replies elsewhere."
        ),
    ] = None,
    out: Annotated[Path | None, path_option("FILE", "Write the fitted scenario here.")] = None,
    as_json: Annotated[bool, json_option("all metrics as ")] = False,
) -> None:
    """Turn a log of real attempts into provider and fault settings. Exit code 0: done; 2: bad input."""
    from actors.errors import ConfigurationError
    from simulation.fitting.calibration import fit as fit_log
    from simulation.fitting.document import check_place, document, save_fit
    from simulation.fitting.reading import parse_map
    from simulation.results.files import is_same

    given, problems = parse_map(outcome_map or [])
    try:
        if problems:
            raise ConfigurationError(problems)
        if out is not None and is_same(out, attempts):
            raise ConfigurationError([f"--out {out}: wanted a file for the scenario, got the log itself"])
        if out is not None:
            check_place(out)
        found = fit_log(
            attempts,
            time=time,
            latency=latency,
            latency_unit=latency_unit,
            outcome=outcome,
            outcome_map=given,
            channel=channel,
            timeouts=timeouts,
        )
        written = [] if out is None else save_fit(found, out)
    except ConfigurationError as error:
        refuse(f"--out {problem}" if problem.startswith(f"{out}: ") else problem for problem in error.problems)
    except OSError as error:
        refuse([f"--out {error.filename or out}: {error.strerror or error}"])
    if as_json:
        print_document(document(found))
    else:
        from simulation.fitting.report import print_fit

        print_fit(found, [str(path) for path in written])
