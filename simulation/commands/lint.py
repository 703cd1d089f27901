"""The command ``retrylab lint``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.errors import ConfigurationError, TemplateError
from actors.pipeline.templates import SUFFIXES, problems_in, template_files
from simulation.commands.foreign_files import GivenValues, Library, Profile, given_of, say_left_out
from simulation.commands.scenario_files import Annotate, Messages, findings_in, load_each_file
from simulation.commands.shared import (
    Exit,
    Sets,
    argument,
    json_option,
    jsonl_option,
    print_document,
    print_line,
    refuse,
)

if TYPE_CHECKING:
    from actors.lint.findings import Finding
    from actors.settings.yaml_tree import Problem
    from simulation.importing.files import Imported
    from simulation.scenario import Scenario


def lint(
    files: Annotated[
        list[Path],
        argument(
            "FILE", "Scenarios, or files with `channels`; templates (.txt, .html); files as `import` takes; folders."
        ),
    ],
    sets: Sets = None,
    values: GivenValues = None,
    profiles: Profile = None,
    libraries: Library = None,
    as_json: Annotated[bool, json_option("one list of the findings as ")] = False,
    as_jsonl: Annotated[bool, jsonl_option("each finding, file by file")] = False,
    annotate: Annotate = None,
) -> None:
    """Print settings that cannot do what they say, refused templates, and, as notes, defaults that may decide.

    As JSON a finding is an object: file; line and column, null where --set put the setting; rule, a name that stays
    when the message changes; path, of the setting; message; and numbers, a list of the numbers in the message, each
    with text, value and unit (s, 1/s, share, or null).

    A note has the rule default-decides.

    Exit code 0: no findings but notes; 1: findings; 2: bad input.
    """
    if as_json and as_jsonl:
        refuse(["--jsonl: wanted it without --json"])
    from simulation.importing.channels import channels_root, imported_from
    from simulation.scenario.lint import places_in, places_of
    from simulation.scenario.unnamed import DECIDES, default_notes

    messages = Messages(annotate)
    try:
        given = given_of(values, profiles, libraries)
    except ConfigurationError as error:
        refuse(error.problems)
    others = [file for file in files if _is_of_libraries(file) or not _is_template(file)]
    loaded, problems = load_each_file(others, sets or [], given)
    templates: dict[Path, list[tuple[Problem, Finding]]] = {}
    for file in files:
        if not _is_template(file) or (file in others and not template_files(file)):
            continue
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
        found = templates.get(file, [])
        if file in others:
            scenario, is_settings = next(in_order)
            if is_settings:
                imported = imported_from(file, given)
                if imported is None:
                    found = places_of(_of_settings(scenario), file, sets or [])
                else:
                    own = places_in(channels_root(imported), _of_own(scenario, imported))
                    found = [*found, *_dead_lines(imported), *own]
                    say_left_out(imported)
            else:
                notes = places_of(default_notes(scenario), file, sets or [])
                found = [*findings_in(file, scenario, sets or []), *notes]
        for problem, finding in found:
            is_note = finding.rule == DECIDES
            holds &= is_note
            where = Path(problem.place.source) if file in templates or file.is_dir() else file
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
        print_document(documents)
    if not holds:
        raise typer.Exit(Exit.DOES_NOT_HOLD)


def _of_settings(scenario: Scenario) -> list[Finding]:
    from actors.lint.channel import lint_live

    channels = {channel: scenario.channel_config(channel) for channel in scenario.channels_used}
    return lint_live(channels, {channel: {} for channel in channels}, are_simulated=False)


def _of_own(scenario: Scenario, imported: Imported) -> Iterator[Finding]:
    """Yield the findings about settings that a library's file has, not about defaults that stand for missing ones."""
    from simulation.importing.channels import channel_names

    own = dict(zip(channel_names(imported.policies), imported.policies, strict=True))
    for finding in _of_settings(scenario):
        policy = own.get(finding.path[1]) if len(finding.path) > 2 else None
        path = ".".join(map(str, finding.path[2:]))
        said = [each.path for each in policy.findings if each.line and each.path] if policy is not None else []
        if any(f"{each}.".startswith(f"{path}.") or f"{path}.".startswith(f"{each}.") for each in said):
            yield finding


def _dead_lines(imported: Imported) -> Iterator[tuple[Problem, Finding]]:
    """Yield the lines of a library's file that do nothing."""
    from actors.lint.findings import Finding, Said
    from actors.settings.yaml_tree import Place, Problem
    from simulation.importing.policy import Mark

    for policy in imported.policies:
        for each in policy.findings:
            if each.mark is Mark.DOES_NOTHING:
                text = f"{each.text} does nothing: {each.reason}"
                problem = Problem(Place(each.file, each.line, 1), (policy.name,), text)
                yield problem, Finding((), "does-nothing", Said(text))


def _is_template(path: Path) -> bool:
    return path.is_dir() or path.suffix in SUFFIXES


def _is_of_libraries(path: Path) -> bool:
    from simulation.importing.files import is_of_libraries

    return path.is_dir() and is_of_libraries(path)


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
