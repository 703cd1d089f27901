"""tenacity: ``@retry``, ``Retrying`` and ``AsyncRetrying`` with their strategies of stopping and waiting.

Read in the sources of tenacity 6.3 to 9.2 (``stop.py``, ``wait.py``, ``BaseRetrying.iter``).
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from actors.formatting import counted, duration_text
from actors.settings.quantities import parse_duration
from simulation.importing.draft import Draft, Setting
from simulation.importing.policy import Policy, did_you_mean, duration
from simulation.importing.python_calls import Use, uses
from simulation.importing.python_source import Program, given_value
from simulation.importing.python_values import (
    Called,
    Combined,
    Incalculable,
    Open,
    Symbol,
    Undecided,
    combined,
    is_number,
    seconds,
)
from simulation.importing.source import Given, SourceFile, Version, rests_on, version_of
from simulation.importing.waits import (
    LONGEST_S,
    UNLIMITED,
    Drawn,
    NoFormula,
    attempts,
    constant,
    exponential,
    fitted,
    from_0,
)

# ── strategies of waiting ─────────────────────────────────────────────────────────────────────────────────────────────


FOLLOWED_MAX = 200
"""Waits that are worked out one by one; of more retries, the last one repeats."""


class NotSaid(Exception):
    """A strategy that cannot be expressed; `open` has the values that stand elsewhere."""

    def __init__(self, text: str, open_: Open | Symbol | None = None) -> None:
        super().__init__(text)
        self.open = open_


@dataclass(frozen=True, slots=True)
class Waits:
    """Settings of retries; where they are off, and the parts of the strategy that never matter, with why."""

    retry: dict[str, Any]
    off: str = ""
    dead: tuple[tuple[str, str], ...] = ()


def short(name: str) -> str:
    return name.rpartition(".")[2]


def opened(value: Any) -> tuple[list[Open], list[str]]:
    """Return the open questions in a value, and the assumptions of the rest of it."""
    if isinstance(value, Open):
        return [value], []
    parts: Sequence[Any] = ()
    assumed: list[str] = []
    if isinstance(value, Called):
        parts, assumed = (
            (*value.args, *value.keywords.values()),
            [text for texts in value.assumed.values() for text in texts],
        )
    elif isinstance(value, Combined):
        parts = (value.left, value.right)
    elif isinstance(value, (list, tuple)):
        parts = value
    found: list[Open] = []
    for each in parts:
        more, also = opened(each)
        found += more
        assumed += also
    return found, assumed


def draws_from_a_minimum(value: Any) -> bool:
    """Return whether a strategy draws waits from a minimum on, which not all versions do."""
    if isinstance(value, Combined):
        return draws_from_a_minimum(value.left) or draws_from_a_minimum(value.right)
    if not isinstance(value, Called):
        return False
    name = short(value.name)
    if name in ("wait_random_exponential", "wait_full_jitter"):
        return bool(dict(zip(_PARAMETERS[name], value.args, strict=False)).get("min", value.keywords.get("min", 0)))
    return any(map(draws_from_a_minimum, value.args))


def called_with(call: Called, parameters: Sequence[str], name: str) -> dict[str, Any]:
    """Return the arguments of a call by the names of parameters; raise NotSaid for an argument without parameter."""
    if len(call.args) > len(parameters):
        raise NotSaid(f"{name} takes {len(parameters)} arguments")
    found = dict(zip(parameters, call.args, strict=False))
    for key, value in call.keywords.items():
        if key not in parameters or key in found:
            raise NotSaid(f"{name} has no argument {key}" if key not in parameters else f"{key} is given twice")
        found[key] = value
    return found


_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "wait_none": (),
    "wait_fixed": ("wait",),
    "wait_random": ("min", "max"),
    "wait_incrementing": ("start", "increment", "max"),
    "wait_exponential": ("multiplier", "max", "exp_base", "min"),
    "wait_random_exponential": ("multiplier", "max", "exp_base", "min"),
    "wait_full_jitter": ("multiplier", "max", "exp_base", "min"),
    "wait_exponential_jitter": ("initial", "max", "exp_base", "jitter", "min", "multiplier"),
}
_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "wait_random": {"min": 0, "max": 1},
    "wait_incrementing": {"start": 0, "increment": 100},
    "wait_exponential_jitter": {"jitter": 1},
}
_IN_GENERAL = {"multiplier": 1.0, "initial": 1.0, "max": LONGEST_S, "exp_base": 2.0, "min": 0.0}


def waits_of(value: Any, retries: int, version: Version, program: Program) -> Waits:
    """Return the waits before `retries` retries of a strategy.

    Raises:
        NotSaid: own code decides them, a part of them stands elsewhere, or no settings have them.
    """
    if isinstance(value, Called) and (found := _by_formula(value, retries, version)) is not None:
        return found
    at = _wait(value, version, program)
    try:
        settings = fitted([from_0(at(number)) for number in range(min(retries, FOLLOWED_MAX))], retries)
    except NoFormula as problem:
        raise NotSaid(str(problem)) from None
    return Waits(settings.retry, settings.off)


def _numbers(call: Called, version: Version) -> dict[str, float]:
    name = short(call.name)
    parameters = _PARAMETERS[name]
    if name == "wait_exponential_jitter" and version < (9, 2):
        parameters = parameters[:4]
    given = called_with(call, parameters, name)
    found = {**_IN_GENERAL, **_DEFAULTS.get(name, {})}
    for key, value in given.items():
        number = seconds(value)
        if number is None or math.isnan(number):
            raise NotSaid("wanted a number of seconds", value if isinstance(value, (Open, Symbol)) else None)
        found[key] = number
    if name == "wait_exponential_jitter":
        if "multiplier" in given and "initial" in given:
            raise NotSaid("tenacity takes initial or multiplier, and not both")
        found["multiplier"] = found["multiplier"] if "multiplier" in given else found["initial"]
    if name in ("wait_random_exponential", "wait_full_jitter") and version < (9, 0):
        found["least_draw"] = 0.0
    return found


def _by_formula(call: Called, retries: int, version: Version) -> Waits | None:
    """Return the settings of a strategy that is one of a channel's own; None if its waits are to be worked out."""
    name = short(call.name)
    if name not in _PARAMETERS:
        return None
    of = _numbers(call, version)
    match name:
        case "wait_none":
            return Waits(constant(0.0))
        case "wait_fixed":
            return Waits(constant(max(0.0, of["wait"])))
        case "wait_exponential" | "wait_random_exponential" | "wait_full_jitter" | "wait_exponential_jitter":
            if of["multiplier"] <= 0 or of["exp_base"] < 1 or of["max"] <= 0:
                return None
            lowest = max(0.0, of["min"])
            if name == "wait_exponential_jitter" and lowest > of["multiplier"]:
                return None
            if name != "wait_exponential" and "least_draw" in of and lowest > 0:
                return None
            retry = exponential(of["multiplier"], of["exp_base"], of["max"], lowest)
            if retry is None:
                return None
            return Waits(_with_jitter(name, retry, of), dead=tuple(_dead(name, call, of, retries)))
    return None


def _with_jitter(name: str, retry: dict[str, Any], of: Mapping[str, float]) -> dict[str, Any]:
    if name == "wait_exponential_jitter":
        if of["jitter"] <= 0 or of["multiplier"] >= of["max"]:
            return retry
        return {**retry, "jitter": "additive", "jitter_max": duration(of["jitter"])}
    if name == "wait_exponential":
        return retry
    lowest = max(0.0, of["min"])
    if retry.get("backoff") == "constant" and lowest > 0:
        return (
            {**retry, "min_delay": duration(min(lowest, of["max"])), "jitter": "full"} if lowest < of["max"] else retry
        )
    return {**retry, "jitter": "full"}


def _dead(name: str, call: Called, of: Mapping[str, float], retries: int) -> Sequence[tuple[str, str]]:
    found = []
    try:
        reached = of["multiplier"] * of["exp_base"] ** (retries - 1)
    except OverflowError:
        reached = math.inf
    most = reached + (of["jitter"] if name == "wait_exponential_jitter" else 0.0)
    given = called_with(call, _PARAMETERS[name], name)
    if "max" in given and max(most, of["min"]) <= of["max"]:
        found.append(
            (f"max={of['max']:g}", f"none of {retries:,} is longer than {duration_text(max(most, of['min']))}")
        )
    if "min" in given and of["min"] <= of["multiplier"] and name == "wait_exponential":
        found.append((f"min={of['min']:g}", f"no wait is shorter than {duration_text(of['multiplier'])}"))
    return found


Waiting = Callable[[int], Any]


def _wait(value: Any, version: Version, program: Program) -> Waiting:
    """Return a function from the number of retries before to the wait, or to its bounds; raise NotSaid."""
    if isinstance(value, Open):
        raise NotSaid("", value)
    if isinstance(value, Combined) and value.sign == "+":
        left, right = (_wait(each, version, program) for each in (value.left, value.right))
        return lambda number: _sum(left(number), right(number))
    if isinstance(value, Symbol):
        return _own(value, program)
    if not isinstance(value, Called):
        if value is None or value == 0:
            return lambda number: 0.0
        raise NotSaid("tenacity takes a strategy here, such as wait_fixed(5)")
    name = short(value.name)
    if name == "wait_combine":
        parts = [_wait(each, version, program) for each in value.args]
        return lambda number: _sum(*(part(number) for part in parts))
    if name == "wait_chain":
        chained = [_wait(each, version, program) for each in value.args]
        if not chained:
            raise NotSaid("wait_chain wants a strategy at least")
        return lambda number: chained[min(number, len(chained) - 1)](number)
    if name not in _PARAMETERS:
        raise NotSaid(f"{name} decides the waits, and is own code")
    of = _numbers(value, version)
    return lambda number: _one(name, of, number)


def _sum(*parts: Any) -> Any:
    total: Any = 0.0
    for each in parts:
        try:
            total = combined("Add", total, each)
        except Incalculable:
            raise NotSaid("the waits cannot be added") from None
    return total


def _one(name: str, of: Mapping[str, float], number: int) -> Any:
    match name:
        case "wait_none":
            return 0.0
        case "wait_fixed":
            return of["wait"]
        case "wait_random":
            return Drawn(min(of["min"], of["max"]), max(of["min"], of["max"]))
        case "wait_incrementing":
            return max(0.0, min(of["start"] + of["increment"] * number, of["max"]))
    lowest = max(0.0, of["min"])
    try:
        grown = of["multiplier"] * of["exp_base"] ** number
    except OverflowError:
        grown = math.inf
    if name == "wait_exponential_jitter":
        low, high = (max(lowest, min(end, of["max"])) for end in (grown, grown + of["jitter"]))
        return Drawn(low, high, low == grown and high == grown + of["jitter"])
    longest = max(lowest, min(grown, of["max"]))
    if name == "wait_exponential":
        return longest
    least = of.get("least_draw", of["min"])
    return Drawn(min(least, longest), max(least, longest))


def _own(value: Symbol, program: Program) -> Waiting:
    found = value.bound
    if found is None:
        raise NotSaid("the strategy stands elsewhere", value)

    def waited(number: int) -> Any:
        try:
            wait = program.called(found, {"attempt_number": number + 1})
        except Undecided:
            raise NotSaid(f"{short(value.name)} decides the waits, and is own code") from None
        if not is_number(wait) and not isinstance(wait, Drawn):
            raise NotSaid(f"{short(value.name)} gives no number of seconds")
        return wait

    return waited


_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+tenacity\b", re.MULTILINE)
_NAMES = frozenset(
    f"tenacity.{name}"
    for name in (
        *("retry", "Retrying", "AsyncRetrying", "asyncio.AsyncRetrying", "_asyncio.AsyncRetrying"),
        *("tornadoweb.TornadoRetrying", "TornadoRetrying"),
    )
)
_OF_RETRY = (
    *("sleep", "stop", "wait", "retry", "before", "after", "before_sleep", "reraise", "retry_error_cls"),
    *("retry_error_callback", "name", "enabled"),
)
_NO_PART = {
    "before": "it is told of attempts, and decides none",
    "after": "it is told of attempts, and decides none",
    "before_sleep": "it is told of waits, and decides none",
    "reraise": "it says which exception comes out at the end",
    "retry_error_cls": "it says which exception comes out at the end",
    "retry_error_callback": "it says what comes out at the end",
    "name": "it is a name",
}
_WANTED = {"stop": "a number of attempts", "wait": "a number of seconds"}


def recognises(file: SourceFile) -> bool:
    return file.suffix == ".py" and _IMPORT.search(file.text) is not None


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each use of tenacity; raise ConfigurationError if a file is no Python 3."""
    program = Program(files, given)
    version = version_of(given, "tenacity", (9, 2))
    return [_Reading(use, program, version).policy() for use in uses(program, _NAMES)]


@dataclass(frozen=True, slots=True)
class Stop:
    """When retries stop: by the first of these; None does not stop them."""

    attempts: float | None = None
    after_s: float | None = None
    """Looked at after a failure."""

    before_s: float | None = None
    """By when the next attempt would start."""

    def first_of(self, other: Stop) -> Stop:
        pairs = zip(
            (self.attempts, self.after_s, self.before_s), (other.attempts, other.after_s, other.before_s), strict=True
        )
        least = [min((each for each in pair if each is not None), default=None) for pair in pairs]
        return Stop(*least)


class _Reading:
    def __init__(self, use: Use, program: Program, version: Version) -> None:
        self.use = use
        self.program = program
        self.version = version
        self.draft = Draft(use.name, "tenacity", program)
        self.settings = {name: Setting(name, *use.call.nodes[name]) for name in use.call.keywords if name != "retry"}

    def policy(self) -> Policy:
        draft = self.draft
        if self.use.call.unread is not None:
            draft.ask(self.use.head, self.use.call.unread.name, "a dict of the settings")
            return draft.policy
        try:
            values = called_with(self.use.call, _OF_RETRY, "tenacity.retry")
        except NotSaid as problem:
            draft.refuse(self._setting("retry"), f"tenacity ends with a TypeError: {problem}{self._hint()}")
            return draft.policy
        draft.note_of(self.use.is_nested, self.use.module, self.use.name.rpartition(".")[2].partition(":")[0])
        stop = self._stop(values)
        self._classes(values)
        waits = None if stop is None else self._waits(values, stop)
        self._without_part(values)
        if stop is None or waits is None:
            draft.is_open = True
            return draft.policy
        draft.channel["retry"] = self._retry(stop, waits)
        return draft.policy

    def _hint(self) -> str:
        unknown = [name for name in self.use.call.keywords if name not in _OF_RETRY]
        return next(filter(None, (did_you_mean(name, _OF_RETRY) for name in unknown)), "")

    def _setting(self, name: str) -> Setting:
        place = self.use.call.nodes.get(name)
        return self.use.head if place is None else Setting(name, *place)

    # ── stop ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _stop(self, values: dict[str, Any]) -> Stop | None:
        value = values.get("stop")
        if values.get("enabled", True) is False:
            self.draft.exact(self._setting("enabled"), "retry.max_attempts", "it is off: 1 attempt")
            return Stop(attempts=1)
        if "stop" not in values:
            self.draft.exact(self._setting("stop"), "retry.max_attempts", "never stops: there is no stop")
            return Stop()
        setting = self._setting("stop")
        given = self._given("stop")
        if given is not None:
            self.draft.exact(setting, "retry.max_attempts", f"{counted(given, 'attempt')} with the first, as given")
            return Stop(attempts=max(1, math.ceil(given)))
        with self.program.assumptions() as assumed:
            assumed += (*opened(value)[1], *self.use.assumed(setting.name))
            try:
                stop = self._stopped(value)
            except NotSaid as problem:
                self._not_said(setting, problem, "retry.max_attempts")
                return None
            is_timed = stop.attempts is None and stop != Stop()
            path = "retry.max_elapsed" if is_timed else "retry.max_attempts"
            reason = self._stop_in_words(stop)
            self.draft.exact(setting, path, reason)
        if stop.after_s is not None and stop.before_s is not None and stop.before_s > stop.after_s:
            self.draft.refuse(setting, "a limit before a wait and an earlier one after a failure are one here")
            return None
        return stop

    @staticmethod
    def _stop_in_words(stop: Stop) -> str:
        said = []
        if stop.attempts is not None:
            count = max(1, stop.attempts)
            said.append("1 attempt" if count == 1 else f"{count:g} attempts with the first")
        if stop.after_s is not None and (stop.before_s is None or stop.after_s < stop.before_s):
            said.append(f"looked at after a failure: an attempt may start later than {duration_text(stop.after_s)}")
        return "; ".join(said) or ("never stops" if stop == Stop() else "")

    def _stopped(self, value: Any) -> Stop:
        if isinstance(value, Open):
            raise NotSaid("", value)
        if isinstance(value, Combined):
            left, right = self._stopped(value.left), self._stopped(value.right)
            return left.first_of(right) if value.sign == "|" else self._both(left, right)
        if isinstance(value, Symbol) and short(value.name) in ("stop_never", "_stop_never"):
            return Stop()
        if not isinstance(value, Called):
            raise NotSaid("own code decides when it stops")
        match short(value.name):
            case "stop_after_attempt":
                count = called_with(value, ("max_attempt_number",), "stop_after_attempt").get("max_attempt_number")
                if not is_number(count):
                    raise NotSaid("wanted a number of attempts", count if isinstance(count, (Open, Symbol)) else None)
                return Stop(attempts=max(1, math.ceil(count)))
            case "stop_after_delay" | "stop_before_delay" as name:
                limit = self._limit(value, name)
                return Stop(after_s=limit) if name == "stop_after_delay" else Stop(before_s=limit)
            case "stop_any" | "stop_all" as name:
                stops = [self._stopped(each) for each in value.args]
                found = stops[0] if stops else Stop()
                for each in stops[1:]:
                    found = found.first_of(each) if name == "stop_any" else self._both(found, each)
                return found
            case "_stop_never":
                return Stop()
            case name:
                raise NotSaid(f"{name} decides when it stops")

    @staticmethod
    def _limit(value: Called, name: str) -> float:
        limit = called_with(value, ("max_delay",), name).get("max_delay")
        found = seconds(limit)
        if found is None:
            raise NotSaid("wanted a number of seconds", limit if isinstance(limit, (Open, Symbol)) else None)
        return found

    def _both(self, left: Stop, right: Stop) -> Stop:
        if Stop() in (left, right):
            return Stop()
        counts = (left.attempts, right.attempts)
        if None not in counts and left == Stop(left.attempts) and right == Stop(right.attempts):
            return Stop(max(counts))  # type: ignore[type-var]
        least, timed = (left, right) if right.attempts is None else (right, left)
        limit = timed.after_s if timed.before_s is None else timed.before_s
        is_pair = least == Stop(least.attempts) and timed in (Stop(after_s=limit), Stop(before_s=limit))
        if least.attempts is None or limit is None or not is_pair or (wait := self._steady_wait()) is None:
            raise NotSaid("it stops only when both hold, and here one is enough")
        in_time = max(1, math.ceil(limit / wait - 1e-9) + (timed.before_s is None))
        if in_time > least.attempts and self.program.assumed is not None:
            self.program.assumed.append(f"where attempts take no time; {least.attempts:g} at least where they do")
        return Stop(max(least.attempts, in_time))

    def _steady_wait(self) -> float | None:
        """Return the wait before each attempt in seconds; None if it changes, is none or is not known."""
        value = self.use.call.keywords.get("wait")
        try:
            retry = waits_of(value, 2, self.version, self.program).retry if value is not None else {}
        except NotSaid:
            return None
        is_steady = retry.get("backoff") == "constant" and "jitter" not in retry
        return parse_duration(retry["initial_delay"]) or None if is_steady else None

    # ── wait ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _waits(self, values: dict[str, Any], stop: Stop) -> Waits | None:
        value = values.get("wait")
        retries = UNLIMITED if stop.attempts is None else int(stop.attempts) - 1
        if value is None or value == 0:
            setting = self.settings.get("wait")
            if setting is not None:
                self.draft.exact(setting, "retry.initial_delay", "no wait")
            else:
                self.draft.default("wait=wait_none()", "retry.initial_delay", why="there is no wait: at once")
            return Waits(constant(0.0))
        setting = self._setting("wait")
        given = self._given("wait")
        if given is not None:
            self.draft.exact(setting, "retry.initial_delay", f"{given:g} s, as given")
            return Waits(constant(max(0.0, given)))
        with self.program.assumptions() as assumed:
            assumed += (*opened(value)[1], *self.use.assumed(setting.name))
            if draws_from_a_minimum(value):
                assumed += rests_on(self.program.given, "tenacity", "9.0", "random waits begin at 0 s")
            try:
                found = waits_of(value, max(1, retries), self.version, self.program)
            except NotSaid as problem:
                self._not_said(setting, problem, "retry.initial_delay")
                return None
            self.draft.noted(setting, "retry.initial_delay", found.off)
        for text, why in found.dead:
            self.draft.dead(replace_text(setting, text), why)
        return found

    def _given(self, name: str) -> float | None:
        text = self.program.given.values.get(f"{self.draft.name}.{name}")
        value = None if text is None else given_value(text)
        return float(value) if is_number(value) else None

    def _not_said(self, setting: Setting, problem: NotSaid, path: str) -> None:
        if problem.open is None:
            self.draft.refuse(setting, str(problem), path)
            return
        name = problem.open.name if isinstance(problem.open, Open) else problem.open.written
        own = f"{self.draft.name}.{setting.name}"
        self.draft.ask(setting, name or own, str(problem).removeprefix("wanted ") or _WANTED[setting.name], path)

    def _retry(self, stop: Stop, waits: Waits) -> dict[str, Any]:
        retry = dict(waits.retry)
        most = UNLIMITED if stop.attempts is None else int(stop.attempts)
        limit = stop.before_s if stop.before_s is not None else stop.after_s
        if limit is not None and limit <= 0:
            return {"max_attempts": 1}
        if limit is not None and most > 1:
            retry["max_elapsed"] = duration(limit)
            if stop.before_s is None:
                retry["max_elapsed_checked"] = "after_failure"
        return {"max_attempts": attempts(most), **retry}

    # ── the rest ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _classes(self, values: dict[str, Any]) -> None:
        if "retry" not in values:
            return
        setting = self._setting("retry")
        text = retried_in_words(values["retry"])
        if text is None:
            self.draft.exact(setting, "retry.on")
        elif text == "":
            why = "only TryAgain, which your code raises, is retried"
            self.draft.approximate(setting, f"{why}; each failure stands for it here", "retry.on")
        else:
            self.draft.approximate(setting, f"{text}; each failure stands for that here", "retry.on")

    def _without_part(self, values: dict[str, Any]) -> None:
        for name, why in _NO_PART.items():
            if name in values and name in self.settings:
                self.draft.dead(self.settings[name], f"no part in the schedule: {why}")
        if values.get("enabled", True) not in (True, False) and "enabled" in self.settings:
            self.draft.approximate(self.settings["enabled"], "taken to be on")
        if "sleep" in self.settings:
            self.draft.approximate(self.settings["sleep"], "taken to sleep as long as it is told")


def replace_text(setting: Setting, text: str) -> Setting:
    return replace(setting, name=text.partition("=")[0], node=ast.Name(text.partition("=")[2], lineno=setting.line))


def retried_in_words(value: Any) -> str | None:
    """Return which failures a condition of tenacity retries: None for all exceptions, empty for none of them."""
    if isinstance(value, Combined):
        left, right = retried_in_words(value.left), retried_in_words(value.right)
        if value.sign == "|" and (left is None or right is None):
            return None
        return (" and " if value.sign == "&" else " or ").join(filter(None, (left, right)))
    if isinstance(value, Symbol):
        return {"retry_always": None, "retry_never": ""}.get(
            short(value.name), "only what your own condition says is retried"
        )
    if not isinstance(value, Called):
        return "only what your own condition says is retried"
    names = [short(each.name) for each in _symbols(value.args)]
    names += [short(each.name) for each in _symbols(tuple(value.keywords.values()))]
    match short(value.name):
        case "retry_if_exception_type":
            if (not value.args and not value.keywords) or {"Exception", "BaseException"} & set(names):
                return None
            return f"only {' or '.join(names[:4]) or 'some classes'} {'is' if len(names) < 2 else 'are'} retried"
        case "retry_if_not_exception_type":
            return f"{' and '.join(names[:4]) or 'some classes'} {'is' if len(names) < 2 else 'are'} not retried"
        case "retry_any" | "retry_all" as joined:
            texts = [retried_in_words(each) for each in value.args]
            if joined == "retry_any" and None in texts:
                return None
            return (" or " if joined == "retry_any" else " and ").join(filter(None, texts)) or None
        case "retry_if_result" | "retry_if_not_result":
            return "only a result is looked at, and no exception is retried" if short(value.name) else None
        case name:
            return f"only what {name} says is retried"


def _symbols(values: Sequence[Any]) -> list[Symbol]:
    found = []
    for value in values:
        if isinstance(value, (list, tuple)):
            found += _symbols(value)
        elif isinstance(value, Symbol):
            found.append(value)
    return found
