"""Invariants about what adapts to a provider, about copies and about Finagle's budget: histories that break them."""

from types import SimpleNamespace

import msgspec
import pytest
from histories import (
    EMAIL,
    S,
    breach_of,
    breaker,
    check_breach,
    context_of,
    crashed,
    dead,
    deferred,
    failed,
    let_through,
    made,
    redriven,
    requested,
    sent,
)
from test_invariants_of_the_hunt import attempt, told_message

from actors.domain.attempts import Admitted, Refused
from actors.kernel.effects import Performed
from actors.messages import DeferralCause, NotificationChannel
from actors.outcomes import Ambiguous, Permanent, Sent, Transient
from actors.pipeline.blocked import THROTTLED_HERE
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.handler import Handler
from actors.pipeline.rate_limiter import RateLimiterActor
from simulation.invariants import Context

TOO_FAST = Transient(reason="429", throttled=True)


class Before:
    """What stands before the provider, as it is when a caller looks: a rate, slots, and whether a handler waits."""

    def __init__(self, rate=None, slots=None):
        self.name = "email"
        self.rate = SimpleNamespace(rate=rate)
        self.slots = SimpleNamespace(limit=slots)
        self.is_current = None

    def context(self, **settings):
        stages = SimpleNamespace(lanes=[self], is_awaited=lambda attempt: self.is_current)
        pipeline = SimpleNamespace(wiring=SimpleNamespace(stages={EMAIL: stages}))
        return Context(channels=context_of(**settings).channels, pipeline=lambda: pipeline)


def answered(seconds, outcome, *, takes=0.5, in_flight=1, id="n", of=None):
    request = Admitted(attempt=of or attempt(id), permit=1, in_flight=in_flight)
    performed = Performed(
        request=request, result=outcome, started_ns=round((seconds - takes) * S), ended_ns=round(seconds * S)
    )
    return told_message(seconds, CircuitBreakerActor, Handler, performed)


def seen(before, *steps):
    """Yield events, and have what stands before the provider be so when each is observed."""
    for event, state in steps:
        for name, value in state.items():
            if name == "rate":
                before.rate.rate = value
            elif name == "slots":
                before.slots.limit = value
            else:
                setattr(before, name, value)
        yield event


def breach(invariant, before, settings, *steps):
    return breach_of(invariant, seen(before, *steps), before.context(**settings))


# ── rates ───────────────────────────────────────────────────────────────────────────────────────────────────────

AIMD = {"adaptive_rate": {"initial_rate": 10, "minimum_rate": 1, "maximum_rate": 12, "increase": "2/s"}}


def test_a_rate_is_cut_by_throttling_alone_and_not_twice_in_its_cooldown():
    # Three answers in half a second are 6/s, of which 80% are counted: what is cut is what was really sent.
    answers = [(answered(0.1, Sent()), {"rate": 10}), (answered(0.2, Sent()), {})]
    cut = (answered(0.5, TOO_FAST), {"rate": 2.4})
    assert breach("adaptive-rate", Before(), AIMD, *answers, cut) is None
    assert "10/s to 10/s by the outcome Transient, and should to 2.4/s" in str(
        breach("adaptive-rate", Before(), AIMD, *answers, (cut[0], {"rate": 10}))
    )
    again = (answered(1.4, TOO_FAST), {"rate": 1.2})
    assert "should to 2.4/s" in str(breach("adaptive-rate", Before(), AIMD, *answers, cut, again))
    failure = (answered(0.5, Transient(reason="down")), {"rate": 5})
    assert "should to 10/s" in str(breach("adaptive-rate", Before(), AIMD, *answers, failure))


def test_a_rate_is_never_cut_below_its_minimum():
    times = [0.5 + 2 * number for number in range(4)]
    rates = [1.0, 1.0, 1.0, 1.0]
    steps = [(answered(at, TOO_FAST), {"rate": rate}) for at, rate in zip(times, rates, strict=True)]
    assert breach("adaptive-rate", Before(), AIMD, *steps) is None
    assert "and should to 1/s, between 1/s and 12/s" in str(
        breach("adaptive-rate", Before(), AIMD, *steps[:-1], (steps[-1][0], {"rate": 0.5}))
    )


def test_a_rate_grows_by_its_increase_and_by_no_more_than_twice_what_is_sent():
    steps = [(answered(number / 10, Sent()), {"rate": 10}) for number in range(1, 5)]
    steps.append((answered(0.5, Sent()), {"rate": 10.2}))  # 8/s are measured
    assert breach("adaptive-rate", Before(), AIMD, *steps) is None
    assert "should to 10.2/s" in str(breach("adaptive-rate", Before(), AIMD, *steps[:-1], (steps[-1][0], {"rate": 11})))


def test_a_cubic_rate_is_back_where_it_was_cut_after_its_time():
    settings = {"adaptive_rate": {"kind": "cubic", "minimum_rate": 1, "scale": 0.5, "decrease": 0.5}}
    busy = [(answered(0.02 * number, Sent()), {"rate": None}) for number in range(1, 25)]
    cut = (answered(0.5, TOO_FAST), {"rate": 20.0})  # 25 in half a second, of which 80% are counted: 40/s
    again = [(answered(0.5 + 0.02 * number, Sent()), {}) for number in range(1, 25)]
    before = Before()
    assert breach("adaptive-rate", before, settings, *busy, cut) is None
    # The cube root of 40 * 0.5 / 0.5 is 3.42 s; 0.02 s after the cut 0.5 * (0.02 - 3.42)^3 + 40 is 20.35.
    grown = 0.5 * (0.02 - 40 ** (1 / 3)) ** 3 + 40
    assert breach("adaptive-rate", before, settings, *busy, cut, (again[0][0], {"rate": grown})) is None
    assert "should to 20.3" in str(breach("adaptive-rate", before, settings, *busy, cut, (again[0][0], {"rate": 30.0})))


def test_no_one_asks_sooner_than_the_rate_allows():
    settings = {"adaptive_rate": {"initial_rate": 2}}
    in_time = [let_through(0), let_through(0.5), made(1.0, is_copy=True), let_through(1.5)]
    assert breach_of("adaptive-rate", in_time, context_of(**settings)) is None
    for early in (let_through(0.4), made(0.4, is_copy=True)):
        check_breach("adaptive-rate", [let_through(0), early], "sooner than at its rate of 2/s", context_of(**settings))
    # A channel that is down has them come late, and they went in time.
    late = [let_through(0), crashed(0.1, "Channel"), let_through(0.5), made(9), made(9)]
    assert breach_of("adaptive-rate", late, context_of(**settings)) is None
    check_breach("adaptive-rate", [*late[:2], let_through(0.4)], "sooner than", context_of(**settings))
    anew = [let_through(0), crashed(0.1, "process"), let_through(0.2)]
    assert breach_of("adaptive-rate", anew, context_of(**settings)) is None


# ── slots ───────────────────────────────────────────────────────────────────────────────────────────────────────

VEGAS = {"concurrency_limit": {"kind": "vegas", "initial": 4, "minimum": 2, "maximum": 10}}
GRADIENT = {"concurrency_limit": {"initial": 4, "minimum": 2, "maximum": 10, "queue_size": 5}}


@pytest.mark.parametrize(
    ("settings", "outcome", "state", "text"),
    [
        (VEGAS, Sent(), {"slots": 1}, "is 1, of at least 2 and at most 10"),
        (VEGAS, Sent(), {"slots": 11}, "is 11, of at least 2 and at most 10"),
        (VEGAS, Sent(), {"slots": 10}, None),
        (VEGAS, Ambiguous(reason="timed out"), {"slots": 3}, None),
        (VEGAS, Ambiguous(reason="timed out"), {"slots": 2}, "below 3"),
        (VEGAS, Ambiguous(reason="timed out"), {"slots": 5}, "from 4 to 5 by the outcome Ambiguous"),
        (VEGAS, Transient(reason="down"), {"slots": 3}, "which says nothing"),
        (VEGAS, Sent(), {"slots": 3}, "the fastest there was"),
        (GRADIENT, Sent(), {"slots": 5}, None),
        (GRADIENT, Sent(), {"slots": 7}, "by more than 2"),
        (GRADIENT, TOO_FAST, {"slots": 3}, None),
        (GRADIENT, TOO_FAST, {"slots": 2}, "below 3"),
    ],
)
def test_slots_follow_what_was_answered(settings, outcome, state, text):
    before = (answered(1, Sent(), in_flight=4), {"slots": 4})
    found = breach("concurrency-limit", Before(), settings, before, (answered(2, outcome, in_flight=4), state))
    assert (found is None) if text is None else (text in str(found))


def test_slots_that_are_not_used_do_not_grow():
    before = (answered(1, Sent(), in_flight=4), {"slots": 4})
    few = (answered(2, Sent(), in_flight=1), {"slots": 5})
    assert "less than half of it" in str(breach("concurrency-limit", Before(), VEGAS, before, few))
    assert "less than half of it" in str(breach("concurrency-limit", Before(), GRADIENT, before, few))


def test_no_more_are_under_way_than_there_are_slots_now():
    first, second, third = let_through(1.1, "a"), let_through(1.2, "b"), let_through(1.6, "c")
    before = (answered(1, Sent()), {"slots": 2})
    context = Before().context
    two = [before, (first, {}), (second, {})]
    assert breach("concurrency-limit", Before(), VEGAS, *two) is None
    ended = (answered(1.5, Sent(), of=first.message.attempt), {})
    assert breach("concurrency-limit", Before(), VEGAS, *two, ended, (third, {})) is None
    assert "3 attempts are under way" in str(breach("concurrency-limit", Before(), VEGAS, *two, (third, {})))
    down = (crashed(1.5, "Channel"), {})
    assert "3 attempts are under way" in str(breach("concurrency-limit", Before(), VEGAS, *two, down, (third, {})))
    assert context(**VEGAS).pipeline() is not None


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────

THROTTLE = {"adaptive_throttle": {"k": 2, "window": "60s", "padding": 1}}


def refused(seconds):
    outcome = Transient(reason=THROTTLED_HERE)
    return told_message(seconds, CircuitBreakerActor, Handler, Refused(attempt=attempt(), outcome=outcome))


def test_what_a_provider_takes_is_not_refused_and_the_rest_is_in_proportion():
    context = context_of(**THROTTLE)
    taken = [let_through(1), answered(1.5, Sent())]
    check_breach("adaptive-throttle", [*taken, refused(2)], "has taken enough", context)
    assert breach_of("adaptive-throttle", [*taken, let_through(2), let_through(3), refused(4)], context) is None
    check_breach("adaptive-throttle", [let_through(1), let_through(1), refused(62)], "has taken enough", context)
    never = [let_through(number / 10) for number in range(30)]  # 29 of 30 should have been
    assert "0 are refused by the throttle of email" in str(
        breach_of("adaptive-throttle", never, context_of(**THROTTLE))
    )


# ── copies ──────────────────────────────────────────────────────────────────────────────────────────────────────

HEDGED = {"hedging": {"max_attempts": 3, "delay": 1}, "timeout": 4}


def copies(*sends, id="n"):
    """Return the sends of one attempt: when, what comes of each, and after how long."""
    first = made(0, id)
    return [
        made(at, id, outcome=outcome, takes=takes, attempt=first.attempt, is_copy=number > 0)
        for number, (at, outcome, takes) in enumerate(sends)
    ]


DOWN = Transient(reason="down")
LATER = Transient(reason="busy", retry_after=2.0)


@pytest.mark.parametrize(
    ("sends", "text"),
    [
        ([(0, Sent(), 3), (1, Sent(), 3)], None),
        ([(0, Sent(), 3), (0.9, Sent(), 3)], "send 2 of an attempt of n is before 1 s"),
        ([(0, DOWN, 0.3), (0.3, Sent(), 1)], None),
        ([(0, LATER, 0.3), (1, Sent(), 1)], "before 2.3 s, which the provider has asked for"),
        ([(0, DOWN, 0.3), (1, Sent(), 1)], "later than 0.3 s, when another one had failed: it goes at once, or never"),
        ([(0, LATER, 0.3), (2.3, DOWN, 0.1), (2.4, Sent(), 1)], None),
        ([(0, LATER, 2), (1, DOWN, 1.5), (4 - 1e-9, Sent(), 1)], "before 4 s, which the provider has asked for"),
        ([(0, Permanent(reason="no"), 0.3), (1, Sent(), 1)], "after one has decided at 0.3 s"),
        ([(0, Sent(), 9), (4, Sent(), 1)], "after its timeout at 4 s"),
        ([(0, Sent(), 9), (1, Sent(), 9), (2, Sent(), 9), (3, Sent(), 9)], "of at most 3 sends"),
    ],
)
def test_a_copy_goes_at_its_time(sends, text):
    events = [requested(0), *copies(*sends)]
    if text is None:
        assert breach_of("hedges", events, context_of(**HEDGED)) is None
    else:
        check_breach("hedges", events, text, context_of(**HEDGED))
        check_breach("hedges", [requested(0), crashed(0), *events[1:]], text, context_of(**HEDGED))
        begun = [event for event in events[1:] if not event.is_copy]  # in the process that crashes with its timer
        assert breach_of("hedges", [requested(0), *begun, crashed(0, "process")], context_of(**HEDGED)) is None


def test_the_outcome_of_copies_is_the_first_that_decides_or_the_latest_ambiguous_failure():
    both = [requested(0), *copies((0, Sent(), 3), (1, Permanent(reason="no"), 1))]
    over = {"hedges": 1, "kind": "Permanent"}
    succeeded = {"hedges": 1, "started_ns": 0}
    assert breach_of("hedges", [*both, failed(2, **over)], context_of(**HEDGED)) is None
    check_breach(
        "hedges", [*both, msgspec.structs.replace(sent(3), **succeeded)], "as Sent, and is Perm", context_of(**HEDGED)
    )
    unsure = [requested(0), *copies((0, Ambiguous(reason="reset"), 0.5), (0.5, DOWN, 1))]
    assert breach_of("hedges", [*unsure, failed(1.5, 3, hedges=1)], context_of(**HEDGED)) is None
    wrong = failed(1.5, 3, hedges=1, kind="Transient")
    check_breach("hedges", [*unsure, wrong], "as Transient, and is Ambiguous", context_of(**HEDGED))
    check_breach("hedges", [*unsure, failed(1.5, 3)], "was sent 2 times, not 1", context_of(**HEDGED))


@pytest.mark.parametrize(
    ("sends", "over", "planned"),
    [
        ([(0, LATER, 0.3)], 0.3, "2.3 s"),
        ([(0, LATER, 0.3)], 2.3, None),
        ([(0, DOWN, 0.3)], 0.3, None),  # one was to go at once, and something spoke against it
        ([(0, Sent(), 9), (1, LATER, 0.3)], 4.0, None),  # the first one has timed out
        ([(0, LATER, 1.5), (1, LATER, 0.2)], 1.5, "3.5 s"),
        ([(0, LATER, 1.2)], 1.2, None),  # the one after 1 s was tried
        ([(0, LATER, 2.5)], 2.5, None),  # it would be too late
        ([(0, LATER, 0.1), (2.1, LATER, 0.1), (2.2, LATER, 0.1)], 2.3, None),  # there are no more
    ],
)
def test_an_attempt_has_not_failed_before_a_copy_that_is_still_to_go(sends, over, planned):
    last = failed(over, 9, hedges=len(sends) - 1, kind="Ambiguous" if over == 4 else "Transient")
    events = [requested(0), *copies(*sends), last]
    if planned is None:
        assert breach_of("hedges", events, context_of(**HEDGED)) is None
    else:
        check_breach("hedges", events, f"a copy of it is still to go at {planned}", context_of(**HEDGED))
        crashed_since = [*events[:-1], crashed(over), last]  # and so it gets none
        assert breach_of("hedges", crashed_since, context_of(**HEDGED)) is None


# ── budgets ─────────────────────────────────────────────────────────────────────────────────────────────────────


def sets_out(seconds, id):
    return told_message(seconds, Handler, RateLimiterActor, attempt(id))


def fails(seconds, id, again=True, **fields):
    end = {} if again else {"given_up": "retry budget spent"}
    return failed(seconds, seconds + 1 if again else None, id, **{**end, **fields})


def test_a_finagle_budget_is_a_share_of_the_first_attempts_of_the_last_while():
    settings = {"retry": {"budget": {"kind": "finagle", "share": "50%", "min_rate": "1/10s", "ttl": "10s"}}}
    four = [event for id in "abcd" for event in (requested(0, id), sets_out(0, id))]
    budget = context_of(**settings)
    assert breach_of("retry-budget", [*four, *(fails(1, id) for id in "abc")], budget) is None  # 4 * 50% and one more
    check_breach("retry-budget", [*four, *(fails(1, id) for id in "abcd")], "d is to be tried again", budget)
    check_breach("retry-budget", [*four, fails(1, "a"), fails(1, "b", again=False)], "which is not spent", budget)
    old = [*four, *(fails(1, id) for id in "abc")]
    check_breach(
        "retry-budget",
        [*old, requested(40, "e"), fails(40, "e"), requested(40, "f"), fails(40, "f")],
        "f is to",
        budget,
    )


def test_a_token_bucket_is_as_full_as_first_attempts_have_made_it():
    settings = {"kind": "token_bucket", "capacity": 2, "share": "50%"}
    four = [event for id in "abcd" for event in (requested(0, id), sets_out(0, id))]  # it was full before
    budget = context_of(retry={"budget": settings})
    assert breach_of("retry-budget", [*four, fails(1, "a"), fails(1, "b"), fails(1, "c", again=False)], budget) is None
    check_breach("retry-budget", [*four, *(fails(1, id) for id in "abc")], "c is to be tried again", budget)
    check_breach("retry-budget", [*four, fails(1, "a"), fails(1, "b", again=False)], "which is not spent", budget)
    # Retries put nothing in, two first attempts as much as one of them needs.
    retried = [*four, fails(1, "a"), fails(1, "b"), sets_out(2, "a"), sets_out(2, "b"), requested(3, "e")]
    check_breach("retry-budget", [*retried, sets_out(3, "e"), fails(4, "e")], "e is to be tried again", budget)
    both = [*retried, sets_out(3, "e"), requested(3, "f"), sets_out(3, "f")]
    assert breach_of("retry-budget", [*both, fails(4, "e")], budget) is None
    spare = context_of(retry={"budget": {**settings, "inclusive": False}})
    check_breach("retry-budget", [*four, fails(1, "a"), fails(1, "b")], "b is to be tried again", spare)


@pytest.mark.parametrize(("inclusive", "most"), [(False, 2), (True, 3)])
def test_an_envoy_budget_is_a_share_of_what_is_under_way(inclusive, most):
    settings = {"kind": "envoy", "share": "50%", "min_concurrency": 1, "inclusive": inclusive}
    ids = "abcdefgh"
    eight = [event for id in ids for event in (requested(0, id), sets_out(0, id))]
    budget = context_of(retry={"budget": settings})
    some = [fails(1, id) for id in ids[:most]]  # of 8, as many less are under way
    assert breach_of("retry-budget", [*eight, *some, *(fails(1, id) for id in ids[most:4])], budget) is None
    check_breach("retry-budget", [*eight, *some[:1], fails(1, "b", again=False)], "which is not spent", budget)
    over = [*eight, *some, *(fails(1, id, again=False) for id in ids[most:])]
    assert breach_of("retry-budget", over[: 16 + most], budget) is None


def test_what_a_copy_may_have_cost_a_grpc_budget_is_known_by_the_end_of_its_attempt():
    budget = context_of(retry={"budget": {"kind": "grpc", "max_tokens": 4, "token_ratio": 1}}, **HEDGED)
    refused = fails(3, "a", again=False, hedges=1)
    fine = [requested(0, "a"), *copies((0, DOWN, 1), (1, Permanent(reason="no"), 1), id="a")]
    check_breach("retry-budget", [*fine, refused], "which is not spent", budget)
    failing = [requested(0, "a"), *copies((0, DOWN, 1), (1, DOWN, 1), id="a")]
    assert breach_of("retry-budget", [*failing, refused], budget) is None


@pytest.mark.parametrize(
    ("sends", "max_tokens"),
    [
        ([(0, DOWN, 0.3), (0.3, Sent(), 1)], 2),  # half of them are left
        ([(0, DOWN, 0.3), (0.3, DOWN, 0.2), (0.5, Sent(), 1)], 4),
    ],
)
def test_a_failed_send_costs_a_grpc_budget_a_token_before_its_next_copy(sends, max_tokens):
    events = [requested(0), *copies(*sends)]
    spent, enough = (
        context_of(retry={"budget": {"kind": "grpc", "max_tokens": tokens}}, **HEDGED)
        for tokens in (max_tokens, max_tokens + 1)
    )
    check_breach("retry-budget", events, "a copy of n is sent, and the retry budget of email is spent", spent)
    assert breach_of("retry-budget", events[:-1], spent) is None
    assert breach_of("retry-budget", events, enough) is None


@pytest.mark.parametrize(("is_late", "most"), [(True, 2), (False, 4)])
def test_a_copy_costs_what_a_retry_after_the_same_would(is_late, most):
    settings = {"kind": "aws", "capacity": 20, "retry_cost": 5, "timeout_cost": 10}
    budget = context_of(retry={"budget": settings}, **HEDGED)
    sends = [(0, Sent(), 3) if is_late else (0, DOWN, 1), (1, Sent(), 2)]
    of_each = [[requested(0, id), *copies(*sends, id=id)] for id in "abcde"]
    events = sorted((event for events in of_each for event in events), key=lambda event: event.at_ns)
    asked = [event for event in events if not getattr(event, "is_copy", False)]
    charged = [event for event in events if getattr(event, "is_copy", False)]
    assert breach_of("retry-budget", [*asked, *charged[:most]], budget) is None
    text = f"a copy of {'abcde'[most]} is sent, and the retry budget of email is spent"
    check_breach("retry-budget", [*asked, *charged[: most + 1]], text, budget)
    given_back = [*asked, *charged[:most], sent(3, "a"), *charged[most : most + 1]]
    assert breach_of("retry-budget", given_back, budget) is None


# ── averages, and what no one waits for ─────────────────────────────────────────────────────────────────────────


def test_a_moving_average_weighs_the_latest_calls_most():
    settings = {"circuit_breaker": {"window": {"ema": 2}, "minimum_calls": 2, "failure_rate": "60%"}}

    def calls(*outcomes):
        for number, outcome in enumerate(outcomes):
            each = attempt(f"n{number}")
            yield told_message(number, CircuitBreakerActor, Channel, Admitted(attempt=each, permit=1))
            yield answered(number + 0.5, outcome, of=each)

    # 1, then 0.61, 0.37: of a failure and successes; the second failure brings 0.39 + 0.61 * 0.37 = 0.62.
    check_breach("breaker-decisions", list(calls(DOWN, Sent())), "is to trip", context_of(**settings))
    assert breach_of("breaker-decisions", calls(Sent(), DOWN), context_of(**settings)) is None  # 0.39
    check_breach("breaker-decisions", list(calls(Sent(), DOWN, DOWN)), "is to trip", context_of(**settings))


def test_what_is_sent_anew_is_not_let_through_twice():
    before = Before()
    admitted = let_through(5)
    assert breach("awaited", before, {}, (admitted, {"is_current": True})) is None
    assert "no stage waits for that attempt" in str(breach("awaited", before, {}, (admitted, {"is_current": False})))
    assert breach("awaited", before, {}, (crashed(1), {}), (admitted, {"is_current": False})) is None
    copy = made(2, is_copy=True)
    assert breach("awaited", before, {}, (crashed(1), {}), (copy, {"is_current": True})) is None
    told = str(breach("awaited", before, {}, (crashed(1), {}), (copy, {"is_current": False})))
    assert "a further copy of n is sent, and no stage waits for that attempt" in told


# ── breakers, fallbacks and pushbacks ───────────────────────────────────────────────────────────────────────────


def test_a_breaker_that_opens_again_and_again_stays_open_for_longer_each_time():
    settings = {"circuit_breaker": {"timeout": 10, "open_growth": {"multiplier": 2, "max": "1m"}}}
    opened = [breaker(0, "closed", "open", "trip"), breaker(10, "open", "half-open", "wait-over")]
    again = [*opened, breaker(11, "half-open", "open", "trip")]
    context = context_of(**settings)
    assert breach_of("breaker-transitions", [*again, breaker(31, "open", "half-open", "wait-over")], context) is None
    soon = breaker(21, "open", "half-open", "wait-over")
    check_breach("breaker-transitions", [*again, soon], "half-open after 10 s, of at least", context)


def test_a_breaker_is_half_open_for_no_longer_than_it_may():
    context = context_of(circuit_breaker={"timeout": 10, "half_open_max": 2})
    half_open = [breaker(0, "closed", "open", "trip"), breaker(10, "open", "half-open", "wait-over")]
    due = [*half_open, breaker(12, "half-open", "open", "probes-overdue")]
    assert breach_of("breaker-transitions", due, context) is None
    late = [*half_open, breaker(13, "half-open", "closed", "recover")]
    check_breach("breaker-transitions", late, "half-open since 10 s, until 13 s", context)
    check_breach("breaker-transitions", half_open, "half-open since 10 s, until 60 s", context, end=60)


def test_where_its_open_time_is_over_one_may_wait_for_the_breaker_of_another_provider():
    waits = {"cause": DeferralCause.CIRCUIT_BREAKER, "resumes_at_ns": 15 * S}
    events = [breaker(0, "closed", "open", "trip"), msgspec.structs.replace(deferred(10), **waits)]
    config = {"circuit_breaker": {"timeout": 10}}
    assert breach_of("breaker-transitions", events, context_of(failover={"spare": {}}, **config)) is None
    check_breach("breaker-transitions", events, "waits until 15 s for breaker email", context_of(**config))
    soon = [events[0], msgspec.structs.replace(deferred(9), **waits)]
    two = context_of(failover={"spare": {}}, **config)
    check_breach("breaker-transitions", soon, "waits until 15 s for breaker email", two)


def test_a_breaker_whose_stage_is_down_is_open_from_when_that_was_due():
    context = context_of(circuit_breaker={"timeout": 10, "half_open_max": 2})
    half_open = [breaker(0, "closed", "open", "trip"), breaker(10, "open", "half-open", "wait-over")]
    down = [*half_open, crashed(11, "CircuitBreakerActor"), breaker(15, "half-open", "open", "probes-overdue")]
    again = breaker(22, "open", "half-open", "wait-over")
    assert breach_of("breaker-transitions", [*down, again], context) is None
    early = breaker(21.9, "open", "half-open", "wait-over")
    check_breach("breaker-transitions", [*down, early], "half-open after 9.9 s, of at least 10 s", context)
    at_last = [*half_open, crashed(11, "CircuitBreakerActor"), breaker(21.1, "half-open", "open", "probes-overdue")]
    check_breach("breaker-transitions", at_last, "half-open since 10 s, until 21.1 s", context)
    hasty = [*half_open, breaker(11, "half-open", "open", "probes-overdue")]
    check_breach("breaker-transitions", hasty, "by probes-overdue, and its time ends at 12 s", context)


def test_what_an_operator_forces_open_is_so_for_hosts_that_come_later():
    context = context_of(circuit_breaker={"per": "host"})
    forced = breaker(1, "closed", "forced-open", "force-open", host="a.example")
    other = let_through(2, recipient="bob@b.example")
    check_breach("open-breaker", [forced, other], "all of them are forced open", context)
    closed = breaker(1.5, "forced-open", "closed", "close", host="a.example")
    assert breach_of("open-breaker", [forced, closed, other], context) is None


def test_what_falls_back_is_for_the_same_user_once_the_other_one_has_ended():
    context = context_of(fallback={"channel": "sms"})
    instead = msgspec.structs.replace(
        requested(2, "n/sms"), instead_of="n", waited_since_ns=0, channel=NotificationChannel.SMS
    )
    assert breach_of("fallback", [requested(0), dead(1), instead], context) is None
    check_breach("fallback", [requested(0), instead], "which is in flight", context)
    bobs = msgspec.structs.replace(instead, user_id="bob")
    check_breach("fallback", [requested(0), dead(1), bobs], "for bob and not for ann", context)
    by_push = msgspec.structs.replace(instead, channel=NotificationChannel.PUSH)
    check_breach("fallback", [requested(0), dead(1), by_push], "email does not fall back to that", context)


def test_after_a_pushback_the_backoff_begins_anew():
    settings = {"retry": {"initial_delay": 1, "retry_after": "pushback", "max_attempts": 9}}
    events = [requested(0)]
    for number, (at, outcome, wait) in enumerate([(0, DOWN, 1), (2, DOWN, 2), (5, LATER, 2), (8, DOWN, 1)], 1):
        tried = made(at, outcome=outcome, number=number)
        events += [tried, failed(at + 0.5, at + 0.5 + wait, attempt=number, kind="Transient", started_ns=at * S)]
    assert breach_of("backoff", events, context_of(**settings)) is None
    goes_on = failed(8.5, 12.5, attempt=4, kind="Transient", started_ns=8 * S)
    check_breach("backoff", [*events[:-1], goes_on], "of at least 1 s and at most 1 s", context_of(**settings))


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
