"""Forty more mistakes by somebody who has not seen what is to find them: written from the product and its guides alone.

As those of the first stranger they are no part of the default hunt, and none of them was tried before all were there.
"""

from __future__ import annotations

from mutants_of_a_stranger import (
    DELIVERY,
    HANDLER,
    HEDGING,
    LANE,
    QUEUE,
    STAGE,
    SUPERVISION,
    SYSTEM,
    stranger,
)

BACKLOG = "actors/pipeline/backlog.py"
CANCELLING = "actors/pipeline/cancelling.py"
TENANTS = "actors/pipeline/tenants.py"
ON_THEIR_WAY = "actors/pipeline/on_their_way.py"
ORDER = "actors/policies/order.py"
BUDGETS = "actors/policies/retry/budgets.py"
BREAKER = "actors/policies/breaker/breaker.py"
PROBES = "actors/policies/breaker/probes.py"
ALERT = "actors/pipeline/alert.py"
ORDERS = "actors/pipeline/orders.py"
FALLBACK = "actors/pipeline/fallback.py"
MEMORY = "actors/storage/memory.py"
RETRIES = "actors/pipeline/retries.py"
INSTANTS = "actors/instants.py"
DEDUPLICATING = "actors/pipeline/deduplicating.py"

IN_THE_HANDLER = (
    stranger(
        "cancelled-and-still-charged",
        CANCELLING,
        "What is cancelled waits, so there is nothing under way to be settled.",
        (
            "        if self._budgets is not None:\n            self._budgets.settle(delivery, self._system.now_ns)\n"
            "        delivery.current = None\n",
            "        delivery.current = None\n",
        ),
        seen="Retries that were cancelled have used up the retry budget: others are dead-lettered as it is spent.",
        world="A retry budget, and an operator who cancels what waits for a retry.",
    ),
    stranger(
        "cancelled-by-the-class-that-it-came-with",
        CANCELLING,
        "A class of traffic is one that notifications come with.",
        (
            "            and order.priority in (None, delivery.command.priority)\n",
            "            and order.priority in (None, delivery.known_as.priority)\n",
        ),
        seen="Of those whose class was edited, an operator cancels the wrong ones.",
        world="A redrive with another priority, and while those wait again a cancellation of one class.",
    ),
    stranger(
        "fallback-counts-from-acceptance",
        HANDLER,
        "A channel that may take 20 s has them from when a notification is accepted.",
        (
            "self._fallbacks.time_limit_ns(command, self.system.now_ns)",
            "self._fallbacks.time_limit_ns(command, delivery.fresh_since_ns)",
        ),
        seen="What waited for the end of quiet hours is never tried on its channel, and goes on the fallback at once.",
        world="A fallback with a time (after), and quiet hours, or a crash of the process in between.",
    ),
    stranger(
        "sent-back-and-taken-for-counted",
        HANDLER,
        "What is sent back from a stage has been on its way, so its user's limit has been charged.",
        (
            "        delivery.current = None\n        delivery.charged = charged\n        self._prepare(delivery)\n",
            "        delivery.current = None\n        self._prepare(delivery)\n",
        ),
        seen="What waited for its user's limit when quiet hours began goes out at their end at once, over the limit.",
        world="A limit for each user, and quiet hours that begin while some wait for it.",
    ),
    stranger(
        "expires-in-the-backlog-unnoticed",
        BACKLOG,
        "The backlog looks at those that have expired whenever it lets one go.",
        (
            "        return sooner(self.pace.next_ns, self._expiries[0][0] + 1 if self._expiries else None)\n",
            "        return self.pace.next_ns\n",
        ),
        seen="After a restart what expires in the backlog is dead-lettered, or falls back, at the next one's turn.",
        world="Notifications that expire, a crash of the process with many in flight, and a slow resume_rate.",
    ),
)

IN_STAGES = (
    stranger(
        "turned-away-and-still-on-its-way",
        TENANTS,
        "An attempt leaves the provider with its outcome, and its tenant has room again.",
        (
            "        attempt = message.request.attempt if type(message) is Performed else message.attempt\n"
            "        if (tenant := self._on_their_way.leave(attempt)) is not None:\n",
            "        if type(message) is not Performed:\n            return\n"
            "        if (tenant := self._on_their_way.leave(message.request.attempt)) is not None:\n",
        ),
        seen="A tenant has fewer and fewer places, as what expired while it waited for a slot keeps its own.",
        world="A bound on how many of a tenant are on their way, and attempts that end at the breaker.",
    ),
    stranger(
        "flushed-with-what-is-at-the-provider",
        ON_THEIR_WAY,
        "After a crash of a stage all is sent again, so nothing is on its way.",
        (
            "        for each in list(self._attempts.values()):\n"
            "            if each.place is not _Place.AT_PROVIDER:\n                self.leave(each.attempt)\n",
            "        self._attempts.clear()\n        self._counts.clear()\n",
        ),
        seen="After a crash of a stage a tenant has up to twice as many at the provider as it may.",
        world="A bound on how many of a tenant are on their way, and a crash of breaker or limiter meanwhile.",
    ),
    stranger(
        "room-for-a-tenant-and-no-alarm",
        TENANTS,
        "Where a place has become free the next one goes now, and no time is to be waited for.",
        (
            "            self._release(line, message.tenant)\n            self._set_timer()\n",
            "            self._release(line, message.tenant)\n",
        ),
        seen="A tenant's notifications wait on though its rate allows them, until another one comes to the channel.",
        world="A tenant with both bounds, of which first the number on their way is reached, and then the rate.",
    ),
    stranger(
        "fails-while-the-backup-is-busy",
        STAGE,
        "Where when_open is fail, an open breaker in the way of an attempt fails it.",
        (
            "        if reasons <= _SHUT:\n            return Refused",
            "        if reasons & _SHUT:\n            return Refused",
        ),
        seen="While the primary's breaker is open, what finds all slots of the backup taken for a moment fails.",
        world="Failover with when_open: fail, an outage of the primary, and a backup with a bulkhead or a quota.",
    ),
    stranger(
        "who-goes-nowhere-has-had-its-turn",
        STAGE,
        "Who is taken out of a line has had its turn.",
        (
            "            line.pop(flow, uses_turn=goes)\n",
            "            line.pop(flow)\n",
        ),
        seen="A user, or a class, whose first one was refused waits through another round of all others.",
        world="Turns (fair_by, or weighted), and some that wait and are then refused, or are not wanted any more.",
    ),
)

IN_LANES = (
    stranger(
        "quick-failures-teach-the-limit",
        LANE,
        "Each attempt that has ended says something of how much the provider can do.",
        (
            "        if self._concurrency is not None and (answered or throttled or isinstance(outcome, Ambiguous)):\n",
            "        if self._concurrency is not None:\n",
        ),
        seen="Errors that a healthy provider answers at once make the concurrency limit shrink, or grow.",
        world="A concurrency_limit, and transient failures.",
    ),
    stranger(
        "refused-here-with-the-probe",
        LANE,
        "What the adaptive throttle refuses has not gone, so there is nothing to be settled.",
        (
            "            breaker.record_neutral(permit, now_ns)\n            return _THROTTLED\n",
            "            return _THROTTLED\n",
        ),
        seen="A breaker stays half-open for ever: its only probe was refused by the adaptive throttle.",
        world="An adaptive_throttle beside a breaker that opens and becomes half-open.",
    ),
    stranger(
        "dropped-for-the-adaptive-rate",
        LANE,
        "Where the quota drops what exceeds it, what finds no room in time is over the quota.",
        (
            "        is_over = self._quota_drops and self.quota is not None and "
            "self.quota.fits_at(WHOLE_LANE, now_ns) != now_ns\n",
            "        is_over = self._quota_drops\n",
        ),
        seen="What only had to wait for the adaptive rate is dead-lettered for a quota that has room.",
        world="A quota with on_limit: drop beside an adaptive_rate that is the lower of the two.",
    ),
    stranger(
        "each-host-at-the-pace-of-all",
        LANE,
        "The ceiling of the pace follows the load of the channel.",
        (
            "        return self._arrivals.per_second(host if self.breaker is None else None, now_ns)\n",
            "        return self._arrivals.per_second(None, now_ns)\n",
        ),
        seen="A host that has come back meets those that waited for it at twice the rate of the whole channel.",
        world="A breaker for each host, an outage of one of several, and a load of five times resume_rate.",
    ),
)

IN_POLICIES = (
    stranger(
        "half-of-the-tokens-is-enough",
        BUDGETS,
        "Retries are made while at least half of the tokens are there.",
        (
            "        return 1 if 2 * self._tokens > self._max else None\n",
            "        return 1 if 2 * self._tokens >= self._max else None\n",
        ),
        seen="With exactly half of its tokens left a gRPC budget allows a retry that gRPC would not.",
        world="A budget of kind grpc, and failures that bring it to exactly one half.",
    ),
    stranger(
        "a-quiet-time-is-one-slice",
        BUDGETS,
        "When a slice of the time has ended the next one begins.",
        (
            "        self._past.append(self._current)\n        self._past.extend([0] * min(over - 1, _SLICES - 1))\n",
            "        self._past.append(self._current)\n",
        ),
        seen="After a quiet time first attempts of long ago still pay for retries, and retries of then count.",
        world="A budget of kind finagle, and times without any attempt that are longer than a tenth of its ttl.",
    ),
    stranger(
        "no-ramp-after-an-order",
        BREAKER,
        "A ramp is for a provider that has failed; what an operator closes is to be closed.",
        (
            "before in (_OPEN, _HALF_OPEN, _FORCED_OPEN)",
            "before in (_OPEN, _HALF_OPEN)",
        ),
        seen="When a channel that was forced open is closed, its provider meets its whole load at once.",
        world="A breaker with a ramp, and an operator who forces it open and closes it later.",
    ),
    stranger(
        "a-share-of-probes-rounded-down",
        PROBES,
        "Half of three probes are one.",
        (
            "math.ceil(exact_share(config.failure_rate) * permits) if by_rate else 1",
            "max(1, int(exact_share(config.failure_rate) * permits)) if by_rate else 1",
        ),
        seen="A breaker opens again after fewer failed probes than its failure_rate says.",
        world="Several probes that decide together, and a rate that is no whole number of them.",
    ),
    stranger(
        "urgent-passes-the-aged",
        ORDER,
        "In strict order the most urgent class goes first, whoever waits.",
        (
            '        if self._config.kind != "strict" or self._config.aging is not None:\n',
            '        if self._config.kind != "strict":\n',
        ),
        seen="Bulk that has waited for hours is passed by critical ones to other hosts, again and again.",
        world="An order with aging, a breaker for each host, several hosts, and a bound that they share.",
    ),
)

IN_CHANNELS_AND_HEDGING = (
    stranger(
        "a-copy-at-the-very-deadline",
        HEDGING,
        "An answer at the instant of the timeout counts, so a copy may go until then.",
        (
            "flight.incarnation is self._incarnation_mark and at_ns < flight.deadline_ns\n",
            "flight.incarnation is self._incarnation_mark and at_ns <= flight.deadline_ns\n",
        ),
        seen="Each attempt that runs into its timeout sends its last copies then, which are not waited for at all.",
        world="Hedging, with copies left when an attempt times out.",
    ),
    stranger(
        "copies-of-what-was-sent-anew",
        HEDGING,
        "Whether an answer is still of interest is the handler's business, when it comes.",
        (
            "        if not self._stages.is_awaited(attempt):\n            return None\n",
            "",
        ),
        seen="After a crash of a stage providers get copies of attempts that have been sent again since.",
        world="Hedging, slow answers, and a crash of the breaker, the limiter or the handler meanwhile.",
    ),
    stranger(
        "late-answers-cost-a-plain-retry",
        HEDGING,
        "A copy is one more try, as after any failure that passes.",
        (
            '"ambiguous" if flight.copies else failure_kind(flight.failure)',
            '"transient"',
        ),
        seen="A copy of what is late is charged as a plain retry and not as one after a timeout.",
        world="Hedging with a budget of kind aws in which a timeout has a price of its own.",
    ),
    stranger(
        "gives-up-before-the-planned-copy",
        HEDGING,
        "Where all copies have failed, the attempt has.",
        (
            "        if not flight.copies and flight.timer is None:\n",
            "        if not flight.copies:\n",
        ),
        seen="A provider that asks for a second of patience gets no copy after it; the attempt has failed.",
        world="Hedging, and failures that come with a retry_after that ends before the timeout.",
    ),
)

IN_ALERTS_AND_LETTERS = (
    stranger(
        "one-alert-for-all-channels",
        ALERT,
        "One alert for each reason is enough.",
        (
            "        key = (type(alert), alert.channel, alert.address",
            "        key = (type(alert), alert.address",
        ),
        seen="An outage of SMS raises no alert, as email has dead letters with the same reason.",
        world="Dead letters of two channels, with the same reason, within five minutes.",
    ),
    stranger(
        "one-letter-at-a-time",
        QUEUE,
        "When its time is up the oldest letter is discarded.",
        (
            "            self._discard(oldest, FULL if is_too_full else RETENTION)\n",
            "            self._discard(oldest, FULL if is_too_full else RETENTION)\n"
            "            if not is_too_full:\n                return\n",
        ),
        seen="Letters stay beyond their retention until another one comes, and then one of them goes.",
        world="Retention (keep), and several dead letters that are older than that when no others come.",
    ),
    stranger(
        "redrives-as-they-came",
        ORDERS,
        "Redrives that wait for room go in the order in which they came.",
        (
            "        heapq.heappush(self, (RANKS[redrive.priority], redrive.place, redrive))\n",
            "        heapq.heappush(self, (0, redrive.place, redrive))\n",
        ),
        seen="A critical letter waits for its redrive behind bulk for which there is no room.",
        world="A bound on what may be pending (max_pending), and redrives of several classes beyond it.",
    ),
    stranger(
        "fallback-of-the-middle-class",
        FALLBACK,
        "A fallback has all that the other channel needs: address, text, and whose it is.",
        (
            "            priority=command.priority,\n",
            "",
        ),
        seen="The text message in place of a bulk push is a normal one, and goes before bulk.",
        world="A fallback, and a workload with a priority of its own.",
    ),
    stranger(
        "included-and-edited-is-excluded",
        QUEUE,
        "The queue has looked at whether the letter is served, and let it pass.",
        (
            "            Redrive(letter=letter, by=order.by, why=order.why, served=order.served, edit=edit, "
            "answer=submit.answer)\n",
            "            Redrive(letter=letter, by=order.by, why=order.why, edit=edit, answer=submit.answer)\n",
        ),
        seen="A redrive of served letters with an edit does nothing, though it says served: include.",
        world="Dead letters whose fallback was delivered, and a redrive with served: include and an edit.",
    ),
)

IN_STORES = (
    stranger(
        "edit-forgotten-over-a-restart",
        DELIVERY,
        "A redrive begins anew; what was asked for is the command.",
        ("note_redrive(event.edit, event.without_operator)", "note_redrive({}, event.without_operator)"),
        seen="After a restart a redriven notification goes to its old address, or has its old class or expiry.",
        world="A redrive with an edit, a failure after it, and a crash of the handler, the queue or the process.",
    ),
    stranger(
        "schedule-forgotten-over-a-restart",
        DELIVERY,
        "When it is for stands in the command, so there is nothing to be set when it is read.",
        (
            "            case NotificationRequested():\n                delivery.schedule(epoch_ns)\n",
            "            case NotificationRequested():\n",
        ),
        seen="After a restart what is scheduled expires by its acceptance, and so before its instant.",
        world="A workload with not_before, and a crash of the process or the handler before those instants.",
    ),
    stranger(
        "lifts-the-address-that-it-came-with",
        MEMORY,
        "A redrive lifts what a provider has said of the letter's address.",
        (
            "            self.suppressions.lift(command.channel, command.recipient)\n",
            "            self.suppressions.lift(command.channel, entry.command.recipient)\n",
        ),
        seen="A redrive to another address has all others sent to the dead one again.",
        world="Dead addresses, a redrive with another recipient, and more notifications to the first one.",
    ),
    stranger(
        "throttling-recalled-as-failing",
        RETRIES,
        "What another attempt may not meet is a transient failure.",
        (
            "            else Transient(reason=failure.reason, throttled=failure.throttled)\n",
            "            else Transient(reason=failure.reason)\n",
        ),
        seen="After a restart throttled attempts use up those that are for failures: a notification is given up early.",
        world="A retry rule for throttled attempts, throttling, and a crash of the process or the handler between two.",
    ),
)

IN_SUPERVISION = (
    stranger(
        "sent-anew-and-taken-for-counted",
        HANDLER,
        "What was under way when a stage crashed has been counted for its user.",
        (
            "                            delivery.charged = charged\n"
            "                            self._send(delivery)\n",
            "                            self._send(delivery)\n",
        ),
        seen="After a crash of the limiter all that waited there goes out at once, over the users' limits.",
        world="A limit for each user with some that wait for it, and a crash of the limiter or the breaker.",
    ),
    stranger(
        "sent-anew-at-night",
        HANDLER,
        "What was under way was wanted, so it is sent again.",
        (
            "                        if stages.is_wanted is not None and not stages.is_wanted(delivery.command):\n"
            "                            self._requeue(delivery, charged)\n"
            "                        else:\n"
            "                            delivery.charged = charged\n"
            "                            self._send(delivery)\n",
            "                        delivery.charged = charged\n                        self._send(delivery)\n",
        ),
        seen="A crash of a stage at night sends what has waited there since the evening, in quiet hours.",
        world="Quiet hours that begin while some wait at a stage or the provider, and a crash of a stage within them.",
    ),
    stranger(
        "an-old-alarm-brings-an-old-state",
        HANDLER,
        "What waits may go on if it is still in flight.",
        (
            "        return self._deliveries.get(delivery.command.notification_id) is delivery and not "
            "self._commits.has(delivery)\n",
            "        return delivery.command.notification_id in self._deliveries and not self._commits.has(delivery)\n",
        ),
        seen="After a crash of the handler each retry that waited is made twice: by its old timer and by its new one.",
        world="A crash of the handler while some wait for a retry.",
    ),
    stranger(
        "resumed-while-it-is-committed",
        HANDLER,
        "A handler that starts resumes all that it finds.",
        (
            "self._resume([delivery for each, delivery in self._deliveries.items() if each not in under_way])",
            "self._resume(list(self._deliveries.values()))",
        ),
        seen="What was just being accepted, or had just failed, when the handler crashed is sent twice.",
        world="A store that takes its time (commit_latency), and a crash of the handler within it.",
    ),
)

IN_THE_KERNEL = (
    stranger(
        "instants-of-whole-seconds",
        INSTANTS,
        "A date and a time are good to the second.",
        (
            "    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000\n",
            "    return (instant - _EPOCH) // timedelta(seconds=1) * NS_PER_S\n",
        ),
        seen="What is scheduled goes out up to a second before its instant.",
        world="A workload with not_before that is no whole number of seconds.",
    ),
    stranger(
        "no-time-is-no-time-at-all",
        SUPERVISION,
        "Without a time until the restart, supervision says when.",
        (
            "None if restart_after is None else ns(restart_after)",
            "ns(restart_after) if restart_after else None",
        ),
        seen="An actor that is to be back at once comes back after a tenth of a second, and longer the next time.",
        world="A crash of an actor with restart_after: 0s.",
    ),
    stranger(
        "forgets-who-is-at-the-provider",
        DEDUPLICATING,
        "After a flush all is sent again, so nothing that was there is waited for.",
        (
            "        self._attempts = {key: entry for key, entry in self._attempts.items() if entry[1] is not None}\n",
            "        self._attempts.clear()\n",
        ),
        seen="After a crash slots stay taken for ever, as the answers to what was at the provider pass for copies.",
        world="Messages that come twice or late, a crash of a stage, and a bulkhead or a half-open breaker.",
    ),
    stranger(
        "the-calendar-never-goes-back",
        SYSTEM,
        "Time does not run backwards.",
        (
            "        self.epoch_ns += ns(by)\n",
            "        self.epoch_ns += max(0, ns(by))\n",
        ),
        seen="After the wall clock was set back quiet hours and dates in the history go by the old one.",
        world="A step of the wall clock back, and quiet hours, not_before, or a restart after it.",
    ),
)
