"""What a notebook shows of results, comparisons, sweeps and scenarios: their main numbers, and nothing as markup."""

import pytest
from selectolax.lexbor import LexborHTMLParser

import simulation
from simulation.results.formatting import metric_text
from simulation.scenario import parse

TEXT = """
name: <b>bold</b> & co
duration: 20s
workload:
  - {channel: sms, arrivals: {constant: 3/s}}
  - {channel: push, arrivals: {constant: 1/s}}
faults: [{channel: sms, at: 5s, for: 5s, outage: true}]
expect: [sent_fraction >= 50%]
"""


def cells(html):
    tree = LexborHTMLParser(html)
    assert tree.css_first("b").text()
    assert not tree.css("b b")
    return [[cell.text() for cell in row.css("td")] for row in tree.css("tbody tr")], tree


@pytest.fixture(scope="module")
def result():
    return simulation.run(parse(TEXT, "a.yaml"))


@pytest.mark.usefixtures("undrawn")
def test_a_result_is_a_row_for_each_channel_and_one_for_all(result, tmp_path):
    rows, tree = cells(result._repr_html_())
    assert [row[0] for row in rows] == ["60", "20", "80"]
    assert "✓ sent_fraction >= 50%" in tree.text()
    assert "<b>bold</b> & co" in tree.text()
    simulation.save(result, tmp_path)
    assert cells(simulation.open_result(tmp_path)._repr_html_())[0] == rows


def test_a_scenario_says_what_happens_in_it(result):
    rows, _ = cells(result.scenario._repr_html_())
    assert [each for row in rows for each in row][1:4] == ["sms, push", "sms, push", "outage"]


def test_a_comparison_and_a_sweep_have_a_value_for_each_setting(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(TEXT)
    vary = {"channels.sms.retry.max_attempts": ["1", "3"]}
    compared = simulation.compare(path, vary, replicates=2, metrics=["sent", "delivery_time_s.p99"])
    rows, _ = cells(compared._repr_html_())
    assert len(rows) == 6  # of each metric its name, and both settings
    assert rows[1][0] == f"{compared.over_runs['sent'][0].mean:g}"
    assert "±" in rows[2][2]
    quantile = compared.over_runs["delivery_time_s.p99"][0].median
    assert rows[4][0] == metric_text(quantile, compared.figure("delivery_time_s.p99"))
    swept = simulation.sweep(path, vary, replicates=2)
    rows, tree = cells(swept._repr_html_())
    assert [cell.text() for cell in tree.css("thead th")][1:3] == ["sent_fraction", "requests"]
    assert len(rows) == 2


@pytest.mark.thorough
def test_a_scenario_that_was_parsed_is_compared_swept_and_tuned_as_its_file_is(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(TEXT)
    parsed, vary = parse(TEXT, "a.yaml"), {"channels.sms.retry.max_attempts": ["1", "3"]}
    one, other = (simulation.compare(each, vary, replicates=2, metrics=["sent"]) for each in (path, parsed))
    assert one.values == other.values
    one, other = (simulation.sweep(each, vary, replicates=2) for each in (path, parsed))
    assert list(one.runs["digest"]) == list(other.runs["digest"])
    assert other.path is None
    one, other = (simulation.tune(each, vary, minimize=["attempts"], replicates=2) for each in (path, parsed))
    assert [each.setting.label for each in one.found] == [each.setting.label for each in other.found]
    rows, _ = cells(other._repr_html_())
    assert all("runs" in row[0] for row in rows)


def test_a_fit_is_a_row_for_each_setting_with_its_interval(result):
    fitted = simulation.fit(result.attempts, resamples=0)
    rows, tree = cells(fitted._repr_html_())
    assert {row.css_first("th").text() for row in tree.css("tbody tr")} == {"sms", "push"}
    assert {"latency", "failure_rate"} <= {row[0] for row in rows}
    assert all(row[2].startswith("[") for row in rows if row[0] == "failure_rate")
