"""The language of templates: as much of Jinja's as a notification needs, so that filling one in is little work.

Reading a text checks its syntax tree, and names everything not allowed, with its line. A template calls nothing,
multiplies and formats no text, and loops only over given lists. The values filled in come from strangers, so a turn of
a loop costs steps by the size of its body, and an operand of an operator, a filter or a test by its length. Steps are
counted and no time is measured: a template is stopped in the same place on every machine and on both clocks.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined, nodes, pass_context, pass_eval_context
from jinja2.filters import FILTERS
from jinja2.sandbox import SandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.visitor import NodeTransformer
from markupsafe import escape

STEPS_MAX: Final = 70_000
"""Steps for the texts of one notification, of at most 0.6 µs each. A mail of 500 lines with six values takes 24,000."""
LENGTH_MAX: Final = 1_000_000
"""Characters of a text that a template makes."""
NUMBER_MAX: Final = 10**15
"""Numbers that a template works with are smaller."""
PLACES_MAX: Final = 15
"""Decimals of a number."""
SIGNS_MAX: Final = 10_000
"""Words, signs and pieces of plain text in a template."""
DEPTH_MAX: Final = 30
"""How deep parentheses, filters, operators, conditions and loops may nest."""
LOOPS_MAX: Final = 2
"""How many loops may be in each other."""

_COPIED, _SEARCHED, _SLOW = 50, 10, 2
"""Characters in a step: that are copied; that are searched, or become ten each; that Python looks at one by one."""

_LISTS = (tuple, list, set, frozenset)


class Unfit(Exception):
    """A value does not fit the place where a template has it, or filling in would take too much; the text says why."""


class RenderBudget:
    """The steps that the texts of one notification may still take."""

    def __init__(self) -> None:
        self.steps = STEPS_MAX

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise Unfit("takes too much work to fill in")

    def weigh(self, value: Any, characters: int = _SEARCHED) -> Any:
        """Spend a step for each `characters` of a value, and for each item in it, at any depth; return the value."""
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, (str, bytes, bytearray)):
                self.spend(1 + len(one) // characters)
            elif isinstance(one, dict):
                self.spend(1 + 2 * len(one))
                waiting += one.keys()
                waiting += one.values()
            elif isinstance(one, _LISTS):
                self.spend(1 + len(one))
                waiting += one
            else:
                self.spend(1)
        return value


_budget: ContextVar[RenderBudget] = ContextVar("_budget")


def fill_in(compiled: Template, variables: Mapping[str, Any], budget: RenderBudget) -> str:
    """Return the text that a template makes of these variables.

    Raises:
        Unfit: the text takes more than the rest of the budget or than LENGTH_MAX, or a variable does not fit its place.
        Exception: of Jinja, where a variable is missing; or any error of an expression or of a variable's own code.
    """
    token, parts, length = _budget.set(budget), [], 0
    try:
        for part in compiled.root_render_func(compiled.new_context(dict(variables), shared=True)):
            length += len(part)
            _check_length(length)
            budget.spend(len(part) // _COPIED)
            parts.append(part)
        return "".join(parts)
    finally:
        _budget.reset(token)


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_length(length: int) -> None:
    if length > LENGTH_MAX:
        raise Unfit(f"makes a text of more than {LENGTH_MAX:,} characters")


def _unfit(wanted: str, *values: Any, instead: str = "") -> Unfit:
    return Unfit(f"wanted {wanted}, got {' and '.join(map(_shown, values))}{instead}")


def _shown(value: Any) -> str:
    if isinstance(value, Undefined):
        str(value)  # which raises its own error
    return repr(value[:50]) if isinstance(value, str) else str(value) if type(value) is float else type(value).__name__


def _any(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    if callable(value):
        raise _unfit("a value", value)
    return value if isinstance(value, str) else str(_budget.get().weigh(value))


def _items(value: Any) -> Any:
    if not isinstance(value, (str, dict, *_LISTS)):
        raise _unfit("a list", value)
    if isinstance(value, str):
        _budget.get().spend(2 * len(value))  # it is a list of its characters
    return value


def _scalar(value: Any) -> Any:
    if isinstance(value, (dict, *_LISTS)):
        raise _unfit("a text or a number in a list of the template", value)
    return value


def _number(value: Any) -> Any:
    with suppress(InvalidOperation):  # of a decimal NaN
        if isinstance(value, (int, float, Decimal)) and -NUMBER_MAX < value < NUMBER_MAX:
            return value
    raise _unfit(f"a number below {NUMBER_MAX:.0e}", value)


def _amount(value: Any) -> Any:
    if isinstance(value, str) and len(value) < 40:
        with suppress(InvalidOperation):
            value = Decimal(value)
    return _number(value)


# ── filters and tests ───────────────────────────────────────────────────────────────────────────────────────────────

_PATTERN = re.compile(r"(?:[^%]|%[aAbBdHIjmMpSyYZz%]){0,100}")
_WHOLE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THOUSANDTHS = "BHD IQD JOD KWD LYD OMR TND"
"""Currencies that have no decimals, or three, as in ISO 4217."""


def _places(given: Any) -> int:
    if type(given) is not int or not 0 <= given <= PLACES_MAX:
        raise Unfit(f"wanted 0 to {PLACES_MAX} decimals")
    return given


def _money(number: Any, currency: Any, point: Any = ".") -> str:
    if not re.fullmatch("[A-Z]{3}", _text(currency)) or point not in (".", ","):
        raise Unfit("wanted a currency and perhaps its decimal point, such as 'EUR' or 'EUR', ','")
    text = f"{number:,.{0 if currency in _WHOLE else 3 if currency in _THOUSANDTHS else 2}f}"
    return f"{text if point == '.' else text.translate(str.maketrans(',.', '.,'))} {currency}"


def _date(value: Any, pattern: Any) -> str:
    if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
        raise _unfit("a pattern such as '%d.%m.%Y %H:%M'", pattern)
    if isinstance(value, str) and len(value) < 40:
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    if not isinstance(value, date):
        raise _unfit("a date such as 2026-01-31 or 2026-01-31T09:30:00Z", value)
    return value.strftime(pattern)


@pass_eval_context
def _replace(context: Any, text: str, old: Any, new: Any, count: Any = None) -> Any:
    old, new = _text(old), _text(new)
    _check_length(len(text) + (text.count(old) if old else len(text) + 1) * len(new))
    return FILTERS["replace"](context, text, old, new, count)


@pass_eval_context
def _join(context: Any, items: Any, d: Any = "", attribute: Any = None) -> Any:
    _check_length(len(items) * len(_text(d)))
    return FILTERS["join"](context, items, d, attribute)


@pass_eval_context
def _sum(context: Any, items: Any, attribute: Any = None, start: Any = 0) -> Any:
    return _number(FILTERS["sum"](context.environment, items, attribute, _number(start)))


def _converted(value: Any, default: Any, name: str) -> Any:
    return FILTERS[name](_number(value) if isinstance(value, Decimal) else value, default)


def _each(names: str, value: Any) -> dict[str, Any]:
    return dict.fromkeys(names.split(), value)


_FUNCTIONS: dict[str, Callable[..., Any]] = FILTERS | {
    "date": _date, "join": _join, "money": _money, "replace": _replace, "sum": _sum,
    "decimals": lambda number, places=2: f"{number:.{_places(places)}f}",
    "float": lambda value, default=0.0: _converted(value, default, "float"),
    "int": lambda value, default=0: _converted(value, default, "int"),
    "round": lambda number, precision=0, method="common": FILTERS["round"](number, _places(precision), method),
    "tojson": pass_eval_context(lambda context, value: FILTERS["tojson"](context, value)),
}  # fmt: skip

_FILTERS: dict[str, tuple[Callable[[Any], Any], int | None]] = {
    **_each("capitalize lower safe string trim truncate upper", (_text, _COPIED)),
    **_each("e escape replace", (_text, _SEARCHED)),
    **_each("title urlencode", (_text, _SLOW)),
    **_each("abs round", (_number, None)),
    **_each("decimals money", (_amount, None)),
    **_each("date dictsort float int items tojson", (_any, _SEARCHED)),
    **_each("count d default first last length reverse", (_any, None)),
    **_each("join list map max min reject rejectattr select selectattr sort sum unique", (_items, _SEARCHED)),
}
"""The filters that are allowed: each with what makes a value fit it, and how many of its characters are a step. None:
it looks at no more than how many items there are."""

_TESTS: dict[str, Callable[[Any], Any]] = {
    **_each("boolean defined false float in integer iterable mapping none number sequence string true undefined", _any),
    **_each("eq equalto == ne != lt lessthan < le <= gt greaterthan > ge >=", _any),
    **_each("divisibleby even odd", _number),
    **_each("lower upper", _text),
}

_OF_EACH = {"map": 0, "reject": 0, "rejectattr": 1, "select": 0, "selectattr": 1}
"""Filters that apply another one, or a test, to each item, and in which place its name stands."""


def _charged(function: Any, takes: Callable[[Any], Any], characters: int | None) -> Callable[..., Any]:
    skipped = 0 if getattr(function, "jinja_pass_arg", None) is None else 1  # Jinja's own argument goes first

    @functools.wraps(function)
    def charged(*given: Any, **named: Any) -> Any:
        budget, value, arguments = _budget.get(), takes(given[skipped]), given[skipped + 1 :]
        budget.spend(4)
        if characters is not None:
            budget.weigh(value, characters)
        budget.weigh((arguments, named))
        result = function(*given[:skipped], value, *arguments, **named)
        if isinstance(result, Iterator):
            result = list(result)
        if isinstance(result, str):
            _check_length(len(result))
            budget.spend(len(result) // _COPIED)
        elif isinstance(result, list):
            budget.spend(len(result))
        return result

    return charged


def _turns(value: Any, steps: int) -> Iterator[Any]:
    budget = _budget.get()
    for item in _items(value):
        budget.spend(steps)
        yield item


@pass_context
def _written(context: Any, value: Any) -> Any:
    text = _text(value)
    text = escape(text) if context.eval_ctx.autoescape else text
    _check_length(len(text))
    _budget.get().spend(4 + len(text) // _COPIED)
    return text


def _cut(part: Any) -> Any:
    _budget.get().spend(len(part) // _SEARCHED)
    return part


# Filters that no template can name.
_TURNS, _WEIGHED, _SCALAR, _CUT = "\0turns", "\0weighed", "\0scalar", "\0cut"


class _Environment(SandboxedEnvironment):
    """Has the filters and tests that are allowed, works with numbers, and finds in a mapping its items alone."""

    intercepted_binops = frozenset(SandboxedEnvironment.default_binop_table)

    def __init__(self, **settings: Any) -> None:
        # Constant expressions are not evaluated while compiling, where no steps are counted.
        settings |= {"undefined": StrictUndefined, "optimized": False, "finalize": _written}
        super().__init__(keep_trailing_newline=True, **settings)
        own = {_TURNS: _turns, _WEIGHED: lambda value: _budget.get().weigh(value), _SCALAR: _scalar, _CUT: _cut}
        self.filters = own | {name: _charged(_FUNCTIONS[name], *how) for name, how in _FILTERS.items()}
        self.tests = {name: _charged(TESTS[name], takes, _SEARCHED) for name, takes in _TESTS.items()}

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute) if isinstance(obj, dict) else super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        _budget.get().spend(3)
        if not isinstance(argument, (str, int, slice)):
            raise _unfit("a name or a number in brackets", argument)
        if not isinstance(obj, dict):
            return super().getitem(obj, argument)
        return obj[argument] if argument in obj else self.undefined(obj=obj, name=cast(str, argument))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, str) and (operator == "%" and _DECIMALS.fullmatch(left)):
            return _budget.get().weigh(left) % _number(right)
        if isinstance(left, str) and isinstance(right, str) and operator == "+":
            return _budget.get().weigh(left) + _budget.get().weigh(right)
        if operator == "+" and (isinstance(left, str) or isinstance(right, str)):
            instead = ": write ~ for + to join them, or the filter float to add"
            raise _unfit("two numbers or two texts", left, right, instead=instead)
        _budget.get().spend(3)
        return _number(super().call_binop(context, operator, _number(left), _number(right)))


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_ALLOWED = _each(
    "Template Output TemplateData If For Assign AssignBlock Scope Name Const Getattr Getitem Slice Compare Operand "
    "And Or Not CondExpr Concat List Tuple Dict Pair Keyword Filter Test Neg Pos Add Sub Mul Div FloorDiv Mod", None
)  # fmt: skip
_DECIMALS = re.compile(r"[^%]*%\.1?[0-9]f[^%]*")
"""The format of a text that % may still fill in, as many have it: it does what the filter decimals does."""

_FORMATS, _SEND, _IN_PLACE = (
    "use decimals(2), money('EUR') or date('%d.%m.%Y')", "send it ready-made, as a variable",
    "write its text where it is used",
)  # fmt: skip
_OF_NUMBERS = f"{_FORMATS}; send a number with zeros or blanks in front ready-made, as a variable"
_TOTAL = "write a total as {{ items|sum(attribute='price') }}"
_INSTEAD = {
    **_each("% format", _OF_NUMBERS), **_each("filesizeformat strftime isoformat", _FORMATS),
    **_each("Add Sub Mul Div FloorDiv", "write what it makes"),
    **{name: f"use the filter {name}" for name in _FILTERS},
    "FilterBlock": "apply the filter to each value", "Pow": "multiply", "With": "use set, outside of loops",
    "ScopedEvalContextModifier": "name the file .html, or use the filter safe", "attr": "use a dot",
    **_each("NSRef namespace", _TOTAL),
    "batch": "send the rows as lists", "get": "use a dot and the filter default", "groupby": "send the groups as lists",
    "keys": "use a loop over the mapping", "range": "send a list", "strip": "use the filter trim",
    "values": "use a loop over the filter items",
}  # fmt: skip
_WORDS = {
    "CallBlock": "call", "FilterBlock": "filter", "FromImport": "from", "Pow": "**",
    "NSRef": "set of a part", "ScopedEvalContextModifier": "autoescape",
}  # fmt: skip
"""The words that templates write for syntax nodes, where they differ from the node's name."""


class _TemplateReader(NodeTransformer):
    """Finds everything that is not allowed in a tree, and adds the calls that spend steps to the rest."""

    def __init__(self) -> None:
        self.problems: dict[tuple[int, str], None] = {}
        self._size = 0
        """Nodes that have been looked at, and 50 characters each of plain text."""

    def _say(self, node: nodes.Node, why: str) -> None:
        self.problems[node.lineno, why] = None

    def _refuse(self, node: nodes.Node, what: str, instead: str) -> None:
        self._say(node, f"{what} cannot be used in a template: {instead}")

    def visit(self, node: nodes.Node, depth: int = 0, loops: int = 0) -> Any:
        if depth > DEPTH_MAX:
            self._say(node, f"nested too deep: wanted at most {DEPTH_MAX} levels")
            return node
        before = self._size
        self._size += 1 + (len(node.data) // _COPIED if isinstance(node, nodes.TemplateData) else 0)
        self._check(node, loops)
        self.generic_visit(node, depth + 1, loops + isinstance(node, nodes.For))
        match node:
            case nodes.For():
                node.iter = _filter(node.iter, _TURNS, nodes.Const(10 + (self._size - before) // 2, lineno=node.lineno))
            case nodes.Compare() | nodes.Operand():
                node.expr = _filter(node.expr, _WEIGHED)
            case nodes.Getitem(arg=nodes.Slice()):
                return _filter(node, _CUT)
            case nodes.Call():
                node.args = [_filter(each, _WEIGHED) for each in node.args]
            case nodes.Concat():
                node.nodes = [_filter(each, _WEIGHED) for each in node.nodes]
            case nodes.List() | nodes.Tuple(ctx="load"):
                node.items = [_leaf(each) for each in node.items]
            case nodes.Pair():
                node.key, node.value = _filter(node.key, _SCALAR), _leaf(node.value)
        return node

    def _check(self, node: nodes.Node, loops: int) -> None:
        kind = type(node).__name__
        if getattr(node, "dyn_args", None) is not None or getattr(node, "dyn_kwargs", None) is not None:
            self._refuse(node, "* before an argument", "write each argument")
        match node:
            case nodes.For() if loops == LOOPS_MAX:
                self._say(node, f"wanted at most {LOOPS_MAX} loops in each other")
            case nodes.For(recursive=True):
                self._refuse(node, "a recursive loop", "send a list without levels")
            case nodes.Assign(target=nodes.NSRef()):
                pass  # is said of that
            case nodes.Assign() | nodes.AssignBlock() if loops:
                self._refuse(node, "set in a loop", f"write the value where it is used; {_TOTAL}")
            case nodes.Mod(left=nodes.Const(value=str() as text)) if not _fits(node, node.left):
                self._refuse(node, f"the format {text[:50]!r}", _OF_NUMBERS)
            case nodes.Const(value=int() | float() as number) if not -NUMBER_MAX < number < NUMBER_MAX:
                self._say(node, f"wanted a number below {NUMBER_MAX:.0e}")
            case nodes.BinExpr() if kind in _ALLOWED and not (_fits(node, node.left) and _fits(node, node.right)):
                self._refuse(node, f"{node.operator} beside what is no number", _INSTEAD.get(node.operator, _SEND))
            case nodes.Filter(name=name, args=given, kwargs=named):
                self._check_filter(node, name, given, named)
            case nodes.Test(name=name):
                self._check_known(node, "test", name, _TESTS, TESTS)
            case nodes.Call(node=nodes.Getattr(node=nodes.Name(name="loop"), attr="cycle" | "changed")) if loops:
                pass
            case nodes.Call(node=nodes.Getattr(attr=name) | nodes.Name(name=name)):
                otherwise = _IN_PLACE if isinstance(node.node, nodes.Name) else _SEND
                self._refuse(node, f"a call of {name}()", _INSTEAD.get(name, otherwise))
            case _ if kind not in _ALLOWED:
                self._refuse(node, f"'{_WORDS.get(kind, kind.lower())}'", _INSTEAD.get(kind, _IN_PLACE))

    def _check_filter(self, node: nodes.Node, name: str, given: list[Any], named: Any) -> None:
        self._check_known(node, "filter", name, _FILTERS, FILTERS)
        if (
            name in _FILTERS
            and (problem := _problem_of_arguments(name, given, {each.key: each.value for each in named})) is not None
        ):
            self._say(node, f"{name}: {problem}")
        elif name in _OF_EACH and len(given) > _OF_EACH[name]:
            applied = getattr(given[_OF_EACH[name]], "value", None)
            if applied in _OF_EACH:
                self._refuse(node, f"{applied} in {name}", "use a loop")
            elif name == "map":
                self._check_known(node, "filter", applied, _FILTERS, FILTERS)
            else:
                self._check_known(node, "test", applied, _TESTS, TESTS)

    def _check_known(self, node: nodes.Node, what: str, name: Any, known: Mapping[str, Any], of_jinja: Any) -> None:
        if name not in known and name in of_jinja:
            self._refuse(node, f"the {what} {name}", _INSTEAD.get(name, _SEND))
        elif name not in known:
            self._say(node, f"No {what} named {name!r}.")


_TRIED = {"date": date(2026, 1, 31), "decimals": 1, "money": 1, "round": 1}
"""Values that filters are tried with, where their arguments are written in a template."""


def _problem_of_arguments(name: str, given: list[Any], named: dict[str, Any]) -> str | None:
    function = inspect.unwrap(_FUNCTIONS[name])
    value = (None,) if getattr(function, "jinja_pass_arg", None) is None else (None, None)
    try:
        inspect.signature(function).bind(*value, *given, **named)
        token = _budget.set(RenderBudget())
        try:
            if name in _TRIED:
                function(_TRIED[name], *map(_constant, given), **{key: _constant(each) for key, each in named.items()})
        finally:
            _budget.reset(token)
    except nodes.Impossible:  # a variable is among them
        pass
    except (Unfit, TypeError) as error:
        return str(error)
    return None


def _constant(node: nodes.Node) -> Any:
    match node:
        case nodes.Const(value=value):
            return value
        case nodes.Neg(node=nodes.Const(value=int() | float() as number)):
            return -number
        case _:
            raise nodes.Impossible


def _fits(node: nodes.BinExpr, side: nodes.Node) -> bool:
    if isinstance(side, nodes.Const) and isinstance(side.value, str):
        return isinstance(node, nodes.Add) or (isinstance(node, nodes.Mod) and bool(_DECIMALS.fullmatch(side.value)))
    return not isinstance(side, (nodes.List, nodes.Tuple, nodes.Dict))


def _leaf(node: Any) -> Any:
    return node if isinstance(node, (nodes.List, nodes.Tuple, nodes.Dict)) else _filter(node, _SCALAR)


def _filter(node: Any, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)


@functools.cache
def _environment(is_jinja: bool, html: bool) -> _Environment:
    # \0 is not to be met in a text: a template that says {% is Jinja's own, and keeps Jinja's braces.
    single = {"variable_start_string": "{", "variable_end_string": "}"}
    single |= {"block_start_string": "\0{%", "comment_start_string": "\0{#"}
    return _Environment(autoescape=html, **({} if is_jinja else single))


_BRACES = "what stands in { } is a variable: where CSS or JSON has braces, write {{ name }} for each variable"
_BRACES_OF_JINJA = "what stands in {{ }} is a value, in {% %} a statement: part the braces of CSS or JSON by a space"


@functools.lru_cache(maxsize=256)  # each run of a scenario reads the built-in ones anew
def read(source: str, html: bool) -> tuple[Template | None, list[tuple[int, str]]]:
    """Return the template, or else its problems, each with its line.

    ``{name}`` is a variable; a text with ``{{`` or ``{%`` in it is Jinja's.
    """
    is_jinja = "{{" in source or "{%" in source
    environment, reader = _environment(is_jinja, html), _TemplateReader()
    try:
        for line, _, _ in itertools.islice(environment.lex(source), SIGNS_MAX, None):
            return None, [(line, f"too long: wanted at most {SIGNS_MAX:,} words and signs")]
        tree = reader.visit(environment.parse(source))
        if not reader.problems:
            return environment.from_string(tree.set_environment(environment)), []
    except TemplateSyntaxError as error:
        return None, [(error.lineno, f"{error.message or 'no template'}; {_BRACES_OF_JINJA if is_jinja else _BRACES}")]
    except RecursionError:
        return None, [(1, f"nested too deep: wanted at most {DEPTH_MAX} levels")]
    except Exception as error:  # of the limits of Jinja's parser, as for a number of 5,000 digits
        return None, [(1, f"{type(error).__name__}: {error}")]
    return None, sorted(reader.problems)
