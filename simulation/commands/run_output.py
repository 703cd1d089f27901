"""Where the results of `retrylab run` go: each as its run ends, and what is about all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from simulation.commands.scenario_files import Messages
from simulation.commands.shared import print_line, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulation.results.result import Result


class RunOutput:
    """Prints the results of runs, for people or as JSON, and annotates the expectations that do not hold."""

    def __init__(self, messages: Messages, sets: Sequence[str], *, as_json: bool, as_jsonl: bool) -> None:
        self._messages = messages
        self._sets = sets
        self._as_json = as_json
        self._as_jsonl = as_jsonl
        self._summaries: list[dict[str, Any]] = []
        """And not the results, which may be large."""

    def add(self, file: Path, result: Result, directory: Path | None) -> None:
        """Print a result.

        Args:
            file: of the scenario.
            result: of its run.
            directory: where it has been written; None where it has not.
        """
        if self._as_jsonl:
            print_line({"file": str(file), **result.summary})
        elif self._as_json:
            self._summaries.append(result.summary)
        else:
            from simulation.reporting.console import print_result

            print_result(result, directory)
        if self._messages.annotates and not result.holds:
            from simulation.reporting.annotations import expectation_commands
            from simulation.scenario.lint import expectations_at

            places = expectations_at(file, len(result.scenario.expect), self._sets)
            for command in expectation_commands(result, file, places):
                say(command)

    def end(self, *, several: bool) -> None:
        """Print what is left, which is one document of JSON: a list where there are several files."""
        if self._as_json:
            document = self._summaries if several else self._summaries[0]
            typer.echo(json.dumps(document, indent=2, allow_nan=False))
