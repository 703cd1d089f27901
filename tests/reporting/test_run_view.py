"""What is seen of a run, against the result of the same run."""

import io
import json
import re

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from rich.console import Console

import simulation
from simulation.reporting.terminal.run_view import RunView
from simulation.scenario import load

BROKEN = {
    "name": "broken",
    "duration": "10m",
    "drain": "1h",
    "workload": [
        {"channel": "email", "arrivals": {"poisson": "8/s"}},
        {"channel": "push", "arrivals": {"constant": "5/s"}},
    ],
    "channels": {
        "email": {
            "circuit_breaker": {"failure_threshold": 5, "timeout": "60s"},
            "provider": {"latency": {"exponential": {"mean": "100ms"}}},
        },
        "push": {"retry": {"max_attempts": 2}},
    },
    "faults": [
        {"channel": "email", "at": "3m", "for": "3m", "outage": True},
        {"channel": "push", "at": "1m", "for": "8m", "flap": {"up": "50s", "down": "10s"}},
    ],
}


def write(tmp_path, document):
    path = tmp_path / f"{document['name']}.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def text_of(lines, width, **options):
    """What a terminal of that width shows."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, _environ={}, **options)
    for line in lines:
        console.print(line, end="")
        console.print()
    return re.sub(r"\x1b\[[\d;]*m", "", console.file.getvalue())


def watched(path, width=100):
    """The result of a run, and what was seen by the seconds that had passed, a second of the wall clock each time."""
    scenario = load(path)
    now = [0.0]
    view = RunView(scenario, clock=lambda: now[0])
    seen = {}

    def look(run):
        now[0] += 1.0
        view.look(run)
        seen[run.seconds] = text_of(view.lines(width), width)

    with pytest.MonkeyPatch.context() as patched:  # else what is seen depends on how fast the machine is
        patched.setattr("simulation.running.watching.PUBLISHED_EVERY_S", 0.0)
        return simulation.run(scenario, progress=look), seen


def row(text, name):
    """The cells of a row, by the headings."""
    lines = text.splitlines()
    headings = next(line for line in lines if line.startswith("channel"))
    line = next(line for line in lines if line.strip().split("  ")[0] == name)
    names = re.split(r"\s{2,}", headings.strip())
    return dict(zip(names, re.split(r"\s{2,}", line.strip()), strict=False))


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    return watched(write(tmp_path_factory.mktemp("broken"), BROKEN))


def test_the_last_figures_are_those_of_the_result(broken):
    result, seen = broken
    text = list(seen.values())[-1]
    for name, figures in [*result.summary["channels"].items(), ("all", result.summary)]:
        cells = row(text, name)
        counts = [int(cells[heading].replace(",", "")) for heading in ("accepted", "sent", "dead", "in flight")]
        assert counts == [figures[key] for key in ("accepted", "sent", "dead_lettered", "in_flight")]
        assert cells["attempts"] == f"×{figures['retry_amplification']:.2f}"
    assert f"{result.summary['dlq']['final']:,} in the DLQ" in text


def test_quantiles_are_within_their_error(broken):
    result, seen = broken
    shown = row(list(seen.values())[-1], "push")["sent p99"]
    number, unit = shown.split(" ")
    exact = result.summary["channels"]["push"]["delivery_time_s"]["p99"]
    assert float(number) * {"ms": 1e-3, "s": 1, "min": 60}[unit] == pytest.approx(exact, rel=0.01)


def test_a_breaker_has_the_state_that_the_result_tells_of_then(broken):
    result, seen = broken
    transitions = result.breaker[result.breaker["channel"] == "email"]
    states = set()
    for seconds, text in seen.items():
        earlier = transitions[transitions["time_s"] <= seconds]
        expected = "closed" if earlier.empty else earlier["to"].iloc[-1]
        assert row(text, "email")["breaker"].startswith(expected)
        states.add(expected)
    assert {"closed", "open"} <= states


def test_faults_are_named_while_they_hold_and_a_flap_says_when_it_is_down(broken):
    _, seen = broken
    shown_times = {"outage": 0, "flaps": 0, "(down now)": 0}
    for seconds, text in seen.items():
        now = text[text.index("\nnow") :]
        assert ("email: outage" in now) == (180 <= seconds < 360)
        assert ("push: flaps" in now) == (60 <= seconds < 540)
        assert ("(down now)" in now) == (60 <= seconds < 540 and (seconds - 60) % 60 >= 50)
        for word in shown_times:
            shown_times[word] += word in now
    assert all(shown_times.values())


def test_pace_and_time_left_by_the_wall_clock(broken):
    _, seen = broken
    (first, text), (second, _), *_ = seen.items()
    assert f"×{first:.3g} real time" in text
    left = re.search(r"· ([\d.]+) (s|min) left", text)
    assert left is not None
    assert float(left[1]) * {"s": 1, "min": 60}[left[2]] == pytest.approx((600 - first) / first, rel=0.02, abs=1)
    assert second > first


def test_while_it_drains_it_says_so_and_estimates_nothing(tmp_path):
    slow = {**BROKEN, "name": "slow", "duration": "2m", "faults": [{"channel": "email", "outage": True}]}
    _, seen = watched(write(tmp_path, slow))
    seconds, text = list(seen.items())[-1]
    assert seconds > 120
    assert "nothing arrives any more, ends by 62 min" in text
    assert " left" not in text
    assert "notifications/s" not in text


@pytest.mark.thorough
def test_time_left_goes_by_what_is_still_to_arrive(tmp_path):
    ramp = {"name": "ramp", "duration": "10m", "workload": [{"channel": "email", "arrivals": {}}]}
    ramp["workload"][0]["arrivals"] = {"ramp": {"from": "1/s", "to": "100/s"}}
    scenario = load(write(tmp_path, ramp))
    now = [0.0]
    view = RunView(scenario, clock=lambda: now[0])
    estimates = []

    def look(run):
        now[0] = run.counts_of()["accepted"] / 1000  # a thousand a second, whenever they come
        view.look(run)
        left = re.search(r"(\d+) s left", text_of(view.lines(100), 100))
        estimates.append((now[0], int(left[1]) if left else None))

    accepted = simulation.run(scenario, progress=look).summary["accepted"]
    for at, left in estimates[:-1]:
        assert left == pytest.approx(accepted / 1000 - at, abs=2)


@pytest.mark.thorough
def test_several_providers_have_a_line_each(tmp_path):
    provider = {"latency": {"constant": "50ms"}}
    failover = {
        **BROKEN,
        "name": "failover",
        "channels": {"email": {"provider": provider, "failover": {"zweitanbieter": {"provider": provider}}}},
        "faults": [{"channel": "email", "provider": "primary", "at": "2m", "for": "4m", "outage": True}],
    }
    result, seen = watched(write(tmp_path, failover))
    text = list(seen.values())[-1]
    for name, figures in result.summary["channels"]["email"]["providers"].items():
        assert f"{figures['sent']:,}" in next(line for line in text.splitlines() if line.startswith(f"  {name}"))
    during = next(text for seconds, text in seen.items() if 180 < seconds < 360)
    first, second = (next(line for line in during.splitlines() if f"  {name}" in line) for name in ("primary", "zweit"))
    assert re.search(r" (open|half-open) [\d.]+ (ms|s|min)", first)
    assert second.endswith("closed")


@pytest.mark.thorough
def test_breakers_of_hosts_are_counted(tmp_path):
    hosts = {
        **BROKEN,
        "name": "hosts",
        "workload": [{"channel": "email", "arrivals": {"poisson": "20/s"}, "hosts": 20}],
        "channels": {"email": {"circuit_breaker": {"failure_threshold": 3, "per": "host"}}},
        "faults": [{"channel": "email", "at": "3m", "for": "3m", "outage": True}],
    }
    result, seen = watched(write(tmp_path, hosts))
    for seconds, text in seen.items():
        earlier = result.breaker[result.breaker["time_s"] <= seconds]
        shut = sum(state in ("open", "half-open") for state in earlier.groupby("host")["to"].last())
        expected = f"{shut} host{'s' * (shut > 1)} not closed" if shut else "closed"
        assert row(text, "email")["breaker"] == expected
    assert any("hosts not closed" in text for text in seen.values())


@settings(max_examples=examples(30))
@given(width=st.integers(1, 250), name=st.text(min_size=1, max_size=80))
def test_no_line_is_longer_than_the_terminal_is_wide_and_what_matters_most_stays(width, name, snapshot):
    scenario, run = snapshot
    view = RunView(scenario.model_copy(update={"name": name}), "2 of 5")
    view.look(run)
    lines = [line for each in view.lines(width) for line in text_of([each], width).splitlines()]
    console = Console(width=width)
    assert all(console.measure(line).maximum <= width for line in lines)
    if width >= 50:
        headings = next(line for line in lines if line.startswith("channel"))
        assert {"sent", "dead", "breaker"} <= set(headings.split())
    if width >= 100:
        names = ["channel", "accepted", "sent", "dead", "in flight", "attempts", "sent p50", "sent p99", "breaker"]
        assert re.split(r"\s{2,}", headings.strip()) == names


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    scenario = load(write(tmp_path_factory.mktemp("snapshot"), BROKEN), sets=["duration=5m"])
    runs = []
    simulation.run(scenario, progress=runs.append)
    return scenario, runs[-1]


def test_columns_stay_where_they_are_when_a_figure_becomes_shorter(broken):
    _, seen = broken
    places = []
    for text in seen.values():
        headings = next(line for line in text.splitlines() if line.startswith("channel"))
        places.append([headings.index(name) for name in ("sent", "in flight", "breaker")])
    assert places == sorted(places)


def test_nothing_is_known_before_the_first_look():
    from pathlib import Path

    scenario = load(Path(__file__).parents[2] / "scenarios" / "steady-state.yaml")
    assert text_of(RunView(scenario).lines(80), 80).strip() == "steady-state"
