"""Calls of ``self.retry`` in the bodies of Celery's tasks: under which conditions they are met, and their waits."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from simulation.importing.draft import UNREAD, Draft, Head, Setting, whole, written
from simulation.importing.python_calls import locals_of
from simulation.importing.python_names import Bound, Function, Module, dotted, walked
from simulation.importing.python_source import Program, given_value
from simulation.importing.python_values import Later, Symbol, Undecided, is_number, seconds
from simulation.importing.readers.celery_tasks import Task, entries_of
from simulation.importing.waits import UNLIMITED, Drawn, NoFormula, bounds_of, fitted, from_0

FOLLOWED_MAX = 200
"""Waits that are worked out one by one; of more retries, the last one repeats."""

_RETRIES = "request.retries"


@dataclass(frozen=True, slots=True)
class Retries:
    """The retries of a task: how many there are, and the settings of the waits; of a call, where they are not exact."""

    most: int
    retry: dict[str, Any]
    longest_s: float
    is_off: bool = field(default=False, repr=False)
    reason: str = field(default="", repr=False)


@dataclass(eq=False, slots=True)
class RetryCall:
    task: Task
    program: Program
    setting: Setting
    owner: str
    """The object whose ``retry`` is called: mostly ``self``."""

    is_of_task: bool
    countdown: Setting | None
    eta: Setting | None
    max_retries: Setting | None
    after: str
    """The classes of the ``except`` around it; empty for all."""

    conditions: Sequence[tuple[ast.expr, bool]]
    """Tests of the number of retries, each with the result it must have."""

    where: str
    """The other tests around it, as they are written; empty without any."""

    is_met_by_all: bool
    """Whether each exception of the task leads to it."""

    function: Function
    passed: Mapping[str, Any]
    """The arguments with which the task's code calls the function, where that is not its own."""

    unread: Setting | None
    """Further arguments, of a dict that stands elsewhere."""

    def waits(self, most: int, delay: float | None, draft: Draft) -> Retries | None:
        """Return the waits before at most so many retries; None if they are open or cannot be said."""
        count = self._met(most, draft)
        if count is None:
            return None
        waits = []
        for number in range(max(1, min(count, FOLLOWED_MAX))):
            wait = delay if delay is not None else self._wait(number, most, draft)
            if wait is UNREAD or wait is None:
                return None
            waits.append(from_0(wait))
        try:
            found = fitted(waits, count)
        except NoFormula as problem:
            draft.refuse(self.setting, str(problem))
            return None
        reason = f"met {count:,} times at most" if count < most else ""
        reasons = filter(None, (found.off, reason))
        return Retries(count, found.retry, max(bounds_of(waits)[1]), bool(found.off), "; ".join(reasons))

    def _scope(self, number: int, most: int) -> dict[str, Any]:
        known: dict[str, Any] = {}
        for name in {self.task.calls_itself or "self", "self", "current_task", self.owner}:
            known |= {f"{name}.{_RETRIES}": number, f"{name}.default_retry_delay": 180}
            known |= {f"{name}.{key}": Later(each.node, each.module) for key, each in self.task.settings.items()}
            known[f"{name}.max_retries"] = None if most >= UNLIMITED else most
        return known

    def _local(self, number: int, most: int) -> dict[str, Any]:
        known = self._scope(number, most)
        return {**locals_of(self.function, self.program, self.setting.module, known), **self.passed}

    def _met(self, most: int, draft: Draft) -> int | None:
        """Return how often the call is met in a row by the conditions around it; None if they are open."""
        if not self.conditions:
            return most
        for number in range(min(most, FOLLOWED_MAX)):
            local = self._local(number, most)
            for test, wanted in self.conditions:
                try:
                    holds = self.program.value(test, self.setting.module, local)
                except Undecided as undecided:
                    own = f"{draft.name}.max_retries"
                    given = whole(given_value(self.program.given.values.get(own, "")))
                    if given is not None:
                        return max(0, given)
                    setting = Setting("if", test, self.setting.module)
                    draft.ask(setting, undecided.name or own, "a number of retries")
                    return None
                if bool(holds) is not wanted:
                    return number
        return most

    def _wait(self, number: int, most: int, draft: Draft) -> Any:
        setting = self.countdown or self.eta
        assert setting is not None
        local = self._local(number, most)
        if self.countdown is None:
            return self._until(setting, local, draft)
        named = Setting(f"retry.{setting.name}", setting.node, setting.module, local)
        return draft.read(named, "a number of seconds", _delay)

    def _until(self, setting: Setting, local: Mapping[str, Any], draft: Draft) -> Any:
        node = setting.node
        if isinstance(node, ast.Name):
            bound = [
                each.value
                for each in walked(self.function)
                if isinstance(each, ast.Assign) and [dotted(target) for target in each.targets] == [node.id]
            ]
            node = bound[0] if len(bound) == 1 else node
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            for now, more in ((node.left, node.right), (node.right, node.left)):
                named = dotted(now.func) if isinstance(now, ast.Call) else None
                value = self.program.value_or(more, setting.module, local, None)
                if named and named.rpartition(".")[2] in ("now", "utcnow") and isinstance(value, timedelta):
                    return value.total_seconds()
        own = f"{draft.name}.retry.eta"
        if own not in self.program.given.values:
            return draft.ask(setting, own, "the seconds from then until the eta")
        eta = ast.Name("eta", lineno=setting.line)
        return draft.read(Setting("retry.eta", eta, setting.module), "seconds", _delay)


def _delay(value: Any) -> Any:
    if value is None:
        return 0.0
    if isinstance(value, Drawn):
        return value
    return None if isinstance(value, timedelta) or not is_number(value) else seconds(value)


def retry_calls(task: Task, program: Program) -> tuple[list[RetryCall], list[Setting]]:
    """Return the calls of ``retry`` in the code of a task and of functions that it is handed to, in order; and the
    calls that hand it to functions of other files."""
    found: list[RetryCall] = []
    handed: list[Setting] = []
    waiting: list[tuple[Module, Function, set[str], Mapping[str, Any]]] = [
        (module, body, {"self", "current_task", task.calls_itself, body.name}, {}) for module, body in task.bodies
    ]
    seen = {body for _, body in task.bodies}
    while waiting:
        module, function, own, passed = waiting.pop()
        for call, around in _calls(function):
            owner, _, last = (dotted(call.func) or "").rpartition(".")
            is_task = owner in own or program.qualified(_parsed(owner), module) == "celery.current_task"
            if last == "retry" and is_task:
                found.append(_retry_call(call, around, owner, task, module, function, program, passed))
            elif owner not in own and _hands(call, own):
                target = program.resolve(dotted(call.func) or "", module) if dotted(call.func) else None
                if isinstance(target, Bound) and isinstance(target.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    if target.node not in seen:
                        seen.add(target.node)
                        parameters = _parameters(target.node, call, module)
                        ours = {name for name, each in parameters.items() if dotted(each.node) in own}
                        waiting.append((target.module, target.node, ours, parameters))
                elif not isinstance(target, Symbol) or target.name.rpartition(".")[2] not in _HARMLESS:
                    handed.append(Head(written(call), call, module))
    return sorted(found, key=lambda each: (each.setting.module.name, each.setting.line)), handed


_HARMLESS = frozenset((*dir(builtins), "info", "debug", "warning", "error", "exception", "getLogger", "partial"))


def _parsed(owner: str) -> ast.expr:
    return ast.parse(owner or "_", mode="eval").body


def _hands(call: ast.Call, own: set[str]) -> bool:
    return bool({dotted(each) for each in (*call.args, *(keyword.value for keyword in call.keywords))} & (own - {""}))


def _parameters(function: Function, call: ast.Call, module: Module) -> dict[str, Later]:
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    given = dict(zip(names, call.args, strict=False)) | {each.arg: each.value for each in call.keywords if each.arg}
    return {name: Later(each, module) for name, each in given.items()}


def _retry_call(
    call: ast.Call,
    around: Around,
    owner: str,
    task: Task,
    module: Module,
    function: Function,
    program: Program,
    passed: Mapping[str, Any],
) -> RetryCall:
    given, unread = _arguments(call, owner, task, module, program)
    countdown, eta, most = (_unless_none(given.get(key)) for key in ("countdown", "eta", "max_retries"))
    head, is_of_task = Head(written(call), call, module), owner != "self" or task.is_bound
    after, where = _after(around, module, program), _where(around, function.name if passed else "")
    by_all, conditions = _is_met_by_all(around, function), _conditions(around)
    return RetryCall(
        *(task, program, head, owner, is_of_task, countdown, eta, most, after, conditions, where, by_all),
        *(function, passed, unread),
    )


_POSITIONS = ("args", "kwargs", "exc", "throw", "eta", "countdown", "max_retries")


def _arguments(
    call: ast.Call, owner: str, task: Task, module: Module, program: Program
) -> tuple[dict[str, Setting], Setting | None]:
    """Return the arguments of a call by name, ``**self.retry_kwargs`` included, and the setting that is elsewhere."""
    found = {name: Setting(name, each, module) for name, each in zip(_POSITIONS, call.args, strict=False)}
    unread = next((Head(written(each), each, module) for each in call.args if isinstance(each, ast.Starred)), None)
    for keyword in call.keywords:
        if keyword.arg is not None:
            found[keyword.arg] = Setting(keyword.arg, keyword.value, module)
            continue
        attribute = (dotted(keyword.value) or "").removeprefix(f"{owner}.")
        own = task.settings.get(attribute)
        entries = entries_of(*((keyword.value, module) if own is None else (own.node, own.module)), program)
        if entries is None:
            unread = Head(f"**{written(keyword.value)}", keyword.value, module)
        else:
            found |= entries
    return found, unread


def _unless_none(setting: Setting | None) -> Setting | None:
    is_none = setting is not None and isinstance(setting.node, ast.Constant) and setting.node.value is None
    return None if is_none else setting


Around = tuple[tuple[ast.AST, str, Sequence[ast.stmt]], ...]
"""The nodes around one, each with the name of the field that leads on and the statements before in it."""


def _calls(function: Function) -> Iterator[tuple[ast.Call, Around]]:
    waiting: list[tuple[ast.AST, Around]] = [(function, ())]
    while waiting:
        node, around = waiting.pop()
        if isinstance(node, ast.Call):
            yield node, around
        for name, value in ast.iter_fields(node):
            for place, each in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(each, ast.AST):
                    before = value[:place] if isinstance(value, list) else []
                    waiting.append((each, (*around, (node, name, before))))


def _after(around: Around, module: Module, program: Program) -> str:
    for node, _, _ in reversed(around):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                return ""
            types = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = [program.qualified(each, module).rpartition(".")[2] or written(each) for each in types]
            return "" if {"Exception", "BaseException"} & set(names) else " or ".join(names[:4])
    return ""


def _conditions(around: Around) -> list[tuple[ast.expr, bool]]:
    found: list[tuple[ast.expr, bool]] = []
    for node, name, before in around:
        if isinstance(node, (ast.If, ast.IfExp)) and name in ("body", "orelse") and _asks(node.test):
            found.append((node.test, name == "body"))
        for each in before:
            if isinstance(each, ast.If) and _asks(each.test) and not each.orelse and _leaves(each.body[-1]):
                found.append((each.test, False))
    return found


def _where(around: Around, helper: str) -> str:
    """Return the other tests on which a call depends, as they are written; of earlier returns only those that a failure
    may meet: in a handler, and in a function that the task is handed to."""
    tests = [f"{helper} is called"] if helper else []
    is_after_failure = bool(helper)
    for node, name, before in around:
        is_after_failure |= isinstance(node, ast.ExceptHandler)
        if isinstance(node, (ast.If, ast.IfExp)) and name in ("body", "orelse") and not _asks(node.test):
            tests.append(written(node.test) if name == "body" else f"not ({written(node.test)})")
        for each in before if is_after_failure else ():
            if isinstance(each, ast.If) and not _asks(each.test) and not each.orelse and _leaves(each.body[-1]):
                tests.append(f"not ({written(each.test)})")
    return " and ".join(tests)[:100]


def _is_met_by_all(around: Around, function: Function) -> bool:
    kinds = [type(node) for node, _, _ in around]
    if kinds[:3] != [type(function), ast.Try, ast.ExceptHandler] or set(kinds[3:]) - {ast.Raise, ast.Expr, ast.Return}:
        return False
    handler, tried = around[2][0], around[1][0]
    assert isinstance(handler, ast.ExceptHandler)
    assert isinstance(tried, ast.Try)
    is_every = handler.type is None or dotted(handler.type) in ("Exception", "BaseException")
    return is_every and tried is function.body[-1] and handler is tried.handlers[0]


def _asks(test: ast.expr) -> bool:
    names = {dotted(node) or "" for node in walked(test) if isinstance(node, (ast.Attribute, ast.Name))}
    return any(name.endswith(_RETRIES) or name == "retries" for name in names)


def _leaves(statement: ast.stmt) -> bool:
    return isinstance(statement, (ast.Return, ast.Raise)) and not any(
        isinstance(node, ast.Attribute) and node.attr == "retry" for node in walked(statement)
    )
