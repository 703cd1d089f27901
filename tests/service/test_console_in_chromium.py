"""The console as an operator uses it, in Chromium, at the width of a desk and of a phone."""

from contextlib import asynccontextmanager

import pytest
import trio
from chromium import DESK, PHONE, Chromium, chromium, needs_chromium
from console_kit import ANN, OTTO, app_of, notification, running
from effort import thorough
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from actors.service.http_server import HttpServer

pytestmark = [pytest.mark.integration, needs_chromium]

DEAD = [
    *(notification(number, f"down-{number}@example.com") for number in range(8)),
    notification("refused", "nobody@example.com", metadata={"lang": "en"}),
    notification("phone", "nobody", "sms"),
]


class Console(Chromium):
    """What an operator does in the browser."""

    def click(self, text: str) -> None:
        """Click the link or the button with this text, and wait for the page that follows."""
        before = self.find("html")
        node = self.driver.find_element(
            By.XPATH, f"//main//*[self::a or self::button or self::summary][normalize-space()='{text}']"
        )
        leads_on = node.tag_name != "summary"
        node.click()
        if leads_on:
            self.wait(lambda: self.find("html") != before)

    def fill_in(self, field: str, text: str) -> None:
        node = self.find(f"#{field}")
        node.clear()
        node.send_keys(text)

    def sign_in(self, token: str) -> None:
        self.open("/console/sign-in")
        self.wait(lambda: self.driver.switch_to.active_element == self.find("#token"))
        self.driver.switch_to.active_element.send_keys(token, Keys.ENTER)
        self.wait(lambda: self.text("h1") == "Overview")


def operate(browser: Console) -> None:
    browser.sign_in(OTTO)
    assert "10 notifications wait in the dead letter queue" in browser.text()
    browser.check()

    # filter
    browser.click("See why")
    browser.check()
    browser.open("/console/dead-letters")
    if not browser.find("#reason").is_displayed():  # on a phone it is folded away
        browser.find(".filter-box > a").click()
    browser.fill_in("reason", "no such user")
    Select(browser.find("#channel")).select_by_visible_text("email")
    browser.click("Filter")
    assert [node.text for node in browser.driver.find_elements(By.CSS_SELECTOR, "tbody .id")][:1] == ["n-refused"]
    assert "1 dead letter fit" in browser.text(".title")
    browser.check()

    # a timeline, and edit and retry
    browser.click("n-refused")
    assert "550 5.1.1" in browser.text(".timeline pre")
    browser.check()
    browser.click("Edit, then retry…")
    browser.fill_in("metadata", "{")
    browser.click("Save and retry now")
    assert "JSON object" in browser.text("#metadata-problem")
    browser.wait(lambda: browser.driver.switch_to.active_element == browser.find("[role=alert]"))
    assert all("422" in complaint for complaint in browser.complaints())
    browser.fill_in("metadata", '{"lang": "de"}')
    browser.fill_in("recipient", "ann@example.com")
    browser.fill_in("why", "a typo in the address")
    browser.click("Save and retry now")
    assert "Your changes are recorded" in browser.text("[role=status]")
    browser.wait(lambda: browser.driver.refresh() or "Sent with attempt 1" in browser.text(".timeline"))
    browser.check()

    # a bulk retry with a dry run
    browser.open("/console/dead-letters?reason=gateway")
    browser.click("Retry all 8…")
    assert browser.text("h1") == "Retry 8 dead letters?"
    assert "Nothing has happened yet" in browser.text()
    browser.check()
    browser.fill_in("rate", "100")
    browser.click("Retry 8")
    browser.wait(lambda: browser.text(".state") == "finished")
    assert browser.text(".figures dd") == "8"
    browser.check()

    # a breaker by keyboard
    browser.open("/console/breakers")
    browser.find("#order-force-open").send_keys(Keys.SPACE)
    browser.find("#why").send_keys("the provider asked us to", Keys.ENTER)
    browser.wait(lambda: "is forced-open: what arrives waits" in browser.text("[role=status]"))
    assert "forced-open" in browser.text("tbody tr")
    browser.check()

    browser.open("/console/audit")
    trail = browser.text("table")
    assert "a typo in the address" in trail
    assert "the provider asked us to" in trail
    browser.check()


def only_read(browser: Console) -> None:
    browser.sign_in(ANN)
    browser.open("/console/dead-letters")
    browser.click("n-phone")
    assert "550 5.1.1" in browser.text(".timeline")
    assert browser.driver.find_elements(By.CSS_SELECTOR, "main form") == []
    browser.check()
    browser.open("/console/dead-letters/edit?id=n-phone")
    assert "needs the role operator" in browser.text()
    [complaint] = browser.complaints()
    assert "403" in complaint
    # a form made by hand, with the token of another session
    browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    browser.open("/console/dead-letters/notification?id=n-phone")
    browser.driver.execute_script(
        "const form = document.querySelector('form[action=\"/console/sign-out\"]');"
        "form.action = '/console/dead-letters/retry';"
        "form.innerHTML += '<input name=id value=n-phone>';"
        "form.submit()"
    )
    browser.wait(lambda: "needs the role operator" in browser.text())


@asynccontextmanager
async def listening(app):
    async with trio.open_nursery() as nursery:
        [url] = await HttpServer(app).listen("127.0.0.1:0", nursery)
        yield url
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("width", "height"), [thorough(DESK), pytest.param(*PHONE, marks=pytest.mark.slow)])
async def test_an_operator_at_work(tmp_path, width, height):
    def work(url):
        with chromium(url, width, height, tmp_path, Console) as browser:
            operate(browser)

    async with running(DEAD) as service, listening(app_of(service)) as url:
        await trio.to_thread.run_sync(work, url)
        assert [sent.recipient for sent in service.gateway.sent] == ["ann@example.com"]


@pytest.mark.thorough
async def test_a_reader_is_refused(tmp_path):
    def read(url):
        with chromium(url, 1280, 800, tmp_path, Console) as browser:
            only_read(browser)

    async with running(DEAD[-1:]) as service, listening(app_of(service)) as url:
        await trio.to_thread.run_sync(read, url)
        assert len(service.notifier.dead_letter_queue) == 1
