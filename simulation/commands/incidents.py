"""The command ``retrylab incidents``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulation.commands.foreign_files import GivenValues, Library, Profile, given_of
from simulation.commands.shared import Exit, Workers, argument, exits_in_words, json_option, option, print_document, say

if TYPE_CHECKING:
    from simulation.experiments.incidents import Remedy, Verdict


def incidents(
    file: Annotated[
        Path | None,
        argument(
            "[SETTINGS]",
            "A file with `channels`, of a scenario, a notifier or a service; or a file that `import` reads. Without "
            "it the defaults.",
        ),
    ] = None,
    remedies: Annotated[
        bool, typer.Option("--remedies", help="Look for the fewest changes with which each broken incident would hold.")
    ] = False,
    policy: Annotated[str | None, option("The policy to use, if `import` reads several from the file.")] = None,
    values: GivenValues = None,
    profiles: Profile = None,
    libraries: Library = None,
    as_json: Annotated[bool, json_option("the verdicts as ")] = False,
    workers: Workers = None,
) -> None:
    """Run your channel settings through published incidents: what would have held, and what would have broken.

    The incident sets arrivals, providers and faults; your file sets everything that the sender decides. The incidents'
    loads are scaled down, so your slots and quotas bind less than they would. An incident with a channel that the file
    lacks is not judged. If `import` reads the file, its one policy, or the policy that --policy names, is used for
    every channel.

    --remedies tries some changes on each incident that breaks: retries for hours, a breaker for each host, a slow pace
    after an outage, a quota if the provider has a limit, a second provider if the incident has one.

    Exit code 0: every incident holds; 1: one breaks; 2: bad input.
    """
    from simulation.experiments.incidents import (
        INCIDENTS,
        not_judged,
        print_remedies,
        remedy,
        settings_given,
        verdicts,
        verdicts_sheet,
    )
    from simulation.reporting.console import print_sheets
    from simulation.reporting.terminal import watch_runs
    from simulation.results.progress import Interrupted

    found: list[Verdict] = []
    changes: dict[str, Remedy] = {}

    def show(found: list[Verdict]) -> None:
        if as_json:
            documents = [verdict.document for verdict in found]
            for document in documents:
                if document["incident"] in changes:
                    document["remedy"] = changes[document["incident"]].changes
            print_document(documents)
            return
        print_sheets(verdicts_sheet(found, "the defaults" if file is None else file.name, settings))
        if remedies:
            print_remedies(changes)
        elif not all(verdict.holds for verdict in found):
            typer.echo("--remedies looks for the fewest changes with which those would hold")

    with exits_in_words(file or Path("incidents"), None, show), watch_runs(quiet=as_json) as progress:
        settings, said = settings_given(file, policy, given_of(values, profiles, libraries))
        for text in said:
            say(text)
        try:
            for verdict in verdicts(settings, workers):
                found.append(verdict)
                if remedies and not verdict.holds:
                    changes[verdict.incident.name] = remedy(settings, verdict)
                if progress is not None:
                    progress(len(found), len(INCIDENTS) - len(not_judged(settings)))
        except KeyboardInterrupt:
            if not found:
                raise
            raise Interrupted(found) from None
    show(found)
    if not all(verdict.holds for verdict in found):
        raise typer.Exit(Exit.DOES_NOT_HOLD)
