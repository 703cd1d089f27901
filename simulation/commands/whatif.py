"""The command ``retrylab whatif``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulation.commands.fit import (
    Attempts,
    ChannelName,
    LatencyColumn,
    LatencyUnitOption,
    OutcomeColumn,
    OutcomeMap,
    TimeColumn,
)
from simulation.commands.shared import SetsAsForRun, argument, exits_in_words, json_option, option, print_document

if TYPE_CHECKING:
    from simulation.fitting.whatif import WhatIf


def whatif(
    attempts: Attempts,
    file: Annotated[Path, argument("FILE", "A scenario file with the policies.")],
    sets: SetsAsForRun = None,
    seed: Annotated[int | None, option("The first seed, in place of the file's.", min=0)] = None,
    replicates: Annotated[int, typer.Option(min=1, help="Replays, on consecutive seeds.")] = 5,
    within: Annotated[
        str | None,
        option(
            "Draw each outcome from the attempts recorded within this time of it, such as 500ms; without it half the "
            "time in which the record has ten.",
            metavar="DURATION",
        ),
    ] = None,
    time: TimeColumn = None,
    latency: LatencyColumn = None,
    latency_unit: LatencyUnitOption = None,
    outcome: OutcomeColumn = None,
    outcome_map: OutcomeMap = None,
    channel: ChannelName = None,
    as_json: Annotated[bool, json_option("all metrics as ")] = False,
) -> None:
    """Replay recorded outcomes by time under the policies of a scenario. Exit code 0: done; 2: bad input."""
    from actors.errors import ConfigurationError
    from actors.settings.quantities import parse_duration
    from simulation.fitting.reading import parse_map
    from simulation.fitting.report import print_whatif
    from simulation.fitting.whatif import whatif as replay

    given, problems = parse_map(outcome_map or [])
    within_s = None if within is None else parse_duration(within, unit_required=True)
    if within is not None and within_s is None:
        problems.append(f"--within {within}: wanted a duration such as 500ms, 10s, 5m or 2h")

    def show(found: WhatIf) -> None:
        if as_json:
            print_document(found.document)
        else:
            print_whatif(found)

    with exits_in_words(attempts, None, show):
        if problems:
            raise ConfigurationError(problems)
        found = replay(
            attempts,
            file,
            sets=sets or [],
            seed=seed,
            replicates=replicates,
            within=within_s,
            time=time,
            latency=latency,
            latency_unit=latency_unit,
            outcome=outcome,
            outcome_map=given,
            channel=channel,
        )
    show(found)
