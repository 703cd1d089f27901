"""A sandbox in which filling in a template ends: the work is counted, and how large a text may grow is limited.

Jinja's own sandbox keeps a template from reaching what it must not; it lets it run for hours, or take all memory. Here
every turn of a loop, call, filter, test, operator and output costs steps, by the length of what it works on, and is
refused before it makes a text that is too long. Steps are counted and no time is measured, so that a template is
stopped in the same place on every machine and on both clocks.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from contextvars import ContextVar
from types import BuiltinFunctionType
from typing import Any, Final

from jinja2 import StrictUndefined, nodes, pass_context, pass_eval_context
from jinja2.compiler import CodeGenerator
from jinja2.runtime import LoopContext, markup_join, str_join
from jinja2.sandbox import SandboxedEnvironment

STEPS_MAX: Final = 200_000
"""Steps for one text; a step takes some 0.2 µs. A mail of 500 lines with six filters in each takes 100,000."""

LENGTH_MAX: Final = 1_000_000
"""Characters of a text, and items of a list, that a template may make."""

WIDTH_MAX: Final = 10_000
"""Of numbers that say how long something gets: a width, a precision, a count."""

BITS_MAX: Final = 10_000
"""Of a whole number that a template may make."""

_TURN: Final = 5
"""Steps of a loop's turn, an operator, an attribute."""

_CALL: Final = 30
"""Steps of a call, a filter, a test."""

_CHEAP: Final = 100
"""Characters that are copied in a step."""

_READ: Final = 4
"""Characters that a filter looks at in a step."""

_SLOW: Final = frozenset(("title", "urlencode", "wordcount"))
"""Filters that take a step for each character."""

_SQUARE: Final = frozenset(("pprint", "striptags", "sum", "urlize", "wordwrap"))
"""Filters and methods that take time by the square of the length, for some texts."""

_SHALLOW: Final = frozenset(
    ("attr", "batch", "count", "d", "default", "first", "items", "last", "length", "list", "map", "reject",
     "rejectattr", "reverse", "select", "selectattr", "slice")
)  # fmt: skip
"""Filters that look at no more than how many items there are."""

_PLACEHOLDER = re.compile(r"[%)][#0\- +]*+([0-9]*+)(?:\.([0-9]*+))?+(?=[hlLdiouxXeEfFgGcrsa])")
_DIGITS = re.compile(r"[0-9]{5,}+")


_TEXTS = (str, bytes, bytearray)
_LISTS = (list, tuple, set, frozenset, range, KeysView, ValuesView, ItemsView)


class TooMuch(Exception):
    """A template takes too much work, or makes too long a text; it says what."""


class _Budget:
    """What is left for one text."""

    __slots__ = ("length", "steps")

    def __init__(self) -> None:
        self.steps = STEPS_MAX
        self.length = LENGTH_MAX

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise TooMuch("takes too much work to fill in")

    def write(self, characters: int) -> None:
        self.length -= characters
        _check_length(self.length <= LENGTH_MAX and self.length >= 0)
        self.spend(1 + characters // _CHEAP)

    def weigh(self, value: Any, per_step: int = _READ) -> int:
        """Spend steps for a value and all that is in it, `per_step` characters a step; return the characters."""
        characters, waiting = 0, [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, _TEXTS):
                characters += len(one)
                self.spend(1 + len(one) // per_step)
            elif isinstance(one, dict):
                self.spend(1 + 2 * len(one))
                waiting += one.keys()
                waiting += one.values()
            elif isinstance(one, _LISTS):
                characters += 4 * len(one)
                self.spend(1 + 2 * len(one))
                if not isinstance(one, range):
                    waiting += one
            else:
                characters += 20
                self.spend(1)
        return characters


_budget: ContextVar[_Budget] = ContextVar("_budget")


def _current() -> _Budget:
    try:
        return _budget.get()
    except LookupError:  # the compiler tries what is constant
        return _Budget()


def render(compiled: Any, variables: Mapping[str, Any]) -> str:
    """Return the text that a template of a :class:`BoundedEnvironment` makes of these variables.

    Raises:
        TooMuch: it takes more than STEPS_MAX steps, or a text in it would have more than LENGTH_MAX characters.
    """
    token = _budget.set(_Budget())
    try:
        return str(compiled.render(variables))
    finally:
        _budget.reset(token)


def _check_length(holds: bool) -> None:
    if not holds:
        raise TooMuch(f"makes a text of more than {LENGTH_MAX:,} characters")


def _check_width(number: Any) -> None:
    if isinstance(number, int) and abs(number) > WIDTH_MAX:
        raise TooMuch(f"wants a width of more than {WIDTH_MAX:,}")


def _size(value: Any) -> int:
    """Return the length of a text or a list; 0 of anything else."""
    return len(value) if isinstance(value, (*_TEXTS, dict, *_LISTS)) else 0


def _numbers_in(arguments: Iterable[Any]) -> Iterator[int]:
    return (each for each in arguments if isinstance(each, int))


# ── texts that grow ─────────────────────────────────────────────────────────────────────────────────────────────────


def _check_replacing(text: Any, old: Any = "", new: Any = "", *_: Any, **__: Any) -> None:
    text, old, new = str(text), str(old), str(new)
    places = text.count(old) if old else len(text) + 1
    _check_length(len(text) + places * len(new) <= LENGTH_MAX)


def _check_percent(pattern: str, given: Any) -> None:
    """Refuse ``pattern % given`` when it would be too long."""
    for found in _PLACEHOLDER.finditer(pattern):
        if any(len((digits or "").lstrip("0")) > 4 for digits in found.groups()):
            _check_width(WIDTH_MAX + 1)
    if "*" in pattern and isinstance(given, tuple):
        for number in _numbers_in(given):
            _check_width(number)
    times = pattern.count("%") if isinstance(given, Mapping) else 1
    _check_length(times * _current().weigh(given, _CHEAP) <= LENGTH_MAX)


def _check_format(pattern: str, given: Any) -> None:
    """Refuse ``pattern.format(…)`` when it would be too long."""
    fields = 0
    for _, name, spec, _ in string.Formatter().parse(pattern):
        fields += name is not None
        if spec and ("{" in spec or _DIGITS.search(spec)):
            _check_width(WIDTH_MAX + 1)
    _check_length(fields * _current().weigh(given, _CHEAP) <= LENGTH_MAX)


def _check_growth(name: str, value: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Refuse a filter or a method whose result would be too long for what it is given."""
    given = (*arguments, *named.values())
    text = value if isinstance(value, (str, bytes)) else ""
    match name:
        case "replace":
            _check_replacing(value, *arguments, **named)
        case "format" if isinstance(value, str):  # the filter; the method has come by another way
            _check_percent(value, dict(named) if named else arguments)
        case "center" | "ljust" | "rjust" | "zfill" | "batch" | "slice" | "round" | "to_bytes" | "hex":
            for number in _numbers_in(given):
                _check_width(number)
        case "indent" | "expandtabs" | "wordwrap" | "urlize":
            for number in _numbers_in(given):
                _check_width(number)
            each = sum(_numbers_in(given)) + sum(map(_size, given)) if name != "wordwrap" else sum(map(_size, given))
            places = (
                len(text) if name in ("wordwrap", "urlize") else str(text).count("\n" if name == "indent" else "\t")
            )
            _check_length(places * max(each, 8) <= 8 * LENGTH_MAX)
        case "join":
            items, glue = (arguments[0] if arguments else (), value) if isinstance(value, str) else (value, given)
            _check_length(_size(items) * sum(map(_size, glue if isinstance(glue, tuple) else (glue,))) <= LENGTH_MAX)
        case _:
            pass


# ── what is counted ─────────────────────────────────────────────────────────────────────────────────────────────────


@functools.cache  # Jinja's are the same in every environment, of which each run of a scenario makes four
def _counted(name: str, function: Any) -> Callable[..., Any]:
    """Return a filter or a test that costs steps."""
    skipped = 0 if getattr(function, "jinja_pass_arg", None) is None else 1  # Jinja's own argument goes first
    per_step = 1 if name in _SLOW else _READ

    @functools.wraps(function)
    def counted(*arguments: Any, **named: Any) -> Any:
        budget = _current()
        value, *given = arguments[skipped:] or (None,)
        budget.spend(_CALL)
        size = _size(value) if name in _SHALLOW else budget.weigh(value, per_step)
        budget.weigh((given, named))
        if name in _SQUARE:
            budget.spend(size**2 // 1_000)
        value = _turns(value, budget)
        _check_growth(name, value, tuple(given), named)
        return _sized(function(*arguments[:skipped], value, *given, **named), budget)

    return counted


def _turns(value: Any, budget: _Budget) -> Any:
    """Return a value as it is, or an iterator, which nobody else counts, as one that is counted."""
    if not isinstance(value, Iterator) or isinstance(value, LoopContext):
        return value

    def turns() -> Iterator[Any]:
        for item in value:
            budget.spend(_TURN)
            yield item

    return turns()


def _sized(result: Any, budget: _Budget) -> Any:
    """Return a result, when it is not too large."""
    size = _size(result)
    _check_length(size <= LENGTH_MAX)
    budget.spend(size // _CHEAP if isinstance(result, (str, bytes)) else size)
    return result


@pass_context
def _written(_context: Any, value: Any) -> Any:
    """Count what is written."""
    budget = _current()
    characters = len(value) if isinstance(value, str) else budget.weigh(value, _CHEAP)
    budget.write(characters)
    return value


@pass_eval_context
def _concatenated(eval_context: Any, parts: list[Any]) -> str:
    """Do what ``~`` does."""
    budget = _current()
    budget.spend(_TURN)
    _check_length(budget.weigh(parts, _CHEAP) <= LENGTH_MAX)
    return markup_join(parts) if eval_context.autoescape else str_join(parts)


def _weighed(value: Any) -> Any:
    """Count a value that is compared."""
    budget = _current()
    budget.weigh(value, _CHEAP)
    return _turns(value, budget)


def _begun(steps: int, characters: int) -> bool:
    """Count a turn of a loop, or a call of a macro."""
    budget = _current()
    budget.spend(steps)
    if characters:
        budget.write(characters)
    return True


# Names that no template can say.
_CONCAT, _WEIGH, _BEGIN = "\0concat", "\0weigh", "\0begin"


class _CountingGenerator(CodeGenerator):
    """Writes templates whose loops, macros, comparisons and concatenations are counted too."""

    def visit_Template(self, node: nodes.Template, frame: Any = None) -> None:  # noqa: N802
        _insert_counting(node)
        node.set_environment(self.environment)
        super().visit_Template(node, frame)


_BODIES = (nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block)


def _insert_counting(node: nodes.Node) -> tuple[int, int]:
    """Have all within this node counted; return how many nodes it has outside of loops, and characters of text."""
    count, characters = 1, len(node.data) if isinstance(node, nodes.TemplateData) else 0
    for child in list(node.iter_child_nodes()):
        below, text = _insert_counting(child)
        count += below
        characters += text
    for field, value in list(node.iter_fields()):
        if isinstance(value, nodes.Node):
            setattr(node, field, _replaced(value))
        elif isinstance(value, list):
            value[:] = [_replaced(each) if isinstance(each, nodes.Node) else each for each in value]
    if isinstance(node, nodes.Compare):
        node.expr = _filter(node.expr, _WEIGH)
        for operand in node.ops:
            operand.expr = _filter(operand.expr, _WEIGH)
    if not isinstance(node, _BODIES):
        return count, characters
    line = node.lineno
    begin = _filter(nodes.Const(_TURN + count, lineno=line), _BEGIN, nodes.Const(characters, lineno=line))
    node.body.insert(0, nodes.ExprStmt(begin, lineno=line))
    if isinstance(node, nodes.For) and node.test is not None:
        turn = _filter(nodes.Const(_TURN + count, lineno=line), _BEGIN, nodes.Const(0, lineno=line))
        node.test = nodes.And(turn, node.test, lineno=line)
    return 1, 0


def _replaced(node: nodes.Node) -> nodes.Node:
    if isinstance(node, nodes.Concat):
        return _filter(nodes.List(node.nodes, lineno=node.lineno), _CONCAT)
    return node


def _filter(node: nodes.Expr, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)


class BoundedEnvironment(SandboxedEnvironment):
    """A sandbox in which every template comes to an end; its templates are filled in by :func:`render`.

    Args:
        settings: as of Jinja's `Environment`.
    """

    code_generator_class = _CountingGenerator
    intercepted_binops = frozenset(SandboxedEnvironment.default_binop_table)

    def __init__(self, **settings: Any) -> None:
        # What is constant is not made while compiling, where nothing is counted.
        super().__init__(undefined=StrictUndefined, finalize=_written, optimized=False, **settings)
        del self.globals["lipsum"]
        self.filters = {name: _counted(name, function) for name, function in self.filters.items()}
        self.tests = {name: _counted(name, function) for name, function in self.tests.items()}
        self.filters |= {_CONCAT: _concatenated, _WEIGH: _weighed, _BEGIN: _begun}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether a template may have this attribute; ``translate`` makes texts of any length."""
        return super().is_safe_attribute(obj, attr, value) and not (isinstance(obj, str) and attr == "translate")

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an attribute, or an item."""
        _current().spend(_TURN)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item, or an attribute."""
        budget = _current()
        budget.spend(_TURN)
        found = super().getitem(obj, argument)
        if isinstance(argument, slice):
            budget.spend(_size(found) // _CHEAP)
        return found

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a function, a macro or a method."""
        budget = _current()
        budget.spend(_CALL)
        budget.weigh((args, kwargs))
        owner = getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)  # Jinja wraps format()
        name = getattr(__obj, "__name__", "")
        if isinstance(__obj, (type, BuiltinFunctionType)):
            args = tuple(_turns(value, budget) for value in args)
        if isinstance(name, str) and isinstance(owner, (*_TEXTS, int, float, dict, *_LISTS)):
            size = _size(owner)
            budget.spend(size // 10)
            if name in _SQUARE:
                budget.spend(size**2 // 1_000)
            if name in ("format", "format_map"):
                _check_format(str(owner), (args, kwargs))
            else:
                _check_growth(name, owner, args, kwargs)
        return _sized(super().call(__context, __obj, *args, **kwargs), budget)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator."""
        budget = _current()
        budget.spend(_TURN)
        if isinstance(left, int) and isinstance(right, int):
            bits = {"**": left.bit_length() * max(0, right), "*": left.bit_length() + right.bit_length()}
            if bits.get(operator, 0) > BITS_MAX:
                raise TooMuch(f"makes a number of more than {BITS_MAX:,} bits")
        elif operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(times, int):
                    _check_length(_size(many) * max(0, times) <= LENGTH_MAX)
        elif operator == "%" and isinstance(left, str):
            _check_percent(left, right)
        elif operator == "+":
            _check_length(_size(left) + _size(right) <= LENGTH_MAX)
        return _sized(super().call_binop(context, operator, left, right), budget)
