"""stamina: ``@stamina.retry``, ``retry_context`` and the callers that keep its arguments.

Read in the sources of stamina 22.2 to 26.1 (``_core.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from actors.formatting import counted, duration_text
from simulation.importing.draft import UNREAD, Draft, Setting
from simulation.importing.policy import Mark, Policy, duration
from simulation.importing.python_calls import Use, uses
from simulation.importing.python_source import Program, given_value
from simulation.importing.python_values import Called, Open, Symbol, is_number, seconds
from simulation.importing.readers.tenacity import NotSaid, called_with, short
from simulation.importing.source import Given, SourceFile, Version, rests_on, version_of
from simulation.importing.waits import UNLIMITED, Drawn, NoFormula, attempts as attempts_of, exponential, fitted

_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+(?:[\w.]+[ \t]*,[ \t]*)*stamina\b", re.MULTILINE)
_CALLERS = ("RetryingCaller", "AsyncRetryingCaller")
_NAMES = frozenset(f"stamina.{name}" for name in ("retry", "retry_context", *_CALLERS))
_DEFAULTS: dict[str, Any] = {
    "attempts": 10,
    "timeout": 45.0,
    "wait_initial": 0.1,
    "wait_max": 5.0,
    "wait_jitter": 1.0,
    "wait_exp_base": 2,
}
_PATHS = {
    "attempts": "retry.max_attempts",
    "timeout": "retry.max_elapsed",
    "wait_initial": "retry.initial_delay",
    "wait_max": "retry.max_delay",
    "wait_jitter": "retry.jitter_max",
    "wait_exp_base": "retry.backoff_multiplier",
}


def recognises(file: SourceFile) -> bool:
    return file.suffix == ".py" and _IMPORT.search(file.text) is not None


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each use of stamina; raise ConfigurationError if a file is no Python 3."""
    program = Program(files, given)
    version = version_of(given, "stamina", (26, 1))
    return [_policy(use, program, version) for use in uses(program, _NAMES)]


def _policy(use: Use, program: Program, version: Version) -> Policy:
    draft = Draft(use.name, "stamina", program, use.module.file.name)
    name = short(use.call.name)
    if use.call.unread is not None:
        draft.ask(use.head, use.call.unread.name, "a dict, such as {'attempts': 4}")
        return draft.policy
    parameters = tuple(_DEFAULTS) if name in _CALLERS else ("on", *_DEFAULTS)
    try:
        given = called_with(use.call, parameters, f"stamina.{name}")
        if name == "retry" and use.call.args:
            raise NotSaid("stamina.retry takes keywords alone")
        if name not in _CALLERS and "on" not in given:
            raise NotSaid(f"stamina.{name} wants on=, the exceptions that are retried")
    except NotSaid as problem:
        draft.refuse(use.head, f"stamina ends with a TypeError: {problem}")
        return draft.policy
    draft.note_of(use.is_nested, use.module, use.name.rpartition(".")[2].partition(":")[0])
    _say_classes(draft, given, use)
    of = {key: _value(draft, key, given[key], use) if key in given else default for key, default in _DEFAULTS.items()}
    is_known = UNREAD not in of.values()
    for key, value in of.items():
        if key not in given:
            draft.default(f"{key}={value}", _PATHS[key], why="stamina's default")
        elif value is not UNREAD:
            _say(draft, key, value, use, _longest_wait(of) if is_known else math.inf)
    if is_known:
        draft.channel["retry"] = _retry(draft, of, version)
    return draft.policy


def _say_classes(draft: Draft, given: dict[str, Any], use: Use) -> None:
    if "on" not in given:
        return
    setting = _setting("on", use)
    values = given["on"] if isinstance(given["on"], (list, tuple)) else [given["on"]]
    names = [short(each.name) for each in values if isinstance(each, Symbol)]
    if {"Exception", "BaseException"} & set(names):
        draft.exact(setting, "retry.on")
    elif names and names[0].lstrip("_")[:1].isupper():
        only = " or ".join(names[:4])
        draft.approximate(setting, f"only {only} is retried; each failure stands for it here", "retry.on")
    else:
        why = "only what your own function says is retried, and it may give waits of its own"
        draft.approximate(setting, why, "retry.on")


def _value(draft: Draft, key: str, value: Any, use: Use) -> Any:
    setting = _setting(key, use)
    own = f"{draft.name}.{key}"
    if own in draft.program.given.values:
        value = given_value(draft.program.given.values[own])
    if value is None and key in ("attempts", "timeout"):
        return None
    number = float(value) if isinstance(value, bool) else seconds(value)
    if number is not None and (key != "attempts" or is_number(value)):
        return number
    wanted = "a number" if key in ("attempts", "wait_exp_base") else "a number of seconds"
    if isinstance(value, (Open, Symbol, Called)):
        name = {Open: "name", Symbol: "written"}.get(type(value))
        return draft.ask(setting, (getattr(value, name) if name else "") or own, wanted, _PATHS[key])
    draft.refuse(setting, f"wanted {wanted}", _PATHS[key])
    return UNREAD


def _setting(key: str, use: Use) -> Setting:
    return Setting(key, *use.call.nodes[key]) if key in use.call.nodes else use.head


def _say(draft: Draft, key: str, value: float | None, use: Use, longest_s: float) -> None:
    mark, reason = Mark.EXACT, ""
    if value is None:
        mark, reason = Mark.EXACT, "no limit"
    elif key == "timeout":
        reason = f"looked at after a failure: an attempt may start later than {duration_text(value)}"
    elif key == "attempts":
        reason = f"{counted(max(1, value), 'attempt')} with the first"
    elif key == "wait_max" and longest_s <= value:
        mark, reason = Mark.DOES_NOTHING, f"no wait is longer than {duration_text(longest_s)}"
    with draft.program.assumptions() as assumed:
        assumed += use.assumed(key)
        if value == 0 and key in ("attempts", "timeout"):
            assumed += rests_on(draft.program.given, "stamina", "25.2", "it is no limit")
        draft.say(_setting(key, use), mark, reason, _PATHS[key])


def _longest_wait(of: Mapping[str, Any]) -> float:
    """Return the longest wait that there can be before attempts or time are used up, without the cap."""
    attempts, timeout = of["attempts"] or math.inf, of["timeout"] or math.inf
    elapsed = longest = 0.0
    for number in range(200):
        if number + 1 >= attempts or elapsed >= timeout:
            return longest
        try:
            wait = of["wait_initial"] * of["wait_exp_base"] ** number
        except OverflowError:
            return math.inf
        longest = max(longest, wait + of["wait_jitter"])
        elapsed += min(wait, of["wait_max"])
    return math.inf


def _retry(draft: Draft, of: dict[str, Any], version: Version) -> dict[str, Any]:
    attempts, timeout = of["attempts"], of["timeout"]
    if version < (25, 2):  # there 0 is no limit, too
        attempts, timeout = attempts or None, timeout or None
    most = UNLIMITED if attempts is None else max(1, math.ceil(attempts))
    if timeout is not None and timeout <= 0:
        most = 1
    retry = exponential(of["wait_initial"], of["wait_exp_base"], of["wait_max"])
    if retry is None:
        waits = [
            Drawn(min(of["wait_max"], grown), min(of["wait_max"], grown + of["wait_jitter"]))
            for grown in (of["wait_initial"] * of["wait_exp_base"] ** k for k in range(min(most, 200)))
        ]
        try:
            retry = fitted(waits, most - 1).retry
        except NoFormula as problem:
            draft.is_open = True
            draft.note(f"It cannot be said: {problem}.")
            return {}
    elif of["wait_jitter"] > 0 and of["wait_initial"] < of["wait_max"]:
        retry |= {"jitter": "additive", "jitter_max": duration(of["wait_jitter"])}
    if timeout is not None and timeout > 0 and most > 1:
        retry |= {"max_elapsed": duration(timeout), "max_elapsed_checked": "after_failure"}
    return {"max_attempts": attempts_of(most), **retry}
