"""Files of other libraries where a command takes a scenario: the options for them, and the scenarios they become."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from actors.settings.yaml_tree import printable
from simulation.commands.shared import option, say

if TYPE_CHECKING:
    from simulation.experiments.imported import ImportedPolicies
    from simulation.importing.files import Imported
    from simulation.importing.source import Given

From = Annotated[str | None, option("The library whose files these are; without it the files tell.", "--from")]
Profile = Annotated[list[str] | None, option("An active profile, for a file with several.", "--profile")]
GivenValues = Annotated[
    list[str] | None,
    option("The value of a name that decides and is not in the files.", "--given", metavar="NAME=VALUE"),
]
Library = Annotated[
    list[str] | None,
    option("A library's version, e.g. celery=5.4; without it the newest known.", "--library", metavar="NAME=VERSION"),
]


def given_of(values: Sequence[str] | None, profiles: Sequence[str] | None, libraries: Sequence[str] | None) -> Given:
    """Return the values of the options; raise ConfigurationError for one without ``=``, or of no known library."""
    from actors.errors import ConfigurationError
    from simulation.importing.source import KINDS, Given

    pairs = {name: _pairs(name, texts or []) for name, texts in (("--given", values), ("--library", libraries))}
    known = [name for kind in KINDS.values() for name in (kind.name, *kind.beside)]
    for library, version in pairs["--library"].items():
        if library not in known:
            raise ConfigurationError([f"--library {library}: wanted one of {', '.join(known)}"])
        if not version[:1].isdigit():
            raise ConfigurationError([f"--library {library}: wanted a version such as 5.4, got {version!r}"])
    return Given(pairs["--given"], pairs["--library"], tuple(profiles or ()))


def say_left_out(imported: Imported | None) -> None:
    """Print the policies that have no channel, and their open questions."""
    for policy in () if imported is None else imported.policies:
        if policy.channel is None:
            why = "until --given answers it" if policy.questions else "as it cannot be said"
            say(printable(f"{policy.name}: left out, {why}"))
            for question in policy.questions:
                say(question.asked)


def _pairs(name: str, texts: Sequence[str]) -> dict[str, str]:
    from actors.errors import ConfigurationError

    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigurationError([f"{name}: wanted NAME=VALUE, got {text!r}"])
        found[key.strip()] = value.strip()
    return found


def write_scenario(found: ImportedPolicies, files: Sequence[Path], out: Path) -> None:
    """Write a scenario with the channels of policies; raise ConfigurationError if none has settings."""
    from actors.errors import ConfigurationError
    from simulation.importing.channels import scenario_text

    if not any(found.configs):
        raise ConfigurationError([f"--out {out}: no policy can be said yet", *(each.asked for each in found.questions)])
    latest_s = max((each.last.start.longest for each in found.schedules if each is not None), default=0.0)
    drain = f"{min(1440, int(latest_s // 3600) + 1)}h"  # at most 60 days
    command = shlex.join(["retrylab", "import", *map(str, files)])
    out.write_text(scenario_text(found.imported.policies, out.stem, drain, f"By {command}"), "utf-8")


@contextmanager
def scenario_file(file: Path, given: Given) -> Iterator[Path]:
    """Give the file of a scenario: of a file of another library, one that is written of its policies."""
    from simulation.experiments.imported import ImportedPolicies
    from simulation.importing.channels import imported_from

    imported = imported_from(file, given)
    if imported is None:
        yield file
        return
    say_left_out(imported)
    with TemporaryDirectory(prefix="retrylab-") as folder:
        path = Path(folder) / f"{file.stem or 'imported'}.yaml"
        write_scenario(ImportedPolicies(imported), [file], path)
        yield path
