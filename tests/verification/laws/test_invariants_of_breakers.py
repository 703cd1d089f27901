"""Invariants about breakers, what is sent anew, and fallbacks: histories that break them."""

import msgspec
from histories import breach_of, breaker, check_breach, context_of, dead, let_through, redriven, requested, sent

# ── breakers and fallbacks ─────────────────────────────────────────────────────────────────────────────────────


def test_what_an_operator_forces_open_is_so_for_hosts_that_come_later():
    context = context_of(circuit_breaker={"per": "host"})
    forced = breaker(1, "closed", "forced-open", "force-open", host="a.example")
    other = let_through(2, recipient="bob@b.example")
    check_breach("open-breaker", [forced, other], "all of them are forced open", context)
    closed = breaker(1.5, "forced-open", "closed", "close", host="a.example")
    assert breach_of("open-breaker", [forced, closed, other], context) is None


def test_no_one_is_reached_twice_through_a_redrive_unless_it_is_asked_for():
    context = context_of(fallback={"channel": "sms"})
    instead, later = (
        msgspec.structs.replace(requested(2, id), instead_of=first, waited_since_ns=0)
        for id, first in (("n/sms", "n"), ("n/sms/push", "n/sms"))
    )
    fell_back = [requested(0), dead(1), instead]
    check_breach("reached-once", [*fell_back, redriven(3)], "n/sms of the same request is in flight", context)
    reached = [*fell_back, dead(3, "n/sms"), later, sent(4, "n/sms/push")]
    for again in ("n", "n/sms"):
        check_breach("reached-once", [*reached, redriven(5, again)], "n/sms/push of the same request is sent", context)
    asked_for = [*reached, redriven(5, include_served=True), sent(6)]
    assert breach_of("reached-once", asked_for, context) is None
    # Of several that are dead one may be redriven, and then no other.
    dead_ends = [*fell_back, dead(3, "n/sms"), redriven(4, "n/sms")]
    assert breach_of("reached-once", [*dead_ends, sent(5, "n/sms")], context) is None
    check_breach("reached-once", [*dead_ends, redriven(5)], "n/sms of the same request is in flight", context)
    # However it has come to be sent.
    check_breach(
        "reached-once", [requested(0), instead, sent(3), sent(4, "n/sms")], "and so was n of the same request", context
    )
    # What is under way at once may be two, and nothing more follows once one has arrived.
    both = [*fell_back, redriven(3, include_served=True)]
    died = [*both, dead(4, "n/sms"), later]
    assert breach_of("reached-once", [*died, sent(5), sent(6, "n/sms/push")], context) is None
    text = "n/sms falls back, and n of the same request is sent"
    check_breach("reached-once", [*both, sent(4), dead(5, "n/sms"), later], text, context)
    # With an id that was forgotten it is another request.
    anew = [*fell_back, sent(3, "n/sms"), requested(90_000), dead(90_001), redriven(90_002), sent(90_003)]
    assert breach_of("reached-once", anew, context) is None
