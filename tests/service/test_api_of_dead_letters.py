"""The JSON API of dead letters, bulk runs, breakers and the audit trail, asked as a program asks it."""

from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import quote

import pytest
import trio
from desks import ANN, HOOK, OTTO, SHOP, SMS, asked, command, fail_endpoint

from actors.channel_names import A_CHANNEL_NAME
from actors.service.operations.queries import read_instant

LETTERS = (
    command("a", message="bad: mailbox full", metadata={"total": Decimal("12.50")}, subject="Hi"),
    command("b/sms", message="bad: no such user", channel=SMS, recipient="+4670"),
    command("c", message="bad: mailbox full"),
)

POSTS = [
    ("/api/dead-letters/a/retry", None),
    ("/api/dead-letters/a/discard", {"why": "old"}),
    ("/api/dead-letters/bulk", {"action": "retry", "filter": {}}),
    ("/api/dead-letters/bulk", {"action": "retry", "filter": {}, "dry_run": True}),
    ("/api/bulks/x/cancel", None),
    ("/api/breakers/email", {"order": "close"}),
    ("/api/users/ann/erase", None),
]


async def test_no_one_sees_anything_without_the_role_for_it(autojump_clock):
    async with asked() as client:
        await client.at.die(*LETTERS)
        for path in ("/api/dead-letters", "/api/dead-letters/groups", "/api/dead-letters/a", "/api/bulks",
                     "/api/breakers", "/api/audit", "/api/users/ann/notifications"):  # fmt: skip
            assert [(await client.get(path, token))[0] for token in (None, "wrong", SHOP, ANN, OTTO)] == [
                401, 401, 403, 200, 200,
            ], path  # fmt: skip
        for path, content in POSTS:
            assert [(await client.post(path, content, token))[0] for token in (None, "wrong", SHOP, ANN)] == [
                401, 401, 403, 403,
            ], path  # fmt: skip
        assert client.at.ids() == ["a", "b/sms", "c"]
        assert (await client.get("/api/audit"))[1] == {"audit": []}


async def test_a_list_has_what_a_table_needs_and_goes_on_page_by_page(autojump_clock):
    async with asked() as client:
        await client.at.die(*LETTERS)
        status, first = await client.get("/api/dead-letters", limit=2)
        assert status == 200
        assert [letter["id"] for letter in first["dead_letters"]] == ["a", "b/sms"]
        letter, moved_at = first["dead_letters"][0], client.at.letters.letter("a").moved_at
        assert (letter["reason"], letter["attempts"], letter["subject"]) == ("mailbox full", 1, "Hi")
        assert letter["moved_at"] == moved_at.isoformat().replace("+00:00", "Z")
        _, second = await client.get("/api/dead-letters", limit=2, after=first["next"])
        assert ([letter["id"] for letter in second["dead_letters"]], second["next"]) == (["c"], None)
        _, newest = await client.get("/api/dead-letters", order="newest", reason="MAILBOX", channel="")
        assert [letter["id"] for letter in newest["dead_letters"]] == ["c", "a"]
        for query, ids in (
            (
                {"since": letter["moved_at"], "until": client.at.letters.letter("c").moved_at.isoformat()},
                ["a", "b/sms"],
            ),
            ({"id": "b/", "channel": "sms", "recipient": "+46"}, ["b/sms"]),
            ({"reason_is": "mailbox"}, []),
            ({"user": "+4670"}, ["b/sms"]),
        ):
            _, found = await client.get("/api/dead-letters", **query)
            assert [letter["id"] for letter in found["dead_letters"]] == ids
        _, groups = await client.get("/api/dead-letters/groups", by="channel", reason="mailbox")
        assert [(group["key"], group["count"]) for group in groups["groups"]] == [("email", 2)]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-01T14:30Z", datetime(2026, 3, 1, 14, 30, tzinfo=UTC)),
        ("2026-03-01T14:30+01:00", datetime(2026, 3, 1, 13, 30, tzinfo=UTC)),
        ("2026-03-01 14:30", datetime(2026, 3, 1, 14, 30, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("90m", datetime(2026, 3, 2, 22, 30, tzinfo=UTC)),
        ("90", None),
        ("soon", None),
        ("99999999h", None),
        ("0001-01-01T00:00+14:00", None),
        (5, None),
    ],
)
def test_a_time_is_written_as_such_or_as_how_long_ago(text, instant):
    assert read_instant(text, datetime(2026, 3, 3, tzinfo=UTC)) == instant


@pytest.mark.parametrize(
    ("path", "query", "problems"),
    [
        ("", {"limit": "many"}, ["limit: wanted a whole number from 1 to 1000, got 'many'"]),
        ("", {"limit": "0"}, ["limit: wanted a whole number from 1 to 1000, got '0'"]),
        ("", {"after": "x"}, ["after: wanted the `next` of a page, got 'x'"]),
        ("", {"chanel": "sms"}, ["chanel: unknown key; did you mean channel?"]),
        ("", {"since": "soon", "channel": "Fax"}, [f"channel: wanted {A_CHANNEL_NAME}, got 'Fax'",
            "since: wanted a time such as 2026-03-01T14:30Z, or how long ago such as 2h, got 'soon'"]),
        ("/groups", {"by": "user"}, ["by: wanted one of reason, channel, recipient, got 'user'"]),
    ],
)  # fmt: skip
async def test_a_question_that_cannot_be_read_is_told_all_that_is_wrong(path, query, problems, autojump_clock):
    async with asked() as client:
        assert await client.get(f"/api/dead-letters{path}", **query) == (422, {"problems": problems})


async def test_one_is_shown_with_every_attempt_and_the_raw_answer(autojump_clock):
    async with asked() as client:
        await client.at.die(*LETTERS)
        status, shown = await client.get("/api/dead-letters/a")
        assert (status, shown["state"], shown["dead_letter"]["reason"]) == (200, "dead letter", "mailbox full")
        assert shown["command"]["metadata"] == {"total": "12.50"}
        assert [event["event"] for event in shown["events"]] == ["NotificationRequested", "NotificationFailed",
            "NotificationMovedToDeadLetter"]  # fmt: skip
        failed = shown["events"][1]
        assert (failed["answer"], failed["kind"], failed["started"]) == ("550 mailbox full", "Permanent", failed["at"])
        assert (await client.get("/api/dead-letters/b/sms"))[1]["id"] == "b/sms"
        assert (await client.get("/api/dead-letters/b%2Fsms"))[1]["id"] == "b/sms"
        status, unknown = await client.get("/api/dead-letters/nothing")
        assert (status, unknown) == (404, {"detail": "no notification with this id is known, or it is no longer known"})


IDS = (
    "groups", "bulk", "retry", "discard", "cancel", "a/retry", "a/discard", "a/cancel", "/", "a/", "/a", "a//b",
    ".", "..", "a/../b", "%", "%2F", "a%2Fb", "%252F", "?a=b", "#a", ";a", "+", " ", "é", "\ufffd", "😀", "{id}",
    "retry/retry",
)  # fmt: skip


async def test_every_id_can_be_shown_retried_and_discarded(autojump_clock):
    async with asked() as client:
        await client.at.die(*(command(each, message="bad: mailbox full") for each in IDS))
        for each in IDS:
            part = quote(each, safe="").replace(".", "%2E")
            for path in ["notifications", *(["dead-letters"] if each != "groups" else [])]:
                assert (await client.get(f"/api/{path}/{part}"))[1]["id"] == each
            state = await client.get(f"/notifications/{part}")
            assert (state[0], state[1]["notification_id"], state[1]["state"]) == (200, each, "dead letter")
            order = {"edit": {"message": "bad: again"}}
            assert await client.post(f"/api/dead-letters/{part}/retry", order) == (200, {"id": each, "retried": True})
            await client.at.notifier.wait_until_quiet()
            assert await client.post(f"/api/dead-letters/{part}/discard", {"why": "seen"}) == (
                200,
                {"id": each, "discarded": True},
            )
            assert (await client.post(f"/notifications/{part}/cancel"))[0] == 409
        assert client.at.ids() == []


async def test_the_path_of_an_action_is_no_id_and_an_encoded_slash_divides_nothing(autojump_clock):
    async with asked() as client:
        await client.at.die(*LETTERS)
        for path in ("/api/dead-letters/a/retry", "/api/dead-letters/a/discar%64", "/notifications/a/cancel",
                     "/api/bulks/a/cancel", "/api/users/ann/erase"):  # fmt: skip
            assert (await client.get(path))[0] == 405, path
        for path in ("/api/dead-letters/a%2Fretry", "/api/dead-letters/a%2fdiscard", "/notifications/a%2Fcancel"):
            assert (await client.get(path))[0] == 404, path
            assert (await client.post(path, {"why": "a mistake"}))[0] == 405, path
        assert (await client.post("/api/users/ann%2Ferase"))[0] == 404
        assert (await client.get("/api/dead-letters/groups%0A"))[0] == 404
        assert client.at.ids() == ["a", "b/sms", "c"]
        _, trail = await client.get("/api/audit")
        assert trail == {"audit": []}


async def test_a_retry_with_an_edit_is_done_and_in_the_audit_trail_and_a_second_one_is_told_so(autojump_clock):
    async with asked() as client:
        await client.at.die(*LETTERS)
        order = {"why": "typo", "edit": {"message": "Hello", "recipient": "bob@example.org"}}
        assert await client.post("/api/dead-letters/b/sms/retry", order) == (200, {"id": "b/sms", "retried": True})
        await client.at.notifier.wait_until_quiet()
        assert [attempt.command.recipient for attempt in client.at.provider.taken] == ["bob@example.org"]
        status, answered = await client.post("/api/dead-letters/b/sms/retry")
        assert (status, answered) == (409, {"detail": "wanted a dead letter, got a notification that was sent"})
        assert (await client.post("/api/dead-letters/x/retry"))[0] == 404
        assert await client.post("/api/dead-letters/c/discard", {"why": "test data"}) == (
            200,
            {"id": "c", "discarded": True},
        )
        _, trail = await client.get("/api/audit")
        assert [(each["by"], each["action"], each["id"], each["why"]) for each in trail["audit"]] == [
            ("otto", "discard", "c", "test data"),
            ("otto", "retry", "b/sms", "typo"),
        ]
        assert trail["audit"][1]["edit"] == order["edit"]
        assert [each["id"] for each in (await client.get("/api/audit", id="c"))[1]["audit"]] == ["c"]
        assert len((await client.get("/api/audit", limit=1))[1]["audit"]) == 1


@pytest.mark.parametrize(
    ("path", "content", "status", "answer"),
    [
        ("a/retry", {"edit": {"recipient": "", "message": 1}}, 422, {"problems": [
            "edit.recipient: wanted an address, got ''", "edit.message: wanted text, got 1"]}),
        ("a/retry", {"edit": {"id": "b"}}, 422, {"problems": [
            "edit.id: unknown field; it cannot be edited; known are recipient, subject, message, metadata, "
            "expires_after, priority"]}),
        ("a/retry", {"edti": {}}, 422, {"problems": ["edti: unknown key; did you mean edit?"]}),
        ("a/retry", [1], 422, {"problems": [
            'wanted an object such as {"why": "the address is corrected", "edit": {"recipient": …}}, got [1]']}),
        ("a/retry", b"{", 400, {"detail": "wanted JSON: it ends too early"}),
        ("a/retry", b'{"why": "\\ud800"}', 400, {"detail": "wanted JSON: half a surrogate pair is no text"}),
        ("a/discard", None, 422, {"problems": ["why: wanted text that is not empty, got nothing"]}),
        ("a/discard", {"why": " "}, 422, {"problems": ["why: wanted text that is not empty, got ' '"]}),
        ("bulk", {"action": "retry"}, 422, {"problems": [
            "filter: wanted a filter such as {reason: mailbox full, channel: email, since: 2h}, got nothing"]}),
        ("bulk", {"action": "redrive", "filter": {"reson": "x"}, "rate": "0/s"}, 422, {"problems": [
            "action: wanted one of retry, discard, got 'redrive'", "filter.reson: unknown key; did you mean reason?",
            "rate: wanted a rate such as 10/s, of at most 10,000/s, got '0/s'"]}),
        ("bulk", {"action": "discard", "filter": {}}, 422, {"problems": [
            "why: wanted the reason of a discard, got nothing"]}),
    ],
)  # fmt: skip
async def test_an_order_that_cannot_be_read_does_nothing(path, content, status, answer, autojump_clock):
    async with asked() as client:
        await client.at.die(*LETTERS)
        assert await client.post(f"/api/dead-letters/{path}", content) == (status, answer)
        assert client.at.ids() == ["a", "b/sms", "c"]
        assert await client.at.letters.audit() == []


async def test_a_bulk_run_is_tried_dry_started_watched_and_cancelled(autojump_clock):
    async with asked() as client:
        await client.at.die(*(command(f"n{number}", message="bad: full") for number in range(10)), LETTERS[1])
        order = {"action": "retry", "filter": {"reason": "full"}, "rate": "60/min", "why": "emptied"}
        status, dry = await client.post("/api/dead-letters/bulk", order | {"dry_run": True})
        assert (status, dry["count"], [letter["id"] for letter in dry["sample"]]) == (
            200, 10, ["n0", "n1", "n2", "n3", "n4"],
        )  # fmt: skip
        await client.at.die(command("later", message="bad: full"))
        status, bulk = await client.post("/api/dead-letters/bulk", order | {"filter": dry["filter"]})
        assert (status, bulk["total"], bulk["state"], bulk["by"]) == (202, 10, "running", "otto")
        await trio.sleep(3.5)
        _, bulk = await client.get(f"/api/bulks/{bulk['bulk']}")
        assert (bulk["done"], bulk["state"]) == (4, "running")
        assert (await client.get("/api/bulks"))[1] == {"bulks": [bulk]}
        status, bulk = await client.post(f"/api/bulks/{bulk['bulk']}/cancel")
        assert (status, bulk["state"], bulk["cancelled_by"]) == (200, "cancelled", "otto")
        status, answered = await client.post(f"/api/bulks/{bulk['bulk']}/cancel")
        assert (status, answered) == (409, {"detail": "it is cancelled already"})
        assert (await client.get("/api/bulks/x"))[0] == 404


async def test_endpoints_that_are_disabled_are_shown_and_enabled(autojump_clock):
    async with asked(channels={"webhook": {}}, dead_letters={}) as client:
        store = client.at.notifier.pipeline.store
        fail_endpoint(store, "https://example.org/other", "failing")
        fail_endpoint(store)
        status, shown = await client.get("/api/endpoints")
        assert (status, shown["total"]) == (200, 2)
        assert shown["endpoints"][0] == {"channel": "webhook", "address": HOOK, "state": "disabled",
            "since": "2026-03-01T00:00:00Z", "disabled_at": "2026-03-06T00:00:00Z", "reason": "HTTP 503"}  # fmt: skip
        assert (shown["endpoints"][1]["state"], shown["endpoints"][1]["disabled_at"]) == ("failing", None)
        assert (await client.get("/api/endpoints", state="failing"))[1]["total"] == 1
        assert (await client.get("/api/endpoints", channel="sms"))[1] == {"total": 0, "endpoints": []}
        assert len((await client.get("/api/endpoints", limit="1"))[1]["endpoints"]) == 1
        assert (await client.get("/api/endpoints", state="off"))[0] == 422
        order = {"channel": "webhook", "address": HOOK, "why": "it is back"}
        assert (await client.post("/api/endpoints/enable", order, token=ANN))[0] == 403
        assert await client.post("/api/endpoints/enable", order) == (200, {"enabled": True})
        status, answered = await client.post("/api/endpoints/enable", order)
        assert (status, answered) == (404, {"detail": f"no endpoint {HOOK} of channel webhook is disabled"})
        other = {"channel": "webhook", "address": "https://example.org/other"}
        assert (await client.post("/api/endpoints/enable", other))[0] == 404  # it fails, and is not disabled
        assert (await client.post("/api/endpoints/enable", {"channel": "Fax", "address": HOOK}))[0] == 422
        [entry] = (await client.get("/api/audit"))[1]["audit"]
        assert (entry["action"], entry["by"], entry["why"]) == ("enable endpoint", "otto", "it is back")
        assert entry["about"] == f"webhook {HOOK}"


async def test_breakers_are_shown_with_their_history_and_ordered_about(autojump_clock):
    async with asked(channels={"email": {}, "sms": {}}) as client:
        assert await client.post("/api/breakers/email", {"order": "force-open", "why": "asked to"}) == (
            200,
            {"changed": True},
        )
        _, shown = await client.get("/api/breakers")
        assert [(each["name"], each["state"]) for each in shown["breakers"]] == [
            ("email", "forced-open"),
            ("sms", "closed"),
        ]
        assert [(each["breaker"], each["to_state"]) for each in shown["history"]] == [("email", "forced-open")]
        _, of_sms = await client.get("/api/breakers", channel="sms")
        assert ([each["name"] for each in of_sms["breakers"]], of_sms["history"]) == (["sms"], [])
        assert (await client.post("/api/breakers/fax", {"order": "close"}))[0] == 404
        status, answered = await client.post("/api/breakers/email", {"order": "close", "provider": "backup"})
        assert (status, answered) == (422, {"problems": ["provider: wanted one of primary, got 'backup'"]})
        _, trail = await client.get("/api/audit")
        assert [(each["action"], each["about"], each["why"]) for each in trail["audit"]] == [
            ("breaker force-open", "email, until another override or a restart", "asked to")
        ]


async def test_served_letters_say_so_and_are_retried_only_where_that_is_asked_for(autojump_clock):
    channels = {"email": {"fallback": {"channel": "sms"}}, "sms": {}}
    async with asked(channels=channels) as client:
        await client.at.die(command("a", message="bad: x", addresses={SMS: "+4670"}), command("b", message="bad: x"))
        await client.at.letters.retry("a/sms", by="ann", edit={"message": "Hello"})
        await client.at.notifier.wait_until_quiet()
        _, page = await client.get("/api/dead-letters")
        assert {letter["id"]: letter["served"] for letter in page["dead_letters"]} == {"a": True, "b": False}
        assert (await client.get("/api/dead-letters/a"))[1]["dead_letter"]["served"]
        status, answer = await client.post("/api/dead-letters/a/retry", {"edit": {"message": "Hello"}})
        assert (status, "'a' is served" in answer["detail"]) == (409, True)
        assert (await client.post("/api/dead-letters/a/retry", {"served": True}))[0] == 422

        retry_all = {"action": "retry", "filter": {}}
        _, dry = await client.post("/api/dead-letters/bulk", retry_all | {"dry_run": True})
        assert (dry["count"], dry["left_out"], [each["id"] for each in dry["sample"]]) == (1, 1, ["b"])
        _, dry = await client.post("/api/dead-letters/bulk", retry_all | {"dry_run": True, "served": "include"})
        assert (dry["count"], dry["left_out"]) == (2, 0)
        _, run = await client.post("/api/dead-letters/bulk", retry_all)
        assert (run["total"], run["left_out"], run["served"]) == (2, 1, "exclude")
        await client.at.notifier.wait_until_quiet()
        discard = {"action": "discard", "filter": {}, "why": "x", "served": "include"}
        status, answer = await client.post("/api/dead-letters/bulk", discard)
        assert (status, answer["problems"][0][:27]) == (422, "served: wanted it only with")

        edit = {"edit": {"message": "Hello"}, "served": "include"}
        assert (await client.post("/api/dead-letters/a/retry", edit))[0] == 200
        await client.at.notifier.wait_until_quiet()
        assert client.at.provider.ids == ["a/sms", "a"]


async def test_what_a_user_got_is_looked_up_among_what_ended_last(autojump_clock, monkeypatch):
    """Not in all that a store has: how far is said in the answer."""
    async with asked() as client:
        sent = [command(f"sent-{number}", user_id="ann") for number in range(4)]
        await client.at.die(command("dead", user_id="ann", message="bad: x"))
        for each in (*sent, command("other", user_id="bob"), command("old", message="down: 503", user_id="ann")):
            await client.at.notifier.send(each)
            await trio.sleep(1)
        found = (await client.get("/api/users/ann/notifications"))[1]
        known = [(each["id"], each["state"]) for each in found["notifications"]]
        assert known == [("old", "in flight"), *((each.notification_id, "sent") for each in reversed(sent))]
        assert (found["looked_back"], found["nodes"]) == (10_000, 1)
        assert [each["ended_at"] is None for each in found["notifications"]] == [True, *[False] * 4]
        monkeypatch.setattr("actors.service.operations.queries.LOOKED_BACK_MAX", 3)  # the last three: one is of bob
        found = (await client.get("/api/users/ann/notifications", limit=2))[1]
        assert [each["id"] for each in found["notifications"]] == ["old", "sent-3"]
        assert found["count"] == 3
