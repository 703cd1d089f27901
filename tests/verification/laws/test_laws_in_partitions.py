"""Laws that once looked away where nodes do not reach their store for a time: what they tell there, and what not."""

from __future__ import annotations

from dataclasses import replace

from histories import EMAIL, S, breach_of, breaker, check_breach, context_of, dead, failed, made, requested, sent
from msgspec.structs import replace as with_fields

from actors.messages import DeadLetterDiscarded, NotificationSuppressed
from actors.outcomes import DeadDestination
from actors.settings.channel import DeadLettersConfig
from actors.settings.faults import FaultConfig
from simulation.invariants import Context
from simulation.verification.laws.base import ClientsOf

PARTITION = FaultConfig.model_validate({"node": [2], "at": 100, "for": 10, "partition": "store"})


def context(**email: object) -> Context:
    """Return that of three nodes, of which the second does not reach the store from 100 s to 110 s."""
    found = context_of(**email)
    return replace(found, faults=[PARTITION], nodes=3, commit_latency_ns=10 * S)


def suppressed(seconds: float) -> NotificationSuppressed:
    return NotificationSuppressed(
        at_ns=round(seconds * S), epoch_ns=0, notification_id="n", channel=EMAIL, reason="the address is gone"
    )


def test_an_address_is_gone_when_a_provider_has_said_so_be_that_recorded_or_not():
    check_breach("gone-addresses", [requested(0), suppressed(5)], "no address is gone", context())
    said = [requested(0), made(1, outcome=DeadDestination()), suppressed(5)]
    assert breach_of("gone-addresses", said, context()) is None


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


def test_a_budget_that_is_not_spent_refuses_nothing():
    budget = context(retry={"budget": {"kind": "aws", "capacity": 20, "retry_cost": 14}})
    budget = replace(budget, nodes=1)
    refused = failed(1, None, given_up="retry budget spent")
    check_breach("retry-budget", [requested(0), refused], "which is not spent", budget)


def test_a_breaker_that_others_say_is_open_lets_through_what_may_not_have_heard_of_it():
    shared = {"timeout": "60s", "shared": "any", "share_latency": "1s"}

    def trips(node: int, seconds: float) -> object:
        return breaker(seconds, "closed", "open", "trip", breaker=f"email@{node}", node=node)

    def goes(node: int, seconds: float) -> object:
        return with_fields(made(seconds), node=node)

    def text_of(*events: object) -> str:
        breach = breach_of("shared-breakers", events, context(circuit_breaker=shared))
        return "" if breach is None else breach.message

    assert "is sent by node 1, and 1 others say" in text_of(trips(2, 90), goes(1, 95))
    assert "is sent by node 1, and 1 others say" in text_of(trips(3, 102), goes(1, 105))
    assert text_of(trips(3, 102), goes(2, 105)) == ""  # it has not heard
    assert text_of(trips(2, 102), goes(1, 105)) == ""  # it was not heard
    assert text_of(trips(3, 95), goes(2, 105)) == ""
    assert "is sent by node 2, and 1 others say" in text_of(trips(3, 111), goes(2, 115))
