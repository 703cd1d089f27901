"""Mistakes by which something does not come that has to, or comes at another time."""

from __future__ import annotations

from mutant import mutant

HANDLER = "actors/pipeline/handler.py"
QUEUE = "actors/pipeline/dead_letter_queue.py"
SUPERVISION = "actors/kernel/supervision.py"

MUTANTS = (
    mutant(
        "no-fallback-of-what-was-never-tried",
        HANDLER,
        "What has not been tried on its own channel needs no other one.",
        (
            "            self._to_dead_letter_queue(letter)\n            self._fall_back(delivery)\n",
            "            self._to_dead_letter_queue(letter)\n"
            "            if delivery.attempts:\n                self._fall_back(delivery)\n",
        ),
        expected="fallback-due",
    ),
    mutant(
        "waits-through-the-night-to-expire",
        HANDLER,
        "That it has expired is found out when the quiet hours are over.",
        (
            "        if delivery.expires_at_ns is not None and due_ns > delivery.expires_at_ns:\n"
            "            self._dead_letter(delivery, EXPIRED)\n            return\n        delivery.due_ns",
            "        delivery.due_ns",
        ),
        expected="quiet-hours",
    ),
    mutant(
        "waits-for-a-limit-to-expire",
        "actors/pipeline/rate_limiter.py",
        "That it has expired is found out in the line.",
        (
            "        elif is_too_late(attempt, fits_at_ns):\n"
            "            self._reject(attempt, EXPIRED)\n        else:\n",
            "        else:\n",
        ),
        expected="user-limit",
    ),
    mutant(
        "alert-never-again-while-it-goes-on",
        "actors/pipeline/alert.py",
        "It is quiet for so long after the latest, be it raised or only counted.",
        (
            "            self.repeated += 1\n            return\n",
            "            self.repeated += 1\n            del latest_ns[key]\n"
            "            latest_ns[key] = now_ns\n            return\n",
        ),
        expected="alerts",
    ),
    mutant(
        "no-alert-for-what-was-never-tried",
        QUEUE,
        "What has expired in a line is no trouble of anyone's.",
        (
            "            logger.error(text, letter.notification_id, letter.attempts, letter.failure_reason)\n",
            "            logger.error(text, letter.notification_id, letter.attempts, letter.failure_reason)\n"
            "        if not letter.attempts:\n            return\n",
        ),
        expected="alerts",
    ),
    mutant(
        "no-alert-of-a-broken-channel-at-a-retry",
        HANDLER,
        "A fault of the channel shows with the first attempt.",
        (
            "        if isinstance(outcome, ChannelFault):\n",
            "        if isinstance(outcome, ChannelFault) and not delivery.attempts:\n",
        ),
        expected="alerts",
    ),
    mutant(
        "kept-since-its-first-failure",
        QUEUE,
        "A letter is as old as its trouble.",
        (
            "            up_ns = oldest.epoch_ns + oldest.moved_at_ns + self._keep_ns - self.epoch_ns\n",
            "            up_ns = oldest.epoch_ns + oldest.first_failure_ns + self._keep_ns - self.epoch_ns\n",
        ),
        expected="retention",
    ),
    mutant(
        "room-for-one-letter-less",
        QUEUE,
        "A queue of twelve is full with the twelfth.",
        ("        if count <= self._at_most:\n", "        if count < self._at_most:\n"),
        ("self._redrives.taken)) > self._at_most\n", "self._redrives.taken)) >= self._at_most\n"),
        expected="retention",
    ),
    mutant(
        "letters-that-are-gone",
        QUEUE,
        "What lies in the mailbox is a dead letter, so it counts when the queue has started again.",
        (
            "        self._store.keep_letter(letter)\n",
            "        self._store.keep_letter(letter)\n"
            "        is_one = self._store.is_dead_letter(letter.notification_id)\n"
            "        self._gone = getattr(self, '_gone', 0) + (not is_one)\n",
        ),
        ("count_dead_letters() - self._commits", "count_dead_letters() + getattr(self, '_gone', 0) - self._commits"),
        expected="retention",
    ),
    mutant(
        "restart-waits-twice-as-long",
        SUPERVISION,
        "The wait doubles from the first restart on.",
        ("            doublings = min(failures, 1000)", "            doublings = min(failures + 1, 1000)"),
        expected="restarts",
    ),
    mutant(
        "started-twice-after-a-crash-upon-a-crash",
        SUPERVISION,
        "That it is to begin is said once, whatever becomes of it meanwhile.",
        (
            "        actor._incarnation.beginning = Begin()  # one that is under way already no longer counts\n",
            "        actor._incarnation.beginning = actor._incarnation.beginning or Begin()\n",
        ),
        expected="restarts",
    ),
    mutant(
        "ramp-forgets-the-rest",
        "actors/policies/breaker/recovery.py",
        "When one goes through, the credit is used up.",
        ("        self._credit -= self._whole\n", "        self._credit = 0\n"),
        expected="ramp",
    ),
    mutant(
        "switches-one-attempt-early",
        "actors/pipeline/circuit_breaker.py",
        "After two attempts is when the second one comes.",
        (
            "        first = (attempt.number - 1) // self._switch_after % len(self._lanes)\n",
            "        first = attempt.number // self._switch_after % len(self._lanes)\n",
        ),
        expected="failover-order",
    ),
)
