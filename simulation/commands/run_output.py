"""Where the results of `retrylab run` go: each as its run ends, and what is about all of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from simulation.commands.scenario_files import Messages
from simulation.commands.shared import print_line, refuse, say

if TYPE_CHECKING:
    from simulation.reporting.markdown import RunFacts
    from simulation.results.progress import RunSnapshot
    from simulation.results.result import Result
    from simulation.scenario import Scenario

STDOUT = Path("-")
"""The name of standard output."""


class RunOutput:
    """Prints the results of runs, for people, as JSON or as Markdown, and annotates what does not hold."""

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
        """Print a result.

        Args:
            file: of the scenario.
            result: of its run.
            directory: where it has been written; None where it has not.
            again: the command that runs it again.
        """
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
        """Print what is known of a run that was interrupted; None: it had not begun."""
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
        """Print what is left, which is one document of JSON: a list where there are several files."""
        if self._as_json and self._summaries:
            document = self._summaries if several else self._summaries[0]
            typer.echo(json.dumps(document, indent=2, allow_nan=False))

    @contextmanager
    def summarized(self, count: int) -> Iterator[None]:
        """Write the Markdown of so many files when the block ends, however it ends."""
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
