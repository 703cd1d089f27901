"""Mistakes that were planted later, ten and ten, each ten written down before anyone looked what would find them."""

from __future__ import annotations

from mutant import mutant

HANDLER = "actors/pipeline/handler.py"
RETRIES = "actors/pipeline/retries.py"
LANE = "actors/pipeline/lane.py"
HEDGING = "actors/pipeline/hedging_channel.py"

MUTANTS = (
    mutant(
        "redriven-twice",
        HANDLER,
        "The queue has taken the letter out, so it cannot be redriven again.",
        (
            "is_dead = self._store.is_dead_letter(letter.notification_id, letter.epoch_ns + letter.moved_at_ns)",
            "is_dead = True",
        ),
        expected="no-errors",
    ),
    mutant(
        "channel-fault-uses-an-attempt",
        RETRIES,
        "Every failure of an attempt uses one up, whatever is to blame.",
        (
            "        if not isinstance(outcome, ChannelFault):\n            delivery.attempts += 1\n",
            "        delivery.attempts += 1\n",
        ),
        expected="attempt-numbers",
    ),
    mutant(
        "failures-let-the-rate-grow",
        LANE,
        "What is not throttled is a success.",
        (
            "            elif answered:\n                self.rate.on_success(now_ns)\n",
            "            else:\n                self.rate.on_success(now_ns)\n",
        ),
        expected="adaptive-rate",
    ),
    mutant(
        "losing-copies-stay-on-the-budget",
        HEDGING,
        "A copy that is cancelled has no outcome, so there is nothing to tell the budget.",
        (
            "            copy.effect.cancel()\n            self._settle(copy, None)\n",
            "            copy.effect.cancel()\n",
        ),
        expected="retry-budget",
    ),
    mutant(
        "ambiguous-copy-forgotten",
        HEDGING,
        "The outcome of an attempt is its latest failure.",
        (
            "            self._end(flight, flight.failure if flight.ambiguous is None else flight.ambiguous)\n",
            "            self._end(flight, flight.failure)\n",
        ),
        expected="hedges",
    ),
    mutant(
        "suppressed-and-forgotten",
        "actors/storage/memory.py",
        "Only the id of what was sent must not be sent again.",
        (
            "            entry = self._open.pop(notification_id)\n            self.remembered.add",
            "            entry = self._open.pop(notification_id)\n"
            "            if kind is NotificationSent:\n                self.remembered.add",
        ),
        expected="legal-steps",
    ),
    mutant(
        "given-up-again-after-a-restart",
        "actors/domain/delivery.py",
        "A redrive begins anew, but for why it was dead-lettered.",
        (
            "                delivery.charged = True\n                delivery.given_up = None\n",
            "                delivery.charged = True\n",
        ),
        expected="dead-letters",
    ),
    mutant(
        "those-sent-anew-still-wait",
        "actors/pipeline/keyed_lines.py",
        "The limiter was not the one that crashed, so it keeps its lines.",
        (
            "        self._lines.clear()\n"
            "        self._waiting.reset()\n"
            "        self._wakes.clear()\n"
            "        self._set_timer()\n",
            "",
        ),
        expected="awaited",
    ),
    mutant(
        "timeout-is-transient",
        "actors/pipeline/channel.py",
        "A provider that has not answered has not sent it.",
        (
            "system.perform(self._breaker, effect, admitted, self._timeout_ns, TIMED_OUT)",
            "system.perform(self._breaker, effect, admitted, self._timeout_ns, Transient(reason=TIMED_OUT.reason))",
        ),
        expected="answers",
    ),
    mutant(
        "history-outlives-its-notification",
        "actors/storage/sqlite/batch.py",
        "The notification is deleted, and what depends on it goes with it.",
        ('            _delete(sql, "history", self.ended_with_history)\n', ""),
        expected="reopened",
    ),
    # The second ten, when the invariants were there that the first had asked for.
    mutant(
        "orders-only-for-known-hosts",
        "actors/policies/breaker/per_host.py",
        "An operator's order is carried out, and forgotten.",
        ("        self._override = event\n", ""),
        expected="breaker-decisions",
    ),
    mutant(
        "half-open-for-ever",
        "actors/policies/breaker/breaker.py",
        "A probe always comes back, so there is nothing to do about those that are overdue.",
        (
            '        elif self._state is _HALF_OPEN and self._half_open_then == "open":\n'
            "            self._apply(BreakerEvent.PROBES_OVERDUE, due_ns)\n",
            "",
        ),
        expected="breaker-transitions",
    ),
    mutant(
        "open-time-never-grows",
        "actors/policies/breaker/breaker.py",
        "A breaker that is half-open has recovered.",
        (
            "            self._tripping.reset()\n            if after",
            "            self._tripping.reset()\n            self._openings = 0\n            if after",
        ),
        expected="breaker-transitions",
    ),
    mutant(
        "pushback-and-backoff",
        "actors/policies/retry/policy.py",
        "After a pushback the backoff goes on where it was.",
        ("            progress.step, progress.memory_ns = 0, None\n", ""),
        expected="backoff",
    ),
    mutant(
        "retry-time-counts-from-the-beginning",
        RETRIES,
        "However often something is redriven, its time is up when it was up.",
        (
            "        return self._policy_of(delivery.command.channel).last_start_ns(delivery.fresh_since_ns)\n",
            "        return self._policy_of(delivery.command.channel).last_start_ns(delivery.requested_at_ns)\n",
        ),
        expected="given-up",
    ),
    mutant(
        "last-window-however-long-ago",
        "actors/policies/rate_limit/windows.py",
        "The window before is the one that was counted before.",
        ("self._previous = self._current if passed == 1 else {}", "self._previous = self._current"),
        expected="user-limit",
    ),
    mutant(
        "address-gone-again-after-a-restart",
        "actors/storage/sqlite/store.py",
        "That an address is good again, since an operator redrives, is not written.",
        ("            if kind is NotificationRedriven or suppression_from(", "            if suppression_from("),
        expected="reopened",
    ),
    mutant(
        "ids-pruned-by-number",
        "actors/storage/sqlite/batch.py",
        "For each id that comes two old ones go, whatever their age.",
        ("WHERE {column} <= ? AND NOT seq", "WHERE ? IS NOT NULL AND NOT seq"),
        expected="reopened",
    ),
    mutant(
        "timeout-of-the-first-provider",
        "actors/pipeline/channel.py",
        "A channel has one timeout.",
        ("ns(lane.config.timeout)", "ns(stages.lanes[0].config.timeout)"),
        expected="answers",
    ),
    mutant(
        "served-only-while-it-is-under-way",
        "actors/storage/memory.py",
        "What has been sent is gone from the store, and with it that the letter is served.",
        ("            request.delivered |= type(event) is NotificationSent\n", ""),
        expected="reached-once",
    ),
    mutant(
        "served-note-not-written",
        "actors/storage/sqlite/store.py",
        "Memory knows of which request a notification is, so the file does.",
        ("            batch.belong(event.notification_id, request)\n", "            pass\n"),
        expected="reopened",
    ),
    mutant(
        "served-by-the-next-in-the-chain-only",
        "actors/domain/requests.py",
        "A fallback of a fallback is a request of its own.",
        (
            "        request = self._by_member.get(instead_of)\n        if request is None:\n",
            "        request = self._by_member.get(instead_of)\n"
            "        if request is None or request.request_id != instead_of:\n",
        ),
        expected="reached-once",
    ),
    mutant(
        "fallback-forgets-whose-it-is",
        "actors/pipeline/fallback.py",
        "The user of what falls back is the one that was given, if any was.",
        ("            user_id=command.user,\n", "            user_id=command.user_id,\n"),
        expected="user-limit",
    ),
)
