"""A scenario file, and what is overridden in it, to a :class:`Scenario`; or all that is wrong with it, at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from os.path import exists
from pathlib import Path

from pydantic import ValidationError

from actors.channel_names import channel_named
from actors.errors import ConfigurationError
from actors.formatting import counted
from actors.settings.file import located, problem_of, refusal, text_of, tree_of
from actors.settings.quantities import FROM_FILE
from actors.settings.yaml_tree import ListNode, MappingNode, Node, Place, Problem, ScalarNode, data, printable
from simulation.scenario import consistency, overrides
from simulation.scenario.arguments import one_seed, plain
from simulation.scenario.model import Scenario
from simulation.scenario.ranges import Sweep

SWEEP_VALUES_MAX = 1_000
NOT_VARIED = ("name", "description", "seed", "expect", "limits", "sweep")
"""Keys that no sweep or tuning varies, since they are no settings of a run; each replicate has its own seed."""


def load(path: str | Path, *, sets: Sequence[str] = (), seed: int | None = None) -> Scenario:
    """Return the scenario in a YAML file.

    Args:
        path: The file. Paths of data files in it, and in `sets`, are relative to it.
        sets: Overrides such as ``channels.email.retry.max_attempts=5``, applied in order; the value is YAML.
        seed: Used instead of the file's, when not None.

    Raises:
        ConfigurationError: The file cannot be used. `problems` has one line for each thing that is wrong, in the order
            of the file: ``file.yaml:8:7: channels.email.retry.max_attempts: wanted …, got …``.
    """
    return parse(text_at(path), str(path), sets=sets, seed=seed)


_STEADY = "{{duration: 10m, workload: [{}]}}"
_ENTRY = "{{channel: {}, arrivals: {{constant: 10/s}}}}"


def load_channels(path: str | Path, sets: Sequence[str] = ()) -> tuple[Scenario, bool]:
    """Return the scenario in a file, and False; of settings of a notifier or a service, one with these channels and
    accounts and a steady load that stands for any, and True.

    Raises:
        ConfigurationError: it cannot be used.
    """
    return channels_in(tree_of(text_at(path), str(path)), path, sets)


def channels_in(root: Node, path: str | Path, sets: Sequence[str] = ()) -> tuple[Scenario, bool]:
    """Return the same of the tree of a file; see :func:`load_channels`."""
    channels = root.entries.get("channels") if isinstance(root, MappingNode) else None
    is_scenario = not isinstance(root, MappingNode) or "workload" in root.entries or "duration" in root.entries
    if is_scenario or not isinstance(root, MappingNode) or not isinstance(channels, MappingNode):
        return _completed(root, str(path), sets, None), False
    entries = ", ".join(_ENTRY.format(name) for name in channels.entries if channel_named(name))
    steady = tree_of(_STEADY.format(entries or _ENTRY.format("email")), str(path))
    assert isinstance(steady, MappingNode)
    own = {key: root.entries[key] for key in ("channels", "accounts") if key in root.entries}
    return _completed(MappingNode(root.place, own | steady.entries, root.key_places), str(path), sets, None), True


def given(
    scenario: str | Path | Scenario, sets: Sequence[str] = (), seed: int | None = None, code: bool = False
) -> Scenario:
    """Return the scenario that is meant: the one in a file, or that was loaded, with another seed if one is given.

    With `code` its runs may import the own actors that it names.

    Raises:
        ConfigurationError: the file or the seed cannot be used.
        ValueError: there are overrides, and no file.
    """
    if not isinstance(scenario, Scenario):
        scenario = load(scenario, sets=sets, seed=seed)
    elif sets:
        raise ValueError("sets: wanted a file to change, got a scenario that is loaded already")
    elif seed is not None:
        scenario = scenario.model_copy(update={"seed": one_seed(seed)})
    return scenario.with_code() if code else scenario


def load_each(
    path: str | Path, changes: Sequence[Sequence[str]], seed: int | None = None
) -> Iterator[Scenario | ConfigurationError]:
    """Yield the scenario in a YAML file with each of several lists of overrides, or what is wrong with it.

    The file is read once, and its `sweep` is neither checked nor part of the scenarios.

    Raises:
        ConfigurationError: The file cannot be read at all.
    """
    root = tree_of(text_at(path), str(path))
    if isinstance(root, MappingNode):
        root = MappingNode(root.place, {key: of for key, of in root.entries.items() if key != "sweep"}, root.key_places)
    for sets in changes:
        try:
            yield _completed(root, str(path), sets, seed)
        except ConfigurationError as error:
            yield error


def parse(text: str, filename: str = "scenario.yaml", *, sets: Sequence[str] = (), seed: int | None = None) -> Scenario:
    """Return the scenario in a YAML text; see :func:`load`.

    Args:
        text: YAML.
        filename: What to call it in problems; data files are looked for beside it.
        sets: Overrides, as for :func:`load`.
        seed: Used instead of the text's, when not None.

    Raises:
        ConfigurationError: The text cannot be used.
    """
    if not isinstance(text, str):
        raise ConfigurationError([f"wanted the text of a scenario, got {repr(text)[:60]}"])
    return _completed(tree_of(text, filename), filename, sets, seed)


def text_at(path: str | Path) -> str:
    """Return the text of a scenario's file.

    Raises:
        ConfigurationError: it cannot be read, or it is the text that was given, or a scenario.
    """
    if not isinstance(path, (str, PathLike)):
        raise ConfigurationError([f"wanted the path of a scenario's file, got {repr(path)[:60]}"])
    written = str(path)
    if ("\n" in written or written.lstrip().startswith("{")) and not exists(path):
        got = f"a text of {counted(len(written.splitlines()), 'line')}"
        raise ConfigurationError(
            [f"wanted the path of a scenario's file, got {got}; simulation.parse takes a scenario's text"]
        )
    return text_of(Path(path))


def _completed(root: Node, filename: str, sets: Sequence[str], seed: int | None) -> Scenario:
    root, problems = overrides.apply(root, sets)
    if isinstance(root, MappingNode) and "name" not in root.entries:
        stem = printable(Path(filename).stem.strip()) or "scenario"
        root = overrides.put(root, ("name",), ScalarNode(root.place, stem, stem), root.place)
    seed = plain(seed)
    if isinstance(root, MappingNode) and seed is not None:
        place = Place("--seed", order=len(sets) + 1, prefix=("seed",))
        root = overrides.put(root, ("seed",), ScalarNode(place, seed, str(seed)), place)
    directory = str(Path(filename).parent)
    scenario, found = _validated(root, directory)
    problems += found
    if scenario is not None and scenario.sweep is not None:
        problems += _sweep_problems(root, directory)
    if scenario is None or problems:
        raise refusal(problems)
    names_code = scenario.actors or scenario.is_for_service
    return scenario.with_code(False, root) if names_code and isinstance(root, MappingNode) else scenario


def _validated(root: Node, directory: str) -> tuple[Scenario | None, list[Problem]]:
    """Return the scenario, or None when its model does not accept it, and everything that is wrong."""
    plain = data(root)
    problems = [located(root, path, text) for path, text in consistency.findings(plain)]
    scenario: Scenario | None = None
    try:
        scenario = Scenario.model_validate(plain, context={**FROM_FILE, "directory": directory})
    except ValidationError as error:
        problems += [problem_of(root, detail) for detail in error.errors(include_url=False)]
    return scenario, problems


def _sweep_problems(root: Node, directory: str) -> list[Problem]:
    """Return what would be wrong with the runs of a sweep: each value is tried alone, in a file that is fine; of a
    range its ends."""
    sweep = root.entries["sweep"] if isinstance(root, MappingNode) else None
    if not isinstance(sweep, MappingNode):
        return []
    swept = {key: _values_of(node) for key, node in sweep.entries.items() if key not in Sweep.model_fields}
    count = sum(map(len, swept.values()))
    if count > SWEEP_VALUES_MAX:
        return [Problem(sweep.place, ("sweep",), f"wanted at most {SWEEP_VALUES_MAX:,} values in all, got {count:,}")]
    base = {str(problem) for problem in _validated(root, directory)[1]}
    problems: list[Problem] = []
    for dotted, values in swept.items():
        path, place = tuple(dotted.split(".")), sweep.key_places[dotted]
        if path[0] in NOT_VARIED:
            problems.append(Problem(place, ("sweep", dotted), f"wanted a setting of the run, got {path[0]}"))
            continue
        try:
            for value in values:
                found = _validated(overrides.put(root, path, value, place), directory)[1]
                problems += [problem for problem in found if str(problem) not in base]
        except overrides.BadPath as bad:
            problems.append(Problem(place, ("sweep", dotted), str(bad)))
    return problems


def _values_of(node: Node) -> list[Node]:
    if isinstance(node, ListNode):
        return node.items
    return [node.entries[end] for end in ("from", "to")] if isinstance(node, MappingNode) else []
