"""What defaults that a file does not name did, from the same run: in the summary, and wherever a run is shown."""

import json
from pathlib import Path

import in_process
import pytest
from beside import tables
from effort import sliced
from undrawn import undrawn

import simulation
from actors.messages import DeferralCause, NotificationDeferred
from simulation.reporting.facts import facts
from simulation.reporting.markdown import RunFacts, markdown
from simulation.scenario import parse
from simulation.studio.worker import Worker

TEXT = """\
name: unnamed
duration: 3m
workload: [{channel: email, arrivals: {constant: 10/s}}]
channels:
  email: {retry: {max_attempts: 5, initial_delay: 2s}, timeout: 2s, provider: {latency: {constant: 100ms}}}
faults: [{channel: email, at: 1m, for: 1m, outage: true}]
expect: [sent_fraction >= 99%]
"""
BREAKER = "channels.email.circuit_breaker"
SAID = "email's circuit breaker, which the file does not name (default: 5 failures in a row open it, for 60s), opened "


def defaults(text: str, **how) -> list[dict]:
    return simulation.run(parse(text, **how)).summary["defaults"]


@pytest.mark.parametrize("record", sliced(["full", "aggregates"], 2))
@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_a_breaker_that_is_not_in_the_file_says_what_it_kept_back(record, runtime):
    result = simulation.run(parse(TEXT, sets=[f"record={record}"]), runtime=runtime)
    figures = result.summary["breaker"]["email"]
    (found,) = result.summary["defaults"]
    assert result.holds
    assert found["setting"] == BREAKER
    assert found["counts"] == {"opened": figures["opened"], "kept_back": result.summary["deferred"], "refused": 0}
    assert found["counts"]["opened"] == 1
    assert found["text"] == f"{SAID}once and kept notifications back {result.summary['deferred']:,} times"
    if record == "full":
        kept = [event for event in result.history if type(event) is NotificationDeferred]
        assert {event.cause for event in kept} == {DeferralCause.CIRCUIT_BREAKER}


def test_the_same_breaker_by_name_has_the_same_history_and_is_not_told_of():
    whole = simulation.run(parse(TEXT))
    named = simulation.run(parse(TEXT, sets=[f"{BREAKER}={{failure_threshold: 5}}"]))
    assert named.summary["digest"] == whole.summary["digest"]
    assert named.summary["defaults"] == []
    without = simulation.run(parse(TEXT, sets=[f"{BREAKER}={{enabled: false}}"]))
    assert not without.holds  # all hold by the default alone
    assert without.summary["defaults"] == []


@pytest.mark.parametrize(("changes", "setting", "counts", "text"), tables(__file__)["told"])
def test_each_default_that_decides_is_told_of(changes, setting, counts, text):
    written = TEXT
    for before, after in changes.items():
        assert before in written
        written = written.replace(before, after)
    summary = simulation.run(parse(written)).summary
    found = {each["setting"]: each for each in summary["defaults"]}[setting]
    assert found["counts"].keys() == counts.keys()
    same = {
        "dead_lettered": summary["dead_lettered"],
        "in_flight": summary["in_flight"],
        "opened": sum(each["opened"] for name, each in summary["breaker"].items()),
        "deferred": summary["deferred"],
        "peaks": summary["peaks"]["waiting"]["slots"],
        "none": 0,
    }
    for name, of in counts.items():
        assert found["counts"][name] == same.get(of, found["counts"][name])
    assert max(found["counts"].values()) > 0
    assert found["text"] == text.format(**found["counts"])


def test_of_several_providers_those_with_a_breaker_of_their_own_are_not_told_of():
    lane = "failover: {backup: {circuit_breaker: {failure_threshold: 2}, provider: {failure_rate: 100%}}}"
    (found,) = defaults(TEXT.replace("timeout: 2s", f"timeout: 2s, {lane}"))
    result = simulation.run(parse(TEXT.replace("timeout: 2s", f"timeout: 2s, {lane}"))).summary
    assert found["counts"]["opened"] == result["breaker"]["email"]["opened"]
    assert result["breaker"]["email/backup"]["opened"] > 0


def test_nothing_is_told_where_nothing_goes_wrong():
    assert defaults(TEXT.replace("outage: true", "latency_factor: 2")) == []


def test_it_is_said_wherever_a_run_is_shown(tmp_path: Path):
    (tmp_path / "unnamed.yaml").write_text(TEXT, encoding="utf-8")
    result = simulation.run(tmp_path / "unnamed.yaml")
    (text,) = [each["text"] for each in result.summary["defaults"]]
    assert facts(result)[-1] == text
    shown = in_process.retrylab("run", "unnamed.yaml", cwd=tmp_path)
    assert shown.returncode == 0
    assert text in " ".join(shown.stdout.split())
    document = json.loads(in_process.retrylab("run", "unnamed.yaml", "--json", cwd=tmp_path).stdout)
    assert document["defaults"] == result.summary["defaults"]
    assert f"- {text}" in markdown([RunFacts.of(result, "again")], [], 1)
    with undrawn(words=True):
        simulation.save(result, tmp_path / "saved")
    assert simulation.open_result(tmp_path / "saved").summary["defaults"] == result.summary["defaults"]
    assert text.replace("'", "&#39;") in (tmp_path / "saved" / "report.html").read_text(encoding="utf-8")
    told: list[dict] = []
    Worker(told.append, lambda: False).do({"do": "run", "text": TEXT, "filename": str(tmp_path / "unnamed.yaml")})
    for kind in ("done", "breaches"):
        (page,) = [each["list"] for each in told if each["type"] == kind]
        assert text.replace("'", "&#39;") in page
