"""Messages that come twice, or late: those that carry an attempt on its way (faults `duplicate_rate` and `reorder`).

These go from handler to limiter to breaker to channel to breaker to handler. What else actors tell each other comes
once and in order. What the stages make of it: each takes an attempt once, and settles a permit once; a copy that they
cannot tell from a new one reaches the provider. The handler takes the first answer to the attempt that is under way.
"""

from __future__ import annotations

from typing import Any

from actors.settings.faults import FaultConfig
from simulation.verification.model.instants import Window, ns
from simulation.verification.model.loop import Loop, Step
from simulation.verification.model.notifications import Admitted, Attempt, Send
from simulation.verification.model.randomness import Stream

FAULTS = {"duplicate_rate", "reorder"}


class _Straying(Window):
    """What one fault does to the messages of one channel."""

    def __init__(self, fault: FaultConfig, seed: int, name: str) -> None:
        super().__init__(fault)
        self.rate = fault.duplicate_rate
        self.draw = Stream(seed, f"{name}.duplicate").draw
        delay = None if fault.reorder is None else fault.reorder.delay
        self.delay_s = None if delay is None else delay.sampler(Stream(seed, f"{name}.reorder").random)


class Astray:
    """Brings the messages that carry attempts, in a run where any of them may come twice or late."""

    def __init__(self, surroundings: Loop) -> None:
        """Begin without any on the way."""
        self._surroundings = surroundings
        self._windows: dict[str, list[_Straying]] = {}
        for number, fault in enumerate(surroundings.world.faults):
            for channel in fault.channel if fault.injects & FAULTS else ():
                window = _Straying(fault, surroundings.world.seed, f"{channel}.messages.fault.{number}")
                self._windows.setdefault(channel, []).append(window)
        self._late: dict[int, tuple[Step, int]] = {}
        """By number, and with the how-many-th life of its process that it is of."""
        self._late_count = 0

    def takes(self, step: Step) -> bool:
        """Have a message come, and perhaps a copy, if it carries an attempt; return whether it does."""
        attempt = _attempt_of(step.args[0]) if step.args else None
        if attempt is None:
            return False
        now_ns = step.loop.now_ns
        open_ = [window for window in self._windows.get(attempt.command.channel, ()) if window.is_open(now_ns)]
        copies = sum(window.draw() < window.rate for window in open_ if window.rate is not None)
        for _ in range(1 + copies):
            delay_ns = sum(ns(window.delay_s()) for window in open_ if window.delay_s is not None)
            if delay_ns:
                self._late_count += 1
                self._late[self._late_count] = step, step.loop.starts
                self._surroundings.at(now_ns + delay_ns, "late", self._late_count)
            else:  # what is late by nothing comes as any other
                step.loop.timeline.following.append(step)
        return True

    def comes(self, number: int) -> None:
        """Bring what is late; its process may be gone."""
        step, starts = self._late.pop(number)
        if not step.loop.is_down and step.loop.starts == starts:
            step.loop.timeline.following.append(step)


def _attempt_of(what: Any) -> Attempt | None:
    admitted = what.admitted if isinstance(what, Send) else what
    attempt = admitted.attempt if isinstance(admitted, Admitted) else admitted
    return attempt if isinstance(attempt, Attempt) else None
