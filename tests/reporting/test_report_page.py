"""The report as a document: complete in itself, well formed, and nothing in it that comes from others is markup."""

import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import in_process
import pytest
from effort import sliced
from report_pages import (
    AGGREGATES,
    CRASH,
    FAILS,
    MILLISECONDS,
    NASTY,
    NOTHING,
    OUTAGE,
    PROVIDERS,
    QUIET_HOURS,
    RUNS,
    Page,
    nasty_page,
    page_of,
    result_of,
    words_of,
)

import simulation
from actors.outcomes import Permanent
from simulation.reporting.facts import facts
from simulation.reporting.html.tables import ROWS_MAX
from simulation.reporting.html.words import LONG
from simulation.scenario import parse
from simulation.scenario.writing import write

ROOT = Path(__file__).parents[2]
KINDS = {**RUNS, "nasty": None}
REFERS = ("aria-labelledby", "aria-describedby")


def page(kind):
    return nasty_page() if kind == "nasty" else page_of(KINDS[kind])


@pytest.mark.parametrize("kind", sliced(KINDS, 12))
def test_a_page_is_complete_in_itself_and_well_formed(kind):
    read = page(kind)
    assert_nothing_is_fetched_or_run(read)
    assert_ids_are_unique_and_meant(read)
    assert_figures_have_text_alternatives(read)
    assert_readers_find_their_way(read)
    assert len(read.source) < 850_000


def test_it_says_what_happened_to_whom_as_the_terminal_does():
    said = [node.text() for node in words_of(CRASH).html.css("ul.said li")]
    assert said == facts(result_of(CRASH))
    assert "as the process was down or died" in " ".join(said)


def assert_nothing_is_fetched_or_run(read):
    assert not read.html.css("script, iframe, object, embed, base, form, audio, video, source, template, frame")
    policy = read.html.css_first("meta[http-equiv=Content-Security-Policy]").attributes["content"]
    assert policy.startswith("default-src 'none';")
    assert "script-src" not in policy
    for node in read.html.css("*"):
        for name, value in node.attributes.items():
            value = value or ""
            assert not name.startswith("on"), f"{node.tag} has {name}"
            if name in ("src", "href", "xlink:href", "srcset", "poster", "action", "data"):
                assert value.startswith(("#", "data:")), f"{node.tag} refers to {value}"
            for address in re.findall(r"url\(([^)]*)\)", value):
                assert address.startswith("#"), f"{node.tag} refers to {address}"
    css = "".join(node.text() for node in read.html.css("style"))
    assert "url(" not in css
    assert "@import" not in css
    assert len(read.html.css("style")) == 1


def assert_ids_are_unique_and_meant(read):
    ids = [node.attributes["id"] for node in read.html.css("[id]")]
    assert len(set(ids)) == len(ids)
    meant = []
    for node in read.html.css("*"):
        for name, value in node.attributes.items():
            value = value or ""
            if name in REFERS:
                meant += value.split()
            elif name == "href" and value.startswith("#"):
                meant.append(value[1:])
            meant += re.findall(r"url\(#([^)]*)\)", value)
    assert set(meant) <= set(ids), set(meant) - set(ids)


def assert_figures_have_text_alternatives(read):
    by_id = {node.attributes["id"]: node for node in read.html.css("[id]")}
    figures = [node for node in read.html.css("svg") if node.attributes.get("aria-hidden") != "true"]
    assert figures
    for node in figures:
        assert node.attributes["role"] == "img"
        said = [by_id[each] for name in REFERS for each in (node.attributes.get(name) or "").split()]
        assert len(said) >= 1
        assert all(each.text().strip() for each in said)
        # Words alone do not say what a figure shows, but where nothing happened there is no number.
        text = " ".join(each.text() for each in said)
        assert re.search(r"\d", text) or re.search(r"\b(No|no|nothing|Nothing|empty)\b", text), text


def assert_readers_find_their_way(read):
    assert read.html.css_first("html").attributes["lang"] == "en"
    assert read.html.css_first("title").text().strip()
    levels = [int(node.tag[1]) for node in read.html.css("h1, h2, h3, h4, h5, h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    assert len(read.html.css("main")) == 1
    for table in read.html.css("table"):
        assert table.css_first("caption").text().strip()
        assert all(node.attributes["scope"] in ("col", "row") for node in table.css("th"))
        for row in table.css("tbody tr"):
            assert len(row.css("th[scope=row]")) == 1
        columns = len(table.css("thead th"))
        assert all(len(row.css("th, td")) == columns for row in table.css("tbody tr"))
    for region in read.html.css("[role=region]"):
        assert region.attributes.get("aria-label") or region.attributes.get("aria-labelledby")
        assert region.attributes["tabindex"] == "0"


def test_what_a_file_or_a_provider_says_is_text():
    read = page("nasty")
    name = " ".join(NASTY.split())
    assert read.text("h1") == name
    assert read.text(".description").startswith(name)
    assert any(cell == f"{name} again" for row in read.rows("Outcomes of attempts") for cell in row)
    assert any(row[0] == name for row in read.rows("Dead letters by reason"))
    assert any(text.startswith(f"Dead-lettered: {name}") for text in read.texts(".timeline .what"))
    assert f"550 {name}" in read.texts(".timeline pre")
    assert "evil.example" not in "".join(str(node.attributes) for node in read.html.css("*"))


@pytest.mark.thorough
def test_long_reasons_are_shortened_where_there_are_many():
    reasons = [f"no such user {number}: {'x' * 500}" for number in range(40)]
    rules = {"sms": [lambda *_: Permanent(reason=reasons.pop()) if reasons else None]}
    read = Page(simulation.report(simulation.run(parse(OUTAGE), rules=rules)))
    rows = read.rows("Dead letters by reason")
    assert len(rows) == ROWS_MAX
    assert all(len(row[0]) <= LONG + 1 for row in rows)
    titles = [node.attributes["title"] for node in read.html.css("tbody th [title]")]
    assert any(len(title) > 500 for title in titles)
    assert "rows more." in read.text("#numbers")
    assert_ids_are_unique_and_meant(read)


def test_a_run_that_fails_says_so_in_words_and_shapes():
    holds, fails = words_of(OUTAGE), words_of(FAILS)
    assert (holds.text(".result h2"), fails.text(".result h2")) == ("✓ Holds", "✗ Fails")
    assert holds.text(".result p") == "All 3 expectations hold."
    assert fails.text(".result p") == "2 of 4 expectations do not hold."
    assert (holds.text("head > title")[0], fails.text("head > title")[0]) == ("✓", "✗")
    assert not holds.html.css(".failing")
    rows = fails.rows("Expectations")
    assert [row[0] for row in rows] == ["fails", "fails", "holds", "holds"]
    summary = result_of(FAILS).summary
    text, value, wanted, off = rows[0][1:]
    assert (text, value, wanted) == ("dead_lettered <= 1", str(summary["dead_lettered"]), "at most 1")
    assert off.startswith(f"{summary['dead_lettered'] - 1} over, ")


def test_a_statistic_over_nothing_fails_and_is_no_number():
    read = words_of(NOTHING)
    failing = read.rows("Expectations")[0]
    assert failing[0] == "fails"
    assert "there was nothing to measure" in failing[2]
    assert "None" not in read.text()
    assert "nan" not in read.text().split()


def test_tables_have_the_figures_of_the_summary():
    result, read = result_of(OUTAGE), words_of(OUTAGE)
    rows = {row[0]: row for row in read.rows("Channels")}
    assert list(rows) == ["email", "sms", "push", "all"]
    for channel, figures in [*result.summary["channels"].items(), ("all", result.summary)]:
        assert rows[channel][1:3] == [f"{figures['accepted']:,}", f"{figures['sent']:,}"]
    [email, *_] = read.rows("Circuit breakers")
    assert email[:2] == ["email", f"{result.summary['breaker']['email']['opened']} times"]
    outcomes = read.rows("Outcomes of attempts")
    assert sum(int(row[3].replace(",", "")) for row in outcomes) == result.summary["attempts"]
    reasons = read.rows("Dead letters by reason")
    assert sum(int(row[2].replace(",", "")) for row in reasons) == len(result.dlq)


PER_HOST = """
duration: 2m
workload: [{channel: webhook, arrivals: {poisson: 10/s}, hosts: 20}, {channel: sms, arrivals: {poisson: 10/s}}]
channels: {webhook: {circuit_breaker: {per: host}}, sms: {}}
faults: [{channel: all, outage: true, at: 10s, for: 1m}]
"""


@pytest.mark.thorough
def test_breakers_of_hosts_are_counted_together_and_are_no_share_of_the_run():
    result, read = result_of(PER_HOST), words_of(PER_HOST)
    assert result.summary["breaker"]["webhook"]["open_s"] > result.summary["simulated_s"]
    shares = {row[0]: row[3] for row in read.rows("Circuit breakers")}
    assert shares["webhook"] == "–"
    assert shares["sms"].endswith("%")
    assert "webhook: one for each host, which are counted together." in read.text()
    assert "one for each host" not in words_of(OUTAGE).text()
    read = words_of(f"nodes: 3\n{PER_HOST}")
    assert {row[3] for row in read.rows("Circuit breakers") if "@" not in row[0]} == {"–"}
    assert "sms, webhook: one for each node, which are counted together." in read.text()


def test_several_providers_have_a_table_and_lifelines_of_their_own():
    read, figures = words_of(PROVIDERS), result_of(PROVIDERS).summary["channels"]["email"]["providers"]
    rows = read.rows("Providers")
    assert [(row[0], int(row[1].replace(",", ""))) for row in rows] == [
        (f"email: {name}", provider["attempts"]) for name, provider in figures.items()
    ]
    lifelines = [node.text() for node in read.html.css(".sequence .part")]
    assert "primary" in lifelines
    assert "provider" not in lifelines


def test_of_a_run_that_keeps_no_rows_it_is_said_that_there_are_none_and_why():
    read = page_of(AGGREGATES)
    assert not read.html.css(".notification")
    assert "record: aggregates" in read.text("#worst")
    assert "aggregates only" in read.text("#numbers")
    assert "no curve of delivery times" in read.text("#course")
    counts = [row[:7] for row in read.rows("Channels")]
    assert counts == [row[:7] for row in words_of(OUTAGE).rows("Channels")]


def test_nothing_at_all_is_a_report_too():
    read = page_of(NOTHING)
    assert "nothing was accepted" in read.text("#worst")
    assert "No attempt was made." in read.text("#numbers")


def test_the_scenario_is_there_as_it_was_run_and_folded_away():
    scenario = parse(OUTAGE.replace("max_attempts: 3", "max_attempts: 7").replace("seed: 4", "seed: 99"))
    read = words_of(write(scenario))
    details = read.html.css_first("#scenario details")
    assert "open" not in details.attributes
    again = parse(details.css_first("pre").text())
    assert again == scenario
    assert (again.seed, again.channels.email.retry.max_attempts) == (99, 7)


@pytest.mark.thorough
def test_what_the_linter_finds_is_there_with_its_place(tmp_path):
    file = tmp_path / "outage.yaml"
    file.write_text(OUTAGE)
    sets = ["channels.sms.timeout=1ms", "channels.sms.provider.latency=1s"]
    result = simulation.run(file, sets=sets)
    [warning, *_] = Page(simulation.report(result)).texts(".note code")
    assert warning.startswith("--set channels.sms.timeout: 1ms is shorter")
    assert page_of(OUTAGE).html.css_first(".note") is None


@pytest.mark.thorough
def test_the_command_on_the_page_gives_the_same_run(tmp_path):
    file = tmp_path / "an outage; rm -rf.yaml"
    file.write_text(OUTAGE)
    change = "faults=[{channel: email, at: 30s, for: 20s, outage: true}]"
    result = simulation.run(file, seed=5, sets=[change, "duration=2m"], invariants="all")
    read = Page(simulation.report(result))
    command, _ = read.texts("#again pre")
    words = shlex.split(command)
    assert words == ["retrylab", "run", str(file), "--seed", "5", "--set", change, "--set", "duration=2m", "--check"]
    done = in_process.retrylab(*words[1:], "--json", cwd=ROOT)
    assert done.returncode == 0
    assert f'"digest": "{result.summary["digest"]}"' in done.stdout
    assert read.texts("#again .facts .id") == [result.summary["digest"]]
    space = {}
    exec(read.html.css("#again pre")[1].text(), space)
    assert space["result"].summary["digest"] == result.summary["digest"]


def test_what_was_given_in_python_is_no_command():
    read = page("nasty")
    assert "rules in Python" in read.text("#again")
    [call] = read.texts("#again pre")
    assert "rules=rules" in call


@pytest.mark.thorough
@pytest.mark.integration
def test_the_same_run_has_the_same_page_in_another_process_too(tmp_path):
    file = tmp_path / "outage.yaml"
    file.write_text(FAILS)
    program = f"import sys, simulation; sys.stdout.write(simulation.report(simulation.run({str(file)!r})))"
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    )
    assert done.stdout.decode() == simulation.report(simulation.run(file))


@pytest.mark.thorough
def test_reading_it_does_not_change_the_overview_that_it_was_given(tmp_path):
    from simulation.reporting.plots import overview

    result = result_of(MILLISECONDS)
    figure = overview(result)
    figure.savefig(tmp_path / "before.png")
    simulation.report(result, overview=figure)
    figure.savefig(tmp_path / "after.png")
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()


@pytest.mark.thorough
def test_of_a_large_run_no_more_is_drawn_than_can_be_seen():
    scenario = parse(OUTAGE, sets=["workload.0.arrivals.poisson=20/s", "workload.1.arrivals.constant=20/s"])
    result = simulation.run(scenario)
    assert result.summary["accepted"] > 12_000
    assert len(simulation.report(result)) < 2 * len(page_of(OUTAGE).source)


@pytest.mark.parametrize(
    "text", sliced([CRASH, QUIET_HOURS, MILLISECONDS], 6), ids=["crash", "quiet hours", "milliseconds"]
)
def test_what_did_not_end_is_among_the_worst(text):
    result, read = result_of(text), words_of(text)
    left = result.summary["in_flight"]
    assert any("in flight" in why for why in read.texts(".notification > p")) == bool(left)
