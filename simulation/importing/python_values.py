"""Values of expressions in Python files, worked out without running anything of them."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeGuard

from simulation.importing.waits import Drawn

_WHOLE_BITS_MAX = 4096
ITEMS_MAX = 2000


UNKNOWN = object()
"""Stands in a local scope for a name whose value callers decide."""


class Incalculable(Exception):
    """Values that an operation does not take."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """Something outside of the files, or a class or function of theirs, by its qualified name."""

    name: str
    written: str = ""
    """As the file names it."""

    bound: Any = field(default=None, hash=False, compare=False)
    """Where a function or a class of the files stands."""


@dataclass(frozen=True, slots=True)
class Called:
    """A call of something outside of the files: ``tenacity.stop_after_attempt(3)``."""

    name: str
    args: tuple[Any, ...]
    keywords: Mapping[str, Any] = field(hash=False)
    nodes: Mapping[str, tuple[ast.AST, Any]] = field(default_factory=dict, hash=False, compare=False)
    """The expressions of the keywords, each with the module in which it stands."""

    assumed: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False, compare=False)
    """The assumptions of the keywords' values; those of other arguments by an empty text."""

    unread: Open | None = None
    """A dict of further arguments that does not stand in the files."""


@dataclass(frozen=True, slots=True)
class Open:
    """An argument of a call whose value does not stand in the files."""

    name: str
    """Empty where it has none of its own."""

    line: int


@dataclass(frozen=True, slots=True)
class Combined:
    """Two values, at least one of them a call, joined by ``+``, ``|`` or ``&``."""

    sign: str
    left: Any
    right: Any


_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mult": operator.mul,
    "Div": operator.truediv,
    "FloorDiv": operator.floordiv,
    "Mod": operator.mod,
    "Pow": operator.pow,
    "BitOr": operator.or_,
    "BitAnd": operator.and_,
    "LShift": operator.lshift,
    "RShift": operator.rshift,
    "Lt": operator.lt,
    "LtE": operator.le,
    "Gt": operator.gt,
    "GtE": operator.ge,
    "Eq": operator.eq,
    "NotEq": operator.ne,
    "Is": operator.is_,
    "IsNot": operator.is_not,
    "In": lambda left, right: left in right,
    "NotIn": lambda left, right: left not in right,
}
_JOINS = {"Add": "+", "BitOr": "|", "BitAnd": "&"}


def combined(sign: str, left: Any, right: Any) -> Any:
    """Return the result of an operator, by its node's name, on two values; raise Incalculable if there is none."""
    opaque = (Symbol, Called, Combined, Open)
    if isinstance(left, opaque) or isinstance(right, opaque):
        if sign in _JOINS and (isinstance(left, opaque) and isinstance(right, opaque)):
            return Combined(_JOINS[sign], left, right)
        if sign == "Add" and 0 in (left, right):  # as sum() begins
            return right if left == 0 else left
        raise Incalculable
    if isinstance(left, Drawn) or isinstance(right, Drawn):
        return _combined_draws(sign, left, right)
    if sign not in _SIGNS:
        raise Incalculable
    _check_size(sign, left, right)
    try:
        return _SIGNS[sign](left, right)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError, ZeroDivisionError):
        raise Incalculable from None


def _check_size(sign: str, left: Any, right: Any) -> None:
    if sign in ("Pow", "LShift") and is_number(left) and is_number(right):
        bits = math.log2(abs(left) + 1) * abs(right) if sign == "Pow" else right
        if isinstance(left, int) and isinstance(right, int) and bits > _WHOLE_BITS_MAX:
            raise Incalculable
    sized = (str, list, tuple, bytes)
    if sign == "Mult" and (isinstance(left, sized) or isinstance(right, sized)):
        count, items = (left, right) if isinstance(right, sized) else (right, left)
        if not isinstance(count, int) or count * len(items) > ITEMS_MAX:
            raise Incalculable
    if sign == "Add" and isinstance(left, sized) and isinstance(right, sized) and len(left) + len(right) > ITEMS_MAX:
        raise Incalculable
    if sign == "Mod" and isinstance(left, (str, bytes)):
        raise Incalculable


def _combined_draws(sign: str, left: Any, right: Any) -> Drawn:
    one = left if isinstance(left, Drawn) else Drawn(left, left)
    other = right if isinstance(right, Drawn) else Drawn(right, right)
    if sign not in ("Add", "Sub", "Mult", "Div", "FloorDiv", "Pow") or not all(
        map(is_number, (one.low, one.high, other.low, other.high))
    ):
        raise Incalculable
    if sign in ("Div", "FloorDiv", "Pow") and min(one.low, other.low) < 0:
        raise Incalculable
    ends = [combined(sign, each, against) for each in (one.low, one.high) for against in (other.low, other.high)]
    both = isinstance(left, Drawn) and isinstance(right, Drawn)
    is_scaled = sign in ("Add", "Sub", "Mult") or (sign == "Div" and isinstance(left, Drawn))
    return Drawn(min(ends), max(ends), is_scaled and not both and (one.is_even and other.is_even))


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float))


def _each_bound(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def applied(value: Any) -> Any:
        if isinstance(value, Drawn):
            return Drawn(function(value.low), function(value.high), value.is_even and function is float)
        return function(value)

    return applied


def _least_or_most(choose: Callable[..., Any]) -> Callable[..., Any]:
    def applied(*values: Any) -> Any:
        values = tuple(values[0]) if len(values) == 1 and isinstance(values[0], (list, tuple)) else values
        if not any(isinstance(value, Drawn) for value in values):
            return choose(values)
        bounds = [value if isinstance(value, Drawn) else Drawn(value, value) for value in values]
        low, high = choose(each.low for each in bounds), choose(each.high for each in bounds)
        if low == high:
            return low
        return next((value for value in values if value == Drawn(low, high)), Drawn(low, high, False))

    return applied


def _uniform(low: Any, high: Any) -> Drawn:
    if isinstance(low, Drawn) or isinstance(high, Drawn):
        lows, highs = ([each.low, each.high] if isinstance(each, Drawn) else [each] for each in (low, high))
        return Drawn(min(lows + highs), max(lows + highs), False)
    return Drawn(min(low, high), max(low, high))


def _whole(low: Any, high: Any) -> Drawn:
    return replace(_uniform(low, high), is_even=low == high)


def _listed(*values: Any) -> list[Any]:
    count = range(*values)
    if len(count) > ITEMS_MAX:
        raise Incalculable
    return list(count)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "int": _each_bound(int),
    "float": _each_bound(float),
    "round": _each_bound(round),
    "bool": bool,
    "str": str,
    "abs": abs,
    "len": len,
    "sum": lambda values, start=0: _sum(values, start),
    "min": _least_or_most(min),
    "max": _least_or_most(max),
    "pow": lambda base, power: combined("Pow", base, power),
    "tuple": lambda values=(): tuple(values),
    "list": lambda values=(): list(values),
    "set": lambda values=(): list(values),
    "frozenset": lambda values=(): list(values),
    "dict": lambda *maps, **more: {**(maps[0] if maps else {}), **more},
    "range": _listed,
    "datetime.timedelta": timedelta,
    "math.pow": lambda base, power: combined("Pow", base, power),
    "math.ceil": _each_bound(math.ceil),
    "math.floor": _each_bound(math.floor),
    "math.sqrt": math.sqrt,
    "math.exp": math.exp,
    "math.log": math.log,
    "math.log2": math.log2,
    "random.random": lambda: Drawn(0.0, 1.0),
    "random.uniform": _uniform,
    "random.randint": lambda low, high: _whole(low, high),
    "random.randrange": lambda low, high=None: _whole(0, low - 1) if high is None else _whole(low, high - 1),
    "random.choice": lambda values: Drawn(min(values), max(values), False),
}
"""The values of calls to functions of the language and its library."""


def _sum(values: Sequence[Any], start: Any) -> Any:
    for value in values:
        start = combined("Add", start, value)
    return start


def applied(name: str, args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """Return the value of a call of one of `FUNCTIONS`; raise Incalculable."""
    opaque = (Symbol, Called, Combined, Open)
    is_container = name in ("list", "tuple", "set", "frozenset", "dict", "sum", "len")
    if not is_container and any(isinstance(each, opaque) for each in (*args, *keywords.values())):
        raise Incalculable
    try:
        return FUNCTIONS[name](*args, **keywords)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError, ZeroDivisionError, AttributeError):
        raise Incalculable from None


def seconds(value: Any) -> float | None:
    """Return a number of seconds or a timedelta as seconds; None if it is neither."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    return float(value) if is_number(value) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class Default:
    """An argument's default in a local scope; callers may give another value."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Later:
    """An expression of a local scope, whose value is worked out where its name is met."""

    node: ast.AST
    module: Any = None
    """The module in which it stands; None: it stands in the scope itself."""

    local: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)
    """The scope in which it stands, in another module or function."""


class Undecided(Exception):
    """The value of an expression that does not stand in the files; `name` is empty where it has none of its own."""

    def __init__(self, node: ast.AST, name: str = "") -> None:
        super().__init__(name)
        self.name = name
        self.line: int = getattr(node, "lineno", 0)
