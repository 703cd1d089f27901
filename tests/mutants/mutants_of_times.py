"""Mistakes about the time of day, and about how long something is wanted."""

from __future__ import annotations

from mutant import mutant

HANDLER = "actors/pipeline/handler.py"
READINESS = "actors/pipeline/readiness.py"
QUIET = "actors/policies/quiet_hours.py"
STAGE = "actors/pipeline/circuit_breaker.py"

MUTANTS = (
    mutant(
        "quiet-hours-not-over-midnight",
        QUIET,
        "From 22:00 to 07:00 is after 22:00 and before 07:00.",
        ("return shown >= self.start or shown < self.end", "return shown >= self.start and shown < self.end"),
        expected="quiet-hours",
    ),
    mutant(
        "quiet-hours-in-utc",
        QUIET,
        "The user's zone is asked for and not used.",
        (
            "        shown = self._local(instant).time()\n        if self.start < self.end:",
            "        shown = instant.time()\n        if self.start < self.end:",
        ),
        expected="quiet-hours",
    ),
    mutant(
        "daylight-saving",
        QUIET,
        "A day has 24 hours.",
        ("            instant = self._first_change(instant, reached) or reached\n", "            instant = reached\n"),
        expected="quiet-hours",
    ),
    mutant(
        "quiet-hours-end-where-they-ended-today",
        QUIET,
        "The offset from UTC is that of the instant at which it is asked.",
        (
            "_since_midnight(self._local(instant).time())",
            "_since_midnight(instant.time())",
        ),
        ("            instant = self._first_change(instant, reached) or reached\n", "            return reached\n"),
        expected="quiet-hours",
    ),
    mutant(
        "quiet-hours-not-asked-again",
        HANDLER,
        "What has waited for the end of quiet hours may go, whatever the clock says.",
        (
            "        delivery.due_ns = None\n        self._prepare(delivery)\n",
            "        delivery.due_ns = None\n        self._send(delivery)\n",
        ),
        expected="wanted",
    ),
    mutant(
        "waiting-goes-out-in-quiet-hours",
        STAGE,
        "Quiet hours are asked for before a notification has to wait, and not when its turn comes.",
        ("            if is_wanted is not None and not is_wanted(first.command):\n", "            if False:\n"),
        expected="wanted",
    ),
    mutant(
        "switched-off-and-sent",
        READINESS,
        "Preferences are those of a recipient, not of a user.",
        (
            "        if not preferences.is_enabled(user, channel):\n",
            "        if not preferences.is_enabled(command.recipient, channel):\n",
        ),
        expected="wanted",
    ),
    mutant(
        "expired-and-sent",
        "actors/pipeline/waiting_line.py",
        "What waits in a line is not looked at any more.",
        ("        while self._expiries and self._expiries[0][0] < now_ns:\n", "        while False:\n"),
        ("        return self._expiries[0][0] + 1 if self._expiries else None\n", "        return None\n"),
        expected="in-time",
    ),
    mutant(
        "expiry-counts-from-the-redrive",
        "actors/domain/delivery.py",
        "A redrive does not begin anew, so what is redriven late has expired already.",
        (
            "        fresh_since_ns=now_ns,\n        charged=True,\n",
            "        fresh_since_ns=letter.requested_at_ns + letter.epoch_ns - epoch_ns,\n        charged=True,\n",
        ),
        expected="given-up",
    ),
    mutant(
        "no-timeout",
        "actors/pipeline/channel.py",
        "The time limit is left to the provider.",
        (
            "system.perform(self._breaker, effect, admitted, self._timeout_ns, TIMED_OUT)",
            "system.perform(self._breaker, effect, admitted, None, TIMED_OUT)",
        ),
        expected="answers",
    ),
)
