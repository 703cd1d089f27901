"""A scenario file, and what is overridden in it, to a :class:`Scenario`; or all that is wrong with it, at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from actors.errors import ConfigurationError
from actors.quantities import FROM_FILE
from simulation.scenario import consistency, overrides
from simulation.scenario.document import (
    CHARACTERS_MAX,
    ListNode,
    MappingNode,
    Node,
    Place,
    Problem,
    ScalarNode,
    Unreadable,
    data,
    read,
    show,
)
from simulation.scenario.model import Scenario

SWEEP_VALUES_MAX = 1_000


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
    return parse(text_of(Path(path)), str(path), sets=sets, seed=seed)


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
    try:
        root = read(text, Place(filename, 1, 1))
    except Unreadable as unreadable:
        raise _refusal(unreadable.problems) from None
    root, problems = overrides.apply(root, sets)
    if isinstance(root, MappingNode) and "name" not in root.entries:
        stem = Path(filename).stem.strip() or "scenario"
        root = overrides.put(root, ("name",), ScalarNode(root.place, stem, stem), root.place)
    if isinstance(root, MappingNode) and seed is not None:
        place = Place("--seed", order=len(sets) + 1, prefix=("seed",))
        root = overrides.put(root, ("seed",), ScalarNode(place, seed, str(seed)), place)
    directory = str(Path(filename).parent)
    scenario, found = _validated(root, directory)
    problems += found
    if scenario is not None and scenario.sweep is not None:
        problems += _sweep_problems(root, directory)
    if scenario is None or problems:
        raise _refusal(problems)
    return scenario


def _refusal(problems: Iterable[Problem]) -> ConfigurationError:
    ordered = sorted(problems, key=lambda problem: problem.sort_key)
    return ConfigurationError(list(dict.fromkeys(map(str, ordered))))


def text_of(path: Path) -> str:
    """Return the text of a scenario file.

    Raises:
        ConfigurationError: it cannot be read, is too long or not in UTF-8.
    """
    bytes_max = 4 * CHARACTERS_MAX
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except FileNotFoundError:
        raise ConfigurationError([f"{path}: no such file"]) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError([f"{path}: {reason[:1].lower()}{reason[1:]}"]) from None
    if len(content) > bytes_max:
        raise ConfigurationError([f"{path}: too long: wanted at most {bytes_max:,} bytes"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise ConfigurationError(
            [f"{path}:{line}:{column}: wanted UTF-8 text, got the byte 0x{content[error.start]:02x}"]
        ) from None


def _validated(root: Node, directory: str) -> tuple[Scenario | None, list[Problem]]:
    """Return the scenario, or None when its model does not accept it, and everything that is wrong."""
    plain = data(root)
    problems = [_located(root, path, text) for path, text in consistency.findings(plain)]
    scenario: Scenario | None = None
    try:
        scenario = Scenario.model_validate(plain, context={**FROM_FILE, "directory": directory})
    except ValidationError as error:
        problems += [_problem(root, detail) for detail in error.errors(include_url=False)]
    return scenario, problems


def _problem(root: Node, detail: ErrorDetails) -> Problem:
    context = detail.get("ctx", {})
    location = detail["loc"]
    if location[-1:] == ("[key]",) and _at(root, location) is None:  # pydantic's mark of a bad key in a mapping
        key = str(location[-2])
        return _located(root, location[:-1], f"wanted {context.get('what', 'another key')}, got {key!r}", at_key=True)
    if detail["type"] == "unknown_key":
        return _located(root, location, context["text"], at_key=True)
    if detail["type"] != "wanted":
        return _located(root, location, context.get("text", detail["msg"]))
    problem = _located(root, location, "")
    got = context.get("got") or show(_at(root, location))
    return Problem(problem.place, problem.path, f"wanted {context['what']}, got {got}")


def _at(root: Node, location: Iterable[str | int]) -> Node | None:
    node: Node | None = root
    for key in location:
        if isinstance(node, MappingNode):
            node = node.entries.get(str(key))
        elif isinstance(node, ListNode) and isinstance(key, int) and key < len(node.items):
            node = node.items[key]
        else:
            return None
    return node


def _located(root: Node, location: Sequence[str | int], text: str, *, at_key: bool = False) -> Problem:
    """Return the problem at `location`, placed at the value there or, when it is missing, at what lacks it."""
    path = tuple(str(key) for key in location)
    parent = _at(root, location[:-1])
    if location and at_key and isinstance(parent, MappingNode) and path[-1] in parent.key_places:
        return Problem(parent.key_places[path[-1]], path, text)
    for length in range(len(location), -1, -1):
        node = _at(root, location[:length])
        if node is not None:
            return Problem(node.place, path, text)
    raise AssertionError("the root is always there")


def _sweep_problems(root: Node, directory: str) -> list[Problem]:
    """Return what would be wrong with the runs of a sweep: each value is tried alone, in a file that is fine."""
    sweep = root.entries["sweep"] if isinstance(root, MappingNode) else None
    if not isinstance(sweep, MappingNode):
        return []
    swept = {key: node for key, node in sweep.entries.items() if key != "replicates" and isinstance(node, ListNode)}
    count = sum(len(node.items) for node in swept.values())
    if count > SWEEP_VALUES_MAX:
        return [Problem(sweep.place, ("sweep",), f"wanted at most {SWEEP_VALUES_MAX:,} values in all, got {count:,}")]
    base = {str(problem) for problem in _validated(root, directory)[1]}
    problems: list[Problem] = []
    for dotted, values in swept.items():
        path, place = tuple(dotted.split(".")), sweep.key_places[dotted]
        if path[0] in ("sweep", "name"):
            problems.append(Problem(place, ("sweep", dotted), f"wanted a setting of the run, got {path[0]}"))
            continue
        try:
            for value in values.items:
                found = _validated(overrides.put(root, path, value, place), directory)[1]
                problems += [problem for problem in found if str(problem) not in base]
        except overrides.BadPath as bad:
            problems.append(Problem(place, ("sweep", dotted), str(bad)))
    return problems
