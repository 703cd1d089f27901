"""Mistakes that were planted when the invariants and scenarios were there, ten and ten, to see what those are worth."""

from __future__ import annotations

from mutant import mutant

HANDLER = "actors/pipeline/handler.py"
FIGURES = "simulation/results/tallies.py"

MUTANTS = (
    mutant(
        "last-come-first-served",
        "actors/pipeline/waiting_line.py",
        "What was added last is at the end that is popped.",
        (
            "        index = self._head\n",
            "        *_, (place, _) = self.items()\n        index = self._places.index(place)\n",
        ),
        expected="expectations",
    ),
    mutant(
        "limiter-wakes-once",
        "actors/pipeline/keyed_lines.py",
        "When the first of a line has to wait on, its alarm is not set again.",
        (
            "                self._let_wait(line, key, fits_at_ns)\n                break\n",
            "                line.fits_at_ns = fits_at_ns\n                break\n",
        ),
        expected="liveness",
    ),
    mutant(
        "redriven-to-a-dead-address",
        "actors/storage/memory.py",
        "An address that is gone stays so, also when an operator knows better.",
        ("            self.suppressions.lift(command.channel, command.recipient)\n", ""),
        expected="expectations",
    ),
    mutant(
        "charged-again-after-a-restart",
        "actors/domain/delivery.py",
        "Whether the limiter has been charged is not restored.",
        (
            "                delivery.charged = True\n                delivery.note_failure(event)\n",
            "                delivery.note_failure(event)\n",
        ),
        expected="user-limit",
    ),
    mutant(
        "fallback-with-a-fresh-expiry",
        "actors/pipeline/fallback.py",
        "What falls back has as long again as there was in the beginning.",
        ("            expires_after=left_s,\n", "            expires_after=command.expires_after,\n"),
        expected="in-time",
    ),
    mutant(
        "throttled-probe-keeps-its-permit",
        "actors/pipeline/lane.py",
        "A permit is taken, and then something else refuses.",
        (
            "            breaker.record_neutral(permit, now_ns)\n            return _THROTTLED\n",
            "            return _THROTTLED\n",
        ),
        expected="liveness",
    ),
    mutant(
        "earliest-end-of-quiet-hours",
        "actors/pipeline/preferences.py",
        "Of several quiet hours the first that ends is waited for.",
        ("        return max((end for end in ends", "        return min((end for end in ends"),
        expected="quiet-hours",
    ),
    mutant(
        "pace-catches-up",
        "actors/policies/resuming.py",
        "What could not go in time goes in a burst.",
        ("        if now_ns > self.next_ns:\n            self._start_ns += now_ns - self.next_ns\n", ""),
        expected="resume-pace",
    ),
    mutant(
        "recalled-attempts-not-counted",
        "actors/policies/retry/policy.py",
        "A process that starts again knows how long was waited, and not how often.",
        (
            "        progress.attempts += 1\n        progress.step += 1\n        progress.memory_ns = rule",
            "        progress.step += 1\n        progress.memory_ns = rule",
        ),
        expected="retry-limits",
    ),
    mutant(
        "retries-without-those-that-failed",
        FIGURES,
        "First attempts are counted where they were sent.",
        (
            '[1 for event in failed if event.attempt == 1 and event.kind != "ChannelFault"]',
            "[]",
        ),
        expected="summary",
    ),
    # The second time, when what the first ten had asked for was there.
    mutant(
        "one-hedge-too-many",
        "actors/policies/hedging.py",
        "max_attempts is taken for the number of further copies.",
        (
            "        return None if sent >= self._most else now_ns + self._delay_ns\n",
            "        return None if sent > self._most else now_ns + self._delay_ns\n",
        ),
        expected="hedges",
    ),
    mutant(
        "budget-asked-and-not-spent",
        "actors/policies/retry/budgets.py",
        "Whether there is enough is asked, and nothing is taken.",
        ("        self.available -= cost\n", ""),
        expected="retry-budget",
    ),
    mutant(
        "retries-under-way-for-ever",
        "actors/policies/retry/budgets.py",
        "A retry is counted when it is allowed, and not when it has ended.",
        ("        self._active -= 1\n        self._retries -= charge\n", "        self._active -= 1\n"),
        expected="retry-budget",
    ),
    mutant(
        "old-calls-stay-in-the-window",
        "actors/policies/breaker/windows.py",
        "The window begins at the first call and never moves.",
        ("        while log and log[0].at_ns <= left_ns:\n", "        while False:\n"),
        expected="breaker-decisions",
    ),
    mutant(
        "slow-probes-are-good-probes",
        "actors/policies/breaker/probes.py",
        "What counts as slow is only looked at while the breaker is closed.",
        ("        self._slow += duration_ns > self._slow_ns\n", ""),
        expected="breaker-decisions",
    ),
    mutant(
        "backup-is-asked-first",
        "actors/pipeline/circuit_breaker.py",
        "Providers are tried from the last to the first.",
        ("            return self._lanes\n        first", "            return self._lanes[::-1]\n        first"),
        expected="expectations",
    ),
    mutant(
        "discarded-and-kept",
        "actors/storage/memory.py",
        "A letter that is discarded is gone from the queue, and not from the store.",
        (
            "entry = self._dead.pop(notification_id)\n            self.remembered.add",
            "entry = self._dead[notification_id]\n            self.remembered.add",
        ),
        expected="dead-letters",
    ),
    mutant(
        "only-the-first-subscriber",
        "actors/pipeline/event_bus.py",
        "One event has one subscriber.",
        ("            for function, ref in subscribers:\n", "            for function, ref in subscribers[:1]:\n"),
        expected="expectations",
    ),
    mutant(
        "delivery-time-without-the-wait",
        "simulation/results/ledger.py",
        "Delivery begins with the attempt.",
        (
            "[event.at_ns - event.requested_at_ns for event in sent]",
            "[event.at_ns - event.started_ns for event in sent]",
        ),
        expected="summary",
    ),
    mutant(
        "all-at-once-after-a-restart",
        "actors/pipeline/handler.py",
        "What the store has is due, so it is sent.",
        ("            if is_to_be_sent and due_since_ns(delivery) <= self.now_ns:\n", "            if False:\n"),
        expected="restart-pace",
    ),
    mutant(
        "restarts-begin-with-the-same-ones",
        "actors/pipeline/handler.py",
        "What was accepted first goes first, however often it has failed already.",
        ("in sorted(deliveries, key=due_since_ns):", "in list(deliveries):"),
        expected="expectations",
    ),
    mutant(
        "resuming-without-a-ceiling",
        "actors/policies/resuming.py",
        "It doubles until none waits, and is paced all the same.",
        ("        apart_ns = math.ceil(NS_PER_S / ceiling)\n", "        apart_ns = 1\n"),
        expected="restart-pace",
    ),
    mutant(
        "a-relapse-teaches-half",
        "actors/policies/resuming.py",
        "The pace of a relapse is the ceiling, and not half of it.",
        ("_AFTER_RELAPSE = 0.5\n", "_AFTER_RELAPSE = 1.0\n"),
        expected="resume-pace",
    ),
    mutant(
        "a-relapse-is-remembered",
        "actors/pipeline/lane.py",
        "What a relapse has taught is in force when its line has long been empty.",
        ("        self._relapses.pop(host, None)\n        self._suspects", "        self._suspects"),
        expected="reference-model",
    ),
    mutant(
        "the-ceiling-feeds-on-what-resumes",
        "actors/pipeline/handler.py",
        "What is sent on its way has arrived.",
        (
            "        obstacle = self._readiness.obstacle(delivery.command)\n",
            "        self._stages[delivery.command.channel].lanes[0].note_arrival(delivery.command, self.now_ns)\n"
            "        obstacle = self._readiness.obstacle(delivery.command)\n",
        ),
        expected="resume-pace",
    ),
    mutant(
        "no-ceiling-after-a-restart",
        "actors/pipeline/handler.py",
        "The breaker has the ceiling.",
        (
            "        if self._backlog.lines:\n            self._backlog.charge(",
            "        if False:\n            self._backlog.charge(",
        ),
        expected="restart-pace",
    ),
    mutant(
        "deferred-and-above-suspicion",
        "actors/storage/sqlite/store.py",
        "Whatever happens to what had not ended when a process died, this one has outlived it.",
        ("if self._marked and ends_caution(event) and self._marked.pop", "if self._marked and self._marked.pop"),
        expected="reopened",
    ),
    mutant(
        "sent-at-its-turn-however-late",
        "actors/pipeline/isolation.py",
        "What waits for its turn has been looked at before.",
        ("if not self._may_begin(enter.admitted.attempt):", "if False:"),
        expected="in-time",
    ),
    mutant(
        "whose-turn-it-is-waits-for-the-next-event",
        "actors/pipeline/isolation.py",
        "Who may go when the hold is over goes by itself.",
        (
            "        if effect is None:\n            self._let_others_go()\n            self._take_turns()\n",
            "        if effect is None:\n            self._let_others_go()\n",
        ),
        expected="others_go_on",
    ),
)
