"""The console of a real service: what it shows when the settings are read again, and when the pipeline is gone."""

import trio
from console_kit import HOST, Browser, app_of, notification, running
from served import OTTO, email, service, write

BROKEN = [{"channel": "email", "permanent_rate": 1.0}]


async def test_a_session_and_a_bulk_run_outlive_a_change_of_the_settings(autojump_clock, tmp_path):
    async with service(tmp_path, faults=BROKEN) as served:
        for number in range(10):
            await served.post("/notifications", email(number))
        await served.server.notifier.wait_until_quiet()
        browser = Browser(served.server.gate)
        page = await browser.sign_in(OTTO)
        assert "10 notifications wait in the dead letter queue" in page.text()
        assert page.texts(".faults li") == ["email: permanent rate 100%"]
        page = await browser.get("/console/bulks/new", action="retry")
        page = await browser.send(page, "/console/bulks", rate="1", why="mended")
        await trio.sleep(3.5)
        assert await served.change(faults=[])
        page = await browser.get(page.path)
        assert page.text(".state") == "running"
        assert page.texts(".faults li") == []
        await trio.sleep(20)
        page = await browser.get(page.path)
        assert page.text(".state") == "finished"
        retried, delivered, dead_again, *others = page.texts(".figures dd")
        assert (retried, others) == ("10", ["0", "0", "0"])
        await served.server.notifier.wait_until_quiet()
        figures = (await browser.get("/console")).texts(".figures dd")
        assert [figures[1], figures[5]] == [delivered, dead_again]
        assert int(delivered) + int(dead_again) == 10
        assert int(figures[1]) >= 6


async def test_settings_that_cannot_be_used_are_told_on_every_page(autojump_clock, tmp_path):
    async with service(tmp_path) as served:
        browser = Browser(served.server.gate)
        await browser.sign_in(OTTO)
        assert not await served.change(drain="soon")
        for path in ("/console", "/console/audit"):
            page = await browser.get(path)
            assert "The settings that were read last are not used" in page.text()
            assert "drain: wanted a duration" in page.text()
        assert "drain" not in (await Browser(served.server.gate).get("/console/sign-in")).text()
        assert await served.change()
        assert "are not used" not in (await browser.get("/console")).text()


async def test_a_caller_whose_token_is_gone_is_out_at_once(autojump_clock, tmp_path):
    async with service(tmp_path) as served:
        browser = Browser(served.server.gate)
        await browser.sign_in(OTTO)
        write(served.path, tokens=[{"name": "otto", "role": "operator", "secret": "another-0123456789abcdef"}])
        assert await served.server.reload()
        assert (await browser.get("/console")).path == "/console/sign-in"


async def test_when_the_pipeline_is_gone_a_form_says_so(autojump_clock):
    async with running([notification(1, "nobody@example.com")]) as gone:
        browser = Browser(app_of(gone))
        await browser.sign_in(OTTO)
        page = await browser.get("/console/dead-letters/notification", id="n-1")
    page = await browser.send(page, "/console/dead-letters/retry")
    assert page.status == 503
    assert "The service is stopping" in page.text()
    assert page.response.url.host == HOST
