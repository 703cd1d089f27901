"""Mistakes about circuit breakers, and about what waits for them."""

from __future__ import annotations

from mutant import mutant

BREAKER = "actors/policies/breaker/breaker.py"
PROBES = "actors/policies/breaker/probes.py"
TRIPPING = "actors/policies/breaker/tripping.py"
LANE = "actors/pipeline/lane.py"
STAGE = "actors/pipeline/circuit_breaker.py"

MUTANTS = (
    mutant(
        "any-number-of-probes",
        PROBES,
        "A half-open breaker is taken for a closed one that is nervous.",
        ("return self.under_way + self._results < self._permits", "return True"),
        expected="open-breaker",
    ),
    mutant(
        "late-success-closes",
        BREAKER,
        "From which state a result is, is not asked.",
        (
            "        if permit != self._generation:\n            return self._record_late(permit, now_ns, False)\n",
            "",
        ),
        (
            "        self.advance(now_ns)\n        if permit != self._generation:\n            return False\n"
            "        if self._state is _HALF_OPEN:\n            is_back",
            "        self.advance(now_ns)\n        if self._state is _HALF_OPEN:\n            is_back",
        ),
        expected="breaker-decisions",
    ),
    mutant(
        "floats-at-the-reopen-tie",
        BREAKER,
        "The instant is computed in seconds.",
        (
            "now_ns + self._open_time.next_ns(self._openings) + self._reopen_after_ns",
            "int((now_ns / 1e9 + self._open_time.next_ns(self._openings) / 1e9) * 1e9) + self._reopen_after_ns",
        ),
        expected="breaker-transitions",
    ),
    mutant(
        "permanent-errors-trip",
        LANE,
        "A bad address counts as a failure of the provider.",
        (
            "            breaker.record_reachable(permit, now_ns, duration_ns)\n",
            "            breaker.record_failure(permit, now_ns, duration_ns)\n",
        ),
        expected="breaker-decisions",
    ),
    mutant(
        "throttling-trips",
        LANE,
        "A 429 counts as a failure of the provider.",
        (
            "        case Transient() if outcome.throttled:\n            breaker.record_neutral(permit, now_ns)\n",
            "        case Transient() if outcome.throttled:\n"
            "            breaker.record_failure(permit, now_ns, duration_ns)\n",
        ),
        expected="breaker-decisions",
    ),
    mutant(
        "timeouts-do-not-count",
        LANE,
        "Its outcome is unknown, so it is not counted.",
        (
            "        case Transient() | Ambiguous():\n"
            "            breaker.record_failure(permit, now_ns, duration_ns)\n",
            "        case Transient():\n            breaker.record_failure(permit, now_ns, duration_ns)\n"
            "        case Ambiguous():\n            breaker.record_neutral(permit, now_ns)\n",
        ),
        expected="breaker-decisions",
    ),
    mutant(
        "cancelled-probe-leaks-its-slot",
        PROBES,
        "A probe that says nothing is still taken for one that is out.",
        ("        if self.under_way:\n            self.under_way -= 1\n", "        pass\n"),
        expected="liveness",
    ),
    mutant(
        "one-failure-too-late",
        TRIPPING,
        "The threshold is what may fail, and not what trips.",
        ("        return self.count >= self.threshold and", "        return self.count > self.threshold and"),
        expected="breaker-decisions",
    ),
    mutant(
        "success-does-not-reset",
        TRIPPING,
        "Failures are counted, whatever comes between them.",
        ("        self.count = 0\n        return False\n", "        return False\n"),
        expected="breaker-decisions",
    ),
    mutant(
        "counts-kept-over-closing",
        BREAKER,
        "What was counted before it opened is still counted when it has closed.",
        (
            "            self._tripping.reset()\n            if after is _HALF_OPEN:\n",
            "            if after is _HALF_OPEN:\n",
        ),
        expected="breaker-decisions",
    ),
    mutant(
        "minimum-of-calls-forgotten",
        TRIPPING,
        "One failure of one call is a failure rate of 100%.",
        ("        if window.calls < self._minimum_calls:\n            return False\n", ""),
        expected="breaker-decisions",
    ),
    mutant(
        "herd-released-at-once",
        STAGE,
        "When the breaker has closed, all may go.",
        ("            lane.resume_paced(host, self.now_ns)\n", "            pass\n"),
        expected="resume-pace",
    ),
    mutant(
        "forced-open-admits",
        BREAKER,
        "An operator's order is about the state that is shown, and requests are let through as before.",
        (
            "        self._admits_all = after in (_CLOSED, _DISABLED, _METRICS_ONLY)\n",
            "        self._admits_all = after not in (_OPEN, _HALF_OPEN)\n",
        ),
        expected="open-breaker",
    ),
    mutant(
        "open-time-never-shrinks",
        BREAKER,
        "How often it has opened in a row is not forgotten when it closes.",
        ("                self._openings = 0\n", "                pass\n"),
        expected="breaker-transitions",
    ),
    mutant(
        "recovery-wakes-no-one",
        STAGE,
        "What waits is looked after when the timer fires, and not when a probe has brought the breaker back.",
        (
            "            if line is not None and (self._has_news or not line.is_paced):\n",
            "            if False:\n",
        ),
        expected="liveness",
    ),
)
