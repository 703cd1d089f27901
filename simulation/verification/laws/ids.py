"""Ids: what comes again is ignored for as long as its id is remembered, and no longer."""

from __future__ import annotations

from actors.formatting import seconds_text
from actors.messages import DuplicateIgnored
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import State

_ENDED = frozenset({State.SENT, State.SUPPRESSED, State.DISCARDED})


class Ids(Invariant):
    """What is ignored as a duplicate is in flight, is a dead letter, or has ended no longer ago than ids are
    remembered."""

    name = "ids"
    settings = ("remember_ids",)

    @classmethod
    def applies(cls, context: Context) -> bool:
        return not context.steps_the_clock  # ids are remembered by the calendar

    @observes(DuplicateIgnored)
    def on_duplicate(self, duplicate: DuplicateIgnored) -> Objection:
        lifecycles = self.context.lifecycles
        lifecycle = lifecycles.get(duplicate.notification_id)
        if lifecycle is None:
            if lifecycles.forgotten or self.context.mixes_messages_up or self._is_being_accepted(duplicate):
                return None
            return f"{duplicate.notification_id} is ignored, and was never accepted"
        ended_ago_ns = duplicate.at_ns - lifecycle.state_since_ns
        forgotten_after_ns = self.context.remember_ids_ns + self.context.learnt_after_ns
        if lifecycle.state not in _ENDED or ended_ago_ns < forgotten_after_ns:
            return None
        if self._is_being_accepted(duplicate):
            return None  # a second time: its id had been forgotten
        return (
            f"{duplicate.notification_id} is still ignored {seconds_text(ended_ago_ns)} after it was {lifecycle.state}"
        )

    def _is_being_accepted(self, duplicate: DuplicateIgnored) -> bool:
        """Tell whether the acceptance of an earlier one is on its way into the store, at whichever node."""
        context, name = self.context, duplicate.notification_id
        if context.nodes == 1:
            pipelines = [context.pipeline()]
        else:
            pipelines = [context.pipeline_of(number) for number in range(1, context.nodes + 1)]
        return any(each is not None and each.handler.actor.deliveries.has(name) for each in pipelines)
