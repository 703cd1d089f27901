"""Mistakes that the settings of no scenario here reveal, and drawn ones do."""

from __future__ import annotations

from mutant import mutant

MUTANTS = (
    mutant(
        "linear-a-step-ahead",
        "actors/settings/retry.py",
        "The first wait is taken to be longer by an increment already.",
        ("min(initial + increment * (attempt - 1), longest)", "min(initial + increment * attempt, longest)"),
        expected="backoff",
    ),
    mutant(
        "shortest-wait-forgotten",
        "actors/settings/retry.py",
        "The longest wait is heeded, and the shortest one is not.",
        (
            "        return max(self.min_delay, _by_formula(self, attempt))\n",
            "        return _by_formula(self, attempt)\n",
        ),
        expected="backoff",
    ),
    mutant(
        "reserve-for-everyone",
        "actors/pipeline/intake.py",
        "What is kept free for critical notifications is given to all.",
        ("and not self.has_room(command.priority)", "and not self.has_room(Priority.CRITICAL)"),
        expected="room",
    ),
)
