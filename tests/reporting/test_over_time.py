"""The plots over the time of a run show its numbers, and the windows in which something was out of the ordinary."""

import itertools
import textwrap

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle, StepPatch
from plot_samples import result_of

import simulation
from actors.errors import WrongType
from simulation.reporting import plots
from simulation.reporting.fault_windows import windows
from simulation.scenario import parse


def line(ax, label):
    (found,) = (one for one in ax.lines if one.get_label() == label)
    return np.array(found.get_data())


def steps(ax, label):
    (found,) = (one for one in ax.patches if isinstance(one, StepPatch) and one.get_label() == label)
    return found.get_data()


def width_of(series):
    return series["time"][1] - series["time"][0]


@pytest.mark.parametrize("name", ["outage", "providers", "aggregates"])
def test_throughput_is_the_counts_by_the_second(name):
    result = result_of(name)
    ax, width_s = plots.throughput(result), width_of(result.series)
    for label, column in (("arrivals", "arrivals"), ("delivered", "sent"), ("failed attempts", "failed")):
        values, edges, _ = steps(ax, label)
        np.testing.assert_allclose(values * width_s, result.series[column])
        np.testing.assert_allclose(edges[:-1], result.series["time"])
    assert ax.get_xlim() == (0, result.summary["simulated_s"])


@pytest.mark.parametrize(
    ("plot", "column"), [(plots.in_flight, "in_flight"), (plots.dlq_growth, "dlq_size")], ids=["in flight", "dlq"]
)
@pytest.mark.parametrize("name", ["outage", "lost", "milliseconds"])
def test_a_level_is_that_at_the_ends_of_the_steps_and_of_the_run(plot, column, name):
    result = result_of(name)
    times, values = line(plot(result), column)
    assert list(values) == [0, *result.series[column]]
    ends = result.series["time"] + width_of(result.series)
    np.testing.assert_allclose(times, [0, *ends.clip(upper=result.summary["simulated_s"])])
    key = {"in_flight": result.summary["in_flight"], "dlq_size": result.summary["dlq"]["final"]}
    assert values[-1] == key[column]


def test_an_empty_dead_letter_queue_is_called_so():
    assert plots.dlq_growth(result_of("nothing")).get_title("left") == "Dead letter queue: empty all the time"
    assert plots.dlq_growth(result_of("outage")).get_title("left") == "Dead letter queue"


def test_amplification_is_attempts_over_first_attempts_in_each_step():
    result = result_of("outage")
    ax = plots.amplification(result)
    values, edges, _ = steps(ax, "attempts for each first one")
    attempts = result.attempts
    firsts = set(attempts.sort_values("start").groupby("id").head(1).index)
    seen_both = 0
    for (low, high), value in zip(itertools.pairwise(edges), values, strict=True):
        within = attempts[(attempts["start"] >= low) & (attempts["start"] < high)]
        first = sum(index in firsts for index in within.index)
        if first:
            assert value == pytest.approx(len(within) / first)
            seen_both += value > 1
        else:
            assert np.isnan(value)
    assert seen_both > 3
    assert f"whole run: ×{result.summary['retry_amplification']:.3g}" in legend(ax)


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_step_of_retries_alone_has_no_ratio_but_a_mark():
    ax = plots.amplification(
        pd.DataFrame({"id": ["a", "a", "b", "b"], "start": [0.0, 50.0, 100.0, 100.0], "attempt": [1, 2, 1, 2]})
    )
    values, edges, _ = steps(ax, "attempts for each first one")
    known = [(float(edges[place]), value) for place, value in enumerate(values) if not np.isnan(value)]
    np.testing.assert_allclose(known, [(0, 1), (100, 2)], atol=1)
    (marks,) = (one for one in ax.lines if one.get_label() == "retries only")
    np.testing.assert_allclose(marks.get_xdata(), [50], atol=1)


def test_without_attempts_amplification_counts_what_ended_against_arrivals_and_says_so():
    result = result_of("aggregates")
    ax = plots.amplification(result)
    values, edges, _ = steps(ax, "attempts for each arrival")
    ended = (result.series["sent"] + result.series["failed"]).sum()
    weights = [
        result.series.loc[(result.series["time"] >= low) & (result.series["time"] < high), "arrivals"].sum()
        for low, high in itertools.pairwise(edges)
    ]
    assert np.nansum(values * weights) == pytest.approx(ended)


# ── breakers ────────────────────────────────────────────────────────────────────────────────────────────────────


def bands(lanes, label):
    found = [one for one in lanes.collections if one.get_label() == label]
    return [
        (path.vertices[:, 0].min(), path.vertices[:, 0].max())
        for path in itertools.chain.from_iterable(one.get_paths() for one in found)
    ]


@pytest.mark.parametrize("name", ["outage", "providers"])
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


# ── windows ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("plot", [plots.throughput, plots.in_flight, plots.dlq_growth, plots.raster])
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


@pytest.mark.parametrize("plot", [plots.throughput, plots.in_flight, plots.dlq_growth])
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
        (pd.DataFrame({"time": [0.0]}), "arrivals, sent, failed missing, got time"),
        (pd.DataFrame(), "time, arrivals, sent, failed missing, got none"),
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
