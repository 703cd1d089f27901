"""How many examples Hypothesis tries where one of them takes long, such as a whole run."""

import os

EXPLORES = "RETRYLAB_EXPLORE" in os.environ
"""Whether new examples are looked for, and not the same ones in every run."""


def examples(thorough: int) -> int:
    """Return how many examples such a test tries: all where new ones are looked for, else a quarter."""
    return thorough if EXPLORES else max(20, thorough // 4)
