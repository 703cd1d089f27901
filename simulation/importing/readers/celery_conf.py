"""Settings of Celery's app that hold for its tasks, and those that bound an attempt or what a worker starts."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from simulation.importing.draft import UNREAD, Draft, Setting, wait
from simulation.importing.policy import duration
from simulation.importing.python_names import Module, dotted, walked
from simulation.importing.python_source import Program
from simulation.importing.python_values import is_number

_OF_TASKS: Mapping[str, tuple[str, ...]] = {
    "time_limit": ("task_time_limit", "CELERY_TASK_TIME_LIMIT", "CELERYD_TASK_TIME_LIMIT"),
    "soft_time_limit": ("task_soft_time_limit", "CELERY_TASK_SOFT_TIME_LIMIT", "CELERYD_TASK_SOFT_TIME_LIMIT"),
    "rate_limit": ("task_default_rate_limit", "CELERY_TASK_DEFAULT_RATE_LIMIT", "CELERY_DEFAULT_RATE_LIMIT"),
    "acks_late": ("task_acks_late", "CELERY_TASK_ACKS_LATE", "CELERY_ACKS_LATE"),
    "annotations": ("task_annotations", "CELERY_TASK_ANNOTATIONS", "CELERY_ANNOTATIONS"),
}
"""By the attribute of a task, the settings of the app: in lower case, in Django's, and as they were before Celery 4."""


class AppSettings:
    """What the files set for all tasks. A setting that stands in several places is in none."""

    def __init__(self, program: Program) -> None:
        self._program = program
        found: dict[str, list[Setting]] = {}
        for attribute, names in _OF_TASKS.items():
            for name in names:
                for module in program.having(name):
                    found.setdefault(attribute, []).extend(_set_in(module, name))
        self._found = {attribute: places[0] for attribute, places in found.items() if len(places) == 1}

    def of(self, task: str) -> tuple[dict[str, Setting], dict[str, Setting]]:
        """Return the settings of a task that are below its own, and those above them.

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
    """Read the settings that bound an attempt, or what a worker starts."""
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
