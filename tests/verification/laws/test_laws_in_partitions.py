"""Laws that once looked away where nodes do not reach their store for a time: what they tell there, and what not."""

from __future__ import annotations

from dataclasses import replace

from histories import EMAIL, S, breach_of, check_breach, context_of, dead, failed, requested, sent
from msgspec.structs import replace as with_fields

from actors.messages import DeadLetterDiscarded
from actors.settings.channel import DeadLettersConfig
from actors.settings.faults import FaultConfig
from simulation.invariants import Context
from simulation.verification.laws.base import ClientsOf

PARTITION = FaultConfig.model_validate({"node": [2], "at": 100, "for": 10, "partition": "store"})


def context(**email: object) -> Context:
    """Return that of three nodes, of which the second does not reach the store from 100 s to 110 s."""
    found = context_of(**email)
    return replace(found, faults=[PARTITION], nodes=3, commit_latency_ns=10 * S)


def test_a_client_that_is_silent_is_told_when_all_may_be_durable():
    of = ClientsOf("email-0-", 0, 1000 * S, (lambda: 5.0,))
    events = [requested(5, "email-0-0"), sent(6, "email-0-0")]
    check_breach("clients-go-on", events, "have thought since 6 s", replace(context(), clients=[of]), end=2000)


def test_a_letter_is_not_kept_for_longer_than_its_time_and_until_that_is_durable():
    keeping = replace(context(), dead_letters=DeadLettersConfig.model_validate({"keep": "60s", "at_most": 1}))
    kept = [requested(0), failed(1), dead(1)]
    assert breach_of("retention", kept, keeping, end=81) is None
    check_breach("retention", kept, "n is a dead letter still", replace(keeping), end=82)
    early = DeadLetterDiscarded(at_ns=50 * S, epoch_ns=0, notification_id="n", channel=EMAIL, reason="retention")
    check_breach("retention", [*kept, early], "after 49 s", keeping)
    full = with_fields(early, reason="full")  # another one may have come to it that is not known here
    assert breach_of("retention", [*kept, full], keeping) is None
