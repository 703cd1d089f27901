"""What providers report later comes in by routes: status callbacks that are signed, and bounces."""

import base64
import hashlib
import hmac
from functools import partial
from itertools import groupby
from urllib.parse import urlencode

import pytest
import trio
from bounce_mails import failed, report
from served import ANN, OTTO, SHOP, email, service

from actors.messages import NotificationChannel
from actors.outcomes import DeadDestination
from actors.service.observability.metrics import Metrics
from actors.service.operations.delivery_reports import AT_ONCE, DeliveryReport, DeliveryReports
from actors.storage.memory import MemoryStore

TOKEN, CALLBACK = "0123456789abcdef0123456789abcdef", "https://shop.example/callbacks/twilio"
SMS = {"account_sid": "AC1", "auth_token": TOKEN, "sender": "+4930123456", "status_callback": CALLBACK,
    "base_url": "http://127.0.0.1:9"}  # fmt: skip


def form(status="undelivered", code="30005", to="+4930999", sid="SM1", **more):
    given = {"MessageSid": sid, "MessageStatus": status, "To": to, "From": "+4930123456"}
    return given | ({} if code is None else {"ErrorCode": code}) | more


def signed(url, fields, token=TOKEN):
    text = url + "".join(name + fields[name] for name in sorted(fields))
    return base64.b64encode(hmac.digest(token.encode(), text.encode(), hashlib.sha1)).decode()


async def call(served, fields, *, query="notification_id=n-1", signature=None):
    url = f"{CALLBACK}?{query}" if query else CALLBACK
    headers = {
        "x-twilio-signature": signed(url, fields) if signature is None else signature,
        "content-type": "application/x-www-form-urlencoded",
    }
    return await served.client.post(
        f"/callbacks/twilio?{query}".rstrip("?"), content=urlencode(fields), headers=headers
    )


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
    assert await served.metric('delivery_reports_total{channel="sms",kind="DeadDestination"}') == 1.0


@pytest.mark.parametrize("query", ["notification_id=n-1", ""])
@pytest.mark.parametrize("fields", [form(), form(code="30007")], ids=["dead", "undelivered"])
async def test_the_same_callback_again_changes_nothing_and_is_one_line_of_the_audit(tmp_path, fields, query):
    settings = {"store": {"sqlite": "store.db"}, "transports": {"email": {"simulated": True}, "sms": {"twilio": SMS}}}
    for _ in range(2):  # the second time after a restart
        async with service(tmp_path, **settings) as served:
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(partial(call, served, fields, query=query))
            assert (await call(served, fields, query=query)).status_code == 204
            audit = (await served.get("/api/audit")).json()["audit"]
            assert [(line["id"], line["message_id"]) for line in audit] == [("n-1" if query else None, "SM1")]
    async with service(tmp_path, **settings) as served:
        await served.client.request(
            "DELETE", "/api/suppressions?channel=sms&address=%2B4930999", headers={"authorization": f"Bearer {OTTO}"}
        )
        await call(served, fields, query=query)
        assert await suppressions(served) == []  # an operator has lifted it since
        await call(served, fields | {"MessageSid": "SM2"}, query=query)
        assert len(await suppressions(served)) == (fields["ErrorCode"] == "30005")
        audit = (await served.get("/api/audit")).json()["audit"]
        assert sorted(line["message_id"] for line in audit if line["action"] == "undelivered") == ["SM1", "SM2"]


async def test_a_callback_of_a_delivered_message_that_comes_again_is_counted_once(served):
    for sid in ("SM1", "SM1", "SM2"):
        assert (await call(served, form("delivered", None, sid=sid))).status_code == 204
    assert await served.metric('delivery_reports_total{channel="sms",kind="Sent"}') == 2.0


@pytest.mark.parametrize("configured", [CALLBACK, f"{CALLBACK}?a=b", f"{CALLBACK}#x"])
@pytest.mark.parametrize("mark", ["", "?"])
async def test_a_status_callback_whose_url_has_no_query_is_taken(tmp_path, autojump_clock, configured, mark):
    transports = {"email": {"simulated": True}, "sms": {"twilio": SMS | {"status_callback": configured}}}
    async with service(tmp_path, transports=transports) as served:
        for url, code in ((f"{CALLBACK}{mark}", 204), (f"{CALLBACK}/{mark}", 403)):
            assert (await call(served, form(), query="", signature=signed(url, form()))).status_code == code
        assert await suppressions(served) == [("sms", "+4930999", "undelivered, code 30005", "provider")]


@pytest.mark.parametrize(
    ("query", "fields", "problem"),
    [
        ("notification_id=a%00b", form(),
            "notification_id: wanted an id without line breaks and other control characters"),
        ("notification_id=a", form(to="+49\n30"), "To: wanted at most 1,000 printable characters on one line"),
        ("notification_id=a", form(to="+" * 1_001), "To: wanted at most 1,000 printable characters on one line"),
        ("", form(sid="\0"), "MessageSid: wanted at most 1,000 printable characters on one line"),
        ("&".join("a=b" for _ in range(101)), form(), "wanted a query in UTF-8 with at most 100 fields"),
        ("", form() | {f"x{n}": "" for n in range(100)}, "wanted a form in UTF-8 with at most 100 fields"),
    ],
)  # fmt: skip
async def test_a_callback_with_what_is_no_id_or_address_is_refused(served, query, fields, problem):
    answer = await call(served, fields, query=query)
    assert (answer.status_code, answer.json()) == (400, {"detail": problem})
    assert await suppressions(served) == []
    assert (await served.get("/api/audit")).json()["audit"] == []


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


async def test_a_bounce_of_a_dead_mailbox_suppresses_it(served):
    mail = report(failed("Ann@example.com"), failed("bob@example.com", "4.2.2"))
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


async def test_a_mail_of_15000_recipients_is_taken_in_pieces(served):
    mail = report(*(failed(f"u{n}@example.com") for n in range(15_000)))[: 2**20]
    known, growth = served.server._store.suppressions, []

    async def watch():
        while True:
            number = len(known)
            await trio.lowlevel.checkpoint()
            growth.append(len(known) - number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        answer = await served.client.post(
            "/callbacks/bounces", content=mail, headers={"authorization": f"Bearer {SHOP}"}
        )
        nursery.cancel_scope.cancel()
    reported = answer.json()["reported"]
    assert answer.json() == {"reported": reported, "suppressed": reported, "unread": True}
    assert 300 < reported == len(known) < 500
    assert max(growth) <= 2 * AT_ONCE  # a task may run twice between two looks


async def test_many_reports_are_made_durable_a_few_at_a_time():
    done = []

    class SlowStore(MemoryStore):
        def change(self, change):
            super().change(change)
            done.append("handed over")
            return self._sync

        async def _sync(self):
            done.append("durable")

    reports = [
        DeliveryReport(
            outcome=DeadDestination(), channel=NotificationChannel.EMAIL, address=f"u{n}@example.com", by="mx"
        )
        for n in range(2 * AT_ONCE + 3)
    ]
    assert await DeliveryReports(SlowStore(), Metrics()).take_all(reports) == len(reports)
    assert [(what, len(list(run))) for what, run in groupby(done)] == [
        (what, number) for number in (AT_ONCE, AT_ONCE, 3) for what in ("handed over", "durable")
    ]
