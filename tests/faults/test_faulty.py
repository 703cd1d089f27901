"""Injected faults around a live transport: the fates of the simulated provider, and what a transport makes of it."""

from typing import Any

import pytest
import trio
from hypothesis import given, strategies as st
from provider_attempts import S, fault, first_attempt
from worlds import Scripted, Sleeping, World, email, on_both_clocks, run_on_trio, simulate

from actors.domain.attempts import Attempt, Provider
from actors.errors import ConfigurationError
from actors.faults.chaos import FaultyProvider
from actors.faults.provider import SimulatedProvider
from actors.kernel.effects import Foreseen
from actors.kernel.randomness import RandomStreams
from actors.messages import NotificationSent
from actors.outcomes import Permanent, Sent, Transient


def attempt(number: int = 1) -> Attempt:
    return first_attempt(email(f"n{number}"))


windows = st.tuples(st.integers(0, 20), st.integers(1, 20)).map(lambda pair: {"at": pair[0], "for": pair[1]})
faults = st.builds(
    lambda when, keys: fault(**when, **keys),
    windows,
    st.sampled_from(
        [
            {"outage": True},
            {"hang": True},
            {"fail_first": 3},
            {"failure_rate": 0.5},
            {"channel_fault_rate": 0.4},
            {"permanent_rate": 0.3, "dead_destination_rate": 0.3},
            {"lost_reply_rate": 0.5},
            {"latency": {"exponential": {"mean": 1.0}}},
            {"latency_factor": 3.0},
            {"throttle": {"rate": "1/s", "retry_after": 3.0}},
            {"burst": {"mean_good": 3.0, "mean_bad": 2.0}},
            {"flap": {"up": 3.0, "down": 2.0}},
            {"capacity": 1, "latency": 1.0},
            {"outage": True, "host": "example.org"},
        ]
    ),
)
settings_of_runs = {"until": 200.0}
instants = st.lists(st.integers(0, 40), max_size=40).map(sorted)


@given(st.lists(faults, max_size=4), instants, st.integers(0, 99))
def test_equal_seeds_give_the_fates_of_the_simulated_provider(faults, instants, seed):
    answers = [
        [provider.attempt(attempt(), at * S) for at in instants]
        for provider in (
            SimulatedProvider(faults=faults, streams=RandomStreams(seed)),
            FaultyProvider(Scripted(), faults, streams=RandomStreams(seed)),
        )
    ]
    assert answers[0] == answers[1]


# Without a capacity, whose end may release several at one instant: which of two tasks trio then runs first is random.
@given(
    st.lists(faults.filter(lambda each: each.capacity is None), max_size=3),
    st.sampled_from([0.0, 0.3, 2.0]),
    st.integers(0, 99),
)
def test_a_transport_that_is_real_has_the_history_of_one_that_is_simulated(faults, seconds, seed):
    def scenario(provider: Provider) -> Any:
        def open_and_send(world: World) -> None:
            wrapped = FaultyProvider(provider, faults, streams=world.system.streams)
            world.open(wrapped, email={"timeout": 4, "retry": {"max_attempts": 3}, "max_in_flight": 5})
            for number in range(20):
                world.send(email(f"n{number}"), at=number + number / 1024)

        return open_and_send

    simulated = simulate(scenario(Scripted(latency=seconds)), seed=seed, **settings_of_runs)
    real = run_on_trio(scenario(Sleeping(seconds)), seed=seed, **settings_of_runs)
    assert [_about(event) for event in real.history] == [_about(event) for event in simulated.history]


def _about(event: Any) -> Any:
    """Return an event without what trio's clock, which counts in floats, leaves of its last digits."""
    named = {name: getattr(event, name) for name in event.__struct_fields__}
    return type(event), {
        name: round(value / 1000) if name.endswith("_ns") and value is not None else value
        for name, value in named.items()
    }


def test_without_faults_it_is_the_transport_itself_on_both_clocks():
    def scenario(world: World) -> None:
        world.open(FaultyProvider(Scripted([Transient(reason="busy"), Permanent(reason="no")], latency=0.5), []))
        world.send(email("a"))

    assert on_both_clocks(scenario).reasons == ["no"]
    transport = Sleeping()
    effect = transport.attempt(attempt(), 0)
    transport.attempt = lambda *_: effect  # type: ignore[method-assign]
    assert FaultyProvider(transport, []).attempt(attempt(), 0) is effect


async def called(provider: Provider, at: float = 0.0) -> Any:
    effect = provider.attempt(attempt(), round(at * S))
    assert not isinstance(effect, Foreseen)
    return await effect()


async def test_what_is_to_succeed_is_held_back_for_the_injected_latency(autojump_clock):
    transport = Sleeping(2.0, [Permanent(reason="no")])
    outcome = await called(FaultyProvider(transport, [fault(latency=3.0)]))
    assert (outcome, transport.begun, trio.current_time()) == (Permanent(reason="no"), [3], 5)


async def test_a_brownout_stretches_what_the_transport_takes_also_where_it_raises(autojump_clock):
    brownout = [fault(latency_factor=10.0)]
    assert await called(FaultyProvider(Sleeping(2.0), brownout)) == Sent()
    assert trio.current_time() == 20
    with pytest.raises(OSError, match="unplugged"):
        await called(FaultyProvider(Sleeping(2.0, [OSError("unplugged")]), brownout))
    assert trio.current_time() == 40
    await called(FaultyProvider(Sleeping(2.0), [fault(latency_factor=0.1)]))
    assert trio.current_time() == 42  # no one can make it faster


@pytest.mark.parametrize("outcome", [Sent(), OSError("unplugged")])
async def test_a_lost_reply_is_of_an_attempt_that_was_made(autojump_clock, outcome):
    transport = Sleeping(2.0, [outcome])
    with trio.move_on_after(60) as scope:
        await called(FaultyProvider(transport, [fault(lost_reply_rate=1.0)]))
    assert scope.cancelled_caught
    assert (transport.ended, trio.current_time()) == ([2], 60)


def test_what_fails_or_hangs_never_comes_to_the_transport():
    transport = Sleeping()
    for keys in ({"outage": True}, {"hang": True}, {"permanent_rate": 1.0}, {"fail_first": 9}):
        assert isinstance(FaultyProvider(transport, [fault(**keys)]).attempt(attempt(), 0), Foreseen)
    assert transport.begun == []


def test_rules_see_the_load_that_comes_to_it():
    provider = FaultyProvider(
        Scripted(), [fault(latency=5.0)], rules=[lambda _a, _n, load: Transient() if load.under_way >= 2 else None]
    )
    outcomes = [provider.attempt(attempt(), at * S).result for at in (0, 1, 2, 6)]
    assert [type(outcome).__name__ for outcome in outcomes] == ["Sent", "Sent", "Transient", "Sent"]
    with pytest.raises(ConfigurationError, match=r"rules\.0: wanted a function"):
        FaultyProvider(Scripted(), [], rules=["no"])  # type: ignore[list-item]


def test_the_time_limit_of_an_attempt_holds_over_what_is_injected_and_the_transport_is_cancelled():
    transport = Sleeping(3.0)

    def scenario(world: World) -> None:
        provider = FaultyProvider(transport, [fault(**{"for": 5}, latency=2.0)])
        world.open(provider, email={"timeout": 4, "retry": {"initial_delay": 10, "jitter": "none"}})
        world.send(email("a"))

    world = run_on_trio(scenario, until=60)
    (failed,), (sent,) = world.failures, world.events(NotificationSent)
    assert (failed.reason, failed.at_ns, sent.at_ns) == ("timed out", 4 * S, 17 * S)
    assert (len(transport.begun), len(transport.ended)) == (2, 1)
