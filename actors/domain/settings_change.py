"""Settings that a store keeps beside notifications: preferences of users, and suppressions; and how they change."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from actors.domain.audit import AuditEntry
from actors.domain.suppressions import Key, Suppression
from actors.domain.user_preferences import UserPreferences


class SettingsChange(msgspec.Struct, frozen=True, kw_only=True):
    """What changes at once, or not at all."""

    audit: AuditEntry
    """Who changes what; kept with the change."""

    suppressed: tuple[Suppression, ...] = ()
    """As :meth:`Suppressions.add` takes them."""

    lifted: tuple[Key, ...] = ()
    """Addresses that are suppressed no more, whoever has said so."""

    preferences: Mapping[str, UserPreferences | None] = {}
    """What users have set from now on, by user id; None: nothing."""
