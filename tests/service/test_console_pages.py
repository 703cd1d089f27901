"""What the pages of the console show and do."""

import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
import trio
from console_kit import ANN, NASTY, SETTINGS, notification, signed_in
from desks import HOOK, fail_endpoint

from actors.domain.suppressions import Suppression, SuppressionSource
from actors.service.console.asked import written
from actors.service.console.breakers import BREAKERS_SHOWN
from actors.service.operations.queries import Filter
from actors.settings.quantities import parse_duration

DEAD = [notification(1, "nobody@example.com"), notification(2, "down@example.com"), notification(3, "down", "sms"),
    notification(4, "ann@example.com")]  # fmt: skip


def ids(page):
    return [row[0] for row in page.rows("Dead letters")]


async def test_the_overview_has_the_figures_of_every_channel(autojump_clock):
    async with signed_in(DEAD) as (service, browser):
        await service.notifier.operate_breaker("sms", "force-open")
        await service.notifier.send(notification(5, "+4930123456", "sms"))
        page = await browser.get("/console")
        figures = dict(zip(page.texts(".figures dt"), page.texts(".figures dd"), strict=True))
        assert figures == {"in flight": "1", "sent": "1", "suppressed": "0", "failed at the provider": "4",
            "refused on our side": "0", "dead letters": "3"}  # fmt: skip
        rows = {row[0]: row[1:] for row in page.rows("Channels")}
        assert rows == {
            "email": ["closed for 1 s", "0", "1", "0", "3", "0", "2"],
            "sms": ["forced-open for 0 s", "1", "0", "0", "1", "0", "1"],
        }
        assert "The circuit breaker of sms is forced-open: what arrives waits." in page.text()
        assert "3 notifications wait in the dead letter queue." in page.text()


async def test_the_overview_loads_itself_again_unless_it_is_held_still(autojump_clock):
    async with signed_in() as (_, browser):
        page = await browser.get("/console")
        assert page.html.css_first("meta[http-equiv=refresh]").attributes["content"] == "5"
        still = await browser.get(page.html.css_first(".title a").attributes["href"])
        assert still.html.css("meta[http-equiv=refresh]") == []
        assert "No circuit breaker is open" in still.text()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["n-2", "n-3", "n-1"]),
        ({"reason": "no such user"}, ["n-1"]),
        ({"channel": "sms"}, ["n-3"]),
        ({"recipient": "down@example.com"}, ["n-2"]),
        ({"id": "n-3"}, ["n-3"]),
        ({"reason": "gateway", "channel": "email"}, ["n-2"]),
    ],
)
async def test_the_list_shows_what_fits_the_filter(autojump_clock, query, found):
    async with signed_in(DEAD) as (_, browser):
        page = await browser.get("/console/dead-letters", **query)
        assert ids(page) == found
        form = page.html.css_first("form[role=search]")
        shown = {node.attributes["name"]: node.attributes.get("value") for node in form.css("input")}
        shown["channel"] = getattr(form.css_first("option[selected]"), "text", str)()
        assert {name: text for name, text in shown.items() if text} == query


async def test_the_list_can_be_narrowed_to_a_window_of_time(autojump_clock):
    async with signed_in(DEAD[:1]) as (service, browser):
        noon = service.notifier.system.present
        await trio.sleep(4000)
        await service.notifier.send(DEAD[2])
        await service.notifier.wait_until_quiet()
        later = noon + timedelta(minutes=30)
        assert ids(await browser.get("/console/dead-letters", since=written(later))) == ["n-3"]
        assert ids(await browser.get("/console/dead-letters", until=written(later))) == ["n-1"]
        page = await browser.get("/console/dead-letters")
        hour = await browser.choose(page, "Last hour")
        assert ids(hour) == ["n-3"]
        assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}", hour.html.css_first("#since").attributes["value"])
        day = await browser.choose(hour, "Last 24 hours")
        assert ids(day) == ["n-3", "n-1"]
        assert day.texts(".chips button[aria-current]") == ["Last 24 hours"]


async def test_a_window_of_time_keeps_what_is_chosen_and_not_sent_yet(autojump_clock):
    async with signed_in(DEAD) as (_, browser):
        page = await browser.get("/console/dead-letters", by="reason", order="oldest")
        page = await browser.choose(page, "Last 24 hours", channel="email", recipient="example")
        assert {row[0] for row in page.rows("By reason")} == {"503 gateway down", "550 no such user"}
        assert "2 dead letters fit" in page.text(".title")
        assert page.html.css_first("#channel option[selected]").text() == "email"
        assert page.html.css_first("#recipient").attributes["value"] == "example"
        assert page.html.css_first("input[name=order]").attributes["value"] == "oldest"


async def test_a_time_that_is_none_is_told_at_its_field(autojump_clock):
    async with signed_in(DEAD) as (_, browser):
        page = await browser.get("/console/dead-letters", since="yesterday")
        field = page.html.css_first("#since")
        assert field.attributes["aria-invalid"] == "true"
        assert "wanted a time" in page.text(f"#{field.attributes['aria-describedby']}").lower()
        refused = await browser.get("/console/bulks/new", action="discard", since="yesterday")
        assert refused.status == 400


@pytest.mark.parametrize(("since", "found"), [("30m", ["n-3"]), ("2h", ["n-3", "n-1"])])
async def test_a_time_may_be_how_long_ago_and_stays_the_same_instant_on_the_page_that_follows(
    autojump_clock, monkeypatch, since, found
):
    async with signed_in(DEAD[:1]) as (service, browser):
        await trio.sleep(4000)
        await service.notifier.send(DEAD[2])
        await service.notifier.wait_until_quiet()
        now = service.notifier.system.present
        monkeypatch.setattr("actors.service.operations.queries.datetime", SimpleNamespace(now=lambda _: now))
        page = await browser.get("/console/dead-letters", since=since)
        assert ids(page) == found
        instant = page.html.css_first("#since").attributes["value"]
        assert instant == written(now - timedelta(seconds=parse_duration(since)))
        assert all(
            instant.replace(":", "%3A") in node.attributes["href"] for node in page.html.css("main > .buttons a")
        )


async def test_groups_lead_to_what_is_in_them(autojump_clock):
    async with signed_in(DEAD) as (_, browser):
        page = await browser.get("/console/dead-letters", by="reason")
        assert [row[:3] for row in page.rows("By reason")] == [
            ["503 gateway down", "2", "67%"],
            ["550 no such user", "1", "33%"],
        ]
        assert ids(await browser.get(page.html.css_first("tbody th a").attributes["href"])) == ["n-2", "n-3"]
        for by, largest in (("channel", "email"), ("recipient", "nobody@example.com")):
            page = await browser.get("/console/dead-letters", by=by)
            assert page.rows(f"By {by}")[0][0] == largest


async def test_the_list_can_be_had_the_oldest_first(autojump_clock):
    async with signed_in(DEAD) as (_, browser):
        page = await browser.get("/console/dead-letters", reason="gateway")
        [turn] = [node for node in page.html.css("caption a") if node.text() == "oldest first"]
        page = await browser.get(turn.attributes["href"])
        assert ids(page) == ["n-3", "n-2"]
        assert [node.text() for node in page.html.css("caption a")] == ["newest first"]


async def test_long_lists_come_in_pages(autojump_clock):
    async with signed_in([notification(number, "nobody@example.com") for number in range(120)]) as (_, browser):
        page = await browser.get("/console/dead-letters", reason="no such user")
        seen, pages = ids(page), 1
        while (further := page.html.css_first(".pager a.button")) is not None:
            page = await browser.get(further.attributes["href"])
            seen += ids(page)
            pages += 1
        assert (pages, len(seen), len(set(seen))) == (3, 120, 120)
        assert "120 dead letters fit" in page.text(".title")


async def test_a_timeline_has_every_attempt_and_the_answer_as_it_came(autojump_clock):
    async with signed_in(DEAD) as (_, browser):
        page = await browser.get("/console/dead-letters/notification", id="n-2")
        assert page.texts(".timeline .what") == ["Accepted", "Attempt 1 failed: 503 gateway down",
            "Attempt 2 failed: 503 gateway down", "Dead-lettered: 503 gateway down"]  # fmt: skip
        assert page.texts(".timeline .when")[2].endswith("+1 s")
        assert page.texts(".timeline pre") == ["HTTP/1.1 503 Service Unavailable"] * 2
        assert "Next attempt due 1 s later" in page.text(".timeline")


async def test_who_waits_behind_a_breaker_is_said_to(autojump_clock):
    async with signed_in() as (service, browser):
        await service.notifier.operate_breaker("email", "force-open")
        await service.notifier.send(notification(1, "ann@example.com"))
        page = await browser.get("/console/dead-letters/notification", id="n-1")
        assert "until the circuit breaker of email, which is forced-open, lets it go" in page.text()
        await service.notifier.operate_breaker("email", "close")
        await service.notifier.wait_until_quiet()
        page = await browser.get("/console/dead-letters/notification", id="n-1")
        assert "circuit breaker" not in page.text()


async def test_what_comes_from_outside_is_text_and_no_markup(autojump_clock):
    commands = [
        notification(NASTY, "nobody@example.com", subject=NASTY, metadata={"note": NASTY}),
        notification(1, f"nobody{NASTY}"),
    ]
    async with signed_in(commands) as (_, browser):
        pages = [await browser.get("/console/dead-letters", reason=NASTY, recipient=NASTY, id=NASTY, since=NASTY),
            await browser.get("/console/dead-letters"), await browser.get("/console/dead-letters", by="recipient"),
            await browser.get("/console/dead-letters/notification", id=f"n-{NASTY}"),
            await browser.get("/console/dead-letters/edit", id=f"n-{NASTY}"),
            await browser.get("/console/dead-letters/notification", id=NASTY, done=NASTY),
            await browser.get("/console/bulks/new", action="retry"),
            await browser.get("/console/bulks/new", action=NASTY),
            await browser.get(f"/console/bulks/{NASTY.replace('/', '')}"),
            await browser.get("/console/audit", limit=NASTY)]  # fmt: skip
        for page in pages:
            assert page.html.css("script") == []
        assert NASTY in pages[3].text()
        assert pages[3].texts(".timeline pre") == [f"550 5.1.1 {NASTY}"]
        assert pages[4].form("/console/dead-letters/edit")["subject"] == NASTY


async def test_an_address_that_was_tampered_with_is_no_error(autojump_clock):
    async with signed_in(DEAD) as (_, browser):
        for path in (
            "/console/dead-letters?after=x",
            "/console/dead-letters?after=99999999999999999999999-n&order=oldest",
            "/console/dead-letters?since=0001-01-01T00:00&until=9999-12-31T23:59:59%2B00:00",
            "/console/dead-letters?since=0001-01-01T00:00%2B14:00",
            "/console/dead-letters?channel=pigeon&by=pigeon&done=pigeon",
            "/console/dead-letters?id=%ff%00",
            "/console/audit?limit=-1",
            "/console/bulks/new?action=retry&until=9999-12-31T23:59:59",
        ):
            assert (await browser.get(path)).status in (200, 400), path
        assert (await browser.get("/console/dead-letters/notification?id=%ff%00")).status == 404


async def test_of_a_notification_that_no_one_knows_there_is_no_page(autojump_clock):
    async with signed_in(DEAD) as (_, browser):
        page = await browser.get("/console/dead-letters/notification", id="n-99")
        assert page.status == 404
        assert "'n-99'" in page.text()


async def test_one_is_tried_again_and_who_did_it_is_kept(autojump_clock):
    async with signed_in(DEAD) as (service, browser):
        page = await browser.get("/console/dead-letters/notification", id="n-1")
        page = await browser.send(page, "/console/dead-letters/retry", why="the mailbox is there now")
        assert "It is being tried again" in page.text("[role=status]")
        await service.notifier.wait_until_quiet()
        page = await browser.get("/console/dead-letters/notification", id="n-1")
        assert "Retried by otto" in page.texts(".timeline .what")
        assert [what for what in page.texts(".timeline .what") if what.startswith("Attempt 1")] == [
            "Attempt 1 failed: 550 no such user"
        ] * 2
        [entry] = (await browser.get("/console/audit")).rows("What was done")
        assert entry[0] == "otto"
        assert entry[2:] == ["retry", "n-1", "the mailbox is there now"]


async def test_one_is_discarded_only_with_a_reason(autojump_clock):
    async with signed_in(DEAD) as (service, browser):
        page = await browser.get("/console/dead-letters/notification", id="n-1")
        page = await browser.send(page, "/console/dead-letters/discard", why="  ")
        assert page.status == 422
        field = page.html.css_first("#discard-why")
        assert field.attributes["aria-invalid"] == "true"
        assert "discard-why-problem" in field.attributes["aria-describedby"]
        assert len(service.notifier.dead_letter_queue) == 3
        page = await browser.send(page, "/console/dead-letters/discard", why="he left")
        assert "It is discarded" in page.text("[role=status]")
        assert [letter.notification_id for letter in service.notifier.dead_letter_queue] == ["n-3", "n-2"]
        [entry] = (await browser.get("/console/audit")).rows("What was done")
        assert entry[2:] == ["discard", "n-1", "he left"]


async def test_of_two_who_act_at_once_one_is_told_that_they_were_late(autojump_clock):
    async with signed_in(DEAD) as (service, browser):
        page = await browser.get("/console/dead-letters/notification", id="n-2")
        await browser.send(page, "/console/dead-letters/retry")
        late = await browser.send(page, "/console/dead-letters/discard", why="of no use")
        assert "no dead letter any more" in late.text("[role=status]")
        await service.notifier.wait_until_quiet()
        assert "n-2" in [letter.notification_id for letter in service.notifier.dead_letter_queue]


EDIT = "/console/dead-letters/edit"


async def test_an_edited_one_goes_out_as_edited_and_what_was_left_alone_stays(autojump_clock):
    command = notification(
        1,
        "nobody@example.com",
        subject="Two\nlines",
        metadata={"lang": "de", "n": [1, 2.5]},
        expires_after=7200.0,
        zone="Asia/Tokyo",
    )
    async with signed_in([command]) as (service, browser):
        page = await browser.get(EDIT, id="n-1")
        assert page.form(EDIT)["expires_after"] == "2h"
        shown = (await browser.get("/console/dead-letters/notification", id="n-1")).text()
        assert "Time zone Asia/Tokyo" in " ".join(shown.split())
        page = await browser.send(page, EDIT, recipient="ann@example.com", message="Dear Ann\r\n…", why="a typo")
        assert "Your changes are recorded" in page.text("[role=status]")
        await service.notifier.wait_until_quiet()
        [sent] = service.gateway.sent
        assert (sent.notification_id, sent.recipient, sent.message) == ("n-1", "ann@example.com", "Dear Ann\n…")
        assert (sent.subject, sent.metadata, sent.expires_after) == (command.subject, command.metadata, 7200)
        [entry] = (await browser.get("/console/audit")).rows("What was done")
        assert entry[2:] == ["retry edited: recipient, message", "n-1", "a typo"]


async def test_each_field_can_be_edited(autojump_clock):
    async with signed_in([notification(1, "nobody@example.com", subject="Old", expires_after=60.0)]) as (
        service,
        browser,
    ):
        page = await browser.get(EDIT, id="n-1")
        edited = {"recipient": "ann@example.com", "subject": "", "metadata": '{"a": {"b": null}}', "expires_after": ""}
        await browser.send(page, EDIT, **edited)
        await service.notifier.wait_until_quiet()
        [sent] = service.gateway.sent
        assert (sent.subject, sent.metadata, sent.expires_after) == (None, {"a": {"b": None}}, None)


@pytest.mark.parametrize(
    ("field", "text", "problem"),
    [
        ("recipient", "   ", "Wanted an address"),
        ("metadata", '{"a": 1', "Wanted a JSON object: "),
        ("metadata", "[1]", "Wanted a JSON object: got '[1]'"),
        ("metadata", '{"a": NaN}', "Wanted a JSON object: JSON has no NaN"),
        ("metadata", "[" * 20_000, "Wanted a JSON object: it is nested too deeply"),
        ("expires_after", "soon", "Wanted a duration such as 90s"),
        ("expires_after", "-5", "Wanted seconds of at least 0"),
        ("expires_after", "nan", "Wanted seconds of at least 0"),
    ],
)
async def test_what_cannot_be_is_told_at_its_field_and_nothing_is_lost(autojump_clock, field, text, problem):
    async with signed_in(DEAD[:1]) as (service, browser):
        page = await browser.get(EDIT, id="n-1")
        page = await browser.send(page, EDIT, **{"message": "A new text", "why": "a typo", field: text})
        assert page.status == 422
        node = page.html.css_first(f"#{field}")
        assert node.attributes["aria-invalid"] == "true"
        assert f"{field}-problem" in node.attributes["aria-describedby"].split()
        assert problem in page.text(f"#{field}-problem")
        assert page.html.css_first(f"[role=alert] a[href='#{field}']") is not None
        assert len(page.html.css("[aria-invalid]")) == 1
        kept = page.form(EDIT)
        assert (kept["message"], kept["why"], kept[field]) == ("A new text", "a typo", text)
        assert len(service.notifier.dead_letter_queue) == 1
        page = await browser.send(page, EDIT, **{field: "ann@example.com" if field == "recipient" else ""})
        assert "Your changes are recorded" in page.text("[role=status]")


async def test_a_form_that_another_has_overtaken_changes_nothing(autojump_clock):
    async with signed_in(DEAD[:1]) as (service, browser):
        first = await browser.get(EDIT, id="n-1")
        await browser.send(await browser.get(EDIT, id="n-1"), EDIT, message="Of another operator")
        await service.notifier.wait_until_quiet()
        late = await browser.send(first, EDIT, message="Late")
        assert late.status == 422
        assert "It has been tried since you opened this form" in late.text("[role=alert]")
        assert late.text("#message-problem") == "Now it is 'Of another operator'"
        assert len(late.html.css("[aria-invalid]")) == 1
        assert late.form(EDIT)["message"] == "Late"
        [letter] = service.notifier.dead_letter_queue
        assert letter.command.message == "Of another operator"


NEW, BULKS = "/console/bulks/new", "/console/bulks"


async def test_a_dry_run_shows_what_it_is_about_and_does_nothing(autojump_clock):
    async with signed_in(DEAD) as (service, browser):
        page = await browser.get("/console/dead-letters", reason="gateway")
        [retry, _] = [node.attributes["href"] for node in page.html.css("main > .buttons a")]
        page = await browser.get(retry)
        assert page.text("h1") == "Retry 2 dead letters?"
        assert page.text(".facts dd") == "reason contains gateway"
        assert page.rows("Reasons") == [["503 gateway down", "2", "100%"]]
        assert [row[0] for row in page.rows("Some of them")] == ["n-3", "n-2"]
        assert service.dead_letters.bulks() == []
        assert len(service.notifier.dead_letter_queue) == 3


async def test_a_bulk_run_does_what_its_dry_run_said_at_the_pace_that_was_set(autojump_clock):
    async with signed_in([notification(number, "nobody@example.com") for number in range(10)]) as (service, browser):
        page = await browser.get(NEW, action="discard", reason="no such user")
        await trio.sleep(1)
        await service.notifier.send(notification(99, "nobody@example.com"))
        await service.notifier.wait_until_quiet()
        page = await browser.send(page, BULKS, rate="2", why="closed")
        assert page.text("h1") == "Bulk discard of 10 dead letters"
        assert page.html.css_first("meta[http-equiv=refresh]") is not None
        assert (await browser.get(BULKS)).html.css_first("meta[http-equiv=refresh]") is not None
        await trio.sleep(2.6)
        page = await browser.get(page.path)
        done = int(page.html.css_first("progress").attributes["value"])
        assert 4 <= done <= 7
        await trio.sleep(10)
        page = await browser.get(page.path)
        assert page.text(".state") == "finished"
        assert page.html.css("meta[http-equiv=refresh]") == []
        assert page.actions == set()
        assert [letter.notification_id for letter in service.notifier.dead_letter_queue] == ["n-99"]
        assert "reason contains no such user , dead-lettered until" in page.text(".facts")
        [row] = (await browser.get(BULKS)).rows("Bulk runs")
        assert row == ["Discard 10", "finished", "10", "", "", "", "", "0", "0", "10", "otto"]


async def test_a_bulk_run_that_is_cancelled_leaves_the_rest(autojump_clock):
    async with signed_in([notification(number, "nobody@example.com") for number in range(10)]) as (service, browser):
        page = await browser.send(await browser.get(NEW, action="discard"), BULKS, rate="1", why="closed")
        await trio.sleep(3.5)
        page = await browser.get(page.path)
        page = await browser.send(page, "/console/bulks/cancel")
        assert "what was left stays in the queue" in page.text("[role=status]")
        assert page.text(".state") == "cancelled"
        left = len(service.notifier.dead_letter_queue)
        assert 0 < left < 10
        await trio.sleep(20)
        assert len(service.notifier.dead_letter_queue) == left


@pytest.mark.parametrize(
    ("action", "fields", "wrong"),
    [
        ("retry", {"rate": "0"}, "rate"),
        ("retry", {"rate": "many"}, "rate"),
        ("retry", {"rate": "nan"}, "rate"),
        ("retry", {"rate": "1e9"}, "rate"),
        ("discard", {"rate": "5", "why": " "}, "why"),
    ],
)
async def test_a_bulk_run_that_cannot_be_does_not_begin(autojump_clock, action, fields, wrong):
    async with signed_in(DEAD) as (service, browser):
        page = await browser.send(await browser.get(NEW, action=action), BULKS, **fields)
        assert page.status == 422
        assert page.html.css_first(f"#{wrong}").attributes["aria-invalid"] == "true"
        assert page.form(BULKS)["rate"] == fields["rate"]
        assert service.dead_letters.bulks() == []


async def test_a_reader_sees_progress_and_cannot_cancel(autojump_clock):
    async with signed_in(DEAD, token=ANN) as (service, browser):
        bulk = service.dead_letters.start_bulk("retry", Filter(), by="otto", why=None, rate_per_s=0.1)
        page = await browser.get(f"/console/bulks/{bulk.id}")
        assert page.text(".state") == "running"
        assert page.actions == set()
        assert (await browser.get("/console/bulks/none")).status == 404


BREAKERS = "/console/breakers"


async def test_an_operator_orders_a_breaker_about(autojump_clock):
    async with signed_in() as (_, browser):
        page = await browser.get(BREAKERS)
        page = await browser.send(page, BREAKERS, breaker="sms", order="force-open", why="the gateway asked us to")
        assert page.text("[role=status]") == "sms is forced-open: what arrives waits."
        assert {row[0]: row[1] for row in page.rows("Now")} == {"email": "closed", "sms": "forced-open"}
        [transition] = page.rows("What the breakers did")
        assert transition[:1] + transition[2:] == ["sms", "closed", "forced-open", "an operator's override"]
        again = await browser.send(page, BREAKERS, breaker="sms", order="force-open", why="once more")
        assert "changed nothing" in again.text("[role=status]")
        audit = (await browser.get("/console/audit")).rows("What was done")
        assert any("sms" in row[3] and row[4] == "the gateway asked us to" for row in audit)


async def test_a_breaker_that_is_off_in_the_file_is_told_from_one_that_was_overridden(autojump_clock):
    off = {"channels": {"email": {"circuit_breaker": {"enabled": False}}, "sms": {}}, "drain": 0}
    async with signed_in(settings=off) as (_, browser):

        def nexts(page):
            return {row[0]: row[-1] for row in page.rows("Now")}

        page = await browser.get(BREAKERS)
        assert nexts(page) == {"email": "so in the settings; an operator may override it", "sms": ""}
        assert "So in the settings: email (disabled)." in (await browser.get("/console")).text()
        page = await browser.send(page, BREAKERS, breaker="sms", order="disable", why="x")
        page = await browser.send(page, BREAKERS, breaker="email", order="close", why="x")
        assert nexts(page) == {
            "email": "by an operator's override; the settings say otherwise",
            "sms": "by an operator's override, until the next one or a restart",
        }
        overview = (await browser.get("/console")).text()
        assert "Overridden, until an operator changes it or the service restarts: sms (disabled)." in overview
        assert "So in the settings" not in overview


async def test_of_several_providers_each_can_be_ordered_about(autojump_clock):
    settings = {"channels": {"email": {"failover": {"backup": {}}}}, "drain": 0}
    async with signed_in(settings=settings) as (_, browser):
        page = await browser.get(BREAKERS)
        page = await browser.send(page, BREAKERS, breaker="email/backup", order="disable", why="under repair")
        assert {row[0]: row[1] for row in page.rows("Now")} == {"email": "closed", "email/backup": "disabled"}
        page = await browser.send(page, BREAKERS, breaker="email", order="force-open", why="all of it")
        assert {row[1] for row in page.rows("Now")} == {"forced-open"}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"breaker": "sms", "order": "close", "why": ""}, "why"),
        ({"breaker": "pigeon", "order": "close", "why": "x"}, "breaker"),
        ({"breaker": "sms", "order": "explode", "why": "x"}, "order"),
    ],
)
async def test_an_order_that_cannot_be_is_not_given(autojump_clock, fields, wrong):
    async with signed_in() as (service, browser):
        page = await browser.send(await browser.get(BREAKERS), BREAKERS, **fields)
        assert page.status == 422
        assert page.html.css_first(f"[role=alert] a[href='#{wrong}']") is not None
        assert page.html.css_first(f"#{wrong}") is not None
        assert service.breakers.history() == []


async def test_where_each_host_has_a_breaker_those_that_are_open_are_shown_first(autojump_clock):
    settings = {
        "channels": {
            "email": {"retry": {"max_attempts": 1}, "circuit_breaker": {"per": "host", "failure_threshold": 1}}
        },
        "drain": 0,
    }
    hosts = [f"h{number:03}.example" for number in range(BREAKERS_SHOWN + 10)]
    commands = [notification(host, f"{'down' if host == hosts[-1] else 'ann'}@{host}") for host in hosts]
    async with signed_in(commands, settings=settings) as (_, browser):
        page = await browser.get(BREAKERS)
        rows = page.rows("Now")
        assert len(rows) == BREAKERS_SHOWN
        assert rows[0][:2] == [f"email {hosts[-1]}", "open"]
        assert {row[1] for row in rows[1:]} == {"closed"}
        assert "and 10 further hosts" in page.text()
        [worst] = (await browser.get("/console")).rows("Channels")
        assert worst[1] == f"open (1 of {len(hosts)}) for 0 s"


async def test_the_audit_trail_has_in_one_what_was_done_on_end(autojump_clock):
    async with signed_in([notification(number, "nobody@example.com") for number in range(8)]) as (service, browser):
        letters = service.dead_letters
        await letters.discard("n-0", by="ann", why="old")
        for number in (1, 2, 3):
            await letters.discard(f"n-{number}", by="otto", why="old")
        await letters.retry("n-4", by="otto", edit={"message": "new"}, why="old")
        await letters.retry("n-5", by="otto", why="old")
        await letters.retry("n-6", by="otto", why="new")
        await letters.retry("n-7", by="otto", why="new")
        rows = (await browser.get("/console/audit")).rows("What was done")
        assert [(row[0], row[2].partition(" since")[0], row[3].split()[-1], row[4]) for row in rows] == [
            ("otto", "retry ×2", "n-7", "new"),
            ("otto", "retry", "n-5", "old"),
            ("otto", "retry edited: message", "n-4", "old"),
            ("otto", "discard ×3", "n-3", "old"),
            ("ann", "discard", "n-0", "old"),
        ]
        page = await browser.get("/console/audit", limit="2")
        assert [row[2].partition(" since")[0] for row in page.rows("What was done")] == ["retry ×2"]
        page = await browser.get(page.html.css_first("main a.button").attributes["href"])
        assert len(page.rows("What was done")) == 5


async def test_a_retry_by_hand_is_not_merged_with_those_of_a_bulk_run(autojump_clock):
    async with signed_in(DEAD) as (service, browser):
        await browser.send(await browser.get(NEW, action="retry", channel="email"), BULKS)
        await trio.sleep(5)
        await service.dead_letters.retry("n-3", by="otto")
        [bulk] = service.dead_letters.bulks()
        rows = (await browser.get("/console/audit")).rows("What was done")
        assert [(row[2].partition(" since")[0], row[3].split()[-1], row[4]) for row in rows[:2]] == [
            ("retry", "n-3", ""),
            ("retry ×2", "n-2", f"bulk retry (run {bulk.id})"),
        ]


async def test_who_is_suppressed_is_told_since_when_and_by_whom(autojump_clock):
    async with signed_in(DEAD[:1]) as (service, browser):
        store, address = service.store, "nobody@example.com"
        for source, said in (
            ("provider", "by the provider's word: 550 gone. A retry lifts this."),
            ("operator", "by an operator's word: 550 gone. A retry is suppressed too."),
        ):
            fields = {"channel": "email", "address": address, "reason": "550 gone", "since_ns": 0}
            store.suppressions.add(Suppression(**fields, source=SuppressionSource(source)))
            page = await browser.get("/console/dead-letters/notification", id="n-1")
            assert page.text(".note.care") == f"Nothing is sent to this address since 1970-01-01 00:00:00, {said}"
        await service.notifier.send(notification(2, address))
        await service.notifier.wait_until_quiet()
        page = await browser.get("/console/dead-letters/notification", id="n-2")
        assert "It is suppressed: nothing is sent to this address since 1970" in page.text()
        ended = f"It ended {service.notifier.system.present:%Y-%m-%d %H:%M:%S}; its history is not kept."
        await trio.sleep(90)
        page = await browser.get("/console/dead-letters/notification", id="n-2")
        assert ended in page.text()
        assert (await browser.get("/console")).rows("Channels")[0][4] == "1"


async def test_every_page_can_be_read_by_who_does_not_see_it(autojump_clock):
    async with signed_in(DEAD) as (service, browser):
        await browser.send(await browser.get(NEW, action="retry"), BULKS)
        await service.notifier.operate_breaker("email", "disable")
        await trio.sleep(30)
        for path in [
            "/console/sign-in",
            "/console",
            "/console/dead-letters?since=never",
            "/console/dead-letters?by=reason",
            "/console/dead-letters/notification?id=n-1",
            f"{EDIT}?id=n-1",
            f"{NEW}?action=discard",
            BULKS,
            f"/console/bulks/{service.dead_letters.bulks()[0].id}",
            BREAKERS,
            "/console/audit",
        ]:
            html = (await browser.get(path)).html
            assert html.css_first("html").attributes["lang"]
            assert html.css_first("title").text().strip(" ·")
            assert len(html.css("h1")) == 1
            for table in html.css("table"):
                assert table.css_first("caption").text().strip()
                assert all(cell.attributes.get("scope") for cell in table.css("th"))
            named = {label.attributes["for"] for label in html.css("label")}
            known = [node.attributes["id"] for node in html.css("[id]")]
            assert len(known) == len(set(known))
            for field in html.css("input:not([type=hidden]):not([hidden]), select, textarea, progress"):
                assert field.attributes["id"] in named
            for node in html.css("[aria-describedby], [aria-labelledby]"):
                page_text = (
                    node.attributes.get("aria-describedby", "") + " " + node.attributes.get("aria-labelledby", "")
                )
                assert set(page_text.split()) <= set(known)
            assert all(button.text().strip() for button in html.css("button, a"))


FALLS_BACK = {**SETTINGS, "channels": {**SETTINGS["channels"], "email": {"fallback": {"channel": "sms"}}}}
SERVED = [
    notification(1, "nobody@example.com", addresses={"sms": "+4930123456"}),
    notification(2, "nobody@example.net"),
]


async def test_a_served_letter_says_so_wherever_it_is_and_is_retried_only_on_purpose(autojump_clock):
    async with signed_in(SERVED, settings=FALLS_BACK) as (service, browser):
        reasons = {row[0]: row[3] for row in (await browser.get("/console/dead-letters")).rows("Dead letters")}
        assert reasons == {"n-1": "550 no such user served", "n-2": "550 no such user"}
        page = await browser.get("/console/dead-letters/notification", id="n-1")
        assert "Served: its fallback was delivered or is under way" in page.text()
        assert page.texts("summary") == ["Retry though it is served…", "Discard…"]
        retry = "/console/dead-letters/retry"
        refused = await browser.post(retry, {**page.form(retry), "served": ""})
        assert "Nothing was done: its recipient has been reached otherwise" in refused.text()
        edit = await browser.get("/console/dead-letters/edit", id="n-1")
        assert "Served:" in edit.text()
        await browser.send(edit, "/console/dead-letters/edit", recipient="ann@example.com")
        await service.notifier.wait_until_quiet()
        assert [command.notification_id for command in service.gateway.sent] == ["n-1/sms", "n-1"]
        page = await browser.get("/console/dead-letters/notification", id="n-1")
        assert "Retried by otto Also if it was served." in page.text()


async def test_a_bulk_retry_says_how_many_it_leaves_out_and_offers_to_take_them(autojump_clock):
    async with signed_in(SERVED, settings=FALLS_BACK) as (service, browser):
        page = await browser.get("/console/bulks/new", action="retry")
        assert "Retry 1 dead letter?" in page.text()
        assert "1 dead letter more fits and is left out: served" in page.text()
        (link,) = [node for node in page.html.css("main a") if node.text() == "Take them too"]
        more = await browser.get(link.attributes["href"])
        assert "Retry 2 dead letters?" in more.text()
        assert "Those that are served are among them" in more.text()
        run = await browser.send(page, "/console/bulks")
        await trio.sleep(1)
        run = await browser.get(run.path)
        assert "Left out: 1, which is served" in run.text()
        await browser.send(more, "/console/bulks")
        await trio.sleep(1)
        assert [(bulk.total, bulk.done, bulk.left_out) for bulk in service.dead_letters.bulks()] == [
            (2, 1, 1),
            (2, 2, 0),
        ]
        assert "left out" not in (await browser.get("/console/bulks/new", action="discard")).text()


async def test_a_disabled_endpoint_is_among_the_troubles_and_an_operator_enables_it(autojump_clock):
    enable = "/console/breakers/enable"
    async with signed_in() as (service, browser):
        assert "endpoints" not in (await browser.get(BREAKERS)).text()
        fail_endpoint(service.store)
        fail_endpoint(service.store, "https://example.org/other", "failing")
        assert "1 endpoint is disabled" in (await browser.get("/console")).text()
        page = await browser.get(BREAKERS)
        [row] = page.rows("Disabled endpoints")
        assert row[0] == f"{HOOK} webhook"
        assert row[3] == "HTTP 503"
        done = await browser.send(page, enable)
        assert "The endpoint is enabled" in done.text("[role=status]")
        assert not service.store.endpoints.disabled
        again = await browser.send(page, enable)
        assert "is not disabled" in again.text("[role=status]")
        wrong = await browser.send(page, enable, channel="fax")
        assert "is not disabled" in wrong.text("[role=status]")
        [entry, *_] = (await browser.get("/console/audit")).rows("What was done")
        assert entry[2:4] == ["enable endpoint", f"webhook {HOOK}"]


async def test_a_reader_sees_disabled_endpoints_and_cannot_enable_any(autojump_clock):
    async with signed_in(token=ANN) as (service, browser):
        fail_endpoint(service.store)
        page = await browser.get(BREAKERS)
        assert len(page.rows("Disabled endpoints")) == 1
        assert page.actions == set()
