"""The command ``retrylab limits``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulation.commands.shared import (
    CodeOption,
    Dask,
    Exit,
    File,
    FirstSeed,
    SetsAsForRun,
    Workers,
    check_who_does_them,
    exits_in_words,
    import_from_here,
    json_option,
    option,
    path_option,
    print_document,
    say_what_runs,
)

if TYPE_CHECKING:
    from simulation.experiments.limits.map_result import LimitsMap


def limits(
    file: File,
    of: Annotated[
        str | None,
        option(
            "The stresses to try: outage, latency, failure_rate, load, capacity or nodes, or several with commas; "
            "without it all.",
            metavar="KINDS",
        ),
    ] = None,
    on: Annotated[
        list[str] | None,
        option("The channel to stress, or all; without it each channel, and all together.", metavar="CHANNEL"),
    ] = None,
    map_of: Annotated[
        str | None,
        option(
            "Map where the service recovers after a trigger, and find a setting that moves the boundary: over two "
            "stresses, such as load,outage or load=0.5..2,trigger=10s..5m; trigger is the length of the file's own "
            "faults that end.",
            "--map",
            metavar="A,B",
        ),
    ] = None,
    lasts: Annotated[
        str | None,
        option("How long a map's trigger lasts, if it is no outage; without it 60s.", "--for", metavar="TIME"),
    ] = None,
    at: Annotated[
        str | None,
        option("When the stress begins, such as 5m; without it after the first quarter of duration.", metavar="TIME"),
    ] = None,
    seed: FirstSeed = None,
    sets: SetsAsForRun = None,
    workers: Workers = None,
    dask: Dask = None,
    code: CodeOption = False,
    as_json: Annotated[bool, json_option("the limits as ")] = False,
    out: Annotated[
        Path | None,
        path_option(
            "DIR",
            "Write limits.json here, a scenario file for each side of each edge, and each run as soon as it has "
            "ended; finished runs that are here are not repeated.",
        ),
    ] = None,
) -> None:
    """Find out how much a scenario takes before an expectation breaks: how long an outage, how much load, and so on.

    It tries eight amounts of each stress, and bisects the edge until most of a few seeds hold on one side of it and
    break on the other. The output says how many seeds ran, and where the edge of other seeds may be. With --out, an
    interrupted search resumes where it stopped. The search also checks the file's own limits, such as email.outage: ">=
    2m". Exit code 0: the limits were found; 1: a limit of the file does not hold or cannot be checked; 2: bad input; 3:
    an invariant broke; 4: a worker process is gone.
    """
    from actors.errors import ConfigurationError
    from simulation.experiments.limits import map as mapping, result
    from simulation.experiments.limits.limits import limits as find_limits
    from simulation.reporting.console import print_sheets, print_written
    from simulation.reporting.terminal import watch_runs
    from simulation.results.files import check_folder
    from simulation.scenario.loading import given

    def show(found: result.Limits | LimitsMap | None) -> None:
        if as_json:
            nothing = {"cells" if map_of is not None else "limits": [], "complete": False}
            print_document(nothing if found is None else found.document())
        elif found is not None:
            print_sheets(found.sheet())

    if code:
        import_from_here()
    with exits_in_words(file, out, show) as finished, _interrupted_with_what_is_known():
        check_who_does_them(workers, dask)
        scenario = given(file, sets or [], seed, code)
        say_what_runs(file, [scenario])
        if out is not None:
            check_folder(out, (mapping if map_of is not None else result).DOCUMENT, [file])
        with watch_runs(quiet=as_json) as progress:
            how: dict[str, Any] = {
                "at": None if at is None else _time("--at", at),
                "workers": workers,
                "cluster": dask,
                "out": out,
                "code": code,
                "progress": finished.counted(progress),
            }
            found: result.Limits | LimitsMap
            if map_of is None and lasts is not None:
                raise ConfigurationError(["--for: wanted --map, too: --for is how long the trigger of a map lasts"])
            if map_of is not None:
                _check_map(of, on)
                place = (on or ["all"])[0]
                lasts_s = mapping.LASTS_S if lasts is None else _time("--for", lasts)
                found = mapping.limits_map(scenario, map_of.split(","), on=place, lasts=lasts_s, **how)
            else:
                kinds = None if of is None else [name.strip() for name in of.split(",")]
                found = find_limits(scenario, kinds, on=on or [], **how)
    show(found)
    if out is not None and not as_json:
        print_written(str(out / "map.png" if map_of is not None and (out / "map.png").is_file() else out))
    if isinstance(found, result.Limits) and (
        not all(found.met.values()) or (of is None and not on and found.not_asked)
    ):
        raise typer.Exit(Exit.DOES_NOT_HOLD)


@contextmanager
def _interrupted_with_what_is_known() -> Iterator[None]:
    """Report an interrupt before a search began, when nothing is known yet."""
    from simulation.results.progress import Interrupted

    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted(None) from None


def _time(name: str, text: str) -> float:
    from actors.errors import ConfigurationError
    from actors.settings.quantities import parse_duration

    if (found := parse_duration(text)) is None:
        raise ConfigurationError([f"{name}: wanted a time such as 5m, got {text!r}"])
    return found


def _check_map(of: str | None, on: list[str] | None) -> None:
    from actors.errors import ConfigurationError

    if of is not None or len(on or []) > 1:
        raise ConfigurationError(["--map: wanted no --of beside it, and one --on at most"])
