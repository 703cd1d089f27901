"""The circuit breakers of a running service, as people and programs see them."""

import pytest
import trio

from actors import Notifier, Provider, SendNotification, TransientError
from actors.messages import BreakerState
from actors.service.operations.breakers import BreakerWatch


class Down(Provider):
    def attempt(self, attempt, now_ns):
        async def deliver():
            raise TransientError("503 from the gateway")

        return deliver


def email(number, recipient="ann@example.com"):
    return SendNotification(notification_id=f"n-{number}", channel="email", recipient=recipient, message="Hello")


SETTINGS = {"retry": {"max_attempts": 1}, "circuit_breaker": {"failure_threshold": 2, "timeout": 60.0}}


def notifier(watch, settings=SETTINGS):
    config = {"channels": {"email": settings}, "drain": 0}
    return Notifier.open(config, providers=Down(), on_event=watch.record, seed=1)


async def test_a_breaker_is_seen_to_open_and_when_it_may_close(autojump_clock):
    watch = BreakerWatch()
    async with notifier(watch) as live:
        [before] = watch.now(live.pipeline)
        assert (before.name, before.provider, before.host) == ("email", "primary", None)
        assert (before.state, before.since, before.retry_at) == (BreakerState.CLOSED, None, None)
        await trio.sleep(10)
        for number in range(2):
            await live.send(email(number))
        await live.wait_until_quiet()
        [breaker] = watch.now(live.pipeline)
        assert (breaker.state, breaker.consecutive_failures) == (BreakerState.OPEN, 2)
        assert (breaker.retry_at - breaker.since).total_seconds() == 60
        [opened] = watch.history()
        assert (opened.breaker, opened.to_state, opened.cause, opened.at) == ("email", "open", "trip", breaker.since)
        await trio.sleep(60)
        await live.send(email("probe"))
        await live.wait_until_quiet()
        assert len(watch.history()) == 3
        [still] = watch.now(live.pipeline)
        assert (still.state, still.since) == (BreakerState.OPEN, breaker.since)


async def test_each_host_has_its_own_where_it_is_set_so(autojump_clock):
    watch = BreakerWatch()
    settings = SETTINGS | {"circuit_breaker": SETTINGS["circuit_breaker"] | {"per": "host"}}
    async with notifier(watch, settings) as live:
        assert watch.now(live.pipeline) == []
        for number, host in enumerate(["a.example", "a.example", "b.example"]):
            await live.send(email(number, f"ann@{host}"))
        await live.wait_until_quiet()
        seen = {breaker.host: breaker for breaker in watch.now(live.pipeline)}
        assert {host: breaker.state for host, breaker in seen.items()} == {"a.example": "open", "b.example": "closed"}
        assert seen["a.example"].since is not None
        assert seen["b.example"].since is None


async def test_the_latest_transitions_come_first_and_the_oldest_are_forgotten(autojump_clock):
    watch = BreakerWatch(kept=3)
    async with notifier(watch) as live:
        for order in ("force-open", "close", "disable", "close"):
            await live.operate_breaker("email", order)
        assert [event.cause for event in watch.history()] == ["close", "disable", "close"]
        assert [event.cause for event in watch.history(limit=2)] == ["close", "disable"]
        assert watch.history(channel="sms") == []
        assert len(watch.history(channel="email")) == 3


@pytest.mark.parametrize("idle_s", [0, 90])
async def test_the_present_goes_on_while_no_message_is_handled(autojump_clock, idle_s):
    async with notifier(BreakerWatch()) as live:
        await live.operate_breaker("email", "disable")
        before = live.system.present
        await trio.sleep(idle_s)
        assert (live.system.present - before).total_seconds() == idle_s


async def test_a_breaker_is_as_it_is_since_its_latest_transition_however_many_others_there_were(autojump_clock):
    watch = BreakerWatch(kept=3)
    config = {"channels": {"email": SETTINGS, "sms": SETTINGS}, "drain": 0}
    async with Notifier.open(config, providers=Down(), on_event=watch.record, seed=1) as live:
        await live.operate_breaker("email", "force-open")
        opened = live.system.present
        await trio.sleep(10)
        for order in ("force-open", "close", "disable", "close"):
            await live.operate_breaker("sms", order)
        assert [event.breaker for event in watch.history()] == ["sms"] * 3
        assert watch.now(live.pipeline)[0].since == opened
