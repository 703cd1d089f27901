"""A browser for tests of pages: Chromium, at the width of a desk or of a phone."""

import json
import shutil
from contextlib import contextmanager

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

needs_chromium = pytest.mark.skipif(
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
DESK, PHONE = (1280, 800), (390, 844)
PATIENCE_S = 90  # a machine may be busy with much else


class Chromium:
    """What a person does in a browser."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def find(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str = "main") -> str:
        """What an element says; asked once more where the page draws it anew between finding and reading it."""
        try:
            return self.find(selector).text
        except StaleElementReferenceException:
            return self.find(selector).text

    def boxes(self, *selectors: str) -> list[dict[str, float]]:
        """Where elements are, all at one moment: a page that is drawn anew between two questions is of two minds."""
        return self.driver.execute_script(
            "return [...arguments].map((each) => document.querySelector(each).getBoundingClientRect().toJSON())",
            *selectors,
        )

    def wait(self, holds) -> None:
        WebDriverWait(self.driver, PATIENCE_S, ignored_exceptions=[Exception]).until(lambda _: holds())

    def prefer(self, **features: str) -> None:
        """Have the reader prefer something: ``color_scheme="dark"``."""
        wanted = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})

    def check(self) -> None:
        """The page fits the width, and the browser has nothing to complain of."""
        width = self.driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1], f"{self.driver.current_url} is {width[0]} wide, of {width[1]}"
        assert self.complaints() == []

    def resize(self, width: int, height: int) -> None:
        """Give the page another width and height; one below 500 is a phone's."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that pages have asked for since the last time, but for those of the browser itself."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        own = ("chrome:", "chrome-untrusted:")
        urls = ((each["request"]["url"], each["documentURL"]) for each in asked)
        return [url for url, page in urls if not url.startswith(own) and not page.startswith(own)]


@contextmanager
def chromium(url, width, height, directory, browser=Chromium):
    """Give a browser of a new user, who sees this much of a page; `url` is what its addresses begin with."""
    options = Options()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={directory / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        user = browser(driver, url)
        user.resize(width, height)
        yield user
    finally:
        driver.quit()
