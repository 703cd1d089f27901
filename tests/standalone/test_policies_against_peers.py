"""Decorators against tenacity and pybreaker on the same scripted failures: the same schedule, under all three hosts."""

import json
import types
from datetime import UTC, datetime, timedelta

import pybreaker
import pytest
import tenacity
from effort import sliced
from hypothesis import given, strategies as st
from policy_hosts import HOSTS, made_host

import simulation
from actors import CircuitBreaker, Retry, ServiceUnavailable

MILLISECONDS = st.integers(0, 5_000).map(lambda ms: ms / 1000)


class Down(Exception):
    """What the scripts fail by."""


def schedule(host, decorate, failures, durations):
    """Return when each attempt began, and how the call ended."""
    starts = []

    async def body():
        number = len(starts)
        starts.append(host.now())
        await host.sleep(durations[number % len(durations)])
        if number < failures:
            raise Down(number)
        return number

    async def program(host):
        began = host.now()
        try:
            ended = await host.call(decorate(host.function(body)))
        except Down as error:
            ended = f"raised {error}"
        return [round(start - began, 6) for start in starts], ended

    return host.run(program)


def waits(kind, initial, factor, longest):
    """Return the same waits as settings of ours and as tenacity's."""
    match kind:
        case "exponential":
            ours = {"backoff_multiplier": factor}
            theirs = tenacity.wait_exponential(multiplier=initial, exp_base=factor, max=longest)
        case "constant":
            ours, theirs = {"backoff": "constant"}, tenacity.wait_fixed(min(initial, longest))
        case _:
            ours = {"backoff": "linear", "increment": factor}
            theirs = tenacity.wait_incrementing(start=initial, increment=factor, max=longest)
    return {"initial_delay": initial, "max_delay": longest, **ours}, theirs


@pytest.mark.parametrize("name", sliced(HOSTS, 6))
@given(
    kind=st.sampled_from(["exponential", "constant", "linear"]),
    initial=st.integers(1, 4_000).map(lambda ms: ms / 1000),
    factor=st.integers(4, 16).map(lambda quarters: quarters / 4),
    longest=st.integers(1, 20_000).map(lambda ms: ms / 1000),
    attempts=st.integers(1, 6),
    failures=st.integers(0, 7),
    durations=st.lists(MILLISECONDS, min_size=1, max_size=4),
)
def test_retries_are_tenacitys(name, kind, initial, factor, longest, attempts, failures, durations):
    config, wait = waits(kind, initial, factor, longest)
    with pytest.MonkeyPatch.context() as patch:
        host = made_host(name, patch)
        ours = schedule(host, Retry(config=config | {"max_attempts": attempts}), failures, durations)
        theirs = schedule(
            host,
            tenacity.retry(
                stop=tenacity.stop_after_attempt(attempts),
                wait=wait,
                reraise=True,
                **({} if host.is_async else {"sleep": host._virtual.sleep}),
            ),
            failures,
            durations,
        )
    assert ours[1] == theirs[1]
    assert ours[0] == pytest.approx(theirs[0], abs=2e-6)


@pytest.mark.parametrize("name", HOSTS)
@given(
    threshold=st.integers(1, 4),
    timeout=st.integers(1, 5),
    steps=st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.5, 5.0]), st.booleans()), max_size=40),
)
def test_breakers_are_pybreakers(name, threshold, timeout, steps):
    with pytest.MonkeyPatch.context() as patch:
        host = made_host(name, patch)
        ours = host.run(lambda host: called(host, steps, CircuitBreaker(threshold, timeout), ServiceUnavailable))
        thread = made_host("thread", patch)  # pybreaker has no other one but tornado's
        patch.setattr(
            pybreaker,
            "datetime",
            types.SimpleNamespace(now=lambda _: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=thread.now())),
        )
        peer = pybreaker.CircuitBreaker(threshold, timeout, throw_new_error_on_trip=False)
        theirs = thread.run(lambda host: called(host, steps, peer, pybreaker.CircuitBreakerError))
    assert ours == theirs


async def called(host, steps, decorate, refusal):
    async def body(fails):
        if fails:
            raise Down

    function, outcomes = decorate(host.function(body)), []
    for pause, fails in steps:
        await host.sleep(pause)
        try:
            await host.call(function, fails)
        except Down:
            outcomes.append("failed")
        except refusal:
            outcomes.append("refused")
        else:
            outcomes.append("fine")
    return outcomes


def test_what_is_decorated_can_be_simulated(host, tmp_path):
    """One notification with the same settings and the same answers, in a simulation."""
    retry = {"max_attempts": 6, "initial_delay": "500ms", "max_delay": "3s", "backoff_multiplier": 3}
    answers = [{"outcome": "transient", "latency": "100ms"}] * 4 + [{"latency": "100ms"}]
    scenario = {
        "name": "alone",
        "duration": "1s",
        "workload": [{"channel": "email", "arrivals": {"constant": "1/s"}}],
        "channels": {"email": {"retry": retry, "provider": {"script": answers}}},
    }
    (tmp_path / "alone.yaml").write_text(json.dumps(scenario))
    simulated = [round(start, 6) for start in simulation.run(tmp_path / "alone.yaml").attempts["start_s"]]
    assert len(simulated) == 5
    assert schedule(host, Retry(config=retry), 4, [0.1])[0] == simulated
