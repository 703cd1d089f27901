"""The behaviour that people look for first: retries, dead letters, and the delays between attempts."""

import pytest
from worlds import EMAIL, World, email, on_both_clocks

from actors import NotificationService, Notifier, RetryConfig
from actors.settings.channel import ChannelConfig, NotifierConfig

RETRY = RetryConfig(max_attempts=3, initial_delay=0.1)


async def test_an_email_is_sent_on_the_third_attempt(autojump_clock):
    config = NotifierConfig(channels={EMAIL: ChannelConfig(retry=RETRY)})
    async with Notifier.open(config, providers=NotificationService(fail_count=2)) as notifier:
        await notifier.send(email("welcome-1"))
        await notifier.wait_until_quiet()
        sent, dead = notifier.sent_notifications, notifier.dead_letter_queue
    assert len(sent) == 1
    assert len(dead) == 0
    assert sent[0].notification_id == "welcome-1"
    assert sent[0].attempt == 3


async def test_an_email_that_always_fails_lands_in_the_dead_letter_queue(autojump_clock):
    config = NotifierConfig(channels={EMAIL: ChannelConfig(retry=RETRY)})
    async with Notifier.open(config, providers=NotificationService(failure_rate=1.0)) as notifier:
        await notifier.send(email("welcome-1"))
        await notifier.wait_until_quiet()
        sent, dead = notifier.sent_notifications, notifier.dead_letter_queue
    assert len(sent) == 0
    assert len(dead) == 1
    assert dead[0].attempts == 3
    assert dead[0].command.recipient == "ann@example.org"


@pytest.mark.parametrize("latency", [0.0, 0.25, 2.5])
def test_attempts_start_at_0_1_3_and_7_seconds_plus_send_times(latency):
    def scenario(world: World) -> None:
        world.open(
            NotificationService(failure_rate=1.0, latency=latency),
            email={"retry": {"max_attempts": 4}, "circuit_breaker": {"enabled": False}},
        )
        world.send(email("a"))

    world = on_both_clocks(scenario)
    started = [event.started_ns / 1e9 for event in world.failures]
    assert started == [0.0, 1.0 + latency, 3.0 + 2 * latency, 7.0 + 3 * latency]
