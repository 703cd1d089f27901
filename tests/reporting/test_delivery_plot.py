"""The survival curve of delivery times is that of the data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from plot_samples import result_of

from simulation.reporting import plots
from simulation.reporting.plots.delivery import POINTS_MAX, survival


@given(
    times=st.lists(st.floats(0, 1e6) | st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=50),
    never=st.integers(0, 50),
)
def test_the_curve_is_the_share_that_took_longer(times, never):
    offered = len(times) + never
    curve = survival(np.array(times), offered)
    assert list(curve.times_s) == sorted(set(times))
    for at_s, share in zip(curve.times_s, curve.longer, strict=True):
        assert share == pytest.approx((sum(time > at_s for time in times) + never) / offered)
    assert curve.longer[-1] == pytest.approx(never / offered)
    assert curve.size == offered


def curves(ax):
    return {
        str(line.get_label()).rsplit(" (", 1)[0]: np.array(line.get_data())
        for line in ax.lines
        if not str(line.get_label()).endswith(": longest")
    }


def share_at(curve, at_s, never=0.0):
    """Return the height of a drawn step curve at a time; from its end on it is the share that is never delivered."""
    if at_s >= curve[0][-1]:
        return never
    place = np.searchsorted(curve[0], at_s, side="right") - 1
    return 1.0 if place < 0 else curve[1][place]


def test_there_is_a_curve_for_each_channel_that_agrees_with_the_percentiles_of_the_summary():
    result = result_of("outage")
    drawn = curves(plots.delivery_times(result))
    assert list(drawn) == ["email", "push"]
    for channel, figures in result.summary["channels"].items():
        times = figures["delivery_time_s"]
        slack = 1 / figures["offered"]
        never = times["never"] / figures["offered"]
        for percentile, share in (("p50", 0.5), ("p90", 0.1), ("p99", 0.01)):
            at_s = times[percentile]
            if at_s is None:
                assert never + slack >= share
                continue
            before, after = (share_at(drawn[channel], instant_s, never) for instant_s in (at_s - 1e-6, at_s))
            assert before + slack >= share >= after - slack
        assert drawn[channel][0][-1] == pytest.approx(figures["sent_time_s"]["max"])


def test_what_was_not_delivered_is_counted_in_the_legend():
    result = result_of("outage")
    labels = [text.get_text() for text in plots.delivery_times(result).get_legend().get_texts()]
    for label, (channel, figures) in zip(labels, result.summary["channels"].items(), strict=True):
        never = figures["delivery_time_s"]["never"]
        assert label == f"{channel} ({figures['delivered']:,} delivered" + (f", {never:,} never)" if never else ")")


def test_several_results_are_curves_by_their_labels():
    drawn = curves(plots.delivery_times({"one": result_of("outage"), "other": result_of("providers").notifications}))
    assert list(drawn) == ["one", "other"]
    rows = result_of("outage").notifications
    times = (rows["finished_at_s"] - rows["waited_since_s"]).where(rows["outcome"] == "sent", np.inf)
    assert np.isinf(times).any()
    assert share_at(drawn["one"], 1.0) == pytest.approx((times > 1.0).mean())


def frame(times):
    return pd.DataFrame(
        {"channel": "sms", "waited_since_s": 0.0, "outcome": "sent", "finished_at_s": np.asarray(times, float)}
    )


def test_of_very_many_times_the_drawn_ones_are_of_the_curve_and_keep_its_tail():
    times = np.random.default_rng(5).lognormal(0, 2, 40_000).round(9)
    (drawn,) = curves(plots.delivery_times(frame(times))).values()
    assert drawn.shape[1] <= POINTS_MAX + 1
    for at_s, share in drawn.T[1:-1:25]:
        assert share == pytest.approx((times > at_s).mean())
    for at_s in np.quantile(times, [0.1, 0.5, 0.9, 0.99, 0.9999]):
        assert share_at(drawn, at_s) == pytest.approx((times > at_s).mean(), rel=0.15)
    assert drawn[0][-1] == times.max()


@pytest.mark.parametrize("times", [[0.0], [0.0, 0.0, 0.0], [2.0], [0.0, 3.0], [1e-9, 1e6]])
def test_any_times_can_be_drawn(times):
    ax = plots.delivery_times(frame(times))
    assert ax.get_xscale() == ("log" if max(times) else "linear")
    low, high = ax.get_xlim()
    assert low <= max(times) <= high
    assert len(ax.get_legend().get_texts()) == 1


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("lost", "nothing was delivered"),
        ("nothing", "no notifications"),
        ("aggregates", "the run kept no notifications (record: aggregates)"),
    ],
)
def test_a_curve_of_nothing_says_why(name, why):
    assert [text.get_text() for text in plots.delivery_times(result_of(name)).texts] == [why]
