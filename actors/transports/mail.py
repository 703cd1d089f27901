"""A notification as a mail: mailboxes that are safe to write into a command, and the message in MIME.

What could end a line, and so begin another header or another command, is refused and never escaped.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

import idna
import msgspec

from actors.messages import SendNotification
from actors.transports.plain_text import plain_text

_ENDS_A_LINE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a0-\U0010ffff-]+"
_LOCAL = re.compile(rf"{_ATEXT}(\.{_ATEXT})*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DOMAIN = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*")
_LITERAL = re.compile(r"\[[A-Za-z0-9:.]+\]")


class Unsendable(Exception):
    """This can be no mail; the text says why."""


class Mailbox(msgspec.Struct, frozen=True):
    """An address with the name that is shown for it."""

    name: str
    local: str
    """What stands before the @, without quotes."""
    domain: str
    """In ASCII: an internationalised one as its A-labels."""

    @property
    def address(self) -> Address:
        """The mailbox as it stands in a header."""
        return Address(self.name, self.local, self.domain)

    @property
    def path(self) -> str:
        """The address alone, as it stands between < and > in a command."""
        return self.address.addr_spec

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 (RFC 6531) can take it."""
        return not self.local.isascii()


def parse_mailbox(text: str) -> Mailbox:
    """Return the one mailbox that is written as ``ann@example.com`` or ``Ann <ann@example.com>`` (RFC 5322).

    Raises:
        Unsendable: it is none, or more than one, or has a control character in it.
    """
    check_one_line("address", text)
    name, spec = "", text.strip()
    if spec.endswith(">"):
        name, _, spec = spec[:-1].rpartition("<")
        name = name.strip()
        if quoted := _QUOTED.fullmatch(name):
            name = re.sub(r"\\(.)", r"\1", quoted[1])
    local, _, domain = spec.rpartition("@")
    if quoted := _QUOTED.fullmatch(local):
        local = re.sub(r"\\(.)", r"\1", quoted[1])
    elif not _LOCAL.fullmatch(local):
        raise Unsendable("not a mailbox")
    if not domain.isascii():
        domain = _a_labels(domain)
    if not local or not (_DOMAIN.fullmatch(domain) or _LITERAL.fullmatch(domain)):
        raise Unsendable("not a mailbox")
    return Mailbox(name, local, domain)


def _a_labels(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError as error:
        raise Unsendable(f"not a mailbox: {error}") from None


def check_one_line(what: str, text: str) -> None:
    """Raise Unsendable when there is a line break, or another control character but a tab, in `text`."""
    if _ENDS_A_LINE.search(text):
        raise Unsendable(f"control character in {what}")


def message_id(notification_id: str, domain: str) -> str:
    """Return the Message-ID of a notification: the same in every attempt, so that a mailbox can know a copy by it."""
    return f"<{hashlib.sha256(notification_id.encode(errors='surrogatepass')).hexdigest()[:40]}@{domain}>"


class Mail(msgspec.Struct, frozen=True):
    """A mail that is ready to be handed to a server."""

    sender: Mailbox
    recipient: Mailbox
    content: bytes
    """Header and body, with CRLF at the end of every line."""

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it."""
        return self.sender.needs_smtputf8 or self.recipient.needs_smtputf8


def mail_of(command: SendNotification, sender: Mailbox, now: float, *, key: str | None = None) -> Mail:
    """Return the mail of a notification, whose template is filled in.

    With ``html: True`` in the metadata, which an HTML template puts there, the message is HTML; the text part beside it
    is ``text`` of the metadata, or is made from the HTML. Content is encoded in seven bits, which any server takes.

    Args:
        command: What to send, and its recipient.
        sender: Who it comes from.
        now: Seconds since 1970, for the Date.
        key: The idempotency key, for the Message-ID; the notification's id when None.

    Raises:
        Unsendable: the recipient is no mailbox, or a header would have more than one line.
    """
    recipient = parse_mailbox(command.recipient)
    subject = command.subject or ""
    check_one_line("subject", subject)
    metadata = command.metadata
    html = command.message if metadata.get("html") is True else None
    given = metadata.get("text")
    text = command.message if html is None else given if isinstance(given, str) else plain_text(html)
    try:
        "".join((recipient.name, recipient.local, subject, command.message, text)).encode()
    except UnicodeEncodeError:
        raise Unsendable("text with half a surrogate pair") from None
    utf8 = sender.needs_smtputf8 or recipient.needs_smtputf8
    message = EmailMessage(policy=(SMTPUTF8 if utf8 else SMTP).clone(cte_type="7bit"))
    message["From"] = sender.address
    message["To"] = recipient.address
    if subject:
        message["Subject"] = subject
    message["Date"] = datetime.fromtimestamp(now, UTC)
    message["Message-ID"] = message_id(command.notification_id if key is None else key, sender.domain)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies, please
    message.set_content(text, cte=_encoding(text))
    if html is not None:
        message.add_alternative(html, subtype="html", cte=_encoding(html))
    return Mail(sender, recipient, message.as_bytes())


def _encoding(text: str) -> str | None:
    # Left to choose, the library would write a NUL into the mail as it is.
    return "quoted-printable" if _ENDS_A_LINE.search(text.replace("\n", "").replace("\r", "")) else None
