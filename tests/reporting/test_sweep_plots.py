"""The plots of a sweep show its cells, and mark those that are worth choosing from."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from matplotlib.container import ErrorbarContainer
from plot_samples import cells, scattered

import simulation
from actors.errors import ConfigurationError, WrongType
from simulation.reporting import plots
from simulation.reporting.plots.pareto import pareto_front
from simulation.reporting.plots.sweeps import value_text
from simulation.scenario.space import short_names

ATTEMPTS, JITTER, TIMEOUT = "channels.email.retry.max_attempts", "channels.email.retry.jitter", "channels.email.timeout"
P99 = "delivery_time_s.p99"


def series(ax):
    """Return the drawn points of each label: x, y, and how far the bars go."""
    found = {}
    for container in ax.containers:
        assert isinstance(container, ErrorbarContainer)
        line, _, bars = container
        segments = bars[-1].get_segments()
        found[container.get_label()] = [
            (x, y, *((segment[0, 1], segment[1, 1]) if len(segment) else (np.nan, np.nan)))
            for x, y, segment in zip(*line.get_data(), segments, strict=True)
        ]
    return found


def of(figure, **values):
    rows = cells()[cells()["figure"] == figure]
    for path, value in values.items():
        rows = rows[rows[path] == value]
    return rows


def test_there_is_a_line_for_each_value_of_the_other_settings_with_intervals():
    drawn = series(plots.sweep_lines(cells(), P99))
    assert set(drawn) == {f"jitter={j}, timeout={t}" for j in ("none", "full") for t in (10, 60)}
    for jitter, timeout in itertools.product(("none", "full"), (10, 60)):
        rows = of(P99, **{JITTER: jitter, TIMEOUT: timeout})
        np.testing.assert_allclose(
            drawn[f"jitter={jitter}, timeout={timeout}"],
            rows[[ATTEMPTS, "mean", "low", "high"]].to_numpy(),
        )


def test_what_is_on_no_axis_is_averaged_over_and_the_title_says_so():
    ax = plots.sweep_lines(cells(), P99, by=JITTER)
    assert ax.get_title("left") == f"{P99} by max_attempts, averaged over timeout"
    expected = of(P99, **{JITTER: "full"}).groupby(ATTEMPTS)["mean"].mean()
    drawn = series(ax)["jitter=full"]
    np.testing.assert_allclose([point[:2] for point in drawn], list(expected.items()))
    assert all(np.isnan(point[2:]).all() for point in drawn)


def test_texts_stand_on_an_axis_in_the_order_in_which_they_were_given():
    ax = plots.sweep_lines(cells(), "requests", x=JITTER)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["none", "full"]
    assert len(series(ax)) == 10


def test_a_design_that_is_no_grid_is_points():
    ax = plots.sweep_lines(scattered(), "sent_fraction")
    (points,) = series(ax).values()
    rows = scattered().sort_values("channels.sms.timeout")
    np.testing.assert_allclose([point[:2] for point in points], rows[["channels.sms.timeout", "mean"]].to_numpy())
    assert ax.containers[0][0].get_linestyle() == "None"


def test_a_heat_map_has_the_mean_of_each_pair_as_colour_and_number():
    ax = plots.sweep_heatmap(cells(), P99, y=JITTER)
    (mesh,) = (one for one in ax.collections if type(one).__name__ == "QuadMesh")
    expected = of(P99).pivot_table(index=JITTER, columns=ATTEMPTS, values="mean", sort=False)
    np.testing.assert_allclose(mesh.get_array(), expected.to_numpy())
    assert [label.get_text() for label in ax.get_yticklabels()] == list(expected.index) == ["none", "full"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3", "5", "8"]
    drawn = [text.get_text() for text in ax.texts]
    assert drawn == [f"{value:.3g}" for value in expected.to_numpy().ravel()]
    assert ax.get_title("left").endswith("averaged over timeout")
    assert len(ax.figure.axes) == 2


@pytest.mark.parametrize("same", [True, False])
def test_where_all_cells_are_the_same_there_is_no_scale_of_colours(same):
    frame = cells().copy()
    of_figure = frame["figure"] == "sent_fraction"
    frame.loc[of_figure, "mean"] = 1.0 if same else [0.5, *[1.0] * (sum(of_figure) - 1)]
    ax = plots.sweep_heatmap(frame, "sent_fraction", x=ATTEMPTS, y=JITTER)
    assert len(ax.figure.axes) == (1 if same else 2)


def test_what_was_not_run_is_a_gap_in_the_heat_map():
    some = cells()[(cells()["cell"] != 0) & (cells()[TIMEOUT] == 10)]
    ax = plots.sweep_heatmap(some, P99, x=ATTEMPTS, y=JITTER)
    (mesh,) = (one for one in ax.collections if type(one).__name__ == "QuadMesh")
    assert np.ma.getmaskarray(mesh.get_array()).sum() == 1
    assert len(ax.texts) == 9


def test_cells_of_a_design_that_is_no_grid_are_points_in_colour():
    ax = plots.sweep_heatmap(scattered(), "sent_fraction")
    (points,) = ax.collections
    np.testing.assert_allclose(points.get_array(), scattered()["mean"])
    np.testing.assert_allclose(
        points.get_offsets(), scattered()[["channels.sms.timeout", "channels.sms.retry.initial_delay"]].to_numpy()
    )


COUNTS = st.integers(0, 6).map(float)


@given(points=st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=30))
def test_the_front_is_what_no_other_beats(points):
    gain, cost = np.array(points).T

    def beaten(own):
        return any(
            other[0] >= own[0] and other[1] <= own[1] and (other[0] > own[0] or other[1] < own[1]) for other in points
        )

    front = pareto_front(gain, cost)
    assert sorted(front) == [place for place, point in enumerate(points) if not beaten(point)]
    assert list(cost[front]) == sorted(cost[front])


def test_the_front_is_marked_numbered_and_its_settings_are_named():
    ax = plots.pareto(cells())
    drawn = series(ax)
    wide = cells().pivot_table(index="cell", columns="figure", values="mean")
    front = pareto_front(wide["sent_fraction"].to_numpy(), wide["requests"].to_numpy())
    assert len(front) == 5
    expected = wide.iloc[front][["requests", "sent_fraction"]].to_numpy()
    np.testing.assert_allclose([point[:2] for point in drawn["Pareto front"]], expected)
    assert len(drawn["other settings"]) == len(wide) - len(front)
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3", "4", "5"]
    named = [text.get_text() for text in ax.get_legend().get_texts()][2:]
    assert named == [f"{n} max_attempts={a}, jitter=full, timeout=10" for n, a in enumerate((1, 2, 3, 5, 8), start=1)]


def test_the_front_may_be_of_other_figures():
    ax = plots.pareto(cells(), gain="sent_fraction", cost=P99)
    assert ax.get_xlabel() == f"{P99} (less is better)"


def test_a_sweep_is_drawn_as_its_cells_are():
    class Sweep:
        cells = cells()
        varied = (ATTEMPTS, JITTER, TIMEOUT)

    assert series(plots.pareto(Sweep())) == series(plots.pareto(cells()))


@pytest.mark.parametrize(
    ("draw", "problem"),
    [
        (lambda: plots.sweep_lines(cells(), "sent_fractoin"), "figure: .* such as sent_fraction, got 'sent_fractoin'"),
        (
            lambda: plots.sweep_lines(cells(), P99, x="attempts"),
            "x: wanted a setting that was varied",
        ),
        (lambda: plots.sweep_lines(cells(), P99, by="nope"), "by: wanted a setting that was varied"),
        (lambda: plots.sweep_lines(cells(), P99, x=JITTER, by=JITTER), "by: wanted another setting than x"),
        (lambda: plots.sweep_heatmap(cells(), P99, x=JITTER, y=JITTER), "y: wanted another setting than x"),
        (lambda: plots.sweep_heatmap(cells().drop(columns=[JITTER, TIMEOUT]), P99), "y: wanted a sweep of 2 settings"),
        (lambda: plots.pareto(cells(), gain="x"), "figure: wanted one that the sweep has"),
    ],
)
def test_what_the_sweep_does_not_have_is_refused(draw, problem):
    with pytest.raises(ConfigurationError, match=problem):
        draw()


def test_what_is_no_sweep_is_refused():
    with pytest.raises(WrongType, match="wanted a sweep or its frame `cells`, got str"):
        plots.pareto("here")
    with pytest.raises(WrongType, match="mean, low, high missing"):
        plots.pareto(pd.DataFrame({"cell": [], "figure": [], "n": []}))


def test_figures_that_are_of_nothing_have_no_place():
    undefined = cells().assign(mean=np.nan, low=np.nan, high=np.nan)
    assert [text.get_text() for text in plots.pareto(undefined).texts] == ["no cell has both metrics"]
    plots.sweep_lines(undefined, P99)
    plots.sweep_heatmap(undefined, P99)


def test_one_cell_can_be_drawn():
    one = cells()[cells()["cell"] == 0]
    assert list(series(plots.sweep_lines(one, P99))) == ["jitter=none, timeout=10"]
    plots.sweep_heatmap(one, P99)
    assert len(series(plots.pareto(one))["Pareto front"]) == 1


def test_names_are_as_short_as_tells_them_apart():
    paths = ["channels.email.retry.max_attempts", "channels.sms.retry.max_attempts", "seed", "channels.email.timeout"]
    assert list(short_names(paths).values()) == [
        "email.retry.max_attempts",
        "sms.retry.max_attempts",
        "seed",
        "timeout",
    ]
    assert [value_text(value) for value in (True, 5.0, 0.25, "full", np.float64(1e-6))] == [
        *("true", "5", "0.25", "full", "1e-06")
    ]


def test_values_are_written_as_they_were_given(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text("duration: 1s\nworkload: [{channel: email, arrivals: {constant: 5/s}}]\n")
    vary = {"channels.email.timeout": ["100ms", "2m"], "channels.email.retry.max_attempts": [1, 2]}
    swept = simulation.sweep(path, vary, replicates=1)
    drawn = plots.sweep_lines(swept, "sent", x="channels.email.retry.max_attempts")
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["timeout=100ms", "timeout=2m"]
    drawn = plots.sweep_lines(swept, "sent", x="channels.email.timeout")
    assert drawn.get_xlabel() == "channels.email.timeout (s)"
    drawn = plots.sweep_heatmap(swept, "sent", x="channels.email.timeout")
    assert [tick.get_text() for tick in drawn.get_xticklabels()] == ["100ms", "2m"]
    # All four cells are equal in both metrics: they stand in one place, which has one text.
    drawn = plots.pareto(swept)
    assert [text.get_text() for text in drawn.texts] == ["1–4"]
    assert drawn.get_legend().get_texts()[1].get_text() == "1 timeout=100ms, max_attempts=1"


def with_never():
    """Return the cells with a median of p99: never with 1 attempt, and in 2 of 9 runs with 2 and no jitter."""
    frame = cells().assign(median=np.nan, never=0)
    of_p99 = frame["figure"] == P99
    frame.loc[of_p99, "median"] = frame.loc[of_p99, "mean"]
    frame.loc[of_p99, "mean"] = np.nan
    one = of_p99 & (frame[ATTEMPTS] == 1)
    frame.loc[one, ["median", "low", "high"]] = np.inf
    frame.loc[one, "never"] = 9
    two = of_p99 & (frame[ATTEMPTS] == 2) & (frame[JITTER] == "none")
    frame.loc[two, "high"] = np.inf
    frame.loc[two, "never"] = 2
    return frame


def test_what_is_never_stands_above_all_lines_and_its_intervals_reach_it():
    ax = plots.sweep_lines(with_never(), P99)
    drawn = series(ax)
    level = drawn["jitter=full, timeout=10"][0][1]
    assert all(points[0][1] == level for points in drawn.values())
    assert level > max(point[1] for points in drawn.values() for point in points[1:])
    assert level > np.nanmax([point[3] for name in drawn if "full" in name for point in drawn[name][1:]])
    for timeout in (10, 60):
        assert drawn[f"jitter=none, timeout={timeout}"][1][3] == level
    assert [text.get_text() for text in ax.texts] == ["never", *["never in 2 of 9"] * 2]
    known = of(P99, **{JITTER: "full", TIMEOUT: 60})["mean"].to_numpy()[1:]
    np.testing.assert_allclose([point[1] for point in drawn["jitter=full, timeout=60"][1:]], known)
    # Averaged over settings one of which is never it is never.
    averaged = series(plots.sweep_lines(with_never(), P99, x=JITTER, by=TIMEOUT))
    assert len({point[1] for points in averaged.values() for point in points}) == 1


def test_a_heat_map_fills_what_is_never_and_frames_what_is_in_some_runs():
    ax = plots.sweep_heatmap(with_never(), P99, x=ATTEMPTS, y=JITTER)
    (mesh,) = (one for one in ax.collections if type(one).__name__ == "QuadMesh")
    assert np.ma.getmaskarray(mesh.get_array()).tolist() == [[True, False, False, False, False]] * 2
    assert np.isfinite([mesh.norm.vmin, mesh.norm.vmax]).all()
    frames = {(round(one.get_x()), round(one.get_y())): one.get_facecolor()[3] for one in ax.patches}
    assert frames == {(0, 0): 1, (0, 1): 1, (1, 0): 0}
    texts = [text.get_text() for text in ax.texts]
    assert (texts[0], texts[5]) == ("never", "never")
    assert texts.count("never") == 2
    assert ax.get_xlabel().endswith("(orange: never; framed: never in some runs)")
    points = scattered().assign(median=np.nan, never=[1, 0] * 10)
    points.loc[0, "mean"] = np.inf
    never, known = plots.sweep_heatmap(points, "sent_fraction").collections
    assert (len(never.get_offsets()), len(known.get_offsets())) == (1, 19)


def test_what_is_never_in_a_run_is_not_on_the_front():
    ax = plots.pareto(with_never(), cost=P99)
    drawn = series(ax)
    sent = of("sent_fraction", **{JITTER: "none"}).set_index(ATTEMPTS)["mean"]
    assert {point[1] for point in drawn["never in some runs"]} == {sent[2.0].iloc[0]}
    assert not {sent[1.0].iloc[0], sent[2.0].iloc[0]} & {point[1] for point in drawn["Pareto front"]}
    assert ax.get_legend().get_texts()[-1].get_text() == "not drawn, as they are never: 4"
    # Never is no gain either, and where it is with all settings there is no front.
    assert np.isfinite([point[:2] for point in series(plots.pareto(with_never(), gain=P99))["Pareto front"]]).all()
    every = with_never().assign(never=1)
    assert [text.get_text() for text in plots.pareto(every, cost=P99).texts] == ["each setting is never in some run"]
