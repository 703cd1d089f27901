"""Mistakes about attempts, retries and backoff."""

from __future__ import annotations

from mutant import mutant

HANDLER = "actors/pipeline/handler.py"
DELIVERY = "actors/domain/delivery.py"
RETRIES = "actors/pipeline/retries.py"
RETRY = "actors/policies/retry/policy.py"
BACKOFF = "actors/policies/retry/backoff.py"

MUTANTS = (
    mutant(
        "one-attempt-too-many",
        RETRY,
        "max_attempts is taken for the number of retries.",
        ("if attempts >= rule.max_attempts:", "if attempts > rule.max_attempts:"),
        expected="retry-limits",
    ),
    mutant(
        "one-attempt-too-few",
        RETRY,
        "The attempt that has just failed is counted twice.",
        ("if attempts >= rule.max_attempts:", "if attempts + 1 >= rule.max_attempts:"),
        expected="given-up",
    ),
    mutant(
        "attempts-not-reset-on-redrive",
        DELIVERY,
        "A dead letter is taken up again with the attempts that it had.",
        (
            "        failures=list(letter.history),\n",
            "        failures=list(letter.history),\n        attempts=letter.attempts,\n",
        ),
        expected="attempt-numbers",
    ),
    mutant(
        "first-failure-overwritten",
        DELIVERY,
        "Every failure is taken for the first.",
        (
            "    first = delivery.failures[0] if delivery.failures else moved\n",
            "    first = delivery.failures[-1] if delivery.failures else moved\n",
        ),
        expected="dead-letters",
    ),
    mutant(
        "first-failure-lost-on-redrive",
        DELIVERY,
        "What is redriven has never failed before.",
        (
            "            letter.first_failure_ns + letter.epoch_ns, letter.acc",
            "            now_ns + epoch_ns, letter.acc",
        ),
        expected="dead-letters",
    ),
    mutant(
        "permanent-errors-retried",
        RETRIES,
        "A bad address is tried again in a minute, just in case.",
        (
            "                return None, outcome.reason\n            case Sent():",
            "                return now_ns + 60_000_000_000, None\n            case Sent():",
        ),
        expected="retry-limits",
    ),
    mutant(
        "retry-sleeps-in-the-mailbox",
        HANDLER,
        "The handler sleeps until the retry is due, and so does everything behind it.",
        ("        self.at(delivery.due_ns, _GoOn(delivery))\n", "        self.actor_ref.tell(_GoOn(delivery))\n"),
        (
            "    def on_go_on(self, message: _GoOn) -> None:\n",
            "    async def on_go_on(self, message: _GoOn) -> None:\n",
        ),
        (
            "        if not self._may_go_on(delivery):\n            return\n",
            "        if not self._may_go_on(delivery):\n            return\n"
            "        await self.sleep(max(0, delivery.due_ns - self.now_ns) / 1e9)\n",
        ),
        expected="answers",
    ),
    mutant(
        "progress-shared",
        RETRIES,
        "One object is the default of all notifications.",
        ("if delivery.attempts else Progress()\n", "if delivery.attempts else _NONE_YET\n"),
        ('BUDGET_SPENT = "retry budget spent"\n', 'BUDGET_SPENT = "retry budget spent"\n_NONE_YET = Progress()\n'),
        expected="given-up",
    ),
    mutant(
        "jitter-above-the-cap",
        BACKOFF,
        "The maximum is applied to the delay, and jitter is added after that.",
        ("            high = min(high, longest)\n", "            high = min(high, 3 * longest)\n"),
        ("return min(longest, low + int(max(0, high - low)", "return (low + int(max(0, high - low)"),
        expected="backoff",
    ),
    mutant(
        "backoff-one-step-ahead",
        "actors/settings/retry.py",
        "The first exponent is 1 and not 0.",
        ("math.pow(multiplier, attempt - 1)", "math.pow(multiplier, attempt)"),
        expected="backoff",
    ),
    mutant(
        "full-jitter-up-to-twice",
        BACKOFF,
        "Full jitter is drawn round the delay, and not below it.",
        (
            "        return min(base_ns, low + int((base_ns - low) * self._draw()))\n",
            "        return low + int(2 * (base_ns - low) * self._draw())\n",
        ),
        expected="backoff",
    ),
    mutant(
        "retry-after-is-an-upper-bound",
        RETRY,
        "Of the backoff and the provider's hint the shorter one is taken.",
        ("return max(delay_ns, self._spread(", "return min(delay_ns, self._spread("),
        expected="backoff",
    ),
    mutant(
        "retry-after-it-has-expired",
        RETRIES,
        "Expiry is looked at when a notification comes, and not when it is to be tried again.",
        ("        if expires_at_ns is not None and retry_at_ns > expires_at_ns:\n", "        if False:\n"),
        expected="in-time",
    ),
    mutant(
        "retry-timers-lost-on-restart",
        HANDLER,
        "What waits for its retry has a timer, so a handler that starts again has nothing to do for it.",
        (
            "        else:\n            self._wait(delivery)\n\n    def _flush_stages",
            "\n    def _flush_stages",
        ),
        expected="liveness",
    ),
    mutant(
        "retries-at-once-on-restart",
        DELIVERY,
        "The time of the retry is not restored.",
        (
            "                    delivery.due_ns = anchored(event, event.next_retry_at_ns, epoch_ns)\n",
            "                    pass\n",
        ),
        expected="in-time",
    ),
    mutant(
        "attempts-lost-on-restart",
        DELIVERY,
        "How many attempts were used up is not restored.",
        ("                delivery.attempts = event.attempt\n", ""),
        expected="attempt-numbers",
    ),
    mutant(
        "given-up-and-tried-again-on-restart",
        HANDLER,
        "A crash between the last failure and the dead letter gives another attempt.",
        (
            "        if delivery.given_up is not None:\n            self._dead_letter_as_decided(delivery)\n"
            "        elif delivery.command.channel",
            "        if delivery.command.channel",
        ),
        expected="retry-limits",
    ),
)
