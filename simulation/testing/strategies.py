"""Hypothesis strategies for arrivals and faults, for property tests of one's own settings.

::

    from hypothesis import given
    import simulation
    from simulation.testing.strategies import keeping, scenarios

    @given(scenarios("scenarios/provider-outage.yaml"))
    def test_no_fault_fills_the_dead_letter_queue(scenario):
        with keeping(scenario):
            assert simulation.run(scenario, invariants="all").summary["dlq"]["peak"] <= 10

A case that fails shrinks to a few notifications, a fault or two and the fewest deviations of the schedule. Needs
Hypothesis: ``pip install hypothesis``.
"""

from __future__ import annotations

import itertools
import math
import shlex
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.messages import NotificationChannel
from actors.optional_dependencies import needs_package
from actors.settings.faults import FaultConfig
from actors.settings.quantities import Rate
from simulation.scenario import ChannelWorkload, Operation, Scenario, ScheduleConfig, load
from simulation.verification.drawing.fault_kinds import KINDS
from simulation.verification.drawing.numbers import rounded
from simulation.verification.drawing.shapes import Between, Either, Joined, Maybe, OneOf, Rates, Shape
from simulation.verification.exploring.corpus import HOME, Corpus

with needs_package("hypothesis", "hypothesis"):
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy

Providers = Mapping[NotificationChannel, Sequence[str]]
"""Channels, and the names of each one's providers."""


def faults(
    channels: Sequence[str | NotificationChannel], *, within: float = 60.0, providers: Providers | None = None
) -> SearchStrategy[FaultConfig]:
    """Return a strategy of faults, each on one of the channels or on all of them; the simplest is an outage.

    Args:
        channels: on which; at least one.
        within: seconds in which windows begin; they last no longer than this.
        providers: the names of the providers of channels that have several. None: faults hit all of them.
    """
    used = [NotificationChannel(channel) for channel in channels]
    names = {channel: list((providers or {}).get(channel, ())) for channel in used}

    @st.composite
    def fault(draw: Any) -> FaultConfig:
        strength = draw(_strengths)
        if strength.get("crash") == {"actor": "limiter"}:  # which a channel may not have
            strength["crash"] = {"actor": "handler"}
        hit = draw(st.sampled_from([[channel] for channel in used] + ([used] if len(used) > 1 else [])))
        written: dict[str, Any] = {"channel": hit, "at": draw(_tenths(within)), **strength}
        if not strength.keys() & {"crash", "clock_step"}:
            written["for"] = max(0.1, draw(_tenths(within)))
            several = names[hit[0]] if len(hit) == 1 else []
            if len(several) > 1:
                written["provider"] = draw(st.sampled_from([None, *several]))
        return FaultConfig.model_validate({key: value for key, value in written.items() if value is not None})

    return fault()


def operations(
    channels: Sequence[str | NotificationChannel], *, within: float = 60.0
) -> SearchStrategy[list[Operation]]:
    """Return a strategy of an operator's orders: dead letters tried again or discarded, a breaker forced open for a
    while.

    Args:
        channels: on which; at least one.
        within: seconds in which they begin.
    """
    names = [str(NotificationChannel(channel)) for channel in channels]

    def breaker(channel: str, at: float, length: float, order: str) -> list[dict[str, Any]]:
        forced = {"channel": channel, "at": at, "breaker": order}
        return [forced, {"channel": channel, "at": at + length, "breaker": "close"}]

    orders = st.one_of(
        _tenths(3 * within).map(lambda at: [{"at": at, "redrive": "all"}]),
        _tenths(3 * within).map(lambda at: [{"at": at, "redrive": "all", "served": "include"}]),
        _tenths(3 * within).map(lambda at: [{"at": at, "discard": "all"}]),
        _tenths(3 * within).map(lambda at: [{"at": at, "cancel": "all"}]),
        st.builds(
            breaker,
            st.sampled_from(names),
            _tenths(within),
            _tenths(within),
            st.sampled_from(["force-open", "disable", "metrics-only"]),
        ),
    )
    return orders.map(lambda written: [Operation.model_validate(each) for each in written])


def workloads(
    channels: Sequence[str | NotificationChannel], *, within: float = 60.0, most: int = 30
) -> SearchStrategy[tuple[ChannelWorkload, ...]]:
    """Return a strategy of workloads: a few notifications at given instants, an entry for each of some channels.

    Args:
        channels: on which; at least one.
        within: seconds in which they arrive.
        most: how many there are at most on each channel.
    """
    used = [NotificationChannel(channel) for channel in channels]

    def entry(
        channel: NotificationChannel, times: list[float], users: int | None, later: float | None
    ) -> ChannelWorkload:
        written: dict[str, Any] = {"channel": channel, "arrivals": {"times": sorted(times)}}
        if users is not None:
            written["users"] = users
        if later is not None:
            written["not_before"] = later
        return ChannelWorkload.model_validate(written)

    def entries(chosen: list[NotificationChannel]) -> SearchStrategy[tuple[ChannelWorkload, ...]]:
        times = st.lists(_tenths(within), min_size=1, max_size=most)
        users, later = st.sampled_from([1, 2, 5, None]), st.sampled_from([None, None, 0.5, 30.0])
        return st.tuples(*(st.builds(entry, st.just(channel), times, users, later) for channel in chosen))

    return st.lists(st.sampled_from(used), min_size=1, unique=True).flatmap(entries)


def scenarios(
    base: str | Path | Scenario,
    *,
    most_notifications: int = 30,
    most_faults: int = 3,
    most_operations: int = 2,
    most_deviations: int = 3,
) -> SearchStrategy[Scenario]:
    """Return a strategy of scenarios with the settings of `base`, and everything else drawn.

    Args:
        base: a file, or a scenario that has been loaded; its expectations are left out, and its faults.
        most_notifications: on each channel.
        most_faults: at the same time or after one another.
        most_operations: of the operator.
        most_deviations: of the schedule from the normal order; with 0 it is always that.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    scenario = base if isinstance(base, Scenario) else load(base)
    channels = scenario.channels_used
    settled = scenario.model_copy(
        update={
            "channels": scenario.channels.model_copy(
                update={str(channel): scenario.channel_as_given(channel) for channel in channels}
            ),
            "duration": 60.0,
            "record": "full",
            "expect": (),
            "sweep": None,
        }
    )

    @st.composite
    def drawn(draw: Any) -> Scenario:
        return settled.model_copy(
            update={
                "seed": draw(st.integers(0, 1000)),
                "workload": draw(workloads(channels, most=most_notifications)),
                "faults": tuple(draw(st.lists(one_fault, max_size=most_faults))),
                "operations": tuple(itertools.chain(*draw(st.lists(orders, max_size=most_operations)))),
                "schedule": draw(schedules(most_deviations)),
            }
        )

    one_fault = faults(channels, providers=scenario.providers_used)
    orders = operations(channels)
    return drawn()


def schedules(most_deviations: int = 3, *, decisions: int = 300) -> SearchStrategy[ScheduleConfig | None]:
    """Return a strategy of schedules; the simplest is None, the normal order.

    Args:
        most_deviations: from the normal order.
        decisions: among how many of a run's first ones.
    """
    steps = st.lists(
        st.tuples(st.integers(0, decisions - 1), st.integers(1, 3)),
        max_size=most_deviations,
        unique_by=lambda each: each[0],
    )
    return steps.map(lambda deviations: ScheduleConfig(deviations=tuple(sorted(deviations))) if deviations else None)


@contextmanager
def keeping(scenario: Scenario, folder: str | Path | None = None) -> Iterator[None]:
    """Keep the scenario as a file if the block raises, and say so in a note of the exception.

    Hypothesis runs the smallest case that it has found last, so the file then holds that one.

    Args:
        scenario: the scenario that the block runs.
        folder: where; ``.retrylab/failures/<name of the scenario>`` in the current directory when None.
    """
    try:
        yield
    except Exception as error:
        kept = Corpus(Path(folder) if folder is not None else Path(HOME) / "failures" / scenario.name)
        file = kept.folder / "hypothesis.yaml"
        command = shlex.join(["retrylab", "run", str(file), "--check"])
        kept.keep(file.stem, scenario, f"{type(error).__name__} in a property test", command)
        error.add_note(f"to see it again: {command}")
        raise


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _tenths(most: float) -> SearchStrategy[float]:
    return st.integers(0, round(10 * most)).map(lambda tenths: tenths / 10)


def _of(shape: Shape) -> SearchStrategy[Any]:
    match shape:
        case Between():
            return st.sampled_from(_simple(shape))
        case OneOf():
            return st.one_of(*map(_of, shape.shapes))
        case Either():
            return st.one_of(_of(shape.first), _of(shape.second))
        case Rates():
            return st.builds(Rate, _of(shape.count), _of(shape.period))
        case Joined():
            return st.tuples(*map(_of, shape.parts)).map(lambda parts: dict(ChainMap(*parts)))
        case Mapping():
            always = {key: _of(each) for key, each in shape.items() if not isinstance(each, Maybe)}
            perhaps = {key: _of(each.shape) for key, each in shape.items() if isinstance(each, Maybe)}
            return st.fixed_dictionaries(always, optional=perhaps)
        case _:
            return st.just(shape)


def _simple(shape: Between) -> list[float]:
    """Return a few of the numbers between two: 1, where that is one, the highest, and two of the higher half."""
    middle = math.sqrt(shape.low * shape.high)
    between = (1.0, shape.high, rounded(math.sqrt(middle * shape.high)), rounded(middle))
    found = [each for each in between if shape.low <= each <= shape.high]
    signs = (1.0, -1.0) if shape.is_signed else (1.0,)
    return list(dict.fromkeys(shape.of(each, sign) for each in found for sign in signs))


_SIMPLEST = "outage"
_strengths = st.one_of(
    *(_of(kind.strength) for _, kind in sorted(KINDS.items(), key=lambda named: named[0] != _SIMPLEST))
)
