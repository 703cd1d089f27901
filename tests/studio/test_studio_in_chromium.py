"""Studio as a person uses it, in Chromium, at the width of a desk and of a phone."""

import os
import re
import signal
from contextlib import asynccontextmanager

import pytest
import trio
from chromium import DESK, PHONE, Chromium, chromium, needs_chromium
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from simulation.studio import server
from simulation.studio.folder import Folder
from simulation.studio.pool import Workers

pytestmark = [pytest.mark.integration, needs_chromium]

OUTAGE = """\
name: small-outage
seed: 7
duration: 60s          # a minute

workload:
  - {channel: email, arrivals: {poisson: 20/s}, users: 1000}

channels:
  email:
    # five are soon used up
    retry: {max_attempts: 5, initial_delay: 1s}
    circuit_breaker: {failure_threshold: 5, timeout: 10s}   # short
    provider: {latency: {constant: 50ms}}

faults:
  - {channel: email, at: 15s, for: 20s, outage: true}   # the outage

expect:
  - sent_fraction >= 0.99
  - delivery_time_s.p99 <= 5s
"""

FLEET = OUTAGE.replace("seed: 7\n", "seed: 7\nnodes: 3\n").replace("small-outage", "fleet")

LONG = OUTAGE.replace("duration: 60s ", "duration: 30d ").replace("small-outage", "long")


class Studio(Chromium):
    def see(self, file: str) -> None:
        self.open(f"/edit?file={file}")
        self.wait_for_the_run()

    def wait_for_the_run(self) -> None:
        """Wait for the check of the text too, which shows settings and faults anew and may end after the run."""
        self.wait(
            lambda: (
                re.search("expectations", self.text("#status"))
                and self.find("#settings").get_attribute("aria-busy") == "false"
            )
        )

    def text_of_scenario(self) -> str:
        return self.find("#text").get_property("value")

    def type(self, old: str, new: str) -> None:
        """Change the text as somebody who types does."""
        self.driver.execute_script(
            "const field = document.getElementById('text'), at = field.value.indexOf(arguments[0]);"
            "field.focus(); field.setSelectionRange(at, at + arguments[0].length);",
            old,
        )
        self.find("#text").send_keys(new)

    def click(self, selector: str) -> None:
        node = self.find(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", node)
        node.click()

    def red_at_foot(self, panel: str) -> int:
        """How many pixels in the last row of a panel are red."""
        return self.driver.execute_script(
            "const canvas = document.querySelector(`[data-key=${arguments[0]}] canvas`);"
            "const row = parseInt(canvas.style.height) - (arguments[0] === 'letters' ? 18 : 2);"
            "const { data } = canvas.getContext('2d').getImageData(0, row, canvas.width, 1);"
            "const isRed = (at) => data[at] > 120 && data[at + 1] < 90 && data[at + 3];"
            "return data.filter((_, at) => at % 4 === 0 && isRed(at)).length;",
            panel,
        )

    def scale(self, panel: str) -> float:
        """Up to what the axis of a panel goes."""
        label = self.find(f"[data-key={panel}] canvas").get_attribute("aria-label")
        return float(re.search(r"from 0 to ([\d.,]+)$", label)[1].replace(",", ""))

    def all(self, selector: str):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def figures(self) -> str:
        return self.text("#figures")


@asynccontextmanager
async def studio(folder, monkeypatch):
    pools = []
    monkeypatch.setattr(server, "Workers", lambda count: pools.append(Workers(count)) or pools[0])
    send, receive = trio.open_memory_channel(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, Folder(folder), 0, send.send_nowait)
        yield await receive.receive(), pools[0]
        nursery.cancel_scope.cancel()


def in_browser(address, directory, size, use):
    url, _, token = address.partition("/?")
    with chromium(url, *size, directory, Studio) as browser:
        browser.open(f"/?{token}")
        use(browser)
        asked = [each for each in browser.requests() if not each.startswith("blob:")]
        assert {re.match(r"\w+:(//[^/]+)?", each)[0] for each in asked} <= {url, "about:"}


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "scenarios"
    inside.mkdir()
    (inside / "outage.yaml").write_text(OUTAGE)
    (inside / "long.yaml").write_text(LONG)
    (inside / "fleet.yaml").write_text(FLEET)
    return inside


def in_view(browser: Studio, selector: str) -> bool:
    script = "const box = arguments[0].getBoundingClientRect(); return box.top >= 0 && box.bottom <= innerHeight"
    return browser.driver.execute_script(script, browser.find(selector))


def top_of_curves(browser: Studio) -> float:
    """How far below the top of the page they are, as far as it is scrolled."""
    return browser.driver.execute_script(
        "return document.getElementById('charts').getBoundingClientRect().top + scrollY"
    )


def change_and_watch(browser: Studio, size: tuple[int, int]) -> None:
    browser.check()
    assert browser.text("h1") == "scenarios"
    browser.see("outage.yaml")
    browser.check()
    browser.wait(lambda: browser.text("#title") == "small-outage")
    assert browser.text("#file") == "outage.yaml"
    assert browser.driver.title == "outage.yaml: small-outage · retrylab studio"
    first = browser.figures()
    assert "1 of 2 expectations break" in browser.text("#status")
    assert "breaks" in browser.text("#expectations")
    browser.wait(lambda: browser.find("#expectations button"))
    assert {name for name in ("rates", "waiting", "times", "letters", "breakers") if browser.red_at_foot(name)} == {
        "times"
    }

    # a slider changes the text in place, and the picture
    if size == PHONE:
        browser.click("#settings > summary")
    group = browser.driver.find_element(By.XPATH, "//summary[.='Channel email']/..")
    if group.get_attribute("open") is None:
        group.find_element(By.TAG_NAME, "summary").click()
    slider = browser.driver.find_element(By.ID, "knob-channels.email.circuit_breaker.timeout")
    if size == PHONE:  # where it is turned there is the picture, too
        browser.driver.execute_script("document.getElementById('charts').scrollIntoView()")
        assert in_view(browser, "#settings > summary")
        assert in_view(browser, "[data-key=waiting] canvas")
        assert not in_view(browser, "#text")
    else:  # beside what is expected
        assert in_view(browser, "#expectations")
        assert slider.rect["y"] + slider.rect["height"] < size[1]
    scale = browser.scale("waiting")
    slider.send_keys(Keys.HOME)
    browser.wait(lambda: browser.figures() not in ("", first))
    assert browser.text_of_scenario() == OUTAGE.replace("timeout: 10s}", "timeout: 1s}")
    browser.wait_for_the_run()
    assert in_view(browser, "#figures")
    browser.wait(lambda: browser.scale("waiting") < scale)  # the key is let go, though the focus is still there

    # a broken text says where, and the last picture stays, as do the cursor, and all that is below
    browser.find("#time").send_keys(Keys.END)
    last, top = browser.text("#now"), top_of_curves(browser)
    browser.type("at: 15s", "at: soon")
    browser.wait(lambda: "Line 16, column 26" in browser.text("#problems"))
    assert browser.find("#text").get_attribute("aria-invalid") == "true"
    assert browser.text("#now") == last
    assert top_of_curves(browser) == top
    browser.wait(lambda: "Line 16: at: wanted" in browser.text("#status"))  # what is half typed is wrong too
    assert browser.figures() == "The picture is of the last text that could be run."
    field, problems, editor = browser.boxes("#text", "#problems", ".editor")
    assert field["y"] + field["height"] <= problems["y"] + 1
    assert problems["y"] + problems["height"] <= editor["y"] + editor["height"]
    assert browser.find("#colours .wrong").text.strip().startswith("- {channel: email")
    browser.check()
    browser.click("#undo")
    browser.wait(lambda: not browser.find("#problems").is_displayed())
    browser.click("#undo")
    browser.wait(lambda: browser.text_of_scenario() == OUTAGE)
    browser.wait_for_the_run()
    assert browser.figures() == first
    assert browser.text("#now") == last != "0:00"

    browser.type("p99 <= 5s", "p98 <= 5s")
    browser.wait(lambda: "expect.1: " in browser.text("#status"))  # a number alone would name nothing
    browser.click("#undo")

    # a text that is far too long is said to be, and gone again
    browser.driver.execute_script(
        "const field = document.getElementById('text');"
        "field.value += `# ${'x'.repeat(1000)}\\n`.repeat(1100); field.dispatchEvent(new Event('input'));"
    )
    browser.wait(lambda: "too long" in browser.text("#problems"))
    browser.check()
    browser.click("#undo")
    browser.wait_for_the_run()
    assert browser.text_of_scenario() == OUTAGE

    # a fault is dragged, and stretched by keys
    band = browser.find("[data-part=move]")
    width = browser.find("#charts canvas").size["width"]
    browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", band)
    ActionChains(browser.driver).click_and_hold(band).move_by_offset(width // 6, 0).release().perform()
    browser.wait(lambda: "at: 15s" not in browser.text_of_scenario())
    at = float(re.search(r"at: ([\d.]+)s, for: 20s, outage: true}   # the outage", browser.text_of_scenario())[1])
    assert 20 < at < 35
    browser.wait_for_the_run()
    assert browser.figures() not in ("", first)
    assert not browser.find("#message").is_displayed()
    browser.find("[data-part=end]").send_keys(Keys.ARROW_RIGHT)
    browser.wait(lambda: "for: 20s" not in browser.text_of_scenario())
    browser.wait_for_the_run()
    browser.click("#undo")
    browser.click("#undo")
    browser.wait_for_the_run()
    assert browser.text_of_scenario() == OUTAGE
    assert browser.figures() == first


def pause(browser: Studio) -> None:
    """What is half typed is not run."""
    browser.driver.execute_script(
        """
        const field = document.getElementById("text"), ask = window.fetch;
        window.asked = [];
        window.fetch = (path, what) => {
          if (path === "/ask") window.asked.push(JSON.parse(what.body).text);
          return ask(path, what);
        };
        for (const timeout of ["3}", "30s}"]) {
          field.value = field.value.replace(/timeout: \\w+}/, `timeout: ${timeout}`);
          field.dispatchEvent(new Event("input"));
        }
        """
    )
    wanted = OUTAGE.replace("timeout: 10s}", "timeout: 30s}")
    assert browser.text_of_scenario() == wanted
    assert "expectations" not in browser.text("#status")
    browser.wait_for_the_run()
    assert browser.driver.execute_script("return window.asked") == [wanted]
    browser.click("#undo")
    assert browser.text_of_scenario() == OUTAGE
    browser.wait_for_the_run()


def search(browser: Studio) -> None:
    """Settings are searched, which can be stopped; what is found is put into the text, and undone."""
    browser.type("p99 <= 5s", "p99 <= 30s")
    browser.wait_for_the_run()
    text = browser.text_of_scenario()
    browser.click("#search")
    browser.wait(lambda: "runs are done" in browser.text("#comparison"))
    browser.click("#stop")
    assert "Stopped." in browser.text("#comparison")
    offered = browser.driver.find_elements(By.CSS_SELECTOR, "[data-put]")
    assert all(each.is_displayed() for each in offered)
    assert not browser.find("#stop").is_displayed()
    browser.click("#search")
    browser.wait(lambda: "runs that the search had not seen" in browser.text("#comparison"))
    browser.wait(lambda: browser.find("[data-put]").is_displayed())
    assert not browser.find("#stop").is_displayed()
    browser.check()
    found = [cell.text for cell in browser.driver.find_elements(By.CSS_SELECTOR, "#comparison [data-label=found]")]
    browser.click("[data-put]")
    assert browser.text_of_scenario() != text
    assert all(value in browser.text_of_scenario() for value in found)
    browser.wait_for_the_run()
    browser.click("#undo")
    assert browser.text_of_scenario() == text
    browser.click("#undo")
    assert browser.text_of_scenario() == OUTAGE
    browser.wait_for_the_run()


def complete(browser: Studio) -> None:
    """Keys and words are offered as one types, and by Ctrl-Space; Escape leaves them."""
    browser.type("initial_delay: 1s}", "initial_delay: 1s, jit")
    browser.wait(lambda: browser.text("#offered [aria-selected=true] b") == "jitter")
    field = browser.find("#text")
    field.send_keys(Keys.TAB)
    browser.wait(lambda: browser.text("#offered [aria-selected=true] b") == "none")
    field.send_keys(Keys.ARROW_DOWN, Keys.ENTER, "}")
    browser.wait(lambda: re.search(r"initial_delay: 1s, jitter: \w+}", browser.text_of_scenario()))
    assert not browser.find("#offered").is_displayed()
    browser.wait_for_the_run()
    field.send_keys(Keys.CONTROL, " ")
    field.send_keys(Keys.NULL)
    browser.check()
    while browser.text_of_scenario() != OUTAGE:
        browser.click("#undo")
    browser.wait_for_the_run()


def resize(browser: Studio, size: tuple[int, int]) -> None:
    """The bands of faults stay over the axis of the curves."""

    def end_of_band() -> float:
        fault, axis = browser.boxes(".fault", "#charts")
        return (fault["x"] + fault["width"] - axis["x"] - 58) / (axis["width"] - 66)

    before = end_of_band()
    for width in (size[0] - 100, size[0]):
        browser.resize(width, size[1])
        browser.wait(lambda: abs(end_of_band() - before) < 0.01)


def zoom(browser: Studio) -> None:
    """Nothing moves, and a fault that goes on beyond an edge has no end there."""
    canvas, top = browser.find("[data-key=rates] canvas"), top_of_curves(browser)
    width = canvas.size["width"]
    browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    drag = ActionChains(browser.driver).move_to_element_with_offset(canvas, width // 10 - width // 2 + 58, 0)
    drag.click_and_hold().move_by_offset(width // 3, 0).release().perform()
    assert browser.find("#whole").is_displayed()
    assert top_of_curves(browser) == top
    assert ["beyond" in browser.find(f"[data-part={part}]").get_attribute("class") for part in ("start", "end")] == [
        *(False, True)
    ]
    browser.click("#whole")
    assert not browser.find("#whole").is_displayed()
    assert "beyond" not in browser.find("[data-part=end]").get_attribute("class")
    assert top_of_curves(browser) == top


def play_and_ask(browser: Studio) -> None:
    # play, back, and jump; what is said of an event goes when the cursor does
    browser.find("#time").send_keys(Keys.HOME)
    top = top_of_curves(browser)
    Select(browser.find("#kind")).select_by_value("opens")
    browser.click("#next")
    assert "Breaker email: closed to open" in browser.text("#event")
    assert top_of_curves(browser) == top
    browser.find("#time").send_keys(Keys.ARROW_RIGHT)
    assert browser.text("#event") == ""
    browser.find("#time").send_keys(Keys.HOME)
    browser.click("#next")
    assert re.search("The breaker of email is open, .* wait behind the breaker", browser.text("#story"))
    opened = browser.text("#now")
    Select(browser.find("#kind")).select_by_value("fault")
    browser.click("#previous")
    assert "outage: begins" in browser.text("#event")
    assert browser.text("#now") == "0:15"
    Select(browser.find("#speed")).select_by_value("1")
    browser.driver.execute_script("window.kept = 0; Storage.prototype.setItem = () => window.kept += 1")
    browser.click("#play")
    browser.wait(lambda: browser.text("#now") not in ("0:15", opened))
    browser.click("#play")
    assert browser.text("#play") == "Play"
    assert browser.driver.execute_script("return window.kept") == 0
    browser.driver.refresh()  # and with it what was put in place of the browser's own
    browser.wait_for_the_run()

    # a click leads to the notifications, and to what the provider answered
    browser.find("#time").send_keys(Keys.HOME)
    Select(browser.find("#kind")).select_by_value("opens")
    browser.click("#next")
    browser.click(".actor.circuit_breaker button")
    browser.wait(lambda: "that wait behind the breaker" in browser.text("#notifications"))
    assert "Waits for an open circuit breaker" in browser.text("#notifications .timeline")
    canvas = browser.find("[data-key=rates] canvas")
    browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    ActionChains(browser.driver).move_to_element(canvas).click().perform()
    browser.wait(lambda: browser.text("#notifications").startswith("Notifications that"))
    browser.check()


def compare_and_keep(browser: Studio, folder) -> None:
    browser.click("#pin")
    browser.type("max_attempts: 5", "max_attempts: 1")
    browser.wait(lambda: "max_attempts: 1," in browser.text_of_scenario())
    browser.wait_for_the_run()
    browser.click("#compare")
    browser.wait(lambda: "On 10 of 10 common seeds" in browser.text("#comparison"))
    assert "dead_lettered" in browser.text("#comparison")
    browser.check()
    Select(browser.find("#rank-by")).select_by_value("dead_lettered")
    browser.click("#rank")
    browser.wait(lambda: re.search(r"\d of", browser.text("#comparison caption")))
    browser.check()

    # nothing is lost on reload, nor is what somebody else has saved meanwhile; another tab has a state of its own
    changed = browser.text_of_scenario()
    (folder / "outage.yaml").write_text(f"{OUTAGE}# of somebody else\n")
    browser.driver.refresh()
    browser.wait_for_the_run()
    assert browser.text_of_scenario() == changed
    assert browser.find("#unpin").is_displayed()
    browser.click("#save")
    browser.find("#name").send_keys(Keys.ENTER)
    browser.wait(lambda: "has changed since it was opened" in browser.text("#save-problem"))
    browser.find("#name").send_keys(Keys.ESCAPE)
    assert (folder / "outage.yaml").read_text() == f"{OUTAGE}# of somebody else\n"
    (folder / "outage.yaml").write_text(OUTAGE)
    assert all("400" in complaint for complaint in browser.complaints())
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    browser.see("outage.yaml")
    assert browser.text_of_scenario() == OUTAGE
    browser.driver.close()
    browser.driver.switch_to.window(first)

    # a link opens it again
    browser.driver.execute_script("navigator.clipboard.writeText = () => Promise.reject()")
    browser.click("#link")
    browser.wait(lambda: "#t=" in browser.driver.current_url)
    link = browser.driver.current_url
    browser.click("#swap")
    browser.wait(lambda: browser.text_of_scenario() == OUTAGE)
    browser.driver.get("about:blank")
    browser.driver.get(link)
    browser.wait(lambda: browser.text_of_scenario() == changed)

    # it is saved under another name, and not over one that is there
    for name, there in (("long.yaml", True), ("changed.yaml", False)):
        if not browser.find("#save-as").is_displayed():
            browser.click("#save")
        field = browser.find("#name")
        field.clear()
        field.send_keys(name, Keys.ENTER)
        if there:
            browser.wait(lambda: "There is a long.yaml already" in browser.text("#save-problem"))
            assert all("400" in complaint for complaint in browser.complaints())
    browser.wait(lambda: "changed.yaml" in browser.driver.current_url)
    browser.wait_for_the_run()
    assert (folder / "changed.yaml").read_text() == changed
    assert (folder / "outage.yaml").read_text() == OUTAGE
    browser.check()


@pytest.mark.thorough
@pytest.mark.parametrize(
    "size", [pytest.param(DESK, id="desk"), pytest.param(PHONE, id="phone", marks=pytest.mark.slow)]
)
async def test_a_scenario_is_changed_watched_compared_and_kept(folder, tmp_path, monkeypatch, size):
    def use(browser):
        change_and_watch(browser, size)
        pause(browser)
        complete(browser)
        resize(browser, size)
        zoom(browser)
        play_and_ask(browser)
        search(browser)
        compare_and_keep(browser, folder)

    async with studio(folder, monkeypatch) as (address, _):
        await trio.to_thread.run_sync(in_browser, address, tmp_path, size, use)


FLAPPING = (
    OUTAGE.replace("outage: true}   # the outage", "flap: {up: 4s, down: 4s}}")
    .replace("timeout: 10s}   # short", "timeout: 10s, enabled: false}")
    .replace(
        "seed: 7\n", "seed: 7\nstart: 2026-01-01T21:59:30Z\nquiet_hours:\n  - {share: 50%, from: 22:00, to: 07:00}\n"
    )
)


def looks_without_colour(browser: Studio, panel: str) -> list[str]:
    """How the keys of a panel's curves look to somebody who sees no colours."""
    return browser.driver.execute_script(
        """
        return [...document.querySelectorAll(`[data-key=${arguments[0]}] .key`)].map((key) => {
          const { clipPath, height, backgroundImage } = getComputedStyle(key, "::before");
          return [clipPath, height, backgroundImage.replace(/(rgb|color)\\([^)]*\\)/g, "")].join(" ");
        });
        """,
        panel,
    )


@pytest.mark.thorough
async def test_what_a_page_shows_is_so(folder, tmp_path, monkeypatch):
    def use(browser):
        browser.see("flapping.yaml")
        assert {each.get_attribute("aria-valuemax") for each in browser.all("[role=slider]")} == {"60"}

        # a breaker that is off, a fault that flaps, quiet hours, and what never comes
        browser.wait(lambda: browser.text(".actor.circuit_breaker em") == "off")
        assert browser.find("[data-key=breakers] canvas").get_attribute("aria-label").endswith("email: off")
        assert "flaps" in browser.find(".fault").get_attribute("class")
        assert "50% of users quiet 22:00–07:00" in browser.text(".quiet-row")
        browser.wait(lambda: "and never" in browser.find("[data-key=times] canvas").get_attribute("aria-label"))
        for panel in ("rates", "waiting", "times"):
            looks = looks_without_colour(browser, panel)
            assert len(looks) == len(set(looks)) > 1, panel

        # beside a text that cannot be run no expectation is green
        assert not browser.find(".of-old").is_displayed()
        browser.type("max_attempts: 5", "max_attempts: many")
        browser.wait(lambda: "of the last text that could be run" in browser.text("#expect-title"))
        assert "grayscale" in browser.driver.execute_script(
            "return getComputedStyle(document.getElementById('expectations')).filter"
        )
        browser.click("#undo")
        browser.wait_for_the_run()
        assert not browser.find(".of-old").is_displayed()

        # edits that are not in the file say so, after a visit elsewhere too
        assert not browser.find("#unsaved").is_displayed()
        browser.find("[data-part=move]").send_keys(Keys.ARROW_RIGHT)
        browser.wait(lambda: "not saved" in browser.text("#unsaved"))
        browser.wait_for_the_run()
        browser.driver.refresh()
        browser.wait_for_the_run()
        assert "of an earlier visit, not saved" in browser.text("#unsaved")
        browser.click("#discard")
        browser.wait_for_the_run()
        assert not browser.find("#unsaved").is_displayed()
        assert browser.text_of_scenario() == FLAPPING

        # who takes out a fault by its keys stays among the faults, and after the last one where another can be added
        browser.find("#add-fault button").click()
        browser.wait(lambda: len(browser.all(".fault")) == 2)
        for left, focused in ((1, "time of email: "), (0, "new-what")):
            browser.find(".fault-row [data-part=move]").send_keys(Keys.DELETE)
            browser.wait(lambda left=left: len(browser.all(".fault")) == left)
            active = browser.driver.switch_to.active_element
            assert (active.get_attribute("aria-label") or active.get_attribute("id")).startswith(focused)
        browser.check()

    (folder / "flapping.yaml").write_text(FLAPPING)
    async with studio(folder, monkeypatch) as (address, _):
        await trio.to_thread.run_sync(in_browser, address, tmp_path, DESK, use)


@pytest.mark.thorough
async def test_a_node_is_looked_at_alone(folder, tmp_path, monkeypatch):
    def use(browser):
        def waiting() -> int:
            return int(browser.text(".actor.circuit_breaker b"))

        def before_the_figures() -> str:
            return browser.driver.execute_script(
                "return getComputedStyle(document.getElementById('figures'), '::before').content"
            )

        browser.see("fleet.yaml")
        browser.wait(lambda: browser.find("#node").is_displayed())
        assert (before_the_figures(), browser.text("#expect-title")) == ("none", "Expectations")
        Select(browser.find("#kind")).select_by_value("fault")
        for _ in range(2):
            browser.click("#next")
        together = waiting()
        assert together > 0
        of_nodes = []
        for node in "123":
            Select(browser.find("#node")).select_by_value(node)
            browser.wait(lambda node=node: browser.text("#actors strong") == f"email at node {node}")
            of_nodes.append(waiting())
            canvas = browser.find("[data-key=breakers] canvas")
            browser.wait(lambda node=node, canvas=canvas: f" email@{node}: " in canvas.get_attribute("aria-label"))
        assert sum(of_nodes) == together
        assert (before_the_figures(), browser.text("#expect-title")) == ('"All nodes: "', "Expectations of all nodes")
        browser.click(".actor.circuit_breaker button")
        browser.wait(lambda: f"{of_nodes[2]}" in browser.text("#notifications p"))
        assert "that wait behind the breaker on email at node 3" in browser.text("#notifications p")
        browser.driver.refresh()
        browser.wait_for_the_run()
        browser.wait(lambda: browser.text("#actors strong") == "email at node 3")
        browser.check()
        browser.see("outage.yaml")
        assert not browser.find("#node").is_displayed()

    async with studio(folder, monkeypatch) as (address, _):
        await trio.to_thread.run_sync(in_browser, address, tmp_path, DESK, use)


@pytest.mark.thorough
async def test_a_long_run_is_drawn_cancelled_and_survives_its_worker(folder, tmp_path, monkeypatch):
    def use(browser):
        browser.open("/edit?file=long.yaml")

        # what would take hours is not run before it is asked for
        browser.wait(lambda: re.search(r"It would take long: .* arrivals, about 26 minutes", browser.text("#message")))
        assert browser.text("#status") == "not run yet"
        browser.find("#message button").click()
        browser.wait(lambda: re.search(r"runs… [1-9]", browser.text("#status")))
        browser.wait(lambda: "arrive" in browser.text("[data-key=rates]"))

        # a worker that dies is said, and replaced
        before = pool.numbers
        for number in before:
            os.kill(number, signal.SIGKILL)
        browser.wait(lambda: "Another one has taken its place" in browser.text("#message"))
        browser.find("#message button").click()
        browser.wait(lambda: "It would take long" in browser.text("#message"))
        browser.find("#message button").click()
        browser.wait(lambda: re.search(r"runs… [1-9]", browser.text("#status")))
        assert set(pool.numbers) != set(before)

        # another tab is not held up, and a newer change ends what would take hours
        first = browser.driver.current_window_handle
        browser.driver.switch_to.new_window("tab")
        browser.see("outage.yaml")
        browser.driver.close()
        browser.driver.switch_to.window(first)
        browser.type("30d", "20s")
        browser.wait_for_the_run()
        assert re.search(r"Seen to 0:\d\d\.$", browser.text("#figures"))
        browser.check()

    async with studio(folder, monkeypatch) as (address, pool):
        await trio.to_thread.run_sync(in_browser, address, tmp_path, DESK, use)
