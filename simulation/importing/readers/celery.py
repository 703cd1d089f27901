"""Celery's tasks: ``autoretry_for`` and its options, and ``self.retry`` in the bodies of tasks.

Read in the sources of Celery 4.0 to 5.7 (``app/autoretry.py``, ``Task.retry``, ``utils/time.py``).
"""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from actors.formatting import duration_text
from actors.settings.hints import nearest
from simulation.importing.draft import UNREAD, Draft, Head, Setting, wait, whole, written
from simulation.importing.policy import Mark, Policy, did_you_mean, duration
from simulation.importing.python_names import Module, dotted, walked
from simulation.importing.python_source import Program
from simulation.importing.python_values import Symbol, is_number
from simulation.importing.readers.celery_retries import Retries, RetryCall, retry_calls
from simulation.importing.readers.celery_tasks import Task, entries_of, has_tasks, of_apps, tasks_in
from simulation.importing.source import Given, SourceFile, Version, rests_on, version_of
from simulation.importing.waits import UNLIMITED, attempts, constant, exponential

# ── settings of the app ───────────────────────────────────────────────────────────────────────────────────────────────


_OF_TASKS: Mapping[str, tuple[str, ...]] = {
    "time_limit": ("task_time_limit", "CELERY_TASK_TIME_LIMIT", "CELERYD_TASK_TIME_LIMIT"),
    "soft_time_limit": ("task_soft_time_limit", "CELERY_TASK_SOFT_TIME_LIMIT", "CELERYD_TASK_SOFT_TIME_LIMIT"),
    "rate_limit": ("task_default_rate_limit", "CELERY_TASK_DEFAULT_RATE_LIMIT", "CELERY_DEFAULT_RATE_LIMIT"),
    "acks_late": ("task_acks_late", "CELERY_TASK_ACKS_LATE", "CELERY_ACKS_LATE"),
    "annotations": ("task_annotations", "CELERY_TASK_ANNOTATIONS", "CELERY_ANNOTATIONS"),
}
"""By the attribute of a task, the settings of the app: in lower case, in Django's, and as they were before Celery 4."""


class AppSettings:
    """The settings of all tasks in the files. A setting that stands in several places is in none."""

    def __init__(self, program: Program) -> None:
        self._program = program
        found: dict[str, list[Setting]] = {}
        for attribute, names in _OF_TASKS.items():
            for name in names:
                for module in program.having(name):
                    found.setdefault(attribute, []).extend(_set_in(module, name))
        self._found = {attribute: places[0] for attribute, places in found.items() if len(places) == 1}

    def of(self, task: str) -> tuple[dict[str, Setting], dict[str, Setting]]:
        """Return the settings of a task that rank below its own, and the ones that rank above.

        Args:
            task: its name.
        """
        below = {key: each for key, each in self._found.items() if key != "annotations"}
        above: dict[str, Setting] = {}
        annotations = self._found.get("annotations")
        if annotations is not None:
            every = self._program.entries(annotations.node, annotations.module) or {}
            for name, (node, module) in every.items():
                if name == "*" or task == name or task.endswith(f".{name}") or name.endswith(f".{task}"):
                    entries = self._program.entries(node, module) or {}
                    above |= {key: Setting(key, *place) for key, place in entries.items()}
        return below, above


def _set_in(module: Module, name: str) -> Iterator[Setting]:
    """Yield where a module sets a setting of the app: as a name, ``app.conf.name`` or ``app.conf.update(name=…)``."""
    for node in walked(module.tree):
        match node:
            case ast.Assign(targets=[target], value=value):
                written = dotted(target) or ""
                is_conf = written.endswith(f"conf.{name}")
                if (written == name and name in module.bindings) or is_conf:
                    yield Setting(name, value, module)
            case ast.Call(func=ast.Attribute(attr="update"), keywords=keywords) if (dotted(node.func) or "").endswith(
                "conf.update"
            ):
                yield from (Setting(name, each.value, module) for each in keywords if each.arg == name)
            case _:
                pass


_PER = {"s": "s", "m": "min", "h": "h"}


def read_limits(settings: Mapping[str, Setting], draft: Draft, channel: dict[str, Any]) -> None:
    soft, hard = settings.get("soft_time_limit"), settings.get("time_limit")
    for setting in (soft, hard):
        if setting is None:
            continue
        with draft.program.assumptions():
            value = draft.read(setting, "a number of seconds", seconds_or_none, "timeout", decides=False)
            if value is UNREAD or not value:
                continue
            if setting is hard and "timeout" in channel:
                why = "acts only where the task catches the soft limit's exception, or is stuck"
                draft.unsaid(setting, why)
                continue
            channel["timeout"] = duration(value)
            if setting is hard:
                _set_final_timeout(setting, draft, channel)
            else:
                why = "SoftTimeLimitExceeded is raised in the task: whether that is retried is as for its class"
                draft.approximate(setting, why, "timeout")
    late = settings.get("acks_late")
    if late is not None and draft.program.value_or(late.node, late.module, {}, True):
        why = "a task whose worker dies is delivered again; one that fails is not"
        draft.unsaid(late, why)
    expires = settings.get("expires")
    if expires is not None and channel.get("retry", {}).get("max_attempts") == 1:
        why = "a task that waits longer for a worker is not run; there is no retry that it could end"
        draft.unsaid(expires, why)
    elif expires is not None:
        with draft.program.assumptions():
            value = draft.read(expires, "a number of seconds", wait, "retry.max_elapsed")
            if value is not UNREAD and value and "retry" in channel:
                channel["retry"]["max_elapsed"] = duration(value)
                why = "from when it was sent: no attempt starts later"
                draft.approximate(expires, why, "retry.max_elapsed")
    _rate(settings, draft, channel)


def _set_final_timeout(setting: Setting, draft: Draft, channel: dict[str, Any]) -> None:
    if "retry" in channel:
        channel["retry"]["on"] = ["transient", "throttled", "lost_reply", "connection"]
    why = "the worker's process is killed: the task has failed, and is not retried"
    draft.approximate(setting, why, "timeout")


def _rate(settings: Mapping[str, Setting], draft: Draft, channel: dict[str, Any]) -> None:
    setting = settings.get("rate_limit")
    if setting is None:
        return
    with draft.program.assumptions():
        value = draft.read(setting, "a rate such as '10/m'", _rate_of, "quota", decides=False)
        if value is UNREAD:
            return
        if not value[0]:
            draft.dead(setting, "it is no limit")
            return
        channel["quota"] = {"rate": value[0], "kind": "token_bucket", "burst": 1}
        draft.approximate(setting, "of one worker; each worker has as much of its own", "quota")


def _rate_of(value: Any) -> tuple[str] | None:
    if value is None or value in (0, ""):
        return ("",)
    if is_number(value):
        return (f"{value:g}/s",)
    if isinstance(value, str):
        count, _, unit = value.partition("/")
        try:
            number = float(count)
        except ValueError:
            return None
        if unit in ("", *_PER) and number > 0:
            return (f"{number:g}/{_PER.get(unit, 's')}",)
        return ("",) if number == 0 else None
    return None


def seconds_or_none(value: Any) -> float | None:
    """Return seconds; None of them are at once, as Celery takes it."""
    return 0.0 if value is None else wait(value) if is_number(value) else None


recognises = has_tasks

MAX_RETRIES = 3
RETRY_DELAY_S = 180.0
BACKOFF_MAX_S = 600
VISIBILITY_S = 3600.0

_OF_AUTORETRY = ("dont_autoretry_for", "retry_backoff", "retry_backoff_max", "retry_jitter", "retry_kwargs")
_OF_RETRIES = ("autoretry_for", *_OF_AUTORETRY, "max_retries", "default_retry_delay")
_OTHERS = (
    "name bind base queue routing_key exchange exchange_type priority expires serializer compression typing "
    "ignore_result store_errors_even_if_ignored track_started trail send_events backend throws shared lazy filter "
    "acks_late acks_on_failure_or_timeout acks_on_failure acks_on_timeout reject_on_worker_lost rate_limit time_limit "
    "soft_time_limit abstract delivery_mode immediate mandatory Strategy Request resultrepr_maxsize request_stack "
    "after_return on_failure on_success on_retry on_bound before_start pydantic pydantic_strict pydantic_context "
    "pydantic_dump_kwargs default_exchange run_every options connection cls virtual accept_magic_kwargs relative "
    "nowfun"
)
_TASK_SETTINGS = frozenset(_OTHERS.split()) | {*_OF_RETRIES}


def read(files: Sequence[SourceFile], given: Given) -> Sequence[Policy]:
    """Return a policy for each task; raise ConfigurationError if a file is no Python 3."""
    further = of_apps(files, given.others)
    given.used.update(each.name for each in further)
    program = Program([*files, *further], given)
    version = version_of(given, "celery", (5, 7))
    app = AppSettings(program)
    return [_Reading(task, program, version, app).policy() for task in tasks_in(program)]


class _Reading:
    def __init__(self, task: Task, program: Program, version: Version, app: AppSettings) -> None:
        self.task, self.program, self.version = task, program, version
        self.draft = Draft(task.name, "celery", program, task.module.file.name)
        self.channel = self.draft.channel
        self.used: set[str] = set()
        self.is_handed = False
        self.is_automatic = False
        self.attributes = {name for _, body in task.bodies for name in _attributes(body)}
        """The names that the code of the task reads of something."""

        self._take(app)

    def _take(self, app: AppSettings) -> None:
        below, above = app.of(self.task.name)
        decorated = self.task.own & {"autoretry_for", *_OF_AUTORETRY}
        for name, setting in above.items():
            if name in decorated:
                self.draft.dead(setting, "the decorator's holds")
            elif name in self.task.settings:
                self.draft.dead(self.task.settings[name], "task_annotations have another")
        annotated = {name: each for name, each in above.items() if name not in decorated}
        self.task.settings = {**below, **self.task.settings, **annotated}

    def policy(self) -> Policy:
        task, draft = self.task, self.draft
        head = Head(task.head, ast.Pass(lineno=task.line), task.module)
        classes = self._retried()
        calls, handed = retry_calls(task, self.program)
        self.is_automatic = classes is not None
        automatic = self._automatic() if classes is not None else None
        by_hand = [self._by_hand(call) for call in calls]
        self.attributes.update(name for call in calls for name in _attributes(call.function))
        self._warn_of_handing(handed, automatic)
        found = self._chosen(head, automatic, calls, by_hand)
        if found is not None:
            self.channel["retry"] = {"max_attempts": attempts(found.most + 1), **found.retry}
            self._warn_of_long_waits(found)
        elif not draft.is_open:
            self.channel["retry"] = {"max_attempts": 1}
            if not draft.questions:
                names = "no class in" if "autoretry_for" in self.used else "no"
                why = f"nothing asks for a retry: {names} autoretry_for, no call of self.retry"
                draft.exact(head, _ATTEMPTS, why)
        self._unused(found)
        read_limits(task.settings, draft, self.channel)
        self._unknown()
        if not any(each.line and each.file == draft.file for each in draft.findings):
            draft.exact(head, "", "its settings stand in other files")
        return draft.policy

    # ── autoretry ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _setting(self, name: str) -> Setting | None:
        if self.version < (4, 4) and name in ("autoretry_for", *_OF_AUTORETRY) and name not in self.task.own:
            return None  # Celery 4.3 and before reads these of a decorator alone
        return self.task.settings.get(name)

    def _retried(self) -> Setting | None:
        setting = self._setting("autoretry_for")
        if setting is None:
            return None
        self.used.add("autoretry_for")
        if self.version < (4, 0):
            self.draft.dead(setting, "Celery has it from 4.0 on")
            return None
        with self.program.assumptions():
            value = self.program.value_or(setting.node, setting.module, {}, UNREAD)
            if _is_class(value):
                self.draft.refuse(setting, "Celery ends with a TypeError here: it wants a tuple, (Exception,)")
            elif value == []:
                self.draft.dead(setting, "it names no class")
                return None
            elif self._is_all_excluded(value):
                self.draft.dead(setting, "dont_autoretry_for has each class of it")
                return None
            elif isinstance(value, list) and {"Exception", "BaseException"} & {_short(each) for each in value}:
                self.draft.exact(setting)
            else:
                names = [_short(each) for each in value] if isinstance(value, list) else [written(setting.node)]
                only = " or ".join(names[:4]) + (" …" if len(names) > 4 else "")
                why = f"only {only} is retried; each failure stands for it here"
                self.draft.approximate(setting, why)
        return setting

    def _is_all_excluded(self, retried: Any) -> bool:
        """Return whether ``dont_autoretry_for`` has each class that is retried; then add a finding about it."""
        excluded = self._setting("dont_autoretry_for")
        if excluded is None or self.version < (5, 3) or not isinstance(retried, list):
            return False
        without = self.program.value_or(excluded.node, excluded.module, {}, UNREAD)
        if not isinstance(without, list) or not all(any(_covers(each, one) for each in without) for one in retried):
            return False
        self.used.add("dont_autoretry_for")
        rest = rests_on(self.program.given, "celery", "5.3", "Celery does not read it")
        self.draft.say(
            excluded,
            Mark.APPROXIMATE if rest else Mark.EXACT,
            "; ".join(["1 attempt: no class is left that is retried", *rest]),
            _ATTEMPTS,
        )
        return True

    def _automatic(self) -> Retries | None:
        kwargs = self._retry_kwargs()
        most = self._most(_in_kwargs(kwargs["max_retries"]) if "max_retries" in kwargs else None)
        excluded = self._setting("dont_autoretry_for")
        if excluded is not None:
            self.used.add("dont_autoretry_for")
            if self.version < (5, 3):
                self.draft.dead(excluded, "Celery has it from 5.3 on")
            else:
                why = "these classes are not retried; no failure is one here"
                rest = rests_on(self.program.given, "celery", "5.3", "Celery does not read it")
                self.draft.approximate(excluded, "; ".join([why, *rest]))
        factor = self._factor()
        if factor is None:
            self.used.update(("retry_jitter", "retry_backoff_max", "default_retry_delay"))  # whose part is open
            return None
        if factor == 0:
            delay = self._constant(kwargs.get("countdown"))
            return None if delay is None or most is None else Retries(most, constant(delay), delay)
        if "countdown" in kwargs:
            self.draft.dead(_in_kwargs(kwargs["countdown"]), "retry_backoff decides the waits")
        found = self._backoff(factor, UNLIMITED if most is None else most)
        return None if most is None else found

    def _retry_kwargs(self) -> dict[str, Setting]:
        setting = self._setting("retry_kwargs")
        if setting is None:
            return {}
        self.used.add("retry_kwargs")
        entries = entries_of(setting.node, setting.module, self.program)
        if entries is None:
            self.draft.ask(setting, written(setting.node), "a dict, such as {'max_retries': 4}")
            return {}
        for name, each in entries.items():
            if name in ("eta", "expires", "queue", "priority", "routing_key"):
                self.draft.unsaid(_in_kwargs(each), "an option of the message that retries")
            elif name not in ("max_retries", "countdown"):
                why = f"retries read max_retries and countdown of it alone{did_you_mean(name, _OF_RETRIES)}"
                self.draft.dead(_in_kwargs(each), why)
        return entries

    def _most(self, given: Setting | None) -> int | None:
        """Return how many retries there are at most, of ``retry_kwargs`` or of the task; None if that is open."""
        own = self.task.settings.get("max_retries")
        if given is not None and not (isinstance(given.node, ast.Constant) and given.node.value is None):
            count = self._count(given)
            if own is not None and not ({"max_retries"} & self.used):
                self.used.add("max_retries")
                self.draft.dead(own, "another max_retries holds")
            return count
        if own is None:
            self._say_default("max_retries", f"max_retries={MAX_RETRIES}", "retry.max_attempts")
            return MAX_RETRIES
        self.used.add("max_retries")
        return self._count(own)

    def _count(self, setting: Setting) -> int | None:
        with self.program.assumptions():
            value = self.draft.read(setting, "a number of retries", _count_of, _ATTEMPTS)
            if value is UNREAD:
                return None
            if value[0] is None:
                self.draft.exact(setting, _ATTEMPTS, "never stops")
                return UNLIMITED
            retries = max(0, value[0])
            attempts = "1 attempt" if retries == 0 else f"{retries + 1:,} attempts with the first"
            self.draft.exact(setting, _ATTEMPTS, attempts)
            return retries

    def _say_default(self, name: str, text: str, path: str) -> None:
        if name not in self.used:
            self.used.add(name)
            self.draft.default(text, path, why="Celery's default")

    def _factor(self) -> int | None:
        """Return the factor of the backoff, 0 without one; None if it is open."""
        setting = self._setting("retry_backoff")
        if setting is None:
            return 0
        self.used.add("retry_backoff")
        if self.version < (4, 2):
            self.draft.dead(setting, "Celery has it from 4.2 on")
            return 0
        with self.program.assumptions():
            is_whole = self.version < (5, 4)
            wanted = "True, or the first wait in seconds"
            value = self.draft.read(setting, wanted, lambda each: _of_text(each, is_whole=is_whole))
            if value is UNREAD:
                return None
            factor = int(value) if is_whole else (int(max(1.0, value)) if value else 0)
            if factor <= 0:
                self.draft.dead(setting, "there is no backoff: waits are default_retry_delay")
                return 0
            cut = f"cut to {factor} s" if value not in (factor, True) else ""
            if value < 1 and self.program.assumed is not None:
                self.program.assumed += rests_on(self.program.given, "celery", "5.4", "there is no backoff")
            self.draft.exact(setting, "retry.initial_delay", cut)
        return factor

    def _backoff(self, factor: int, most: int) -> Retries | None:
        longest = self._longest(factor, most)
        jitter = self._setting("retry_jitter")
        is_drawn: Any = True
        self.used |= {"retry_jitter", "retry_backoff_max"}
        whole_seconds = "whole seconds there, any fraction here; the bounds are the same"
        if jitter is None:
            self.draft.default("retry_jitter=True", "retry.jitter", f"Celery's default; {whole_seconds}")
        else:
            with self.program.assumptions():
                read = self.draft.read(jitter, "True or False", lambda each: (bool(each),))
                if read is UNREAD:
                    return None
                is_drawn = read[0]
                self.draft.noted(jitter, "retry.jitter", whole_seconds if is_drawn else "")
        if longest is None:
            return None
        retry = exponential(factor, 2, longest)
        assert retry is not None
        return Retries(most, {**retry, "jitter": "full" if is_drawn else "none"}, longest)

    def _longest(self, factor: int, most: int) -> float | None:
        setting = self._setting("retry_backoff_max")
        reached = factor * 2 ** min(most - 1, 60) if most else 0
        if setting is None:
            if reached > BACKOFF_MAX_S:
                self.draft.default(f"retry_backoff_max={BACKOFF_MAX_S}", "retry.max_delay", why="Celery's default")
            return BACKOFF_MAX_S
        with self.program.assumptions():
            value = self.draft.read(setting, "a number of seconds", _seconds_of, "retry.max_delay")
            if value is UNREAD:
                return None
            longest = max(0, value[0])
            if longest >= reached:
                why = f"the longest wait before {most:,} retries is {duration_text(reached)}"
                self.draft.dead(setting, why)
            else:
                cut = "waits are cut after they are drawn, and so are more often the longest"
                self.draft.noted(setting, "retry.max_delay", cut if self.version < (4, 4) else "")
        return longest

    def _constant(self, countdown: Setting | None) -> float | None:
        none = isinstance(countdown.node, ast.Constant) and countdown.node.value is None if countdown else True
        delay = self.task.settings.get("default_retry_delay")
        setting = delay if none else _in_kwargs(countdown) if countdown else None
        if setting is None:
            self._say_default("default_retry_delay", "default_retry_delay=180", "retry.initial_delay")
            return RETRY_DELAY_S
        if setting is delay:
            self.used.add("default_retry_delay")
        with self.program.assumptions():
            value = self.draft.read(setting, "a number of seconds", seconds_or_none, "retry.initial_delay")
            if value is UNREAD:
                return None
            self.draft.exact(setting, "retry.initial_delay")
        return float(value)

    # ── self.retry ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _by_hand(self, call: RetryCall) -> Retries | None:
        if not call.is_of_task:
            self.draft.refuse(call.setting, "without bind=True the first argument is the caller's, and no task")
            return None
        if call.unread is not None:
            self.draft.ask(call.unread, written(call.unread.node), "a dict, such as {'countdown': 30}")
            return None
        most = self._most_of(call)
        is_default = call.countdown is None and call.eta is None
        delay = self._constant(None) if is_default else None
        if is_default and delay is None:
            return None
        with self.program.assumptions():
            found = call.waits(MAX_RETRIES if most is None else most, delay, self.draft)  # which asks, too
            if found is None or most is None:
                return None
            reasons = [f"after {call.after} only" if call.after else "", f"where {call.where}" if call.where else ""]
            mark = Mark.APPROXIMATE if found.is_off or any(reasons) else Mark.EXACT
            path = "retry.initial_delay" if call.countdown is not None or call.eta is not None else ""
            self.draft.say(call.setting, mark, "; ".join(filter(None, [*reasons, found.reason])), path)
        return found

    def _most_of(self, call: RetryCall) -> int | None:
        given = call.max_retries
        if given is None:
            return self._most(None) if "max_retries" not in self.used else self._most_again()
        return self._most(given)

    def _most_again(self) -> int | None:
        """Return the task's own count, which has been said already."""
        own = self.task.settings.get("max_retries")
        if own is None:
            return MAX_RETRIES
        value = self.program.value_or(own.node, own.module, {}, UNREAD)
        if value is None:
            return UNLIMITED
        return max(0, int(value)) if is_number(value) else None

    def _chosen(
        self, head: Setting, automatic: Retries | None, calls: Sequence[RetryCall], by_hand: Sequence[Retries | None]
    ) -> Retries | None:
        """Return the retries that a failing call meets; several of them are an open question."""
        if self.draft.is_open:
            return None
        ways = {"autoretry": automatic} if automatic is not None else {}
        ways |= {str(call.setting.line): found for call, found in zip(calls, by_hand, strict=True) if found is not None}
        different = list({str(found): found for found in ways.values()}.values())
        if len(different) < 2:
            return different[0] if different else None
        of_all = [str(call.setting.line) for call in calls if call.is_met_by_all]
        if len(of_all) == 1 and of_all[0] in ways and set(ways) == {"autoretry", *of_all}:
            self.draft.note(f"Each exception leads to line {of_all[0]}, and none to autoretry_for.")
            return ways[of_all[0]]
        name = f"{self.draft.name}.retry"
        answer = self.program.given.values.get(name)
        if answer in ways:
            return ways[answer]
        self.draft.ask(head, name, f"the retry that a failing call meets, by its line: {' or '.join(ways)}")
        return None

    def _warn_of_handing(self, handed: Sequence[Setting], automatic: Retries | None) -> None:
        """Warn that the task is handed to functions from elsewhere, which may retry it."""
        for each in handed:
            if automatic is None:
                why = "it gets the task and may retry it, and stands in none of these files: give its file"
                self.draft.refuse(each, why)
            else:
                self.draft.approximate(each, "it gets the task, and may retry it otherwise")
            self.is_handed = True

    # ── the rest ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _unused(self, found: Retries | None) -> None:
        for name in _OF_RETRIES:
            setting = self.task.settings.get(name)
            if setting is None or name in self.used:
                continue
            reads = "nothing reads it"
            if name in self.attributes:
                self.draft.exact(setting, reason="your own code reads it")
            elif self.is_handed and name != "autoretry_for":
                self.draft.unsaid(setting, "code that gets the task may read it")
            elif name in _OF_AUTORETRY and not self.is_automatic:
                classes = "a class in " if "autoretry_for" in self.used else ""
                self.draft.dead(setting, f"without {classes}autoretry_for {reads}")
            elif name in ("retry_backoff_max", "retry_jitter"):
                self.draft.dead(setting, f"without retry_backoff {reads}")
            elif name in ("max_retries", "default_retry_delay") and found is None and not self.draft.questions:
                self.draft.dead(setting, "nothing asks for a retry")
            elif name == "default_retry_delay" and found is not None:
                self.draft.dead(setting, "retry_backoff or a countdown decides the waits")
            elif name in _OF_AUTORETRY and self._setting(name) is None:
                self.draft.dead(setting, "Celery reads it of a decorator alone before 4.4")

    def _warn_of_long_waits(self, found: Retries) -> None:
        if found.most and found.longest_s > VISIBILITY_S:
            self.draft.note(
                f"A wait of {duration_text(found.longest_s)} is longer than the visibility timeout of Redis and SQS (1 "
                "h unless broker_transport_options have another): such an attempt may start twice."
            )

    def _unknown(self) -> None:
        task = self.task
        for name, setting in task.settings.items():
            if name in _TASK_SETTINGS or name in self.attributes or name.startswith("__"):
                continue
            if name in task.own or nearest(name, _OF_RETRIES):
                self.draft.dead(setting, f"Celery has no setting {name}{did_you_mean(name, _OF_RETRIES)}")
        for setting in task.unknown_names:
            self.draft.ask(setting, written(setting.node), "a dict, such as {'max_retries': 4}")
        if task.unknown_base and "autoretry_for" not in task.own:
            base = self.task.settings.get("base")
            where = Head(task.head, ast.Pass(lineno=task.line), task.module) if base is None else base
            why = f"{task.unknown_base} is in none of these files, and may set retries: give its file"
            self.draft.refuse(where, why)


_ATTEMPTS = "retry.max_attempts"


def _attributes(function: ast.AST) -> set[str]:
    return {node.attr for node in walked(function) if isinstance(node, ast.Attribute)}


def _in_kwargs(setting: Setting) -> Setting:
    return replace(setting, name=f"retry_kwargs.{setting.name}") if "." not in setting.name else setting


def _count_of(value: Any) -> tuple[int | None] | None:
    count = whole(value) if value is not None else None
    return None if count is None and value is not None else (count,)


def _seconds_of(value: Any) -> tuple[int] | None:
    number = _of_text(value, is_whole=True)
    return None if number is None else (int(number),)


def _of_text(value: Any, *, is_whole: bool) -> float | None:
    """Return the number that Celery makes of a setting, which may be a text: with ``int`` or with ``float``."""
    if not isinstance(value, str):
        return float(value) if is_number(value) and math.isfinite(value) else None
    try:
        number = float(int(value) if is_whole else float(value))
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _covers(excluded: Any, retried: Any) -> bool:
    if not isinstance(excluded, Symbol) or not isinstance(retried, Symbol):
        return False
    above, below = (getattr(builtins, each.name, None) for each in (excluded, retried))
    if isinstance(above, type) and isinstance(below, type):
        return issubclass(below, above)
    return excluded.name == retried.name


def _is_class(value: Any) -> bool:
    """Return whether a value is an exception alone, and no tuple of them."""
    if isinstance(value, Symbol):
        last = value.name.rpartition(".")[2]
        of_files = getattr(value.bound, "node", None)
        return isinstance(of_files, ast.ClassDef) or (not last.isupper() and last.endswith(("Error", "Exception")))
    return value is not UNREAD and not isinstance(value, (list, dict, str))


def _short(value: Any) -> str:
    if isinstance(value, Symbol):
        return value.name.rpartition(".")[2]
    return str(value)
