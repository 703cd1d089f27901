"""The base of all settings models: frozen, no unknown keys, and problems in plain words.

pydantic's own messages (``Input should be a valid dictionary or instance of …``) speak of Python. Here each message
names the wanted value or the nearest known key; the caller that reports it adds the place and the value given.
:func:`by_kind` is for groups of settings whose `kind` decides about the other keys.
"""

from __future__ import annotations

import re
import types
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache, partial
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from actors.channel_names import A_CHANNEL_NAME
from actors.errors import ConfigurationError
from actors.formatting import without_passwords
from actors.messages import NotificationChannel
from actors.settings.hints import nearest, said_otherwise, unknown_setting
from actors.settings.library_table import keys_of
from actors.settings.meanings import PLACES, Meaning, WordPlace, flow, plain
from actors.settings.other_libraries import NO_SUCH_KEY, meaning
from actors.settings.quantities import FROM_FILE, Wanted, wanted

NOT_SHOWN = "a value that is not shown"
"""The words in place of a given value that may be a secret."""

_WANTED_BY_TYPE = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "dict_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}


_TRIED = {**FROM_FILE, "tried": True}
"""The context of a value that is only tried, for a hint: its problems come without hints of their own."""


class AtMost:
    """The marker of a list of at most `count` entries, where each is compared with each other one.

    pydantic's own markers count only those entries that are valid.
    """

    def __init__(self, count: int) -> None:
        self.text = f"a list of at most {count:,} entries"
        self._bound = {"maxItems": count}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), **self._bound}

    def _check(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)) and len(value) > self._bound["maxItems"]:
            raise wanted(self.text, f"{len(value):,}")
        return value


class NotEmpty(AtMost):
    """The marker of a list of at least one entry."""

    text = "a list of at least one entry"

    def __init__(self) -> None:
        self._bound = {"minItems": 1}

    def _check(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)) and not value:
            raise wanted(self.text)
        return value


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    # Most models are only read as a part of another model, which builds them along with itself: a model gets a
    # validator of its own when one is needed. The texts below keys take long to read: `simulation.scenario.schema`
    # reads them.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    wanted_text: ClassVar[str] = "a mapping"
    """The words for the wanted value in a problem, where something else than a mapping is given."""

    _choices: ClassVar[Mapping[str, str]] = {}
    """The words that a key takes with their meanings, where the words alone do not say them."""

    other_names: ClassVar[Mapping[str, str]] = {}
    """Keys that the group has under another name, each with what a problem says of it."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with these changes, which are not checked. The copy computes cached properties anew."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied

    @model_validator(mode="wrap")
    @classmethod
    def _in_plain_words(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            problems = _plain_problems(cls, data, error.errors(include_url=False), info.context or {})
            hides = cls.model_config.get("hide_input_in_errors", False)
            raise ValidationError.from_exception_data(cls.__name__, problems, hide_input=hides) from None


class OneOf(Settings):
    """A group of settings of which exactly one is given; each has None for a default."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        check_one_given(self, type(self).model_fields)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core)
        one_key_of(handler.resolve_ref_schema(reference), cls)
        return reference


def check_one_given(settings: BaseModel, keys: Iterable[str]) -> None:
    """Raise the problem that more or fewer than one of `keys` is given in `settings`, when it is so."""
    given = [key for key in keys if getattr(settings, key) is not None]
    if len(given) != 1:
        raise wanted("exactly one of " + ", ".join(keys), " and ".join(given) or "none")


def one_key_of(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Make a JSON Schema of an object require exactly one of the keys of `model`, none of them null."""
    schema["oneOf"] = [{"required": [key]} for key in known_keys(model)]
    for key in known_keys(model):
        described = schema["properties"][key]
        described.pop("default", None)
        choices = described.pop("anyOf", [])
        described |= {"anyOf": [choice for choice in choices if choice != {"type": "null"}]}


M = TypeVar("M", bound="Settings")


def validated(model: type[M], data: M | Mapping[str, Any]) -> M:
    """Return settings from a mapping; settings as they are.

    Raises:
        ConfigurationError: all that is wrong, one line each: ``channels.email.timeout: wanted …, got 'soon'``.
    """
    try:
        return data if isinstance(data, model) else model.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError([_line(problem) for problem in error.errors(include_url=False)]) from None


def _line(problem: ErrorDetails) -> str:
    path = ".".join(str(key) for key in problem["loc"] if key != "[key]")
    place = f"{path}: " if path else ""
    if problem["type"] != "wanted":
        return f"{place}{problem['msg']}"
    context = problem.get("ctx", {})
    return (
        f"{place}wanted {context['what']}, got {context.get('got') or without_passwords(repr(problem['input']))[:100]}"
    )


def at_key(key: str, problem: PydanticCustomError, value: Any) -> ValidationError:
    """Return `problem` as one of the `value` of `key`, for a model validator that sees several keys to raise."""
    return at_places([((key,), problem, value)])


def at_places(problems: Iterable[tuple[tuple[str | int, ...], PydanticCustomError, Any]]) -> ValidationError:
    """Return problems with their places and the values there."""
    details = [InitErrorDetails(type=problem, loc=place, input=value) for place, problem, value in problems]
    return ValidationError.from_exception_data("settings", details)


def known_keys(model: type[BaseModel]) -> dict[str, Any]:
    """Return the keys of `model` as they are written in a file, with their annotations."""
    return {
        field.alias or name: Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        for name, field in model.model_fields.items()
    }


def describe(annotation: Any) -> str:
    """Return what a value of this type looks like, for ``wanted …``."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        markers = [marker.text for marker in annotation.__metadata__ if isinstance(marker, (Wanted, NotEmpty))]
        return markers[0] if markers else describe(arguments[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return describe(next(argument for argument in arguments if argument is not type(None)))
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, arguments))
    kind = get_origin(annotation) or annotation
    if isinstance(kind, type):
        if (text := getattr(kind, "wanted_text", None)) is not None:
            return str(text)
        if issubclass(kind, NotificationChannel):
            return A_CHANNEL_NAME
        if issubclass(kind, Enum):
            return "one of " + ", ".join(str(member.value) for member in kind)
        if issubclass(kind, bool):
            return "true or false"
        if issubclass(kind, Mapping):
            return "a mapping"
        if issubclass(kind, (tuple, list)):
            return "a list"
    return "text"


def _entry(annotation: Any) -> str:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    one = describe(get_args(annotation)[0]) if get_origin(annotation) in (tuple, list) else ""
    return f", each entry {one}" if " such as " in one else ""


def _place(model: type[Settings], known: Mapping[str, Any], given: Any, group: str = "") -> WordPlace:
    beside = dict(islice(given.items(), PROBLEMS_MAX)) if isinstance(given, dict) else {}
    return WordPlace(model.__module__.rpartition(".")[2], known, beside, _refused, _own_paths, group)


def _meant(model: type[Settings], known: Mapping[str, Any], given: Any, key: str, value: Any) -> str:
    place = _place(model, known, given)
    if text := said_otherwise(key, value, describe(known[key])):
        return f" ({value} is {text})" if text != str(value) else f" ({value} without quotes)"
    if (short := _as_mapping(known[key], value)) is not None:
        return f" ({value} is {short})"
    return "" if key in PLACES else _in_brackets(meaning(key, value, place), key)


def _as_mapping(annotation: Any, value: Any) -> str | None:
    """Return the mapping that a plain value stands for: of the keys that the text of a group names, one takes it."""
    wants = describe(annotation)
    if isinstance(value, (Mapping, list, tuple)) or not wants.startswith(("a mapping such as {", "a window such as {")):
        return None
    for key in re.findall(r"{(\w+): ", wants):
        if _wanted_by({"": annotation}, _TRIED, "", {key: value}) is None:
            return flow({key: value})
        inner = next((keys[key] for keys in map(known_keys, _models_in(annotation)) if key in keys), None)
        if inner is not None and (text := said_otherwise(key, value, describe(inner))):
            return f"{key}: {text}"
    return None


def _in_brackets(meant: Meaning | None, key: str) -> str:
    return "" if meant is None or not meant.is_settled or meant.repeats(key) else f" ({meant.text})"


def _refused(path: str, value: Any) -> str | None:
    """Return what is wanted at a path of the table of other libraries' words; None where it takes the value."""
    try:
        _adapter(path).validate_python(value, context=_TRIED)
    except (KeyError, StopIteration):
        return NO_SUCH_KEY
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        return str(problem.get("ctx", {}).get("what") or _WANTED_BY_TYPE.get(problem["type"], problem["msg"]))
    return None


def _roots() -> dict[str, type[Settings]]:
    models = {model.__name__: model for model in _subclasses(Settings)}
    names = {"": "ChannelConfig", "workload": "ChannelWorkload", "faults": "FaultConfig", "scenario": "Scenario"}
    return {root: models[name] for root, name in names.items() if name in models}


@cache
def _adapter(path: str) -> TypeAdapter[Any]:
    first, _, rest = path.partition(".")
    annotation: Any = _roots()[first if first in PLACES else ""]
    for key in filter(None, (rest if first in PLACES else path).split(".")):
        annotation = next(keys[key] for keys in map(known_keys, _models_in(annotation)) if key in keys)
    return TypeAdapter(annotation)


def _wanted_by(known: Mapping[str, Any], context: Mapping[str, Any], key: str, value: Any) -> str | None:
    try:
        TypeAdapter[Any](known[key]).validate_python(value, context={**context})
    except ValidationError:
        return describe(known[key])
    return None


def _own_paths(key: str) -> Sequence[str]:
    return _paths(len(Settings.__subclasses__())).get(key, ())


@cache
def _paths(_loaded: int) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)

    def collect(annotation: Any, path: tuple[str, ...], deepest: int) -> None:
        for model in _models_in(annotation):
            for key, inner in known_keys(model).items():
                if (full := ".".join((*path, key))) not in found[plain(key)] and key not in _REPEATED:
                    found[plain(key)].append(full)
                    if len(path) < deepest:
                        collect(inner, (*path, key), deepest)

    for root, model in _roots().items():
        collect(model, (root,) if root else (), 1 if root else 2)
    return {key: sorted(paths, key=lambda path: path.count(".")) for key, paths in found.items()}


_REPEATED = ("failover", "per_outcome", "per_reason", "upstream", "tenant", "kind", "enabled")
"""Keys that repeat the keys of other groups below them, and keys that nearly every group has."""


def _subclasses(model: type[Settings]) -> Iterator[type[Settings]]:
    for each in model.__subclasses__():
        yield each
        yield from _subclasses(each)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _could_be(annotation: Any, value: Any) -> bool:
    if isinstance(value, (Mapping, list, tuple)):
        wants = describe(annotation)
        return "{" in wants or "[" in wants or wants in ("a mapping", "a list", NotEmpty.text)
    return _wanted_by({"": annotation}, {"tried": True}, "", value) is None


PROBLEMS_MAX = 100
"""The most problems of a group of settings that are named one by one: a request's body may have very many."""


def _plain_problems(
    model: type[Settings], given: Any, errors: list[ErrorDetails], context: Mapping[str, Any]
) -> list[InitErrorDetails]:
    further = len(errors) - PROBLEMS_MAX
    errors, known = errors[:PROBLEMS_MAX], known_keys(model)
    unknown = [
        str(error["loc"][-1]) for error in errors if error["type"] == "extra_forbidden" and len(error["loc"]) == 1
    ]
    misspelt = {nearest(key, known) for key in unknown}.union(*map(keys_of, unknown))
    problems = []
    for error in errors:
        if error["type"] == "missing" and len(error["loc"]) == 1 and error["loc"][0] in misspelt:
            continue  # the key is there, misspelt, which is reported already
        problems.append(
            InitErrorDetails(type=_plain(model, known, given, error, context), loc=error["loc"], input=error["input"])
        )
    if further > 0:
        text = {"text": f"and {further:,} further problems"}
        problems.append(InitErrorDetails(type=PydanticCustomError("further", "{text}", text), loc=(), input=None))
    return problems


def _plain(
    model: type[Settings], known: dict[str, Any], given: Any, error: ErrorDetails, read_in: Mapping[str, Any]
) -> PydanticCustomError:
    context = error.get("ctx", {})
    tried = "tried" in read_in
    hides = tried or model.model_config.get("hide_input_in_errors", False)
    key = str(error["loc"][0]) if len(error["loc"]) == 1 else ""
    meant = _meant(model, known, given, key, error["input"]) if key in known and not hides else ""
    match error["type"]:
        case "wanted":
            # The group of settings has raised this problem itself.
            own = key in known and context["what"] == describe(known[key])
            return wanted(context["what"] + (meant if own else ""), context.get("got"))
        case "extra_forbidden" if tried:
            return wanted(NO_SUCH_KEY)
        case "extra_forbidden":
            if key in model.other_names:
                text = f"unknown key; {model.other_names[key]}"
            else:
                fits = {name: partial(_could_be, annotation) for name, annotation in known.items()}
                value = None if hides else error["input"]
                place = _place(model, known, given)
                text = unknown_setting(
                    model.__name__, fits, key, value, place, partial(_wanted_by, known, {**read_in, "tried": True})
                )
            return PydanticCustomError("unknown_key", "{text}", {"text": text})
        case "missing":
            return wanted(describe(known[str(error["loc"][0])]), "nothing")
        case "model_type" | "model_attributes_type" if not error["loc"]:
            group = re.sub("(?<=[a-z])(?=[A-Z])", "_", model.__name__.removesuffix("Config")).lower()
            here = None if hides or group in PLACES else meaning(group, given, _place(model, known, None, group))
            return wanted(model.wanted_text + _in_brackets(here, group))
        case "literal_error" | "enum":
            expected = context["expected"].replace("'", "").replace(" or ", ", ")
            return wanted(f"one of {model._choices.get(key, expected)}{meant}")
        case plain if plain in _WANTED_BY_TYPE:
            # A value that is not even of the right kind may be a secret at the wrong place.
            entry = _entry(known[key]) if key in known and plain in ("list_type", "tuple_type") else ""
            return wanted(_WANTED_BY_TYPE[plain] + entry + meant, NOT_SHOWN if hides else None)
        case other:
            return PydanticCustomError(other, "{text}", {"text": context.get("text", error["msg"])})


def by_kind(kinds: Mapping[str, type[Settings]], default: str) -> WrapValidator:
    """Return a validator that reads a mapping as the model that its `kind` names, and reports only its problems."""

    def read(value: Any, _handler: Any, info: ValidationInfo) -> Any:
        if isinstance(value, tuple(kinds.values())):
            return value
        if not isinstance(value, dict):
            raise wanted(kinds[default].wanted_text)
        kind = value.get("kind", default)
        if not isinstance(kind, str) or kind not in kinds:
            raise at_key("kind", wanted("one of " + ", ".join(kinds)), kind)
        return kinds[kind].model_validate(value, context=info.context)

    return WrapValidator(read)


def plain_or(plain: Any, model: type[Settings]) -> WrapValidator:
    """Return the validator that takes a mapping as `model`, and a number or text as a value of the type `plain`."""
    adapter = TypeAdapter[Any](plain)

    def read(value: Any, _handler: Any, info: ValidationInfo) -> Any:
        if isinstance(value, (dict, model)):
            return model.model_validate(value, context=info.context)
        if isinstance(value, (str, int, float)):
            return adapter.validate_python(value, context=info.context)
        raise wanted(model.wanted_text)

    return WrapValidator(read)
