"""Cases in which much dies, and is redriven where there is hardly any room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest
from comparable import comparable
from effort import thorough

from actors.messages import DeadLetterDiscarded, NotificationMovedToDeadLetter, NotificationRedriven
from actors.settings.channel import DeadLettersConfig
from actors.settings.faults import FaultConfig
from simulation.scenario import Scenario, load, parse
from simulation.scenario.writing import write
from simulation.verification.drawing.dead_letters import burying
from simulation.verification.drawing.disturbances import bearable
from simulation.verification.drawing.swarm import case
from simulation.verification.exploring.trial import attempt

SWARM = load(Path(__file__).parent / "swarm.yaml")


@pytest.mark.parametrize("seed", range(6))
def test_it_is_a_file_that_can_be_read(seed):
    found = burying(case(SWARM, seed, settings="drawn"), Random(seed))
    assert parse(write(found)) == found
    assert any(operation.redrive is not None for operation in found.operations)


def test_letters_are_redriven_where_there_is_hardly_any_room():
    happened = []
    for seed in (21, 24):
        found = burying(case(SWARM, seed, settings="given"), Random(seed))
        trial = attempt(comparable(found), invariants=["reference-model"])
        assert trial.failing_case is None
        happened += [type(event) for event in trial.result.history]
    assert happened.count(NotificationMovedToDeadLetter) > 50
    assert happened.count(NotificationRedriven) > 20


def with_a_bound(seed: int) -> Scenario:
    """Return a case in which much dies while few letters are kept, and their queue crashes several times."""
    random = Random(seed)
    found = burying(case(SWARM, seed, settings="drawn"), random)
    crashes = [
        {
            "channel": found.channels_used[0],
            "at": random.uniform(0.0, 1.0) * found.duration,
            "crash": {"actor": "dlq"},
            "restart_after": random.choice([0.0, 0.1, 0.3]) * found.duration,
        }
        for _ in range(random.randint(1, 3))
    ]
    return found.model_copy(
        update={
            "max_pending": None,  # else redrives wait for room, and the law knows of no letters that have left so
            "remember_ids": 86_400.0,  # else an id comes again before the end of the former one is recorded
            "dead_letters": DeadLettersConfig(at_most=random.randint(1, 12), keep=random.choice([None, 600.0])),
            "faults": bearable((*found.faults, *map(FaultConfig.model_validate, crashes))),
        }
    )


def check_that_room_is_used(seeds: Iterable[int]) -> Counter[str]:
    """Check the laws of letters in these cases; return how often they were discarded, for which reason."""
    reasons: Counter[str] = Counter()
    for seed in seeds:
        trial = attempt(with_a_bound(seed), invariants=["retention", "dead-letters", "conservation"])
        assert trial.failing_case is None, f"seed {seed}: {trial.failing_case}"
        reasons.update(event.reason for event in trial.result.history if isinstance(event, DeadLetterDiscarded))
    return reasons


@pytest.mark.parametrize(("seeds", "least"), [(2, 33), thorough((6, 100))])
def test_no_letter_is_discarded_as_too_many_while_there_is_room_though_its_queue_crashes(seeds, least):
    assert check_that_room_is_used(range(seeds))["full"] > least


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 2_000, 250))
def test_nor_in_2000_cases(first):
    assert check_that_room_is_used(range(first, first + 250))["full"] > 1_000
