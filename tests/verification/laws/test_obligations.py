"""What has to come: histories in which it does not, or at another time, and some near them in which it does."""

from datetime import time
from types import SimpleNamespace

import msgspec
import pytest
from histories import (
    EMAIL,
    S,
    at,
    breach_of,
    breaker,
    check_breach,
    context_of,
    crashed,
    dead,
    failed,
    fresh,
    let_through,
    redriven,
    requested,
    sent,
    told,
)

from actors.domain.attempts import Admitted, Attempt
from actors.kernel.actor import Supervision
from actors.messages import (
    DeadLetterDiscarded,
    DeadLetterMessage,
    DeferralCause,
    NotificationChannel,
    NotificationDeferred,
    SendNotification,
)
from actors.pipeline.alert import AdminAlert, Alert, ChannelBroken
from actors.pipeline.channel import Channel
from actors.pipeline.circuit_breaker import CircuitBreakerActor
from actors.pipeline.dead_letter_queue import DeadLetterQueue
from actors.pipeline.handler import Handler
from actors.pipeline.preferences import Preferences
from actors.pipeline.rate_limiter import RateLimiterActor
from actors.policies.quiet_hours import QuietHours
from actors.settings.channel import ChannelConfig, DeadLettersConfig
from simulation.invariants import Context
from simulation.verification.laws.observations import ActorCrashed, ActorStarted

SMS = NotificationChannel.SMS


def letter(seconds, id="n", reason="timed out", **command):
    """Return that a dead letter comes to its queue."""
    filled = SendNotification(notification_id=id, channel=EMAIL, recipient="ann", message="Hi", **command)
    instant = round(seconds * S)
    return told(
        seconds,
        Handler,
        DeadLetterQueue,
        DeadLetterMessage(
            notification_id=id,
            command=filled,
            failure_reason=reason,
            attempts=1,
            epoch_ns=0,
            first_failure_ns=instant,
            last_failure_ns=instant,
            moved_at_ns=instant,
            requested_at_ns=0,
        ),
    )


# ── fallbacks ───────────────────────────────────────────────────────────────────────────────────────────────────

REACHABLE = {"addresses": {SMS: "+49"}}


def falls_back(**more):
    return Context(channels=context_of(fallback={"channel": "sms"}, **more).channels)


def instead(seconds, id="n/sms"):
    return msgspec.structs.replace(requested(seconds, id), instead_of="n", channel=SMS, waited_since_ns=0)


def test_what_is_dead_lettered_goes_out_on_the_other_channel_at_once():
    ends = [requested(0), dead(5), letter(5, **REACHABLE)]
    text = "n is dead-lettered, and has not gone out by sms in its place (channels.email.fallback.channel = sms)"
    assert breach_of("fallback-due", [*ends, instead(5), requested(6, "b")], falls_back(), end=9) is None
    check_breach("fallback-due", [*ends, requested(6, "b")], text, falls_back())
    check_breach("fallback-due", ends, text, falls_back(), end=5)
    assert breach_of("fallback-due", [*ends, crashed(5, "process"), requested(6, "b")], falls_back(), end=9) is None


@pytest.mark.parametrize("command", [{}, {**REACHABLE, "expires_after": 5.0}])
def test_what_has_no_address_there_or_no_time_left_does_not(command):
    ends = [requested(0), dead(5), letter(5, **command), requested(6, "b")]
    assert breach_of("fallback-due", ends, falls_back(), end=9) is None


def test_what_fell_back_before_it_was_redriven_does_not_again():
    ends = [requested(0), dead(5), letter(5, **REACHABLE), instead(5)]
    again = [*ends, redriven(6), dead(7), letter(7, **REACHABLE), requested(8, "b")]
    assert breach_of("fallback-due", again, falls_back(), end=9) is None


def test_what_died_after_the_one_that_it_stood_for_was_redriven_and_sent_does_not():
    ends = [requested(0, "m"), dead(1, "m"), msgspec.structs.replace(requested(1), instead_of="m"), redriven(2, "m")]
    died = [dead(5), letter(5, **REACHABLE), requested(6, "b")]
    assert breach_of("fallback-due", [*ends, sent(3, "m"), *died], falls_back(), end=9) is None
    check_breach("fallback-due", [*ends, *died], "has not gone out by sms", falls_back())


def test_a_store_takes_its_time_for_a_fallback():
    ends = [requested(0), dead(5), letter(5, **REACHABLE), requested(5.5, "b")]
    slow = falls_back()
    slow.commit_latency_ns = S
    assert breach_of("fallback-due", [*ends, instead(6)], slow, end=9) is None
    check_breach("fallback-due", [*ends, requested(6.5, "c")], "has not gone out by sms", fresh(slow))


# ── expiry ──────────────────────────────────────────────────────────────────────────────────────────────────────


def waits(seconds, until, cause):
    return NotificationDeferred(
        **at(seconds), notification_id="n", channel=EMAIL, cause=cause, resumes_at_ns=round(until * S)
    )


def test_nothing_waits_for_the_end_of_quiet_hours_that_expires_before():
    preferences = Preferences()
    preferences.set_quiet_hours("ann", QuietHours(time(0), time(7), "UTC"))
    context = Context({EMAIL: ChannelConfig()}, preferences=preferences)
    command = SendNotification(
        notification_id="n", channel=EMAIL, recipient="ann", message="Hi", expires_after=7 * 3600.0 - 1
    )
    arrives = [told(0, None, Handler, command), requested(0)]
    night = waits(0, 7 * 3600, DeferralCause.QUIET_HOURS)
    check_breach("quiet-hours", [*arrives, night], "and has expired by then, at 25199 s", context)
    longer = [told(0, None, Handler, msgspec.structs.replace(command, expires_after=7 * 3600.0)), requested(0)]
    assert breach_of("quiet-hours", [*longer, night], fresh(context)) is None
    refused = told(0, None, Handler, command)  # it came first, and another payload of this id was accepted
    assert breach_of("quiet-hours", [refused, *longer, night], fresh(context)) is None


def test_nothing_waits_for_a_limit_that_expires_before():
    command = SendNotification(notification_id="n", channel=EMAIL, recipient="ann", message="Hi")
    limit = {"rate_limit": {"rate": "1/min"}}
    for expires_s, breaks in ((59, True), (60, False)):
        attempt = Attempt(command=command, number=1, charged=False, expires_at_ns=expires_s * S)
        comes = [requested(0), told(0, Handler, RateLimiterActor, attempt), waits(0, 60, DeferralCause.RATE_LIMIT)]
        breach = breach_of("user-limit", comes, context_of(**limit))
        assert ("has expired by then, at 59 s (channels.email.rate_limit =" in str(breach)) == breaks


# ── alerts ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Page:
    """The alert, and what it has done."""

    def __init__(self):
        self.alert = SimpleNamespace(actor=self)
        self.alerts, self.repeated = [], 0

    def context(self):
        return Context({EMAIL: ChannelConfig()}, pipeline=lambda: self)


def alert(seconds, id="n", reason="timed out"):
    message = Alert(notification_id=id, channel=EMAIL, reason=reason)
    return told(seconds, DeadLetterQueue, AdminAlert, message)


def test_each_dead_letter_raises_an_alert():
    one = [requested(0), dead(1), letter(1)]
    assert breach_of("alerts", [*one, alert(1), requested(2, "b")]) is None
    check_breach("alerts", [*one, requested(2, "b")], "no one is told of the dead letter of n")
    check_breach("alerts", [*one, alert(1, "m")], "the next dead letter is that of n: timed out")
    down = [*one, crashed(1, "DeadLetterQueue"), requested(2, "b"), alert(4)]
    assert breach_of("alerts", down, end=20) is None
    check_breach("alerts", down[:-1], "no one is told", end=20)


def test_each_fault_of_a_channel_raises_an_alert():
    broken = told(1, Handler, AdminAlert, ChannelBroken(channel=EMAIL, reason="401"))
    fails = failed(1, 2, kind="ChannelFault", reason="401")
    assert breach_of("alerts", [requested(0), broken, fails]) is None
    check_breach("alerts", [requested(0), broken, fails, fails], "email is broken (401), and no one is told")


def test_an_alert_is_raised_again_when_the_last_one_is_five_minutes_old():
    page = Page()

    def history(*raised):
        """Yield letters at these instants, with what the alert has done before each."""
        for seconds, repeated, text in raised:
            page.repeated, page.alerts = repeated, [text]
            yield from (letter(seconds, f"n{seconds}"), alert(seconds, f"n{seconds}"))

    first = "Notification n0 moved to DLQ: timed out"
    second = "Notification n300 moved to DLQ: timed out"
    right = [(0, 0, ""), (299, 0, first), (300, 1, first), (599, 1, second), (600, 2, second)]
    assert breach_of("alerts", history(*right), page.context()) is None
    never = [*right[:3], (599, 2, first)]
    assert "2 alerts are only counted, and 1 come within 300 s" in str(
        breach_of("alerts", history(*never), page.context())
    )
    other = [*right[:3], (599, 1, first)]
    assert "the latest alert is" in str(breach_of("alerts", history(*other), page.context()))


# ── retention ───────────────────────────────────────────────────────────────────────────────────────────────────


def discarded(seconds, id="n", reason="retention"):
    return DeadLetterDiscarded(**at(seconds), notification_id=id, channel=EMAIL, reason=reason)


def keeping(**bounds):
    return Context({EMAIL: ChannelConfig()}, dead_letters=DeadLettersConfig.model_validate(bounds))


def test_a_letter_is_discarded_when_its_retention_ends():
    kept = [requested(0), dead(1)]
    assert breach_of("retention", [*kept, discarded(61)], keeping(keep=60), end=100) is None
    check_breach("retention", [*kept, discarded(60)], "after 59 s (dead_letters.keep = 1m)", keeping(keep=60))
    check_breach("retention", [*kept, requested(62, "b")], "was to be discarded at 61 s", keeping(keep=60))
    check_breach("retention", kept, "n is a dead letter still", keeping(keep=60), end=62)
    assert breach_of("retention", [*kept, redriven(30), dead(40, "n")], keeping(keep=60), end=99) is None
    down = [*kept, crashed(60, "DeadLetterQueue"), requested(65, "b")]
    assert breach_of("retention", [*down, discarded(70)], keeping(keep=60), end=100) is None
    check_breach("retention", [*down, requested(71, "c")], "was to be discarded at 61 s", keeping(keep=60))


def test_the_oldest_letter_goes_when_there_are_too_many():
    three = [event for id in "abc" for event in (requested(0, id), dead(1, id))]
    assert breach_of("retention", [*three, discarded(1, "a", "full")], keeping(at_most=2), end=9) is None
    check_breach("retention", [*three, discarded(1, "b", "full")], "and a is older", keeping(at_most=2))
    check_breach("retention", [*three, discarded(1, "a", "full")], "and there are 3", keeping(at_most=3))
    check_breach(
        "retention", [*three, requested(2, "d")], "there are 3 dead letters, and too many since 1 s", keeping(at_most=2)
    )


# ── restarts ────────────────────────────────────────────────────────────────────────────────────────────────────


def crashes(seconds, after=None, kind=Channel, **supervision):
    rule = Supervision(**supervision)
    after_ns = None if after is None else round(after * S)
    return ActorCrashed(at_ns=round(seconds * S), actor="x", kind=kind, supervision=rule, restart_after_ns=after_ns)


def starts(seconds, kind=Channel, actor="x"):
    return ActorStarted(at_ns=round(seconds * S), actor=actor, kind=kind)


def test_an_actor_is_restarted_at_its_instant_and_once():
    runs = [starts(0), crashes(1), starts(1.1), crashes(2), starts(2.2), crashes(70, after=3), starts(73)]
    assert breach_of("restarts", runs, end=99) is None
    for end, text in (
        ([starts(2.1)], "the channel is restarted at 2.1 s, and was to be at 2.2 s"),
        ([starts(2.2), starts(2.2)], "the channel is started again, and runs already"),
        ([requested(3)], "the channel was to be restarted at 2.2 s, and is not"),
    ):
        check_breach("restarts", [*runs[:4], *end], text)
    rule = {"max_restarts": 3, "initial_delay": 0.8, "max_delay": 0.8, "window": 999.0}
    for then, text in (("restart", None), ("stop", "is started again, and runs already")):
        many = [starts(0), *(e for n in range(1, 6) for e in (crashes(n, then=then, **rule), starts(n + 0.8)))]
        breach = breach_of("restarts", many, end=99)
        assert (breach is None) if text is None else text in breach.message
    upon = [starts(0), crashes(1, after=5), crashes(3, after=5)]
    assert breach_of("restarts", [*upon, starts(8)], end=99) is None
    check_breach("restarts", [*upon, starts(6)], "restarted at 6 s, and was to be at 8 s")
    check_breach("restarts", upon, "was to be restarted at 8 s", end=9)


def test_the_process_is_back_at_its_instant():
    context = context_of([{"at": 5, "crash": "process", "restart_after": 2}])
    first = [starts(0, Handler, "h"), crashed(5, "process")]
    assert breach_of("restarts", [*first, starts(7, Handler, "i"), requested(8)], context) is None
    check_breach("restarts", [*first, starts(6, Handler, "i")], "back at 6 s, and was to be at 7 s", context)
    check_breach("restarts", [*first, requested(8)], "was to be back at 7 s, and is not", context)


# ── ramps, and turns ────────────────────────────────────────────────────────────────────────────────────────────


class Lane:
    """What stands before a provider, as it is when a caller looks."""

    def __init__(self, name="email", provider="primary", room=True):
        self.name, self.provider_name, self.paces = name, provider, SimpleNamespace(running={})
        self.breaker = SimpleNamespace(refused=0)
        self.room_at_ns = lambda now_ns: now_ns if room else now_ns + 1
        self.slots = SimpleNamespace(has_its_share=lambda key: False)


def context_with(*lanes, **settings):
    stages = SimpleNamespace(lanes=lanes, is_awaited=lambda _: True)
    pipeline = SimpleNamespace(wiring=SimpleNamespace(stages={EMAIL: stages}))
    return Context(channels=context_of(**settings).channels, pipeline=lambda: pipeline)


def test_as_many_go_through_a_ramp_as_their_shares_add_up_to():
    settings = {"circuit_breaker": {"ramp": {"over": 10, "start": "20%"}}}
    closes = breaker(0, "half-open", "closed", "recover")

    def asked(*goes):
        """Yield those that go at these instants, when so many were refused before."""
        yield closes
        for seconds, refused in goes:
            lane.breaker.refused = refused
            yield let_through(seconds, f"n{seconds}")

    lane = Lane()
    # Of five at the beginning one goes, and of what asks after 5 s six of ten.
    right = [(0, 4), (5, 5), (5, 6)]
    assert breach_of("ramp", asked(*right), context_with(lane, **settings)) is None
    early = str(breach_of("ramp", asked((0, 3)), context_with(lane, **settings)))
    assert "has let 1 through since 0 s, and the shares of 4 that have asked add up to 0.8" in early
    assert "(channels.email.circuit_breaker.ramp = {over: 10s, start: 0.2}" in early
    late = str(breach_of("ramp", asked((0, 10)), context_with(lane, **settings)))
    assert "add up to 2.2" in late
    assert breach_of("ramp", asked((10, 0), (11, 0)), context_with(lane, **settings)) is None  # it is over


def test_providers_take_turns_by_the_number_of_the_attempt():
    settings = {"switch_after": 2, "failover": {"backup": {}}}

    def goes(number, provider, lanes):
        command = SendNotification(notification_id="n", channel=EMAIL, recipient="ann", message="Hi")
        attempt = Attempt(command=command, number=number, charged=True, expires_at_ns=None)
        admitted = Admitted(attempt=attempt, permit=1, lane=int(provider == "backup"), provider=provider)
        events = [told(0, CircuitBreakerActor, Channel, admitted)]
        return str(breach_of("failover-order", events, context_with(*lanes, **settings)))

    for number, provider in ((1, "primary"), (2, "primary"), (3, "backup"), (4, "backup"), (5, "primary")):
        other = "backup" if provider == "primary" else "primary"
        free = [Lane(), Lane("email/backup", "backup")]
        assert goes(number, provider, free) == "None"
        wrong = f"attempt {number} of n goes to the {other} provider of email, and the {provider} provider is before it"
        assert wrong in goes(number, other, free)
        full = [Lane("email", "primary", room=provider != "primary"), Lane("b", "backup", room=provider != "backup")]
        assert goes(number, other, full) == "None"
