"""Mistakes about limits: of users, of providers, and of what is under way at once."""

from __future__ import annotations

from mutant import mutant

HANDLER = "actors/pipeline/handler.py"
STAGE = "actors/pipeline/rate_limiter.py"
LANE = "actors/pipeline/lane.py"

MUTANTS = (
    mutant(
        "limiter-charged-again-on-retry",
        "actors/domain/delivery.py",
        "Every attempt is a new one to the limiter.",
        ("            charged=self.charged,\n", "            charged=False,\n"),
        expected="user-limit",
    ),
    mutant(
        "retries-wait-for-the-limiter",
        STAGE,
        "Every attempt is counted, whether it was before or not.",
        ("        if attempt.charged:\n            self._to_next(attempt)\n            return\n", ""),
        expected="user-limit",
    ),
    mutant(
        "one-limit-for-all-users",
        STAGE,
        "The key is the channel's and not the user's.",
        (
            "        user = command.recipient if command.user_id is None else command.user_id\n",
            "        user = str(self._channel)\n",
        ),
        expected="user-limit",
    ),
    mutant(
        "double-limit-at-the-seam",
        "actors/policies/rate_limit/limiter.py",
        "A window that starts at every full minute is taken for one that slides.",
        (
            "            return SlidingWindow(int(count), window_ns)\n",
            "            return FixedWindow(int(count), window_ns)\n",
        ),
        expected="quota",
    ),
    mutant(
        "bucket-with-one-token-more",
        "actors/policies/rate_limit/buckets.py",
        "The burst is what may come beside the first.",
        ("self._slack = (burst - 1) * self._interval", "self._slack = burst * self._interval"),
        expected="quota",
    ),
    mutant(
        "users-forgotten-too-early",
        "actors/policies/rate_limit/recent_keys.py",
        "Keys are dropped to save memory, before what is known of them is out of date.",
        ("self._turn_at_ns = now_ns + self._horizon_ns", "self._turn_at_ns = now_ns + self._horizon_ns // 4"),
        expected="user-limit",
    ),
    mutant(
        "window-closed-on-both-sides",
        "actors/policies/rate_limit/windows.py",
        "What is exactly one width old is still counted, and a caller that asks then gets the answer to come back now.",
        ("        while log and log[0] <= outside_ns:\n", "        while log and log[0] < outside_ns:\n"),
        expected="quota",
    ),
    mutant(
        "quota-not-charged",
        LANE,
        "Whether there is room is asked, and it is not taken.",
        (
            "            limiter.try_acquire(WHOLE_LANE, now_ns)\n",
            "            limiter.fits_at(WHOLE_LANE, now_ns)\n",
        ),
        expected="quota",
    ),
    mutant(
        "one-slot-more",
        LANE,
        "A bulkhead of six is full with the seventh.",
        (
            "        if limit is not None and self.in_flight >= limit:\n",
            "        if limit is not None and self.in_flight > limit:\n",
        ),
        expected="bulkhead",
    ),
    mutant(
        "rate-cut-to-nothing",
        "actors/policies/adaptive/rate.py",
        "A rate may be halved as often as the provider likes.",
        ("min(self._maximum, max(self._minimum, cut))", "min(self._maximum, cut)"),
        expected="adaptive-rate",
    ),
    mutant(
        "slot-leaks-on-failure",
        LANE,
        "A slot is given back where an attempt has succeeded.",
        (
            "        self.in_flight -= 1\n        if self._held is not None:\n"
            "            _give_back(self._held, key)\n        breaker =",
            "        self.in_flight -= type(outcome) is Sent\n        if self._held is not None:\n"
            "            _give_back(self._held, key)\n        breaker =",
        ),
        expected="liveness",
    ),
    mutant(
        "hedges-pass-the-quota",
        "actors/pipeline/hedging_channel.py",
        "Copies are no attempts, and so cost nothing.",
        (
            "        if lane.rates_allow_at_ns(now_ns) != now_ns:\n            return None\n",
            "",
        ),
        expected="quota",
    ),
    mutant(
        "timeout-of-each-copy",
        "actors/pipeline/hedging_channel.py",
        "Every copy has the whole timeout for itself.",
        ("        left_ns = flight.deadline_ns - now_ns\n", "        left_ns = self._timeout_ns\n"),
        expected="in-time",
    ),
)
