"""Whether a user wants a notification now: preferences and quiet hours (section 6)."""

from __future__ import annotations

import hashlib
from typing import Final

from actors.messages import SendNotification
from simulation.reference.quiet_hours import QuietHours, quiet_until_ns
from simulation.reference.world import World

NOT_WANTED: Final = -1
"""In place of an instant: never."""


class People:
    """The preferences of all users, which follow from their ids."""

    def __init__(self, world: World) -> None:
        self._world = world

    def wanted_from(self, command: SendNotification, now_ns: int, epoch_ns: int) -> int | None:
        """Return from when on a user wants a command; None: now, as always. "`critical` bypasses" both."""
        world = self._world
        if command.critical or not (world.preferences or world.quiet_hours):
            return None
        user, channel = command.user, command.channel
        for number, rule in enumerate(world.preferences):
            if channel == rule.channel and _belongs(user, f"off/{number}", rule.share):
                return NOT_WANTED
        hours = [
            QuietHours(rule.from_, rule.to, rule.zone)
            for number, rule in enumerate(world.quiet_hours)
            if channel in rule.channels and _belongs(user, f"quiet/{number}", rule.share)
        ]
        return quiet_until_ns(hours, now_ns, epoch_ns) if hours else None


def _belongs(user: str, rule: str, share: float) -> bool:
    """Tell whether a user is of the share that a rule is about: by the user's id alone, in every run alike."""
    digest = hashlib.sha256(f"{rule}/{user}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
