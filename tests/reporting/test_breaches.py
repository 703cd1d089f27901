"""Where an expectation broke is where the rows say so, and nothing is said of one that holds."""

import textwrap
from functools import cache

import numpy as np
import pytest
from matplotlib.patches import StepPatch

import simulation
from simulation.reporting.html import report
from simulation.reporting.html.happenings import broken, happenings
from simulation.reporting.plots import overview
from simulation.reporting.plots.bounds import bounds_of
from simulation.reporting.plots.breaches import breach_of
from simulation.scenario import parse

TEXT = """
    name: broken in many ways
    seed: 9
    duration: 4m
    workload:
      - {channel: email, arrivals: {constant: 2/s}}
      - {channel: sms, arrivals: {constant: 1/s}}
    channels:
      email:
        retry: {max_attempts: 2, initial_delay: 1s, jitter: none}
        circuit_breaker: {failure_threshold: 3, timeout: 20s}
        provider: {latency: 100ms}
      sms: {retry: {max_attempts: 1}, provider: {latency: 50ms}, circuit_breaker: {enabled: false}}
    faults:
      - {channel: email, at: 1m, for: 1m, outage: true}
      - {channel: sms, at: 2m, for: 10s, permanent_rate: 100%}
    expect:
      - channels.sms.dead_lettered <= 4
      - channels.email.delivery_time_s.p50 <= 1ms
      - channels.email.delivered_within(10s) >= 99%
      - channels.sms.sent_fraction >= 99%
      - dlq.peak <= 2
      - breaker.email.opened <= 1
      - breaker.email.open_s <= 30s
      - channels.email.peaks.requests_per_s <= 2
      - channels.email.retry_amplification <= 1
      - channels.sms.dead_lettered >= 1000
      - sent_fraction >= 1%
"""


@cache
def result():
    return simulation.run(parse(textwrap.dedent(TEXT), "a.yaml"))


def breach(text):
    (number,) = (place for place, each in enumerate(result().scenario.expect) if each.text == text)
    assert result().summary["expectations"][number]["holds"] is (text == "sent_fraction >= 1%")
    return breach_of(result(), number)


def test_a_count_breaks_with_the_first_that_is_too_many():
    letters = result().dlq[result().dlq["channel"] == "sms"]
    found = breach("channels.sms.dead_lettered <= 4")
    assert found.spans == ((letters["time_s"].iloc[4], result().summary["simulated_s"]),)
    assert found.ids == tuple(letters["id"].iloc[4:9])
    assert found.text.startswith("the 5th dead letter came at ")


def test_late_deliveries_break_it_in_the_steps_in_which_those_were_accepted():
    rows = result().notifications
    in_time = (rows["outcome"] == "sent") & ((rows["finished_at_s"] - rows["waited_since_s"]).round(9) <= 10.0)
    late = rows[(rows["channel"] == "email") & ~in_time]
    found = breach("channels.email.delivered_within(10s) >= 99%")
    assert found.text.startswith(f"{len(late)} of ")
    assert set(found.ids) <= set(late["id"])
    assert len(found.ids) == 5
    assert found.at_s in set(late["waited_since_s"])
    for start_s, stop_s in found.spans:
        assert late["waited_since_s"].between(start_s, stop_s).any()
    covered = sum(late["waited_since_s"].between(start_s, stop_s).sum() for start_s, stop_s in found.spans)
    assert covered >= len(late)


def test_a_few_here_and_there_do_not_break_it_beside_an_outage():
    text = """
    seed: 3
    duration: 4m
    workload: [{channel: sms, arrivals: {poisson: 10/s}}]
    channels: {sms: {provider: {latency: 50ms}, circuit_breaker: {enabled: false}}}
    faults:
      - {channel: sms, at: 0s, for: 4m, permanent_rate: 1%}
      - {channel: sms, at: 2m, for: 20s, permanent_rate: 100%}
    expect: [sent_fraction >= 95%]
    """
    run = simulation.run(parse(textwrap.dedent(text), "a.yaml"))
    lost = run.notifications.query("outcome != 'sent'")["waited_since_s"]
    found = breach_of(run, 0)
    assert lost.min() < 60 < 180 < lost.max()
    assert 118 < found.spans[0][0] < found.at_s < 140 <= found.spans[-1][1] < 150


def test_a_median_that_all_exceed_breaks_it_all_the_time():
    found = breach("channels.email.delivery_time_s.p50 <= 1ms")
    assert sum(stop_s - start_s for start_s, stop_s in found.spans) > 0.9 * 240


def test_what_was_never_sent_breaks_a_share():
    never = result().notifications.query("channel == 'sms' and outcome != 'sent'")
    found = breach("channels.sms.sent_fraction >= 99%")
    assert set(found.ids) <= set(never["id"])
    assert found.spans[0][0] <= never["waited_since_s"].min()
    assert found.spans[-1][1] >= never["waited_since_s"].max()


def test_levels_and_rates_break_when_they_are_too_high():
    letters = result().dlq
    assert breach("dlq.peak <= 2").spans[0][0] == letters["time_s"].sort_values().iloc[2]
    attempts = result().attempts.query("channel == 'email' and not refused")
    counts = attempts["start_s"].astype(int).value_counts()
    busy = breach("channels.email.peaks.requests_per_s <= 2")
    assert sum(stop_s - start_s for start_s, stop_s in busy.spans) == (counts > 2).sum() > 0
    assert breach("channels.email.retry_amplification <= 1").spans


def test_breakers_break_it_with_the_opening_and_the_second_that_are_too_many():
    opened = result().breaker.query("to == 'open'")["time_s"]
    assert breach("breaker.email.opened <= 1").spans[0][0] == opened.iloc[1]
    (span,) = breach("breaker.email.open_s <= 30s").spans
    assert opened.iloc[0] + 30.0 <= span[0] + 1e-9


@pytest.mark.parametrize("text", ["channels.sms.dead_lettered >= 1000", "sent_fraction >= 1%"])
def test_what_holds_or_came_too_rarely_broke_nowhere(text):
    assert breach(text) is None


def test_the_overview_has_a_bar_where_it_broke_in_the_panel_it_is_about():
    (panel,) = (axes for axes in overview(result()).axes if axes.get_label() == "times email")
    bars = [patch for patch in panel.patches if str(patch.get_label()).endswith(": broke")]
    spans = breach("channels.email.delivered_within(10s) >= 99%").spans
    within = [patch for patch in bars if patch.get_label().startswith("within")]
    assert [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in within] == list(spans)
    sent = result().summary["channels"]["email"]["delivered_within"]["10s"]
    assert any(f"✗ within(10 s) {100 * sent:.4g}%, wanted ≥ 99%" in text.get_text() for text in panel.texts)


def test_happenings_are_in_order_and_say_when_it_broke():
    found = happenings(result(), broken(result()))
    assert [each.at_ns for each in found] == sorted(each.at_ns for each in found)
    texts = [each.text for each in found]
    assert any(text.startswith("email: outage: begins") for text in texts)
    assert sum(text.startswith("Expectation ") for text in texts) == 9
    assert any(text.startswith("Breaker email opens: ") for text in texts)


PROVIDERS = """
    duration: 4m
    seed: 2
    workload: [{channel: email, arrivals: {poisson: 20/s}}]
    channels: {email: {failover: {backup: {quota: {rate: 15/s}}}, circuit_breaker: {timeout: 30s}}}
    faults:
      - {channel: email, provider: primary, at: 1m, for: 1m, outage: true}
      - {channel: all, at: 150s, crash: process}
    expect:
      - channels.email.providers.primary.peaks.requests_per_s <= 20
      - channels.email.providers.backup.peaks.requests_per_s <= 10
      - channels.email.providers.backup.attempts <= 100
      - channels.email.peaks.requests_per_s <= 25
"""


@cache
def two_providers():
    return simulation.run(parse(textwrap.dedent(PROVIDERS), "a.yaml"))


def test_what_is_said_of_a_provider_is_its_own():
    run = two_providers()
    for number in (0, 1, 3):
        found = breach_of(run, number)
        assert found.text.endswith(f": {run.summary['expectations'][number]['value']:,}")
    rows = run.attempts[run.attempts["provider"] == "backup"]
    found = breach_of(run, 2)
    assert found.spans[0][0] == np.sort(rows["start_s"])[100]
    assert set(found.ids) <= set(rows["id"])


def test_the_bound_of_a_provider_stands_beside_the_curve_of_that_provider():
    run = two_providers()
    axes = next(axes for axes in overview(run).axes if axes.get_label().startswith("rates"))
    curves = {patch.get_label(): patch.get_data().values for patch in axes.patches if isinstance(patch, StepPatch)}
    assert {name: values.max() for name, values in curves.items() if name.startswith("busiest")} == {
        f"busiest second{of}": run.summary["expectations"][number]["value"]
        for of, number in ((" of primary", 0), (" of backup", 1), ("", 3))
    }
    written = [text.get_text() for text in axes.texts]
    assert sum("requests_per_s of backup" in text for text in written) == 1
    assert axes.get_yticks()[-1] >= max(values.max() for values in curves.values())


def test_a_count_of_a_part_of_the_run_is_no_height_of_the_level():
    text = TEXT.partition("expect:")[0] + "expect: [{from: 2m, that: [dead_lettered <= 4]}, dead_lettered <= 5]\n"
    run = simulation.run(parse(textwrap.dedent(text), "a.yaml"))
    windowed, whole = bounds_of(run)
    assert (windowed.value, whole.value) == (0.0, 5.0)


def test_what_is_accepted_at_the_end_of_a_window_is_not_in_it():
    window = "{from: 30s, to: 40s, that: [delivered_within(1ms) >= 100%, attempts <= 19]}"
    text = TEXT.partition("expect:")[0] + f"expect: [{window}]\n"
    run = simulation.run(parse(textwrap.dedent(text.replace("{channel: sms, arr", "{channel: sms, at: 1m, arr")), "a"))
    assert run.summary["expectations"][1]["value"] == 20
    assert breach_of(run, 0).text.startswith("20 of 20 requests not delivered within 1 ms")
    assert len(breach_of(run, 1).ids) == 1


@pytest.mark.parametrize(("expected", "says"), [("delivered_within(1ms) >= 100%", False), ("dlq.peak <= 0", True)])
def test_a_report_speaks_of_red_bars_where_a_panel_has_one(expected, says):
    run = simulation.run(parse(textwrap.dedent(TEXT.partition("expect:")[0] + f"expect: [{expected}]\n"), "a.yaml"))
    labels = [str(patch.get_label()) for axes in overview(run).axes for patch in axes.patches]
    assert any(label.endswith(": broke") for label in labels) is says
    assert ("The red bars" in report(run)) is says
