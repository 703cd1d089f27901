"""Attempts of notifications that hold a slot wait in lines of their own, and go before all others, by their class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.domain.attempts import EXPIRED, Attempt, Refused, Rejected
from actors.pipeline.before_providers import BeforeProviders
from actors.pipeline.blocked import Blocked, end_of, reasons_of
from actors.pipeline.held_slots import HeldSlots
from actors.pipeline.stage import Stage
from actors.pipeline.wiring import Stages
from actors.settings.channel import ChannelConfig


class Returning:
    """The lines of notifications that hold a slot. All others wait in the lines of `before`, whose pace holds here too.

    `admit` sends an attempt at a host to a provider, or returns what blocks it at each lane, by the lane's number;
    `refuse` ends an attempt.
    """

    def __init__(
        self,
        stage: Stage,
        config: ChannelConfig,
        stages: Stages,
        before: BeforeProviders,
        held: HeldSlots,
        admit: Callable[[Attempt, str], dict[int, Blocked]],
        refuse: Callable[[Refused | Rejected, str], None],
    ) -> None:
        self._stage = stage
        self._host_of = stages.lanes[0].host_of
        self._held = held
        self._admit = admit
        self._refuse = refuse
        self._fails_when_open = config.circuit_breaker.when_open == "fail"
        by_class = config.model_copy(update={"order": config.order.model_copy(update={"fair_by": "none"})})
        report = stage.publish_deferred
        self._own = BeforeProviders(by_class, stages.lanes, stages.waiting, report, takes_turns=False)
        self._own.stand_beside(before.lines)
        before.stand_beside(self._own.lines)
        self.room = self._own.room

    def first(self, handler: Callable[[Attempt], Any], take_turns: Callable[[], None]) -> Callable[[Attempt], Any]:
        """Return a handler that lets attempts with a slot go before each attempt that it hands to `handler`."""

        def handle(attempt: Attempt) -> Any:
            if not self._held.has(attempt):
                if self._own.lines:
                    take_turns()
                return handler(attempt)
            self._own.join(attempt, self._host_of(attempt), self._stage.system.now_ns)
            take_turns()
            return self._stage.set_timer()

        return handle

    def let_go(self) -> None:
        now_ns = self._stage.system.now_ns
        for line in list(self._own.lines.values()):
            while line.size:
                flow = self._own.turn_in(line, now_ns)
                first = line.queue(flow).first
                is_sent_back = self._stage.sends_back(first)
                if not is_sent_back and (blocked := self._admit(first, line.host)):
                    reasons = reasons_of(blocked.values())
                    end = end_of(first, blocked.values(), reasons, fails_when_open=self._fails_when_open)
                    if end is None:
                        self._own.wait_for(line, blocked, reasons, now_ns)
                        break
                    self._refuse(end, line.host)
                self.room.take(line, flow, goes=not is_sent_back)

    def advance(self) -> None:
        now_ns = self._stage.system.now_ns
        for _, _, attempt in self.room.expired(now_ns):
            self._stage.reject(attempt, EXPIRED)
        list(self.room.due(now_ns))  # all are asked

    def clear(self) -> None:
        self._own.clear(self._stage.now_ns)
