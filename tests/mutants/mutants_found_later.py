"""Mistakes that were planted when all invariants and scenarios of this hunt were there, to see what they are worth."""

from __future__ import annotations

from mutant import mutant

HANDLER = "actors/pipeline/handler.py"
FIGURES = "simulation/figures.py"

MUTANTS = (
    mutant(
        "last-come-first-served",
        "actors/pipeline/waiting_line.py",
        "Whoever was added last is at the end that is popped.",
        ("self.attempts.popitem(last=False)[1]", "self.attempts.popitem()[1]"),
        expected="expectations",
    ),
    mutant(
        "limiter-wakes-once",
        "actors/pipeline/rate_limiter.py",
        "When the first of a line has to wait on, nobody sets its alarm again.",
        (
            "                else:\n                    heapq.heappush(self._wakes, (line.fits_at_ns, user))\n",
            "",
        ),
        expected="liveness",
    ),
    mutant(
        "redriven-to-a-dead-address",
        HANDLER,
        "An address that is gone stays so, also when an operator knows better.",
        ("        self._dead_addresses.discard((letter.command.channel, letter.command.recipient))\n", ""),
        expected="expectations",
    ),
    mutant(
        "charged-again-after-a-restart",
        "actors/storage/store.py",
        "Whether the limiter has been charged is not restored.",
        (
            "                delivery.charged = True\n                delivery.failures += (event,)\n",
            "                delivery.failures += (event,)\n",
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
        "actors/policies/pace.py",
        "What could not go in time goes in a burst.",
        ("        self._start_ns += max(0, now_ns - self.next_ns)\n", ""),
        expected="resume-pace",
    ),
    mutant(
        "recalled-attempts-not-counted",
        "actors/policies/retry.py",
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
)
