"""A setting that loads and would do nothing is refused, on either clock, before anything runs."""

import pytest
import trio

from actors import ChannelConfig, ConfigurationError, NotificationService, Notifier
from actors.config import NOT_IN_A_PIPELINE_YET
from simulation.runner import run
from simulation.scenario import parse

GIVEN = [
    ("circuit_breaker", {"per": "host"}),
]


def test_each_of_them_is_tried_here():
    assert {(group, key) for group, keys in NOT_IN_A_PIPELINE_YET.items() for key in keys} == {
        (group, key) for group, settings in GIVEN for key in settings
    }


@pytest.mark.parametrize(("group", "settings"), GIVEN, ids=lambda value: str(value)[:40])
def test_it_is_refused_live(group, settings):
    async def main():
        async with Notifier.open({"channels": {"email": {group: settings}}}, providers=NotificationService()):
            pytest.fail("it was not refused")

    with pytest.raises(ConfigurationError) as refused:
        trio.run(main)
    (key,) = settings
    assert refused.value.problems == [f"channels.email.{group}.{key}: not supported in a pipeline yet"]


def test_it_is_refused_in_a_run():
    text = """
duration: 1s
workload: [{channel: sms, arrivals: {constant: 1/s}}]
channels: {sms: {circuit_breaker: {per: host}}}
"""
    with pytest.raises(ConfigurationError, match=r"channels\.sms\.circuit_breaker\.per: not supported"):
        run(parse(text))


def test_what_has_an_effect_is_not():
    assert ChannelConfig(retry={"max_elapsed": 5}, circuit_breaker={"window": {"calls": 10}}).without_effect() == []
