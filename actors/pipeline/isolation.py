"""Isolation: a notification that may have ended its process is sent alone, so that another death shows the cause.

A notification whose attempt ends the process (a crash in native code, memory that runs out) would be tried for ever,
with all others beside it: the next process finds it where it was, as it was. So notifications that had not ended when a
process died are sent with care:

* Each of their attempts is marked in the store before it starts. The outcome removes the mark; a mark that is there
  after another death says that the attempt was under way.
* An attempt that has waited for its turn until it is too late, or not wanted any more, is not made.
* Notifications that had a mark are suspects. A suspect is sent while no other attempt is under way, on any channel. All
  others wait meanwhile, for `HOLD_S` at most, and four times as long each further time in a row; and behind a suspect
  that waits to be alone, until all attempts under way have ended.
* A death in that time counts against the suspect. After the first and second it waits for `PAUSE_S` before it is tried
  again, so that someone who kills processes in a row does not hit the same suspect each time. After `DEATHS_MAX` deaths
  it is dead-lettered.

A process that finds nothing left by one that died marks nothing, and nothing waits in it. Queues that count how often a
message was delivered (the receive count of SQS, the delivery count of RabbitMQ's quorum queues) count every message in
flight beside the one to blame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import pykka

from actors.domain.attempts import Admitted, Attempt, Begin, Forgo
from actors.domain.caution import Caution
from actors.errors import StoreFailed
from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.effects import Cancellable, Performed
from actors.messages import Message, NotificationChannel
from actors.pipeline.stage import may_still_go

if TYPE_CHECKING:
    from actors.domain.store import Store
    from actors.pipeline.wiring import Stages

HOLD_S = 2.0


def hold_s(caution: Caution) -> float:
    """Return how long all other attempts wait for this suspect, in seconds."""
    return HOLD_S * 4.0 ** (caution.suspicions - 1)


class Enter(msgspec.Struct, frozen=True):
    """Have this channel begin an attempt when it is its turn."""

    channel: pykka.ActorRef[Any]
    admitted: Admitted


class AttemptEnded(Message, frozen=True, gc=False):
    """An attempt is no longer under way."""

    attempt: Attempt


class _HoldIsOver(Message, frozen=True, gc=False):
    """The other attempts have waited long enough for a suspect."""

    admitted: Admitted


class Isolation(Actor):
    """Gives attempts at all providers their turns while one of them is alone, or waits to be."""

    supervision = Supervision(then="escalate")

    def __init__(self, store: Store, stages: Mapping[NotificationChannel, Stages]) -> None:
        super().__init__()
        self._store = store
        self._stages = stages
        self._waiting: deque[Enter] = deque()
        self._alone: Admitted | None = None
        self._hold: Cancellable | None = None
        self.is_busy = False
        """Whether others have to wait for their turns."""

    @handles(Enter)
    def on_enter(self, enter: Enter) -> None:
        self._waiting.append(enter)
        self._take_turns()

    @handles(AttemptEnded)
    def on_attempt_ended(self, ended: AttemptEnded) -> None:
        if self._alone is not None and self._alone.attempt is ended.attempt:
            self._let_others_go()
        self._take_turns()

    def _take_turns(self) -> None:
        self._begin_those_whose_turn_it_is()
        self.is_busy = self._alone is not None or bool(self._waiting)

    def _begin_those_whose_turn_it_is(self) -> None:
        while self._waiting and self._alone is None:
            enter = self._waiting[0]
            caution = enter.admitted.attempt.caution
            is_suspect = caution is not None and caution.suspicions > 0
            if is_suspect and self._under_way() > 0:
                return
            self._waiting.popleft()
            attempt = enter.admitted.attempt
            if not may_still_go(attempt, self._stages[attempt.command.channel], self.now_ns):
                enter.channel.tell(Forgo(enter.admitted))
                continue
            if is_suspect:
                self._alone = enter.admitted
            effect = None
            if caution is not None:
                effect = self._store.mark(enter.admitted.attempt.command.notification_id, alone=is_suspect)
            if effect is None:
                self._begin(enter)
            else:
                self.perform(effect, enter)

    def _begin(self, enter: Enter) -> None:
        admitted = enter.admitted
        if admitted is self._alone and admitted.attempt.caution is not None:
            self._hold = self.after(hold_s(admitted.attempt.caution), _HoldIsOver(admitted))
        enter.channel.tell(Begin(admitted))

    @handles(_HoldIsOver)
    def on_hold_is_over(self, hold: _HoldIsOver) -> None:
        """Let the others go on, once the store has noted that the suspect is not alone: any may be to blame then."""
        if hold.admitted is not self._alone:
            return
        effect = self._store.mark_as_not_alone(hold.admitted.attempt.command.notification_id)
        if effect is None:
            self._let_others_go()
            self._take_turns()
        else:
            self.perform(effect, hold)

    @handles(Performed)
    def on_performed(self, performed: Performed) -> None:
        request = performed.request
        if performed.result is not None:
            raise performed.result if isinstance(performed.result, Exception) else StoreFailed(repr(performed.result))
        if type(request) is Enter:
            self._begin(request)
        elif request.admitted is self._alone:
            self._let_others_go()
            self._take_turns()

    def _let_others_go(self) -> None:
        self._alone = None
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None

    def _under_way(self) -> int:
        return sum(stages.in_flight for stages in self._stages.values()) - len(self._waiting)
