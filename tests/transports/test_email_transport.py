"""Email against real mail servers on loopback: every row of the table, TLS, the pool, and leaving in the middle."""

import base64
import os
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import trio
from attempts import outcome_of
from beside import tables
from smtp_servers import DROP, HANG, Script, mail_server, raw_server
from tls_certificate import Tls

from actors import outcomes
from actors.domain.attempts import UNSENT
from actors.errors import ConfigurationError
from actors.messages import SendNotification
from actors.notifier import Notifier
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Permanent, Sent, Transient
from actors.pipeline.templates import Template, Templates
from actors.settings.base import validated
from actors.settings.secret import HIDDEN, Secret
from actors.settings.transports import SmtpConfig
from actors.transports.email import EmailProvider
from actors.transports.mail import mail_of, parse_mailbox
from actors.transports.smtp_connections import Flight, SmtpPool
from actors.transports.transport import tls_context

TABLES = tables(__file__)


def mail(**more: Any) -> SendNotification:
    given = {"notification_id": "order-17", "channel": "email", "recipient": "ann@example.com", "message": "Hello Ann"}
    return SendNotification(**(given | {"subject": "Hello"} | more))


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────

REPLIES = [(verb, reply, getattr(outcomes, kind), reason) for verb, reply, kind, reason in TABLES["replies"]]


@pytest.mark.parametrize(("verb", "reply", "kind", "reason"), REPLIES)
async def test_what_a_reply_means(verb, reply, kind, reason):
    with mail_server(Script(**{verb: reply})) as server:
        async with EmailProvider(server.settings()) as provider:
            outcome = await outcome_of(provider, mail())
            assert (type(outcome), outcome.reason) == (kind, reason)
            if reply != DROP and "\n" not in reply and reply[:3].isdigit():
                assert outcome.answer == reply
            assert type(await outcome_of(provider, mail())) is Sent  # over the same connection, or over another one


@pytest.mark.parametrize("reply", ["250 2.0.0 taken", "251 to be forwarded", "252 2.5.0 will try"])
async def test_a_reply_of_success_at_the_end_is_sent(reply):
    with mail_server(Script(DATA=reply)) as server:
        async with EmailProvider(server.settings()) as provider:
            assert await outcome_of(provider, mail()) == Sent(answer=reply)


@pytest.mark.parametrize(
    ("turns", "kind", "reason"),
    [
        ([b"554 5.7.1 not from you\r\n"], ChannelFault, "SMTP 554 before any mail"),
        ([b"421 too busy\r\n"], Transient, "SMTP 421 before any mail"),
        ([b"521 5.3.2 no mail here\r\n"], ChannelFault, "SMTP 521 before any mail"),
        ([b"gibberish\r\n"], Transient, "unintelligible reply"),
        ([b"x" * 10_000 + b"\r\n"], Transient, "unintelligible reply"),
        ([b""], Transient, "no connection"),
        ([b"220 hello\r\n", b"502 no EHLO\r\n"], ChannelFault, "SMTP 502 before any mail"),
        ([b"220 hello\r\n", b"250 hello\r\n", b"250 OK\r\n", b"250 OK\r\n", b"354 go on\r\n"], None, None),
    ],
)
async def test_what_is_said_before_any_mail(turns, kind, reason):
    with raw_server(*turns) as server:
        async with EmailProvider(server.settings()) as provider:
            outcome = await outcome_of(provider, mail())
    if kind is None:  # lost while the mail is on its way, or just behind its end
        assert type(outcome) in (Transient, Ambiguous)
        assert "connection lost" in outcome.reason
    else:
        assert (type(outcome), outcome.reason) == (kind, reason)


async def test_a_mail_that_cannot_be_handed_over_to_its_end_is_transient():
    said = [b"220 hello\r\n", b"250 hello\r\n", b"250 OK\r\n", b"250 OK\r\n", b"354 go on\r\n", b""]
    with raw_server(*said) as server:
        async with EmailProvider(server.settings()) as provider:
            outcome = await outcome_of(provider, mail(message=("far more than any buffer takes " * 2 + "\n") * 120_000))
    assert (type(outcome), outcome.reason) == (Transient, "connection lost before the end of the mail")


async def test_no_one_listens():
    with mail_server() as server:
        pass
    async with EmailProvider(server.settings()) as provider:
        outcome = await outcome_of(provider, mail())
    assert (type(outcome), outcome.reason, outcome.connection) == (Transient, "no connection", True)


async def test_a_server_that_says_nothing_is_no_connection():
    with raw_server(None, None, closes=False) as server:
        async with EmailProvider(server.settings(connect_timeout=0.05)) as provider:
            outcome = await outcome_of(provider, mail())
    assert (type(outcome), outcome.reason, outcome.connection) == (Transient, "no connection", True)


async def test_a_server_that_falls_silent_after_the_end_is_ambiguous_also_without_the_channels_timeout():
    with mail_server(Script(DATA=HANG)) as server:
        async with EmailProvider(server.settings(timeout=0.1)) as provider:
            outcome = await outcome_of(provider, mail())
    assert (type(outcome), outcome.reason) == (Ambiguous, "connection lost after the end of the mail")


# ── what is never said ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        *TABLES["no_mails"],
        ({"message": "half a pair \ud800"}, "text with half a surrogate pair"),
        ({"subject": "half a pair \ud800"}, "text with half a surrogate pair"),
        ({"recipient": "\udc80 <a@example.com>"}, "text with half a surrogate pair"),
    ],
)
async def test_what_is_no_mail_is_refused_before_anything_is_sent(changed, reason):
    with mail_server() as server:
        async with EmailProvider(server.settings()) as provider:
            outcome = await outcome_of(provider, mail(**changed))
        assert type(outcome) is Permanent
        assert outcome.reason.startswith(reason)
        assert outcome.unwritten == ("address" not in reason and "mailbox" not in reason)
        assert (server.sessions, server.script.said) == ([], {})


# ── the mail ────────────────────────────────────────────────────────────────────────────────────────────────────


async def sent(command: SendNotification, **settings: Any) -> Any:
    with mail_server() as server:
        async with EmailProvider(server.settings(**settings), clock=lambda: 1_800_000_000) as provider:
            assert type(await outcome_of(provider, command)) is Sent
            assert type(await outcome_of(provider, command, number=2)) is Sent
    first, second = server.script.mails
    assert first["Message-ID"] == second["Message-ID"]
    return server.script


async def test_what_an_operator_has_edited_is_another_mail():
    with mail_server() as server:
        async with EmailProvider(server.settings()) as provider:
            for edits in (0, 1, 1, 2):
                await outcome_of(provider, mail(), edits=edits)
    first, second, again, third = [received["Message-ID"] for received in server.script.mails]
    assert second == again
    assert len({first, second, third}) == 3


async def test_the_header_of_a_mail():
    (received, _) = (await sent(mail(subject="Ünïcode" + " Ünïcode" * 30))).mails
    assert received["From"] == "Shop <shop@example.com>"
    assert received["To"] == "ann@example.com"
    assert received["Subject"] == "Ünïcode" + " Ünïcode" * 30
    assert parsedate_to_datetime(received["Date"]).timestamp() == 1_800_000_000
    assert received["Auto-Submitted"] == "auto-generated"
    assert received["Message-ID"].endswith("@example.com>")
    (other, _) = (await sent(mail(notification_id="order-18\r\nBcc: eve@example.com", subject=None))).mails
    assert other["Message-ID"] != received["Message-ID"]
    assert other["Subject"] is None
    assert other["Bcc"] is None


@pytest.mark.parametrize(
    "text",
    [
        "Hello Ann",
        "Grüße, Ännchen, 日本",
        ".\r\n.starts with dots\n..\n.",
        "one\ntwo\r\nthree\rfour",
        "x" * 5_000,
        "a NUL \0 and a bell \a",
        "",
    ],
)
async def test_a_text_arrives_as_it_was(text):
    script = await sent(mail(message=text))
    (content, _) = script.contents
    lines = content.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert all(byte in b"\t" or 32 <= byte < 127 for line in lines for byte in line)
    arrived = script.mails[0].get_content()
    assert arrived.strip("\r\n").splitlines() == text.splitlines()


async def test_an_html_mail_has_a_text_part_made_from_it():
    html = (
        "<html><head><title>No</title><style>p {color: red}</style></head><body><h1>Order&nbsp;17</h1>"
        "<p>Hello <b>Ann</b> &amp; Bob,<br>it is on its way.</p><ul><li>One</li><li>Two</li></ul>"
        '<p><a href="https://example.com/17">Track it</a> <a href="https://a.example">https://a.example</a>'
        '<img src="x.png" alt="a parcel"></p><table><tr><td>Sum</td><td>9.50</td></tr></table></body></html>'
    )
    (received, _) = (await sent(mail(message=html, metadata={"html": True}))).mails
    assert received.get_content_type() == "multipart/alternative"
    text, rich = received.iter_parts()
    assert (text.get_content_type(), rich.get_content_type()) == ("text/plain", "text/html")
    assert rich.get_content().strip() == html
    assert (
        text.get_content().strip().splitlines()
        == (
            "Order 17\n\nHello Ann & Bob,\nit is on its way.\n\n- One\n- Two\n\n"
            "Track it (https://example.com/17) https://a.examplea parcel\n\nSum 9.50"
        ).splitlines()
    )


async def test_the_text_part_may_be_ones_own():
    (received, _) = (await sent(mail(message="<p>Hello", metadata={"html": True, "text": "Hello, plainly"}))).mails
    text, _ = received.iter_parts()
    assert text.get_content().strip() == "Hello, plainly"


async def test_an_html_template_makes_an_html_mail_and_another_one_does_not():
    templates = Templates(
        {"rich": Template(body="<p>Hello {name}", html=True), "plain": Template(body="Hello <{name}>")}
    )
    rich = templates.fill_in(mail(metadata={"template": "rich", "name": "A & B"}))
    with pytest.raises(TypeError):
        rich.metadata["html"] = False
    (received, _) = (await sent(rich)).mails
    assert received.get_body(("html",)).get_content().strip() == "<p>Hello A &amp; B"
    (received, _) = (await sent(templates.fill_in(mail(metadata={"template": "plain", "name": "b"})))).mails
    assert (received.get_content_type(), received.get_content().strip()) == ("text/plain", "Hello <b>")


@pytest.mark.parametrize(
    ("recipient", "to", "at_the_server"),
    [
        ("Ann <ann@example.com>", "Ann <ann@example.com>", "ann@example.com"),
        ('"Ann, B." <ann+tag@example.com>', '"Ann, B." <ann+tag@example.com>', "ann+tag@example.com"),
        ("Ännchen <ann@example.com>", "Ännchen <ann@example.com>", "ann@example.com"),
        ('"ann b"@example.com', '"ann b"@example.com', '"ann b"@example.com'),
        ("ann@bücher.example", "ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("ännchen@bücher.example", "ännchen@xn--bcher-kva.example", "ännchen@xn--bcher-kva.example"),
    ],
)
async def test_addresses_in_all_their_forms(recipient, to, at_the_server):
    script = await sent(mail(recipient=recipient))
    assert script.mails[0]["To"] == to
    assert script.recipients == [at_the_server] * 2
    internationalised = not at_the_server.isascii()
    assert [("SMTPUTF8" in options) for options in script.options] == [internationalised] * 2


async def test_an_internationalised_address_needs_a_server_that_takes_one():
    with mail_server(smtputf8=False) as server:
        async with EmailProvider(server.settings()) as provider:
            outcome = await outcome_of(provider, mail(recipient="ännchen@example.com"))
            assert outcome == Permanent(reason="the server takes no internationalised address")
            assert type(await outcome_of(provider, mail())) is Sent
    assert (len(server.script.mails), len(server.sessions)) == (1, 1)


async def test_that_a_server_does_not_take_our_address_says_nothing_of_the_recipient():
    with mail_server(smtputf8=False) as server:
        async with EmailProvider(server.settings(sender="bäcker@example.com")) as provider:
            outcome = await outcome_of(provider, mail())
    assert outcome == Permanent(reason="the server takes no internationalised address", unwritten=True)


# ── TLS and login ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("security", ["starttls", "implicit"])
async def test_login_over_tls(tls: Tls, security):
    context = {security: tls.server}
    login = {"security": security, "username": "shop", "password": "hunter2", "ca_file": tls.ca_file}
    password = {"password": "hunter2"} if security == "starttls" else {}
    with mail_server(**context, **password) as server:
        if security == "implicit":  # where this server knows no login
            login |= {"username": None, "password": None}
        async with EmailProvider(server.settings(**login)) as provider:
            assert type(await outcome_of(provider, mail())) is Sent
            assert type(await outcome_of(provider, mail())) is Sent
    assert len(server.script.mails) == 2


async def test_a_wrong_password_is_a_fault_of_the_channel_and_does_not_show(tls: Tls):
    login = {"security": "starttls", "username": "shop", "password": "hunter3", "ca_file": tls.ca_file}
    with mail_server(starttls=tls.server, password="hunter2") as server:
        async with EmailProvider(server.settings(**login)) as provider:
            outcome = await outcome_of(provider, mail())
    assert (type(outcome), outcome.reason) == (ChannelFault, "SMTP 535 before any mail")
    assert "hunter3" not in repr(outcome)


async def test_a_login_the_server_does_not_know_is_a_fault_of_the_channel(tls: Tls):
    login = {"security": "starttls", "username": "shop", "password": "hunter2", "ca_file": tls.ca_file}
    with mail_server(starttls=tls.server) as server:
        async with EmailProvider(server.settings(**login)) as provider:
            first = await outcome_of(provider, mail())
    assert type(first) is ChannelFault


LOGIN = {"username": "ännchen", "password": "päss wörd €"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_user_name_and_password_may_be_any_text(tls: Tls, mechanism):
    other = ({"PLAIN", "LOGIN"} - {mechanism}).pop()
    with mail_server(starttls=tls.server, password=LOGIN["password"], without=[other]) as server:
        settings = server.settings(security="starttls", ca_file=tls.ca_file, **LOGIN)
        async with EmailProvider(settings) as provider:
            assert type(await outcome_of(provider, mail())) is Sent
    assert server.logins == [(LOGIN["username"].encode(), LOGIN["password"].encode())]


async def test_a_login_that_is_no_text_shows_nothing_of_it(tls: Tls):
    with mail_server(starttls=tls.server, password="x") as server:
        login = {"username": "sh\udc80op", "password": "hunter2"}
        async with EmailProvider(server.settings(security="starttls", ca_file=tls.ca_file, **login)) as provider:
            outcome = await outcome_of(provider, mail())
    assert outcome == ChannelFault(reason="login not possible", answer="user name, password or challenge not readable")


def authenticating(tls: Tls, offered: bytes, *turns: bytes) -> Any:
    """Run a server that offers these mechanisms over TLS, and then says each of `turns`."""
    return raw_server(b"220 hello\r\n", b"250-hello\r\n250 AUTH " + offered + b"\r\n", *turns, tls=tls.server)


async def login_outcome(server: Any, tls: Tls) -> Any:
    login = {"username": "shop", "password": "hunter2"}
    async with EmailProvider(server.settings(security="implicit", ca_file=tls.ca_file, **login)) as provider:
        return await outcome_of(provider, mail())


WRONG = b"535 5.7.8 wrong\r\n"


@pytest.mark.parametrize(
    ("turns", "kind", "reason", "mechanisms"),
    [
        ([WRONG], ChannelFault, "SMTP 535 before any mail", ["PLAIN"]),  # and then it hangs up
        ([WRONG, b"421 too many\r\n"], ChannelFault, "SMTP 535 before any mail", ["PLAIN"]),
        ([WRONG, b"235 go on\r\n"], ChannelFault, "SMTP 535 before any mail", ["PLAIN"]),
        ([b"504 5.5.4 not that\r\n", WRONG], ChannelFault, "SMTP 535 before any mail", ["PLAIN", "LOGIN"]),
        ([b"504 5.5.4 not that\r\n", b"334 \r\n", WRONG], ChannelFault, "SMTP 535 before any mail",
         ["PLAIN", "LOGIN"]),
        ([b"534 5.7.9 too weak\r\n"] * 3, ChannelFault, "SMTP 534 before any mail", ["PLAIN", "LOGIN", "CRAM-MD5"]),
        ([b"454 4.7.0 later\r\n"], Transient, "SMTP 454 before any mail", ["PLAIN"]),
        ([b"432 4.7.12 password is to be changed\r\n"], Transient, "SMTP 432 before any mail", ["PLAIN"]),
        ([b"501 5.5.2 what?\r\n"], ChannelFault, "SMTP 501 before any mail", ["PLAIN"]),
        ([b"334 again\r\n", WRONG], ChannelFault, "SMTP 535 before any mail", ["PLAIN"]),
        ([b"504 no\r\n", b"504 no\r\n", b"334 !\r\n"], ChannelFault, "login not possible",
         ["PLAIN", "LOGIN", "CRAM-MD5"]),
        ([b""], Transient, "no connection", ["PLAIN"]),
    ],
)  # fmt: skip
async def test_what_a_reply_to_the_login_means(tls: Tls, turns, kind, reason, mechanisms):
    with authenticating(tls, b"CRAM-MD5 plain LOGIN", *turns) as server:
        outcome = await login_outcome(server, tls)
    assert (type(outcome), outcome.reason) == (kind, reason)
    assert "hunter2" not in repr(outcome)
    assert [line.split()[1] for line in server.lines if line.startswith("AUTH")] == mechanisms


async def test_the_challenge_of_its_rfc_is_answered_as_there(tls: Tls):
    # RFC 2195, 2.
    challenge = base64.b64encode(b"<1896.697170952@postoffice.reston.mci.net>")
    login = {"username": "tim", "password": "tanstaaftanstaaf", "security": "implicit", "ca_file": tls.ca_file}
    with authenticating(tls, b"CRAM-MD5", b"334 " + challenge + b"\r\n", WRONG) as server:
        async with EmailProvider(server.settings(**login)) as provider:
            await outcome_of(provider, mail())
    assert base64.b64decode(server.lines[-1]) == b"tim b913a602c7eda7a495b4e6e7334d3890"


async def test_a_server_with_none_of_the_mechanisms_is_a_fault_of_the_channel(tls: Tls):
    with authenticating(tls, b"GSSAPI XOAUTH2") as server:
        outcome = await login_outcome(server, tls)
    assert outcome == ChannelFault(reason="login not possible", answer="AUTH GSSAPI XOAUTH2")


async def test_no_mail_goes_out_in_the_clear_where_tls_is_wanted(tls: Tls):
    with mail_server() as server:
        async with EmailProvider(server.settings(security="starttls")) as provider:
            outcome = await outcome_of(provider, mail())
    assert (type(outcome), outcome.reason) == (ChannelFault, "the server offers no STARTTLS")
    assert server.script.said == {}


@pytest.mark.parametrize("security", ["starttls", "implicit"])
async def test_no_mail_goes_to_a_server_whose_certificate_does_not_verify(tls: Tls, security):
    with mail_server(**{security: tls.server}) as server:
        async with EmailProvider(server.settings(security=security)) as provider:
            outcome = await outcome_of(provider, mail())
    assert (type(outcome), outcome.reason) == (ChannelFault, "certificate of the server does not verify")
    assert server.script.said == {}


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (b"454 4.7.0 not now\r\n", Transient, "SMTP 454 before any mail"),
        (b"501 5.5.4 what?\r\n", ChannelFault, "SMTP 501 before any mail"),
        (b"", Transient, "no connection"),
    ],
)
async def test_what_a_reply_to_starttls_means(tls: Tls, reply, kind, reason):
    with raw_server(b"220 hello\r\n", b"250-hello\r\n250 STARTTLS\r\n", reply) as server:
        async with EmailProvider(server.settings(security="starttls", ca_file=tls.ca_file)) as provider:
            outcome = await outcome_of(provider, mail())
    assert (type(outcome), outcome.reason) == (kind, reason)


async def test_what_was_said_in_the_clear_is_not_taken_for_said_over_tls(tls: Tls):
    injected = b"220 go on\r\n250 injected\r\n"
    with raw_server(b"220 hello\r\n", b"250-hello\r\n250 STARTTLS\r\n", injected, None) as server:
        async with EmailProvider(server.settings(security="starttls", ca_file=tls.ca_file)) as provider:
            outcome = await outcome_of(provider, mail())
    assert (type(outcome), outcome.reason, outcome.connection) == (Transient, "no connection", True)


# ── the pool ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_connection_is_used_again_after_a_reset_and_a_refused_recipient():
    with mail_server(Script(RCPT=["250 OK", "550 5.1.1 gone"])) as server:
        async with EmailProvider(server.settings()) as provider:
            kinds = [type(await outcome_of(provider, mail())) for _ in range(4)]
        assert kinds == [Sent, DeadDestination, Sent, Sent]
        assert len(server.sessions) == 1
        assert server.script.said["RSET"] == 3


async def test_a_connection_that_the_server_has_closed_costs_no_attempt():
    with mail_server(Script(RSET=["421 idle for too long", DROP, "502 what?"])) as server:
        async with EmailProvider(server.settings()) as provider:
            kinds = [type(await outcome_of(provider, mail())) for _ in range(4)]
        assert kinds == [Sent] * 4
        assert len(server.sessions) == 4


@pytest.mark.parametrize("security", ["none", "starttls"])
async def test_a_reply_that_nothing_has_asked_for_is_not_taken_for_the_next_one(tls: Tls, security):
    context = {} if security == "none" else {security: tls.server}
    with mail_server(Script(DATA=["250 taken\r\n250 unasked"]), **context) as server:
        async with EmailProvider(server.settings(security=security, ca_file=tls.ca_file)) as provider:
            kinds = [type(await outcome_of(provider, mail())) for _ in range(3)]
        assert kinds == [Sent] * 3
        assert len(server.script.mails) == 3
        assert server.script.said["RSET"] == 1  # on the second connection


@pytest.mark.parametrize(("settings", "connections"), [({"mails_per_connection": 2}, 2), ({"idle_max": 1e-9}, 4)])
async def test_a_connection_is_not_used_forever(settings, connections):
    with mail_server() as server:
        async with EmailProvider(server.settings(**settings)) as provider:
            assert [type(await outcome_of(provider, mail())) for _ in range(4)] == [Sent] * 4
        assert len(server.sessions) == connections


async def test_there_are_no_more_connections_than_the_settings_allow():
    with mail_server() as server:
        async with (
            EmailProvider(server.settings(connections=3, connect_timeout=60)) as provider,
            trio.open_nursery() as nursery,
        ):
            for number in range(30):
                nursery.start_soon(outcome_of, provider, mail(notification_id=str(number)))
        assert len(server.script.mails) == 30
        assert 1 <= len(server.sessions) <= 3


async def test_who_gets_no_connection_in_time_has_made_no_attempt():
    with mail_server(Script(MAIL=HANG)) as server:
        async with (
            EmailProvider(server.settings(connections=1, connect_timeout=0.2)) as provider,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(outcome_of, provider, mail())
            await trio.to_thread.run_sync(server.script.hangs.wait)
            assert await outcome_of(provider, mail()) is UNSENT
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("security", ["none", "starttls", "implicit"])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_a_cancelled_attempt_cuts_its_connection_and_frees_its_slot(tls: Tls, verb, security):
    context = {} if security == "none" else {security: tls.server}
    with mail_server(Script(**{verb: HANG}), **context) as server:
        settings = server.settings(connections=1, security=security, ca_file=tls.ca_file)
        async with EmailProvider(settings) as provider:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outcome_of, provider, mail(notification_id="left"))
                await trio.to_thread.run_sync(server.script.hangs.wait)
                nursery.cancel_scope.cancel()
            assert await trio.to_thread.run_sync(server.script.lost.wait, 10)
            assert type(await outcome_of(provider, mail(notification_id="next"))) is Sent
        assert len(server.script.mails) == (2 if verb == "DATA" else 1)
        if security == "none":  # with TLS a session is counted twice
            assert len(server.sessions) == 2  # the one that was cut is not used again


async def test_an_attempt_that_is_cancelled_before_it_is_connected_frees_its_slot():
    with raw_server(None, None, closes=False) as server:
        async with EmailProvider(server.settings(connections=1, connect_timeout=0.3)) as provider:
            with trio.move_on_after(0.05) as scope:
                await outcome_of(provider, mail())
            assert scope.cancelled_caught
            assert (await outcome_of(provider, mail())).reason == "no connection"  # and not: none free


def test_a_mail_that_no_one_waits_for_any_more_is_not_sent():
    with mail_server() as server:
        config = validated(SmtpConfig, server.settings())
        pool = SmtpPool(config, tls_context(None))
        flight = Flight()
        flight.leave()
        sender = parse_mailbox(config.sender)
        assert pool.deliver(mail_of(mail(), sender, 0.0), flight) == Transient(reason="cancelled")
        assert type(pool.deliver(mail_of(mail(), sender, 0.0), Flight())) is Sent
        flight = Flight()
        flight.leave()  # now there is an idle connection, which stays whole
        assert pool.deliver(mail_of(mail(), sender, 0.0), flight) == Transient(reason="cancelled")
        pool.close()
        assert len(server.script.mails) == 1


async def test_a_mail_that_is_under_way_when_all_is_closed_leaves_no_connection_behind():
    with mail_server(Script(DATA=HANG)) as server:
        provider = EmailProvider(server.settings(timeout=0.3))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcome_of, provider, mail())
            await trio.to_thread.run_sync(server.script.hangs.wait)
            await provider.aclose()
        assert await trio.to_thread.run_sync(server.script.lost.wait, 10)


# ── settings ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("changed", "problem"), TABLES["unusable_settings"])
def test_settings_that_cannot_be_used(changed, problem):
    settings = {"host": "mail.example.com", "sender": "shop@example.com", "security": "none"}
    with pytest.raises(ConfigurationError) as caught:
        EmailProvider(settings | changed)
    assert caught.value.problems == [problem]


def test_a_password_that_is_no_text_is_refused_and_does_not_show(monkeypatch):
    monkeypatch.setitem(os.environb, b"SMTP_PASSWORD", b"hunter\xff2")
    login = {"username": "shop", "password": {"env": "SMTP_PASSWORD"}}
    with pytest.raises(ConfigurationError) as caught:
        EmailProvider({"host": "mail.example.com", "sender": "shop@example.com"} | login)
    got = "another value in the environment variable SMTP_PASSWORD, which is not shown"
    assert caught.value.problems == [f"password: wanted a secret in UTF-8, got {got}"]


def test_certificates_that_cannot_be_read(tmp_path):
    for text in (None, "no certificate"):
        path = tmp_path / "ca.pem"
        if text is not None:
            path.write_text(text)
        with pytest.raises(ConfigurationError, match="ca_file: wanted a file of certificates in PEM"):
            EmailProvider({"host": "mail.example.com", "sender": "shop@example.com", "ca_file": str(path)})


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("implicit", 465), ("none", 25)])
def test_the_port_follows_from_the_security(security, port):
    assert SmtpConfig(host="mail.example.com", sender="shop@example.com", security=security).port_used == port


def test_a_secret_never_shows():
    config = validated(
        SmtpConfig,
        {"host": "h.example", "sender": "shop@example.com", "username": "shop", "password": "hunter2"},
    )
    assert config.password is not None
    assert config.password.reveal() == "hunter2"
    shown = [repr(config), str(config), f"{config.password!s:>20}", repr(config.password), config.model_dump_json()]
    assert not any("hunter2" in text for text in shown)
    assert HIDDEN in config.model_dump_json()
    assert config.password == Secret("hunter2") != Secret("hunter3")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    with pytest.raises(ValueError, match="security") as caught:
        SmtpConfig(host="h", sender="s", username="a", password="hunter2", security="none")
    assert "hunter2" not in str(caught.value)


# ── through the pipeline ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_server_that_fails_and_recovers_gets_every_mail():
    script = Script(
        MAIL=["451 4.3.0 later", DROP, "250 OK", "421 4.3.2 restarting"],
        RCPT=["450 4.2.0 greylisted", "250 OK", "550 5.1.1 no such user"],
        DATA=["451 4.3.0 later"],
    )
    config = {
        "channels": {
            "email": {
                "retry": {"max_attempts": 10, "initial_delay": 0.01, "max_delay": 0.05},
                "circuit_breaker": {"failure_threshold": 3, "timeout": 0.05, "resume_rate": "1000/s"},
                "max_in_flight": 2,
            }
        }
    }
    with mail_server(script) as server:
        provider = EmailProvider(server.settings(connections=2))
        async with provider, Notifier.open(config, providers={"email": provider}) as notifier:
            for name in ("ann", "bob", "eve", "dan", "kim"):
                await notifier.send(mail(notification_id=name, recipient=f"{name}@example.com"))
            assert await notifier.wait_until_quiet(30)
            sent_ids = {sent.notification_id for sent in notifier.sent_notifications}
            (dead,) = notifier.dead_letter_queue
    assert dead.failure_reason == "SMTP 550 5.1.1"
    assert sent_ids | {dead.notification_id} == {"ann", "bob", "eve", "dan", "kim"}
    assert len(sent_ids) == 4
    assert sorted(script.recipients) == sorted(f"{name}@example.com" for name in sent_ids)


async def test_a_mail_that_the_channels_timeout_cuts_off_goes_out_again_under_the_same_message_id():
    config = {"channels": {"email": {"timeout": 0.3, "retry": {"max_attempts": 20, "initial_delay": 0.01}}}}
    with mail_server(Script(DATA=HANG)) as server:
        provider = EmailProvider(server.settings(connect_timeout=60))
        async with provider, Notifier.open(config, providers={"email": provider}) as notifier:
            await notifier.send(mail())
            assert await notifier.wait_until_quiet(30)
            (sent_one,) = notifier.sent_notifications
    assert sent_one.attempt >= 2
    ids = {received["Message-ID"] for received in server.script.mails}
    assert len(server.script.mails) >= 2
    assert len(ids) == 1
