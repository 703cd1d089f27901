"""The command ``retrylab replay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from simulation.commands.rules import NamedRules, RulesOption
from simulation.commands.run import RuntimeName
from simulation.commands.shared import (
    CodeOption,
    Exit,
    Sets,
    announce,
    argument,
    import_from_here,
    option,
    path_option,
    refuse,
)


def replay(
    trace: Annotated[Path, argument("TRACE", "A trace, written by run --record.")],
    against: Annotated[Path | None, path_option("TRACE", "Run nothing, and compare with this trace instead.")] = None,
    seed: Annotated[int | None, option("Another seed.")] = None,
    sets: Sets = None,
    runtime: Annotated[RuntimeName | None, option("Another clock.")] = None,
    rules: RulesOption = None,
    code: CodeOption = False,
) -> None:
    """Run a recorded trace again, and compare. Exit code 0: exact; 1: a difference; 2: bad input."""
    from actors.errors import ConfigurationError
    from simulation.running.traces.replaying import compare_traces, replay as replay_trace
    from simulation.running.traces.trace import Trace

    try:
        if against is None:
            recorded = Trace(trace)
            scenario = recorded.scenario(sets=sets or [], seed=seed)
            announce(trace, [scenario])
            if code:
                import_from_here()
            given: dict[str, Any] = {"rules": NamedRules(tuple(rules))(scenario)} if rules else {}
            outcome = replay_trace(recorded, sets=sets or [], seed=seed, runtime=runtime, code=code, **given)
        elif sets or seed is not None or runtime is not None or rules:
            refuse([f"--against {against}: wanted no other option, since nothing is run"])
        else:
            outcome = compare_traces(trace, against)
    except ConfigurationError as error:
        refuse(error.problems)
    except ValueError as error:
        refuse([f"{trace}: {error}"])
    typer.echo(outcome)
    if not outcome.exact:
        raise typer.Exit(Exit.DOES_NOT_HOLD)
