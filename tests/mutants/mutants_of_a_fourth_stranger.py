"""Forty more mistakes by somebody who has not seen what is to find them: from the product and its specification.

As those of the other strangers they are no part of the default hunt, and none of them was tried before all were there.
What was planted before was known by its name alone. Many are where features meet: fallbacks and time limits, redrives
without an operator and hosts, quotas and nodes, breakers that are shared and operators' orders, endpoints and restarts.
"""

from __future__ import annotations

from mutants_of_a_second_stranger import MEMORY
from mutants_of_a_stranger import HANDLER, HEDGING, LANE, QUEUE, STAGE, SUPERVISION, stranger
from mutants_of_a_third_stranger import BREAKER, REDRIVER, RETRY, SERVICE, SHARED_MEMORY, SIMULATED_SYSTEM

BUDGETS = "actors/policies/retry/budgets.py"
DELIVERY = "actors/domain/delivery.py"
INSTANTS = "actors/instants.py"
PROMISES = "actors/kernel/promises.py"
QUOTAS = "actors/pipeline/quotas.py"
READINESS = "actors/pipeline/readiness.py"
RECOVERY = "actors/policies/breaker/recovery.py"
REDRIVING = "actors/policies/redriving.py"
SQLITE_READING = "actors/storage/sqlite/reading.py"
TENANTS = "actors/pipeline/tenants.py"
WAITING_LINE = "actors/pipeline/waiting_line.py"
WINDOWS = "actors/policies/breaker/windows.py"

IN_THE_HANDLER = (
    stranger(
        "the-time-before-a-fallback-begins-anew",
        HANDLER,
        "Each attempt has its time on this channel.",
        (
            "        if self._fallbacks is not None and delivery.falls_back_ns is None:\n",
            "        if self._fallbacks is not None:\n",
        ),
        seen="What is to fall back after a while is retried for longer first, and comes too late on the other channel.",
        world="A fallback after a time, and retries within it that fail.",
    ),
    stranger(
        "sends-again-what-is-on-other-channels",
        HANDLER,
        "Whatever is under way is sent again when a stage has lost its state.",
        (
            "                    if delivery.current is not None and delivery.command.channel == channel:\n",
            "                    if delivery.current is not None:\n",
        ),
        seen="A crash on one channel has what is at the providers of all others sent there once more.",
        world="A stage that crashes while another channel has attempts under way.",
    ),
    stranger(
        "sent-anew-and-set-out-twice",
        HANDLER,
        "What is sent sets out.",
        (
            "        if self._budgets is not None and delivery.current is None:"
            "  # else it is sent again, and is under way already\n",
            "        if self._budgets is not None:\n",
        ),
        seen="After a stage has crashed a retry budget lets more through: those sent again count twice, some for good.",
        world="A stage that crashes with attempts under way, and a budget that is a share of what sets out.",
    ),
    stranger(
        "critical-ones-go-to-a-disabled-endpoint",
        READINESS,
        "Critical ones pass whatever keeps others back.",
        (
            "        if self._preferences is None or command.critical:\n"
            "            return self._undeliverable(command) if self._disabled else None\n",
            "        if command.critical:\n"
            "            return None\n"
            "        if self._preferences is None:\n"
            "            return self._undeliverable(command) if self._disabled else None\n",
        ),
        (
            "        if self._disabled and self._endpoints.is_disabled(command):\n",
            "        if self._disabled and not command.critical and self._endpoints.is_disabled(command):\n",
        ),
        seen="Critical ones are sent to an endpoint that is disabled, and fail there until they are dead letters.",
        world="Endpoints that are disabled, and critical notifications to them.",
    ),
    stranger(
        "called-expired-when-its-retry-time-is-up",
        HANDLER,
        "The stage has said why.",
        (
            "            is_expired = rejected.reason == EXPIRED\n"
            "            reason = self._retries.reason_of_expiry(delivery) if is_expired else rejected.reason\n"
            "            self._dead_letter(delivery, reason)\n",
            "            self._dead_letter(delivery, rejected.reason)\n",
        ),
        seen="A dead letter says that it has expired, where the time for retries was up while it waited in a line.",
        world="A time for retries, and a retry that still waits for a limit, a slot or a breaker when it ends.",
    ),
)

IN_STAGES = (
    stranger(
        "given-up-as-its-breaker-opens-too-late",
        STAGE,
        "One that expires before the first of its line may go has nothing to wait for.",
        (
            "        if line.is_up_to_time and is_too_late(attempt, self._resumes_at_ns(line)):\n",
            "        if is_too_late(attempt, self._resumes_at_ns(line)):\n",
        ),
        seen="Behind an open breaker a notification is dead-lettered at once, though it has time left and an operator "
        "may close the breaker before.",
        world="A breaker whose open time is longer than what is left to notifications that join those that wait.",
    ),
    stranger(
        "what-others-say-moves-no-line",
        STAGE,
        "The breaker has heard it, and its line finds out when it asks.",
        ("        self._look_after((heard.host,))\n", ""),
        seen="Those that wait when others open a breaker are told of it late, and late to go when they take it back.",
        world="Nodes that share a breaker, and a line that waits for a slot when one of them says that it is open.",
    ),
    stranger(
        "retries-pass-the-bounds-of-their-tenant",
        TENANTS,
        "A notification is counted once, as by the limit of its user.",
        (
            "        if tenant == NO_KEY:\n            self._to_next(attempt)\n",
            "        if tenant == NO_KEY or attempt.charged:\n            self._to_next(attempt)\n",
        ),
        seen="A tenant has more under way than it may, and goes faster, as soon as it retries.",
        world="A channel with bounds of tenants, and failures.",
    ),
    stranger(
        "busy-backup-and-nothing-is-told",
        STAGE,
        "A wait for a slot is not reported.",
        (
            "    if reasons == {BlockReason.SLOT}:\n        return None\n",
            "    if BlockReason.SLOT in reasons:\n        return None\n",
        ),
        seen="Nobody is told of a notification that waits for an open breaker or a quota, if another provider is busy.",
        world="Two providers, one behind an open breaker or over its quota, the other with all slots taken.",
    ),
    stranger(
        "counted-where-it-has-waited-before",
        WAITING_LINE,
        "A line that waits for something else is counted there from then on.",
        (
            "            self._waiting.change(-self.size)\n            waiting.change(self.size)\n",
            "            waiting.change(self.size)\n",
        ),
        seen="How many wait is too high for what a line has waited for before, and never falls; so is the peak.",
        world="A line that waits for a slot or the quota, and then for a breaker, or the other way round.",
    ),
)

IN_LANES = (
    stranger(
        "told-to-slow-down-and-taken-for-accepted",
        LANE,
        "A provider that answers is not overloaded.",
        (
            "        if self._throttle is not None and answered:\n",
            "        if self._throttle is not None and (answered or throttled):\n",
        ),
        seen="The adaptive throttle refuses nothing, however many the provider refuses for coming too fast.",
        world="An adaptive throttle, and a provider that throttles.",
    ),
    stranger(
        "quota-spent-on-what-is-refused-here",
        LANE,
        "What has its permit goes.",
        (
            "        if self._throttle is not None and not self._throttle.admits(now_ns):\n"
            "            breaker.record_neutral(permit, now_ns)\n"
            "            return _THROTTLED\n"
            "        if self._rates:\n"
            "            self.charge(now_ns)\n",
            "        if self._rates:\n"
            "            self.charge(now_ns)\n"
            "        if self._throttle is not None and not self._throttle.admits(now_ns):\n"
            "            breaker.record_neutral(permit, now_ns)\n"
            "            return _THROTTLED\n",
        ),
        seen="Fewer go than the quota allows: what the adaptive throttle has refused is counted under it.",
        world="An adaptive throttle beside a quota or an adaptive rate, and a provider that fails.",
    ),
    stranger(
        "passes-on-what-it-was-told",
        LANE,
        "The others are to know of every breaker that opens.",
        (
            "_NO_NEWS = frozenset({BreakerEvent.OTHERS_OPEN, BreakerEvent.WAIT_OVER})\n",
            "_NO_NEWS = frozenset({BreakerEvent.WAIT_OVER})\n",
        ),
        seen="What one node says is said by all: a breaker stays open for what a node has said that is gone, "
        "though it is not heeded any more.",
        world="Nodes that share a breaker, of which one opens and dies, so that the others need not wait for it.",
    ),
    stranger(
        "a-new-part-of-a-quota-is-full",
        QUOTAS,
        "A part of another size is another limiter.",
        (
            "        before, self._limiter = self._limiter, make_limiter(self._config, nodes)\n"
            "        go_on_from(self._limiter, before, WHOLE, now_ns)\n",
            "        self._limiter = make_limiter(self._config, nodes)\n",
        ),
        seen="Each time that a node comes or goes, the others may send a burst more than the quota of all allows.",
        world="A quota across nodes that is used up, and a node that dies, is deployed, or is added.",
    ),
    stranger(
        "a-refusal-takes-no-time",
        LANE,
        "An address that is refused says nothing of the provider.",
        (
            "            breaker.record_reachable(permit, now_ns, duration_ns)\n",
            "            breaker.record_reachable(permit, now_ns)\n",
        ),
        seen="A provider that takes too long to refuse an address closes its breaker as a probe, as if it were quick.",
        world="A breaker that counts slow calls, and a probe that is refused for good after a long time.",
    ),
)

IN_POLICIES = (
    stranger(
        "a-ramp-begins-with-what-is-left-of-the-last",
        RECOVERY,
        "A ramp begins at its instant.",
        (
            '        """Start again at `now_ns`, with no credit."""\n'
            "        self._start_ns = now_ns\n"
            "        self._credit = 0\n",
            '        """Start again at `now_ns`."""\n        self._start_ns = now_ns\n',
        ),
        seen="When a breaker closes again, one more of the first calls of its ramp goes through than it should.",
        world="A ramp, and a breaker that opens during it and closes again.",
    ),
    stranger(
        "told-before-an-order-and-heeded-after-it",
        BREAKER,
        "An order changes the state, and what the others say is theirs.",
        (
            "        if self._votes is not None:\n"
            "            self._votes.clear()  # what it was told until now is decided\n",
            "",
        ),
        seen="An operator closes a breaker, and it opens again as soon as anything is heard of the nodes.",
        world="Nodes that share a breaker, an order to close it while others say it is open, and news after that.",
    ),
    stranger(
        "an-average-that-begins-with-a-good-past",
        WINDOWS,
        "An average moves from where it is.",
        ("        keep = self._keep if self.calls else 0.0\n", "        keep = self._keep\n"),
        seen="A provider that is down from the beginning, or goes on failing after its breaker has closed, is called "
        "too often before that opens.",
        world="A breaker with a moving average whose first call fails.",
    ),
    stranger(
        "backoff-begins-anew-after-a-restart",
        RETRY,
        "What has to be known of the past is how many attempts are used up.",
        (
            "        progress.attempts += 1\n"
            "        progress.step += 1\n"
            "        progress.memory_ns = rule.backoff.remembered(waited_ns)\n",
            "        progress.attempts += 1\n        progress.memory_ns = rule.backoff.remembered(waited_ns)\n",
        ),
        seen="After a restart the waits between retries begin with the shortest again.",
        world="A notification that has failed, a crash of the handler or the process, and another failure of it.",
    ),
    stranger(
        "a-clean-success-gives-nothing-back",
        BUDGETS,
        "A success gives back what it has cost.",
        (
            "            self.give_back(charge or 1, now_ns)\n",
            "            self.give_back(charge, now_ns)\n",
        ),
        seen="A budget that an outage has used up never recovers, and nothing is retried any more.",
        world="A budget of kind aws that is used up, successes at the first attempt, and more failures.",
    ),
)

IN_CHANNELS_AND_HEDGING = (
    stranger(
        "one-no-is-not-for-good",
        HEDGING,
        "A copy that may not go now may go later.",
        (
            "        if copy is None:\n            flight.gets_more = False\n            self._plan(flight, None)\n",
            "        if copy is None:\n            self._plan(flight, None)\n",
        ),
        seen="An attempt whose copy was held back by a breaker, a quota or the budget gets one after all as it fails, "
        "where the handler's retry would have waited.",
        world="A copy that something speaks against, and a failure of the first one when nothing does any more.",
    ),
    stranger(
        "pays-for-a-copy-that-does-not-go",
        HEDGING,
        "All that a copy needs is asked one after the other.",
        ("        if lane.rates_allow_at_ns(now_ns) != now_ns:\n            return None\n", ""),
        (
            "            budget.start(charge, now_ns)\n        lane.charge(now_ns)\n",
            "            budget.start(charge, now_ns)\n"
            "        if lane.rates_allow_at_ns(now_ns) != now_ns:\n"
            "            return None\n"
            "        lane.charge(now_ns)\n",
        ),
        seen="Copies that the quota holds back use up the retry budget, and retries are given up for it.",
        world="Hedging, a quota or an adaptive rate that is used up when a copy is due, and a retry budget.",
    ),
    stranger(
        "the-losers-have-failed",
        HEDGING,
        "A copy that was cancelled has not succeeded.",
        (
            "            copy.effect.cancel()\n            self._settle(copy, None)\n",
            "            copy.effect.cancel()\n            self._settle(copy, False)\n",
        ),
        seen="Each attempt that is answered before its copy takes a token, and a healthy channel runs out of retries.",
        world="Hedging, and a budget of kind grpc that is nearly half empty.",
    ),
    stranger(
        "copies-of-a-failure-cost-nothing",
        HEDGING,
        "Copies are told of with the one that has arrived.",
        ("hedges=flight.sent - 1, counted", "hedges=(flight.sent - 1) * (type(outcome) is Sent), counted"),
        seen="Requests and what they cost are counted too low: the copies of attempts that fail are missing.",
        world="Hedging, and an attempt that fails with all its copies, or for good.",
    ),
)

IN_ALERTS_AND_LETTERS = (
    stranger(
        "every-node-pages",
        QUEUE,
        "A dead letter is taken in the same way wherever it comes from.",
        (
            "            self._take_in(letter)\n        self._look_at_bounds()\n",
            "            if self._store.is_dead_letter(letter.notification_id):\n"
            "                self.on_dead_letter(letter)\n        self._look_at_bounds()\n",
        ),
        seen="The same dead letter alerts people once from each node.",
        world="Several nodes, and dead letters.",
    ),
    stranger(
        "redrives-what-has-expired",
        REDRIVER,
        "What an outage has kept from being sent is sent when the provider is back.",
        (
            "    if not letter.history or letter.failure_reason == EXPIRED:\n",
            "    if not letter.history:\n",
        ),
        seen="What nobody wants any more is sent all the same, as a breaker has closed.",
        world="Redrives without an operator, and a failure after which the next retry would have come too late.",
    ),
    stranger(
        "one-host-until-it-is-done",
        REDRIVING,
        "The first host goes on until it has no more.",
        (
            "            del self._due[host]\n            if letters:\n                self._due[host] = letters\n",
            "            if not letters:\n                del self._due[host]\n",
        ),
        seen="All other hosts wait until the last dead letter of the first one is redriven.",
        world="Redrives without an operator, breakers per host, and letters to several hosts that are due together.",
    ),
    stranger(
        "redrives-without-a-count",
        DELIVERY,
        "How often it was redriven is in its history.",
        (
            "    delivery.note_redrive(changes, without_operator)\n",
            "    delivery.note_redrive(changes, without_operator=False)\n",
        ),
        seen="The same dead letter is redriven each time that the breaker closes, more often than it may be.",
        world="Redrives without an operator of what fails each time, with no restart in between.",
    ),
)

IN_STORES = (
    stranger(
        "the-id-of-a-dead-letter-lapses",
        MEMORY,
        "An id is remembered for its time from the end on.",
        (
            "            self.remembered.keep(entry.command)\n",
            "            self.remembered.add(entry.command, event.epoch_ns + event.at_ns)\n",
        ),
        seen="A notification that lies in the dead letter queue is accepted once more, and may be sent twice.",
        world="A dead letter that is older than ids are remembered for, and its id again.",
    ),
    stranger(
        "a-dead-letter-keeps-its-owner",
        SHARED_MEMORY,
        "A dead letter has not ended.",
        (
            "_ENDS = frozenset({NotificationSent, NotificationSuppressed, NotificationMovedToDeadLetter, "
            "DeadLetterDiscarded})\n",
            "_ENDS = frozenset({NotificationSent, NotificationSuppressed, DeadLetterDiscarded})\n",
        ),
        seen="A dead letter whose fallback has died too is called served, and no redrive takes it.",
        world="Nodes, and a fallback that is dead-lettered as well; then a redrive.",
    ),
    stranger(
        "told-late-and-open-for-longer",
        SHARED_MEMORY,
        "It is open for so long from when the others hear of it.",
        (
            "partial(self._is_known, number, breaker, host, now_ns + open_ns, now_ns)",
            "partial(self._is_known, number, breaker, host, known_ns + open_ns, now_ns)",
        ),
        seen="The other nodes keep a breaker open for longer than the one that has opened it.",
        world="Nodes that share a breaker, and news that take a while.",
    ),
    stranger(
        "disabled-again-by-a-restart",
        SQLITE_READING,
        "What is in the file is added to what the histories say.",
        ("        self.endpoints.clear()  # of those that resulted from it, some have been enabled\n", ""),
        seen="An endpoint that was enabled again is disabled after a restart, or has its clock back.",
        world="A store on disk, a dead letter of a disabled endpoint, that endpoint enabled, and a restart.",
    ),
)

IN_SUPERVISION = (
    stranger(
        "drains-and-gets-more",
        SERVICE,
        "A node gets what arrives for as long as it is there.",
        (
            "for each in living if not each.is_draining and self._has_lease(each)] or living\n",
            "for each in living if self._has_lease(each)] or living\n",
        ),
        seen="A node that is about to stop gets more and more, and the others have to take it over.",
        world="Nodes that are deployed or become fewer, with a time to drain.",
    ),
    stranger(
        "handed-to-one-that-is-leaving",
        SERVICE,
        "Whoever is there takes over.",
        (
            "            for process in self._ready\n            if process.node is not None",
            "            for process in self.living\n            if process.node is not None",
        ),
        seen="What a dead node had is handed to one that stops in a moment, and is late twice.",
        world="A node whose lease ends while another one drains.",
    ),
    stranger(
        "clients-of-a-dead-process-wait-for-ever",
        SERVICE,
        "Clients are told by the bus that they have subscribed to.",
        (
            "                for clients in self._clients:\n"
            "                    process.pipeline.bus.subscribe(*ENDS)(clients.tell)\n",
            "",
        ),
        seen="After a crash each client sends once more and then nothing, so the load of a closed workload is gone.",
        world="Clients, and a crash of the process.",
    ),
    stranger(
        "redrives-end-with-the-queue",
        QUEUE,
        "A queue that starts waits for a breaker to close.",
        ("        self._redrive_all()\n\n    def _take_in(", "\n    def _take_in("),
        seen="After a crash of the queue, or of its process, the dead letters whose turn was still to come stay.",
        world="Redrives without an operator at a low rate, and a crash of the queue while they go on.",
    ),
)

IN_THE_KERNEL = (
    stranger(
        "kept-at-the-time-out-and-too-late",
        PROMISES,
        "When the time is up there is no answer.",
        (
            "system._call_behind(self._started_ns + timeout_ns,",
            "system.call_at(self._started_ns + timeout_ns,",
        ),
        seen="An answer at the very instant of the time-out does not count, though it does with other providers.",
        world="A provider with a discipline or an upstream that answers at the instant of the time-out.",
    ),
    stranger(
        "took-as-long-as-it-would-have",
        SIMULATED_SYSTEM,
        "An effect ends when it would have ended.",
        (
            "started_ns=now_ns, ended_ns=ended_ns),\n            self._fire_callbacks,\n",
            "started_ns=now_ns, ended_ns=now_ns + effect.delay_ns),\n            self._fire_callbacks,\n",
        ),
        seen="What has timed out seems to have taken as long as the provider would have: limits that go by latency "
        "fall to their least, and quick time-outs are slow calls.",
        world="Attempts that time out, and a concurrency limit, or slow calls that are longer than the time-out.",
    ),
    stranger(
        "killed-and-still-listening",
        SUPERVISION,
        "An actor that has stopped takes no messages.",
        (
            "        actor.actor_stopped.set()\n"
            "        actor._accepting = NOTHING\n"
            "        inbox_of(actor).queue.clear()\n",
            "        actor.actor_stopped.set()\n        inbox_of(actor).queue.clear()\n",
        ),
        seen="Timers of a process that has died go off in it, and it sends what its successor sends too.",
        world="A crash of the process with anything that waits.",
    ),
    stranger(
        "nanoseconds-cut-off",
        INSTANTS,
        "Time is whole nanoseconds.",
        ("    return round(seconds * NS_PER_S)\n", "    return int(seconds * NS_PER_S)\n"),
        seen="What is written as 2.01 s is a nanosecond less: a breaker is asked, and a retry made, before its time.",
        world="Any time whose number of nanoseconds is a little below a whole one as a float.",
    ),
)
