"""Forty more mistakes by somebody who has not seen what is to find them: from the product and its specification.

As those of the other strangers they are no part of the default hunt, and none of them was tried before all were there.
What was planted before was known by its name alone. Many are where features meet: endpoints and a bulkhead, redrives
and room, partitions and paces, limits and quiet hours, nodes that come and go and what was said of breakers before.
"""

from __future__ import annotations

from mutants_of_a_fourth_stranger import PROMISES
from mutants_of_a_second_stranger import DEDUPLICATING, MEMORY, ORDER, ORDERS
from mutants_of_a_stranger import (
    DELIVERY,
    HANDLER,
    HEDGING,
    KEYED_LINES,
    LANE,
    QUEUE,
    STAGE,
    SUPERVISION,
    SYSTEM,
    stranger,
)
from mutants_of_a_third_stranger import BREAKER, RETRY, SHARED_MEMORY, SIMULATED_SYSTEM

CHANNEL = "actors/pipeline/channel.py"
MESSAGE_FAULTS = "simulation/engine/message_faults.py"
QUIET_HOURS = "actors/policies/quiet_hours.py"
RATE_WINDOWS = "actors/policies/rate_limit/windows.py"
REDRIVING = "actors/policies/redriving.py"
SHARED_BREAKERS = "actors/pipeline/shared_breakers.py"

IN_THE_HANDLER = (
    stranger(
        "refused-here-and-held-against-the-endpoint",
        HANDLER,
        "Each failed attempt says something of its endpoint.",
        (
            "        if admitted is not None and self._endpoints.is_on:\n",
            "        if self._endpoints.is_on:\n",
        ),
        seen="An endpoint is disabled for attempts that were turned away before anybody asked it.",
        world="Endpoints that may be disabled, and a breaker with when_open: fail, or a bulkhead that refuses.",
    ),
    stranger(
        "refused-and-the-next-in-line-is-not-asked",
        HANDLER,
        "A redrive that is refused has come to its end.",
        (
            "            redrive.refuse(is_served)\n            self._journal.take_up_next_redrive()\n",
            "            redrive.refuse(is_served)\n",
        ),
        seen="Redrives that wait for room stay where they are for good, though there is room by now.",
        world="No room at a redrive of all, of letters of which one serves another: a fallback that has died, too.",
    ),
    stranger(
        "back-from-a-partition-all-at-once",
        HANDLER,
        "What is held was about to be sent.",
        (
            "        self._resume(filter(self._may_go_on, self._held.release(self._deliveries)))\n",
            "        for delivery in filter(self._may_go_on, self._held.release(self._deliveries)):\n"
            "            self._take_up(delivery)\n",
        ),
        seen="When the store is back, the provider gets all at one instant that was due meanwhile, and not at a pace.",
        world="A partition of all nodes for longer than a lease, with retries that come due in it.",
    ),
    stranger(
        "a-fallback-has-what-was-left-of-its-first-channel",
        HANDLER,
        "A fallback has as much time as is left.",
        (
            "        command = self._fallbacks.instead_of(delivery.command, self.now_ns, delivery.expires_at_ns)\n",
            "        command = self._fallbacks.instead_of(delivery.command, self.now_ns, delivery.sent_until_ns)\n",
        ),
        seen="What its channel has not sent in the time before a fallback falls back to nowhere, or has no time there.",
        world="A fallback after a time.",
    ),
    stranger(
        "cancelled-in-the-backlog-and-sent-all-the-same",
        HANDLER,
        "What waits in the backlog is in flight.",
        (
            "            if self._may_go_on(delivery):\n"
            "                delivery.due_ns = None\n"
            "                self._prepare(delivery)\n",
            "            delivery.due_ns = None\n            self._prepare(delivery)\n",
        ),
        seen="What was cancelled after a restart is sent when its turn comes, and nothing says so.",
        world="A crash of the process with much that is due, and an order to cancel while that resumes.",
    ),
)

IN_STAGES = (
    stranger(
        "free-at-one-host-and-unheard-of-at-another",
        STAGE,
        "An answer is news for the line of its host.",
        (
            "            elif any(self._turns):\n"
            "                self._take_turns()\n"
            "                self._set_timer()\n",
            "",
        ),
        seen="Slots are free, and those at other hosts wait on, until something else comes along.",
        world="Breakers per host and a bulkhead, where the last to end is of a host at which nobody waits.",
    ),
    stranger(
        "nobody-else-was-there-when-it-set-out",
        STAGE,
        "How many are at a provider is looked at where they are counted.",
        (
            "                    attempt=attempt, permit=permit, lane=lane.number, provider=lane.provider,"
            " in_flight=lane.in_flight\n",
            "                    attempt=attempt, permit=permit, lane=lane.number, provider=lane.provider\n",
        ),
        seen="A concurrency limit stays where it began, however slow or fast the provider becomes.",
        world="A concurrency limit on a channel with a failover, breakers per host, or turns of users or tenants.",
    ),
    stranger(
        "one-sent-back-and-the-rest-of-the-line-stays",
        KEYED_LINES,
        "Where one is not wanted now, the others of its user are not.",
        (
            "charged=self.is_charged_here))\n                continue\n",
            "charged=self.is_charged_here))\n                break\n",
        ),
        seen="Those behind one that was sent back from a limit wait there for good, critical ones among them.",
        world="A limit for each user, a line at it into which quiet hours begin, and some in it that pass these.",
    ),
    stranger(
        "a-hedged-answer-is-taken-for-a-copy",
        DEDUPLICATING,
        "What comes back has the number with which it went.",
        (
            "        return msgspec.structs.replace(admitted, number=self._admissions)\n",
            "        return admitted\n",
        ),
        seen="Attempts of which a copy was sent, or that failed, never end, and keep their slots.",
        world="Hedging where messages come twice or late.",
    ),
    stranger(
        "let-through-by-order-and-all-at-once",
        STAGE,
        "They resume at a pace when the breaker closes.",
        (
            "        if transition.ends_refusal and host in self._lines:\n",
            "        if transition.to_state is BreakerState.CLOSED and host in self._lines:\n",
        ),
        seen="An operator who disables an open breaker sends all that wait for it to the provider at one instant.",
        world="An open breaker with a line, and an order of disable or metrics-only.",
    ),
)

IN_LANES = (
    stranger(
        "forced-open-and-full-is-full",
        LANE,
        "Room would not help one that waits for an open breaker.",
        (
            "        if breaker.state in NOT_CLOSED and not breaker.would_admit(now_ns):\n",
            "        if breaker.state is BreakerState.OPEN and not breaker.would_admit(now_ns):\n",
        ),
        seen="Behind a breaker that is forced open, or probes, attempts are refused as if it were for a slot.",
        world="All slots taken by slow attempts, a wait for slots, and a breaker that an operator forces open.",
    ),
    stranger(
        "a-quarter-of-three-slots-is-none",
        LANE,
        "A key has its share when it has a quarter of the slots.",
        (
            "        return self._held.get(key, 0) >= max(1, slots // 4)\n",
            "        return self._held.get(key, 0) >= slots // 4\n",
        ),
        seen="With fewer than four slots nothing goes any more as soon as several users wait.",
        world="A small bulkhead with turns of users, hosts or tenants.",
    ),
    stranger(
        "a-crash-ends-the-pace",
        LANE,
        "When the lines are dropped, nothing is left that a pace is for.",
        (
            "        for host, pace in self.paces.items():\n"
            "            if pace.next_ns < now_ns:\n"
            "                self.resume_paced(host, now_ns)\n",
            "        self.paces.clear()\n",
        ),
        seen="What was resuming behind a breaker that has closed goes all at once when an actor crashes.",
        world="A long line that resumes, and a crash of the limiter, breaker or channel in the midst of it.",
    ),
    stranger(
        "counts-the-living-when-it-is-done",
        LANE,
        "Breakers are told who lives; how many these are is for the next news.",
        (
            "            self._sharing.nodes = len(nodes)\n"
            "            for _, breaker in list(self.breakers()):\n"
            "                breaker.recount(nodes, now_ns)\n",
            "            for _, breaker in list(self.breakers()):\n"
            "                breaker.recount(nodes, now_ns)\n"
            "            self._sharing.nodes = len(nodes)\n",
        ),
        seen="When nodes die or come, those that say a breaker is open become a majority, or are none, and it stays.",
        world="A breaker shared by quorum, and nodes that leave or come while some say that theirs is open.",
    ),
    stranger(
        "a-wait-for-a-slot-is-no-wait",
        LANE,
        "With a wait, who finds no slot is refused.",
        (
            "        self._no_slot = _FULL if self.slot_wait_ns == 0 else _NO_SLOT\n",
            "        self._no_slot = _NO_SLOT if self.slot_wait_ns is None else _FULL\n",
        ),
        seen="With a wait for slots, attempts are refused at once when all are taken.",
        world="A bulkhead with a wait that is not 0.",
    ),
)

IN_POLICIES = (
    stranger(
        "last-seen-two-windows-ago-and-still-counted",
        RATE_WINDOWS,
        "What was the current window is the previous one now.",
        (
            "            self._previous = self._current if passed == 1 else {}\n",
            "            self._previous = self._current\n",
        ),
        seen="A user who was quiet for a long time is held back for what went before that.",
        world="A limit by sliding counter, and users who come back after more than two windows.",
    ),
    stranger(
        "overdue-probes-open-the-gate",
        BREAKER,
        "When probes are overdue, others may go in their place.",
        (
            "                self._probes.give_up_on_those_under_way()\n"
            "                self._changes_at_ns = now_ns + (self._half_open_ns or 0)\n",
            "                self._probes.give_up_on_those_under_way()\n",
        ),
        seen="A half-open breaker whose probe hangs lets everything through.",
        world="half_open_max with half_open_then: probe, and a provider that does not answer its probes in that time.",
    ),
    stranger(
        "the-kind-comes-before-the-reason",
        RETRY,
        "First what kind of failure it is, then which.",
        (
            "        if (rule := self._by_reason.get(outcome.reason)) is not None:\n",
            "        if (rule := self._by_kind.get(failure_kind(outcome))) is not None:\n",
        ),
        (
            "        return self._by_kind.get(failure_kind(outcome), self._general)\n",
            "        return self._by_reason.get(outcome.reason, self._general)\n",
        ),
        seen="A rule for the reason of a failure is passed over where there is one for its kind.",
        world="per_reason beside per_outcome, and a failure that both are of.",
    ),
    stranger(
        "the-clock-is-set-in-the-night",
        QUIET_HOURS,
        "Quiet hours are over when so much time has passed as is left on the clock.",
        (
            "            instant = self._first_change(instant, reached) or reached\n",
            "            instant = reached\n",
        ),
        seen="In the night in which the clock is put forward, quiet hours end an hour late.",
        world="Quiet hours in a zone with daylight saving, and a start on the eve of its beginning.",
    ),
    stranger(
        "credit-of-a-class-that-has-none-waiting",
        ORDER,
        "A class keeps what it has not used.",
        (
            "        keys.pop(flow[1], None)\n        if not keys:\n            self._credits[flow[0]] = 0.0\n",
            "        keys.pop(flow[1], None)\n",
        ),
        seen="In weighted order a class that was gone for a while goes many times in a row when it is back.",
        world="Weighted order, and an urgent class that comes in small bursts while others always wait.",
    ),
)

IN_CHANNELS_AND_HEDGING = (
    stranger(
        "each-copy-has-the-whole-time",
        HEDGING,
        "The timeout is that of a send.",
        (
            "        left_ns = flight.deadline_ns - now_ns\n",
            "",
        ),
        ("timeout_ns=left_ns, on_timeout=TIMED_OUT", "timeout_ns=self._timeout_ns, on_timeout=TIMED_OUT"),
        seen="Hedged attempts take longer than the timeout of their channel.",
        world="Hedging, and a provider that does not answer in time.",
    ),
    stranger(
        "cancelled-copies-are-still-under-way",
        HEDGING,
        "A copy that is cancelled has no outcome that a budget could want.",
        (
            "            copy.effect.cancel()\n            self._settle(copy, None)\n",
            "            copy.effect.cancel()\n",
        ),
        seen="A budget that counts what is under way allows fewer and fewer retries and copies, and then none.",
        world="Hedging with an envoy budget, and first sends that answer before their copies.",
    ),
    stranger(
        "what-has-waited-goes-without-a-lease",
        CHANNEL,
        "The handler has looked whether the lease holds.",
        (
            "        if self._lease_holds is not None and not self._lease_holds():\n"
            "            system.perform(self._breaker, _NOT_MADE, admitted)\n"
            "            return\n",
            "",
        ),
        seen="A node without its lease still asks the provider for what waits in its lines.",
        world="A partition for longer than a lease, and a line for a slot, the quota or a breaker when that ends.",
    ),
    stranger(
        "perhaps-sent-and-then-failed-is-failed",
        HEDGING,
        "The outcome of an attempt is that of its latest send.",
        (
            "            self._end(flight, flight.failure if flight.ambiguous is None else flight.ambiguous)\n",
            "            self._end(flight, flight.failure)\n",
        ),
        seen="What may have been sent counts as if it had not been, and is retried where that was to be avoided.",
        world="Hedging with other retries for what is ambiguous, and a copy that fails after an ambiguous send.",
    ),
)

IN_ALERTS_AND_LETTERS = (
    stranger(
        "a-rate-of-redrives-taken-for-a-wait",
        REDRIVING,
        "The rate is how far apart they are.",
        (
            "        self._interval_ns = ns(1 / config.rate.per_second)\n",
            "        self._interval_ns = ns(config.rate.per_second)\n",
        ),
        seen="What is to be redriven five times a second goes every five seconds, and once a minute is a herd.",
        world="Redrives without an operator at a rate other than one a second, of several letters.",
    ),
    stranger(
        "retention-ends-with-the-last-letter",
        QUEUE,
        "A timer that is cancelled does no harm.",
        (
            "            self._timer.cancel()  # one that an earlier incarnation set has fired\n"
            "            self._timer = None\n",
            "            self._timer.cancel()  # one that an earlier incarnation set has fired\n",
        ),
        seen="Once the queue has been emptied by its retention, later letters are kept for good.",
        world="Letters that are kept for a while, a time without any, and then more.",
    ),
    stranger(
        "edited-to-critical-and-still-waits-as-bulk",
        ORDERS,
        "A redrive is of the class of its letter.",
        (
            '        return Priority(self.edit.get("priority", self.letter.command.priority))\n',
            "        return self.letter.command.priority\n",
        ),
        seen="A letter of bulk that an operator makes critical waits for room, though there is some for critical ones.",
        world="Hardly any room for what is pending, and a redrive with another priority.",
    ),
    stranger(
        "what-a-dead-node-was-about-to-redrive-is-left",
        QUEUE,
        "Another node is gone: see whose turn it is.",
        (
            'is a dead letter, and at no node."""\n        self._redrive_all()\n',
            'is a dead letter, and at no node."""\n'
            "        for redriver in self._redrivers.values():\n"
            "            self._redrive_next(redriver)\n",
        ),
        seen="Letters that a node was redriving one by one stay in the queue when it ends, and nobody takes them up.",
        world="Several nodes, redrives without an operator, an outage that one node sees, which then goes for good.",
    ),
)

IN_STORES = (
    stranger(
        "delivered-and-forgotten-with-the-last-under-way",
        MEMORY,
        "A request is over when nothing of it is under way.",
        (
            "            self._requests.forget_unless(request, self._open_anywhere, self._dead)\n",
            "            self._requests.forget_unless(request, self._open_anywhere)\n",
        ),
        seen="Letters whose fallbacks were delivered are redriven, and their people reached twice.",
        world="Fallbacks that arrive, and a redrive of all, or one without an operator.",
    ),
    stranger(
        "given-up-before-its-redrive-and-again-after-a-crash",
        DELIVERY,
        "A redrive begins anew with its attempts.",
        (
            "                delivery.charged = True\n                delivery.given_up = None\n",
            "                delivery.charged = True\n",
        ),
        seen="What was redriven and has not failed since is dead-lettered when the process or its handler restarts.",
        world="A redrive, and a crash of the process or the handler before the next attempt has ended.",
    ),
    stranger(
        "the-dead-have-a-say-to-newcomers",
        SHARED_MEMORY,
        "What a node says of its breakers lapses by itself.",
        (
            "        self.votes = {key: until_ns for key, until_ns in self.votes.items() if key[0] in nodes}\n",
            "",
        ),
        seen="A node that starts opens its breaker for what was said by one that no longer lives.",
        world="Breakers that are shared, a node that goes while its own is open, and another that starts after that.",
    ),
    stranger(
        "included-by-order-and-served-when-it-is-written",
        SHARED_MEMORY,
        "A letter that is served by the time its redrive is durable is not redriven.",
        (
            "        is_served = redriven is not None and not redriven.include_served and"
            " self.is_served(notification_id)\n",
            "        is_served = redriven is not None and self.is_served(notification_id)\n",
        ),
        seen="A redrive that is told to take what is served takes none of it.",
        world="A store that takes its time, fallbacks that arrived, and a redrive with served: include.",
    ),
)

IN_SUPERVISION = (
    stranger(
        "crashes-with-a-time-of-their-own-do-not-count",
        SUPERVISION,
        "Restarts count where supervision has decided on them.",
        (
            "            actor._incarnation.restarts_ns.append(now_ns)\n            if restart_after_ns is None:\n",
            "            if restart_after_ns is None:\n                actor._incarnation.restarts_ns.append(now_ns)\n",
        ),
        seen="An actor that has crashed several times of late is restarted as soon as after its first crash.",
        world="Crashes of an actor within a minute, first some with restart_after and then one without.",
    ),
    stranger(
        "what-came-while-it-was-down-stays",
        SUPERVISION,
        "An actor that starts takes what comes.",
        (
            "        actor._accepting = actor._plain\n        self._system._take_up_deferred(actor)\n",
            "        actor._accepting = actor._plain\n",
        ),
        seen="What was told an actor while it was down lies in its mailbox; notifications never end.",
        world="A crash of any actor on their way, under load.",
    ),
    stranger(
        "starts-and-hears-nothing",
        SHARED_BREAKERS,
        "Nodes are told of what others say when they say it.",
        (
            "        for vote in store.said():\n            self.hear(vote)\n",
            "",
        ),
        seen="A node that starts in an outage finds it out for itself, though the others say that theirs are open.",
        world="Breakers that are shared, and a deploy, a crash of a process or more nodes while they are open.",
    ),
    stranger(
        "charged-to-a-budget-that-is-gone",
        HANDLER,
        "What is being written goes on as it was.",
        ("            commit.delivery.charge = 0  # the budget that it was charged to is gone\n", ""),
        seen="After a crash of the handler a retry budget lets more through than it may, for good.",
        world="A store that takes its time, a budget that counts what is under way, and a crash right after failures.",
    ),
)

IN_THE_KERNEL = (
    stranger(
        "comes-back-when-it-is-used-to",
        SYSTEM,
        "A crash is a failure like any other.",
        (
            "            return self._lifecycle.failed(actor, None, message.error, message.restart_after_ns)\n",
            "            return self._lifecycle.failed(actor, None, message.error)\n",
        ),
        seen="An actor that is to be gone for a while is back after a tenth of a second.",
        world="A crash of an actor with restart_after.",
    ),
    stranger(
        "began-when-it-ended",
        PROMISES,
        "A promise is performed when it is kept.",
        (
            "result=result, started_ns=self._started_ns, ended_ns=system.now_ns)",
            "result=result, started_ns=system.now_ns, ended_ns=system.now_ns)",
        ),
        seen="Attempts at some providers take no time: they start when they end, and none is ever a slow call.",
        world="A provider with an upstream, or with a capacity whose discipline is not fifo.",
    ),
    stranger(
        "gone-back-to-when-it-was-due",
        SIMULATED_SYSTEM,
        "Nobody sets a timer for an instant that is past.",
        (
            "        heappush(self._queue, (instant_ns if instant_ns > now_ns else now_ns, priority, "
            "next(self._event_ids), timer))\n",
            "        heappush(self._queue, (instant_ns, priority, next(self._event_ids), timer))\n",
        ),
        seen="A retry that was due before its failure had been written sets the clock of the run back to then.",
        world="A store that takes longer for a commit than a retry waits.",
    ),
    stranger(
        "copies-are-as-late-as-their-message",
        MESSAGE_FAULTS,
        "A message is late, and so are its copies.",
        (
            "        return [sum(ns(window.delay()) for window in open_ if window.delay is not None)"
            " for _ in range(1 + copies)]\n",
            "        late_ns = sum(ns(window.delay()) for window in open_ if window.delay is not None)\n"
            "        return [late_ns] * (1 + copies)\n",
        ),
        seen="Copies always come together with their messages, so that nothing comes between, or before them.",
        world="Messages that come twice and late.",
    ),
)
