"""What a simulation predicts is what happens live: under trio's clock for tests, and through real transports.

What goes through transports to servers on loopback takes real time, which a loaded machine does not have: so their
figures are compared with ``-m slow`` alone.

The faults are injected in two ways: round the transports, as a game day does it, and by the servers themselves, which
answer 503, 451, 410 and so on, late or never. Then what the transports make of an answer is in the loop as well.
"""

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from http_servers import Reply, http_server
from misbehaving import MisbehavingMail, Schedule, webhook_server
from smtp_servers import Script, mail_server
from trio.testing import MockClock
from worlds import Scripted

import simulation
from actors.messages import NotificationChannel
from actors.transports.email import EmailProvider
from actors.transports.webhook import WebhookProvider
from simulation import Result

SCENARIOS = Path(__file__).with_name("live")
SEED = 1_000_000
"""Of the live runs; none of the replicates has it."""

SHORT = ("sent_fraction", "retry_amplification", "breaker.webhook.opened")
NO_RETRIES = ("channels.webhook.retry.max_attempts=1", "channels.email.retry.max_attempts=1")
NO_BREAKER = ("channels.webhook.circuit_breaker.enabled=false", "channels.email.circuit_breaker.enabled=false")


async def live(name: str, *, by_servers: bool, sets: tuple[str, ...] = ()) -> Result:
    """Run a scenario against servers of its own, which go wrong by themselves or take everything."""
    scenario = simulation.load(SCENARIOS / name, sets=sets, seed=SEED)
    schedules = {channel: Schedule(scenario, channel) for channel in scenario.channels_used}
    async with AsyncExitStack() as stack:
        hooks = await stack.enter_async_context(
            webhook_server(schedules[NotificationChannel.WEBHOOK]) if by_servers else http_server([Reply(204)])
        )
        webhook = WebhookProvider(
            {
                "signing_keys": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
                "allow_http": True,
                "allow_networks": ["127.0.0.0/8"],
                "connections": 100,
            }
        )
        providers: dict[NotificationChannel, Any] = {
            NotificationChannel.WEBHOOK: await stack.enter_async_context(webhook)
        }
        if NotificationChannel.EMAIL in schedules:
            script = MisbehavingMail(schedules[NotificationChannel.EMAIL]) if by_servers else Script()
            mails = stack.enter_context(mail_server(script))
            email = EmailProvider(mails.settings(connections=40))
            providers[NotificationChannel.EMAIL] = await stack.enter_async_context(email)
        for schedule in schedules.values():
            schedule.start()
        addresses = {
            NotificationChannel.WEBHOOK: lambda user: f"{hooks.url}/{user}",
            NotificationChannel.EMAIL: lambda user: f"{user}@example.com",
        }
        return await simulation.run_live(
            scenario,
            providers,
            inject="nothing" if by_servers else "all",
            addresses={channel: addresses[channel] for channel in providers},
        )


def live_side_by_side(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Run scenarios at once, as they mostly wait, and return their summaries."""
    summaries = {}

    async def one(name: str, arguments: dict[str, Any]) -> None:
        summaries[name] = (await live(**arguments)).summary

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for name, arguments in runs.items():
                nursery.start_soon(one, name, arguments)

    trio.run(main)
    return summaries


def at_the_mock_clock(sets: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run the short scenario under trio's clock for tests, where a loaded machine delays nothing."""
    scenario = simulation.load(SCENARIOS / "short.yaml", sets=sets, seed=SEED)
    run = partial(simulation.run_live, scenario, Scripted(), inject="all")
    return trio.run(run, clock=MockClock(autojump_threshold=0)).summary


@pytest.fixture(scope="module")
def prediction():
    return simulation.predict(SCENARIOS / "short.yaml", SHORT)


@pytest.mark.thorough
def test_a_live_run_is_as_predicted(prediction):
    summary = at_the_mock_clock()
    assert summary["runtime"] == "live"
    assert summary["breaker"]["webhook"]["opened"] >= 1
    assert prediction.surprises(summary) == []


@pytest.mark.thorough
@pytest.mark.parametrize(("sets", "figure"), [(NO_RETRIES, "sent_fraction"), (NO_BREAKER, "retry_amplification")])
def test_a_live_run_with_another_setting_is_not(sets, figure, prediction):
    surprises = prediction.surprises(at_the_mock_clock(sets))
    assert any(surprise.startswith(figure) for surprise in surprises)


def test_through_real_transports_every_notification_ends():
    """Nothing here depends on how fast the machine is: the figures of such runs are compared with -m slow."""
    for summary in live_side_by_side(
        {
            "round the transports": {"name": "short.yaml", "by_servers": False},
            "by the servers": {"name": "short.yaml", "by_servers": True},
        }
    ).values():
        assert summary["in_flight"] == 0
        assert summary["sent"] + summary["dead_lettered"] == summary["accepted"] > 100
        assert summary["sent"] > summary["dead_lettered"]
        assert summary["breaker"]["webhook"]["opened"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["short.yaml", "long.yaml", "throttled.yaml"])
def test_real_time_runs_through_transports_are_as_predicted(name):
    summaries = live_side_by_side(
        {
            "round the transports": {"name": name, "by_servers": False},
            "by the servers": {"name": name, "by_servers": True},
        }
    )
    prediction = simulation.predict(SCENARIOS / name, workers=None)
    for summary in summaries.values():
        assert prediction.surprises(summary) == []
