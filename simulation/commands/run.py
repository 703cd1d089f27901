"""The command ``retrylab run``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from simulation.commands.rules import NOT_SO_WITH_RULES, NamedRules, RulesOption
from simulation.commands.run_output import RunOutput
from simulation.commands.scenario_files import (
    Annotate,
    Files,
    Messages,
    findings_in,
    load_all,
    with_code,
    without_others,
)
from simulation.commands.service_run import run_in_world
from simulation.commands.shared import (
    CodeOption,
    Exit,
    Sets,
    Workers,
    announce,
    check_lab,
    exits_in_words,
    interrupts,
    json_option,
    jsonl_option,
    option,
    path_option,
    refuse,
    save,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.errors import ForeignAwait
    from simulation.results.result import Result
    from simulation.scenario import Scenario


RuntimeName = Literal["simpy", "trio"]
"""The clock to run on."""


def run(
    files: Files,
    seed: Annotated[int | None, option("The seed, instead of the scenario's own.")] = None,
    sets: Sets = None,
    runtime: Annotated[RuntimeName, typer.Option(help="Simulated time, or trio under its MockClock.")] = "simpy",
    out: Annotated[
        Path | None, path_option("DIR", "Write report.html, summary.json, tables and a picture here.")
    ] = None,
    as_json: Annotated[bool, json_option("the summary as ")] = False,
    as_jsonl: Annotated[
        bool, jsonl_option("each file as soon as it has run: its path as file, and its summary")
    ] = False,
    annotate: Annotate = None,
    markdown: Annotated[
        Path | None,
        path_option(
            "FILE", "Append a summary as Markdown to this file, such as $GITHUB_STEP_SUMMARY; - prints it alone."
        ),
    ] = None,
    record: Annotated[
        Path | None, path_option("TRACE", "Write the history of the run here, to be replayed; one FILE only.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Check all invariants that apply, and stop at the first breach; with --service, all that `explore` "
            "looks at in a service, and three other processes.",
        ),
    ] = False,
    replicates: Annotated[
        int | None,
        option(
            "Run so many consecutive seeds at most, until each expectation 'in: 99% of runs' is decided with 95% "
            "confidence; 99% takes 299 runs without a failure. Other expectations must hold with the first seed.",
            min=1,
        ),
    ] = None,
    workers: Workers = None,
    rules: RulesOption = None,
    service: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:MAIN", help="Run this trio service in the scenario's `world`, in place of the pipeline."
        ),
    ] = None,
    code: CodeOption = False,
) -> None:
    """Run scenarios. Exit code 0: no expectation fails, though one may be undecided; 1: one does; 2: bad input; 3: an
    invariant broke; 4: a worker process is gone; 130: interrupted, with what was known by then."""
    from actors.errors import ConfigurationError, ForeignAwait, InvariantBreach, RunCancelled
    from simulation.reporting.terminal import watch_run
    from simulation.results.reproduce import Origin, shell_command
    from simulation.scenario.arguments import check_counts

    check_lab("run", out=out, replicates=replicates)
    files = without_others(files)
    messages = Messages(annotate)
    output = RunOutput(messages, as_json=as_json, as_jsonl=as_jsonl, markdown=markdown)
    if record is not None and len(files) > 1:
        refuse([f"--record {record}: wanted one scenario file, got {len(files)}"])
    if workers is not None and replicates is None:
        refuse([f"--workers {workers}: wanted it with --replicates, whose runs they share"])
    if service is not None:
        beside = {"--record": record, "--replicates": replicates, "--rules": rules}
        if unfit := [f"{name}: wanted it without --service" for name, value in beside.items() if value]:
            refuse(unfit)
    try:
        check_counts(replicates=replicates, workers=workers)
    except ConfigurationError as error:
        refuse(error.problems)
    with output.summarized(len(files)):
        scenarios, problems = load_all(files, sets or [], seed)
        if not problems and service is None:
            scenarios, problems = with_code(scenarios, files, code)
        if problems:
            messages.refuse(problems)
        named = NamedRules(tuple(rules)) if rules else None
        if named is not None and (unusable := named.problems(scenarios)):
            refuse(unusable)
        directories = _directories(files, out)
        for file, scenario in zip(files, scenarios, strict=True):
            for problem, finding in findings_in(file, scenario, sets or []) if service is None else ():
                if named is None or finding.rule not in NOT_SO_WITH_RULES:
                    messages.finding("warning", file, problem, finding)
        holds, is_interrupted = True, False
        unsaved: str | None = None
        for number, (file, scenario, directory) in enumerate(zip(files, scenarios, directories, strict=True), start=1):
            part = f"{number} of {len(files)}" if len(files) > 1 else ""
            announce(file, [scenario], service=service)
            again = shell_command(
                file, scenario.seed, sets or [], runtime, check=check, rules=rules or [], service=service, code=code
            )
            try:
                how = _runner(scenario) if record is None else _recorder(file, record, seed, sets or [], code)
                if check:
                    how = partial(how, invariants="all")
                if named is not None:
                    how = partial(how, rules=named(scenario))
                result: Result
                if service is not None:
                    is_quiet = as_json or as_jsonl
                    result, is_sound = run_in_world(service, file, scenario, code=code, check=check, quiet=is_quiet)
                    holds &= is_sound
                else:
                    with interrupts() as cancelled, watch_run(scenario, quiet=as_json, part=part) as progress:
                        result = how(runtime=runtime, progress=progress, cancelled=cancelled)
            except OSError as error:
                if record is None:
                    raise
                refuse([f"--record {record}: {error.strerror}"])
            except ConfigurationError as error:
                if of_trace := [each for each in error.problems if record and each.startswith(f"{record}: ")]:
                    refuse(f"--record {problem}" for problem in of_trace)
                messages.refuse({_placed(problem, file): file for problem in error.problems})
            except ForeignAwait as error:
                refuse([f"{file}: {_awaited_at(error)}{error}"])
            except RunCancelled as stopped:
                output.add_interrupted(file, scenario, stopped.so_far)
                is_interrupted = True
                break
            except InvariantBreach as breach:
                text = f"{file}: {breach.of_run(scenario.seed, again)}"
                messages.problem(text, "an invariant broke, which is a bug", file)
                raise typer.Exit(Exit.INVARIANT_BROKEN) from None
            only = result.origin.only_in_python
            result.origin = Origin(file, tuple(sets or []), only, tuple(rules or []), service, code)
            if replicates is not None:
                is_interrupted = not _decide(
                    result, file, replicates=replicates, workers=workers, rules=named, check=check, quiet=as_json
                )
            holds &= result.holds
            unsaved = None if directory is None else save(result, directory)
            output.add(file, result, directory if unsaved is None else None, again)
            if unsaved is not None or is_interrupted:
                break
        output.end(several=len(files) > 1)
        if unsaved is not None:  # reported after the metrics are printed, which would be lost otherwise
            refuse([unsaved])
        if is_interrupted:
            say("interrupted")
            raise typer.Exit(Exit.INTERRUPTED)
    if not holds:
        raise typer.Exit(Exit.DOES_NOT_HOLD)


def _awaited_at(error: ForeignAwait) -> str:
    """The line of an own actor that awaited, where an exception tells it."""
    from simulation.world.escape import is_of_service

    cause = error.__cause__
    lines = [] if cause is None else [each for each in walk_tb(cause.__traceback__) if is_of_service(each[0])]
    return f"{lines[-1][0].f_code.co_filename}:{lines[-1][1]}: " if lines else ""


def _placed(problem: str, file: Path) -> str:
    from actors.settings.yaml_tree import place_in

    return problem if place_in(problem, str(file)) else f"{file}: {problem}"


def _directories(files: Sequence[Path], out: Path | None) -> list[Path | None]:
    from actors.errors import ConfigurationError
    from simulation.results.files import check_folder
    from simulation.results.result import SUMMARY_FILE

    if out is None:
        return [None] * len(files)
    directories = [out] if len(files) == 1 else [out / file.stem for file in files]
    for number, directory in enumerate(directories):
        try:
            check_folder(directory, SUMMARY_FILE, files)
        except ConfigurationError as error:
            refuse(error.problems)
        if directory in directories[:number]:
            refuse([f"--out {out}: {files[number]} and another file are both called {directory.name}"])
    return list(directories)


def _decide(
    result: Result,
    file: Path,
    *,
    replicates: int,
    workers: int | None,
    rules: NamedRules | None,
    check: bool,
    quiet: bool,
) -> bool:
    """Run the seeds that follow, and note in the summary what all show of the expectations; return whether all ran."""
    from simulation.reporting.terminal import watch_runs
    from simulation.running.deciding import decide

    if replicates > 1:
        announce(file, [result.scenario], replicates, workers)
    with exits_in_words(file, None), watch_runs(quiet=quiet) as progress:
        try:
            invariants: Literal["all", "default"] = "all" if check else "default"
            decide(result, replicates, workers=workers, invariants=invariants, rules=rules, progress=progress)
        except KeyboardInterrupt:
            return False
    return True


def _runner(scenario: Scenario) -> Callable[..., Result]:
    from simulation.running.runner import run as run_scenario

    return partial(run_scenario, scenario)


def _recorder(file: Path, trace: Path, seed: int | None, sets: Sequence[str], code: bool) -> Callable[..., Result]:
    from simulation.running.traces.recording import record

    return partial(record, file, trace, seed=seed, sets=sets, code=code)
