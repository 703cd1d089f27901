"""A notification as a mail: mailboxes that are safe to write into a command, and the message in MIME.

What could end a line, and so begin another header or another command, is refused and never escaped. Headers are written
here, not by the library: before Python 3.11.10 and 3.12.5 it decodes an encoded word (RFC 2047) that stands in a text,
line breaks included. What looks like one is encoded once more, and arrives as it was given. The finished mail is read
back before it is handed over.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import Header
from email.message import EmailMessage, Message
from email.policy import SMTP
from email.utils import format_datetime, quote
from typing import Final

import idna
import msgspec

from actors.messages import SendNotification
from actors.settings.transports import LABEL_LENGTH_MAX, problem_of_host
from actors.transports.plain_text import plain_text

_ENDS_A_LINE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a0-\U0010ffff-]+"
_LOCAL = re.compile(rf"{_ATEXT}(\.{_ATEXT})*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DOMAIN = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*")
_LITERAL = re.compile(r"\[[A-Za-z0-9:.]+\]")
_WORDS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+( [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DULL = frozenset('<>"\\\t')
_VISIBLE = re.compile("[ -~]*")

ADDRESS_LENGTH_MAX: Final = 320
"""Characters of an address: 64 before the @ and 255 behind it (RFC 5321, 4.5.3.1)."""

LINE_LENGTH: Final = 78
"""Characters that a line of the header should have at most (RFC 5322, 2.1.1)."""


class Unsendable(Exception):
    """This can be no mail; the text says why."""


class MailAddress(msgspec.Struct, frozen=True):
    """An address with the name that is shown for it."""

    name: str
    local: str
    """The part before the @, without quotes."""
    domain: str
    """The domain in ASCII: an internationalised one as its A-labels."""

    @property
    def path(self) -> str:
        """The address alone, as it stands between < and > in a command."""
        local = self.local if _LOCAL.fullmatch(self.local) else f'"{self.local}"'
        return f"{local}@{self.domain}"

    def written(self, header: str) -> str:
        if not self.name:
            return self.path
        if "=?" in self.name or not _VISIBLE.fullmatch(self.name) or len(self.name) > LINE_LENGTH - 12:
            name = _encoded_words(header, self.name)
        else:
            name = self.name if _WORDS.fullmatch(self.name) else f'"{quote(self.name)}"'
        last_line = len(name.rpartition("\r\n")[2]) + (0 if "\r\n" in name else len(header) + 2)
        fold = "" if last_line + len(self.path) + 3 <= LINE_LENGTH else "\r\n"
        return f"{name}{fold} <{self.path}>"

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 (RFC 6531) can take it."""
        return not self.local.isascii()


def parse_mailbox(text: str) -> MailAddress:
    """Return the one mailbox that is written as ``ann@example.com`` or ``Ann <ann@example.com>`` (RFC 5322). Raise
    Unsendable where it is none, or more than one, or has a control character in it."""
    check_one_line("address", text)
    name, spec = "", text.strip()
    if spec.endswith(">"):
        name, begins, spec = spec[:-1].rpartition("<")
        name = name.strip()
        if quoted := _QUOTED.fullmatch(name):
            name = re.sub(r"\\(.)", r"\1", quoted[1])
        elif not begins or "<" in name or ">" in name:
            raise Unsendable("not a mailbox")
    if len(spec) > ADDRESS_LENGTH_MAX:
        raise Unsendable(f"not a mailbox: longer than {ADDRESS_LENGTH_MAX} characters")
    local, _, domain = spec.rpartition("@")
    if quoted := _QUOTED.fullmatch(local):
        local = re.sub(r"\\(.)", r"\1", quoted[1])
        if not _DULL.isdisjoint(local):  # a server that reads them carelessly would see the path end
            raise Unsendable("not a mailbox")
    elif not _LOCAL.fullmatch(local):
        raise Unsendable("not a mailbox")
    if "=?" in local:
        raise Unsendable("not a mailbox: an encoded word in it")  # many programs would show another address
    if not domain.isascii():
        domain = _a_labels(domain)
    if not local or not (_DOMAIN.fullmatch(domain) or _LITERAL.fullmatch(domain)):
        raise Unsendable("not a mailbox")
    if not domain.startswith("[") and (problem := problem_of_host(domain)) is not None:
        raise Unsendable(f"not a mailbox: {problem}")
    return MailAddress(name, local, domain)


def _a_labels(domain: str) -> str:
    if max(map(len, domain.split("."))) > LABEL_LENGTH_MAX:  # which the library finds after a long time
        raise Unsendable("not a mailbox: Label too long")
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

    sender: MailAddress
    recipient: MailAddress
    content: bytes
    """Header and body, with CRLF at the end of every line."""

    @property
    def needs_smtputf8(self) -> bool:
        return self.sender.needs_smtputf8 or self.recipient.needs_smtputf8


def mail_of(command: SendNotification, sender: MailAddress, now: float, *, key: str | None = None) -> Mail:
    """Return the mail of a notification, whose template is filled in.

    With ``html: True`` in the metadata, which an HTML template puts there, the message is HTML; the text part beside it
    is ``text`` of the metadata, or is made from the HTML. Content is encoded in seven bits, which any server takes.

    Args:
        command: The notification, and its recipient.
        sender: The mailbox that it comes from.
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
    body = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    body.set_content(text, cte=_encoding(text))
    if html is not None:
        body.add_alternative(html, subtype="html", cte=_encoding(html))
    headers = {"From": sender.written("From"), "To": recipient.written("To")}
    if subject:
        headers["Subject"] = _text("Subject", subject)
    headers |= {
        "Date": format_datetime(datetime.fromtimestamp(now, UTC)),
        "Message-ID": message_id(command.notification_id if key is None else key, sender.domain),
        "Auto-Submitted": "auto-generated",  # RFC 3834: no out-of-office replies, please
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    content = head.encode() + body.as_bytes()
    _read_back(content, [*headers, *body.keys()], [text] if html is None else [text, html])
    return Mail(sender, recipient, content)


def _text(header: str, text: str) -> str:
    fits = len(header) + 2 + len(text) <= LINE_LENGTH
    if fits and "=?" not in text and _VISIBLE.fullmatch(text) and text == text.strip():
        return text
    return _encoded_words(header, text)


def _encoded_words(header: str, text: str) -> str:
    """Return a text in encoded words (RFC 2047), whatever is in it; what looks like an encoded word is only text."""
    return Header(text, "utf-8", maxlinelen=75, header_name=header).encode(linesep="\r\n")


def _read_back(content: bytes, names: list[str], texts: list[str]) -> None:
    """Read a mail as a server and a mail program do, whoever wrote its parts; raise Unsendable where it has other
    headers than these, a line that does not end in CRLF, or other texts."""
    if not content.endswith(b"\r\n") or not content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r"):
        raise Unsendable("cannot be written as a mail: its lines")
    lines = content[: content.index(b"\r\n\r\n")].split(b"\r\n")
    found = [line.partition(b":")[0].decode("latin-1") for line in lines if not line.startswith((b" ", b"\t"))]
    if found != names or not all(line.strip() for line in lines):
        raise Unsendable("cannot be written as a mail: its header")
    if [_text_of(part) for part in message_from_bytes(content).walk() if not part.is_multipart()] != [
        _in_lines(text.encode()) for text in texts
    ]:
        raise Unsendable("cannot be written as a mail: its text")


def _text_of(part: Message) -> bytes:
    held = part.get_payload(decode=True)
    return _in_lines(held) if isinstance(held, bytes) else b""


def _in_lines(text: bytes) -> bytes:
    """Return a text with one kind of line break, and one at its end: all that a mail may change."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n") + b"\n"


def _encoding(text: str) -> str | None:
    # Left to choose, the library would write a NUL into the mail as it is.
    return "quoted-printable" if _ENDS_A_LINE.search(text.replace("\n", "").replace("\r", "")) else None
