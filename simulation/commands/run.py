"""The command ``retrylab run``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from simulation.commands.rules import NOT_SO_WITH_RULES, NamedRules, RulesOption
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
    check_extras,
    exits_in_words,
    interrupts,
    json_option,
    jsonl_option,
    option,
    path_option,
    print_document,
    print_line,
    refuse,
    save,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.errors import ForeignAwait
    from simulation.reporting.markdown import RunFacts
    from simulation.results.progress import RunSnapshot
    from simulation.results.result import Result
    from simulation.scenario import Scenario


# ── what is printed ───────────────────────────────────────────────────────────────────────────────────────────────────


STDOUT = Path("-")
"""The name of standard output."""


class RunOutput:
    """Prints the results of runs, for people, as JSON or as Markdown, and annotates failed expectations."""

    def __init__(self, messages: Messages, *, as_json: bool, as_jsonl: bool, markdown: Path | None) -> None:
        self._messages = messages
        self._as_json = as_json
        self._as_jsonl = as_jsonl
        self._markdown = markdown
        self._summaries: list[dict[str, Any]] = []
        """And not the results, which may be large."""
        self._facts: list[RunFacts] = []
        self._check()

    def _check(self) -> None:
        if self._as_json and self._as_jsonl:
            refuse(["--jsonl: wanted it without --json"])
        path = self._markdown
        if path == STDOUT and (self._as_json or self._as_jsonl):
            refuse([f"--markdown -: wanted a file beside {'--json' if self._as_json else '--jsonl'}"])
        if path is not None and path != STDOUT and (reason := _why_unwritable(path)) is not None:
            refuse([f"--markdown {path}: {reason}"])

    def add(self, file: Path, result: Result, directory: Path | None, again: str) -> None:
        if self._as_jsonl:
            print_line({"file": str(file), **result.summary})
        elif self._as_json:
            self._summaries.append(result.summary)
        elif self._markdown != STDOUT:
            from simulation.reporting.console import print_result

            print_result(result, directory, _comparison(result))
        if self._messages.annotates and not result.holds:
            from simulation.reporting.annotations import expectation_commands
            from simulation.scenario.lint import expectations_at

            places = expectations_at(file, result.scenario.expect, result.origin.sets)
            for command in expectation_commands(result, file, places):
                say(command)
        if self._markdown is not None:
            from simulation.reporting.markdown import RunFacts

            self._facts.append(RunFacts.of(result, again))

    def add_interrupted(self, file: Path, scenario: Scenario, so_far: RunSnapshot | None) -> None:
        """Print the results so far of a run that was interrupted; None: it had not begun."""
        if so_far is None:
            return
        figures = {str(channel): so_far.summary_of(channel) for channel in scenario.channels_used}
        summary = {"scenario": scenario.name, "seed": scenario.seed, "interrupted_after_s": so_far.seconds}
        summary |= so_far.summary_of() | {"channels": figures}
        if self._as_jsonl:
            print_line({"file": str(file), **summary})
        elif self._as_json:
            self._summaries.append(summary)
        elif self._markdown != STDOUT:
            from simulation.reporting.console import print_interrupted

            print_interrupted(scenario, so_far, summary)

    def end(self, *, several: bool) -> None:
        """Print the remaining output, one document of JSON: a list where there are several files."""
        if self._as_json and self._summaries:
            document = self._summaries if several else self._summaries[0]
            print_document(document)

    @contextmanager
    def summarized(self, count: int) -> Iterator[None]:
        try:
            yield
        finally:
            if self._markdown is not None:
                self._write(self._markdown, count)

    def _write(self, path: Path, count: int) -> None:
        from simulation.reporting.markdown import markdown

        text = markdown(self._facts, self._messages.problems, count)
        if path == STDOUT:
            typer.echo(text.rstrip())
            return
        try:
            with path.open("a", encoding="utf-8", errors="replace") as file:  # as what a job's steps share
                file.write(f"\n{text}" if file.seekable() and file.tell() else text)
        except OSError as error:
            refuse([f"--markdown {path}: {error.strerror}"])


def _why_unwritable(path: Path) -> str | None:
    if path.is_dir():
        return "wanted a file, got a folder"
    if not path.parent.is_dir():
        return f"wanted a file in a folder that exists, got {path.parent}"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return "wanted a file that may be written"
    return None


def _comparison(result: Result) -> str:
    if not result.checked:
        return ""
    from simulation.verification.checking import comparison_text

    return comparison_text(result)


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
        Path | None, path_option("TRACE", "Write the history of the run here, for replay; one FILE only.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Check all invariants that apply, and stop at the first breach; with --service, make the checks that "
            "`explore` makes of a service, and compare three other processes.",
        ),
    ] = False,
    replicates: Annotated[
        int | None,
        option(
            "Run at most this number of consecutive seeds, until each expectation 'in: 99% of runs' is decided with "
            "95% confidence; 99% takes 299 runs without a failure. Other expectations must hold with the first seed.",
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
    invariant broke; 4: a worker process is gone; 130: interrupted, after the results so far."""
    from actors.errors import InvariantBreach, RunCancelled
    from simulation.results.reproduce import Origin

    check_extras("run", out=out, replicates=replicates, service=service)
    files = without_others(files)
    how = _How(
        messages=Messages(annotate),
        seed=seed,
        sets=sets or [],
        runtime=runtime,
        record=record,
        check=check,
        rules=rules or [],
        service=service,
        code=code,
        quiet=as_json,
        quiet_service=as_json or as_jsonl,
    )
    _refuse_unfit(files, how, replicates, workers)
    output = RunOutput(how.messages, as_json=as_json, as_jsonl=as_jsonl, markdown=markdown)
    with output.summarized(len(files)):
        scenarios = _loaded(files, how)
        directories = _directories(files, out)
        _warn(files, scenarios, how)
        holds, is_interrupted = True, False
        unsaved: str | None = None
        for number, (file, scenario, directory) in enumerate(zip(files, scenarios, directories, strict=True), start=1):
            announce(file, [scenario], service=service)
            try:
                result, is_sound = how.run(file, scenario, f"{number} of {len(files)}" if len(files) > 1 else "")
            except RunCancelled as stopped:
                output.add_interrupted(file, scenario, stopped.so_far)
                is_interrupted = True
                break
            except InvariantBreach as breach:
                text = f"{file}: {breach.of_run(scenario.seed, how.again(file, scenario))}"
                how.messages.problem(text, "an invariant broke, which is a bug", file)
                raise typer.Exit(Exit.INVARIANT_BROKEN) from None
            only = result.origin.only_in_python
            result.origin = Origin(file, tuple(how.sets), only, tuple(how.rules), service, code)
            if replicates is not None:
                is_interrupted = not _decide(result, file, how, replicates, workers)
            holds &= is_sound and result.holds
            unsaved = None if directory is None else save(result, directory)
            output.add(file, result, directory if unsaved is None else None, how.again(file, scenario))
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


class _How(NamedTuple):
    messages: Messages
    seed: int | None
    sets: Sequence[str]
    runtime: RuntimeName
    record: Path | None
    check: bool
    rules: Sequence[str]
    service: str | None
    code: bool
    quiet: bool
    quiet_service: bool

    @property
    def named_rules(self) -> NamedRules | None:
        return NamedRules(tuple(self.rules)) if self.rules else None

    def again(self, file: Path, scenario: Scenario) -> str:
        from simulation.results.reproduce import shell_command

        return shell_command(
            file,
            scenario.seed,
            self.sets,
            self.runtime,
            check=self.check,
            rules=self.rules,
            service=self.service,
            code=self.code,
        )

    def run(self, file: Path, scenario: Scenario, part: str) -> tuple[Result, bool]:
        """Run a scenario; return its result, and whether nothing is wrong with the service that ran in it.

        Raises:
            InvariantBreach: an invariant broke.
            RunCancelled: Ctrl-C was pressed.
            typer.Exit: the run was refused, as has been said.
        """
        from actors.errors import ConfigurationError, ForeignAwait
        from simulation.reporting.terminal import watch_run

        try:
            if self.service is not None:
                return run_in_world(
                    self.service, file, scenario, code=self.code, check=self.check, quiet=self.quiet_service
                )
            call = self._call(file, scenario)
            with interrupts() as cancelled, watch_run(scenario, quiet=self.quiet, part=part) as progress:
                return call(runtime=self.runtime, progress=progress, cancelled=cancelled), True
        except OSError as error:
            if self.record is None:
                raise
            refuse([f"--record {self.record}: {error.strerror}"])
        except ConfigurationError as error:
            if of_trace := [each for each in error.problems if self.record and each.startswith(f"{self.record}: ")]:
                refuse(f"--record {problem}" for problem in of_trace)
            self.messages.refuse({_placed(problem, file): file for problem in error.problems})
        except ForeignAwait as error:
            refuse([f"{file}: {_awaited_at(error)}{error}"])

    def _call(self, file: Path, scenario: Scenario) -> Callable[..., Result]:
        from simulation.running.runner import run as run_scenario
        from simulation.running.traces.recording import record

        call: Callable[..., Result] = partial(run_scenario, scenario)
        if self.record is not None:
            call = partial(record, file, self.record, seed=self.seed, sets=self.sets, code=self.code)
        if self.check:
            call = partial(call, invariants="all")
        return call if self.named_rules is None else partial(call, rules=self.named_rules(scenario))


def _refuse_unfit(files: Sequence[Path], how: _How, replicates: int | None, workers: int | None) -> None:
    from actors.errors import ConfigurationError
    from simulation.scenario.arguments import check_counts

    if how.record is not None and len(files) > 1:
        refuse([f"--record {how.record}: wanted one scenario file, got {len(files)}"])
    if workers is not None and replicates is None:
        refuse([f"--workers {workers}: wanted it with --replicates, to share the runs"])
    if how.service is not None:
        beside = {"--record": how.record, "--replicates": replicates, "--rules": how.rules}
        if unfit := [f"{name}: wanted it without --service" for name, value in beside.items() if value]:
            refuse(unfit)
    try:
        check_counts(replicates=replicates, workers=workers)
    except ConfigurationError as error:
        refuse(error.problems)


def _loaded(files: Sequence[Path], how: _How) -> Sequence[Scenario]:
    scenarios, problems = load_all(files, how.sets, how.seed)
    if not problems and how.service is None:
        scenarios, problems = with_code(scenarios, files, how.code)
    if problems:
        how.messages.refuse(problems)
    if how.named_rules is not None and (unusable := how.named_rules.problems(scenarios)):
        refuse(unusable)
    return scenarios


def _warn(files: Sequence[Path], scenarios: Sequence[Scenario], how: _How) -> None:
    """Print the linter's findings about the files; it knows nothing of a service in their world."""
    if how.service is not None:
        return
    for file, scenario in zip(files, scenarios, strict=True):
        for problem, finding in findings_in(file, scenario, how.sets):
            if not how.rules or finding.rule not in NOT_SO_WITH_RULES:
                how.messages.finding("warning", file, problem, finding)


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


def _decide(result: Result, file: Path, how: _How, replicates: int, workers: int | None) -> bool:
    """Run the seeds that follow, and note the decisions on expectations in the summary; return whether all ran."""
    from simulation.reporting.terminal import watch_runs
    from simulation.running.deciding import decide

    if replicates > 1:
        announce(file, [result.scenario], replicates, workers)
    invariants: Literal["all", "default"] = "all" if how.check else "default"
    with exits_in_words(file, None), watch_runs(quiet=how.quiet) as progress:
        try:
            decide(result, replicates, workers=workers, invariants=invariants, rules=how.named_rules, progress=progress)
        except KeyboardInterrupt:
            return False
    return True
