"""Forty more mistakes by somebody who has not seen what is to find them: begun from sentences, and not from lines.

Each breaks a sentence of the specification or of a setting's description, at the line that keeps it. As those of the
other strangers they are no part of the default hunt, and none of them was tried before all were there. What was planted
before was known by its name alone. Many are of rare settings, or of what operators do while something else is wrong.
"""

from __future__ import annotations

from mutants_of_a_fourth_stranger import QUOTAS, TENANTS
from mutants_of_a_second_stranger import MEMORY
from mutants_of_a_stranger import HANDLER, HEDGING, LANE, QUEUE, STAGE, SUPERVISION, stranger
from mutants_of_a_third_stranger import REDRIVER, SHARED_MEMORY, SIMULATED_SYSTEM

CONDITIONS = "actors/faults/conditions.py"
FALLBACK = "actors/pipeline/fallback.py"
HEDGING_SCHEDULE = "actors/policies/hedging.py"
HOST_LINE = "actors/pipeline/host_line.py"
MESSAGE_FAULTS = "simulation/engine/message_faults.py"
RATE_WINDOWS = "actors/policies/rate_limit/windows.py"
RESUMING = "actors/policies/resuming.py"
RETRIES = "actors/pipeline/retries.py"
RETRY_POLICY = "actors/policies/retry/policy.py"
SHARING = "actors/policies/breaker/sharing.py"
TRIPPING = "actors/policies/breaker/tripping.py"

IN_THE_HANDLER = (
    stranger(
        "arrived-meanwhile-and-falls-back-further",
        HANDLER,
        "What one falls back from has failed, or it would not have fallen back.",
        (
            "        if self._fallbacks is None or self._store.is_delivered(delivery.command.notification_id):\n",
            "        if self._fallbacks is None:\n",
        ),
        seen="Somebody is reached by a second fallback who has been reached by what was redriven in between.",
        world="A channel whose fallback has one too, and a redrive with served: include while the first is under way.",
    ),
    stranger(
        "cancelled-in-the-backlog-and-sent",
        HANDLER,
        "What is in the backlog is in flight: it was loaded from the store.",
        (
            "            if self._may_go_on(delivery):\n"
            "                delivery.due_ns = None\n"
            "                self._prepare(delivery)\n"
            "        if self._backlog.timer",
            "            delivery.due_ns = None\n            self._prepare(delivery)\n        if self._backlog.timer",
        ),
        seen="What was cancelled while it waited for its turn after a restart reaches its recipient all the same.",
        world="A restart or a takeover that leaves much that is due, and a cancellation while it resumes.",
    ),
    stranger(
        "recalls-the-life-before-its-redrive",
        RETRIES,
        "All failures in the history count; those that were followed by no retry tell nothing.",
        (
            "    for failure in counted[-delivery.attempts :]:\n",
            "    for failure in counted:\n        if failure.next_retry_at_ns is None:\n            continue\n",
        ),
        seen="What was redriven gets fewer attempts than a fresh set if the process restarts between them.",
        world="A dead letter that is redriven and fails again, and a restart or a takeover before its next attempt.",
    ),
    stranger(
        "a-fallback-keeps-the-class-and-not-the-flag",
        FALLBACK,
        "The class of traffic says how urgent it is.",
        ("            critical=command.critical,\n", ""),
        seen="A login code that falls back at night waits until morning, or is suppressed as its user wants no SMS.",
        world="A channel with a fallback, critical notifications, and quiet hours or preferences on the other channel.",
    ),
    stranger(
        "scheduled-and-called-quiet",
        HANDLER,
        "Whatever is not to be sent yet is deferred.",
        (
            "        if obstacle.is_quiet:\n"
            '            quiet = {"cause": DeferralCause.QUIET_HOURS, "resumes_at_ns": due_ns}\n'
            "            self._commit(self._journal.event(NotificationDeferred, delivery.command, **quiet), delivery, "
            "self._wait)\n"
            "        else:\n"
            "            self._wait(delivery)\n",
            '        quiet = {"cause": DeferralCause.QUIET_HOURS, "resumes_at_ns": due_ns}\n'
            "        self._commit(self._journal.event(NotificationDeferred, delivery.command, **quiet), delivery, "
            "self._wait)\n",
        ),
        seen="What is scheduled counts as deferred by quiet hours, of which nobody has any.",
        world="Notifications with an instant of their own (not_before).",
    ),
)

IN_STAGES = (
    stranger(
        "the-wait-for-a-breaker-was-one-for-a-slot",
        HOST_LINE,
        "How long one has waited is known by when it joined.",
        (
            "        return max(since_ns, self.slot_wait_since_ns) + self.slot_wait_ns\n",
            "        return since_ns + self.slot_wait_ns\n",
        ),
        seen="When a breaker has closed, most of what waited for it is refused at once for want of a slot.",
        world="A bulkhead with a wait, and a line that has waited for the breaker, or for the quota, before.",
    ),
    stranger(
        "a-herd-where-it-is-disabled",
        STAGE,
        "Those that wait resume at a pace once the breaker has closed.",
        (
            "        if transition.ends_refusal and host in self._lines:\n",
            "        closes = transition.to_state is BreakerState.CLOSED\n"
            "        if transition.ends_refusal and closes and host in self._lines:\n",
        ),
        seen="All that wait at an open breaker go at one instant when an operator disables it.",
        world="A breaker that is open, or was forced open, with some waiting; an operator's disable or metrics-only.",
    ),
    stranger(
        "a-primary-by-itself-has-no-name",
        STAGE,
        "A lane has the name of its provider.",
        (
            "            if order.provider in (None, lane.provider_name)\n",
            "            if order.provider in (None, lane.provider)\n",
        ),
        seen="An operator's order to the breaker of `primary` does nothing.",
        world="A channel with one provider, and an order that names it.",
    ),
    stranger(
        "dropped-while-a-backup-is-only-full",
        STAGE,
        "What exceeds a quota that drops is dropped.",
        (
            "        if BlockReason.QUOTA in reasons and reasons <= _SHUT_OR_OVER_QUOTA:\n",
            "        if BlockReason.QUOTA in reasons:\n",
        ),
        seen="Notifications are dead-lettered for the rate limit of one provider that another would take in a moment.",
        world="Failover, a quota with on_limit: drop at one provider, and a bulkhead that is full at the other.",
    ),
    stranger(
        "back-from-its-tenant-and-new-to-its-user",
        TENANTS,
        "What is sent back has not gone, so it has taken nothing of anybody's limit.",
        ("    is_charged_here = True\n\n", ""),
        seen="A notification counts twice under its user's limit, so that others of the user wait or are dropped.",
        world="A user's limit, bounds of a tenant at which attempts wait, and quiet hours that begin meanwhile.",
    ),
)

IN_LANES = (
    stranger(
        "those-of-no-tenant-are-one",
        LANE,
        "A key is a key, and so is none.",
        (
            "        if self._held is None or key == WHOLE_LANE or (slots := self.slots) is None:\n",
            "        if self._held is None or (slots := self.slots) is None:\n",
        ),
        seen="All notifications without a tenant get a quarter of the slots together while one with a tenant waits.",
        world="A bulkhead with fair_by: tenant (or host, with addresses that have none), and load with and without.",
    ),
    stranger(
        "time-outs-leave-the-limit-alone",
        LANE,
        "What has not been answered tells nothing of how long an answer takes.",
        (
            "        if self._concurrency is not None and (answered or throttled or isinstance(outcome, Ambiguous)):\n",
            "        if self._concurrency is not None and (answered or throttled):\n",
        ),
        seen="The concurrency limit stays high while a provider hangs.",
        world="A concurrency limit, and attempts that time out or whose replies are lost.",
    ),
    stranger(
        "the-limit-that-adapts-knows-best",
        LANE,
        "Where a limit adapts itself it takes the place of the fixed one.",
        (
            "        return self._concurrency.limit if self._slots is None else "
            "min(self._slots, self._concurrency.limit)\n",
            "        return self._concurrency.limit\n",
        ),
        seen="More attempts are under way than max_in_flight allows, or than there are connections.",
        world="A concurrency limit beside max_in_flight or connections, and load beyond these.",
    ),
    stranger(
        "no-lane-was-ever-served",
        QUOTAS,
        "That one was let through is counted by the account.",
        ("            self._served = self._account.turn\n", ""),
        seen="Of channels that share an account and all have some waiting, one gets nearly all of its quota.",
        world="A quota of an account that is too small for the channels that share it.",
    ),
    stranger(
        "a-short-way-past-the-throttle",
        LANE,
        "The short way is for lanes without bounds.",
        (
            "        self.is_plain = self.breaker is not None and not self._has_bounds and not self.adapts\n",
            "        self.is_plain = self.breaker is not None and not self._has_bounds\n",
        ),
        seen="An adaptive throttle refuses nothing.",
        world="A channel with one provider, an adaptive throttle and no other bound, and an overload.",
    ),
)

IN_POLICIES = (
    stranger(
        "a-look-forgets-the-older-half",
        RATE_WINDOWS,
        "What is remembered of a key is among the recent ones.",
        (
            "        log = self._recent.get(key) or self._older.get(key)\n",
            "        log = self._recent.get(key)\n",
        ),
        seen="Now and then a user gets more than the longer of several limits allows.",
        world="Several rates for each user by a sliding window, and several users.",
    ),
    stranger(
        "its-kind-before-its-reason",
        RETRY_POLICY,
        "Each kind of failure has its rule; where there is none a reason may have one.",
        (
            "        if (rule := self._by_reason.get(outcome.reason)) is not None:\n"
            "            return rule\n"
            "        return self._by_kind.get(failure_kind(outcome), self._general)\n",
            "        if (rule := self._by_kind.get(failure_kind(outcome))) is not None:\n"
            "            return rule\n"
            "        return self._by_reason.get(outcome.reason, self._general)\n",
        ),
        seen="What fails for a reason with settings of its own is retried as all failures of its kind.",
        world="Retry settings by outcome and by reason on the same channel, and a failure that both are of.",
    ),
    stranger(
        "half-of-the-nodes-is-a-quorum",
        SHARING,
        "More than half, rounded.",
        (
            "        return self.nodes // 2 + 1 if self._is_quorum else 1\n",
            "        return (self.nodes + 1) // 2 if self._is_quorum else 1\n",
        ),
        seen="A node's breaker is opened by exactly half of the nodes; of two nodes, by the other one.",
        world="An even number of nodes with a breaker shared by quorum, of which half cannot reach the provider.",
    ),
    stranger(
        "who-fails-is-not-slow",
        TRIPPING,
        "A slow call is one that succeeds, and too late.",
        (
            "        self._record(now_ns, True, duration_ns > self._slow_ns, duration_ns)\n",
            "        self._record(now_ns, True, False, duration_ns)\n",
        ),
        seen="A breaker stays closed while most calls are slow, if some of them time out.",
        world="A breaker with slow_call and a high failure rate, and a provider that is slow and hangs now and then.",
    ),
    stranger(
        "those-that-pass-by-hold-up-the-line",
        RESUMING,
        "The ceiling holds for all that go, so the next waits until it allows one.",
        (
            "        allowed_ns = min(self._free_ns, self.latest_ns + self._longest_ns)\n",
            "        allowed_ns = self._free_ns\n",
        ),
        seen="What is to resume after a restart resumes more slowly than resume_rate, or not while others come.",
        world="A restart with much that is due, and new ones that come faster than resume_rate_max.",
    ),
)

IN_CHANNELS_AND_HEDGING = (
    stranger(
        "the-end-of-all-copies-is-one-more-failure",
        HEDGING,
        "The budget hears of each copy, and of the attempt as of any other.",
        (
            "            admitted = msgspec.structs.replace(admitted, hedges=flight.sent - 1, counted=has_failed)\n",
            "            admitted = msgspec.structs.replace(admitted, hedges=flight.sent - 1)\n",
        ),
        seen="A budget is used up sooner: a hedged attempt that fails takes one token more than it has sends.",
        world="Hedging, a grpc budget, and attempts of which all copies fail.",
    ),
    stranger(
        "as-many-copies-as-are-asked-for",
        HEDGING_SCHEDULE,
        "What is set is what is meant.",
        (
            "        self._most = min(config.max_attempts, MOST_SENDS)\n",
            "        self._most = config.max_attempts\n",
        ),
        seen="An attempt is sent more than five times.",
        world="Hedging with max_attempts above 5, and a provider that is slow or fails.",
    ),
    stranger(
        "a-copy-without-an-answer-decides",
        HEDGING,
        "What may have been sent is not to be sent again.",
        (
            "        elif isinstance(outcome, (Transient, Ambiguous)):\n            self._settle(copy, False)\n",
            "        elif isinstance(outcome, Transient):\n            self._settle(copy, False)\n",
        ),
        seen="A grpc budget lasts through time-outs, as these cost nothing; and an ambiguous answer ends other copies.",
        world="Hedging, a grpc budget, and attempts that time out; or an answer that is ambiguous while a copy is out.",
    ),
    stranger(
        "the-first-failure-speaks-for-all",
        HEDGING,
        "Why an attempt has failed is known by the first answer.",
        (
            "        flight.failure, pushback = outcome, None\n",
            "        pushback = None\n        if flight.failure is TIMED_OUT:\n            flight.failure = outcome\n",
        ),
        seen="An attempt whose last copy was throttled trips the breaker, and is tried again before its Retry-After.",
        world="Hedging, and copies that fail in different ways, as where failures and throttling meet.",
    ),
)

IN_ALERTS_AND_LETTERS = (
    stranger(
        "out-of-time-and-left-to-people",
        REDRIVER,
        "A letter has died of its latest failure if that is its reason.",
        (
            "    if latest.throttled or letter.failure_reason not in (latest.given_up, RETRY_TIME_UP):\n",
            "    if latest.throttled or letter.failure_reason != latest.given_up:\n",
        ),
        seen="Of the dead letters of an outage those whose time for retries ended in a line are not redriven.",
        world="Redrive without an operator, max_elapsed, and retries that wait for a breaker until that is over.",
    ),
    stranger(
        "shut-where-one-of-two-is",
        REDRIVER,
        "A host whose breaker is open is not redriven to.",
        (
            "        return all(lane.is_shut(host, now_ns) for lane in self._lanes)\n",
            "        return any(lane.is_shut(host, now_ns) for lane in self._lanes)\n",
        ),
        seen="Letters stay dead though their provider is back, as the breaker of the backup is still open.",
        world="Failover, redrive without an operator, and an outage of both from which one recovers first.",
    ),
    stranger(
        "too-old-by-the-time-it-was-alive",
        QUEUE,
        "A letter is as old as its notification.",
        (
            "        age_ns = self.epoch_ns + self.now_ns - letter.epoch_ns - letter.moved_at_ns\n",
            "        age_ns = self.epoch_ns + self.now_ns - letter.epoch_ns - letter.requested_at_ns\n",
        ),
        seen="Letters that were retried for long before they died stay in the queue when their provider is back.",
        world="Redrive without an operator with a max_age that is not much longer than retries take.",
    ),
    stranger(
        "refused-as-served-and-gone",
        HANDLER,
        "What is not redriven stays where it is.",
        (
            "        self._wiring.redrives.taken.discard(letter.notification_id)\n",
            "",
        ),
        (
            "        delivery = redriven(",
            "        self._wiring.redrives.taken.discard(letter.notification_id)\n        delivery = redriven(",
        ),
        seen="A letter is missing in the queue, and is neither listed, discarded nor redriven, until a restart.",
        world="All redriven at once, among them a letter and that of its fallback.",
    ),
)

IN_STORES = (
    stranger(
        "a-look-at-the-lease-is-not-remembered",
        SHARED_MEMORY,
        "Looking at a lease changes nothing.",
        ("        self._was_refused |= not holds\n", ""),
        seen="What a node kept back when its lease had ended waits for ever, though it holds again.",
        world="Nodes, and a partition that ends after nine tenths of takeover_after and before all of it.",
    ),
    stranger(
        "a-letter-of-another-time",
        MEMORY,
        "A notification is a dead letter, or it is not.",
        (
            "        return entry is not None and moved_ns in (None, entry.since_ns)\n",
            "        return entry is not None\n",
        ),
        seen="One that was redriven, and has died again, is redriven once more by an order from before.",
        world="Redrives that wait for room or for the store, and a queue that restarts or a second node.",
    ),
    stranger(
        "what-was-taken-back-still-stands",
        SHARED_MEMORY,
        "What a node says lapses by itself.",
        (
            "            self.votes[number, breaker, host] = until_ns\n"
            "        else:\n"
            "            self.votes.pop((number, breaker, host), None)\n",
            "            self.votes[number, breaker, host] = until_ns\n",
        ),
        seen="A node that starts finds its breaker opened by others whose breakers an operator has closed.",
        world="A shared breaker that is open, an operator's order, and a node that starts within the old open time.",
    ),
    stranger(
        "back-among-the-nodes-of-before",
        SHARED_MEMORY,
        "What a node has not heard it hears when it is back.",
        (
            "        self.count_living()\n        unheard, self._unheard",
            "        unheard, self._unheard",
        ),
        seen="A node goes on with the part of a quota, and the votes, of a fleet that is not so any more.",
        world="A partition of one node, another one that comes or goes meanwhile, and a quota or breaker in common.",
    ),
)

IN_SUPERVISION = (
    stranger(
        "begins-with-an-empty-mailbox",
        SUPERVISION,
        "An actor that starts again is as new.",
        (
            "                self._reset(actor)\n",
            "                self._reset(actor)\n"
            "                inbox_of(actor).queue.clear()\n"
            "                inbox_of(actor).deferred = 0\n",
        ),
        seen="What comes while an actor is down is lost: notifications stay in flight for ever.",
        world="An actor that crashes and comes back after a while under load.",
    ),
    stranger(
        "flushed-and-still-on-its-way",
        TENANTS,
        "What waits is in the lines, and they are cleared.",
        ("        self._on_their_way.flush()\n", ""),
        seen="After a crash a tenant gets fewer attempts at once than its bound allows, or none at all any more.",
        world="A bound of attempts by tenant, some of which wait further along, and a crash of the handler or a stage.",
    ),
    stranger(
        "sent-anew-beside-what-waits",
        HANDLER,
        "A stage that has crashed has nothing that waits any more.",
        (
            "                self._flush_stages(stages)\n                for delivery in list(",
            "                for delivery in list(",
        ),
        seen="After a crash of one stage what waits in another one is sent twice.",
        world="A crash of the limiter or of a channel's actor while some wait for the breaker, the quota or a slot.",
    ),
    stranger(
        "at-once-is-no-time",
        SUPERVISION,
        "Without a time for its restart an actor is restarted as its supervision says.",
        (
            "            if restart_after_ns is None:\n                doublings",
            "            if not restart_after_ns:\n                doublings",
        ),
        seen="An actor that is to come back at once comes back a tenth of a second later, and later each time.",
        world="A crash of an actor with restart_after: 0s.",
    ),
)

IN_THE_KERNEL = (
    stranger(
        "a-timer-for-the-past-is-in-the-past",
        SIMULATED_SYSTEM,
        "Timers are set for instants to come.",
        (
            "        heappush(self._queue, (instant_ns if instant_ns > now_ns else now_ns, priority, ",
            "        heappush(self._queue, (instant_ns, priority, ",
        ),
        seen="The clock goes back, and attempts start before the failure that they follow was written down.",
        world="A wait that is over when it is set, as that of a retry which is shorter than the store's latency.",
    ),
    stranger(
        "flaps-since-the-run-began",
        CONDITIONS,
        "Up comes first, and then down, and so on.",
        (
            "        return (now_ns - self._start_ns) % self._cycle_ns >= self._up_ns\n",
            "        return now_ns % self._cycle_ns >= self._up_ns\n",
        ),
        seen="A provider that flaps may be down when the window of the fault begins, and is up at other times.",
        world="A flap whose window does not begin with the run, nor a whole number of its cycles after that.",
    ),
    stranger(
        "answers-come-once-and-in-time",
        MESSAGE_FAULTS,
        "A message that carries an attempt has it as its own.",
        (
            "    carrier = content.request if type(content) is Performed else content\n",
            "    carrier = content\n",
        ),
        seen="What providers answer never comes late or twice, whatever the faults say.",
        world="Messages that come twice or late.",
    ),
    stranger(
        "a-fault-that-adds-capacity",
        CONDITIONS,
        "In its window a fault's capacity is the provider's.",
        (
            "        steps.append((edge_ns, min(usual, injected[-1]) if injected else usual))\n",
            "        steps.append((edge_ns, injected[-1] if injected else usual))\n",
        ),
        seen="A provider works on more at once than its own capacity while something is wrong with it.",
        world="A fault with a capacity above that of the provider itself.",
    ),
)
