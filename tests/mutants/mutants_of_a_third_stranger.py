"""Forty more mistakes by somebody who has not seen what is to find them: from the product, its guides and what is new.

New since the second stranger are nodes with takeover and shared breakers, endpoints that are disabled, redrives without
an operator, and bulkheads that refuse. As those of the other strangers they are no part of the default hunt, and none
of them was tried before all were there.
"""

from __future__ import annotations

from mutants_of_a_second_stranger import ALERT, BACKLOG, MEMORY, ON_THEIR_WAY, RETRIES
from mutants_of_a_stranger import DELIVERY, HANDLER, HEDGING, LANE, LIMITER, QUEUE, STAGE, SYSTEM, stranger

BREAKER = "actors/policies/breaker/breaker.py"
ENDPOINTS = "actors/domain/endpoints.py"
FAILING_ENDPOINTS = "actors/policies/failing_endpoints.py"
FALLBACK = "actors/pipeline/fallback.py"
HEDGING_SCHEDULE = "actors/policies/hedging.py"
HOST_LINE = "actors/pipeline/host_line.py"
NODE = "actors/kernel/node.py"
REDRIVER = "actors/pipeline/redriver.py"
RETRY = "actors/policies/retry/policy.py"
SERVICE = "simulation/running/service.py"
SHARED_MEMORY = "actors/storage/shared_memory.py"
SIMULATED_SYSTEM = "simulation/engine/system.py"
SYSTEM_FAULTS = "simulation/running/system_faults.py"

IN_THE_HANDLER = (
    stranger(
        "taken-over-and-late-by-the-calendar",
        HANDLER,
        "Only one's own store is read after the clock may have been set.",
        (
            "            delivery = state_after(history.command, history.events, self.epoch_ns, self.now_ns)\n",
            "            delivery = state_after(history.command, history.events, self.epoch_ns)\n",
        ),
        seen="After the wall clock was set back what another node takes over waits for longer than was decided.",
        world="Nodes, a step of the wall clock back, and a node that dies with retries to come.",
    ),
    stranger(
        "fallback-of-no-tenant",
        FALLBACK,
        "Metadata choose the template of the channel that they came for.",
        ("            metadata=command.metadata,\n", ""),
        seen="Fallbacks are of no tenant: no bound of a tenant holds for them, and they take no turns.",
        world="A fallback to a channel with bounds of tenants or turns of them.",
    ),
    stranger(
        "channel-faults-recalled-as-failures",
        RETRIES,
        "What has failed has failed.",
        (
            "    counted = [failure for failure in delivery.failures or () if failure.kind != ChannelFault.__name__]\n",
            "    counted = list(delivery.failures or ())\n",
        ),
        seen="After a restart rules by kind of failure count channel faults in place of what had failed before.",
        world="Channel faults between failures, rules by outcome or decorrelated jitter, and a crash of the handler.",
    ),
    stranger(
        "no-fallback-from-a-disabled-endpoint",
        HANDLER,
        "What is for a disabled endpoint waits for a person, who enables it.",
        ("ADDRESS_GONE, NotBefore", "ADDRESS_GONE, ENDPOINT_DISABLED, NotBefore"),
        (
            "            self._to_dead_letter_queue(letter)\n            self._fall_back(delivery)\n",
            "            self._to_dead_letter_queue(letter)\n            if reason != ENDPOINT_DISABLED:\n"
            "                self._fall_back(delivery)\n",
        ),
        seen="What is for a disabled endpoint does not fall back.",
        world="Endpoints that are disabled, on a channel with a fallback.",
    ),
    stranger(
        "time-for-retries-bounds-the-first-attempt",
        HANDLER,
        "No attempt starts after the time for retries.",
        (
            "        return sooner(until_ns, self._retries.last_start_ns(delivery)) if delivery.attempts else "
            "until_ns\n",
            "        return sooner(until_ns, self._retries.last_start_ns(delivery))\n",
        ),
        seen="What has waited long for its first attempt is dead-lettered as expired long before it expires.",
        world="A bound of the time for retries, an expiry or a fallback, and a long wait before the first attempt.",
    ),
)

IN_STAGES = (
    stranger(
        "looked-for-at-its-address",
        LIMITER,
        "A line is found by whom its attempts are for.",
        ("        return attempt.command.user\n", "        return attempt.command.recipient\n"),
        seen="What waits for the limit of its user cannot be cancelled.",
        world="A limit for each user, users whose addresses are not their ids, and an order to cancel.",
    ),
    stranger(
        "each-vote-is-of-the-primary",
        STAGE,
        "A channel has one breaker that nodes share.",
        (
            "        self._lanes[heard.lane].hear(heard.node,",
            "        self._lanes[0].hear(heard.node,",
        ),
        seen="Where another node's backup fails, the breaker of the primary provider opens.",
        world="Nodes that share breakers, of a channel with failover whose backup fails at one of them.",
    ),
    stranger(
        "closed-by-hand-redrives-nothing",
        STAGE,
        "Who closes a breaker by hand looks after the dead letters too.",
        (
            "        if transition.to_state is BreakerState.CLOSED and self._stages.redriver is not None:\n",
            "        is_by_hand = transition.event is BreakerEvent.CLOSE\n"
            "        if (\n"
            "            transition.to_state is BreakerState.CLOSED\n"
            "            and not is_by_hand\n"
            "            and self._stages.redriver is not None\n"
            "        ):\n",
        ),
        seen="After an operator has closed a breaker no dead letters are redriven.",
        world="Redrives without an operator, and an order that closes a breaker while there are letters of an outage.",
    ),
    stranger(
        "counted-again-under-the-rate-of-its-tenant",
        ON_THEIR_WAY,
        "What comes to the bounds of tenants is counted there.",
        (
            "        return now_ns if self._limiter is None or attempt in self else",
            "        return now_ns if self._limiter is None else",
        ),
        seen="What has waited for a breaker and then for its tenant takes twice of the rate of that.",
        world="Tenants with a rate and a bound of attempts at once, and a breaker that has been open.",
    ),
    stranger(
        "joins-those-at-a-breaker-and-counts",
        STAGE,
        "Those that wait for a breaker were told when it opened.",
        (
            "        if line.is_shut and self._tenants is not None:\n"
            "            self._tenants.wait_for_breaker((attempt,))\n",
            "",
        ),
        seen="What joins those that wait for the breaker of one host keeps its tenant from all other hosts.",
        world="A bound of attempts at once for each tenant, and breakers per host of which one is open.",
    ),
)

IN_LANES = (
    stranger(
        "waits-for-a-slot-anew-at-each-look",
        HOST_LINE,
        "It waits for a slot from now on.",
        (
            "        if self.slot_wait_ns is None:\n            self.slot_wait_since_ns = now_ns\n",
            "        self.slot_wait_since_ns = now_ns\n",
        ),
        seen="What waits for a slot is not refused when its wait is over, as long as others come and go.",
        world="A bulkhead with a wait, and attempts that end while others wait.",
    ),
    stranger(
        "who-is-next-is-refused",
        STAGE,
        "The first in line has waited longest.",
        (
            "                self._to_handler(_full(line.pop_longest()))\n",
            "                self._to_handler(_full(line.pop(uses_turn=False)))\n",
        ),
        seen="As a bulk one has waited long enough for a slot, critical ones are refused that have just come.",
        world="A bulkhead with a wait, and classes of traffic or turns of users.",
    ),
    stranger(
        "deferred-and-gone-before",
        "actors/pipeline/waiting_line.py",
        "What has not been reported by now is reported when it can be.",
        ("        if self._unreported:\n            self._unreported.pop(place, None)\n", ""),
        seen="What has left the line is said to be deferred, perhaps after it was sent.",
        world="A bulkhead whose line is not reported, and a breaker that opens while some of it wait.",
    ),
    stranger(
        "last-sixteenth-for-anybody",
        LANE,
        "Nobody is kept out by who is not there.",
        (
            "        return slots - self.in_flight <= (slots + 8) // 16 or others_wait(key)\n",
            "        return others_wait(key)\n",
        ),
        seen="A host that hangs has all slots before another one comes.",
        world="Turns of hosts, tenants or users, eight slots or more, and one key that comes alone with more.",
    ),
    stranger(
        "no-turns-after-a-restart",
        BACKLOG,
        "Turns are taken by the line that has them.",
        ("            self._turns.take(turn)\n", ""),
        seen="After a restart one tenant resumes before all others, and one class whatever its weight.",
        world="An order by weights, or turns of keys, and a crash of the handler with many overdue.",
    ),
)

IN_POLICIES = (
    stranger(
        "a-fleet-never-shrinks",
        LANE,
        "A quorum is of all nodes that there have been.",
        (
            "            self._sharing.nodes = len(nodes)\n",
            "            self._sharing.nodes = max(self._sharing.nodes, len(nodes))\n",
        ),
        seen="After some nodes have gone, more than half of those that live do not open a breaker.",
        world="Nodes that share breakers by a quorum, of which some go for good before the provider fails.",
    ),
    stranger(
        "others-shorten-ones-own-open-time",
        BREAKER,
        "What the others say is the later news.",
        (
            "            self._changes_at_ns = max(\n"
            "                (instant_ns for instant_ns in (until_ns, self._own_until_ns) if instant_ns is not None), "
            "default=now_ns\n"
            "            )\n",
            "            own_ns = now_ns if self._own_until_ns is None else self._own_until_ns\n"
            "            self._changes_at_ns = own_ns if until_ns is None else until_ns\n",
        ),
        seen="A breaker that its own calls have opened asks the provider again before its open time is over.",
        world="Nodes that share breakers, and one that opens by itself after another one has.",
    ),
    stranger(
        "two-bad-moments-far-apart",
        FAILING_ENDPOINTS,
        "Two failures that are a good while apart start the clock.",
        (
            "        if age_ns * SPAN_SHARE <= disable_after_ns:\n"
            "            return msgspec.structs.replace(known, state=EndpointState.FAILING)\n",
            "        return msgspec.structs.replace(known, state=EndpointState.FAILING)\n",
        ),
        seen="An endpoint that is seldom asked is disabled for two bad moments that are far apart.",
        world="Endpoints that may be disabled and get little, with failures more than a fifth of that time apart.",
    ),
    stranger(
        "channel-fault-sooner-than-its-least-wait",
        RETRY,
        "The backoff knows how long to wait.",
        ("            return max(delay_ns, self._first_delay_ns)\n", "            return delay_ns\n"),
        seen="A channel that is broken is tried again at once, at will.",
        world="Channel faults, and a jitter that draws from 0 on.",
    ),
    stranger(
        "no-more-of-a-hint-than-its-excess",
        RETRY,
        "Of a provider's hint only so much is heeded.",
        (
            "min(hint_ns, delay_ns + self._excess_ns)",
            "min(hint_ns, self._excess_ns)",
        ),
        seen="A hint that is longer than the wait by little is cut to less than was asked for.",
        world="Throttling with a hint, and a bound of how far it may exceed the wait.",
    ),
)

IN_CHANNELS_AND_HEDGING = (
    stranger(
        "copies-never-set-out",
        HEDGING,
        "That a copy may go is all that the budget has to be asked.",
        ("            budget.start(charge, now_ns)\n", ""),
        seen="By and by the budget believes that less than nothing is under way, and allows no retries.",
        world="Hedging with a budget that counts what is under way.",
    ),
    stranger(
        "bad-addresses-drain-the-budget",
        HEDGING,
        "What was not sent has failed.",
        (
            "            self._settle(copy, True if type(outcome) is Sent else None)\n",
            "            self._settle(copy, type(outcome) is Sent)\n",
        ),
        seen="Copies that are refused for good count as failures to the budget, which then allows fewer retries.",
        world="Hedging with a budget that counts failures, and recipients that are refused for good.",
    ),
    stranger(
        "each-copy-a-delay-after-the-first",
        HEDGING,
        "Copies follow the attempt after the delay.",
        (
            "self._schedule.after_send(flight.sent, now_ns)",
            "self._schedule.after_send(flight.sent, flight.started_ns)",
        ),
        seen="The second and the third copy go at the same instant.",
        world="Hedging with three sends or more, and answers later than two delays.",
    ),
    stranger(
        "waits-out-the-delay-after-a-failure",
        HEDGING_SCHEDULE,
        "A copy follows a delay after the one before, whatever has become of that.",
        (
            "            return now_ns\n        return now_ns + wait_ns(pushback)",
            "            return now_ns + self._delay_ns\n        return now_ns + wait_ns(pushback)",
        ),
        seen="After a copy has failed the next one does not follow at once.",
        world="Hedging, and failures that do not decide.",
    ),
)

IN_ALERTS_AND_LETTERS = (
    stranger(
        "one-alert-for-all-endpoints",
        ALERT,
        "Alerts of the same kind, channel and reason are one.",
        (
            "        key = (type(alert), alert.channel, alert.address if isinstance(alert, EndpointDisabled) else "
            "alert.reason)\n",
            "        key = (type(alert), alert.channel, alert.reason)\n",
        ),
        seen="Of several endpoints that are disabled within five minutes people are told of the first.",
        world="Several endpoints of a channel that are disabled shortly after one another.",
    ),
    stranger(
        "redriven-all-at-once",
        QUEUE,
        "The rate is that at which the queue is looked at.",
        ("            policy.charge(now_ns)\n", ""),
        seen="When a breaker has closed all dead letters of its outage go at once.",
        world="Redrives without an operator, and several letters when a breaker closes.",
    ),
    stranger(
        "no-answer-is-no-outage",
        REDRIVER,
        "What may have been sent is for a person to decide.",
        ('    Ambiguous.__name__: "outage",\n', ""),
        seen="What has died of time-outs is not redriven when the breaker has closed.",
        world="Redrives without an operator, and a provider that hangs and recovers.",
    ),
    stranger(
        "redrives-only-what-died-here",
        QUEUE,
        "Each node redrives its own dead letters.",
        (
            "            self._take_in(letter)\n        self._look_at_bounds()\n",
            "            pass\n        self._look_at_bounds()\n",
        ),
        seen="The letters of a node that is gone are redriven by none.",
        world="Nodes and redrives without an operator; a node that dies after it has dead-lettered some.",
    ),
)

IN_STORES = (
    stranger(
        "redriven-and-still-disabled",
        MEMORY,
        "An endpoint is enabled by an order of its own, or by a success.",
        (
            "            self._apply_to_endpoints(self.endpoints.change_by(event, command))\n"
            "            self._keep_in_audit(entry_of(event))\n",
            "            self._keep_in_audit(entry_of(event))\n",
        ),
        seen="A letter to a disabled endpoint that an operator redrives is a dead letter again at once.",
        world="An endpoint that is disabled, and an operator who redrives what was for it.",
    ),
    stranger(
        "a-success-stops-no-clock",
        ENDPOINTS,
        "A success enables an endpoint that was disabled.",
        (
            "            is_back = known is not None\n",
            "            is_back = known is not None and known.state is EndpointState.DISABLED\n",
        ),
        seen="An endpoint is disabled though attempts at it have succeeded meanwhile.",
        world="Endpoints that may be disabled, of which some attempts fail and some succeed.",
    ),
    stranger(
        "redrives-forgotten-over-a-restart",
        DELIVERY,
        "How often it was redriven is the queue's to know.",
        ("note_redrive(event.edit, event.without_operator)", "note_redrive(event.edit, False)"),
        seen="After each restart dead letters are redriven once more than they may be.",
        world="Redrives without an operator that fail, and a restart of the handler or of the process.",
    ),
    stranger(
        "one-heir-for-all",
        SHARED_MEMORY,
        "Another node takes over.",
        (
            "        shares = {heir: tuple(left[place :: len(heirs)]) for place, heir in enumerate(heirs)}\n",
            "        shares = {heirs[0]: tuple(left)}\n",
        ),
        seen="One node takes over all of what a dead one had, and the others nothing.",
        world="Three nodes or more, and one that dies for good with several in flight.",
    ),
)

IN_SUPERVISION = (
    stranger(
        "the-first-lease-ends-the-second",
        SERVICE,
        "A node that is down when its lease ends has not come back.",
        (
            "        if not gone.is_down or gone.starts != starts:\n",
            "        if not gone.is_down:\n",
        ),
        seen="What a node had is taken over long before its lease is over, as an earlier one is.",
        world="A node that crashes twice within the time after which it is taken over, and is back in between.",
    ),
    stranger(
        "overdue-and-nobodys",
        SERVICE,
        "There is always another node.",
        (
            "        overdue, self._overdue = self._overdue, []\n        for process in overdue:\n"
            "            self._take_over(process, process.starts)\n",
            "        self._overdue = []\n",
        ),
        seen="What a node had whose lease ended while no other was there is taken over by none.",
        world="Nodes that are all down for longer than a lease, of which one comes back long before another.",
    ),
    stranger(
        "no-alerts-after-the-sixth-crash",
        ALERT,
        "An actor is restarted by default.",
        ('    supervision = Supervision(then="restart")\n', "    supervision = Supervision()\n"),
        seen="After six crashes of the alert within a minute people are told of nothing any more.",
        world="Six crashes of the alert within a minute, and something to tell after them.",
    ),
    stranger(
        "stopped-in-order-and-leased-on",
        SYSTEM_FAULTS,
        "A node that is gone is taken over when its lease has ended.",
        ("[process], is_parked=True)\n", "[process])\n"),
        seen="What a node has parked that is stopped in order waits for its lease to end.",
        world="A deploy with nodes that are gone for longer, or fewer nodes, and some in flight at those that stop.",
    ),
)

IN_THE_KERNEL = (
    stranger(
        "an-answer-at-the-very-time-out-is-late",
        SIMULATED_SYSTEM,
        "After the time-out no answer counts.",
        (
            "        if timeout_ns is not None and delay_ns > timeout_ns:\n",
            "        if timeout_ns is not None and delay_ns >= timeout_ns:\n",
        ),
        seen="An answer that comes at the very instant of the time-out is thrown away, and the attempt is ambiguous.",
        world="A provider whose latency is the time-out, to the nanosecond.",
    ),
    stranger(
        "down-and-overtaken",
        SYSTEM,
        "What is ready goes behind what is ready already.",
        (
            "            self._ready.appendleft((actor, _NEXT_FROM_INBOX))\n",
            "            self._ready.append((actor, _NEXT_FROM_INBOX))\n",
        ),
        seen="What came to an actor while it was down is taken up behind what comes as it starts.",
        world="A crash of an actor that is down for a while, with messages that come meanwhile and at its very start.",
    ),
    stranger(
        "answers-before-timers",
        SIMULATED_SYSTEM,
        "What a provider answers comes before what has only been planned.",
        (
            "        heappush(self._queue, (ended_ns, NORMAL, next(self._event_ids), timer))\n",
            "        heappush(self._queue, (ended_ns, URGENT, next(self._event_ids), timer))\n",
        ),
        seen="Of what is due at one instant answers pass timers that were set before them.",
        world="Latencies and waits that meet at an instant, as whole seconds do.",
    ),
    stranger(
        "nodes-draw-from-one-stream",
        NODE,
        "A run has one seed.",
        (
            '        self.streams = system.streams.within(f"node.{number}")\n',
            "        self.streams = system.streams\n",
        ),
        seen="What one node draws changes what another one does.",
        world="Nodes with jitter, or with anything else that draws.",
    ),
)
