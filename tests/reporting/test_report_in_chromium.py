"""The report as it is read: in Chromium, at the width of a desk and of a phone, in light and in dark."""

import pytest
from chromium import DESK, PHONE, chromium, needs_chromium
from effort import thorough
from report_pages import AGGREGATES, CRASH, FAILS, NOTHING, nasty_page, page_of
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.integration, needs_chromium]

CONTRAST = """
const parse = text => {
  const [r, g, b, a] = text.match(/[\\d.]+/g).map(Number);
  return [r, g, b, a === undefined ? 1 : a];
};
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * x + .7152 * y + .0722 * z;
};
const behind = node => {
  for (; node; node = node.parentElement) {
    const color = parse(getComputedStyle(node).backgroundColor);
    if (color[3] === 1) return color;
  }
  return [255, 255, 255, 1];
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || node.closest('.plot, title, desc') || !node.getClientRects().length) continue;
  const style = getComputedStyle(node);
  const [one, other] = [light(parse(node.closest('svg') ? style.fill : style.color)), light(behind(node))];
  const ratio = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
  if (ratio < 4.5) found.push([ratio, walker.currentNode.data.trim()]);
}
return found;
"""
"""Which texts stand out less than WCAG 2.2 AA wants (1.4.3); the plots have a style sheet of their own."""

STICK_OUT = """
return [...document.querySelectorAll('main *')].filter(node => {
  if (node.closest('svg') && node.tagName !== 'svg') return false;
  const inside = node.parentElement.closest('.scroll, pre');
  return !inside && node.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
}).map(node => node.outerHTML.slice(0, 200));
"""


@pytest.fixture(scope="module")
def fails(tmp_path_factory):
    path = tmp_path_factory.mktemp("reports") / "fails.html"
    path.write_text(page_of(FAILS).source, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def reports(fails):
    pages = {"nothing": NOTHING, "aggregates": AGGREGATES, "crash": CRASH}
    for name, page in {**{name: page_of(text) for name, text in pages.items()}, "nasty": nasty_page()}.items():
        (fails.parent / f"{name}.html").write_text(page.source, encoding="utf-8")
    return fails.parent


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("width", "height", "schemes"),
    [(*DESK, ["light"]), thorough((*DESK, ["dark"])), pytest.param(*PHONE, ["light"], marks=pytest.mark.slow)],
)
def test_a_report_in_the_browser(reports, tmp_path, width, height, schemes):
    with chromium("file://", width, height, tmp_path) as browser:
        for report in sorted(reports.iterdir()):
            for scheme in schemes:
                browser.prefer(color_scheme=scheme)
                browser.open(str(report))
                assert browser.driver.title
                browser.check()
                assert browser.driver.execute_script(CONTRAST) == []
                assert browser.driver.execute_script(STICK_OUT) == []
                # the page itself, and the empty icon that keeps the browser from asking for another one
                assert set(browser.requests()) <= {report.as_uri(), "data:,"}
            check_figures(browser)
        browser.open(str(reports / "fails.html"))
        read(browser)


def check_figures(browser):
    drawn = browser.driver.find_elements(By.CSS_SELECTOR, "svg[role=img]")
    figures = [figure for figure in drawn if figure.is_displayed()]  # there are others for other widths
    assert figures
    for figure in figures:
        assert figure.aria_role in ("image", "img")
        assert figure.accessible_name
        assert figure.size["width"] > 200


def read(browser):
    """By keyboard alone: past what stands above the result, and into the scenario."""
    body = browser.find("body")
    body.send_keys(Keys.TAB)
    assert browser.driver.switch_to.active_element.text == "To the result"
    summary = browser.find("#scenario summary")
    assert not browser.find(".yaml").is_displayed()
    summary.send_keys(Keys.ENTER)
    browser.wait(lambda: browser.find(".yaml").is_displayed())
    assert "max_attempts: 3" in browser.text(".yaml")
    browser.check()


def test_on_a_phone_no_table_is_wider_than_the_page(fails, tmp_path):
    with chromium("file://", *PHONE, tmp_path) as browser:
        browser.open(str(fails))
        tables = "return [...document.querySelectorAll('table')].map(each => [each.scrollWidth, innerWidth])"
        widths = browser.driver.execute_script(tables)
        assert len(widths) > 3
        assert all(width <= of for width, of in widths)
        label = "return getComputedStyle(document.querySelector('table:not(.expectations) td'), '::before').content"
        assert browser.driver.execute_script(label) == '"offered "'
