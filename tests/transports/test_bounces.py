"""Bounces: reports of mail servers are understood, and no mail keeps the loop, whatever is in it."""

import re
from email.message import Message
from pathlib import Path

import pytest
from beside import tables
from bounce_mails import failed, report
from hypothesis import example, given, strategies as st

from actors.outcomes import DeadDestination, Permanent, Sent, Transient
from actors.transports.bounces import BYTES_MAX, FIELD_LINES_MAX, LEVELS_MAX, PARAMETERS_MAX, PARTS_MAX, bounces_in

TABLES = tables(__file__)

MAILS = Path(__file__).parent / "bounces"
DEAD = DeadDestination(reason="bounced, 5.1.1")


def recipients(mail):
    return [bounce.recipient for bounce in bounces_in(mail)]


# ── what is understood ──────────────────────────────────────────────────────────────────────────────────────────


SERVERS = {
    "exchange": [("ann@corp.example", DeadDestination, "5.1.10")],
    "exim": [("ann@example.com", Permanent, "5.0.0")],
    "gmail": [("ann@gmail.example", DeadDestination, "5.1.1")],
    "postfix": [("ann@example.com", DeadDestination, "5.1.1")],
    "postfix-smtputf8": [("bjørn@mänster.example", DeadDestination, "5.1.1")],
    "qmail": [("ann@shop.example", DeadDestination, "5.1.1"), ("bob@example.com", Permanent, "5.2.2")],
    "sendmail": [("ann@example.com", DeadDestination, "5.1.1")],
    "ses": [("ann@example.com", DeadDestination, "5.1.1")],
}


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("path", sorted(MAILS.glob("*.eml")), ids=lambda path: path.stem)
def test_a_bounce_of_a_real_server_is_understood(path, line_break):
    mail = path.read_bytes().replace(b"\n", line_break)
    bounces = bounces_in(mail)
    assert [(each.recipient, type(each.outcome), each.outcome.reason) for each in bounces] == [
        (recipient, kind, f"bounced, {code}") for recipient, kind, code in SERVERS[path.stem]
    ]
    assert bounces.is_whole
    returned = bounces_in(mail + line_break.join([b"x" * 100] * 10_000))  # some servers return the whole mail
    assert returned == bounces
    assert returned.is_whole


TABLE = [
    (failed("a@example.com"), DEAD),
    (failed("a@example.com", "5.1.10 (no mail)"), DeadDestination(reason="bounced, 5.1.10")),
    (failed("a@example.com", "5.2.2"), Permanent(reason="bounced, 5.2.2")),
    (failed("a@example.com", "4.4.7"), Transient(reason="bounced, 4.4.7")),
    (failed("a@example.com", "what"), Permanent(reason="bounced")),
    (failed("a@example.com", "2.0.0", "delivered"), Sent(answer="delivered")),
    (failed("a@example.com", "4.0.0", "delayed"), None),
    (failed("a@example.com", "2.0.0", "relayed"), None),
    (failed("a@example.com", action="Failed (at last)"), DEAD),
    (failed("<a@example.com> (Ann)"), DEAD),
    (
        failed("b@example.com", Original_Recipient="rfc822;a@example.com", Diagnostic_Code="smtp; 550\r\n no"),
        DeadDestination(reason="bounced, 5.1.1", answer="smtp; 550 no"),
    ),
]


@pytest.mark.parametrize(("fields", "outcome"), TABLE)
def test_what_a_report_says_of_a_recipient(fields, outcome):
    found = [(bounce.recipient, bounce.outcome) for bounce in bounces_in(report(fields))]
    assert found == ([] if outcome is None else [("a@example.com", outcome)])


@given(st.binary(max_size=300), st.integers(0, 600))
def test_what_is_no_report_is_none_and_never_an_error(junk, at):
    whole = report(failed("a@example.com"))
    assert bounces_in(junk) == []
    assert len(bounces_in(whole[:at] + junk + whole[at:])) <= 1


@pytest.mark.parametrize("parameters", TABLES["boundaries"])
def test_a_boundary_is_read_as_python_reads_it(parameters):
    message = Message()
    message["Content-Type"] = kind = f"multipart/report; {parameters}"
    mail = re.sub(b"(?<=Content-Type: )multipart/[^\r]*", kind.encode(), report(failed("a@example.com")))
    assert recipients(mail) == (["a@example.com"] if message.get_boundary() == "b" else [])


# ── an address is one line ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("address", "taken"), TABLES["addresses"])
def test_an_address_with_a_folded_line_is_unfolded_or_refused(address, taken):
    assert recipients(report(failed(address))) == taken


@given(st.text(max_size=30), st.text(max_size=30))
@example("a\r\n ", "@b.c")
def test_no_address_is_more_than_one_line_of_text(local, domain):
    for recipient in recipients(report(failed(f"{local}@{domain}"), failed("a@example.com"))):
        assert recipient.isprintable()
        assert "\n" not in recipient


# ── no more is read than the bounds ─────────────────────────────────────────────────────────────────────────────


def in_parts(levels, mail):
    begin = "".join(f"Content-Type: multipart/mixed; boundary=x{n}\r\n\r\n--x{n}\r\n" for n in range(levels))
    return begin.encode() + mail


def bounded(name, number):
    """Return a mail with a report of which so much is before its end as a bound is about."""
    dead = failed("a@example.com")
    match name:
        case "bytes":
            mail = report(dead)
            return mail.replace(b"Sorry.", b"x" * (number - len(mail) + 6))
        case "levels":
            return in_parts(number - 1, report(dead))
        case "mails in mails":
            return b"Content-Type: message/rfc822\r\n\r\n" * (number - 1) + report(dead)
        case "parts":
            return report(dead, begin="--b\r\n" * (number - 2))
        case "field lines":
            return report([f"X: {n}" for n in range(number - 5 - 1 - 1 - 1 - 3)], dead)
        case _:
            return report(dead, parameters="a=b;" * (number - 2))


BOUNDS = {
    "bytes": BYTES_MAX,
    "levels": LEVELS_MAX,
    "mails in mails": LEVELS_MAX,
    "parts": PARTS_MAX,
    "field lines": FIELD_LINES_MAX,
    "parameters": PARAMETERS_MAX,
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_mail_is_read_up_to_its_bounds_and_what_is_beyond_is_said(name):
    within, beyond = (bounces_in(bounded(name, number)) for number in (BOUNDS[name], BOUNDS[name] + 1))
    assert [each.recipient for each in within] == ["a@example.com"]
    assert within.is_whole
    assert name == "bytes" or beyond == []  # of these the report is there, and only what follows is cut off
    assert not beyond.is_whole


def test_of_many_recipients_those_are_taken_that_are_within_the_bounds():
    bounces = bounces_in(report(*(failed(f"u{n}@example.com") for n in range(15_000)))[: 2**20])
    assert [each.recipient for each in bounces] == [f"u{n}@example.com" for n in range(len(bounces))]
    assert 300 < len(bounces) < FIELD_LINES_MAX / 3
    assert not bounces.is_whole
