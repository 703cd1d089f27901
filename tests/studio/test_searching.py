"""A search from the page is that of `retrylab tune`, and its result can be put into the text."""

import math
import re

import pytest

import simulation
from actors.errors import ConfigurationError, RunCancelled
from simulation.studio import searching
from simulation.studio.rendering import rendered
from simulation.studio.searching import search
from simulation.studio.worker import Worker

TEXT = """\
name: short
seed: 3
duration: 20s   # short
workload:
  - {channel: email, arrivals: {constant: 5/s}}
channels:
  email:
    retry: {max_attempts: 1, initial_delay: 0.3s}   # one
    provider: {latency: {constant: 50ms}}
faults:
  - {channel: email, at: 5s, for: 5s, failure_rate: 50%}
expect:
  - dead_lettered == 0
"""


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(searching, "TRIALS", 6)
    monkeypatch.setattr(searching, "REPLICATES", 2)
    monkeypatch.setattr(searching, "PROBABILITY", 0.5)
    monkeypatch.setattr(searching, "CONFIDENCE", 0.5)


def searched(text, metric="attempts", channel="email"):
    told = []
    search(text, "x.yaml", metric, channel, told.append, lambda: False)
    return told


def test_what_is_found_meets_the_expectations_and_is_in_the_text():
    *progress, last = searched(TEXT)
    assert [each["done"] for each in progress] == sorted(each["done"] for each in progress)
    assert {each["result"] for each in progress} == {None}
    assert float(progress[-1]["best"]) >= 99  # that many arrive, and each takes an attempt
    result = last["result"]
    assert result["is_found"]
    assert result["held"] >= result["runs"] / 2
    changed = {row["path"]: row["now"] for row in last["rows"]}
    assert int(changed["channels.email.retry.max_attempts"]) > 1
    found, before = (simulation.parse(text) for text in (last["tuned"], TEXT))
    assert last["tuned"].count("# short") == last["tuned"].count("# one") == 1
    assert found.channels.email.retry.max_attempts == int(changed["channels.email.retry.max_attempts"])
    assert found.faults == before.faults
    assert simulation.run(found).summary["expectations"][0]["holds"]


@pytest.mark.thorough
def test_the_best_so_far_is_there_when_it_is_stopped():
    told = []
    with pytest.raises(RunCancelled):
        search(TEXT, "x.yaml", "attempts", "email", told.append, lambda: bool(told and told[-1]["rows"]))
    *before, last = told
    assert all(each["tuned"] is None for each in before)
    assert last["result"] is None
    changed = {row["path"]: row["now"] for row in last["rows"]}
    found = simulation.parse(last["tuned"])
    assert found.channels.email.retry.max_attempts == int(changed["channels.email.retry.max_attempts"]) > 1
    page = rendered("search.html", **last)
    assert page.count("data-put") == 1
    assert re.search(r"the best so far has: attempts [\d.]+, not confirmed", page)


@pytest.mark.thorough
def test_settings_that_cannot_be_bettered_stay():
    *_, last = searched(TEXT.replace("failure_rate: 50%", "failure_rate: 0%"))
    assert (last["result"]["is_found"], last["rows"], last["tuned"]) == (True, [], None)


@pytest.mark.thorough
def test_what_is_better_by_less_than_a_hundredth_is_not_offered():
    text = TEXT.replace("failure_rate: 50%", "failure_rate: 5%").replace("dead_lettered == 0", "dead_lettered < 10")
    *progress, last = searched(text, "delivery_time_s.p50")
    assert (last["result"]["gains_little"], last["rows"], last["tuned"]) == (False, [], None)
    page = rendered("search.html", **last)
    assert "Nothing better was found: the settings stay as they are." in page
    assert "data-put" not in page
    assert not any(each["rows"] for each in progress)


@pytest.mark.parametrize(
    ("was", "now", "little"),
    [
        (100.0, 99.1, True), (100.0, 98.9, False), (0.0, 0.0, True), (1.0, 2.0, True),
        (math.inf, 5.0, False), (math.inf, math.inf, True), (None, 1.0, False), (1.0, None, False),
    ],
)  # fmt: skip
def test_from_which_gain_on_settings_are_worth_a_change(was, now, little):
    assert searching._gains_little(was, now) is little


def test_what_cannot_be_met_is_said():
    text = TEXT.replace("dead_lettered == 0", "sent <= 5")
    *_, last = searched(text)
    assert not last["result"]["is_found"]
    assert last["result"]["held"] == 0
    page = rendered("search.html", **last)
    assert f"Nothing was turned but: {', '.join(last['turned'])}." in page
    assert {"Retry: attempts", "Breaker: first resume rate"} <= {*last["turned"]}


def test_what_no_setting_can_meet_is_said_with_the_arithmetic_and_is_not_searched():
    text = TEXT.replace("failure_rate: 50%", "outage: true")
    text = text.replace("dead_lettered == 0", "delivered_within(1s) >= 99%")
    lines = []
    asked = {"do": "search", "text": text, "filename": "x.yaml", "metric": "dead_lettered", "channel": "email"}
    Worker(lines.append, lambda: False).do(asked)
    [[problem]] = [line["problems"] for line in lines]
    assert "no setting can meet that: 20% arrive in the first 4 s of the outage of email" in problem["text"]


def test_bad_metrics_and_channels_are_refused():
    for metric, channel in (("nothing", "email"), ("attempts", "sms"), ("attempts", "")):
        with pytest.raises(ConfigurationError):
            searched(TEXT, metric, channel)


def test_a_search_is_cancelled_between_two_runs():
    told = []
    with pytest.raises(RunCancelled):
        search(TEXT, "x.yaml", "attempts", "email", told.append, lambda: len(told) == 3)
    assert len(told) == 3


@pytest.mark.thorough
def test_a_worker_tells_it_in_words():
    lines = []
    asked = {"do": "search", "text": TEXT, "filename": "x.yaml", "metric": "dead_lettered", "channel": "email"}
    Worker(lines.append, lambda: False).do(asked)
    assert {line["type"] for line in lines} == {"search"}
    assert re.search(r"\d+ of about \d+ runs are done", lines[1]["html"])
    assert "runs that the search had not seen" in lines[-1]["html"]
    assert ("data-put" in lines[-1]["html"]) == (lines[-1]["tuned"] is not None)
