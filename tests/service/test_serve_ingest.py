"""Events and notifications come in over HTTP."""

import contextlib
import json
import sqlite3
from datetime import datetime, timedelta

import pytest
import trio
from served import ANN, OTTO, PLACED, SHOP, Scripted, email, service

from actors import EmailProvider, Foreseen, Notifier, SendNotification, StoreFailed, Unstorable
from actors.channel_names import A_CHANNEL_NAME
from actors.outcomes import Permanent, Sent
from actors.service.http.bodies import BODY_MAX, DEPTH_MAX, VALUES_MAX
from actors.service.http.ingest import HINTS_MAX, ITEM_VALUES_MAX, ITEMS_AT_ONCE, ITEMS_MAX, PROBLEMS_MAX
from actors.service.observability.overload import QUIET_S


async def test_an_event_is_answered_with_what_it_gives_rise_to(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        first = await served.post("/events", PLACED)
        again = await served.post("/events", PLACED)
        other = await served.post("/events", PLACED | {"customer_email": "bob@example.com"})
        await served.server.notifier.wait_until_quiet()
        sent = {event.notification_id for event in served.server.notifier.sent_notifications}
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 409)
    assert sent == {"email-order-placed-7", "sms-order-placed-7"}
    assert {one["notification_id"]: one["status"] for one in first.json()["notifications"]} == dict.fromkeys(
        sent, "accepted"
    )
    assert [response.json()["status"] for response in (first, again, other)] == ["accepted", "duplicate", "conflict"]
    assert [one["problems"] for one in other.json()["notifications"]] == [
        [
            {
                "field": "notification_id",
                "problem": f"accepted before with other content ({field}); wanted the same as then, or a new id",
            }
        ]
        for field in ("recipient", "addresses")  # of the email, and of the SMS
    ]
    assert {one["notification_id"]: one["status"] for one in other.json()["notifications"]} == {
        "email-order-placed-7": "conflict",
        "sms-order-placed-7": "conflict",  # the mailbox is where it falls back to
    }


async def test_each_item_of_a_list_has_a_result_and_those_that_are_fine_go_on(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        answer = await served.post(
            "/notifications",
            [email(1), email(1), email(1, message="Bye"), email(2, channel="push"), email(3, critical="yes"), email(4)],
        )
        await served.server.notifier.wait_until_quiet()
        sent = [event.notification_id for event in served.server.notifier.sent_notifications]
        fine = await served.post("/notifications", [email(5), email(4)])
    assert answer.status_code == 207
    assert [(one["status"], one["code"]) for one in answer.json()] == [
        ("accepted", 202),
        ("duplicate", 202),
        ("conflict", 409),
        ("invalid", 422),
        ("invalid", 422),
        ("accepted", 202),
    ]
    assert sent == ["n-1", "n-4"]
    assert fine.status_code == 202


async def test_what_there_is_no_room_for_is_refused_for_now_and_nothing_of_it_is_remembered(
    tmp_path, autojump_clock, provider
):
    may_go_on = trio.Event()

    async def wait(attempt):
        await may_go_on.wait()
        return Sent()

    provider.deliver = wait
    async with service(tmp_path, max_pending=20) as served:
        batch = [email(number) for number in range(25)]
        in_a_list = await served.post("/notifications", batch)
        alone = await served.post("/notifications", email(30))
        event = await served.post("/events", PLACED)
        critical = await served.post("/notifications", email("c", critical=True))
        counted = await served.metric('requests_overloaded_total{priority="normal"}')
        may_go_on.set()
        await served.server.notifier.wait_until_quiet()
        again = await served.post("/notifications", batch)
        await served.server.notifier.wait_until_quiet()
        sent = [event.notification_id for event in served.server.notifier.sent_notifications]
    assert [one["code"] for one in in_a_list.json()] == [202] * 19 + [429] * 6
    assert (in_a_list.status_code, alone.status_code, event.status_code, critical.status_code) == (207, 429, 429, 202)
    for refused in (in_a_list, alone, event):
        assert int(refused.headers["retry-after"]) >= 1
    assert counted == 6 + 1 + 1
    assert [one["status"] for one in again.json()] == ["duplicate"] * 19 + ["accepted"] * 6
    assert sorted(sent) == sorted([f"n-{number}" for number in range(25)] + ["n-c"])


async def test_an_overload_is_a_line_of_the_log_when_it_begins_and_one_when_it_ends(
    tmp_path, autojump_clock, monkeypatch, caplog
):
    gates = {number: trio.Event() for number in range(60)}

    async def wait(attempt):
        await gates[int(attempt.command.notification_id.removeprefix("n-"))].wait()
        return Sent()

    def said():
        return [
            (record.getMessage(), record.fields) for record in caplog.records if "overloaded" in record.getMessage()
        ]

    async def pending():
        return (await served.get("/healthz", None)).json()["pending"]

    monkeypatch.setattr("actors.service.transports.EmailTransport.open", lambda self: Scripted(wait))
    channels = {"email": {"max_in_flight": 5, "timeout": "1h"}}
    async with service(tmp_path, max_pending=20, channels=channels) as served:
        began = {"in_flight": 19, "max_pending": 20}
        assert await pending() == {"at_providers": 0, "waiting": 0, "at_most": 20, "overloaded": False}
        await served.post("/notifications", [email(number) for number in range(21)])
        assert await pending() == {"at_providers": 5, "waiting": 14, "at_most": 20, "overloaded": True}
        assert [fields for _, fields in said()] == [began]
        # It goes on while a few come in, and others are refused; also while nobody tries, as long as there is no room.
        gates[0].set()
        await trio.sleep(5)
        await served.post("/notifications", [email(number) for number in range(30, 33)])
        await trio.sleep(1000)
        assert len(said()) == 1
        gates[1].set()
        await trio.sleep(QUIET_S + 1)
        assert [fields for _, fields in said()] == [began, {"refused": 2 + 2, "for_s": 5.0}]
        assert not (await pending())["overloaded"]
        # Another one is told anew, and the end of the service is its end.
        await served.post("/notifications", [email(number) for number in range(40, 50)])
        for gate in gates.values():
            gate.set()
        await served.server.shut_down()
        assert [fields for _, fields in said()[2:]] == [began, {"refused": 9, "for_s": 0.0}]
        assert [text for text, _ in said()[1::2]] == ["no longer overloaded", "overloaded until the end of the service"]


@pytest.mark.parametrize(
    ("path", "item", "problems"),
    [
        ("/notifications", 3, {"": "wanted a notification, which is an object"}),
        ("/notifications", email(1, channel="Fax"), {"channel": f"wanted {A_CHANNEL_NAME}"}),
        ("/notifications", email(1, channel="push"),
            {"channel": "wanted a channel that is configured (email, sms), got push"}),
        ("/notifications", email(1, recipient=" "), {"recipient": "wanted text that is not empty"}),
        ("/notifications", email(1, expires_after=-1), {"expires_after": "wanted seconds of at least 0, got -1.0"}),
        ("/notifications", email(1, addresses={"Fax": "+49"}), {"addresses": f"wanted {A_CHANNEL_NAME}"}),
        ("/notifications", email(1, addresses={"fax": "+49"}),
            {"addresses": "wanted channels that there are (email, sms, push, webhook), got fax"}),
        ("/notifications", email(1, priority="urgent"), {"priority": "wanted one of critical, normal, bulk"}),
        ("/notifications", email(1, priority=3), None),
        ("/notifications", email(1, messsage="x"), {"messsage": "unknown field; did you mean message?"}),
        ("/notifications", email(1, metadata=[1]), {"metadata": "wanted an object, got a list"}),
        ("/notifications", {"notification_id": 7, "channel": "email"}, {"recipient": "wanted text, got nothing",
            "message": "wanted text, got nothing", "notification_id": "wanted text, got a number"}),
        ("/events", PLACED | {"type": "OrderPlacd"},
            {"type": "wanted one of UserRegistered, OrderPlaced, OrderShipped, PaymentReceived; did you mean "
            "OrderPlaced?"}),
        ("/events", {"type": "OrderPlaced", "order_id": "7", "user_id": "ann", "customer_email": "ann@example.com"},
            {"customer_phone": "wanted text, got nothing", "total_amount": "wanted a number, got nothing",
            "placed_at": "wanted a time, got nothing"}),
        ("/notifications", {"notification_id": "n"}, {"channel": f"wanted {A_CHANNEL_NAME}, got nothing",
            "recipient": "wanted text, got nothing", "message": "wanted text, got nothing"}),
        ("/events", {"type": ["OrderPlaced"]}, None),
        ("/events", PLACED | {"placed_at": "yesterday"}, {"placed_at": "wanted a time such as 2026-01-31T12:00:00Z"}),
        ("/events", PLACED | {"total_amount": "ten"}, {"total_amount": "wanted a number"}),
        ("/events", PLACED | {"placed_at": "2026-01-01T00:00:00"},
            {"placed_at": "wanted a time with its offset from UTC, such as 2026-01-31T12:00:00Z"}),
        ("/events", PLACED | {"total_amount": "NaN"}, {"total_amount": "wanted a finite number, got NaN"}),
        ("/events", PLACED | {"total_amount": "-inf"}, {"total_amount": "wanted a finite number, got -Infinity"}),
        ("/events", PLACED | {"order_id": ""}, {"order_id": "wanted text that is not empty"}),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_an_item_is_said_by_its_field(tmp_path, autojump_clock, path, item, problems):
    async with service(tmp_path) as served:
        answer = await served.post(path, item)
    assert answer.status_code == 422
    assert answer.json()["status"] == "invalid"
    if problems is not None:
        assert {one["field"]: one["problem"] for one in answer.json()["problems"]} == problems


@pytest.mark.parametrize(("token", "code"), [(None, 401), ("x" * 20, 401), (ANN, 403), (SHOP, 202), (OTTO, 202)])
async def test_who_may_hand_in_something(tmp_path, autojump_clock, token, code):
    async with service(tmp_path) as served:
        assert (await served.post("/notifications", email(1), token)).status_code == code
        assert await served.metric('notifications_accepted_total{channel="email",priority="normal"}') == (code == 202)


async def test_a_body_is_bounded_and_json(tmp_path, autojump_clock):
    async with service(tmp_path) as served:

        async def post(content):
            headers = {"authorization": f"Bearer {SHOP}"}
            return (await served.client.post("/notifications", content=content, headers=headers)).status_code

        assert await post(json.dumps(email(1, message="x" * BODY_MAX))) == 413
        assert await post(json.dumps(email(1, message="x" * (BODY_MAX - 1000)))) == 202
        assert await post(json.dumps([1] * (ITEMS_MAX + 1))) == 413
        for broken in (b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000):
            assert await post(broken) == 400


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ('"\\ud800"', "half a surrogate pair is no text"),
        ('"\\ud800 and then others"', "half a surrogate pair is no text"),
        ('"\\ud800\\ud800 and then others"', "half a surrogate pair is no text"),
        ('"\\udc00"', "half a surrogate pair is no text"),
        ('{"\\ud800": 1}', "half a surrogate pair is no text"),
        ('"\\ud800', "it ends too early"),
        ("nine", "invalid character (byte 78)"),
        ('"\\\\ud800', "it ends too early"),
    ],
)
async def test_a_body_that_cannot_be_read_says_what_is_wrong_with_it(tmp_path, autojump_clock, written, reason):
    async with service(tmp_path) as served:
        body = f'{{"notification_id": "n", "channel": "email", "recipient": "a", "message": {written}'
        body += "}" if "pair" in reason else ""
        headers = {"authorization": f"Bearer {SHOP}"}
        answer = await served.client.post("/notifications", content=body, headers=headers)
        assert (answer.status_code, answer.json()) == (400, {"detail": f"wanted JSON: {reason}"})


async def test_a_whole_surrogate_pair_is_text(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        body = json.dumps(email(1, message="\N{PARTY POPPER}"))
        assert "\\ud83c\\udf89" in body
        headers = {"authorization": f"Bearer {SHOP}"}
        assert (await served.client.post("/notifications", content=body, headers=headers)).status_code == 202


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_body_that_does_not_say_how_long_it_is_is_bounded_too(tmp_path, autojump_clock):
    async def chunks():  # which is not read to its end
        for _ in range(2 * BODY_MAX // 1000):
            yield b" " * 1000

    async with service(tmp_path) as served:
        headers = {"authorization": f"Bearer {SHOP}"}
        answer = await served.client.post("/notifications", content=chunks(), headers=headers)
    assert answer.status_code == 413


async def test_it_is_answered_when_it_is_durable(tmp_path):
    async with service(tmp_path, store={"sqlite": "store.db"}) as served:
        answer = await served.post("/notifications", [email(number) for number in range(50)])
        assert answer.status_code == 202
        with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as file, file:
            [(known,)] = file.execute(
                "SELECT count(*) FROM (SELECT notification_id FROM notifications UNION SELECT notification_id FROM "
                "remembered)"
            )
        file.close()
    assert known == 50


async def test_a_request_that_is_being_answered_while_the_service_drains_is_answered(
    tmp_path, autojump_clock, provider
):
    async with service(tmp_path) as served, trio.open_nursery() as nursery:
        await served.post("/notifications", email(1))
        nursery.start_soon(served.server.shut_down)
        while not served.server.status.draining:
            await trio.sleep(0)
        refused = await served.post("/notifications", email(2))
        assert refused.status_code == 503
        assert refused.headers["retry-after"].isdecimal()
    assert provider.taken == ["n-1"]


def nested(depth):
    return json.loads('{"a":' * depth + "1" + "}" * depth)


async def test_json_that_is_nested_too_deep_is_refused_wherever_it_comes_in(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        assert (await served.post("/notifications", email(0, metadata=nested(DEPTH_MAX - 1)))).status_code == 202
        for depth in (DEPTH_MAX, 450, 900, 5_000):
            body = json.dumps(email(1)).replace(
                '"Hello"', '"Hello", "metadata": ' + '{"a":' * depth + "1" + "}" * depth
            )
            headers = {"authorization": f"Bearer {OTTO}"}
            assert (await served.client.post("/notifications", content=body, headers=headers)).status_code == 400
            edit = '{"edit": {"metadata": ' + "[" * depth + "]" * depth + "}}"
            answer = await served.client.post("/api/dead-letters/n-0/retry", content=edit, headers=headers)
            assert answer.status_code == 400
            variables = '{"variables": ' + '{"a":' * depth + "1" + "}" * depth + "}"
            answer = await served.client.post("/api/templates/x/preview", content=variables, headers=headers)
            assert answer.status_code == 400


async def test_what_takes_long_to_go_through_is_refused_before(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        many = [[]] * ITEM_VALUES_MAX
        assert (await served.post("/notifications", email(1, metadata={"a": many[:-10]}))).status_code == 202
        answer = await served.post("/notifications", [email(2, metadata={"a": many}), email(3)])
        assert [each["code"] for each in answer.json()] == [422, 202]
        assert answer.json()[0]["problems"] == [{"field": "", "problem": "wanted at most 10,000 values"}]
        answer = await served.post("/notifications", email(4, metadata={"a": [[]] * VALUES_MAX}))
        assert answer.status_code == 400


async def test_a_notification_that_is_made_with_metadata_nested_too_deep_says_so():
    metadata = "x"
    for _ in range(3_000):
        metadata = {"a": metadata}
    with pytest.raises(ValueError, match="metadata: wanted lists and mappings that are nested less deep"):
        SendNotification(notification_id="n", channel="email", recipient="a", message="m", metadata=metadata)


BAD_IDS = ["a\0", "a\nb", "a\r", "a\u2028b", "a\x85", "a\x1b[31m", "x" * 2001, "é" * 1001]


@pytest.mark.parametrize("store", ["memory", {"sqlite": "store.db"}])
async def test_an_id_that_no_store_may_have_is_refused_at_the_door_of_every_store(tmp_path, store):
    async with service(tmp_path, store=store) as served:
        for bad in BAD_IDS:
            answer = await served.post("/notifications", email(1, notification_id=bad))
            assert answer.status_code == 422
            assert [problem["field"] for problem in answer.json()["problems"]] == ["notification_id"]
            answer = await served.post("/events", PLACED | {"order_id": bad})
            assert answer.status_code == 422
            assert answer.json()["problems"][0]["field"] == "order_id"
        answer = await served.post("/events", PLACED | {"order_id": "x" * 1995})  # what is made of it is too long
        assert answer.status_code == 422
        assert "at most 2000 bytes" in answer.json()["notifications"][0]["problems"][0]["problem"]
        for good in ("x" * 2000, "é" * 1000, "a b", "\N{PARTY POPPER}", "zero\u200bwidth"):
            assert (await served.post("/notifications", email(1, notification_id=good))).status_code == 202
        for path in ("/api/dead-letters/%00", "/api/audit?id=%00", "/api/dead-letters/a%0Ab"):
            assert (await served.get(path)).status_code in (200, 404)
        await served.server.notifier.wait_until_quiet()


async def test_a_live_notifier_refuses_such_an_id_with_a_clear_error():
    async with Notifier.open({"channels": {"email": {}}}, providers=Scripted()) as notifier:
        for bad in BAD_IDS:
            command = SendNotification(notification_id=bad, channel="email", recipient="a", message="m")
            with pytest.raises(Unstorable, match=r"cannot be accepted; wanted an id (without|of at most 2000 bytes)"):
                await notifier.send(command)
        assert notifier.in_flight == 0


@pytest.mark.parametrize("limit", ["9" * 30, "9" * 5000, "0", "-1", "1e3", "²", "1001"])
async def test_a_long_limit_is_refused_and_no_error(tmp_path, autojump_clock, limit):
    async with service(tmp_path) as served:
        for path in ("/api/suppressions", "/api/dead-letters", "/api/audit", "/api/breakers"):
            assert (await served.get(f"{path}?limit={limit}")).status_code == 422
        session = {"authorization": f"Bearer {OTTO}"}
        assert (await served.client.get(f"/console/audit?limit={limit}", headers=session)).status_code == 200


async def test_a_list_is_refused_with_little_work_and_others_get_their_turn(tmp_path, autojump_clock, monkeypatch):
    looked = 0

    def nearest(*_args, **_settings):
        nonlocal looked
        looked += 1
        return

    monkeypatch.setattr("actors.settings.hints.nearest", nearest)
    monkeypatch.setattr("actors.service.http.ingest.nearest", nearest)
    items = [email(number, **{f"recipien{number}x{n}": 1 for n in range(40)}) for number in range(1000)]
    events = [{"type": f"OrderPlace{number}"} for number in range(1000)]
    for path, content in (("/notifications", items), ("/events", events)):
        turns = looked = 0
        async with service(tmp_path) as served, trio.open_nursery() as nursery:

            async def others():
                nonlocal turns
                while True:
                    await trio.lowlevel.checkpoint()
                    turns += 1

            nursery.start_soon(others)
            answer = await served.post(path, content)
            nursery.cancel_scope.cancel()
        assert {each["status"] for each in answer.json()} == {"invalid"}
        assert looked <= HINTS_MAX
        assert turns > len(content) / ITEMS_AT_ONCE / 2
        assert max(len(each["problems"]) for each in answer.json()) <= PROBLEMS_MAX + 1


async def test_a_full_disk_is_a_503_for_who_is_being_answered_and_the_end(tmp_path, monkeypatch):
    connect = sqlite3.connect

    def connect_with_little_room(*args, **settings):
        connection = connect(*args, **settings)
        connection.execute("PRAGMA max_page_count = 56")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_with_little_room)
    stream, statuses, why = None, [], ""
    try:
        async with service(tmp_path, store={"sqlite": "store.db"}, listen="127.0.0.1:0") as served:
            (url,) = await served.server.listen()
            stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
            for number in range(1000):
                body = json.dumps(email(number, message="much " * 1000)).encode()
                head = f"POST /notifications HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {SHOP}\r\n"
                await stream.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                statuses.append(await stream.receive_some())
                if not statuses[-1].startswith(b"HTTP/1.1 202"):
                    await trio.sleep_forever()  # until the service has ended: it takes no further request
    except* StoreFailed as failed:
        why = str(failed.exceptions)
    assert "disk is full" in why
    statuses.append(await stream.receive_some())
    await stream.aclose()
    codes = [int(said[9:12]) for said in statuses if said]
    assert codes.index(503) > 3
    assert codes == [202] * codes.index(503) + [503] * codes.count(503)


MAIL_SERVER = {"smtp": {"host": "127.0.0.1", "port": 1, "security": "none", "sender": "shop@example.com"}}


async def test_what_can_be_no_address_is_refused_where_the_transport_of_the_channel_knows_it(tmp_path, autojump_clock):
    transports = {"email": MAIL_SERVER, "sms": {"simulated": True}}
    async with service(tmp_path, transports=transports, max_pending=10) as served:
        alone = await served.post("/notifications", email(1, recipient="ann@example.com>"))
        simulated = await served.post("/notifications", email(2, channel="sms", recipient="any form"))
        event = await served.post("/events", PLACED | {"customer_email": "ann@@example.com"})
        await served.server.notifier.wait_until_quiet()
        assert served.server.notifier.dead_letter_queue == []
    problem = {"field": "recipient", "problem": "not a mailbox; wanted one such as ann@example.com"}
    assert (alone.status_code, alone.json()["problems"]) == (422, [problem])
    assert simulated.status_code == 202
    assert event.status_code == 422
    assert [(one["status"], one.get("problems")) for one in event.json()["notifications"]] == [
        ("invalid", [problem]),
        ("accepted", None),
    ]


async def test_a_channel_that_events_lead_to_and_that_is_not_there_is_said_once_at_the_start(
    tmp_path, autojump_clock, caplog
):
    caplog.set_level("INFO")

    def said():
        return [text for text in caplog.messages if "no channel" in text]

    async with service(tmp_path, transports={"email": {"simulated": True}}) as served:
        assert said() == ["no channel sms is configured: OrderPlaced leads to nothing there"]
        for number in range(3):
            event = (await served.post("/events", PLACED | {"order_id": str(number)})).json()
            assert [one["notification_id"] for one in event["notifications"]] == [f"email-order-placed-{number}"]
        direct = await served.post("/notifications", email(1, channel="sms"))
        assert (direct.status_code, direct.json()["problems"]) == (
            422,
            [{"field": "channel", "problem": "wanted a channel that is configured (email), got sms"}],
        )
        assert len(said()) == 1
    caplog.clear()
    async with service(tmp_path, transports={"push": {"simulated": True}}):
        assert said() == [
            "no channel email is configured: UserRegistered or OrderPlaced or OrderShipped or PaymentReceived leads to "
            "nothing there",
            "no channel sms is configured: OrderPlaced leads to nothing there",
        ]
    caplog.clear()
    async with service(tmp_path):
        assert said() == []


async def test_a_dead_letter_is_not_edited_to_no_address(tmp_path, autojump_clock, monkeypatch):
    class Refusing(EmailProvider):
        def attempt(self, attempt, now_ns):
            return Foreseen(0, Permanent(reason="550 full"))

    monkeypatch.setattr("actors.service.transports.EmailTransport.open", lambda self: Refusing(self.smtp))
    async with service(tmp_path, transports={"email": MAIL_SERVER}) as served:
        await served.post("/notifications", email(1))
        await served.server.notifier.wait_until_quiet()
        path = "/api/dead-letters/n-1/retry"
        refused = await served.post(path, {"edit": {"recipient": "ann"}}, OTTO)
        retried = await served.post(path, {"edit": {"recipient": "bob@example.com"}}, OTTO)
    assert (refused.status_code, retried.status_code) == (422, 200)
    assert refused.json() == {"problems": ["edit.recipient: not a mailbox; wanted one such as ann@example.com"]}


async def test_bulk_is_refused_first_item_by_item_and_the_whole_may_be_sent_again(tmp_path, autojump_clock, provider):
    may_go_on = trio.Event()

    async def wait(attempt):
        await may_go_on.wait()
        return Sent()

    provider.deliver = wait
    async with service(tmp_path, max_pending=10) as served:
        classes = ["bulk"] * 9 + ["normal"] * 3 + ["critical"]
        batch = [email(number, priority=priority) for number, priority in enumerate(classes)]
        first = await served.post("/notifications", batch)
        may_go_on.set()
        await served.server.notifier.wait_until_quiet()
        again = await served.post("/notifications", batch)
        await served.server.notifier.wait_until_quiet()
    assert [one["code"] for one in first.json()] == [202] * 8 + [429] + [202] * 2 + [429] * 2
    assert int(first.headers["retry-after"]) >= 1
    assert [one["status"] for one in again.json()][:9] == ["duplicate"] * 8 + ["accepted"]
    assert {one["code"] for one in again.json()} == {202}


async def test_the_sender_of_a_notification_may_ask_where_it_is(tmp_path, autojump_clock, monkeypatch):
    async def refuse(attempt):
        return Permanent(reason="no such mailbox: ann@example.com")

    monkeypatch.setattr("actors.service.transports.EmailTransport.open", lambda self: Scripted(refuse))
    async with service(tmp_path) as served:
        await served.post("/notifications", [email("a/b"), email("sms", channel="sms", recipient="+4930123456")])
        await served.server.notifier.wait_until_quiet()
        by_role = {token: await served.get("/notifications/n-a/b", token) for token in (SHOP, ANN, OTTO)}
        sent = await served.get("/notifications/n-sms", SHOP)
        others = [await served.get("/notifications/n-c", SHOP), await served.get("/notifications/n-sms", None)]
    asked = by_role[SHOP].json()
    assert (asked["state"], asked["channel"], asked["attempts"]) == ("dead letter", "email", 1)
    assert "reason" not in asked
    for token in (ANN, OTTO):
        assert by_role[token].json() == asked | {"reason": "no such mailbox: ann@example.com"}
    assert sent.json() == {"notification_id": "n-sms", "state": "sent", "channel": "sms", "priority": "normal",
        "attempts": None, "requested_at": None, "resumes_at": None}  # fmt: skip
    assert [other.status_code for other in others] == [404, 401]


async def test_a_zone_is_taken_and_shown_and_one_that_is_none_is_refused(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        made = [email("a", zone="Asia/Tokyo"), email("b"), email("c", zone="Asia/Tokio"), email("d", zone=9)]
        results = (await served.post("/notifications", made)).json()
        shown = [(await served.get(f"/api/dead-letters/n-{each}", OTTO)).json()["command"] for each in "ab"]
    assert [result["status"] for result in results] == ["accepted", "accepted", "invalid", "invalid"]
    said = "wanted a time zone such as Europe/Berlin, got 'Asia/Tokio'"
    assert results[2]["problems"] == [{"field": "zone", "problem": said}]
    assert results[3]["problems"] == [{"field": "zone", "problem": "wanted text or null, got a number"}]
    assert shown[0]["zone"] == "Asia/Tokyo"
    assert "zone" not in shown[1]


async def test_a_scheduled_notification_may_be_cancelled_by_its_sender(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        later = (served.server.notifier.system.present + timedelta(hours=1)).isoformat()
        await served.post("/notifications", [email(each, not_before=later) for each in ("a", "b")])
        waits = await served.get("/notifications/n-a", SHOP)
        cancelled = [await served.post("/notifications/n-a/cancel", None) for _ in range(2)]
        refused = [
            await served.post("/notifications/n-b/cancel", None, ANN),
            await served.post("/notifications/n-c/cancel", None),
        ]
        shown = await served.get("/api/dead-letters/n-a", OTTO)
        naive = await served.post("/notifications", email("d", not_before="2026-01-31T12:00:00"))
        await trio.sleep(3601)
        sent = [event.notification_id for event in served.server.notifier.sent_notifications]
    assert waits.json()["state"] == "in flight"
    assert datetime.fromisoformat(waits.json()["resumes_at"]) == datetime.fromisoformat(later)
    assert [answer.status_code for answer in cancelled] == [200, 409]
    assert cancelled[1].json()["detail"] == "wanted a notification that waits, got one that is cancelled"
    assert [answer.status_code for answer in refused] == [403, 404]
    [entry] = shown.json()["audit"]
    assert (shown.json()["state"], entry["action"], entry["by"]) == ("cancelled", "cancel", "shop")
    assert naive.json()["problems"] == [
        {"field": "not_before", "problem": "wanted a time with its offset from UTC, such as 2026-01-31T12:00:00Z"}
    ]
    assert sent == ["n-b"]
