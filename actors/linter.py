"""The linter: settings that cannot do what they say, as warnings that give the numbers.

Settings can each be valid and still not go together: a timeout below what the provider usually takes, a breaker that
looks at a rate over more calls than there are. The loader accepts them, as somebody may want to see what comes of it;
this says beforehand what will. It draws nothing and runs nothing: whatever it says follows from the settings and, where
it is known, from the rate of arrivals. A live configuration is read without one, so there it says less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.lint_rules.breaker import breaker_rules
from actors.lint_rules.load import load_rules
from actors.lint_rules.retry import ends_too_soon, retry_rules
from actors.lint_rules.traffic import Traffic

if TYPE_CHECKING:
    from actors.config import ChannelConfig


@dataclass(frozen=True, slots=True)
class Finding:
    """A setting that cannot do what it says."""

    path: tuple[str, ...]
    """The keys that lead to it, as they are written: ``("channels", "email", "timeout")``."""

    text: str
    """What is to be said of it, with the numbers."""

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.text}"


def lint(
    channel: str,
    config: ChannelConfig,
    *,
    arrivals_per_s: float | None = None,
    users: int | None = None,
    expires_after: float | None = None,
    per_user_per_s: float | None = None,
    most_arrivals_in: Callable[[float], float] | None = None,
) -> list[Finding]:
    """Return what cannot work in the settings of one channel; the paths begin with ``channels``.

    Args:
        channel: its name.
        config: its settings.
        arrivals_per_s: notifications a second on average. None: not known, and nothing is said that depends on it.
        users: over how many users they are spread evenly. None: each has its own.
        expires_after: seconds after which a notification is not sent any more. None: never.
        per_user_per_s: notifications a second of the busiest user, where they are not spread evenly.
        most_arrivals_in: returns how many are expected in the busiest stretch of so many seconds. None: as many as on
            average.
    """
    if per_user_per_s is None and users is not None and arrivals_per_s is not None:
        per_user_per_s = arrivals_per_s / users
    traffic = Traffic(arrivals_per_s, per_user_per_s, most_arrivals_in)
    findings = [
        Finding(("channels", channel, *path), text)
        for rules in (retry_rules, breaker_rules, load_rules)
        for path, text in rules(config, traffic)
    ]
    if expires_after is not None and (text := lint_expiry(config, expires_after)) is not None:
        findings.append(Finding(("channels", channel, "retry"), f"an expiry of {text}"))
    return findings


def lint_expiry(config: ChannelConfig, expires_after: float) -> str | None:
    """Return what an expiry of so many seconds keeps the retries of a channel from, or None."""
    return ends_too_soon(config.retry, expires_after, included=True)
