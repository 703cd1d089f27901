"""Bounces: reports of a mail server on a mail that it had taken, as delivery status notifications (RFC 3464).

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

The recipient is the one that was written to (Original-Recipient), where the report names it. qmail writes no such
report but paragraphs (https://cr.yp.to/proto/qsbmf.txt), with the status in their text.

Anyone can write to the address that bounces come to. So a mail is read up to the bounds below, each line once; Python's
own parser takes a minute for 1 MB of nested parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import count, islice, takewhile
from typing import Final

import msgspec

from actors.outcomes import DeadDestination, Outcome, Permanent, Sent, Transient
from actors.transports.mail import ADDRESS_LENGTH_MAX, Unsendable, parse_mailbox
from actors.transports.smtp_connections import DEAD_CODES

BYTES_MAX: Final = 2**16
"""Bytes of a mail that are read. Servers return the whole mail, but behind the report."""

LEVELS_MAX: Final = 8
"""Levels of parts in parts and of mails in mails."""

PARTS_MAX: Final = 100

FIELD_LINES_MAX: Final = 1_000
"""Lines of headers and of the fields of reports, all together; also the paragraphs of qmail."""

PARAMETERS_MAX: Final = 100
"""Parameters of a Content-Type."""

_STATUS: Final = re.compile(rb"\s*([245]\.[0-9]{1,3}\.[0-9]{1,3})\b")
_STATUS_IN_TEXT: Final = re.compile(rb"(?:#|\b[245][0-9]{2}[ -])([245]\.[0-9]{1,3}\.[0-9]{1,3})\b")
_FIELD: Final = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_PARAMETER: Final = re.compile(rb';\s*([^\s;="()]+)\s*=\s*(?:"((?:[^"\\]|\\.)*+)"|([^\s;"]*))', re.DOTALL)
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_REPORTS: Final = frozenset({b"message/delivery-status", b"message/global-delivery-status"})
_MAILS: Final = frozenset({b"message/rfc822", b"message/global"})
_DIAGNOSTIC_MAX: Final = 500

_Fields = Mapping[bytes, bytes]
"""Fields by name in lower case; of several with one name the first, without line breaks."""


class Bounce(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a mail server on one recipient of a mail."""

    recipient: str
    outcome: Outcome


class Bounces(list[Bounce]):
    """The reports in a mail."""

    is_whole = True
    """Whether a report was read to its end, or, where there is none, the whole mail."""


def bounces_in(content: bytes) -> Bounces:
    """Return the final reports of a mail on each recipient, header and body; nothing if it is no such mail."""
    lines = content[:BYTES_MAX].splitlines()
    is_cut = len(content) > BYTES_MAX
    if is_cut:
        del lines[-1]  # its end may be missing
    reader = _BounceReader()
    reader.read(lines, is_cut)
    found = reader.found
    found.is_whole = reader.has_report or not reader.left_out
    if found or reader.has_report:
        return found
    return _of_qmail(lines, is_cut) or found


class _BounceReader:
    def __init__(self) -> None:
        self.found = Bounces()
        self.has_report = False
        """Whether the latest report was read to its end."""
        self.left_out = False
        """Whether a part of the mail is not read."""
        self._open: list[bytes] = []
        """The boundaries of the multiparts that are open, the outermost first; empty: of a mail in the mail."""
        self._block: list[bytes] = []
        """Lines of the header, or of the group of fields, that is being read."""
        self._is_in_report = self._is_in_text = False
        self._parts_left, self._lines_left = PARTS_MAX, FIELD_LINES_MAX

    def read(self, lines: Iterable[bytes], is_cut: bool) -> None:
        for line in lines:
            if line.startswith(b"--") and self._is_boundary(line[2:].rstrip()):
                if self._parts_left < 0:
                    break
            elif self._is_in_text:
                continue
            elif line:
                self._block.append(line)
                self._lines_left -= 1
                if self._lines_left < 0:
                    break
            elif self._block or not self._is_in_report:
                self._end_block()
        else:
            if not is_cut:
                self._end_part()
                return
        self.left_out = True

    def _is_boundary(self, text: bytes) -> bool:
        is_last = text not in self._open and text.endswith(b"--")
        boundary = text[:-2] if is_last else text
        if not boundary or boundary not in self._open:
            return False
        self._end_part()
        while self._open[-1] != boundary:
            self._open.pop()
        if is_last:
            self._open.pop()
        self._is_in_text = is_last
        self._parts_left -= not is_last
        return True

    def _end_part(self) -> None:
        if self._is_in_report:
            self._end_block()
            self.has_report, self._is_in_report = True, False
        self._block = []

    def _end_block(self) -> None:
        """Take the group of fields of a report; or a header, which tells the kind of the part behind it."""
        fields = _fields(self._block)
        self._block = []
        if self._is_in_report:
            self.found += _of_recipient(fields)
            return
        kind, _, parameters = fields.get(b"content-type", b"").partition(b";")
        kind = kind.partition(b"(")[0].strip().lower()
        boundary = _boundary(b";" + parameters) if kind.startswith(b"multipart/") else b""
        self._is_in_text = kind not in _MAILS
        if kind in _REPORTS:
            self.has_report, self._is_in_report, self._is_in_text = False, True, False
        elif (boundary or kind in _MAILS) and len(self._open) < LEVELS_MAX:
            self._open.append(boundary)
        elif kind in _MAILS or kind.startswith(b"multipart/"):
            self._is_in_text = self.left_out = True


def _fields(lines: Iterable[bytes]) -> _Fields:
    fields: dict[bytes, list[bytes]] = {}
    latest: list[bytes] = []
    for line in lines:
        if line[0] in b" \t":
            latest.append(line)
        elif (field := _FIELD.match(line)) is not None:
            latest = [field[2]]
            fields.setdefault(field[1].lower(), latest)
        else:
            latest = []
    return {name: b"".join(value).strip() for name, value in fields.items()}


def _boundary(parameters: bytes) -> bytes:
    named: dict[bytes, bytes] = {}
    for found in islice(_PARAMETER.finditer(parameters), PARAMETERS_MAX):
        name, quoted, plain = found.groups()
        value = plain if quoted is None else quoted.replace(b'\\"', b'"').replace(b"\\\\", b"\\")
        named.setdefault(name.lower(), value)
    pieces = takewhile(named.__contains__, map(b"boundary*%d".__mod__, count()))
    return (named.get(b"boundary") or b"".join(map(named.__getitem__, pieces))).rstrip()


def _of_recipient(fields: _Fields) -> Iterable[Bounce]:
    """Return the report in a group of fields; nothing where it is not final, or about the mail as a whole."""
    recipient = None
    for name in (b"original-recipient", b"final-recipient"):
        kind, _, address = fields.get(name, b"").partition(b";")
        if recipient is None and kind.strip().lower() in (b"rfc822", b"utf-8"):
            recipient = _mailbox(address)
    action = fields.get(b"action", b"").partition(b"(")[0].strip().lower()
    if recipient is None or action not in (b"delivered", b"failed"):
        return
    if action == b"delivered":
        yield Bounce(recipient=recipient, outcome=Sent(answer="delivered"))
    else:
        status = _STATUS.match(fields.get(b"status", b""))
        yield Bounce(recipient=recipient, outcome=_failure(status, fields.get(b"diagnostic-code", b"")))


def _failure(status: re.Match[bytes] | None, said: bytes) -> Outcome:
    code = None if status is None else status[1].decode()
    reason = "bounced" if code is None else f"bounced, {code}"
    answer = said[: 4 * _DIAGNOSTIC_MAX].decode(errors="replace")[:_DIAGNOSTIC_MAX] or None
    if code in DEAD_CODES:
        return DeadDestination(reason=reason, answer=answer)
    if code is not None and code.startswith("4"):
        return Transient(reason=reason, answer=answer)
    return Permanent(reason=reason, answer=answer)


def _mailbox(written: bytes) -> str | None:
    """Return an address that a mail can have gone to, without what may stand round it; None: it is none."""
    written = written.strip()
    if written.endswith(b")"):
        written = written.rpartition(b"(")[0].rstrip()
    try:
        address = written.removeprefix(b"<").removesuffix(b">").decode()
        local, _, domain = address.rpartition("@")
        in_ascii = f"{local}@{_NOT_ASCII.sub('x', domain)}"  # by IDNA, 500 domains would take 40 ms
        if len(address) <= ADDRESS_LENGTH_MAX and address.isprintable() and not parse_mailbox(in_ascii).name:
            return address
    except (UnicodeDecodeError, Unsendable):
        pass
    return None


def _of_qmail(lines: Iterable[bytes], is_cut: bool) -> Bounces:
    found = Bounces()
    body = b"\n".join(lines).partition(b"\n\n")[2].lstrip()
    if not body.startswith(b"Hi. This is the "):
        return found
    *paragraphs, rest = body.split(b"\n\n", FIELD_LINES_MAX)
    if not is_cut and len(paragraphs) < FIELD_LINES_MAX:
        paragraphs.append(rest)
    for paragraph in paragraphs:
        first, _, said = paragraph.strip().partition(b"\n")
        if first.startswith(b"-"):
            break
        if first.startswith(b"<") and first.endswith(b">:") and (recipient := _mailbox(first[:-1])) is not None:
            found.append(Bounce(recipient=recipient, outcome=_failure(_STATUS_IN_TEXT.search(said), said)))
    else:
        found.is_whole = rest is paragraphs[-1]
    return found
