"""What providers report later comes in by routes: status callbacks that are signed, and bounces."""

import base64
import hashlib
import hmac
from urllib.parse import urlencode

import pytest
from hypothesis import given, strategies as st
from served import ANN, OTTO, SHOP, email, service

from actors.outcomes import DeadDestination, Permanent, Sent, Transient
from actors.transports.bounces import bounces_in

TOKEN, CALLBACK = "0123456789abcdef0123456789abcdef", "https://shop.example/callbacks/twilio"
SMS = {
    "account_sid": "AC1",
    "auth_token": TOKEN,
    "sender": "+4930123456",
    "status_callback": CALLBACK,
    "base_url": "http://127.0.0.1:9",
}


def form(status="undelivered", code="30005", to="+4930999", **more):
    given = {"MessageSid": "SM1", "MessageStatus": status, "To": to, "From": "+4930123456"}
    return given | ({} if code is None else {"ErrorCode": code}) | more


def signed(url, fields, token=TOKEN):
    text = url + "".join(name + fields[name] for name in sorted(fields))
    return base64.b64encode(hmac.digest(token.encode(), text.encode(), hashlib.sha1)).decode()


async def call(served, fields, *, query="notification_id=n-1", signature=None):
    url = f"{CALLBACK}?{query}"
    headers = {
        "x-twilio-signature": signed(url, fields) if signature is None else signature,
        "content-type": "application/x-www-form-urlencoded",
    }
    return await served.client.post(f"/callbacks/twilio?{query}", content=urlencode(fields), headers=headers)


@pytest.fixture
async def served(tmp_path, autojump_clock):
    transports = {"email": {"simulated": True}, "sms": {"twilio": SMS}}
    async with service(tmp_path, transports=transports) as served:
        yield served


async def suppressions(served):
    return [
        (one["channel"], one["address"], one["reason"], one["source"])
        for one in (await served.get("/api/suppressions")).json()["suppressions"]
    ]


# ── Twilio ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_dead_number_is_suppressed_once_and_the_trail_says_who_reported_it(served):
    assert [(await call(served, form())).status_code for _ in range(2)] == [204, 204]
    assert await suppressions(served) == [("sms", "+4930999", "undelivered, code 30005", "provider")]
    later = await served.post("/notifications", email("later", channel="sms", recipient="+49 30 999"))
    assert later.status_code == 202
    await served.server.notifier.wait_until_quiet()
    assert (await served.get("/notifications/n-later", SHOP)).json()["state"] == "suppressed"
    audit = (await served.get("/api/audit?id=n-1")).json()["audit"]
    assert {(entry["action"], entry["by"], entry["about"], entry["why"]) for entry in audit} == {
        ("undelivered", "twilio", "sms +4930999", "undelivered, code 30005")
    }
    assert await served.metric('delivery_reports_total{channel="sms",kind="DeadDestination"}') == 2.0


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (form("delivered", None), "Sent"),
        (form("undelivered", "30007"), "Permanent"),
        (form("undelivered", "30003"), "Transient"),
        (form("sent", None), None),
    ],
)
async def test_any_other_report_suppresses_nothing(served, fields, kind):
    assert (await call(served, fields)).status_code == 204
    assert await suppressions(served) == []
    audit = (await served.get("/api/audit?id=n-1")).json()["audit"]
    assert len(audit) == (kind not in (None, "Sent"))
    if kind is not None:
        assert await served.metric(f'delivery_reports_total{{channel="sms",kind="{kind}"}}') == 1.0


async def test_what_is_not_signed_by_the_account_changes_nothing(served):
    good = form()
    url = f"{CALLBACK}?notification_id=n-1"
    forged = [
        await call(served, good, signature=""),
        await call(served, good, signature=signed(url, good, "another")),
        await call(served, form(to="+4930111"), signature=signed(url, good)),
        await call(served, good, query="notification_id=n-2", signature=signed(url, good)),
    ]
    assert [answer.status_code for answer in forged] == [403] * 4
    assert await suppressions(served) == []


async def test_without_an_account_that_asks_for_callbacks_none_is_taken(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        assert (await call(served, form())).status_code == 403


# ── bounces ─────────────────────────────────────────────────────────────────────────────────────────────────────


def report(*recipients, kind="delivery-status"):
    groups = "\r\n\r\n".join("\r\n".join(fields) for fields in (["Reporting-MTA: dns; mx.example"], *recipients))
    return (
        "From: <MAILER-DAEMON@mx.example>\r\nTo: bounces@shop.example\r\nSubject: failed\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type={kind}; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
        f"--b\r\nContent-Type: message/{kind}\r\n\r\n{groups}\r\n\r\n--b--\r\n"
    ).encode()


def failed(address, status, action="failed", **more):
    fields = {"Final-Recipient": f"rfc822; {address}", "Action": action, "Status": status} | more
    return [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]


TABLE = [
    (failed("a@example.com", "5.1.1"), DeadDestination(reason="bounced, 5.1.1")),
    (failed("a@example.com", "5.1.10 (no mail)"), DeadDestination(reason="bounced, 5.1.10")),
    (failed("a@example.com", "5.2.2"), Permanent(reason="bounced, 5.2.2")),
    (failed("a@example.com", "4.4.7"), Transient(reason="bounced, 4.4.7")),
    (failed("a@example.com", "what"), Permanent(reason="bounced")),
    (failed("a@example.com", "2.0.0", "delivered"), Sent(answer="delivered")),
    (failed("a@example.com", "4.0.0", "delayed"), None),
    (failed("a@example.com", "2.0.0", "relayed"), None),
    (
        failed("b@example.com", "5.1.1", Original_Recipient="rfc822;a@example.com", Diagnostic_Code="smtp; 550 no"),
        DeadDestination(reason="bounced, 5.1.1", answer="smtp; 550 no"),
    ),
]


@pytest.mark.parametrize(("fields", "outcome"), TABLE)
def test_what_a_report_says_of_a_recipient(fields, outcome):
    found = [(bounce.recipient, bounce.outcome) for bounce in bounces_in(report(fields))]
    assert found == ([] if outcome is None else [("a@example.com", outcome)])


@given(st.binary(max_size=300), st.integers(0, 600))
def test_what_is_no_report_is_none_and_never_an_error(junk, at):
    whole = report(failed("a@example.com", "5.1.1"))
    assert bounces_in(junk) == []
    assert len(bounces_in(whole[:at] + junk + whole[at:])) <= 1


async def test_a_bounce_of_a_dead_mailbox_suppresses_it(served):
    mail = report(failed("Ann@example.com", "5.1.1"), failed("bob@example.com", "4.2.2"))
    answers = {
        token: await served.client.post(
            "/callbacks/bounces", content=mail, headers={"authorization": f"Bearer {token}"}
        )
        for token in (ANN, SHOP, OTTO)
    }
    assert [answer.status_code for answer in answers.values()] == [403, 200, 200]
    assert answers[SHOP].json() == {"reported": 2, "suppressed": 1}
    assert answers[OTTO].json() == {"reported": 2, "suppressed": 0}
    assert await suppressions(served) == [("email", "ann@example.com", "bounced, 5.1.1", "provider")]
