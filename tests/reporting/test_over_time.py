"""The plots over the time of a run show its numbers, and the windows in which something was out of the ordinary."""

import itertools
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from effort import sliced
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from plot_samples import result_of

import simulation
from actors.errors import ConfigurationError, WrongType
from actors.formatting import instant_text
from actors.messages import NotificationChannel
from simulation.reporting import plots
from simulation.reporting.fault_windows import windows
from simulation.reporting.plots import over_time as drawn_over_time
from simulation.reporting.plots.delivery_over_time import course_of, draw_course, requests_in, scale_of
from simulation.reporting.plots.findings import quantile
from simulation.reporting.plots.panels import count_axis
from simulation.reporting.plots.source import parts
from simulation.reporting.plots.tripping import counted_by
from simulation.results.waiting import in_flight_most, waiting_of
from simulation.scenario import parse


def line(ax, label):
    (found,) = (one for one in ax.lines if one.get_label() == label)
    return np.array(found.get_data())


def steps(ax, label):
    (found,) = (one for one in ax.patches if isinstance(one, StepPatch) and one.get_label() == label)
    return found.get_data()


def width_of(series):
    return series["time_s"][1] - series["time_s"][0]


@pytest.mark.parametrize("name", sliced(["outage", "providers", "aggregates"], 6))
def test_throughput_is_the_counts_by_the_second(name):
    result = result_of(name)
    ax, width_s = plots.throughput(result), width_of(result.series)
    for label, column in (("arrivals", "arrivals"), ("delivered", "sent"), ("failed attempts", "failed")):
        values, edges, _ = steps(ax, label)
        np.testing.assert_allclose(values * width_s, result.series[column])
        np.testing.assert_allclose(edges[:-1], result.series["time_s"])
    assert ax.get_xlim() == (0, result.summary["simulated_s"])


@pytest.mark.parametrize(
    ("plot", "column"),
    sliced([(plots.in_flight, "in_flight"), (plots.dlq_growth, "dlq_size")], 4),
    ids=["in flight", "dlq"],
)
@pytest.mark.parametrize("name", ["outage", "lost", "milliseconds"])
def test_a_level_is_that_at_the_ends_of_the_steps_and_of_the_run(plot, column, name):
    result = result_of(name)
    times, values = line(plot(result), column)
    assert list(values) == [0, *result.series[column]]
    ends = result.series["time_s"] + width_of(result.series)
    np.testing.assert_allclose(times, [0, *ends.clip(upper=result.summary["simulated_s"])])
    key = {"in_flight": result.summary["in_flight"], "dlq_size": result.summary["dlq"]["final"]}
    assert values[-1] == key[column]


def test_titles_say_what_is_found():
    result = result_of("outage")
    peak = result.series["dlq_size"].max()
    assert plots.dlq_growth(result_of("nothing")).get_title("left") == "Never any dead letters"
    assert plots.dlq_growth(result).get_title("left").startswith(f"At most {peak:,} dead letters, at ")
    sent, came = result.series["sent"].sum(), result.series["arrivals"].sum()
    assert plots.throughput(result).get_title("left").startswith(f"{sent:,} of {came:,} delivered, ")


def test_the_title_has_the_most_in_flight_at_any_instant():
    for result in map(result_of, ("outage", "lost")):
        most, _ = in_flight_most(result.notifications, result.dlq)
        assert plots.in_flight(result).get_title("left").startswith(f"At most {most:,} in flight, at ")


def test_what_was_refused_was_not_delivered():
    down = "faults: [{channel: sms, at: 2s, crash: process, restart_after: 3s}]"
    workload = "workload: [{channel: sms, arrivals: {constant: 1/s}}, {channel: push, arrivals: {constant: 2/s}}]"
    result = simulation.run(parse(f"duration: 10s\n{workload}\n{down}"))
    assert plots.throughput(result).get_title("left").startswith("21 of 30 delivered")
    assert legend(plots.throughput(result))[:2] == ["accepted", "delivered"]
    assert "accepted" in [str(patch.get_label()) for axes in plots.overview(result).axes for patch in axes.patches]
    for by in ("channel", "entry"):
        titles = [each.get_title("left") for each in plots.throughput(result, by=by).child_axes]
        assert sorted(titles) == ["push: 14 of 20 delivered", "sms: 7 of 10 delivered"]


def test_what_is_not_wanted_or_goes_on_to_another_channel_is_not_offered_and_all_the_rest_was_delivered():
    text = """
        duration: 40s
        workload: [{channel: push, arrivals: {constant: 2/s}, users: 50}]
        channels: {push: {fallback: {channel: sms}, retry: {max_attempts: 1}, provider: {failure_rate: 30%}}}
        preferences: [{share: 20%, channel: push, enabled: false}]
    """
    run = simulation.run(parse(textwrap.dedent(text), "a.yaml"))
    channels = run.summary["channels"]
    assert run.summary["unwanted"] > 0
    assert channels["push"]["handed_on"] > 0
    titles = [each.get_title("left").partition(", ")[0] for each in plots.throughput(run, by="channel").child_axes]
    assert sorted(titles) == [f"{name}: all {channels[name]['offered']} delivered" for name in ("push", "sms")]


def test_where_most_are_in_flight_is_a_share_of_them_and_only_all_is_100_per_cent():
    run = simulation.run(Path("scenarios/hedged-tail.yaml"), sets=["duration=30s", "expect=[]"])
    most, at_s = in_flight_most(run.notifications, run.dlq)
    asked = run.attempts[(run.attempts["start_s"] <= at_s) & (run.attempts["end_s"] > at_s)]
    said = f"Up to {most}, at {instant_text(at_s)}, {100 * len(asked) // most}% at the provider"
    assert plots.waiting(run).get_title("left").startswith(said)


def test_amplification_is_the_ratio_of_attempts_to_first_ones_whatever_the_cells(monkeypatch):
    result = result_of("outage")
    ax = plots.amplification(result)
    times, ratio = line(ax, "attempts for each first one")
    monkeypatch.setattr(drawn_over_time, "CELLS", 977)
    times_of_others, others = line(plots.amplification(result), "attempts for each first one")
    known = np.isfinite(np.interp(times, times_of_others, others))
    np.testing.assert_allclose(np.interp(times, times_of_others, others)[known], ratio[known], atol=0.12)
    assert np.nanmin(ratio) >= 1 - 1e-9 or np.nanmax(ratio) > 1
    assert f"whole run: ×{result.summary['retry_amplification']:.3g}" in legend(ax)


def test_where_all_is_tried_equally_often_amplification_is_that_everywhere():
    starts = np.repeat(np.arange(0.0, 100.0, 0.25), 3)
    rows = pd.DataFrame({"id": [f"n{each}" for each in starts], "start_s": starts, "attempt": 1})
    _, ratio = line(plots.amplification(rows), "attempts for each first one")
    np.testing.assert_allclose(ratio[np.isfinite(ratio)], 3.0)


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_time_of_retries_alone_has_no_ratio_but_a_mark():
    ax = plots.amplification(
        pd.DataFrame({"id": ["a", "a", "b", "b"], "start_s": [0.0, 50.0, 100.0, 100.0], "attempt": [1, 2, 1, 2]})
    )
    times, ratio = line(ax, "attempts for each first one")
    known = ~np.isnan(ratio)
    assert set(ratio[known & (times < 50)]) == {1.0}
    assert set(ratio[known & (times > 50)]) == {2.0}
    (marks,) = (one for one in ax.lines if one.get_label() == "retries only")
    np.testing.assert_allclose(marks.get_xdata(), [50], atol=1)
    assert ax.get_title("left") == "Retry amplification ×2 over the whole run, retries only first at 0:50"


def test_without_attempts_amplification_counts_what_ended_against_arrivals_and_says_so():
    result = result_of("aggregates")
    ax = plots.amplification(result)
    _, ratio = line(ax, "attempts for each arrival")
    ended = (result.series["sent"] + result.series["failed"]).sum()
    assert f"whole run: ×{ended / result.series['arrivals'].sum():.3g}" in legend(ax)
    assert 1 < np.nanmax(ratio) < 4


# ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["outage", "all kinds of waits"])
@pytest.mark.parametrize("by", ["channel", "entry", "priority"])
def test_the_series_of_parts_add_up_to_that_of_the_whole(name, by):
    result = result_of(name)
    found = [part.frame for part in parts(result, "series", "time_s", by=by)]
    columns = ["arrivals", "sent", "failed", "dead_lettered", "suppressed", "in_flight", "dlq_size"]
    pd.testing.assert_frame_equal(sum(frame[columns] for frame in found), result.series[columns])


@pytest.mark.parametrize("name", ["outage", "all kinds of waits", "lost"])
def test_the_time_in_each_place_is_that_in_flight(name):
    result = result_of(name)
    edges = np.linspace(0.0, result.summary["simulated_s"], 40)
    tables = (result.notifications, result.attempts, result.deferrals, result.dlq)
    levels = waiting_of(*tables, edges)
    assert levels.min() > -1e-6
    spent = (levels.sum(axis=0) * np.diff(edges)).sum()
    rows = result.notifications
    took = (rows["finished_at_s"].fillna(edges[-1]) - rows["requested_at_s"]).sum()
    in_the_queue = (result.dlq["left_at_s"] - result.dlq["time_s"]).sum()  # of those that were redriven from there
    assert spent == pytest.approx(took - in_the_queue)
    asked = result.attempts[~result.attempts["refused"]]
    at_the_provider = (levels[0] * np.diff(edges)).sum()
    assert at_the_provider == pytest.approx((asked["end_s"] - asked["start_s"]).sum(), abs=1e-6)


@pytest.mark.parametrize(
    "kind", sliced(["throughput", "in_flight", "dlq_growth", "amplification", "delivery_over_time"], 10)
)
def test_parts_are_drawn_below_each_other_on_the_same_scale(kind):
    result, plot = result_of("outage"), getattr(plots, kind)
    ax = plot(result, by="channel")
    assert [panel.get_title("left").split(":")[0] for panel in ax.child_axes] == ["email", "push"]
    assert len({panel.get_ylim() for panel in ax.child_axes}) == 1
    alone = plot(result, channel="push")
    assert not alone.child_axes
    assert alone.get_title("left").startswith("push: ")


@pytest.mark.parametrize(
    ("name", "asked", "problem"),
    [
        ("outage", {"channel": "sms"}, r"channel: wanted a channel that the scenario uses \(email, push\), got 'sms'"),
        ("outage", {"entry": "orders"}, "entry: wanted an entry of its workload"),
        ("outage", {"by": "user"}, "by: wanted channel, entry, priority, got 'user'"),
    ],
)
def test_a_part_that_there_is_not_is_refused(name, asked, problem):
    with pytest.raises(ConfigurationError, match=problem):
        plots.throughput(result_of(name), **asked)


def test_parts_are_on_the_scale_of_the_one_that_has_a_burst():
    text = """
duration: 2m
workload:
  - {channel: email, arrivals: {burst: {size: 900, every: 2m}}}
  - {channel: sms, arrivals: {constant: 1/s}}
  - {channel: email, arrivals: {constant: 1/s}}
"""
    panels = plots.throughput(simulation.run(parse(text, "a.yaml")), by="channel").child_axes
    assert [panel.get_yscale() for panel in panels] == ["symlog", "symlog"]
    assert panels[0].get_ylim() == panels[1].get_ylim()
    assert list(panels[0].get_yticks()) == list(panels[1].get_yticks())
    assert all("logarithmic above" in panel.get_title(loc="left") for panel in panels)


def test_of_dead_letters_parts_without_any_are_left_out():
    result = result_of("outage")
    axes = plots.dlq_growth(result, by="channel")
    some = [name for name in result.scenario.channels_used if (result.dlq["channel"] == name).any()]
    titles = [panel.get_title(loc="left") for panel in (axes.child_axes or [axes])]
    assert [title.partition(":")[0] for title in titles] == [str(name) for name in some]


def test_of_aggregates_there_is_the_whole_alone():
    assert plots.throughput(result_of("aggregates"), by="channel").get_title("left").startswith("sms: ")
    two = "{duration: 1s, record: aggregates, workload: [{channel: sms, arrivals: {poisson: 1/s}}, {channel: push}]}"
    result = simulation.run(
        parse(two.replace("{channel: push}", "{channel: push, arrivals: {poisson: 1/s}}"), "a.yaml")
    )
    with pytest.raises(ConfigurationError, match="channel: wanted a run that kept its notifications"):
        plots.in_flight(result, by="channel")


def test_two_runs_below_each_other_have_the_same_scales():
    one, other = result_of("outage"), result_of("providers")
    figure = plots.compare({"with push": one, "with a backup": other})
    rows = [figure.axes[place : place + 2] for place in range(0, len(figure.axes), 2)]
    assert len(rows) == 4
    for above, below in rows:
        assert above.get_ylim() == below.get_ylim()
        assert above.get_xlim() == below.get_xlim() == (0, one.summary["simulated_s"])
        assert above.get_position().x0 == below.get_position().x0
    assert [axes.get_ylabel() for axes, _ in rows] == ["per second", "delivery time", "in flight", "dead letters"]
    titles = [axes.get_title("left") for axes in rows[0]]
    assert titles[0].startswith(f"with push: {one.series['sent'].sum():,} of ")
    assert titles[1].startswith("with a backup: ")


@pytest.mark.parametrize("given", [(), ("outage",)])
def test_other_than_two_are_not_compared(given):
    with pytest.raises(ConfigurationError, match="compare: wanted two results"):
        plots.compare({name: result_of(name) for name in given})


def test_a_plot_that_is_the_value_of_a_cell_is_shown():
    shown, about = plots.throughput(result_of("outage"))._repr_png_()
    assert shown.startswith(b"\x89PNG")
    assert "delivered" in about["alt"]


# ── delivery times ──────────────────────────────────────────────────────────────────────────────────────────────


def test_delivery_times_stand_where_those_were_accepted_that_took_them():
    result = result_of("outage")
    (email, _) = parts(result, "notifications", by="channel")
    requests = requests_in(email)
    course = course_of(requests, result.summary["simulated_s"])
    assert len(course.p50_s) > 5
    for (low, high), p50, p99 in zip(itertools.pairwise(course.edges_s), course.p50_s, course.p99_s, strict=True):
        times = requests.loc[(requests["requested_at_s"] >= low) & (requests["requested_at_s"] < high), "time_s"]
        finite = times.replace(np.inf, 1e9)
        for found, share in ((p50, 0.5), (p99, 0.99)):
            expected = np.quantile(finite, share)
            assert found == pytest.approx(expected) if expected < 1e6 else np.isinf(found)
    whole = result.summary["channels"]["email"]["delivery_time_s"]
    assert quantile(course.times_s, 0.5) == pytest.approx(whole["p50"])
    assert np.isinf(course.times_s).sum() == whole["never"]


def test_what_one_request_takes_without_copies_is_said_where_it_is_known_and_not_of_a_provider_that_asks_on():
    text = """
        duration: 20s
        workload: [{channel: sms, arrivals: {constant: 2/s}}]
        channels: {sms: {hedging: {delay: 1s}, provider: {latency: 50ms, upstream: {latency: 300ms}}}}
    """
    for upstream, said in (("", ["without copies: 99% within 50 ms"]), (", upstream: {latency: 300ms}", [])):
        run = simulation.run(parse(textwrap.dedent(text).replace(", upstream: {latency: 300ms}", upstream), "a.yaml"))
        for ax in (plots.delivery_over_time(run), *plots.overview(run).axes):
            words = [each.get_text() for each in ax.texts if "without copies" in each.get_text()]
            assert words == (said if ax.get_title("left").startswith(("Half", "Delivery time")) else [])
            assert not said or "Delivery time" not in ax.get_title("left") or "50 ms without" in ax.get_title("left")
            assert said or "without copies" not in ax.get_title("left")


def test_each_that_was_never_delivered_has_a_mark_at_its_acceptance():
    result = result_of("lost")
    ax = plots.delivery_over_time(result)
    marks, _ = line(ax, "never delivered")
    np.testing.assert_allclose(np.sort(marks), np.sort(result.notifications["waited_since_s"]))
    assert ax.get_title("left") == f"None of {len(marks)} delivered"
    assert "never" in [tick.get_text() for tick in ax.get_yticklabels()]


def course(accepted, times, end_s=600.0):
    return course_of(pd.DataFrame({"requested_at_s": accepted, "time_s": times}), end_s)


def test_a_few_deliveries_are_dots_and_no_quantiles():
    few = course(np.linspace(0, 590, 8), np.linspace(0.1, 20, 8))
    assert np.isnan(few.p50_s).all()
    assert few.is_single.all()
    burst = np.concatenate([np.linspace(0, 200, 10), np.linspace(300, 310, 2000)])
    found = course(burst, np.ones(len(burst)))
    assert found.is_single.sum() == 10
    known = np.diff(found.edges_s)[~np.isnan(found.p50_s)]
    assert known.max() < 12


@pytest.mark.parametrize("pause_s", [0.0, 240.0])
def test_no_delivery_time_is_drawn_before_the_first_is_accepted_nor_in_a_pause(pause_s):
    first = np.arange(60.0, 120.0, 0.1)
    accepted = np.concatenate([first, first + 60 + pause_s])
    found = course(accepted, np.full(len(accepted), 0.1), 500.0)
    for (start_s, stop_s), p50 in zip(itertools.pairwise(found.edges_s), found.p50_s, strict=True):
        if np.isfinite(p50):
            assert start_s >= 59
            assert stop_s <= 132 or start_s >= 110 + pause_s


def test_no_step_of_delivery_times_is_of_before_and_after_the_begin_or_the_end_of_a_fault():
    text = """
        duration: 10m
        workload: [{channel: sms, arrivals: {constant: 1/s}}]
        channels: {sms: {provider: {latency: 100ms}}}
        faults: [{channel: sms, at: 128s, for: 117s, outage: true}]
    """
    run = simulation.run(parse(textwrap.dedent(text), "a.yaml"))
    times = next(axes for axes in plots.overview(run).axes if axes.get_label() == "times")
    for ax in (plots.delivery_over_time(run), times):
        (drawn,) = (patch for patch in ax.patches if patch.get_label() == "99% within")
        values, edges, _ = drawn.get_data()
        assert {128.0, 245.0} <= set(edges)
        assert values[edges[:-1] < 128].max() < 1 < values[edges[:-1] >= 128][0]


def test_what_was_accepted_at_one_instant_is_wide_enough_to_be_seen():
    found = course(np.zeros(3000), np.linspace(1, 300, 3000), 360.0)
    assert len(found.p50_s) == 1
    assert found.edges_s[1] - found.edges_s[0] >= 360 / 150


@pytest.mark.parametrize("seed", range(3))
def test_a_rare_slow_delivery_makes_no_comb(seed):
    random = np.random.default_rng(seed)
    accepted = np.sort(random.uniform(0, 600, 6000))
    slow = random.uniform(size=6000) < 0.03
    found = course(accepted, np.where(slow, 20.0, 0.3))
    changes = np.diff(np.log(found.p99_s))
    assert (np.abs(changes) > 1).sum() <= 0.15 * len(changes)
    flapping = course(accepted, np.where((accepted // 20).astype(int) % 2, 20.0, 0.3))
    assert len(flapping.p50_s) >= 40  # every second of them is as slow as the other is not


def test_there_is_a_tick_as_high_as_the_data():
    ax = Figure().subplots()
    for highest in np.geomspace(0.01, 1e6, 200):
        for whole in (True, False):
            value = max(1.0, round(highest)) if whole else highest
            count_axis(ax, value, whole=whole)
            assert value <= max(ax.get_yticks()) <= ax.get_ylim()[1] <= 2.5 * value, value


@pytest.mark.parametrize("longest_s", [0.2, 3.0, 45.0, 250.0, 5000.0, 30_000.0])
def test_the_ticks_of_delivery_times_reach_the_data(longest_s):
    accepted = np.linspace(0, 600, 3000)
    times = np.where(accepted < 300, 0.1, longest_s)
    rows = pd.DataFrame({"requested_at_s": accepted, "time_s": times})
    ax = Figure(figsize=(8, 1.0)).subplots()
    draw_course(ax, course_of(rows, 600.0), scale_of([course_of(rows, 600.0)]))
    ticks = list(ax.get_yticks())
    assert ticks == sorted(ticks)
    assert longest_s / 3 <= ticks[-1] <= ax.get_ylim()[1]


# ── breakers ────────────────────────────────────────────────────────────────────────────────────────────────────


def bands(lanes, label):
    found = [one for one in lanes.collections if one.get_label() == label]
    return [
        (path.vertices[:, 0].min(), path.vertices[:, 0].max())
        for path in itertools.chain.from_iterable(one.get_paths() for one in found)
    ]


@pytest.mark.parametrize("name", sliced(["outage", "providers"], 6))
def test_the_bands_of_breakers_are_their_transitions_above_the_traffic(name):
    result = result_of(name)
    ax = plots.breaker_states(result)
    (lanes,) = ax.child_axes
    assert lanes.get_xlim() == ax.get_xlim()
    opened = 0
    for breaker, figures in result.summary["breaker"].items():
        spans = bands(lanes, f"{breaker}: open")
        opened += len(spans)
        assert sum(end - start for start, end in spans) == pytest.approx(figures["open_s"])
    assert opened == sum(figures["opened"] for figures in result.summary["breaker"].values()) > 3
    top_of_traffic = ax.transAxes.inverted().transform(ax.transData.transform((0, steps(ax, "delivered").values.max())))
    assert top_of_traffic[1] < lanes.get_position().y0 / ax.get_position().y1 + 0.05


def test_transitions_alone_are_bands_without_traffic():
    result = result_of("outage")
    ax = plots.breaker_states(result.breaker)
    (lanes,) = ax.child_axes
    assert [label.get_text() for label in lanes.get_yticklabels()] == ["email"]
    np.testing.assert_allclose(
        bands(lanes, "email: open"), bands(plots.breaker_states(result).child_axes[0], "email: open")
    )
    assert not any(isinstance(patch, StepPatch) for patch in ax.patches)


def test_no_transitions_are_said_to_be_none():
    assert [text.get_text() for text in plots.breaker_states(result_of("nothing").breaker).texts] == ["no transitions"]


@pytest.mark.parametrize(
    "breaker",
    sliced(
        [
            "{failure_threshold: 3, timeout: 20s}",
            "{window: {calls: 20}, failure_rate: 40%, minimum_calls: 10, timeout: 20s}",
            "{window: {time: 10s}, failure_rate: 40%, minimum_calls: 10, timeout: 20s}",
        ],
        6,
    ),
)
def test_whenever_a_closed_breaker_opens_what_it_counts_has_reached_its_threshold(breaker):
    text = f"""
        duration: 4m
        seed: 8
        workload: [{{channel: sms, arrivals: {{poisson: 4/s}}}}]
        channels: {{sms: {{provider: {{latency: 100ms}}, circuit_breaker: {breaker}}}}}
        faults: [{{channel: sms, at: 1m, for: 1m, failure_rate: 60%}}]
    """
    result = simulation.run(parse(textwrap.dedent(text), "a.yaml"))
    config = result.scenario.channel_config(NotificationChannel.SMS).circuit_breaker
    rows = result.attempts[~result.attempts["refused"]]
    closes = list(result.breaker.query("to == 'closed'")["time_s"])
    found = counted_by(config, rows.to_dict("records"), closes)
    opens = result.breaker[(result.breaker["to"] == "open") & (result.breaker["from"] == "closed")]["time_s"]
    assert len(opens) >= 1
    threshold = config.failure_threshold if config.window is None else config.failure_rate
    for at_s in opens:
        reached = [value for end_s, value in zip(found.at_s, found.failing, strict=True) if end_s == at_s]
        assert max(reached) >= threshold - 1e-9
    assert plots.breaker_causes(result).get_title("left").startswith("sms: opens ")


def test_of_a_breaker_for_each_host_it_is_that_which_opened_most_and_slots_stand_beside():
    text = """
        duration: 2m
        workload: [{channel: email, arrivals: {constant: 8/s}, hosts: 4}]
        channels:
          email:
            circuit_breaker: {per: host, failure_threshold: 5, timeout: 20s}
            max_in_flight: 4
            provider: {latency: 100ms}
        faults: [{channel: email, host: host-2.example, at: 30s, for: 1m, outage: true}]
    """
    result = simulation.run(parse(textwrap.dedent(text), "a.yaml"))
    ax = plots.breaker_causes(result)
    opens = result.breaker.query("host == 'host-2.example' and to == 'open'")
    assert ax.get_title("left").startswith("email at host-2.example (of 4): opens ")
    assert f"opens {len(opens)} times" in " ".join(ax.get_title("left").split())
    _, in_a_row = line(ax, "failures in a row")  # of all hosts together five in a row would never come
    assert np.nanmax(in_a_row) >= 1
    _, in_use = line(ax, "slots in use")
    assert min(in_use) == 0
    assert 0 < max(in_use) <= 1


def test_at_several_nodes_a_breaker_is_said_to_open_at_each_and_nothing_is_counted_for_all_of_them():
    text = """
        duration: 2m
        nodes: 2
        workload: [{channel: email, arrivals: {constant: 4/s}}]
        faults: [{channel: email, at: 30s, for: 30s, outage: true}]
    """
    result = simulation.run(parse(textwrap.dedent(text), "a.yaml"))
    opened = result.summary["breaker"]["email"]["opened"]
    assert result.summary["breaker"]["email@2"]["opened"] < opened
    ax = plots.breaker_causes(result)
    assert ax.get_title("left").startswith(f"email: opens {opened} times, first at 0:3")
    assert ax.get_title("left").endswith("at 2 nodes")
    assert not [each for each in ax.lines if each.get_label() == "failures in a row"]
    lanes = plots.breaker_states(result, channel="email").child_axes[0]
    assert [label.get_text() for label in lanes.get_yticklabels()] == ["email@1", "email@2"]


# ── windows ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("plot", sliced([plots.throughput, plots.in_flight, plots.dlq_growth, plots.raster], 6))
def test_windows_are_shaded_and_labelled_and_no_data_is_behind_their_labels(plot):
    result = result_of("outage")
    ax = plot(result)
    end_s = result.summary["simulated_s"]
    found = windows(result.scenario, end_s)
    assert len(found) == 4
    for window in found:
        shades = [
            (patch.get_x(), patch.get_x() + patch.get_width())
            for patch in ax.patches
            if isinstance(patch, Rectangle) and patch.get_label() == window.text
        ]
        whole = window.spans[0][0] == 0 and window.spans[0][1] == end_s
        assert shades == ([] if whole else list(window.spans))
        (bars,) = (one for one in ax.collections if one.get_label() == f"{window.text}: span")
        assert isinstance(bars, LineCollection)
        assert [(path.vertices[0, 0], path.vertices[1, 0]) for path in bars.get_paths()] == list(window.spans)
        assert window.text in [text.get_text() for text in ax.texts]
    lowest = min(text.get_position()[1] for text in ax.texts)
    tops = [0.0]
    for one in ax.lines:
        if one.get_label() in ("in_flight", "dlq_size"):
            tops += [ax.transLimits.transform((0, max(one.get_ydata())))[1]]
    highest = [one.get_data().values.max() for one in ax.patches if isinstance(one, StepPatch)]
    tops += [ax.transLimits.transform((0, top))[1] for top in highest]
    assert max(tops) < lowest


def test_more_windows_than_there_are_lines_for_are_counted():
    from simulation.reporting.fault_windows import Window
    from simulation.reporting.plots.shading import LANES_MAX, labels_of

    found = [Window("x" * 60, ((float(place), float(place) + 1),)) for place in range(7)]
    labels, left_out = labels_of(found, 100.0, 6.0)
    assert (len(labels), left_out) == (LANES_MAX, 3)
    beside = [Window(str(place), ((place * 10.0, place * 10.0 + 1),)) for place in range(7)]
    assert [label.lane for label in labels_of(beside, 100.0, 6.0)[0]] == [0] * 7


# ── what is taken ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("plot", sliced([plots.throughput, plots.in_flight, plots.dlq_growth], 6))
def test_a_frame_has_the_same_series_as_its_result(plot):
    result = result_of("outage")
    of_result, of_frame = plot(result), plot(result.series)
    assert of_frame.get_xlim()[1] == pytest.approx(of_result.get_xlim()[1], abs=width_of(result.series))
    for one, other in zip(of_frame.patches, of_result.patches, strict=False):
        if isinstance(one, StepPatch):
            np.testing.assert_array_equal(one.get_data().values, other.get_data().values)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (7, "wanted a result or its frame `series`, got int"),
        (pd.DataFrame({"time_s": [0.0]}), "arrivals, sent, failed missing, got time_s"),
        (pd.DataFrame(), "time_s, arrivals, sent, failed missing, got none"),
    ],
)
def test_what_is_no_result_is_refused(source, problem):
    with pytest.raises(WrongType, match=problem):
        plots.throughput(source)


def test_the_amplification_of_the_whole_run_lies_on_the_axis_also_where_no_step_comes_near_it():
    text = """
        name: two
        duration: 1s
        workload: [{channel: email, arrivals: {constant: 2/s}}]
        channels: {email: {retry: {max_attempts: 4, initial_delay: 30s}}}
        faults: [{channel: email, outage: true}]
    """
    result = simulation.run(parse(textwrap.dedent(text), "two.yaml"))
    drawn = plots.amplification(result)
    assert result.summary["retry_amplification"] == 4
    assert drawn.get_ylim()[1] > 4


@pytest.mark.parametrize(("value", "holds"), [(4, True), (1.05, False)])
def test_what_is_expected_of_the_amplification_is_drawn_where_it_applies_and_where_it_broke(value, holds):
    text = """
duration: 60s
workload: [{channel: email, arrivals: {constant: 5/s}}]
channels: {email: {retry: {max_attempts: 4, initial_delay: 1s}, circuit_breaker: {failure_threshold: 1000}}}
faults: [{channel: email, at: 20s, for: 10s, failure_rate: 95%}]
expect: ["retry_amplification BOUND"]
""".replace("BOUND", f"<= {value}")
    ax = plots.amplification(simulation.run(parse(text, "a.yaml")))
    (line_of_bound,) = (each for each in ax.get_lines() if str(each.get_label()).endswith(f", wanted ≤ {value:g}"))
    assert set(line_of_bound.get_ydata()) == {value}
    assert ax.get_ylim()[1] > value
    broke = [each for each in ax.patches if str(each.get_label()).endswith(": broke")]
    assert bool(broke) is not holds
    assert all(19 <= each.get_x() <= 40 for each in broke)
