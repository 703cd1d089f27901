"""The overview shows the data: looked at by its parts, not by its pixels."""

import itertools
import textwrap
from collections import Counter
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from effort import sliced, thorough
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from matplotlib.text import Text
from shipped import SCENARIOS, result_of as result_of_shipped

import simulation
from actors.messages import ActorFailed, BreakerState, NotificationRequested
from simulation.reporting import plots
from simulation.reporting.html.happenings import happenings
from simulation.reporting.plots import overview
from simulation.reporting.plots.breakers import PIXELS, draw_breakers
from simulation.reporting.plots.panels import draw_time_axis
from simulation.running.downtimes import downtimes
from simulation.scenario import parse

SHIPPED = Path(__file__).parents[2] / "scenarios"

OUTAGE = """
    name: outage
    description: Email is down for a while.
    seed: 4
    duration: 12m
    workload:
      - {event: OrderPlaced, arrivals: {poisson: 2/s}}
    channels:
      email:
        retry: {max_attempts: 2}
        circuit_breaker: {failure_threshold: 3, timeout: 20s}
        provider: {latency: 3s}
    faults:
      - {channel: email, at: 1m, for: 1m, outage: true}
      - {channel: sms, failure_rate: 10%}
    expect: [dead_lettered <= 100, sent_fraction > 0.5]
"""
QUIET = """
    name: nothing ever happens
    duration: 10m
    workload: [{channel: push, arrivals: {poisson: 1/d}}]
"""
FOUR = """
    name: four channels, two weeks
    duration: 14d
    drain: 0s
    record: aggregates
    workload:
      - {event: OrderPlaced, arrivals: {poisson: 2/h}}
      - {channel: push, arrivals: {diurnal: {mean: 2/h, peak: 3/h, peak_at: 18h}}}
      - {channel: webhook, arrivals: {poisson: 2/h}}
    channels:
      webhook: {circuit_breaker: {enabled: false}}
      sms: {retry: {max_attempts: 1}}
    quiet_hours: [{share: 50%, from: 22:00, to: 07:00, zone: America/New_York, channels: push}]
    faults:
      - {channel: sms, at: 2d, for: 5d, permanent_rate: 50%}
      - {channel: email, at: 3d, for: 1d, hang: true}
"""
LONG = OUTAGE.replace("duration: 12m", "duration: 12m\n    drain: 10h").replace("timeout: 20s", "timeout: 5h")
"""Goes on for long after arrivals have stopped."""

SEVERAL_PROVIDERS = """
    name: several providers
    duration: 1m
    workload: [{channel: email, arrivals: {poisson: 1/s}}]
    channels: {email: {failover: {b: {}, backup: {}, the-one-that-is-only-for-emergencies: {}}}}
"""
MANY_TRANSITIONS = """
    name: many transitions
    duration: 2m
    workload: [{channel: sms, arrivals: {poisson: 20/s}}]
    channels: {sms: {retry: {max_attempts: 1}, circuit_breaker: {failure_threshold: 1, timeout: 100ms}}}
    faults: [{channel: sms, failure_rate: 50%}]
"""
OVERFULL = """
    name: a name of a scenario that is much longer than anybody ought to choose, but somebody will all the same, with
      $x_1$ and ^ and 名前 in it, and on and on until no line has room for it any longer, and then some more of it
    description: >-
      It costs $5 and $6. A description may be long as well, longer than there is room for. A description may be long as
      well, longer than there is room for. A description may be long as well, longer than there is room for. A
      description may be long as well, longer than there is room for. A description may be long as well, longer than
      there is room for. A description may be long as well, longer than there is room for. A description may be long.
    duration: 10m
    workload:
      - {event: OrderPlaced, arrivals: {poisson: 1/s}}
      - {channel: push, arrivals: {poisson: 1/s}}
      - {channel: webhook, arrivals: {burst: {size: 500, every: 3m}}}
    quiet_hours: [{share: 12.5%, from: 00:05, to: 23:00, zone: America/Argentina/ComodRivadavia, channels: all}]
    faults:
      - {channel: [email, sms, push], at: 1m, for: 1m, throttle: {rate: 7/90s, retry_after: 45s}, latency_factor: 3}
      - {channel: all, at: 1m, for: 2m, dead_destination_rate: 2%, permanent_rate: 3%, failure_rate: 10%}
      - {channel: webhook, at: 61s, for: 2m, flap: {up: 7s, down: 3s}}
      - {channel: webhook, at: 62s, for: 2m, fail_first: 20}
      - {channel: webhook, at: 3m, for: 1m, hang: true}
      - {channel: webhook, at: 4m, for: 1m, outage: true}
      - {channel: webhook, at: 5m, for: 1m, latency: 2s}
      - {channel: webhook, at: 6m, for: 1m, latency: 2s}
      - {channel: webhook, at: 7m, for: 1m, latency: 2s}
      - {channel: webhook, at: 8m, for: 1m, latency: 2s}
      - {channel: webhook, at: 9m, for: 1m, latency: 2s}
      - {channel: webhook, at: 599s, for: 1m, latency: 2s}
      - {channel: webhook, at: 598s, for: 1m, lost_reply_rate: 1%}
      - {channel: all, at: 20d, outage: true}
    expect: [accepted == 1, sent == 1, attempts == 1, retries == 1, dlq.peak == 1]
"""


@cache
def result_of(text):
    return simulation.run(parse(textwrap.dedent(text), "a.yaml"))


@cache
def figure_of(text):
    return overview(result_of(text))


@cache
def shipped(path):
    result = result_of_shipped(path)
    return result, overview(result)


def panel(figure, name):
    (found,) = (axes for axes in figure.axes if axes.get_label() == name)
    return found


def names(figure):
    return [axes.get_label() for axes in figure.axes]


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def steps(axes):
    return {patch.get_label(): patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)}


def bars(axes, label):
    """Return the spans of time of what is drawn under this label."""
    found = []
    for collection in axes.collections:
        if isinstance(collection, PolyCollection) and collection.get_label() == label:
            for path in collection.get_paths():
                times = path.vertices[:, 0]
                found.append((times.min(), times.max()))
    return found


def bands(axes):
    return {
        collection.get_label(): bars(axes, collection.get_label())
        for collection in axes.collections
        if ": " in str(collection.get_label())
    }


def shades(axes, label):
    return [
        (patch.get_x(), patch.get_x() + patch.get_width())
        for patch in axes.patches
        if isinstance(patch, Rectangle) and patch.get_label() == label
    ]


# ── panels ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_panels_are_stacked_on_one_time_axis():
    figure, result = figure_of(OUTAGE), result_of(OUTAGE)
    channels = ["email", "sms"]
    panels = [f"{what} {channel}" for what in ("rates", "times") for channel in channels]
    assert names(figure) == ["windows", *panels, "in flight", "dlq", "breakers"]
    bottoms = [axes.get_position().y0 for axes in figure.axes]
    assert bottoms == sorted(bottoms, reverse=True)
    assert {axes.get_xlim() for axes in figure.axes} == {(0.0, result.summary["simulated_s"])}
    assert panel(figure, "breakers").get_xlabel() == "time since the start (min)"


@pytest.mark.thorough
def test_what_would_be_empty_has_no_panel():
    assert result_of(QUIET).summary["accepted"] == 0
    assert names(figure_of(QUIET)) == ["rates"]
    assert names(figure_of(MANY_TRANSITIONS)) == ["windows", "rates", "times", "in flight", "dlq", "breakers"]
    assert names(figure_of(FOUR)) == ["windows", "rates", "in flight", "dlq", "breakers"]


def test_the_rates_are_counts_by_the_second():
    series = result_of(OUTAGE).series
    width_s = series["time_s"][1] - series["time_s"][0]
    assert width_s != 1
    drawn = [steps(panel(figure_of(OUTAGE), f"rates {channel}")) for channel in ("email", "sms")]
    for label, column in (("arrivals", "arrivals"), ("delivered", "sent"), ("failed attempts", "failed")):
        np.testing.assert_allclose(sum(each[label].values for each in drawn) * width_s, series[column])
        np.testing.assert_allclose(drawn[0][label].edges[:-1], series["time_s"])
        assert all(each[label].values.any() for each in drawn)
    limits = {panel(figure_of(OUTAGE), f"rates {channel}").get_ylim() for channel in ("email", "sms")}
    assert len(limits) == 1
    assert any(f"in steps of {width_s:.3g} s" in text for text in texts(panel(figure_of(OUTAGE), "rates email")))


def test_where_those_in_flight_are_adds_up_to_all_of_them():
    notifications = result_of(OUTAGE).notifications
    drawn = steps(panel(figure_of(OUTAGE), "in flight"))
    areas = [((each.values - each.baseline) * np.diff(each.edges)).sum() for each in drawn.values() if each is not None]
    took = (notifications["finished_at_s"] - notifications["requested_at_s"]).sum()
    assert sum(areas) == pytest.approx(took, rel=0.01)
    assert "at the provider" in drawn


CRASH = """
    duration: 4m
    workload: [{channel: email, arrivals: {constant: 5/s}}]
    channels: {email: {provider: {latency: 3s, failure_rate: 30%}, retry: {initial_delay: 5s}}}
    faults: [{at: 1m, crash: process, restart_after: 1m}]
"""


def test_what_is_in_flight_while_the_process_is_down_is_held_by_it():
    drawn = steps(panel(figure_of(CRASH), "in flight"))
    down = {}
    for name, each in drawn.items():
        middles = (each.edges[1:] + each.edges[:-1]) / 2
        down[name] = ((each.values - each.baseline)[(middles > 61) & (middles < 119)]).sum()
    assert down.pop("held by a crashed process") > 100
    assert max(down.values()) == pytest.approx(0.0, abs=1e-6)


def test_the_title_has_the_most_in_flight_at_any_instant_and_says_that_means_are_drawn():
    steps_of = {"NotificationRequested": 1, "NotificationRedriven": 1, "NotificationSent": -1}
    steps_of |= {"NotificationMovedToDeadLetter": -1, "NotificationSuppressed": -1}
    changes = Counter[int]()
    for event in result_of(OUTAGE).history:
        changes[event.at_ns] += steps_of.get(type(event).__name__, 0)
    most = max(itertools.accumulate(changes[at_ns] for at_ns in sorted(changes)))
    axes = panel(figure_of(OUTAGE), "in flight")
    assert axes.get_title("left").startswith(f"In flight: up to {most:,}, at ")
    drawn = max((each.values).max() for each in steps(axes).values() if each is not None)
    assert drawn < most
    assert any("drawn: mean of each step of " in text for text in texts(axes))
    assert f"{most:,} notifications in flight, the most" in [each.text for each in happenings(result_of(OUTAGE), [])]


def test_more_buckets_than_can_be_told_apart_are_drawn_as_wider_ones():
    result, figure = result_of(LONG), figure_of(LONG)
    assert len(result.series) > 3000
    arrivals = [steps(panel(figure, f"rates {channel}"))["arrivals"] for channel in ("email", "sms")]
    assert all(len(each.values) <= 600 for each in arrivals)
    came = sum((each.values * np.diff(each.edges)).sum() for each in arrivals)
    assert came == pytest.approx(result.summary["accepted"])
    (line,) = (line for line in panel(figure, "dlq").lines if line.get_label() == "dlq_size")
    assert max(line.get_ydata()) == result.series["dlq_size"].max()


def test_beside_the_dead_letter_queue_stand_peak_end_and_reasons():
    result = result_of(OUTAGE)
    (note,) = (text for text in texts(panel(figure_of(OUTAGE), "dlq")) if "peak" in text)
    dlq = result.summary["dlq"]
    assert note.splitlines()[0] == f"peak {dlq['peak']:,}, {dlq['final']:,} at the end"
    counts = [int(line.split(" × ")[0]) for line in note.splitlines()[1:]]
    assert sum(counts) == dlq["final"] == len(result.dlq)


def test_the_dead_letters_that_are_not_kept_are_not_passed_over():
    text = """
        duration: 20m
        record: aggregates
        workload: [{channel: sms, arrivals: {poisson: 10/s}}]
        faults: [{channel: sms, permanent_rate: 100%}]
    """
    assert result_of(text).summary["dlq"]["final"] > 10_000
    (note,) = (text for text in texts(panel(figure_of(text), "dlq")) if "peak" in text)
    assert note.splitlines()[1:] == ["of the first 10,000:", "10,000 × injected permanent failure"]


def test_an_axis_that_one_spike_would_flatten_is_logarithmic_from_the_usual_rate_on():
    text = """
        duration: 10m
        workload:
          - {channel: sms, arrivals: {constant: 2/s}}
          - {channel: sms, arrivals: {burst: {size: 1000, every: 4m}}}
    """
    spiky = panel(figure_of(text), "rates")
    assert spiky.get_yscale() == "symlog"
    assert any("logarithmic above 2" in text for text in texts(spiky))
    assert panel(figure_of(OUTAGE), "rates email").get_yscale() == "linear"


# ── breakers ────────────────────────────────────────────────────────────────────────────────────────────────────


def replayed(result, breaker, begins):
    """Return the bands of one lane by the transitions of the run."""
    own = result.breaker[result.breaker["channel"] == breaker]
    times = [0.0, *own["time_s"], result.summary["simulated_s"]]
    states = [begins, *own["to"]]
    spans = {}
    for state, span in zip(states, itertools.pairwise(times), strict=True):
        spans.setdefault(f"{breaker}: {state}", []).append(span)
    return spans


@pytest.mark.parametrize("name", [None, *map(thorough, ["failover-on-outage", "flapping-provider", "wait-or-fail"])])
def test_the_bands_are_the_transitions(name):
    result, figure = shipped(SHIPPED / f"{name}.yaml") if name else (result_of(OUTAGE), figure_of(OUTAGE))
    expected = {}
    for breaker, begins in result.scenario.breakers.items():
        if breaker in set(result.breaker["channel"]) or "/" not in breaker:  # also those that never opened
            expected |= replayed(result, breaker, begins)
    drawn = bands(panel(figure, "breakers"))
    assert drawn.keys() == expected.keys()
    for label, spans in expected.items():
        np.testing.assert_allclose(drawn[label], spans)


def test_there_is_a_lane_for_each_channel_and_a_legend_for_the_states_there_are():
    breakers = panel(figure_of(OUTAGE), "breakers")
    assert [label.get_text() for label in breakers.get_yticklabels()] == ["email", "sms"]
    assert "never opened" in texts(breakers)
    title = breakers.get_title("left")
    assert title.startswith("Breakers: email opens first, ")
    assert title.endswith(" into A; sms never")
    assert [text.get_text() for text in breakers.get_legend().get_texts()] == ["closed", "half-open", "open"]


def test_the_name_of_a_lane_for_which_there_is_no_room_is_without_its_channel_and_cut():
    axes = Figure().add_subplot()
    draw_breakers(axes, result_of(OUTAGE).breaker, result_of(SEVERAL_PROVIDERS).scenario.breakers, 60.0)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:3] == ["email", "email/b", "…/backup"]
    assert labels[3].startswith("…/the-o")
    assert labels[3].endswith("…")
    draw_breakers(axes, result_of(OUTAGE).breaker, {"mail-of-confirmations": BreakerState.CLOSED}, 60.0)
    (label,) = [label.get_text() for label in axes.get_yticklabels()]
    assert label.startswith("mail-of")


OWN_NAMES = """
    duration: 2m
    workload:
      - {channel: order-confirmation-by-mail, arrivals: {poisson: 2/s}}
      - {channel: sms, arrivals: {poisson: 1/s}}
    channels: {order-confirmation-by-mail: {kind: email, provider: {latency: 200ms}}}
    faults: [{channel: order-confirmation-by-mail, at: 30s, for: 30s, outage: true}]
"""


def test_a_title_with_the_name_of_a_channel_of_ones_own_is_whole():
    figure = figure_of(OWN_NAMES)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert any(title.startswith("order-confirmation-by-mail: ") for title in titles)
    assert not [title for title in titles if title.endswith("…")]
    assert any(text.startswith("order-confirmation-by-mail:\n") for text in texts(panel(figure, "breakers")))


def test_a_disabled_breaker_is_shown_as_one():
    result, breakers = result_of(FOUR), Figure().add_subplot()
    end_s = result.summary["simulated_s"]
    draw_breakers(breakers, result.breaker, result.scenario.breakers, end_s)
    draw_time_axis(breakers, None, end_s)
    assert [label.get_text() for label in breakers.get_yticklabels()] == ["email", "sms", "push", "webhook"]
    np.testing.assert_allclose(bars(breakers, "webhook: disabled"), [(0, result.summary["simulated_s"])])
    assert "disabled" in texts(breakers)


NODES_DOWN = """
    duration: 4m
    nodes: {count: 2, takeover_after: 20s}
    workload: [{channel: email, arrivals: {constant: 5/s}}]
    channels: {email: {circuit_breaker: {failure_threshold: 3, timeout: 20s}}}
    faults:
      - {channel: email, at: 10s, for: 30s, outage: true}
      - {at: 20s, node: 1, crash: process, restart_after: 15s}
      - {at: 80s, scale: {to: 3}}
      - {at: 100s, node: 3, crash: process}
      - {at: 120s, scale: {to: 2, drain: 5s}}
      - {at: 150s, for: 60s, node: 2, partition: store}
"""


def test_a_node_that_is_down_has_no_state_of_a_breaker():
    """As a rule a node is down from its crash on: its breaker is none that lets everything through."""
    result = result_of(NODES_DOWN)
    end_s = result.summary["simulated_s"]
    downs = downtimes(result.scenario, end_s)  # as of a saved run
    assert downs == downtimes(result.scenario, end_s, result)
    assert downs == {1: [(20, 35)], 2: [(170, 210)], 3: [(0, 80), (125, end_s)]}
    died = {(event.node, event.at_ns / 1e9) for event in result.history if isinstance(event, ActorFailed)}
    assert died == {(1, 20), (2, 170), (3, 100), (3, 125)}  # one that is back at once was not down
    made = [(each.node, each.at_ns / 1e9) for each in result.history if isinstance(each, NotificationRequested)]
    assert not [each for each in made if any(from_s < each[1] < to_s for from_s, to_s in downs[each[0]])]
    for breakers in (panel(figure_of(NODES_DOWN), "breakers"), plots.breaker_states(result).child_axes[0]):
        for node, spans in downs.items():
            drawn = bands(breakers)
            np.testing.assert_allclose(drawn[f"email@{node}: down"], spans)
            own = sorted(tuple(each) for label in drawn if label.startswith(f"email@{node}: ") for each in drawn[label])
            np.testing.assert_allclose([start for start, _ in own[1:]], [stop for _, stop in own[:-1]])  # no overlaps
            assert (own[0][0], own[-1][1]) == (0, end_s)
        assert "down" in texts(breakers)


def test_thousands_of_transitions_are_drawn_as_few_bands_that_cover_them():
    result = result_of(MANY_TRANSITIONS)
    assert len(result.breaker) > PIXELS
    drawn = bands(panel(figure_of(MANY_TRANSITIONS), "breakers"))
    pixel_s = result.summary["simulated_s"] / PIXELS
    for label, spans in replayed(result, "sms", "closed").items():
        assert len(drawn[label]) <= PIXELS
        starts = np.array([start for start, _ in drawn[label]])
        stops = np.array([stop for _, stop in drawn[label]])
        for start, stop in spans:
            within = np.searchsorted(starts, start, side="right") - 1
            assert start >= starts[within] - 1e-9
            assert stop <= stops[within] + 1e-9
        gaps = starts[1:] - stops[:-1]
        assert (gaps > pixel_s).all()


def test_states_differ_in_lightness_or_hatching_so_that_grey_print_tells_them_apart():
    from matplotlib.colors import to_rgb

    from simulation.reporting.plots.breakers import LOOKS

    looks = [(float(np.dot(to_rgb(look.face), (0.2126, 0.7152, 0.0722))), look.hatch) for look in LOOKS.values()]
    for (one, one_hatch), (other, other_hatch) in itertools.combinations(looks, 2):
        assert one_hatch != other_hatch or abs(one - other) > 0.25


# ── windows ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_fault_is_shaded_and_lettered_in_all_panels_and_named_once():
    figure = figure_of(OUTAGE)
    np.testing.assert_allclose(bars(panel(figure, "windows"), "email: outage"), [(60, 120)])
    assert "email: outage" in texts(panel(figure, "windows"))
    for name in ("rates email", "times email", "in flight", "dlq", "breakers"):
        assert shades(panel(figure, name), "email: outage") == [(60, 120)]
        assert "A" in texts(panel(figure, name))


@pytest.mark.thorough
def test_more_windows_than_there_is_room_for_are_counted():
    windows = panel(figure_of(OVERFULL), "windows")
    assert len(windows.get_yticklabels()) == 12
    assert "and 2 more" in texts(windows)


def test_the_end_of_arrivals_is_marked_when_a_drain_follows_that_can_be_seen():
    for text, marked in ((LONG, True), (OUTAGE, False), (QUIET, False), (FOUR, False)):
        first = next(axes for axes in figure_of(text).axes if axes.get_label().startswith("rates"))
        lines = [line for line in first.lines if line.get_label() == "arrivals stop"]
        assert bool(lines) is marked
        lowest = next(axes for axes in figure_of(text).axes if axes.xaxis.get_visible())
        assert lowest.get_xlabel().endswith("; arrivals stop at the dotted line") is marked
        assert all(list(line.get_xdata()) == [720, 720] for line in lines)


# ── header ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_name_description_verdict_and_seed_are_on_top():
    name, description, conclusion, counts = header_lines(figure_of(OUTAGE))
    summary = result_of(OUTAGE).summary
    assert (name, description) == ("outage", "Email is down for a while.")
    assert conclusion == "✓ 2 of 2 expectations hold  ·  seed 4"
    assert counts.startswith(f"{summary['offered']:,} offered  ·  {summary['delivered']:,} delivered")


def header_lines(figure):
    return [text.get_text() for text in figure.texts]


def test_an_expectation_that_does_not_hold_is_named_with_its_figure():
    text = OUTAGE.replace("dead_lettered <= 100", "dead_lettered <= 1")
    lines = header_lines(figure_of(text))
    assert "✗ 1 of 2 expectations hold  ·  seed 4" in lines
    dead = result_of(text).summary["dead_lettered"]
    (failing,) = (line for line in lines if line.startswith("does not hold"))
    assert failing.startswith(f"does not hold: dead_lettered <= 1 — it is {dead}, {dead - 1} over")


def test_a_figure_over_nothing_is_called_so():
    lines = header_lines(figure_of(QUIET + "    expect: [delivery_time_s.p99 < 1s]\n"))
    assert "does not hold: delivery_time_s.p99 < 1s — it is unknown: there was nothing to measure" in lines


def test_of_many_broken_expectations_the_first_are_named_and_the_rest_counted():
    broken = "sent > 0, delivered > 0, attempts > 0, accepted > 0, offered > 0"
    lines = header_lines(figure_of(f"{QUIET}    expect: [{broken}]\n"))
    assert sum(line.startswith("does not hold: ") for line in lines) == 3
    assert "and 2 more" in lines


# ── any run ─────────────────────────────────────────────────────────────────────────────────────────────────────

TEXTS = (OUTAGE, QUIET, FOUR, SEVERAL_PROVIDERS, MANY_TRANSITIONS)
FIGURES = {
    **{text.split("name:")[1].split("\n")[0].strip()[:20]: text for text in TEXTS},
    "overfull": OVERFULL,
}
OF_SHIPPED = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if number % 32 else [])
    for number, path in enumerate(SCENARIOS)
]


@pytest.fixture(params=sliced([*(pytest.param(text, id=name) for name, text in FIGURES.items()), *OF_SHIPPED], 12))
def figure(request):
    return shipped(request.param)[1] if isinstance(request.param, Path) else figure_of(request.param)


@cache
def boxes(figure):
    return list(_boxes(figure))


def _boxes(figure):
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent(renderer)
            if box.width:
                yield text.get_text(), box


def test_no_text_is_clipped(figure):
    width, height = figure.bbox.size
    for text, box in boxes(figure):
        assert 0 <= box.x0 < box.x1 <= width, text
        assert 0 <= box.y0 < box.y1 <= height, text


def test_no_text_lies_on_another(figure):
    for (one, one_box), (other, other_box) in itertools.combinations(boxes(figure), 2):
        # Boxes are as tall as the tallest letter would be: lines of one paragraph may touch.
        overlap = min(one_box.y1, other_box.y1) - max(one_box.y0, other_box.y0)
        if overlap > 3:
            assert min(one_box.x1, other_box.x1) <= max(one_box.x0, other_box.x0), (one, other)


def test_a_character_that_the_font_does_not_have_is_replaced():
    lines = header_lines(figure_of(QUIET.replace("nothing ever happens", "$x_1$ and ^ and 名前")))
    assert "$x_1$ and ^ and \N{REPLACEMENT CHARACTER}" in " ".join(lines)


def test_the_style_of_the_caller_is_neither_used_nor_changed():
    with matplotlib.rc_context({"font.size": 30.0, "axes.facecolor": "black"}):
        before = dict(matplotlib.rcParams)
        dark = overview(result_of(OUTAGE))
        assert dict(matplotlib.rcParams) == before
    assert panel(dark, "dlq").get_facecolor() == panel(figure_of(OUTAGE), "dlq").get_facecolor()
    sizes = [[text.get_size() for text in figure.findobj(Text)] for figure in (dark, figure_of(OUTAGE))]
    assert sizes[0] == sizes[1]
