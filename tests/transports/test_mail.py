"""What a mail says, read on the wire: the headers that were set and no other, and every text as it was given."""

import base64
import quopri
import re
from email import message_from_bytes
from typing import Any

import pytest
from attempts import outcome_of
from hypothesis import example, given, strategies as st
from smtp_servers import mail_server

from actors.messages import SendNotification
from actors.outcomes import Permanent, Sent
from actors.pipeline.templates import Template, Templates
from actors.transports import mail as mails
from actors.transports.email import EmailProvider
from actors.transports.mail import Unsendable, mail_of, parse_mailbox
from actors.transports.plain_text import plain_text

SHOP = parse_mailbox("Shop <shop@example.com>")
PLAIN = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding"]
NAMES = [*PLAIN, "MIME-Version"]

INJECTIONS = [
    "=?utf-8?q?=0D=0ABcc:_x@y?=",
    "=?utf-8?q?=0ABcc:_x@y?=",
    "=?utf-8?b?DQpCY2M6IHhAeQ==?=",
    "=?iso-8859-1?q?=0D=0A=0D=0AThis_is_the_body?=",
    "=?utf-8?q?a?= =?utf-8?q?=0D=0ABcc:_x@y?=",
    "Hello =?utf-8?q?=0D=0ABcc:_x@y?= there",
    "=?unknown?q?=0D=0ABcc:_x@y?=",
    "=?utf-8*en?q?=0D=0ABcc:_x@y?=",
    "=?utf-8?q?=E2=80=A8Bcc:_x@y?=",
    "=?utf-16?b?AA0ACgBCAGMAYwA6AHgAQAB5?=",
    "=?utf-8?q??=",
    "=?",
    "?=",
    "=?utf-8?q?" + "=0D=0ABcc:_x@y" * 40 + "?=",
]


def command(**more: Any) -> SendNotification:
    given = {"notification_id": "n", "channel": "email", "recipient": "ann@example.com", "message": "Hello Ann"}
    return SendNotification(**(given | {"subject": "Hello"} | more))


def headers_of(content: bytes) -> list[tuple[str, str]]:
    """Return the headers of a mail as they stand there, unfolded, by RFC 5322 alone."""
    assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
    head, separator, _ = content.partition(b"\r\n\r\n")
    assert separator
    found: list[tuple[str, str]] = []
    for line in head.split(b"\r\n"):
        assert len(line) <= 998
        text = line.decode()
        if text[0] in " \t":
            name, value = found.pop()
            found.append((name, value + text))
            assert text.strip()
        else:
            name, colon, value = text.partition(": ")
            assert colon
            found.append((name, value))
    return found


def decoded(value: str) -> str:
    """Return a header's value by RFC 2047: encoded words side by side are one text, all else is as it stands."""
    parts: list[str] = []
    held = b""
    after = False
    for word in re.split(r"(=\?utf-8\?[bq]\?[^? ]*\?=)", value):
        if found := re.fullmatch(r"=\?utf-8\?([bq])\?([^? ]*)\?=", word):
            assert len(word) <= 75
            text = found[2]
            held += base64.b64decode(text) if found[1] == "b" else quopri.decodestring(text, header=True)
            after = True
        elif not (after and word.strip(" ") == ""):
            parts += [held.decode(), word]
            held = b""
            after = False
    return "".join(parts) + held.decode()


def name_of(value: str) -> tuple[str, str]:
    """Return the display name and the address of a header with one mailbox."""
    found = re.fullmatch(r"(?:(.*) )?<([^<>]+)>", value)
    if found is None:
        return "", value
    name = found[1]
    if name.startswith('"'):
        assert name.endswith('"')
        assert "=?" not in name
        return re.sub(r"\\(.)", r"\1", name[1:-1]), found[2]
    return decoded(name), found[2]


def texts_of(content: bytes) -> list[str]:
    parts = [part for part in message_from_bytes(content).walk() if not part.is_multipart()]
    return [part.get_payload(decode=True).decode() for part in parts]


def in_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n") + "\n"


WORDS = st.one_of(
    st.text(max_size=200),
    st.sampled_from(INJECTIONS),
    st.lists(st.one_of(st.sampled_from(INJECTIONS), st.text(max_size=20)), max_size=6).map("".join),
    st.text("=?utf-8qb_0DA :\r\n\t\"\\<>", max_size=80),
    st.text("ä日a ", min_size=60, max_size=400),
)  # fmt: skip


@given(subject=WORDS, name=WORDS, text=WORDS, html=st.booleans(), key=WORDS)
@example(subject=INJECTIONS[0], name=INJECTIONS[0], text=INJECTIONS[0], html=False, key=INJECTIONS[0])
@example(subject=" a ", name="a  b", text="a\r\n\r\n", html=True, key="")
@example(subject="x" * 2_000, name="y" * 2_000, text="z" * 2_000, html=False, key="k" * 2_000)
def test_what_is_accepted_comes_back_as_it_was_given_and_no_header_is_added(subject, name, text, html, key):
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    given = command(subject=subject, recipient=f"{quoted} <ann@example.com>", message=text)
    if html:
        given = command(subject=subject, recipient=given.recipient, message=text, metadata={"html": True, "text": name})
    try:
        written = mail_of(given, SHOP, 0.0, key=key)
    except Unsendable:
        assert any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" for c in subject + name)
        return
    found = headers_of(written.content)
    wanted = [each for each in NAMES if subject or each != "Subject"]
    if html:
        wanted.remove("Content-Transfer-Encoding")
    assert sorted(header for header, _ in found) == sorted(wanted)
    assert len(written.content.split(b"\r\n\r\n", 1)) == 2
    values = dict(found)
    assert decoded(values.get("Subject", "")) == subject
    assert name_of(values["To"]) == (name, "ann@example.com")
    assert name_of(values["From"]) == ("Shop", "shop@example.com")
    arrived = [in_lines(each) for each in texts_of(written.content)]
    assert arrived == ([in_lines(name), in_lines(text)] if html else [in_lines(text)])


@pytest.mark.parametrize("injected", INJECTIONS)
@pytest.mark.parametrize("where", ["subject", "name", "variable", "order id", "sender"])
async def test_an_encoded_word_becomes_no_header_wherever_it_comes_from(where, injected):
    given = command()
    sender = "Shop <shop@example.com>"
    if where == "subject":
        given = command(subject=injected)
    elif where == "name":
        given = command(recipient=f"{injected} <ann@example.com>")
    elif where == "sender":
        sender = f"{injected} <shop@example.com>"
    else:
        template = Template(subject="Order {order_id} for {name}", body="Dear {name}, {order_id}")
        metadata = {"template": "t", "order_id": "7", "name": "Ann"}
        metadata["name" if where == "variable" else "order_id"] = injected
        given = Templates({"t": template}).fill_in(command(metadata=metadata))
    with mail_server() as server:
        async with EmailProvider(server.settings(sender=sender)) as provider:
            assert type(await outcome_of(provider, given)) is Sent
    [content] = server.script.contents
    names = [name for name, _ in headers_of(content)]
    assert [name for name in names if not name.startswith("X-")] == NAMES
    assert [in_lines(text) for text in texts_of(content)] == [in_lines(given.message)]
    values = dict(headers_of(content))
    if where == "name":
        assert name_of(values["To"])[0] == injected
    elif where == "sender":
        assert name_of(values["From"])[0] == injected
    else:
        assert decoded(values["Subject"]) == given.subject


@pytest.mark.parametrize(
    ("recipient", "reason"),
    [
        ("=?utf-8?q?=0D=0ABcc?=@example.com", "not a mailbox: an encoded word in it"),
        ('"=?utf-8?q?x?="@example.com', "not a mailbox: an encoded word in it"),
        ('"a> SIZE=1 <b"@example.com', "not a mailbox"),
        ('"a\\"b"@example.com', "not a mailbox"),
        ('"a\tb"@example.com', "not a mailbox"),
        ("a" * 400 + "@example.com", "not a mailbox: longer than 320 characters"),
        ("ann@" + "b." * 200 + "example", "not a mailbox: longer than 320 characters"),
        ("ann@example.com\u0085x", "control character in address"),
    ],
)
async def test_what_could_end_a_path_in_a_command_is_refused_before_anything_is_said(recipient, reason):
    with mail_server() as server:
        async with EmailProvider(server.settings()) as provider:
            outcome = await outcome_of(provider, command(recipient=recipient))
    assert (type(outcome), outcome.reason) == (Permanent, reason)
    assert server.sessions == []


@given(st.one_of(st.text(max_size=40), st.text('ab."<>\\@ \t[]:', max_size=40)))
def test_a_path_has_no_end_within_it(text):
    try:
        mailbox = parse_mailbox(f"{text}@example.com")
    except Unsendable:
        return
    assert not set("<>\r\n\t") & set(mailbox.path)
    assert " " not in mailbox.path or mailbox.path.startswith('"')
    assert parse_mailbox(mailbox.path).path == mailbox.path


def test_a_mail_that_reads_differently_is_refused_whoever_wrote_it(monkeypatch):
    """As the library did before 3.11.10: it decodes an encoded word, line breaks included, and writes it so."""
    monkeypatch.setattr(mails, "_text", lambda header, text: "Hello\r\nBcc: eve@example.com")
    with pytest.raises(Unsendable, match="cannot be written as a mail: its header"):
        mail_of(command(), SHOP, 0.0)
    monkeypatch.setattr(mails, "_text", lambda header, text: "Hello\r\n\r\nAnother body")
    with pytest.raises(Unsendable, match="cannot be written as a mail: its header"):
        mail_of(command(), SHOP, 0.0)
    for ending in ("\n", "\r", "\r\n \r\n "):
        monkeypatch.setattr(mails, "_text", lambda header, text, ending=ending: f"Hello{ending}x")
        with pytest.raises(Unsendable, match="cannot be written as a mail"):
            mail_of(command(), SHOP, 0.0)
    monkeypatch.undo()
    monkeypatch.setattr(mails.EmailMessage, "set_content", lambda self, text, cte: self.set_payload("other\n"))
    with pytest.raises(Unsendable, match="cannot be written as a mail: its text"):
        mail_of(command(), SHOP, 0.0)


@pytest.mark.parametrize(
    "html", ["<b> </b>" * 12_000, "<" * 400_000, "<!--" * 200_000, "<a <a " * 50_000, "&" * 300_000]
)
def test_html_of_any_length_becomes_a_text(html):
    assert len(plain_text(html)) <= len(html)


def test_blanks_that_were_collected_over_many_elements_are_one():
    assert plain_text("a<b> </b><i> </i><p> <b> </b>c<br> <u> </u> d") == "a\n\nc\nd"
