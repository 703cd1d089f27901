"""The command ``retrylab lint``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.errors import TemplateError
from actors.pipeline.templates import SUFFIXES, problems_in
from simulation.commands.scenario_files import Annotate, Messages, findings_in, load_each_file
from simulation.commands.shared import Exit, Sets, argument, json_option, jsonl_option, print_line, refuse

if TYPE_CHECKING:
    from actors.lint.findings import Finding
    from actors.settings.yaml_tree import Problem
    from simulation.scenario import Scenario


def lint(
    files: Annotated[
        list[Path],
        argument("FILE", "Scenarios, or files with `channels`; templates (.txt, .html), or their folders."),
    ],
    sets: Sets = None,
    as_json: Annotated[bool, json_option("one list of the findings as ")] = False,
    as_jsonl: Annotated[bool, jsonl_option("each finding, file by file")] = False,
    annotate: Annotate = None,
) -> None:
    """Print the settings that cannot do what they say, which defaults will decide, as notes, and refused templates.

    As JSON a finding is an object: file; line and column, null where --set put the setting; rule, a name that stays
    when the message changes; path, of the setting; message; and numbers, a list of those in the message, each with
    text, value and unit (s, 1/s, share, or null).

    A note has the rule default-decides.

    Exit code 0: no findings but notes; 1: findings; 2: bad input.
    """
    if as_json and as_jsonl:
        refuse(["--jsonl: wanted it without --json"])
    from simulation.scenario.lint import places_of
    from simulation.scenario.unnamed import DECIDES, default_notes

    messages = Messages(annotate)
    loaded, problems = load_each_file([file for file in files if not _is_template(file)], sets or [])
    templates: dict[Path, list[tuple[Problem, Finding]]] = {}
    for file in filter(_is_template, files):
        try:
            templates[file] = _lines_of(file)
        except TemplateError as error:
            problems[str(error)] = file
    if problems:
        messages.refuse(problems)
    documents: list[dict[str, Any]] = []
    holds = True
    in_order = iter(loaded)
    for file in files:
        found = templates.get(file)
        if found is None:
            scenario, is_settings = next(in_order)
            if is_settings:
                found = places_of(_of_settings(scenario), file, sets or [])
            else:
                notes = places_of(default_notes(scenario), file, sets or [])
                found = [*findings_in(file, scenario, sets or []), *notes]
        for problem, finding in found:
            is_note = finding.rule == DECIDES
            holds &= is_note
            where = Path(problem.place.source) if file in templates else file
            if messages.annotates:
                messages.finding(
                    "notice" if is_note else "error", where, problem, finding
                )  # an error fails the command
            if as_json:
                documents.append(_document(where, problem, finding))
            elif as_jsonl:
                print_line(_document(where, problem, finding))
            elif not messages.annotates:
                typer.echo(f"note: {problem}" if is_note else problem)
    if as_json:
        typer.echo(json.dumps(documents, indent=2, allow_nan=False))
    if not holds:
        raise typer.Exit(Exit.DOES_NOT_HOLD)


def _of_settings(scenario: Scenario) -> list[Finding]:
    from actors.lint.channel import lint_live

    channels = {channel: scenario.channel_config(channel) for channel in scenario.channels_used}
    return lint_live(channels, {channel: {} for channel in channels}, are_simulated=False)


def _is_template(path: Path) -> bool:
    return path.is_dir() or path.suffix in SUFFIXES


def _lines_of(path: Path) -> list[tuple[Problem, Finding]]:
    from actors.lint.findings import Finding, Said
    from actors.settings.yaml_tree import Place, Problem

    found = []
    for text in problems_in(path):
        place, _, why = text.partition(": ")
        name, _, line = place.rpartition(":")
        where = Place(name, int(line), 1) if line.isdigit() else Place(place)
        found.append((Problem(where, (), why), Finding((), "template-refused", Said(why))))
    return found


def _document(file: Path, problem: Problem, finding: Finding) -> dict[str, Any]:
    place = problem.place
    return {"file": str(file), "line": place.line or None, "column": place.column or None, **finding.document}
