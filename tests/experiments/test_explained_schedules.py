"""The schedules that `explain` shows are those of tenacity, stamina, Celery and botocore for the same settings."""

import random
from types import SimpleNamespace
from unittest import mock

import pytest
import stamina._core
import tenacity
from botocore.retries.standard import ExponentialBackoff
from botocore.retryhandler import delay_exponential
from celery.utils.time import get_exponential_backoff_interval

from actors.settings.base import validated
from actors.settings.retry import RetryConfig
from simulation.experiments.explaining.schedule import Reach, schedules


def with_every_draw(share, wait, numbers):
    """Return the waits of a library where each draw of its is this share of its range."""
    # Both ends as they are: each draws from the module's own generator.
    with (
        mock.patch.object(random, "random", return_value=share),
        mock.patch.object(random, "uniform", lambda low, high: low + share * (high - low)),
        mock.patch.object(random, "randrange", lambda stop: round(share * (stop - 1))),
    ):
        return [wait(number) for number in numbers]


def of_tenacity(wait):
    return lambda number: float(wait(SimpleNamespace(attempt_number=number)))


def of_stamina(initial, most, base, jitter):
    return lambda number: float(stamina._core._compute_backoff(number, most, initial, base, jitter))


def of_celery(factor, most, jitter):
    return lambda number: float(get_exponential_backoff_interval(factor, number - 1, most, jitter))


def of_botocore(number):
    backoff = ExponentialBackoff(random=random.random)
    return backoff.delay_amount(
        SimpleNamespace(attempt_number=number, http_response=None, parsed_response=None, operation_model=None)
    )


SETTINGS = {
    "tenacity, exponential": (
        {"max_attempts": 9, "initial_delay": 1, "max_delay": 60},
        of_tenacity(tenacity.wait_exponential(multiplier=1, exp_base=2, min=0, max=60)),
    ),
    "tenacity, exponential ×3 with a minimum": (
        {"max_attempts": 7, "initial_delay": 0.5, "backoff_multiplier": 3, "min_delay": 2, "max_delay": 30},
        of_tenacity(tenacity.wait_exponential(multiplier=0.5, exp_base=3, min=2, max=30)),
    ),
    "tenacity, fixed": (
        {"max_attempts": 5, "initial_delay": 3, "backoff": "constant"},
        of_tenacity(tenacity.wait_fixed(3)),
    ),
    "tenacity, incrementing": (
        {"max_attempts": 8, "initial_delay": 2, "increment": 5, "backoff": "linear", "max_delay": 20},
        of_tenacity(tenacity.wait_incrementing(start=2, increment=5, max=20)),
    ),
    "tenacity, chain": (
        {"schedule": [5, 300, 1800, 7200]},
        of_tenacity(tenacity.wait_chain(*map(tenacity.wait_fixed, (5, 300, 1800, 7200)))),
    ),
    "tenacity, random exponential": (
        {"max_attempts": 9, "initial_delay": 0.25, "max_delay": 10, "jitter": "full"},
        of_tenacity(tenacity.wait_random_exponential(multiplier=0.25, max=10)),
    ),
    "tenacity, exponential with jitter": (
        {"max_attempts": 8, "initial_delay": 1, "max_delay": 40, "jitter": "additive", "jitter_max": 3},
        of_tenacity(tenacity.wait_exponential_jitter(initial=1, max=40, exp_base=2, jitter=3)),
    ),
    "stamina, its defaults": (
        {"max_attempts": 10, "initial_delay": 0.1, "max_delay": 5, "jitter": "additive", "jitter_max": 1},
        of_stamina(0.1, 5.0, 2.0, 1.0),
    ),
    "stamina, without jitter": (
        {"max_attempts": 12, "initial_delay": 0.2, "max_delay": 45, "backoff_multiplier": 1.5},
        of_stamina(0.2, 45.0, 1.5, 0.0),
    ),
    "Celery, retry_backoff": (
        {"max_attempts": 12, "initial_delay": 3, "max_delay": 600},
        of_celery(3, 600, False),
    ),
    "Celery, retry_backoff with jitter": (
        {"max_attempts": 12, "initial_delay": 1, "max_delay": 600, "jitter": "full"},
        of_celery(1, 600, True),
    ),
    "botocore, standard mode": (
        {"max_attempts": 12, "initial_delay": 0.05, "max_delay": 20, "jitter": "full"},
        of_botocore,
    ),
    "botocore, legacy mode": (
        {"max_attempts": 5, "initial_delay": 0.3, "max_delay": 3600},
        lambda number: delay_exponential(0.3, 2, number),
    ),
}


def explained(settings):
    """Return the waits that `explain` shows, in nanoseconds: the shortest and the longest of each."""
    attempts = schedules(validated(RetryConfig, settings))[0].attempts
    waits = [attempt.wait for attempt in attempts if attempt.wait is not None]
    return [round(wait.shortest * 1e9) for wait in waits], [round(wait.longest * 1e9) for wait in waits]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_schedule_and_its_envelope_are_those_of_the_library(name):
    settings, wait = SETTINGS[name]
    shown = [each.number for each in schedules(validated(RetryConfig, settings))[0].attempts[1:]]
    numbers = [number - 1 for number in shown]
    low, high = (with_every_draw(share, wait, numbers) for share in (0.0, 1.0))
    assert explained(settings) == ([round(each * 1e9) for each in low], [round(each * 1e9) for each in high])


def test_an_attempt_starts_after_the_sum_of_the_waits_before_it():
    settings, wait = SETTINGS["tenacity, exponential with jitter"]
    attempts = schedules(validated(RetryConfig, settings))[0].attempts
    low, high = (with_every_draw(share, wait, range(1, 8)) for share in (0.0, 1.0))
    assert [each.start.shortest for each in attempts] == [sum(low[:count]) for count in range(8)]
    assert [each.start.longest for each in attempts] == [sum(high[:count]) for count in range(8)]


def test_bounds_that_read_the_same_are_one() -> None:
    assert Reach(86_400.0, None, 86_409.0).text == "24 h"
    assert Reach(86_400.0, None, 90_000.0).text == "24 h to 25 h"
