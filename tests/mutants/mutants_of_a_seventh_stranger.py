"""Forty more mistakes by somebody who has not seen what is to find them: sought where two rules meet, or at an edge.

The code was read beside the specification; and where a line says why it is as it is, the mistake is what it would be
without that reason. As those of the other strangers they are no part of the default hunt, and what was planted before
was known by its name alone, but for the sixth's. Each was run beside the product in a scenario of its own, in which it
shows; none was tried on what is to find it.
"""

from __future__ import annotations

from mutants_of_a_second_stranger import MEMORY
from mutants_of_a_sixth_stranger import CONDITIONS, FALLBACK, RETRY_POLICY, TRIPPING
from mutants_of_a_stranger import DELIVERY, HANDLER, HEDGING, LANE, QUEUE, STAGE, stranger
from mutants_of_a_third_stranger import SHARED_MEMORY

ADAPTIVE_RATE = "actors/policies/adaptive/rate.py"
CANCELLING = "actors/pipeline/cancelling.py"
CHANNEL_SETTINGS = "actors/settings/channel.py"
DEDUPLICATING = "actors/pipeline/deduplicating.py"
DEFAULTS = "actors/settings/defaults.py"
ENDPOINT_WATCH = "actors/pipeline/endpoint_watch.py"
FAULT_RULES = "actors/faults/rules.py"
INTAKE = "actors/pipeline/intake.py"
ON_THEIR_WAY = "actors/pipeline/on_their_way.py"
OPERATOR = "simulation/running/operator.py"
PREFERENCES = "actors/pipeline/preferences.py"
READINESS = "actors/pipeline/readiness.py"
RECOVERY = "actors/policies/breaker/recovery.py"
REDRIVING = "actors/policies/redriving.py"
SERVICE = "simulation/running/service.py"
SPEED = "actors/faults/speed.py"
SYSTEM_FAULTS = "simulation/running/system_faults.py"
TURNS = "actors/pipeline/turns.py"
WAITING_STAGE = "actors/pipeline/stage.py"

IN_THE_HANDLER = (
    stranger(
        "off-here-and-so-on-elsewhere",
        HANDLER,
        "What is not sent on one channel goes out on the next.",
        (
            "        falls_back = reason is ADDRESS_GONE and not self._store.is_delivered(event.notification_id)\n",
            "        falls_back = not self._store.is_delivered(event.notification_id)\n",
        ),
        seen="Who has switched a channel off gets on another one all that would have come on it.",
        world="A channel with a fallback, and users who have switched it off.",
    ),
    stranger(
        "a-broken-channel-breaks-its-endpoints",
        ENDPOINT_WATCH,
        "Whatever fails at an endpoint is a failure of it.",
        (
            "from actors.outcomes import Ambiguous, Outcome, Permanent, Transient\n",
            "from actors.outcomes import Ambiguous, ChannelFault, Outcome, Permanent, Transient\n",
        ),
        (
            "            return isinstance(outcome, Ambiguous)\n",
            "            return isinstance(outcome, (Ambiguous, ChannelFault))\n",
        ),
        seen="Endpoints are disabled for the service's own wrong credentials.",
        world="A channel with endpoints, and channel faults at times at least a tenth of disable_after apart.",
    ),
    stranger(
        "cancelled-while-it-is-written",
        CANCELLING,
        "What is about to change is not waiting, and only what waits can be cancelled.",
        ("                commit.cancels.append(order)\n", "                order.reply(False)\n"),
        seen="Some of what an operator has cancelled is sent all the same.",
        world="A store that takes its time (commit_latency), and a cancellation while acceptances or failures commit.",
    ),
    stranger(
        "known-by-its-latest-edit",
        DELIVERY,
        "What was accepted is what it was before it was edited.",
        (
            "            redrives.accepted = self.known_as\n",
            "            redrives.accepted = self.command\n",
        ),
        seen="A sender that repeats itself is told of a conflict with a payload that it has never sent.",
        world="A letter that is redriven with one edit and then with another one, and a repeat while it is in flight.",
    ),
    stranger(
        "what-falls-back-is-nothing-new",
        INTAKE,
        "What falls back has been counted where it was accepted first.",
        (
            "        stages.arrivals.note(None, now_ns)\n"
            "        if stages.lanes[0].breaker is None:  # it has one for each host\n",
            "        if instead_of is None:\n"
            "            stages.arrivals.note(None, now_ns)\n"
            "        if instead_of is None and stages.lanes[0].breaker is None:  # it has one for each host\n",
        ),
        seen="Behind the breaker of a channel that others fall back to the line grows, as its ceiling is too low.",
        world="Fallbacks at more than five times resume_rate a second, to a channel whose breaker opens and closes.",
    ),
)

IN_STAGES = (
    stranger(
        "whether-it-can-before-whether-it-may",
        READINESS,
        "What cannot be delivered need not be asked for.",
        (
            "        now_ns = self._system.now_ns\n        try:\n            wanted_at_ns = ",
            "        if self._disabled and (undeliverable := self._undeliverable(command)) is not None:\n"
            "            return undeliverable\n"
            "        now_ns = self._system.now_ns\n        try:\n            wanted_at_ns = ",
        ),
        seen="What nobody wants, or not yet, is dead-lettered for a disabled endpoint and left to people.",
        world="An endpoint that is disabled, and a user with quiet hours or with the channel switched off.",
    ),
    stranger(
        "pays-its-rate-for-a-full-house",
        ON_THEIR_WAY,
        "First what costs time is asked, and then what costs room.",
        (
            "        if self._max is not None and self.count(tenant) >= self._max:\n"
            "            return None\n"
            "        return now_ns if self._limiter is None or attempt in self "
            "else self._limiter.try_acquire(tenant, now_ns)\n",
            "        fits_at_ns = now_ns\n"
            "        if self._limiter is not None and attempt not in self:\n"
            "            fits_at_ns = self._limiter.try_acquire(tenant, now_ns)\n"
            "        return None if self._max is not None and self.count(tenant) >= self._max else fits_at_ns\n",
        ),
        seen="A tenant gets less than its rate while it also has as many attempts under way as it may.",
        world="Both bounds of a tenant on one channel, and more of it than either allows.",
    ),
    stranger(
        "the-last-instant-is-too-late",
        WAITING_STAGE,
        "At its expiry a notification has expired.",
        (
            "attempt.expires_at_ns is not None and instant_ns > attempt.expires_at_ns\n",
            "attempt.expires_at_ns is not None and instant_ns >= attempt.expires_at_ns\n",
        ),
        seen="What could go at the last instant at which it is wanted is dead-lettered as expired.",
        world="A limit that lets the next one go at the very instant up to which it is wanted.",
    ),
    stranger(
        "the-same-users-in-every-share",
        PREFERENCES,
        "Whether a user belongs to a share depends on the user.",
        (
            '            if channel in rule.channels and _belongs(user_id, f"quiet/{number}", rule.share)\n',
            '            if channel in rule.channels and _belongs(user_id, "quiet/0", rule.share)\n',
        ),
        seen="Of two groups with quiet hours the smaller one is a part of the larger one.",
        world="Several entries of quiet_hours.",
    ),
)

IN_LANES = (
    stranger(
        "a-ramp-is-no-open-breaker",
        STAGE,
        "What fails at an open breaker is what is told that it is open.",
        (
            "        if reasons <= _SHUT:\n",
            "        if reasons == {BlockReason.BREAKER}:\n",
        ),
        seen="Where an open breaker is to be a failure, what the ramp refuses waits for its end.",
        world="A breaker with a ramp and when_open: fail.",
    ),
    stranger(
        "only-the-primary-bounds-its-waits",
        STAGE,
        "How long one waits for a slot is said by the channel.",
        (
            "        self._bounds_waits = any(lane.slot_wait_ns for lane in self._lanes)\n",
            "        self._bounds_waits = bool(self._lanes[0].slot_wait_ns)\n",
        ),
        seen="Attempts wait for a slot of a backup as long as it takes, and are never refused.",
        world="Failover to a provider with a max_in_flight that has a wait, where that of the channel has none.",
    ),
    stranger(
        "a-time-out-is-a-slow-answer",
        LANE,
        "How long a time-out took says all there is to know of it.",
        ("dropped=not answered)", "dropped=throttled)"),
        seen="A concurrency limit stays high while few are under way and these time out.",
        world="A concurrency limit of kind vegas, and time-outs with less than half of it under way.",
    ),
    stranger(
        "more-slots-than-connections",
        DEFAULTS,
        "A number that is given is the one that holds.",
        (
            "    slots = min(given.slots, reach.connections_max)\n",
            "    slots = given.slots\n",
        ),
        seen="More attempts are under way than there are connections to the provider.",
        world="A provider with fewer connections than max_in_flight, and load beyond these.",
    ),
    stranger(
        "gone-elsewhere-and-still-next",
        TURNS,
        "Whose turn it is at a lane changes when one goes there.",
        (
            "            self._turns.take(flow)\n        else:\n            self._turns.pass_by(flow)\n",
            "            self._turns.take(flow)\n",
        ),
        seen="A host, user or tenant goes twice in a row while others wait: by one provider, and then by the next.",
        world="Failover, a breaker per host, and lines that wait for slots of both providers.",
    ),
)

IN_POLICIES = (
    stranger(
        "its-time-for-retries-to-the-last",
        RETRY_POLICY,
        "What may last so long may begin at its end.",
        ("since_ns + self._longest_elapsed_ns - 1\n", "since_ns + self._longest_elapsed_ns\n"),
        seen="A retry starts at the very instant at which its time is up.",
        world="A max_elapsed at the end of which a retry is due to the nanosecond, as without latency and jitter.",
    ),
    stranger(
        "those-at-the-maximum-wait-the-same",
        RECOVERY,
        "The maximum bounds the result, so it is enough to cut that.",
        (
            "round(min(base_ns, self._longest_ns) * (1 - jitter + 2 * jitter * self._random.random()))",
            "round(base_ns * (1 - jitter + 2 * jitter * self._random.random()))",
        ),
        seen="Breakers that have failed their probes often enough are all open for the same time.",
        world="open_growth with jitter, and an outage long enough that its maximum is reached.",
    ),
    stranger(
        "late-and-good-trips-nothing",
        TRIPPING,
        "A success is a success, and trips only where that is asked for.",
        (
            "        return (slow or self._success_may_trip) and self._is_reached() and",
            "        return self._success_may_trip and self._is_reached() and",
        ),
        seen="A breaker stays closed while all calls are slow, as none of them fails.",
        world="A breaker with slow_call and success_may_trip: false, and a brownout.",
    ),
    stranger(
        "grows-for-the-time-before-its-cut",
        ADAPTIVE_RATE,
        "A cut changes the rate; how long ago the latest success was it leaves as it is.",
        (
            "        self._since_ns = now_ns\n        return rate * self._decrease\n",
            "        return rate * self._decrease\n",
        ),
        seen="After throttling the rate is a little higher than it should be, by up to one second's increase.",
        world="An adaptive rate of kind aimd, and throttling.",
    ),
    stranger(
        "pushback-leaves-a-memory",
        RETRY_POLICY,
        "The backoff begins anew when its step does.",
        (
            "            progress.step, progress.memory_ns = 0, None\n",
            "            progress.step = 0\n",
        ),
        seen="After a pushback the next wait is drawn as if the waits before it had gone on.",
        world="retry_after: pushback with decorrelated or soft jitter, and a throttled attempt between failures.",
    ),
)

IN_CHANNELS_AND_HEDGING = (
    stranger(
        "began-with-its-latest-copy",
        HEDGING,
        "An attempt begins when it is sent.",
        (
            "        flight.sent += 1\n        flight.copies.append(copy)\n",
            "        flight.sent += 1\n        flight.started_ns = now_ns\n        flight.copies.append(copy)\n",
        ),
        seen="Hedged attempts seem to begin later and to take less time than they do.",
        world="Hedging, and an attempt that gets a second copy.",
    ),
    stranger(
        "a-copy-asks-and-does-not-pay",
        HEDGING,
        "A copy is no attempt, and it is attempts that the quota counts.",
        (
            "        lane.charge(now_ns)\n        return _Copy(flight, budget, charge)\n",
            "        return _Copy(flight, budget, charge)\n",
        ),
        seen="More requests go to a provider than its quota allows, by as many copies as are sent.",
        world="Hedging with a quota or an adaptive rate that the load comes near to.",
    ),
    stranger(
        "null-is-left-out",
        CHANNEL_SETTINGS,
        "A key without a value is one that was not given.",
        (
            '        return {"provider": self.provider} | {\n'
            "            key: value for key, value in given.items() if value is not None or key not in needed\n"
            "        }\n",
            '        return {"provider": self.provider} | {\n'
            "            key: value for key, value in given.items() if value is not None\n"
            "        }\n",
        ),
        seen="A further provider has the quota, bulkhead or hedging of the channel though it is to have none.",
        world="Failover to a provider with a key that is null, where the channel has a value.",
    ),
    stranger(
        "handed-back-and-taken-for-a-copy",
        DEDUPLICATING,
        "What is in flight is so until its outcome is there, or it is told to the handler.",
        (
            "        self._in_flight.drop(attempt)\n        super()._hand_back(attempt)\n",
            "        super()._hand_back(attempt)\n",
        ),
        seen="Some of what has waited for a breaker is never sent and never ends.",
        world="Messages that come twice or late, max_in_flight of a tenant, and a breaker that opens and closes.",
    ),
)

IN_ALERTS_AND_LETTERS = (
    stranger(
        "the-whole-reason-or-none",
        OPERATOR,
        "A reason is a reason, and one that is longer is another one.",
        (
            "which.reason in letter.failure_reason\n",
            "which.reason == letter.failure_reason\n",
        ),
        seen="An order for the letters of a reason leaves those whose reason says more than that.",
        world="An operation on dead letters by a part of their reason.",
    ),
    stranger(
        "no-address-and-no-time-either",
        FALLBACK,
        "A channel with a fallback has only so long.",
        (
            "        if fallback is None or fallback.after is None or fallback.channel not in command.addresses:\n",
            "        if fallback is None or fallback.after is None:\n",
        ),
        seen="What could not go elsewhere expires as early as what can.",
        world="A fallback with after, and notifications without an address there, as of OrderShipped.",
    ),
    stranger(
        "one-host-back-and-all-are-asked",
        QUEUE,
        "When a breaker closes, letters have their turns.",
        (
            "        redriver.policy.begin(closed.host)\n",
            "        redriver.policy.begin()\n",
        ),
        seen="Letters to a host that has not recovered, and whose breaker never opened, are redriven in vain.",
        world="Redrive without an operator, a breaker per host, and letters to a host beside the one that comes back.",
    ),
    stranger(
        "closes-again-and-the-new-ones-wait",
        REDRIVING,
        "A host whose letters have their turns already needs no second beginning.",
        (
            "            if each in self._letters:\n",
            "            if each in self._letters and each not in self._due:\n",
        ),
        seen="Letters of the second of two outages stay dead though the provider is back.",
        world="Redrive without an operator at a low rate, and a breaker that opens and closes while some are due.",
    ),
)

IN_STORES = (
    stranger(
        "discarded-and-so-not-delivered",
        MEMORY,
        "How a request stands is what its latest notification has come to.",
        (
            "            request.delivered |= type(event) is NotificationSent\n",
            "            request.delivered = type(event) is NotificationSent\n",
        ),
        seen="A letter whose fallback was delivered is redriven after that of another one has been discarded.",
        world="Two fallbacks in a chain of which the last delivers, a discard of the middle one, and a redrive.",
    ),
    stranger(
        "remembered-since-it-came",
        MEMORY,
        "An id is remembered for so long after it has come.",
        (
            "            entry = self._open.pop(notification_id)\n"
            "            self.remembered.add(entry.command, event.epoch_ns + event.at_ns)\n",
            "            entry = self._open.pop(notification_id)\n"
            "            self.remembered.add(entry.command, entry.epoch_ns + entry.accepted_ns)\n",
        ),
        seen="What took long to be sent is sent once more when its sender repeats itself soon after.",
        world="Repeats, and remember_ids that is not much longer than a delivery takes.",
    ),
    stranger(
        "hears-itself-from-before-its-crash",
        SHARED_MEMORY,
        "A node that starts is to know all that has been said.",
        (
            "for key, until_ns in sorted(self.votes.items()) if key[0] != number]\n",
            "for key, until_ns in sorted(self.votes.items())]\n",
        ),
        seen="A node that has crashed begins with its breaker open, by what it has said itself.",
        world="A shared breaker that only one node has opened, and a crash of that node, which is back before long.",
    ),
    stranger(
        "what-it-said-first-while-cut-off",
        SHARED_MEMORY,
        "What has been said is said.",
        (
            "            self._unsaid[breaker, host] = self._shared.clock.now_ns + open_ns\n",
            "            self._unsaid.setdefault((breaker, host), self._shared.clock.now_ns + open_ns)\n",
        ),
        seen="When a node is back the others open their breakers for one that has closed there meanwhile.",
        world="A shared breaker, and a partition in which that of the node opens and closes again.",
    ),
)

IN_SUPERVISION = (
    stranger(
        "only-the-primary-is-closed-by-a-restart",
        SERVICE,
        "A channel has a breaker, which begins anew with its process.",
        (
            "            for lane in stages.lanes:\n                config = lane.config.circuit_breaker\n",
            "            for lane in stages.lanes[:1]:\n                config = lane.config.circuit_breaker\n",
        ),
        seen="The breaker of a backup is said to be open from before a crash until it opens or closes again.",
        world="Failover, a crash of the process while the breaker of a further provider is open.",
    ),
    stranger(
        "back-in-a-fleet-that-has-shrunk",
        SYSTEM_FAULTS,
        "What has crashed comes back when its time has come.",
        (
            "    def on_restart(self, restart: _Restart) -> None:\n        self._bring_back(restart.processes)\n",
            "    def on_restart(self, restart: _Restart) -> None:\n        self._service.start(restart.processes)\n",
        ),
        seen="A fleet has a node more than it was scaled to.",
        world="A node of a high number that crashes, and a scale to fewer nodes before it is back.",
    ),
    stranger(
        "a-lease-renewed-by-a-crash",
        SERVICE,
        "A lease ends so long after its node.",
        (
            "                if process.partitions:\n"
            "                    ends_ns = max(now_ns, process.cut_off_ns + self._lease_ns)\n"
            "                else:\n"
            "                    ends_ns = now_ns if is_parked else now_ns + self._lease_ns\n",
            "                ends_ns = now_ns if is_parked else now_ns + self._lease_ns\n",
        ),
        seen="What a node had that was cut off is taken over later than its lease runs out.",
        world="A partition of a node that outlasts its lease, or in which the node crashes.",
    ),
    stranger(
        "recalled-under-the-general-rule",
        RETRY_POLICY,
        "An attempt that failed is an attempt.",
        (
            "        rule = self._rule_of(outcome)\n"
            "        progress = _of_rule(progress, rule)\n"
            "        progress.attempts += 1\n",
            "        rule = self._general\n        progress.attempts += 1\n",
        ),
        seen="After a restart throttled attempts have used up those of other failures, and none of their own.",
        world="per_outcome or per_reason, and a restart or a takeover between two attempts.",
    ),
)

IN_THE_KERNEL = (
    stranger(
        "the-first-window-keeps-its-latency",
        CONDITIONS,
        "What has begun first holds until it ends.",
        (
            "            latency=latencies[-1] if latencies else self._latency,\n",
            "            latency=latencies[0] if latencies else self._latency,\n",
        ),
        seen="Where two windows give a latency it is that of the first one.",
        world="Two faults with a latency on one channel whose windows overlap.",
    ),
    stranger(
        "where-host-and-node-meet",
        CONDITIONS,
        "What holds at a host holds there, and what holds for a node holds for it.",
        (
            "        for place in ((host, node), (host, None), (None, node)):\n",
            "        for place in ((host, None), (None, node)):\n",
        ),
        seen="A fault with a host and a node never strikes, nor does one of a node at a host that another fault names.",
        world="Nodes, and faults with a host and with a node at the same time, or both in one.",
    ),
    stranger(
        "a-draw-saved-in-an-outage",
        FAULT_RULES,
        "Nothing is drawn where nothing depends on it.",
        ("        drawn = self.draw()\n", ""),
        (
            "            outcome = _fate(conditions, now_ns, drawn)\n",
            "            outcome = _fate(conditions, now_ns, self.draw())\n",
        ),
        seen="Which attempts fail after an outage depends on how many there were in it.",
        world="An outage, a hang or throttling, and a failure rate after that.",
    ),
    stranger(
        "done-as-the-frost-begins",
        SPEED,
        "What is left when the speed changes goes on at the other one.",
        (
            "            if speed and left <= done:\n",
            "            if speed and left < done:\n",
        ),
        seen="Work that is done at the instant at which a provider freezes is done when it thaws.",
        world="A provider with a capacity, and speed: 0 from the very instant at which an attempt ends.",
    ),
    stranger(
        "everybody-moves-when-one-goes",
        SERVICE,
        "The nodes that are there share the keys.",
        (
            "        home = self.processes[crc32(key.encode()) % len(self.processes)]\n"
            "        if home in ready:\n"
            "            return home\n"
            '        return max(ready, key=lambda process: crc32(f"{process.number} {key}".encode()))\n',
            "        return ready[crc32(key.encode()) % len(ready)]\n",
        ),
        seen="While one node is gone nearly all users are at another node than before, with limits of their own there.",
        world="Nodes with routing by_user or by_host, and one of them that is down or cut off.",
    ),
)
