"""Forty mistakes of a stranger: planted by somebody who has not seen what is to find them, before it was tried on them.

They are no part of the default hunt, and no scenario is written for them: whoever explores is to come upon them. So
nothing is said of what finds each; but what a user would see of it, and what kind of world shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from mutant import Mutant

ANYTHING = "anything"
"""What is expected to find each of them."""

HANDLER = "actors/pipeline/handler.py"
LIMITER = "actors/pipeline/rate_limiter.py"
KEYED_LINES = "actors/pipeline/keyed_lines.py"
STAGE = "actors/pipeline/circuit_breaker.py"
LANE = "actors/pipeline/lane.py"
HEDGING = "actors/pipeline/hedging_channel.py"
QUEUE = "actors/pipeline/dead_letter_queue.py"
DELIVERY = "actors/domain/delivery.py"
SUPERVISION = "actors/kernel/supervision.py"
SYSTEM = "actors/kernel/system.py"


@dataclass(frozen=True)
class Stranger(Mutant):
    """A mistake of which nobody knows what will find it."""

    seen: str
    """What a user would see of it."""

    world: str
    """What has to come together for that."""


def stranger(name: str, file: str, mistake: str, *changes: tuple[str, str], seen: str, world: str) -> Stranger:
    """Return a mistake, with its changes one after the other."""
    return Stranger(name, file, mistake, changes, ANYTHING, seen, world)


AREAS = {
    "handler": "IN_THE_HANDLER",
    "stages": "IN_STAGES",
    "lanes": "IN_LANES",
    "policies": "IN_POLICIES",
    "channel and hedging": "IN_CHANNELS_AND_HEDGING",
    "alerts and letters": "IN_ALERTS_AND_LETTERS",
    "stores": "IN_STORES",
    "supervision": "IN_SUPERVISION",
    "kernel": "IN_THE_KERNEL",
}
"""The nine areas in which a stranger plants mistakes; with each under what name they stand."""


def by_area(mistakes: ModuleType) -> dict[str, tuple[Stranger, ...]]:
    """Return the mistakes of a module by area, in order."""
    return {area: getattr(mistakes, name) for area, name in AREAS.items()}


IN_THE_HANDLER = (
    stranger(
        "numbered-by-its-history",
        DELIVERY,
        "The number of an attempt is one more than those that have failed.",
        ("            number=self.attempts + 1,\n", "            number=len(self.failures) + 1,\n"),
        seen="What is redriven, or has met a channel fault, begins at the backup and not at the primary provider.",
        world="Failover with switch_after, and a redrive after failures, or channel faults.",
    ),
    stranger(
        "suppressed-without-a-fallback",
        HANDLER,
        "What is suppressed is not wanted, so nothing falls back from it.",
        (
            "        self._commit(event, delivery, self._fall_back if falls_back else None)\n",
            "        self._commit(event, delivery, None)\n",
        ),
        seen="Only the first notification to a dead address goes out on the other channel; all later ones are lost.",
        world="A channel with a fallback, dead destinations, and several notifications for a user.",
    ),
    stranger(
        "quiet-hours-against-the-fallback",
        HANDLER,
        "What cannot be sent here any more when quiet hours end need not wait for that.",
        (
            "        if delivery.expires_at_ns is not None and due_ns > delivery.expires_at_ns:\n",
            "        if delivery.sent_until_ns is not None and due_ns > delivery.sent_until_ns:\n",
        ),
        seen="A retry that falls into quiet hours is dead-lettered at night, and its text message sent then.",
        world="A fallback with a time (after), quiet hours on the channel, and a failure just before they begin.",
    ),
    stranger(
        "refusals-cost-the-budget",
        HANDLER,
        "An attempt that was refused has failed, and the budget counts failures.",
        (
            "                self._budgets.attempt_has_ended(delivery, None, self.system.now_ns)\n"
            "            self._failed(delivery, refused.outcome, self.now_ns, None)\n",
            "                outcome = succeeded(refused.outcome)\n"
            "                self._budgets.attempt_has_ended(delivery, outcome, self.system.now_ns)\n"
            "            self._failed(delivery, refused.outcome, self.now_ns, None)\n",
        ),
        seen="Retries end with 'retry budget spent' though the provider has failed few: our own refusals spent it.",
        world="A budget of kind grpc, with when_open: fail or an adaptive throttle.",
    ),
    stranger(
        "redrive-waits-for-a-success",
        "actors/pipeline/journal.py",
        "Room comes from what was sent.",
        (
            "            if self._redrives:\n                self.take_up_next_redrive()\n        self._record",
            "            if self._redrives and kind is NotificationSent:\n"
            "                self.take_up_next_redrive()\n        self._record",
        ),
        seen="A redrive that waits for room is not carried out when others end as dead letters or suppressed.",
        world="max_pending reached, a redrive then, and an outage in which what ends is dead-lettered.",
    ),
)

IN_STAGES = (
    stranger(
        "only-the-first-expires-in-time",
        KEYED_LINES,
        "A line needs one alarm for its next place and one for its expiry, both set when it begins.",
        (
            "        line.append(attempt, self.now_ns)\n        if attempt.expires_at_ns is not None:\n",
            "        is_first = not line.size\n        line.append(attempt, self.now_ns)\n"
            "        if is_first and attempt.expires_at_ns is not None:\n",
        ),
        seen="What waits behind others at a user's limit is dead-lettered as expired later than it expires.",
        world="A user's limit that defers, several of a user at once, and an expiry (or the time of a fallback) in it.",
    ),
    stranger(
        "orders-wake-the-line-of-the-channel-only",
        STAGE,
        "A breaker that an operator closes has one line waiting for it.",
        (
            "        self._look_after(list(self._lines))\n        return any(changed)",
            "        self._look_after((WHOLE_LANE,))\n        return any(changed)",
        ),
        seen="After an operator has closed the breakers, what waits for the hosts goes on waiting.",
        world="A breaker per host, forced open with some waiting, and closed again.",
    ),
    stranger(
        "switching-stops-at-the-last",
        STAGE,
        "After so many failures the next provider comes first; the last one has no next.",
        (
            "        first = (attempt.number - 1) // self._switch_after % len(self._lanes)\n",
            "        first = min((attempt.number - 1) // self._switch_after, len(self._lanes) - 1)\n",
        ),
        seen="The fifth of five attempts, two at each of two providers, goes to the second provider again.",
        world="Failover with switch_after, and more attempts than switch_after times the number of providers.",
    ),
    stranger(
        "pace-outlives-its-line",
        STAGE,
        "A line that is empty is dropped, and its pace ends by itself.",
        (
            "            turns.pop(line.host, None)\n            lane.none_waits(line.host)\n",
            "            turns.pop(line.host, None)\n",
        ),
        seen="A newcomer is deferred behind a closed breaker although nobody waits any more.",
        world="A breaker that closes with some waiting, and arrivals that come close behind the last of these.",
    ),
)

IN_LANES = (
    stranger(
        "bad-addresses-are-no-answers",
        LANE,
        "What the provider has not sent it has not accepted.",
        (
            "        if self._throttle is not None and answered:\n",
            "        if self._throttle is not None and type(outcome) is Sent:\n",
        ),
        seen="The adaptive throttle refuses a share of everything because some addresses are bad.",
        world="An adaptive throttle, and permanent failures or dead destinations.",
    ),
    stranger(
        "load-as-it-ended",
        LANE,
        "How many were under way is looked at when the answer is there.",
        (
            "self._concurrency.on_result(max(1, duration_ns), in_flight, dropped=not answered)",
            "self._concurrency.on_result(max(1, duration_ns), self.in_flight + 1, dropped=not answered)",
        ),
        seen="The concurrency limit does not move at the end of a burst, or moves where it was not what restricted.",
        world="A concurrency limit, and load that comes and goes within the latency of the provider.",
    ),
    stranger(
        "latest-of-equals-goes-first",
        "actors/policies/order.py",
        "Of hosts that may have a slot any will do.",
        (
            "    for key in keys:\n        if may_go is None or may_go(key):\n",
            "    for key in keys if may_go is None else reversed(keys):\n        if may_go is None or may_go(key):\n",
        ),
        seen="Of the hosts that wait for a slot with equally many, the one that came last gets it, again and again.",
        world="A breaker per host with a bulkhead or concurrency limit, and several busy hosts with their share of it.",
    ),
    stranger(
        "the-last-limiter-decides",
        LANE,
        "The instant is overwritten by that of the next limiter, and not the later one of both.",
        (
            "            allowed_ns = max(allowed_ns, limiter.fits_at(WHOLE_LANE, now_ns))\n",
            "            allowed_ns = limiter.fits_at(WHOLE_LANE, now_ns)\n",
        ),
        seen="The quota of the account is exceeded while the adaptive rate has nothing against it.",
        world="A quota and an adaptive rate at the same provider, and more load than the quota.",
    ),
    stranger(
        "half-open-deadline-lost-on-restart",
        LANE,
        "When a breaker changes next is taken for when it reopens, which only an open one knows.",
        (
            "            if breaker.state is BreakerState.HALF_OPEN and breaker.changes_at_ns is not None:\n"
            "                yield host, breaker.changes_at_ns\n",
            "            if breaker.state is BreakerState.HALF_OPEN and breaker.reopen_at_ns is not None:\n"
            "                yield host, breaker.reopen_at_ns\n",
        ),
        seen="A breaker stays half-open for longer than half_open_max, until the next call of anything.",
        world="half_open_max with when_open: fail, a slow probe, and a crash of the breaker's actor meanwhile.",
    ),
)

IN_POLICIES = (
    stranger(
        "slow-probes-are-remembered",
        "actors/policies/breaker/probes.py",
        "The counts of the probes are set back one by one, and one of them is forgotten.",
        (
            "        self.reset()\n\n    def reset(self)",
            "        self._slow = 0\n        self.reset()\n\n    def reset(self)",
        ),
        (
            "        self._failures = 0\n        self._slow = 0\n\n    def has_left",
            "        self._failures = 0\n\n    def has_left",
        ),
        seen="A breaker that has once seen slow probes opens again at good ones, and in the end never closes.",
        world="slow_call, and probes that are slow in one half-open time and quick in a later one.",
    ),
    stranger(
        "ramp-loses-its-change",
        "actors/policies/breaker/recovery.py",
        "One that goes through uses up the credit.",
        ("        self._credit -= self._whole\n", "        self._credit = 0\n"),
        seen="During a ramp fewer go through than its share: at 60% every second one, and not six of ten.",
        world="A breaker with a ramp that closes under load.",
    ),
    stranger(
        "charged-by-one-and-refused-by-the-other",
        "actors/policies/rate_limit/limiter.py",
        "Each limiter is asked once, and the latest answer is the answer of all.",
        (
            "        fits_at_ns = self.fits_at(key, now_ns, cost)\n        if fits_at_ns == now_ns:\n"
            "            for limiter in self._limiters:\n                limiter.try_acquire(key, now_ns, cost)\n"
            "        return fits_at_ns\n",
            "        return max(limiter.try_acquire(key, now_ns, cost) for limiter in self._limiters)\n",
        ),
        seen="A user with two limits gets fewer, and later, than both allow.",
        world="A user's limit of two rates of which the longer one is reached while the shorter one has room.",
    ),
    stranger(
        "cooldown-that-never-ends",
        "actors/policies/adaptive/rate.py",
        "The time of the latest throttling is noted first, and then asked.",
        (
            "        if self._cut_at_ns is not None and now_ns < self._cut_at_ns + self._cooldown_ns:\n"
            "            return False\n        self._cut_at_ns = now_ns\n",
            "        latest_ns, self._cut_at_ns = self._cut_at_ns, now_ns\n"
            "        if latest_ns is not None and now_ns < latest_ns + self._cooldown_ns:\n"
            "            return False\n",
        ),
        seen="Under 429 after 429 the rate is cut once and no more: each throttling puts the next cut off.",
        world="An adaptive rate, and a provider that throttles more often than once in its cooldown.",
    ),
    stranger(
        "jitter-forgets-over-a-restart",
        "actors/policies/retry/policy.py",
        "How often it was tried is recalled, and the wait before the next one follows from that.",
        ("        progress.memory_ns = rule.backoff.remembered(waited_ns)\n", ""),
        seen="After a restart of the handler the next decorrelated wait is drawn as the first one.",
        world="Decorrelated jitter, a crash of the handler or the process between two retries, and a failure after it.",
    ),
)

IN_CHANNELS_AND_HEDGING = (
    stranger(
        "old-hedge-timer-still-fires",
        HEDGING,
        "The timer is replaced by another one, so nobody refers to the old one any more.",
        (
            "            flight.timer.cancel()\n            flight.timer = flight.planned = None\n",
            "            flight.timer = None\n",
        ),
        seen="Copies of an attempt go out sooner than the delay after the latest one, and more of them than may be.",
        world="Hedging, and a copy that fails before the next one is due.",
    ),
    stranger(
        "pushback-of-an-earlier-copy-forgotten",
        HEDGING,
        "When the next copy may go is what the latest failure says.",
        (
            "            flight.not_before_ns = next_ns = max(next_ns, flight.not_before_ns)\n",
            "            flight.not_before_ns = next_ns\n",
        ),
        seen="A provider gets a copy before the time that it asked for with a Retry-After.",
        world="Hedging with three copies; one is throttled with a Retry-After, and another one fails without.",
    ),
    stranger(
        "copies-pass-a-breaker-that-is-not-just-open",
        HEDGING,
        "A breaker that keeps requests back knows when it reopens.",
        (
            "        if lane.breaker_of(lane.host_of(attempt), now_ns).state in NOT_CLOSED:\n",
            "        if lane.breaker_of(lane.host_of(attempt), now_ns).reopen_at_ns is not None:\n",
        ),
        seen="A half-open provider meets copies of its probe, and one forced open copies of what was under way.",
        world="Hedging, and a late answer to a probe, or while an operator forces the breaker open.",
    ),
    stranger(
        "down-time-counts-as-latency",
        STAGE,
        "How long an attempt took is how long ago it started.",
        (
            "                performed.ended_ns - performed.started_ns,\n",
            "                self.system.now_ns - performed.started_ns,\n",
        ),
        seen="After a crash of ours a breaker opens for slow calls, or a concurrency limit falls, at a quick provider.",
        world="A crash of the breaker's actor with attempts at the provider, and slow_call or a concurrency limit.",
    ),
)

IN_ALERTS_AND_LETTERS = (
    stranger(
        "quiet-for-as-long-as-they-come",
        "actors/pipeline/alert.py",
        "What comes again is noted, so that it stays quiet.",
        (
            "            self.repeated += 1\n            return\n",
            "            self.repeated += 1\n            latest_ns[key] = now_ns\n            return\n",
        ),
        seen="In an outage of an hour the administrator gets one alert, and not one every five minutes.",
        world="Dead letters with one reason for more than five minutes, with no five minutes between two of them.",
    ),
    stranger(
        "paged-when-all-is-lost",
        HANDLER,
        "A channel fault is worth an alert once a notification is lost by it.",
        (
            "        if isinstance(outcome, ChannelFault):\n"
            "            self._to_alert(ChannelBroken(channel=command.channel, reason=outcome.reason))\n"
            "        retry_at_ns, given_up = self._retries.after(outcome, delivery, system.now_ns)\n",
            "        retry_at_ns, given_up = self._retries.after(outcome, delivery, system.now_ns)\n"
            "        if isinstance(outcome, ChannelFault) and given_up is not None:\n"
            "            self._to_alert(ChannelBroken(channel=command.channel, reason=outcome.reason))\n",
        ),
        seen="Credentials are refused, the channel stands still, and nobody is told.",
        world="Channel faults of notifications that do not expire.",
    ),
    stranger(
        "retention-forgotten-over-a-restart",
        QUEUE,
        "A queue that starts looks whether it has too many, and ages are looked at when letters come.",
        (
            "        self._look_at_bounds()\n        self._redrive_all()\n",
            "        if self._is_too_full:\n            self._look_at_bounds()\n        self._redrive_all()\n",
        ),
        seen="After a restart of the process dead letters stay for longer than they are to be kept.",
        world="dead_letters with keep, a crash of the process with letters in the queue, and no letter soon after.",
    ),
    stranger(
        "retention-without-the-calendar",
        QUEUE,
        "How old a letter is, is known by the clock of the run.",
        (
            "            up_ns = oldest.epoch_ns + oldest.moved_at_ns + self._keep_ns - self.epoch_ns\n",
            "            up_ns = oldest.moved_at_ns + self._keep_ns\n",
        ),
        seen="After the wall clock was set, letters are discarded by the time that passed, and not by the calendar.",
        world="dead_letters with keep, and a step of the wall clock while letters are in the queue.",
    ),
    stranger(
        "redriven-and-charged-again",
        DELIVERY,
        "A fresh set of attempts begins at the limiter.",
        (
            "        charged=True,\n        failures=list(letter.history),\n",
            "        failures=list(letter.history),\n",
        ),
        seen="What is redriven is deferred by, or dropped for, a limit of its user that it was counted under before.",
        world="A user's limit, and a redrive of several dead letters of a user at once.",
    ),
)

IN_STORES = (
    stranger(
        "numbers-used-again",
        "actors/storage/sqlite/reading.py",
        "Remembered ids stay in the file, so nothing of them is looked at when it is opened.",
        ('("notifications", "history", "remembered", "audit")', '("notifications", "history", "audit")'),
        seen="After the store was opened again, ids are forgotten before their time, and the same id is sent twice.",
        world="A store in SQLite that is closed when little is open, and in which more ends when it is open again.",
    ),
    stranger(
        "fallback-younger-after-a-restart",
        DELIVERY,
        "Since when its user has been waiting is not restored.",
        (
            "    if isinstance(requested, NotificationRequested) and requested.waited_since_ns is not None:\n"
            "        waited_since_ns = anchored(requested, requested.waited_since_ns, epoch_ns)\n",
            "",
        ),
        seen="A fallback that was in flight over a restart counts as asked for when it fell back: delivered sooner.",
        world="A channel with a fallback, and a crash of the handler or the process while a fallback is in flight.",
    ),
    stranger(
        "redrive-forgotten-by-the-clock",
        DELIVERY,
        "A redrive begins anew, but for since when it counts.",
        ("                delivery.fresh_since_ns = at_ns\n", ""),
        seen="What was redriven in time is dead-lettered as expired, or for its time for retries, after a restart.",
        world="expires_after or max_elapsed, a redrive after some time, and a crash while it is in flight again.",
    ),
    stranger(
        "waits-by-the-calendar-however-long",
        DELIVERY,
        "What comes from the store waits until the instant that is written there.",
        (
            "        if delivery.due_ns is not None and decided_wait_ns is not None:\n"
            "            delivery.due_ns = min(delivery.due_ns, now_ns + decided_wait_ns)\n",
            "",
        ),
        seen="After the wall clock was set back a day, and a restart, a retry of ten seconds comes a day later.",
        world="A step of the wall clock back, and a crash of the handler or the process, within one wait for a retry.",
    ),
)

IN_SUPERVISION = (
    stranger(
        "old-restarts-count",
        SUPERVISION,
        "How often an actor was restarted is counted, however long ago.",
        (
            "        if rule.window < math.inf:\n            horizon_ns = now_ns - ns(rule.window)\n"
            "            actor._incarnation.restarts_ns = "
            "[at_ns for at_ns in actor._incarnation.restarts_ns if at_ns > horizon_ns]\n",
            "",
        ),
        seen="An actor that failed long ago waits longer to start again, and its sixth failure ever ends the run.",
        world="Two crashes of a busy actor, more than a minute apart, without a time for its restart.",
    ),
    stranger(
        "a-second-crash-restarts-twice",
        SUPERVISION,
        "One message is enough to start an actor, each time that it starts.",
        (
            "        actor._incarnation.beginning = Begin()  # one that is under way already no longer counts\n",
            "",
        ),
        seen="An actor that crashes while it is down starts too early, and then loses its state once more unnoticed.",
        world="Two crashes of an actor, the second before it has started again after the first.",
    ),
    stranger(
        "nobody-watches-the-second-time",
        SUPERVISION,
        "Whoever watches an actor has been notified, and may watch it again.",
        (
            "        self._notify_watchers(actor, Restarted(actor._actor_ref, error))  # type: ignore[arg-type]\n",
            "        self._notify_watchers(actor, Restarted(actor._actor_ref, error))  # type: ignore[arg-type]\n"
            "        actor._incarnation.watchers.clear()\n",
        ),
        seen="After the second crash of a stage what waited in it is never sent, and never ends.",
        world="Two crashes of the same stage in which attempts wait, with none of the handler in between.",
    ),
    stranger(
        "limit-as-new-after-a-crash",
        LIMITER,
        "An actor makes all of its state when it starts.",
        (
            "        if stages.limiter is None:\n            stages.limiter = make_limiter(config)\n",
            "        stages.limiter = make_limiter(config)\n",
        ),
        seen="After a crash of the limiter each user gets the whole of the limit once more.",
        world="A user's limit that is used up, a crash of the limiter, and more for the user within its window.",
    ),
)

IN_THE_KERNEL = (
    stranger(
        "latest-first-after-a-restart",
        "actors/kernel/mailbox.py",
        "What the actor could not take goes back to where it was taken from: the front.",
        ("        self.queue.insert(self.deferred, message)\n", "        self.queue.appendleft(message)\n"),
        seen="What came while an actor was down is handled in reverse order.",
        world="A crash of an actor with a time until it starts again, and several messages for it meanwhile.",
    ),
    stranger(
        "effects-of-the-one-before-are-dropped",
        SYSTEM,
        "What an incarnation has begun that failed is of no interest to the next one.",
        (
            "        inbox = inbox_of(actor)\n        if actor._accepting is NOTHING:\n",
            "        inbox = inbox_of(actor)\n        if actor._accepting is NOTHING:\n"
            "            if kind is Performed and actor._run is None:\n                return None\n",
        ),
        seen="Slots and probes that were out when an actor crashed never come back; commits never end.",
        world="A breaker or channel that is down when answers come, with slots or probes; or the handler, with a "
        "commit latency.",
    ),
    stranger(
        "a-crash-of-what-is-down-is-none",
        SYSTEM,
        "An actor that is down cannot fail.",
        (
            "        if kind is Crash:\n            return",
            "        if kind is Crash:\n            if actor._accepting is NOTHING and actor._run is None:\n"
            "                return None\n            return",
        ),
        seen="An actor that crashes again while it is down is back at the time of the first crash, with one failure.",
        world="Two crashes of an actor, the second before it has started again after the first.",
    ),
    stranger(
        "steps-of-whole-seconds",
        SYSTEM,
        "The calendar is set by seconds.",
        ("        self.epoch_ns += ns(by)\n", "        self.epoch_ns += round(by) * 1_000_000_000\n"),
        seen="After the wall clock was set by 2.4 s, what is recorded carries a time of day that is off by 0.4 s.",
        world="A step of the wall clock that is no whole number of seconds.",
    ),
)
