"""The strategies of waiting of tenacity, as settings of a channel's retries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.formatting import duration_text
from simulation.importing.policy import duration
from simulation.importing.python_source import Program
from simulation.importing.python_values import (
    Called,
    Combined,
    Drawn,
    Incalculable,
    Open,
    Symbol,
    Undecided,
    combined,
    is_number,
    seconds,
)
from simulation.importing.source import Version
from simulation.importing.waits import LONGEST_S, NoFormula, constant, exponential, fitted

FOLLOWED_MAX = 200
"""Waits that are worked out one by one; of more retries, the last one repeats."""


class NotSaid(Exception):
    """A strategy that cannot be said; `open` is what of it stands elsewhere."""

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
    """Return what is open in a value, and what the rest of it assumes."""
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
    """Return the arguments of a call by the names of parameters; raise NotSaid for those that there are not."""
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
    """Return the waits before so many retries of a strategy.

    Raises:
        NotSaid: own code decides them, a part of them stands elsewhere, or no settings have them.
    """
    if isinstance(value, Called) and (found := _by_formula(value, retries, version)) is not None:
        return found
    at = _wait(value, version, program)
    ends = [at(number) for number in range(min(retries, FOLLOWED_MAX))]
    drawn = [each if isinstance(each, Drawn) else Drawn(each, each) for each in ends]
    lows, highs = [max(0.0, each.low) for each in drawn], [max(0.0, each.high) for each in drawn]
    try:
        settings = fitted(lows, highs, is_even=all(each.is_even for each in drawn), retries=retries)
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
