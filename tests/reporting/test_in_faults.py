"""Titles say what is found in the fault; lines of expectations have ticks where they fail, and texts hide nothing."""

import re
import textwrap
from functools import cache

import numpy as np
import pytest
from matplotlib.figure import Figure

import simulation
from simulation.reporting import plots
from simulation.reporting.plots.bounds import bounds_of
from simulation.reporting.plots.findings import quantile_text
from simulation.reporting.plots.naming import name_line
from simulation.scenario import parse

TEXT = """
    duration: 6m
    seed: 3
    workload: [{channel: email, arrivals: {poisson: 4/s}}, {channel: sms, arrivals: {poisson: 4/s}}]
    channels:
      email: {circuit_breaker: {failure_threshold: 3, timeout: 10s}}
      sms: {circuit_breaker: {enabled: false}, retry: {max_attempts: 2, initial_delay: 1s}}
    faults: [{channel: all, at: 2m, for: 1m, outage: true}]
    expect:
      - channels.email.delivery_time_s.p99 <= 5s
      - channels.email.delivery_time_s.p50 >= 1ms
      - channels.sms.delivered_within(2s) >= 10%
      - channels.sms.delivered_within(3s) <= 99%
      - channels.sms.dead_lettered == 7
"""


@cache
def result():
    return simulation.run(parse(textwrap.dedent(TEXT), "a.yaml"))


@cache
def titles():
    return {axes.get_label(): axes.get_title(loc="left") for axes in plots.overview(result()).axes}


def times_of(channel):
    rows = result().requests
    rows = rows[(rows["channel"] == channel) & rows["waited_since_s"].between(120.0, 180.0, inclusive="left")]
    return rows["time_s"].to_numpy()


@pytest.mark.thorough
def test_the_title_of_delivery_times_is_about_the_fault_and_what_came_in_it():
    half, most = (quantile_text(times_of("email"), share) for share in (0.5, 0.99))
    assert titles()["times email"] == f"Delivery time, email: in A half within {half}, 99% {most}"
    never = int(np.isinf(times_of("sms")).sum())
    assert titles()["times sms"].startswith(f"Delivery time, sms: in A {never} of {len(times_of('sms'))} never")
    (panel,) = (axes for axes in plots.overview(result()).axes if axes.get_label() == "times email")
    assert any("whole run: half" in text.get_text() for text in panel.texts)


def test_a_plot_without_letters_calls_it_the_fault():
    assert plots.delivery_over_time(result(), channel="email").get_title(loc="left").startswith("email: in the fault")


def test_what_is_not_over_with_the_fault_is_said_to_be_so_after_it():
    text = textwrap.dedent(TEXT).replace("duration: 6m", "duration: 4m\ndrain: 0s").partition("expect:")[0]
    text = text.replace("timeout: 10s", "timeout: 100s")
    stuck = simulation.run(parse(text, "a.yaml"))
    assert "; after it " in plots.delivery_over_time(stuck, channel="email").get_title(loc="left")


def test_breakers_open_so_far_into_the_fault():
    opened = result().breaker["time_s"].iloc[0]
    assert titles()["breakers"].startswith("Breakers: email opens ")
    assert titles()["breakers"].endswith("into A")
    assert 120 <= opened < 122


def test_survival_curves_are_compared_where_they_differ_most():
    by_channel = {name: rows["time_s"].to_numpy() for name, rows in result().requests.groupby("channel")}
    never = {name: np.isinf(np.quantile(times, 0.99, method="higher")) for name, times in by_channel.items()}
    assert never == {"email": False, "sms": True}
    assert plots.delivery_times(result()).get_title(loc="left").startswith("Delivery time of 99%: ")
    alone = plots.delivery_times({"a": result().notifications.iloc[:300], "b": result().notifications.iloc[:300]})
    assert alone.get_title(loc="left").startswith("Delivery time of 99%: ")  # equal ones


@pytest.mark.parametrize(("number", "side"), [(0, "above"), (1, "below"), (2, "above"), (3, "below"), (4, "")])
def test_an_expectation_has_its_ticks_on_the_side_on_which_it_fails(number, side):
    assert bounds_of(result())[number].fails == side


def test_its_text_has_the_value_and_the_wanted_one():
    wanted = bounds_of(result())
    share = result().summary["channels"]["sms"]["delivered_within"]["2s"]
    assert wanted[2].text == f"within(2 s) {100 * share:.4g}%, wanted ≥ 10%"
    assert wanted[0].text.startswith("p99 ")
    assert wanted[0].text.endswith(" s, wanted ≤ 5s") or " min, wanted ≤ 5s" in wanted[0].text


def axes_with(curve):
    axes = Figure(figsize=(8, 2)).add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 10)
    axes.stairs(curve, np.linspace(0, 100, len(curve) + 1), baseline=None)
    return axes


def box_of(axes):
    box = axes.texts[-1].get_window_extent().transformed(axes.transData.inverted())
    return box.x0, box.x1, box.y0, box.y1


def test_a_text_goes_where_no_curve_is():
    axes = axes_with([5.5] * 60 + [1.0] * 40 + [5.5] * 100)  # at the line but in the second third of the left half
    name_line(axes, "wanted", 5.0, "black")
    left, right, low, high = box_of(axes)
    assert high <= 5.0 or low >= 5.0
    assert high <= 5.0 or (left >= 30 and right <= 50)


def test_texts_at_one_line_do_not_lie_on_each_other():
    axes = axes_with([1.0])
    boxes = []
    for _ in range(4):
        name_line(axes, "an expectation of some length", 5.0, "black")
        boxes.append(box_of(axes))
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            assert one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]


def test_a_text_stays_within_the_time_that_its_line_is_about():
    axes = axes_with([1.0])
    name_line(axes, "wanted", 5.0, "black", span=(20.0, 50.0))
    left, right, _, _ = box_of(axes)
    assert left >= 20
    assert right <= 50


def test_a_breaker_opens_in_the_fault_that_did_it():
    text = """
        duration: 6m
        workload: [{channel: push, arrivals: {poisson: 5/s}}, {channel: sms, arrivals: {poisson: 5/s}}]
        faults:
          - {channel: push, dead_destination_rate: 1%}
          - {channel: sms, at: 115s, for: 1m, latency_factor: 2}
          - {channel: push, at: 2m, for: 1m, outage: true}
    """
    run = simulation.run(parse(textwrap.dedent(text), "a.yaml"))
    figure = plots.overview(run)
    (panel,) = (axes for axes in figure.axes if axes.get_label() == "breakers")
    assert re.search(r"^Breakers: push opens first, [\d.]+ m?s into C;", panel.get_title(loc="left"))
    assert sum("into C, " in text.get_text() for text in panel.texts) == 1
    alone = plots.breaker_states(run).get_title(loc="left")
    assert "into the fault at 2:00" in alone


def test_what_a_fault_did_before_another_began_within_it_is_not_the_work_of_that():
    text = """
        duration: 8m
        nodes: 3
        workload: [{channel: email, arrivals: {poisson: 10/s}}]
        faults:
          - {channel: email, at: 2m, for: 4m, outage: true}
          - {at: 150s, deploy: {every: 15s, each_down: 5s}}
    """
    run = simulation.run(parse(textwrap.dedent(text), "a.yaml"))
    (panel,) = (axes for axes in plots.overview(run).axes if axes.get_label() == "times")
    assert panel.get_title(loc="left").startswith("Delivery time: in A half within")
