"""The public names with signatures, a line each: ``python tests/public_names/signatures.py`` writes the reviewed list.

A change of that list is a change for users: it belongs into the changelog, and by the policy there it may need a
release in which the old name still works.
"""

import enum
import inspect
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import pydantic

import actors
import simulation

_OF_SETTINGS = {"model_config", "model_post_init", "other_names", "wanted_text"}
"""Attributes of settings models that pydantic and the reading of files need."""

REVIEWED = Path(__file__).with_name("public-names.txt")


def public_names() -> str:
    """Return all public names of both packages, and of the modules that `simulation` shows."""
    lines = [line for package in (actors, simulation) for line in _of_module(package, package.__name__)]
    return "\n".join(lines) + "\n"


def _of_module(module: types.ModuleType, shown_as: str) -> Iterator[str]:
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    for name in sorted(names):
        value = getattr(module, name)
        if isinstance(value, types.ModuleType):
            yield from _of_module(value, f"{shown_as}.{name}")
        else:
            yield from _of(value, f"{shown_as}.{name}")


def _of(value: object, name: str) -> Iterator[str]:
    if isinstance(value, enum.EnumMeta):
        yield f"{name}: {' '.join(value.__members__)}"
    elif isinstance(value, type):
        if issubclass(value, pydantic.BaseModel):
            value.model_rebuild()  # whose fields are not looked at until they are needed
        yield f"{name}{_signature(value)}"
        for attribute, what in sorted(_attributes(value).items()):
            if not attribute.startswith("_") and attribute not in _OF_SETTINGS:
                yield from _of_attribute(what, f"{name}.{attribute}")
    elif inspect.isfunction(value):
        yield f"{name}{_signature(value)}"
    else:
        yield f"{name}: {type(value).__name__ if typing.get_origin(value) is None else 'a type'}"


def _attributes(kind: type) -> dict[str, object]:
    """Return what a class and those of ours that it inherits from define."""
    ours = [each for each in reversed(kind.__mro__) if each.__module__.partition(".")[0] in ("actors", "simulation")]
    return {name: what for each in ours for name, what in vars(each).items()}


def _of_attribute(what: object, name: str) -> Iterator[str]:
    if isinstance(what, staticmethod | classmethod):
        yield f"{name}{_signature(what.__func__)}"
    elif inspect.isfunction(what):
        yield f"{name}{_signature(what)}"
    elif not isinstance(what, types.MemberDescriptorType):
        yield name


def _signature(called: object) -> str:
    """Return how it is called: types as they are written, and defaults that can be read."""
    try:
        signature = inspect.signature(called)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(…)"
    written = all(isinstance(each.annotation, str) for name, each in signature.parameters.items() if name != "self")
    parameters = [_parameter(each, typed=written) for each in signature.parameters.values()]
    returned = "" if not written or signature.return_annotation is signature.empty else signature.return_annotation
    text = str(inspect.Signature(parameters)).replace("'", "")
    return f"{text} -> {returned}" if isinstance(returned, str) and returned not in ("", "None") else text


def _parameter(parameter: inspect.Parameter, *, typed: bool) -> inspect.Parameter:
    """Return a parameter without what differs from one Python or run to the next; fields of settings have no types."""
    default = parameter.default
    if default is not parameter.empty and not isinstance(default, str | int | float | tuple | types.NoneType):
        default = _Unreadable()
    return parameter.replace(annotation=parameter.annotation if typed else parameter.empty, default=default)


class _Unreadable:
    def __repr__(self) -> str:
        return "…"


if __name__ == "__main__":
    REVIEWED.write_text(public_names(), encoding="utf-8")
