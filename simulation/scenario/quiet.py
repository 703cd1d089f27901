"""What the linter finds about quiet hours: those that leave some users no moment of a day."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from actors.lint.channel import Finding
from actors.lint.words import percent
from actors.messages import NotificationChannel
from actors.policies.quiet_hours import QuietHours
from simulation.scenario.model import QuietHoursShare, Scenario


def quiet_rules(scenario: Scenario) -> Iterator[Finding]:
    """Yield findings about quiet hours."""
    by_entries: dict[tuple[QuietHoursShare, ...], list[NotificationChannel]] = {}
    for channel in scenario.channels_used:
        entries = tuple(entry for entry in scenario.quiet_hours if channel in entry.channels)
        by_entries.setdefault(entries, []).append(channel)
    for entries, channels in by_entries.items():
        hours = [QuietHours(entry.from_, entry.to, entry.zone) for entry in entries]
        if hours and not _leave_a_pause(hours, scenario.start):
            share = percent(math.prod(entry.share for entry in entries))
            yield Finding(
                ("quiet_hours",),
                "quiet-round-the-clock",
                f"leave no moment of a day on {' and '.join(channels)} to the {share} of the users who are in all of "
                "them: these get nothing there that is not critical",
            )


def _leave_a_pause(hours: Sequence[QuietHours], start: datetime) -> bool:
    """Tell whether there is a moment that is not quiet, in the day that begins at an instant."""
    at = start
    while at < start + timedelta(days=1):
        ends = [end for each in hours if (end := each.end_of_quiet(at)) is not None]
        if not ends:
            return True
        at = max(ends)
    return False
