"""Bounces: what a mail server reports of a mail that it had taken, as a delivery status notification (RFC 3464).

=============================================== =============== ====================================================
the fields of a recipient                       outcome         because
=============================================== =============== ====================================================
Action failed, Status 5.1.1, 5.1.2, 5.1.3,      DeadDestination no such mailbox, no such host, no such form of
5.1.6 or 5.1.10                                 address, moved, takes no mail: as when it says so at once
Action failed, any other Status 5               Permanent       it is not delivered, and will not be (RFC 3463, 2)
Action failed, Status 4                         Transient       it was tried for as long as that server does
Action delivered                                Sent            it is in the mailbox
Action delayed, relayed, expanded               none            it is still on its way (RFC 3464, 2.3.3)
=============================================== =============== ====================================================

The recipient is the one that was written to (Original-Recipient), where the report names it.
"""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterable
from email.message import Message
from typing import Any, Final

import msgspec

from actors.outcomes import DeadDestination, Outcome, Permanent, Sent, Transient
from actors.transports.smtp_connections import DEAD_CODES

_STATUS: Final = re.compile(r"\s*([245]\.[0-9]{1,3}\.[0-9]{1,3})\b", re.ASCII)
_DIAGNOSTIC_MAX: Final = 500


class Bounce(msgspec.Struct, frozen=True, kw_only=True):
    """What a mail server reports about one recipient of a mail."""

    recipient: str
    outcome: Outcome


def bounces_in(content: bytes) -> list[Bounce]:
    """Return what a mail reports of each recipient whose mail is at an end; nothing, where it is no such report.

    Args:
        content: the mail as it came, header and body.
    """
    try:
        mail = email.message_from_bytes(content, policy=email.policy.compat32)
        reports = [part for part in mail.walk() if part.get_content_type() == "message/delivery-status"]
        return [bounce for report in reports for bounce in _of_report(report.get_payload())]
    except (ValueError, LookupError, RecursionError):  # what is none in a way that the parser does not expect
        return []


def _of_report(groups: Any) -> Iterable[Bounce]:
    """Return the bounces of the groups of fields in a report; the first is about the mail as a whole."""
    for fields in groups if isinstance(groups, list) else ():
        if not isinstance(fields, Message):
            continue
        recipient = _address(fields.get("Original-Recipient")) or _address(fields.get("Final-Recipient"))
        outcome = _outcome(fields)
        if recipient is not None and outcome is not None:
            yield Bounce(recipient=recipient, outcome=outcome)


def _outcome(fields: Message) -> Outcome | None:
    action, status = str(fields.get("Action", "")).strip().lower(), _STATUS.match(str(fields.get("Status", "")))
    if action == "delivered":
        return Sent(answer="delivered")
    if action != "failed":
        return None
    code = None if status is None else status[1]
    reason = "bounced" if code is None else f"bounced, {code}"
    answer = str(fields.get("Diagnostic-Code", "")).strip()[:_DIAGNOSTIC_MAX] or None
    if code in DEAD_CODES:
        return DeadDestination(reason=reason, answer=answer)
    if code is not None and code.startswith("4"):
        return Transient(reason=reason, answer=answer)
    return Permanent(reason=reason, answer=answer)


def _address(field: object) -> str | None:
    """Return the address of a recipient field, ``rfc822; ann@example.com``."""
    kind, semicolon, address = str(field or "").partition(";")
    address = address.strip().strip("<>")
    return address if semicolon and kind.strip().lower() in ("rfc822", "utf-8") and "@" in address else None
