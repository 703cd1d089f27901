"""The operator of a scenario: carries out its `operations`, each at its time, as a person at a console does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from actors.instants import ns
from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.futures import Future
from actors.kernel.turns import takes_turn
from actors.messages import DeadLetterMessage
from actors.notifier import Pipeline
from actors.pipeline.circuit_breaker import OperateBreaker
from actors.pipeline.dead_letter_queue import DiscardDeadLetter, RedriveDeadLetter, SubmitRedrive
from actors.pipeline.orders import CancelWaiting
from simulation.scenario import Operation
from simulation.scenario.operations import WaitingOf

DISCARDED = "discarded by the operator"


class _Act(msgspec.Struct, frozen=True):
    """The time of this order has come."""

    operation: Operation


class Operator(Actor):
    """Gives orders: of dead letters, which all nodes have in common, to one of them; all others to each node that is
    there. An order that comes while the process is down is lost."""

    supervision = Supervision(max_restarts=0, then="escalate")

    def __init__(
        self,
        operations: Sequence[Operation],
        pipelines: Callable[[], Sequence[Pipeline]],
        new_answer: Callable[[], Future[bool]],
    ) -> None:
        """Give orders to the pipelines that `pipelines` returns at their time, one for each node and none where the
        process is down; `new_answer` makes the future for the answer to an order with an edit."""
        super().__init__()
        self._new_answer = new_answer
        self._operations = operations
        self._pipelines = pipelines

    def on_start(self) -> None:
        for operation in self._operations:
            self.at(ns(operation.at), _Act(operation))

    @handles(_Act)
    @takes_turn("operate", lambda _, act: act.operation)
    def on_act(self, act: _Act) -> None:
        for pipeline in self._pipelines():
            if act.operation.breaker is not None:
                _override_breakers(pipeline, act.operation)
            elif act.operation.cancel is not None:
                pipeline.handler.tell(_cancellation(act.operation))
            else:
                self._clear_dead_letters(pipeline, act.operation)
                return

    def _clear_dead_letters(self, pipeline: Pipeline, operation: Operation) -> None:
        for letter in pipeline.dead_letters:
            if not _is_meant(letter, operation):
                continue
            order: RedriveDeadLetter | DiscardDeadLetter | SubmitRedrive
            if operation.redrive is None:
                order = DiscardDeadLetter(notification_id=letter.notification_id, reason=DISCARDED)
            else:
                order = RedriveDeadLetter(notification_id=letter.notification_id, served=operation.served)
                if operation.edit is not None:
                    order = SubmitRedrive(order, operation.edit.changes(), self._new_answer())
            pipeline.dead_letter_queue.tell(order)


def _override_breakers(pipeline: Pipeline, operation: Operation) -> None:
    assert operation.breaker is not None
    assert operation.channel is not None
    order = OperateBreaker(order=operation.breaker, provider=operation.provider)
    for channel in operation.channel:
        if (stages := pipeline.wiring.stages.get(channel)) is not None:
            assert stages.circuit_breaker is not None
            stages.circuit_breaker.tell(order)


def _cancellation(operation: Operation) -> CancelWaiting:
    channels = None if operation.channel is None else frozenset(operation.channel)
    which = operation.cancel
    return CancelWaiting(channels=channels, priority=which.priority if isinstance(which, WaitingOf) else None)


def _is_meant(letter: DeadLetterMessage, operation: Operation) -> bool:
    if operation.channel is not None and letter.channel not in operation.channel:
        return False
    which = operation.redrive or operation.discard
    return which is None or which == "all" or which.reason in letter.failure_reason
