"""The console as an operator uses it, in Chromium, at the width of a desk and of a phone."""

from __future__ import annotations

import functools
import shutil
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
from console_kit import ANN, OTTO, app_of, notification, running
from hypercorn.config import Config
from hypercorn.trio import serve
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs Chromium and its driver (Debian: chromium, chromium-driver)"
)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_S = 30

DEAD = [
    *(notification(number, f"down-{number}@example.com") for number in range(8)),
    notification("refused", "nobody@example.com", metadata={"lang": "en"}),
    notification("phone", "nobody", "sms"),
]


class Chromium:
    """What an operator does with his browser."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def find(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str = "main") -> str:
        return self.find(selector).text

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

    def wait(self, holds) -> None:
        WebDriverWait(self.driver, PATIENCE_S, ignored_exceptions=[Exception]).until(lambda _: holds())

    def sign_in(self, token: str) -> None:
        self.open("/console/sign-in")
        self.wait(lambda: self.driver.switch_to.active_element == self.find("#token"))
        self.driver.switch_to.active_element.send_keys(token, Keys.ENTER)
        self.wait(lambda: self.text("h1") == "Overview")

    def check(self) -> None:
        """The page fits the width, and the browser has nothing to complain of."""
        width = self.driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1], f"{self.driver.current_url} is {width[0]} wide, of {width[1]}"
        assert self.complaints() == []

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextmanager
def chromium(url: str, width: int, height: int, directory):
    options = Options()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={directory / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        yield Chromium(driver, url)
    finally:
        driver.quit()


def operate(browser: Chromium) -> None:
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
    browser.wait(lambda: "The order is given" in browser.text("[role=status]"))
    assert "forced-open" in browser.text("tbody tr")
    browser.check()

    browser.open("/console/audit")
    trail = browser.text("table")
    assert "a typo in the address" in trail
    assert "the provider asked us to" in trail
    browser.check()


def only_read(browser: Chromium) -> None:
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
    # he makes himself a form, with the token of his own session
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
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.graceful_timeout = 0
    async with trio.open_nursery() as nursery:
        [url] = await nursery.start(functools.partial(serve, app, config))
        yield url
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
async def test_an_operator_at_work(tmp_path, width, height):
    def work(url):
        with chromium(url, width, height, tmp_path) as browser:
            operate(browser)

    async with running(DEAD) as service, listening(app_of(service)) as url:
        await trio.to_thread.run_sync(work, url)
        assert [sent.recipient for sent in service.gateway.sent] == ["ann@example.com"]


async def test_a_reader_is_refused(tmp_path):
    def read(url):
        with chromium(url, 1280, 800, tmp_path) as browser:
            only_read(browser)

    async with running(DEAD[-1:]) as service, listening(app_of(service)) as url:
        await trio.to_thread.run_sync(read, url)
        assert len(service.notifier.dead_letter_queue) == 1
