"""Files of other libraries where a scenario or settings are wanted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from actors.errors import ConfigurationError
from actors.settings.yaml_tree import MappingNode
from simulation.importing.channels import root_of
from simulation.importing.files import Imported, import_files, recognised_kinds
from simulation.importing.kinds import Given
from simulation.importing.source import read_source
from simulation.scenario import Scenario
from simulation.scenario.loading import channels_in, load_channels

_OURS = re.compile(r"""^["' \t{]*(?:channels|workload|duration)["']?[ \t]*:""", re.MULTILINE)
"""A key of a scenario, or of settings, at the beginning of a line."""
_SCENARIOS = (".yaml", ".yml", ".json")


def imported_from(path: str | Path, given: Given | None = None) -> Imported | None:
    """Return the policies in a file of another library, or in those of a folder; None for any other file.

    Raises:
        ConfigurationError: it is of a library, and cannot be read.
    """
    if not isinstance(path, (str, Path)):
        return None
    path = Path(path)
    if path.is_dir():
        return import_files([path], given)
    if not path.is_file():  # a pipe can be read only once
        return None
    try:
        source = read_source(path)
    except ConfigurationError:
        return None
    is_ours = path.suffix.lower() in _SCENARIOS and _OURS.search(source.text)
    return None if is_ours or not recognised_kinds(source) else import_files([path], given)


def channels_root(imported: Imported) -> MappingNode:
    """Return the tree of a file with the channels of policies.

    Raises:
        ConfigurationError: none has settings, and what they ask for.
    """
    if any(policy.channel is not None for policy in imported.policies):
        return root_of(imported.policies)
    asked = dict.fromkeys(each.asked for policy in imported.policies for each in policy.questions)
    what = "no policy can be said" if imported.policies else "no policy"
    raise ConfigurationError(list(asked) or [f"{', '.join(imported.files)}: {what}"])


def load_foreign(path: str | Path, sets: Sequence[str] = (), given: Given | None = None) -> tuple[Scenario, bool]:
    """Return what :func:`simulation.scenario.loading.load_channels` does, and of files of other libraries their
    policies as channels."""
    imported = imported_from(path, given)
    return load_channels(path, sets) if imported is None else channels_in(channels_root(imported), path, sets)
