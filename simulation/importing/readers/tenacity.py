"""tenacity: ``@retry``, ``Retrying`` and ``AsyncRetrying`` with their strategies of stopping and waiting.

Read in the sources of tenacity 6.3 to 9.2 (``stop.py``, ``wait.py``, ``BaseRetrying.iter``).
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from actors.formatting import counted, duration_text
from actors.settings.quantities import parse_duration
from simulation.importing.draft import Draft, Setting
from simulation.importing.policy import Policy, did_you_mean, duration
from simulation.importing.python_calls import Use, uses
from simulation.importing.python_source import Program, given_value
from simulation.importing.python_values import Called, Combined, Open, Symbol, is_number, seconds
from simulation.importing.readers.tenacity_waits import (
    NotSaid,
    Waits,
    called_with,
    draws_from_a_minimum,
    opened,
    short,
    waits_of,
)
from simulation.importing.source import Given, SourceFile, Version, rests_on, version_of
from simulation.importing.waits import UNLIMITED, attempts, constant

_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+tenacity\b", re.MULTILINE)
_NAMES = frozenset(
    f"tenacity.{name}"
    for name in (
        *("retry", "Retrying", "AsyncRetrying", "asyncio.AsyncRetrying", "_asyncio.AsyncRetrying"),
        *("tornadoweb.TornadoRetrying", "TornadoRetrying"),
    )
)
_PARAMETERS = (
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
            values = called_with(self.use.call, _PARAMETERS, "tenacity.retry")
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
        unknown = [name for name in self.use.call.keywords if name not in _PARAMETERS]
        return next(filter(None, (did_you_mean(name, _PARAMETERS) for name in unknown)), "")

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
    """Return a part of a setting, which stands in the same line."""
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
