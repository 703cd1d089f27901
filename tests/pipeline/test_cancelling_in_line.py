"""Cancelling what waits in a line: live under `MockClock`, and in scenarios in lock-step with the model."""

import pytest
import trio
from worlds import Scripted, email

import simulation
from actors import Notifier
from actors.messages import NotificationSent, NotificationSuppressed
from simulation.scenario import parse

LINES = {
    "a slot": {"max_in_flight": 1},
    "the quota": {"quota": {"rate": "1/m"}},
    "the limit of a user": {"rate_limit": {"rate": "1/m"}},
    "the bounds of a tenant": {"tenant": {"max_in_flight": 1}},
    "the rate of a tenant": {"tenant": {"rate": "1/m"}},
    "a slot, hosts taking turns": {"max_in_flight": 1, "circuit_breaker": {"per": "host"}, "fair_by": "host"},
}


@pytest.mark.parametrize("settings", LINES.values(), ids=LINES)
async def test_what_waits_in_a_line_is_cancelled_and_those_behind_it_go_on(autojump_clock, settings):
    settings = dict(settings)
    fair_by = settings.pop("fair_by", None)
    if fair_by is not None:
        settings["order"] = {"fair_by": fair_by}
    provider = Scripted(latency=5.0)
    async with Notifier.open({"channels": {"email": settings}}, providers=provider) as notifier:
        for each in ("a", "b", "c"):
            await notifier.send(email(each, user_id="ann", metadata={"tenant": "acme"}))
        await trio.sleep(1)
        assert provider.ids == ["a"]
        assert [await notifier.cancel(each) for each in ("a", "b", "b")] == [False, True, False]
        assert (await notifier.state("b")).state == "cancelled"
        waiting = notifier.pipeline.wiring.waiting
        assert sum(each.now for each in (waiting.limit, waiting.quota, waiting.slots, waiting.breaker)) == 1
        await trio.sleep(130)
        assert provider.ids == ["a", "c"]
        for each in ("d", "e"):  # nobody is left in the place of the one that was cancelled
            await notifier.send(email(each, user_id="ann", metadata={"tenant": "acme"}))
        await trio.sleep(300)
        assert provider.ids == ["a", "c", "d", "e"]


async def test_what_waits_for_an_open_breaker_is_cancelled(autojump_clock):
    provider = Scripted()
    async with Notifier.open({"drain": 0}, providers=provider) as notifier:
        await notifier.operate_breaker("email", "force-open")
        for each in ("a", "b"):
            await notifier.send(email(each))
        assert await notifier.cancel("a")
        await notifier.operate_breaker("email", "close")
        await notifier.wait_until_quiet()
    assert provider.ids == ["b"]


WAITING = """
duration: 30s
drain: 5m
workload:
  - {channel: email, arrivals: {constant: 4/s}, users: 3, tenants: 2, priority: bulk, expires_after: 40s}
  - {channel: email, arrivals: {constant: 1/s}, users: 2, hosts: 3}
channels:
  email:
    order: {aging: 1m}
    rate_limit: {rate: 1/s}
    tenant: {max_in_flight: 2, rate: 2/s}
    max_in_flight: 3
    circuit_breaker: {failure_threshold: 3, timeout: 10s}
    retry: {max_attempts: 4, initial_delay: 1s, budget: {kind: finagle}}
    provider: {latency: 700ms}
faults:
  - {channel: email, at: 8s, for: 6s, outage: true}
  - {channel: email, at: 12s, crash: {actor: breaker}, restart_after: 2s}
  - {channel: email, at: 20s, crash: {actor: limiter}, restart_after: 1s}
  - {channel: email, at: 25s, crash: {actor: handler}}
operations:
  - {at: 6s, cancel: {priority: normal}}
  - {at: 11s, cancel: all}
  - {at: 13s, cancel: all}
  - {at: 20.5s, cancel: {priority: bulk}}
  - {at: 25.05s, cancel: all}
  - {at: 29s, cancel: all, channel: email}
"""


@pytest.mark.parametrize("more", ["", "commit_latency: 300ms\n"])
def test_lines_are_cleared_as_the_model_says_over_crashes_of_the_stages(more):
    result = simulation.run(parse(WAITING + more), invariants="all")
    live = simulation.run(parse(WAITING + more), runtime="trio")
    assert result.summary["digest"] == live.summary["digest"]
    cancelled = {each.notification_id for each in result.history if type(each) is NotificationSuppressed}
    sent = {each.notification_id for each in result.history if type(each) is NotificationSent}
    assert len(cancelled) > 60
    assert not cancelled & sent


def test_copies_and_late_messages_cancel_nothing_twice():
    copies = "duplicate_rate: 30%, reorder: {delay: {uniform: {low: 0s, high: 500ms}}}"
    text = WAITING.replace("operations:", f"  - {{channel: email, at: 0s, for: 40s, {copies}}}\noperations:")
    result = simulation.run(parse(text), invariants="all")
    cancelled = [each.notification_id for each in result.history if type(each) is NotificationSuppressed]
    assert len(cancelled) == len(set(cancelled)) > 40
