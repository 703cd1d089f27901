"""The code that a scenario names: it is imported for a run alone, and only where that is allowed."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import sys
from functools import partial, reduce
from typing import Annotated, Any, get_type_hints

from pydantic import StrictBool, ValidationError, create_model

from actors.errors import described
from actors.pipeline.own_actors import OwnActor, OwnActors, is_own_actor
from actors.settings.base import Settings
from actors.settings.file import located, problem_of, refusal
from actors.settings.hints import nearest
from actors.settings.quantities import FROM_FILE, ShownText, Wanted, number
from actors.settings.yaml_tree import MappingNode, Place, Problem
from simulation.scenario import Scenario

NOT_IMPORTED = (
    "is code, which is imported only by run, explore, limits and replay with --code, "
    "in Python with code=True, by pytest with --retrylab-code"
)


def import_from(folder: str) -> None:
    """Let modules be imported from a folder, also where the path of a console script is without it."""
    if folder not in sys.path:
        sys.path.insert(0, folder)


def imported(name: str) -> Any:
    """Return the object that ``module:name`` names.

    Raises:
        ValueError: there is no such module or name, or importing it raised.
    """
    module, _, path = name.partition(":")
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{module}.".startswith(f"{missing}."):
            raise ValueError(f"there is no module {missing}, in {os.getcwd()} or installed") from None
        raise ValueError(f"importing {module} raised {described(error)}") from error
    try:
        return reduce(getattr, path.split("."), found)
    except AttributeError:
        near = nearest(path, [each for each in vars(found) if not each.startswith("_")])
        raise ValueError(f"{module} has no {path}{f'; did you mean {near}?' if near else ''}") from None


def file_of(scenario: Scenario) -> MappingNode:
    """Return the file of a scenario, for places in it; an empty one where it is from none."""
    return MappingNode(Place(scenario.name)) if scenario.in_file is None else scenario.in_file


class Placed(partial[OwnActor]):
    """The class of an own actor with its settings, and where it stands in the file."""

    place: str


def actors_of(scenario: Scenario) -> OwnActors:
    """Return the own actors of a scenario, each with its settings.

    Raises:
        ConfigurationError: their code may not be imported or cannot be used; all problems, each with its place in the
            file.
    """
    if not scenario.actors:
        return {}
    root = file_of(scenario)
    problems: list[Problem] = []
    found: dict[str, Placed] = {}
    for name, config in scenario.actors.items():
        at = ("actors", name, "actor")
        if not scenario.may_import:
            problems.append(located(root, at, f"{config.actor} {NOT_IMPORTED}"))
            continue
        try:
            cls = imported(config.actor)
            if not is_own_actor(cls):
                raise ValueError(f"wanted a subclass of actors.OwnActor, got {cls!r:.100}")
            settings = _settings_of(cls).model_validate(config.settings, context=FROM_FILE)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                if detail["type"] == "unknown_key" and len(detail["loc"]) == 1:
                    near = nearest(str(detail["loc"][0]), list(_settings_of(cls).model_fields))
                    text = f"did you mean {near}?" if near else f"{cls.__name__} takes no such argument"
                    detail["ctx"] = {"text": f"unknown key; {text}"}
                detail["loc"] = ("actors", name, *detail["loc"])
                problems.append(problem_of(root, detail))
        except ValueError as error:
            problems.append(located(root, at, str(error)))
        else:
            found[name] = Placed(cls, **{each: getattr(settings, each) for each in settings.model_fields_set})
            found[name].place = str(located(root, at[:2], "")).removesuffix(": ")
    if problems:
        raise refusal(problems)
    return found


_PLAIN: dict[Any, Any] = {
    int: Annotated[int, Wanted("a whole number", lambda value, _: value if type(value) is int else None, {})],
    float: Annotated[float, number(-math.inf)],
    str: ShownText,
    bool: StrictBool,
}
"""The types of settings whose annotations are plain."""


def _settings_of(cls: type[OwnActor]) -> type[Settings]:
    fields: dict[str, Any] = {}
    try:
        hints = get_type_hints(cls.__init__, include_extras=True)
    except NameError as error:
        raise ValueError(f"the annotations of {cls.__name__} cannot be read: {error}") from None
    for each in list(inspect.signature(cls.__init__).parameters.values())[1:]:
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            hint = hints.get(each.name, Any)
            fields[each.name] = _PLAIN.get(hint, hint), ... if each.default is each.empty else each.default
    return create_model(cls.__name__, __base__=Settings, **fields)
