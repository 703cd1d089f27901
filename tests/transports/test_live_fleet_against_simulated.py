"""Real nodes on one PostgreSQL, two and three of them, fare as a simulated fleet predicts when they are killed; also
where they share a breaker, and where they do not reach the database for a time.

The same settings, arrivals and faults; what goes wrong at the receiver is drawn from the same distributions. Live it
takes half a minute of real time, so only with ``-m slow``.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import trio
from live_fleet import LiveFleet
from postgres_server import NoServer, Server, running_server
from simulated_fleet import simulated_figures

from simulation.experiments.prediction import CONFIDENCE, Interval, prediction_interval, replicates_needed

pytestmark = [pytest.mark.slow, pytest.mark.integration]

FLEETS = Path(__file__).with_name("fleets")
SEED = 1_000_000
"""Of the live runs; none of the replicates has it."""

LOOK_S = 1.0
"""A node renews its lease of four seconds, and looks for those of others that have ended, at least so often; the
simulated takeover is at the very instant at which the lease ends that began with the death."""

BUSY_S = 1.0
"""How much longer a loaded machine may take for the takeover itself, and to say so."""


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[Server]:
    try:
        with running_server() as server:
            yield server
    except NoServer as error:
        pytest.skip(f"no PostgreSQL here: {error}")


def predicted(path: Path) -> dict[str, Interval]:
    """Return where the figures of one more run all are, with 99% confidence."""
    names = simulated_figures(path, 0).keys()
    with ProcessPoolExecutor() as workers:
        rows = list(
            workers.map(
                partial(simulated_figures, path), range(replicates_needed(CONFIDENCE, len(names))), chunksize=50
            )
        )
    intervals = {name: prediction_interval([row[name] for row in rows], CONFIDENCE, len(names)) for name in names}
    takeover, last_end = intervals["takeover, s"], intervals["last end, s"]
    return intervals | {
        "takeover, s": Interval(takeover.low - LOOK_S, takeover.high + LOOK_S + BUSY_S),
        "last end, s": Interval(last_end.low, last_end.high + LOOK_S + BUSY_S),  # of what is taken over as late as that
    }


@pytest.fixture(
    scope="module",
    params=["two-nodes.yaml", "three-nodes.yaml", "three-nodes-that-share.yaml", "three-nodes-cut-off.yaml"],
)
def fleet(request: pytest.FixtureRequest) -> tuple[Path, dict[str, Interval]]:
    """Return a scenario, and what is predicted of it."""
    path = FLEETS / request.param
    return path, predicted(path)


def surprises(figures: dict[str, float], intervals: dict[str, Interval]) -> list[str]:
    return [
        f"{name} is {value:g}, predicted {intervals[name].low:g} to {intervals[name].high:g}"
        for name, value in figures.items()
        if value not in intervals[name]
    ]


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_nodes_that_are_killed_fare_as_predicted(seed, fleet, postgres_server):
    path, intervals = fleet
    figures = trio.run(LiveFleet(path, seed, postgres_server.new_database()).run)
    assert surprises(figures, intervals) == [], figures


@pytest.mark.parametrize(
    ("sets", "figure"),
    [
        (["channels.webhook.retry.max_attempts=1"], "requests"),
        (["channels.webhook.circuit_breaker.timeout=300ms"], "openings"),
        (["nodes.takeover_after=7s"], "takeover"),
        (["channels.webhook.circuit_breaker.share_latency=10s"], "told"),
    ],
)
def test_what_is_predicted_is_of_these_settings(sets, figure, fleet):
    path, intervals = fleet
    if figure == "told" and figure not in intervals:
        pytest.skip("these nodes do not share a breaker")
    assert any(text.startswith(figure) for text in surprises(simulated_figures(path, SEED, sets), intervals))
