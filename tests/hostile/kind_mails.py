"""Mails to the address of bounces: parts in parts, huge headers, reports of many recipients, real bounces with changes.

`ATTACKS` has mails whose parsing takes Python's own parser seconds to a minute, or that once did harm here.
"""

from collections.abc import Callable
from pathlib import Path
from random import Random

from bounds import Kind

from actors.service.http.bodies import BODY_MAX
from actors.transports.bounces import bounces_in

HEAD = b"From: <>\r\nTo: bounces@shop.example\r\nMIME-Version: 1.0\r\n"
REPORT = b"Content-Type: message/delivery-status\r\n\r\n"
REAL = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "transports" / "bounces").glob("*.eml"))]


def multipart(*parts: bytes, boundary: bytes = b"b", kind: bytes = b"mixed") -> bytes:
    """Return a part with these parts, which have their headers."""
    head = b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (kind, boundary)
    return head + b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts) + b"--%s--\r\n" % boundary


def report(fields: bytes) -> bytes:
    """Return a mail with a report of these fields."""
    return HEAD + multipart(b"\r\nSorry\r\n", REPORT + fields, kind=b"report")


def failed(number: int) -> bytes:
    """Return the fields of a recipient that is dead."""
    return b"Final-Recipient: rfc822;u%d@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n" % number


def nested(levels: int) -> bytes:
    return HEAD + b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(levels)
    )


def of_type(parameters: bytes) -> bytes:
    return HEAD + b"Content-Type: multipart/report; boundary=b" + parameters[: BODY_MAX - 200] + b"\r\n\r\n--b\r\n"


def filled(begin: bytes, piece: bytes) -> bytes:
    """Return a mail of BODY_MAX bytes."""
    return (begin + piece * (BODY_MAX // len(piece)))[:BODY_MAX]


ATTACKS: dict[str, Callable[[], bytes]] = {
    "400-levels": lambda: filled(nested(400), b"x\r\n"),
    "970-levels": lambda: filled(nested(970), b"x\r\n"),
    "8-levels": lambda: filled(nested(8), b"--\n"),
    "250000-parameters": lambda: of_type(b";a=b" * 250_000),
    "quoted-parameters": lambda: of_type(b';a="\\";' * 150_000),
    "half-quoted-parameters": lambda: of_type(b';"' * 500_000),
    "semicolons": lambda: of_type(b";" * BODY_MAX),
    "100000-rfc-2231-parts": lambda: of_type(b"".join(b";boundary*%d=x" % n for n in range(100_000))),
    "empty-groups-of-fields": lambda: filled(HEAD + multipart(REPORT)[:-6], b"\r\n"),
    "groups-of-one-field": lambda: filled(HEAD + multipart(REPORT)[:-6], b"a:\n\n"),
    "groups-of-addresses": lambda: filled(HEAD + b"To: ", b"g:;,"),
    "comments-in-addresses": lambda: filled(HEAD + b"To: ", b"("),
    "encoded-words": lambda: filled(HEAD + b"Subject: ", b"=?utf-8?q?=41?= "),
    "long-date": lambda: filled(HEAD + b"Date: ", b"1"),
    "folded-lines": lambda: filled(HEAD + b"Content-Type: multipart/report;\r\n", b" \r\n"),
    "folded-address": lambda: filled(HEAD + multipart(REPORT)[:-6] + b"Final-Recipient: rfc822; a\r\n", b" b\r\n"),
    "spaces": lambda: filled(HEAD + b"Content-Type: multipart/report; a", b" "),
    "parts": lambda: filled(HEAD + multipart()[:-6], b"--b\n"),
    "dashes": lambda: filled(HEAD + multipart()[:-6], b"--\n"),
    "headers": lambda: filled(HEAD, b"a:b\r\n"),
    "mails-in-mails": lambda: filled(HEAD, b"Content-Type: message/rfc822\r\n\r\n"),
    "line-feeds": lambda: filled(HEAD + multipart()[:-6], b"\n"),
    "15000-recipients": lambda: report(b"".join(map(failed, range(15_000))))[:BODY_MAX],
    "idna-in-recipients": lambda: filled(
        HEAD + multipart(REPORT)[:-6], f"Final-Recipient: utf-8;u@{'aä中' * 5}.de\nAction: failed\n\n".encode()
    ),
    "recipients-of-qmail": lambda: filled(HEAD + b"\r\nHi. This is the qmail\r\n\r\n", b"<a@b.c>:\r\nno #5.1.1\n\r\n"),
}

_WORDS = (
    b"rfc822;", b"utf-8; ", b"ann@example.com", b"<b@c.de>", b"(a (comment))", b"=?utf-8?q?=41?=", b'"', b"\\", b";",
    b",", b"\r\n ", b"\n", b"\r", b"\0", b"\xff", "ä".encode(), b"failed", b"delivered", b"5.1.1", b"4.2.2 (later)",
    b" " * 300, b"a=b", b'boundary="b"', b"boundary*0=b; boundary*1=c", b"multipart/mixed; ", b"message/rfc822", b"--b",
    b"--b--", b"Tue, 3 Mar 2026 09:30:01 +0000", b"9" * 5_000, b"g: a@b, c@d;", b"x" * 2_000,
)  # fmt: skip
_NAMES = (
    b"Content-Type", b"Final-Recipient", b"Original-Recipient", b"Action", b"Status", b"Diagnostic-Code", b"To",
    b"Date", b"Subject", b"X", b"Content-Transfer-Encoding", b"",
)  # fmt: skip


def _fields(random: Random) -> bytes:
    return b"".join(
        random.choice(_NAMES) + b": " + b"".join(random.choices(_WORDS, k=random.randrange(6))) + b"\r\n"
        for _ in range(random.randrange(8) * random.choice((1, 1, 1, 100)))
    )


def _part(random: Random, levels: int) -> bytes:
    what = random.random()
    if levels > 0 and what < 0.7:
        parts = [_part(random, levels - 1)[:BODY_MAX] for _ in range(random.choice((1, 1, 1, 2)))]
        parts *= random.choice((1, 60)) if sum(map(len, parts)) < 10_000 else 1
        boundary = random.choice((b"b", b"c", b"-", b"d" * 80, b"%d" % levels))
        return _fields(random)[:200] + multipart(*parts, boundary=boundary)
    if what < 0.9:
        groups = (_fields(random) if random.random() < 0.5 else failed(n) for n in range(random.randrange(5)))
        return REPORT + b"\r\n".join(groups)
    return random.choice((b"Content-Type: message/rfc822\r\n\r\n", b"\r\n", _fields(random) + b"\r\n"))


def _changed(random: Random) -> bytes:
    mail = random.choice(REAL)
    for _ in range(random.randrange(1, 6)):
        start, end = sorted(random.choices(range(len(mail) + 1), k=2))
        piece = mail[start : min(end, start + 400)]
        new = (b"", piece * random.randrange(2, 2_000), b"".join(random.choices(_WORDS, k=3)), random.randbytes(9))
        mail = mail[:start] + random.choice(new) + mail[start + len(piece) :]
    return mail


def draw(random: Random) -> bytes:
    what = random.random()
    if what < 0.3:
        mail = ATTACKS[random.choice(sorted(ATTACKS))]()
    elif what < 0.6:
        mail = HEAD + _part(random, random.randrange(12))
    else:
        mail = _changed(random)
    return mail[: random.choice((BODY_MAX, 2**16, 2**16 - random.randrange(2_000)))]


def feed(mail: bytes) -> None:
    for bounce in bounces_in(mail):
        assert bounce.recipient.isprintable()
        assert len(bounce.recipient) <= 320


KIND = Kind("mails", draw, feed, short=8)
