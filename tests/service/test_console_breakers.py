"""What the console says of circuit breakers, beside what then happens."""

import re
from itertools import product

import pytest
import trio
from console_kit import notification, signed_in
from effort import sliced

from actors import Provider
from actors.outcomes import Sent, Transient

BREAKERS, BULK, LETTERS = "/console/breakers", "/console/bulks/new", "/console/dead-letters"
CHANNELS = ("email", "sms", "push")
"""At an open breaker attempts of the first wait, of the second fail, and of the third go to another provider."""


class Gateway(Provider):
    """Fails at once while it is down; else it takes so long to send."""

    def __init__(self, takes_s=5.0):
        self.is_down = False
        self.takes_s = takes_s
        self.asked = []

    def attempt(self, attempt, now_ns):
        async def deliver():
            self.asked.append(attempt.command.notification_id)
            if self.is_down:
                return Transient(reason="503 outage")
            await trio.sleep(self.takes_s)
            return Sent()

        return deliver


def settings(*, permits=1, attempts=1, **more):
    breaker = {"failure_threshold": 2, "timeout": 60, "half_open_permits": permits, **more}
    retry = {"max_attempts": attempts, "jitter": "none", "initial_delay": 1}
    return {
        "channels": {
            "email": {"retry": retry, "circuit_breaker": breaker},
            "sms": {"retry": retry, "circuit_breaker": breaker | {"when_open": "fail"}},
            "push": {"retry": retry, "circuit_breaker": breaker, "failover": {"backup": {}}},
        },
        "drain": 0,
    }


async def bring(notifier, gateway, backup, state):
    """Bring the first breaker of each channel into a state: open, due for a probe, half-open with a probe out, closed
    with a ramp by the probe's answer, or closed with fifty that have come while it was open."""
    if state == "closed":
        return
    gateway.is_down = backup.is_down = True
    for number, channel in product(range(2), CHANNELS):
        await notifier.send(notification(f"{channel}-{number}", "ann", channel))
    await notifier.wait_until_quiet()
    gateway.is_down = backup.is_down = False
    if state == "resuming":
        for number, channel in product(range(50), CHANNELS):
            await notifier.send(notification(f"{channel}-before-{number}", "ann", channel))
        for channel in CHANNELS:
            await notifier.operate_breaker(channel, "close", "primary")
    if state in ("open", "resuming"):
        return
    await trio.sleep(60)
    if state != "due":
        for channel in CHANNELS:
            await notifier.send(notification(f"{channel}-probe", "ann", channel))
        await trio.sleep(0.1 if state == "half-open" else 10)


def check_foretold(sentence, fared):
    """Check that of ten that arrive as many go to the provider, to the backup, wait and fail as a sentence has said."""
    goes, _, rest = re.sub(r"until \S+ \S+ answered, ", "", sentence).partition("; the rest ")
    kinds = {
        "goes to backup, where that takes it": "backup",
        "waits": "wait",
        "fails at once, and uses up an attempt": "fail",
    }
    through = {"is let through": 10, "is let through at a limited rate, behind what has waited": 0}.get(goes, 0)
    if times := re.fullmatch(r"is let through (?:once|(\d+) times), as (?:a probe|probes)", goes):
        through = int(times[1] or 1)
    elif goes == "is let through in a growing share":
        through = fared["first"]
        assert through < 10
    other = kinds.get(rest or goes, "wait")
    assert fared == {"first": 0, "backup": 0, "wait": 0, "fail": 0} | {other: 10 - through} | {"first": through}, (
        sentence
    )


ORDERS = (None, "force-open", "close", "disable", "metrics-only")
BEGINS = ({"enabled": False}, *({"initial_state": state} for state in ("forced-open", "disabled", "metrics-only")))
CASES = [({}, *case) for case in product(("closed", "open", "due", "half-open", "resuming"), ORDERS)]
CASES += [(begins, "closed", order) for begins, order in product(BEGINS, ORDERS)]
CASES += [({"ramp": {"over": 600, "start": 0.1}}, "ramping", None)]


@pytest.mark.parametrize(("begins", "state", "order"), sliced(CASES, 3))
async def test_ten_that_arrive_fare_as_the_console_has_said(autojump_clock, begins, state, order):
    gateway, backup = Gateway(), Gateway()
    given = {
        "settings": settings(permits=3 if order is None and state != "ramping" else 1, **begins),
        "takes": (gateway, backup),
    }
    async with signed_in(**given) as (service, browser):
        notifier = service.notifier
        await bring(notifier, gateway, backup, state)
        if order is not None:
            for channel in CHANNELS:
                await notifier.operate_breaker(channel, order, "primary")
        page = await browser.get(BREAKERS)
        rows = {row[0]: (row[1], row[3]) for row in page.rows("Now")}
        overview = (await browser.get("/console")).text()
        for channel in CHANNELS:
            shown, sentence = rows[channel]
            if shown in ("open", "half-open", "forced-open"):
                assert f"The circuit breaker of {channel} is {shown}: what arrives {sentence}." in overview
            else:
                assert f"The circuit breaker of {channel} " not in overview
        for number, channel in product(range(10), CHANNELS):
            await notifier.send(notification(f"{channel}-then-{number}", "ann", channel))
        await trio.sleep(1)
        dead = {letter.notification_id for letter in notifier.dead_letter_queue}
        for channel in CHANNELS:
            ids = {f"n-{channel}-then-{number}" for number in range(10)}
            went, failed = [len(ids & {*each.asked}) for each in (gateway, backup)], len(ids & dead)
            check_foretold(
                rows[channel][1], {"first": went[0], "backup": went[1], "wait": 10 - sum(went) - failed, "fail": failed}
            )
            last = f"n-{channel}-then-9"
            said = (await browser.get(LETTERS + "/notification", id=last)).text()
            waits = last not in {*gateway.asked, *backup.asked, *dead}
            shut = next(row[1] for row in (await browser.get(BREAKERS)).rows("Now") if row[0] == channel)
            is_kept = f"until the circuit breaker of {channel}, which is {shut}, lets it go" in said
            assert is_kept or not waits or shut not in ("open", "half-open", "forced-open"), said
            assert waits or not is_kept or "It waits, unless it is at its provider," in said
            assert ("Dead-lettered: circuit breaker is open" in said) is (last in dead)


async def test_the_meaning_of_an_override_is_that_of_the_settings(autojump_clock):
    async with signed_in(settings=settings(), takes=(Gateway(), Gateway())) as (_, browser):
        hints = (await browser.get(BREAKERS)).texts(".choice .quiet")
        assert hints[0] == (
            "Nothing is sent; what arrives waits (email, push) or fails at once, and uses up an attempt (sms), unless "
            "another provider takes it, until another override or a restart."
        )
        assert hints[1] == "Start again with all counts at zero; what waits resumes at a limited rate."
    fails = {"channels": {"webhook": {"circuit_breaker": {"when_open": "fail", "per": "host"}}}, "drain": 0}
    async with signed_in(settings=fails) as (_, browser):
        page = await browser.get(BREAKERS)
        assert page.texts(".choice .quiet")[:2] == [
            "Nothing is sent; what arrives fails at once, and uses up an attempt, until another override or a restart.",
            "Start again with all counts at zero.",
        ]
        page = await browser.send(page, BREAKERS, breaker="webhook", order="force-open", why="x")
        assert page.text("[role=status]") == "webhook is overridden: the breaker of each host begins in that state."
        assert page.rows("Now") == [["webhook no host yet", "forced-open", "", "", ""]]
        assert (await browser.get("/console")).rows("Channels")[0][1] == "forced-open (no host yet) for 0 s"


async def test_who_looks_for_a_user_finds_what_is_in_flight_and_what_was_sent(autojump_clock):
    async with signed_in(settings=settings(), takes=(Gateway(), Gateway())) as (service, browser):
        await service.notifier.operate_breaker("email", "force-open")
        for number, user, channel in ((1, "ann", "email"), (2, "bob", "email"), (3, "ann", "sms")):
            await service.notifier.send(notification(number, f"{user}@example.com", channel, user_id=user))
        await trio.sleep(10)  # that by SMS is sent
        in_flight = ["n-1", "email", "ann@example.com", "in flight", ""]
        for asked, rows in (
            ({"user": "ann"}, [in_flight, ["n-3", "sms", "ann@example.com", "sent"]]),
            ({"recipient": "ANN@", "channel": "email"}, [in_flight]),
            ({"user": "ann", "channel": "sms"}, [["n-3", "sms", "ann@example.com", "sent"]]),
            ({"id": "n-1"}, [in_flight]),
            ({"user": "an"}, []),
        ):
            page = await browser.get(LETTERS, **asked)
            found = page.rows("In flight and ended lately")
            assert [row[: len(wanted)] for row, wanted in zip(found, rows, strict=True)] == rows, asked
        for given in ({"reason": "x"}, {"reason_is": "x"}, {"since": "2h"}, {"until": "2h"}):  # no such thing has any
            page = await browser.get(LETTERS, user="ann", **given)
            assert "n-1" not in page.text()
            href = page.html.css_first("main .note a[href*=ann]").attributes["href"]
            assert "n-1" in (await browser.get(href)).text()
        assert "n-1" not in (await browser.get(LETTERS, channel="email")).text()
        service.notifier.pipeline.store.living_nodes = frozenset({1, 2, 3})
        said = (await browser.get(LETTERS, user="ann")).text()
        assert "in flight at this node" in said
        assert "2 other nodes may have more" in said


async def killed(service, channel="sms", count=79):
    """Have an outage kill notifications: all but the first ones meet an open breaker at each attempt."""
    service.gateway.is_down = True
    for number in range(count):
        await service.notifier.send(notification(number, f"u{number}", channel))
        if number < 2:
            await service.notifier.wait_until_quiet()
    await service.notifier.wait_until_quiet()


async def test_the_filter_finds_what_an_outage_killed_though_the_breaker_refused_it(autojump_clock):
    async with signed_in(settings=settings(), takes=(Gateway(), Gateway())) as (service, browser):
        await killed(service)
        reasons = [row[:2] for row in (await browser.get(LETTERS, by="reason")).rows("By reason")]
        shown = "circuit breaker is open (the provider's latest failure: 503 outage)"
        assert reasons == [[shown, "77"], ["503 outage", "2"]]
        dry = await browser.get(BULK, action="retry")
        assert [row[:2] for row in dry.rows("Reasons")] == reasons
        page = await browser.get(LETTERS, reason="OUTAGE")
        assert "79 dead letters fit" in page.text(".title")
        assert page.rows("Dead letters")[0][3] == shown
        for reason, found in ((shown, 77), ("latest failure", 0)):
            page = await browser.get(LETTERS, reason=reason)
            assert page.text(".title").split()[2] == (str(found))
        overview = await browser.get("/console")
        figures = dict(zip(overview.texts(".figures dt"), overview.texts(".figures dd"), strict=True))
        assert (figures["failed at the provider"], figures["refused on our side"]) == ("2", "77")
        page = await browser.get(LETTERS + "/notification", id="n-50")
        assert f"Dead-lettered: {shown}" in page.text()
        assert page.texts(".timeline figcaption") == ["The provider's latest failure"]
        assert page.texts(".timeline pre") == ["503 outage"]


async def test_what_an_operator_keeps_shut_is_not_said_to_be_of_the_provider(autojump_clock):
    async with signed_in(settings=settings(), takes=(Gateway(), Gateway())) as (service, browser):
        await killed(service, count=2)
        await service.notifier.operate_breaker("sms", "force-open")
        await service.notifier.send(notification(3, "u3", "sms"))
        await service.notifier.wait_until_quiet()
        page = await browser.get(LETTERS, id="n-3")
        assert page.rows("Dead letters")[0][3] == "circuit breaker is open"


async def test_a_bulk_retry_says_what_came_of_it_and_that_the_breaker_is_open(autojump_clock):
    async with signed_in(settings=settings(), takes=(Gateway(), Gateway())) as (service, browser):
        await killed(service)
        note = "The circuit breaker of sms is open: what arrives fails at once, and uses up an attempt."
        one = await browser.get(LETTERS + "/notification", id="n-50")
        assert note in one.text()
        dry = await browser.get(BULK, action="retry", reason="outage")
        assert note in dry.text()
        run = await browser.send(dry, "/console/bulks", rate="100")
        assert note in run.text()
        await trio.sleep(10)
        run = await browser.get(run.path)
        assert "Of 79 retried, 79 are dead again." in run.text(".note.bad")
        figures = dict(zip(run.texts(".figures dt"), run.texts(".figures dd"), strict=True))
        assert (figures["delivered"], figures["dead again"], figures["under way"]) == ("0", "79", "0")
        assert run.html.css(".state.fine") == []
        assert run.html.css("meta[http-equiv=refresh]") == []
        [row] = (await browser.get("/console/bulks")).rows("Bulk runs")
        assert row == ["Retry 79", "finished", "79", "0", "0", "79", "0", "0", "0", "79", "otto"]
        page = await browser.send(one, LETTERS + "/retry")
        await service.notifier.wait_until_quiet()
        page = await browser.get(LETTERS + "/notification", id="n-50", done="retried")
        assert "It was tried again with a fresh set of attempts, and is a dead letter now." in page.text(
            "[role=status]"
        )

        service.gateway.is_down = False
        await service.notifier.operate_breaker("sms", "close")
        dry = await browser.get(BULK, action="retry")
        assert "circuit breaker" not in " ".join(dry.texts("main > .note"))
        run = await browser.send(dry, "/console/bulks", rate="100")
        await trio.sleep(3)
        run = await browser.get(run.path)
        assert "Of 79 retried, 79 are still under way." in run.text(".note.care")
        assert run.html.css_first("meta[http-equiv=refresh]").attributes["content"].startswith("10;")
        await trio.sleep(10)
        run = await browser.get(run.path)
        assert "Of 79 retried, 79 are delivered." in run.text(".note.fine")
        assert run.texts(".state.fine") == ["finished"]


async def test_of_a_bulk_retry_only_what_it_has_retried_is_counted(autojump_clock):
    async with signed_in(settings=settings(), takes=(Gateway(1.0), Gateway(1.0))) as (service, browser):
        await killed(service, "email", 2)
        service.gateway.is_down = False
        await service.notifier.operate_breaker("email", "close")
        run = await browser.send(await browser.get(BULK, action="retry"), "/console/bulks", rate="0.1")
        await service.dead_letters.retry("n-1", by="ann")  # before its turn in the bulk run
        await trio.sleep(30)
        [bulk] = service.dead_letters.bulks()
        assert (bulk.done, bulk.skipped, bulk.delivered, bulk.under_way) == (1, 1, 1, 0)
        assert "Of 1 retried, 1 is delivered." in (await browser.get(run.path)).text(".note.care")


async def test_a_page_about_one_that_waits_goes_by_the_breaker_of_its_own_host(autojump_clock):
    one_down = {"email": {"retry": {"max_attempts": 1}, "circuit_breaker": {"per": "host", "failure_threshold": 1}}}
    given = {"settings": {"channels": one_down, "drain": 0}, "takes": (Gateway(5.0), None)}
    async with signed_in(**given) as (service, browser):
        service.gateway.is_down = True
        await service.notifier.send(notification(1, "ann@down.example"))
        await service.notifier.wait_until_quiet()
        service.gateway.is_down = False
        for number, host in ((2, "down.example"), (3, "up.example")):
            await service.notifier.send(notification(number, f"ann@{host}"))
        await trio.sleep(0.1)
        said = [(await browser.get(LETTERS + "/notification", id=f"n-{number}")).text() for number in (2, 3)]
        assert "until the circuit breaker of email, which is open, lets it go" in said[0]
        assert "circuit breaker" not in said[1]
        overview = (await browser.get("/console")).text()
        assert "The circuit breaker of email for 1 of 2 hosts is open: what arrives waits." in overview
