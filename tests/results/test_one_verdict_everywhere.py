"""One run says the same wherever it is shown: in the terminal, as JSON, on the report, in studio, in pytest, and where
only aggregates are recorded. The slow part has all shipped scenarios and incidents, and one of 482,500 notifications.
"""

import html
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import in_process
import pytest
from beside import tables

import simulation.testing.scenario_items
from simulation.running.runner import run as plain_run
from simulation.studio.worker import Worker

for needed in ("pandas.core.arrays.arrow.extension_types", "scipy.special"):
    importlib.import_module(needed)  # pytester forgets what is imported inside it, and these cannot be imported twice

SCENARIOS = Path(__file__).parents[2] / "scenarios"
SHIPPED = sorted([*SCENARIOS.glob("*.yaml"), *(SCENARIOS / "incidents").glob("*.yaml")])

SMALL = tables(__file__)["small"]

LARGE = """
name: large
seed: 5
duration: 4825s
workload:
  - {channel: email, arrivals: {poisson: 60/s}}
  - {channel: sms, arrivals: {constant: 40/s}}
channels:
  email: {circuit_breaker: {resume_rate_max: 200/s}, provider: {latency: {exponential: {mean: 300ms}}}}
  sms: {provider: {latency: {lognormal: {median: 200ms, p99: 3s}}}, quota: {rate: 45/s}}
faults: [{channel: email, at: 20m, for: 5m, outage: true}]
expect:
  - delivery_time_s.p50 <= 300ms
  - delivery_time_s.p99 <= 5m
  - delivery_time_s.p99_9 <= 320s
  - channels.sms.delivery_time_s.p95 <= 1s
  - delivered_within(1m) >= 95%
  - sent_fraction == 1
"""


MORE = [name for name in SMALL if name != "never-and-nothing"]


class Said(NamedTuple):
    """What one view says of an expectation."""

    holds: bool | None
    value: str
    """With up to six digits, without its unit; or a word where there is none."""


def shown(text: str) -> str:
    """Return a value without its unit: ``181.402 s (3.02 min)`` is 181.402."""
    found = re.match(r"≈?-?[\d.,]+(e-\d+)?", text)
    return found[0] if found else text.partition(":")[0].replace("–", "nothing")


def in_a_terminal(text: str, expectations: list[str]) -> dict[str, Said]:
    words, marks = " ".join(text.split()), {"holds": True, "FAILS": False, "undecided": None}
    found = {}
    for each in expectations:
        line = re.search(rf"(holds|FAILS|undecided) {re.escape(' '.join(each.split()))} is (.+?)(?=$|;| |$)", words)
        assert line is not None, each
        found[each] = Said(marks[line[1]], shown(line[2]))
    return found


def on_a_page(text: str) -> dict[str, Said]:
    cells = r'<span class="state \w+">(\w+)</span></td>\s*<th[^>]*><code>(.*?)</code>.*?data-label="is">(.*?)</td>'
    marks = {"holds": True, "fails": False, "undecided": None}
    rows = (map(html.unescape, row) for row in re.findall(cells, text, re.DOTALL))
    return {name: Said(marks[state], shown(value)) for state, name, value in rows}


def in_studio(text: str, file: Path) -> dict[str, Said]:
    lines: list[Any] = []
    Worker(lines.append, lambda: False).do({"do": "run", "text": text, "filename": str(file), "anyway": True})
    (done,) = [line for line in lines if line["type"] == "done"]
    item = r'<span class="state \w+">([\w ]+)</span><code>(.*?)</code><span class="quiet">is (.*?)</span>'
    marks = {"holds": True, "breaks": False, "undecided by one run": None}
    rows = [list(map(html.unescape, row)) for row in re.findall(item, done["list"])]
    found = {name: Said(marks[state], shown(value)) for state, name, value in rows}
    assert [found[html.unescape(name)].holds for name in re.findall(r"<code>(.*?)</code>", lines[0]["list"])] == done[
        "holds"
    ]
    return found


def in_pytest(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, file: Path
) -> Iterator[tuple[str, bool | None, str]]:
    """Yield each expectation with its verdict, and where it fails what is said of it."""
    monkeypatch.setattr(
        simulation.testing.scenario_items, "run", lambda *args, invariants, **how: plain_run(*args, **how)
    )  # what is checked on the way is no part of this, and takes three times as long
    reports = pytester.inline_run("-p", "no:cacheprovider", str(file)).getreports("pytest_runtest_logreport")
    for report in reports:
        name = report.nodeid.partition("::")[2]
        if report.when == "call" and name != "runs":
            yield name, {"passed": True, "failed": False, "skipped": None}[report.outcome], report.longreprtext


def plain(summary: dict[str, Any]) -> dict[str, Any]:
    """Return a summary without its digest, which stands for the history and not for its numbers."""
    return {key: value for key, value in summary.items() if key != "digest"}


def compare(file: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare what all views say of one file. Four runs of it."""
    with monkeypatch.context() as patch:
        patch.setenv("COLUMNS", "400")
        out = pytester.path / "out"
        done = in_process.retrylab("run", str(file), "--set", "record=full", "--out", str(out), cwd=pytester.path)
    kept = json.loads((out / "summary.json").read_text())
    expectations = [each["text"] for each in kept["expectations"]]
    found = in_a_terminal(done.stdout, expectations)
    assert {name: said.holds for name, said in found.items()} == {
        each["text"]: each["holds"] for each in kept["expectations"]
    }
    assert on_a_page((out / "report.html").read_text(encoding="utf-8")) == found
    small = in_process.retrylab("run", str(file), "--set", "record=aggregates", "--json", cwd=pytester.path)
    assert plain(json.loads(small.stdout)) == plain(kept)
    assert (done.returncode, small.returncode) == (
        (0, 0) if all(each.holds is not False for each in found.values()) else (1, 1)
    )
    assert in_studio(file.read_text(encoding="utf-8"), file) == found
    tests = list(in_pytest(pytester, monkeypatch, file))
    assert sorted({name for name, *_ in tests}) == sorted(set(expectations))
    for name, holds, text in tests:
        assert holds == found[name].holds, name
        if not holds and holds is not None:
            (value,) = re.findall(r"^is +(.*)$", text, re.MULTILINE)
            assert shown(value) == found[name].value


@pytest.mark.parametrize("name", ["never-and-nothing", *(pytest.param(each, marks=pytest.mark.slow) for each in MORE)])
def test_all_say_the_same_of_a_small_run(name, pytester, monkeypatch):
    file = pytester.path / f"{name}.yaml"
    file.write_text(f"name: {name}\nseed: 3\nduration: 100s\ndrain: 10m\n{SMALL[name].lstrip()}")
    compare(file, pytester, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_all_say_the_same_of_what_ships(file, pytester, monkeypatch):
    compare(file, pytester, monkeypatch)


@pytest.mark.slow
def test_all_say_the_same_of_482_500_notifications(pytester, monkeypatch):
    file = pytester.path / "large.yaml"
    file.write_text(LARGE)
    compare(file, pytester, monkeypatch)
