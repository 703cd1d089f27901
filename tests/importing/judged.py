"""What a library itself does with a file, and what was imported of it."""

from __future__ import annotations

import contextlib
import random
import types
from typing import Any
from unittest import mock

import celery._state
import celery.utils.time
import stamina
import tenacity
from celery.canvas import Signature
from celery.exceptions import Retry

from actors.settings.channel import NotifierConfig
from actors.settings.file import settings_of_tree
from simulation.experiments.explaining import schedule as schedule_module
from simulation.experiments.explaining.schedule import Schedule, retries_of, schedules
from simulation.importing.channels import root_of
from simulation.importing.policy import Policy
from simulation.importing.source import KINDS, Given, SourceFile

ATTEMPTS_MAX = 60
"""A policy that never stops is followed so far."""


def policies(kind: str, *texts: str, **given: Any) -> list[Policy]:
    """Return the policies in files ``a.py``, ``b.py`` and so on."""
    files = [SourceFile(f"{name}.py", text) for name, text in zip("abcdef", texts, strict=False)]
    own = [file for file in files if KINDS[kind].recognises(file)]
    others = [file for file in files if file not in own]
    return list(KINDS[kind].read(own, Given(**given, others=others)))


def policy(kind: str, *texts: str, **given: Any) -> Policy:
    (found,) = policies(kind, *texts, **given)
    return found


def schedule(of: Policy) -> Schedule:
    """Return when attempts are made by what was imported."""
    assert of.channel is not None, [*of.findings, *of.questions]
    (config,) = settings_of_tree(NotifierConfig, root_of([of])).channels.values()
    retry = retries_of(config)
    followed = retry.model_copy(update={"max_attempts": min(retry.attempts_bound, ATTEMPTS_MAX)})
    with mock.patch.object(schedule_module, "DRAWS", 10):  # medians are not looked at
        return schedules(followed, shown=ATTEMPTS_MAX)[0]


def agrees(of: Policy, earliest: list[float], latest: list[float]) -> None:
    """Check the starts of attempts, in seconds: where each draw is the least, and where each is the most.

    Where a time limit comes first, the library has made fewer attempts with the longest waits.
    """
    ours = schedule(of).attempts[:ATTEMPTS_MAX]
    assert _rounded([each.start.shortest for each in ours]) == _rounded(earliest[:ATTEMPTS_MAX])
    longest = _rounded([each.start.longest for each in ours])[: len(latest)]
    assert longest == _rounded(latest[:ATTEMPTS_MAX])
    assert all(not each.is_certain for each in ours[len(latest) :])


def _rounded(starts: list[float]) -> list[float]:
    return [round(start, 6) for start in starts]


class Always(random.Random):
    """Draws the same share of each range."""

    def __init__(self, share: float) -> None:
        super().__init__(0)
        self.share = share

    def random(self) -> float:
        return self.share

    def uniform(self, a: float, b: float) -> float:
        return a + self.share * (b - a)

    def randrange(self, start: int, *_: Any) -> int:
        return int(self.share * (start - 1))


def by_celery(text: str, task: str, share: float) -> list[float]:
    """Return when a task that always fails is started under Celery itself."""
    named: dict[str, Any] = {"__name__": "a"}
    starts = [0.0]
    with (
        mock.patch.object(celery._state, "_on_app_finalizers", set()),  # of tasks that other files share
        mock.patch.object(Signature, "apply_async"),
        mock.patch.object(celery.utils.time, "random", Always(share)),
        mock.patch.object(random, "uniform", Always(share).uniform),
    ):
        exec(compile(text, "a.py", "exec"), named)
        found = named[task]
        for retries in range(ATTEMPTS_MAX - 1):
            found.push_request(id="1", retries=retries, called_directly=False, is_eager=False, args=(), kwargs={})
            try:
                found.run() if found.run is not found.__call__ else found()
            except Retry as retry:
                starts.append(starts[-1] + max(0.0, float(retry.when or 0)))
            except Exception:
                break
            finally:
                found.pop_request()
    return starts


class _Clock:
    """Stands for the module `time`; to sleep takes no time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 9)  # or ten times 0.3 is less than 3


class _Failed(BaseException):
    pass


def by_tenacity(text: str, function: str, share: float, takes_s: float = 0.0) -> list[float]:
    """Return when a function that always fails is called under tenacity or stamina themselves."""
    clock, starts = _Clock(), list[float]()

    def fail() -> None:
        starts.append(clock.now)
        clock.now += takes_s
        if len(starts) == ATTEMPTS_MAX:
            raise _Failed
        raise ValueError

    fake = types.SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep, time=clock.monotonic)
    with (
        mock.patch.object(tenacity, "time", fake),
        mock.patch.object(tenacity.nap, "time", fake),
        mock.patch.object(tenacity.wait, "random", Always(share)),
        mock.patch.object(stamina._core, "random", Always(share)),
    ):
        named: dict[str, Any] = {"__name__": "a", "fail": fail}
        exec(compile(text, "a.py", "exec"), named)
        with contextlib.suppress(_Failed, ValueError, tenacity.RetryError):
            named[function]()
    return starts
