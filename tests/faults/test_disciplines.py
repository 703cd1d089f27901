"""The discipline of a provider with a capacity: which is next, or which share, in the pipeline and on both clocks."""

from typing import Any

import pytest
import trio
from effort import sliced
from provider_attempts import ATTEMPT, S, fault, first_attempt
from worlds import Scripted, Sleeping, World, email, on_both_clocks

import simulation
from actors.errors import ActorSystemError
from actors.faults.chaos import FaultyProvider
from actors.faults.provider import SimulatedProvider
from actors.kernel.effects import Foreseen, Promise
from actors.kernel.live import LiveSystem
from actors.kernel.randomness import RandomStreams
from actors.messages import NotificationSent
from actors.notifier import Notifier
from actors.outcomes import Sent, Transient
from actors.settings.base import validated
from actors.settings.channel import ProviderConfig
from actors.settings.distributions import Distribution
from simulation.engine.system import SimulatedSystem
from simulation.scenario import parse

DISCIPLINES = ("fifo", "critical_first", "processor_sharing")


def ends(provider: SimulatedProvider, *attempts: tuple[float, bool]) -> list[tuple[int, float]]:
    """Return when attempts end that start at these instants, critical or not: their numbers with seconds, in order."""
    found: list[tuple[int, float]] = []
    with SimulatedSystem() as system:
        provider.on_wired(system)

        def start(number: int, critical: bool) -> None:
            command = email(f"n{number}", critical=critical)
            attempt = first_attempt(command)
            effect = provider.attempt(attempt, system.now_ns)
            if isinstance(effect, Foreseen):
                if effect.delay_ns < 10**17:
                    system.call_at(system.now_ns + effect.delay_ns, lambda: note(number))
            else:
                effect.when_kept(lambda _: note(number))

        def note(number: int) -> None:
            found.append((number, system.now_ns / S))

        for number, (at, critical) in enumerate(attempts):
            system.call_at(round(at * S), lambda number=number, critical=critical: start(number, critical))
        system.run()
    return found


# ── settings ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_first_come_first_served_is_what_it_is_when_nothing_is_said():
    named, plain = (SimulatedProvider(latency=2, capacity=1, **extra) for extra in ({"discipline": "fifo"}, {}))
    assert [named.attempt(ATTEMPT, 0) for _ in range(3)] == [plain.attempt(ATTEMPT, 0) for _ in range(3)]


def test_without_the_clock_of_a_system_it_says_so():
    provider = SimulatedProvider(capacity=1, discipline="critical_first")
    with pytest.raises(ActorSystemError, match=r"critical_first needs a clock: .* on_wired"):
        provider.attempt(ATTEMPT, 0)
    with SimulatedSystem() as one, SimulatedSystem() as other:
        provider.on_wired(one)
        provider.on_wired(one)
        with pytest.raises(ActorSystemError, match="serves one run"):
            provider.on_wired(other)


# ── what happens to attempts ────────────────────────────────────────────────────────────────────────────────────


def test_each_discipline_by_hand():
    # All take 2 s. At 0.5 an ordinary one comes, at 1 a critical one.
    attempts = [(0.0, False), (0.5, False), (1.0, True)]
    expected = {
        "fifo": [(0, 2.0), (1, 4.0), (2, 6.0)],
        "critical_first": [(0, 2.0), (2, 4.0), (1, 6.0)],
        # By 1, 0 has had 0.75 and 1 has had 0.25. From then on a third each: 0 ends at 1 + 3·1.25 = 4.75 with 1 having
        # 0.5 left and 2 having 0.75; half each: 1 ends at 5.75 and 2 at 6.
        "processor_sharing": [(0, 4.75), (1, 5.75), (2, 6.0)],
    }
    for discipline in DISCIPLINES:
        assert ends(SimulatedProvider(latency=2, capacity=1, discipline=discipline), *attempts) == expected[discipline]


@pytest.mark.parametrize("discipline", ["critical_first", "processor_sharing"])
@pytest.mark.parametrize(
    ("keys", "answers"),
    [({"outage": True}, True), ({"throttle": {"rate": "1/h"}}, True), ({"hang": True}, False)],
)
def test_what_is_not_worked_on_takes_up_nothing(discipline, keys, answers):
    window = fault(at=1, **keys, **{"for": 1})
    provider = SimulatedProvider(latency=2, capacity=1, discipline=discipline, faults=[window])
    kept_out = 1 if "throttle" not in keys else 2  # the quota lets one through
    attempts = [(0.0, False), *((1.0, False) for _ in range(kept_out))]
    ended = dict(ends(provider, *attempts))
    last = kept_out
    assert ended.get(last) == (3.0 if answers else None)
    assert ended[0] == (2.0 if "throttle" not in keys or discipline == "critical_first" else 3.0)


@pytest.mark.parametrize("keys", [{"failure_rate": 1}, {"fail_first": 9}, {"lost_reply_rate": 1}])
@pytest.mark.parametrize("discipline", ["critical_first", "processor_sharing"])
def test_work_that_comes_to_nothing_costs_as_much_as_any(keys, discipline):
    provider = SimulatedProvider(latency=2, capacity=1, discipline=discipline, faults=[fault(**{"for": 1}, **keys)])
    ended = dict(ends(provider, (0.5, False), (1.0, False)))
    assert ended[1] == 4.5
    assert (0 in ended) == ("lost_reply_rate" not in keys)
    assert provider.delivered == (2 if "lost_reply_rate" in keys else 1)


def test_in_a_window_the_smaller_capacity_counts_and_slowness_is_more_work():
    narrow = fault(at=2, **{"for": 2}, capacity=1)
    sharing = SimulatedProvider(latency=4, capacity=2, discipline="processor_sharing", faults=[narrow])
    assert ends(sharing, (0, False), (0, False)) == [(0, 5.0), (1, 5.0)]  # half as fast for 2 s
    slow = fault(at=0, **{"for": 1}, latency_factor=3)
    first = SimulatedProvider(latency=2, capacity=1, discipline="critical_first", faults=[slow])
    assert ends(first, (0, False), (1, False), (1, True)) == [(0, 6.0), (2, 8.0), (1, 10.0)]


@pytest.mark.parametrize(
    ("discipline", "seen"),
    [
        ("critical_first", [(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)]),
        ("processor_sharing", [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)]),
    ],
)
def test_a_rule_sees_what_is_under_way(discipline, seen):
    loads: list[tuple[int, int, int]] = []

    def spy(_attempt: Any, _now_ns: int, load: Any) -> None:
        loads.append((load.in_service, load.queued, load.delivered))

    provider = SimulatedProvider(latency=2, capacity=1, discipline=discipline, rules=[spy])
    ends(provider, (0, False), (0, False), (1, False), (2, False))
    assert loads == seen


def test_a_rule_that_refuses_at_admission_answers_after_the_latency():
    def full(_attempt: Any, _now_ns: int, load: Any) -> Transient | None:
        return Transient(reason="full", throttled=True) if load.under_way >= 1 else None

    provider = SimulatedProvider(latency=2, capacity=1, discipline="processor_sharing", rules=[full])
    assert ends(provider, (0, False), (1, False)) == [(0, 2.0), (1, 3.0)]


def test_the_draws_of_each_attempt_are_the_same_under_every_discipline():
    settings: dict[str, Any] = {
        "latency": Distribution.model_validate({"exponential": {"mean": 1}}),
        "failure_rate": 0.3,
        "capacity": 2,
    }
    results = {}
    for discipline in DISCIPLINES:
        provider = SimulatedProvider(streams=RandomStreams(5), discipline=discipline, **settings)
        with SimulatedSystem() as system:
            provider.on_wired(system)
            effects = [provider.attempt(ATTEMPT, 0) for _ in range(50)]
            kept: list[Any] = []
            for effect in effects:
                if isinstance(effect, Promise):
                    effect.when_kept(kept.append)
            system.run()
            foreseen = [effect.result for effect in effects if isinstance(effect, Foreseen)]
            results[discipline] = sorted(type(result).__name__ for result in foreseen + kept), provider.delivered
    assert len({str(result) for result in results.values()}) == 1


# ── in the pipeline ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_timeout_does_not_cancel_the_work():
    def scenario(world: World) -> None:
        world.open(
            SimulatedProvider(latency=3, capacity=1, discipline="processor_sharing"),
            email={"timeout": 5, "retry": {"initial_delay": 1}},
        )
        world.send(email("a"))
        world.send(email("b"), at=1.5)

    world = on_both_clocks(scenario)
    # Alone until 1.5, then half each: a ends at 4.5, with b having 1.5 left: at 6, within 5 s of 1.5.
    assert world.times(NotificationSent) == [4.5, 6.0]

    def impatient(world: World) -> None:
        world.open(
            SimulatedProvider(latency=3, capacity=1, discipline="processor_sharing"),
            email={"timeout": 4, "retry": {"initial_delay": 1}},
        )
        world.send(email("a"))
        world.send(email("b"))

    world = on_both_clocks(impatient)
    # Both would end at 6, and time out at 4 with 1 s of work left of each; at 5 both are tried again, with 0.5 left
    # of each that no one waits for: four share until 7, then two have 2.5 left each and end at 12, beyond 9.
    assert [failure.at_ns / S for failure in world.failures][:4] == [4.0, 4.0, 9.0, 9.0]
    assert {failure.reason for failure in world.failures} == {"timed out"}


@pytest.mark.parametrize(("timeout", "is_sent"), [(4.0, True), (3.999999999, False)])
def test_an_answer_at_the_instant_of_the_timeout_counts(timeout, is_sent):
    def scenario(world: World) -> None:
        world.open(
            SimulatedProvider(latency=2, capacity=1, discipline="critical_first"),
            email={"timeout": timeout, "retry": {"max_attempts": 1}},
        )
        world.send(email("a"), email("b"))

    assert on_both_clocks(scenario).sent_ids() == (["a", "b"] if is_sent else ["a"])


def test_a_crash_of_the_channel_or_breaker_leaves_the_provider_at_its_work():
    def scenario(world: World) -> None:
        world.open(SimulatedProvider(latency=4, capacity=1, discipline="critical_first"))
        world.send(email("a"), email("b"))
        stages = world.pipeline.wiring.stages["email"]
        world.at(1.0, lambda: world.system.crash(stages.channels[0], ValueError("boom")))

    world = on_both_clocks(scenario)
    assert set(world.sent_ids()) == {"a", "b"}
    # a is served in [0, 4) and b in [4, 8); what is sent again after the crash comes behind them.
    assert world.provider.delivered > 2


def test_hedges_share_with_what_they_are_copies_of():
    def scenario(world: World) -> None:
        world.open(
            SimulatedProvider(latency=2, capacity=1, discipline="processor_sharing"),
            email={"hedging": {"max_attempts": 2, "delay": 1}},
        )
        world.send(email("a"))

    world = on_both_clocks(scenario)
    assert world.times(NotificationSent) == [3.0]  # and not at 2: its own copy slows it down
    assert world.provider.delivered == 2


async def test_settings_bound_the_provider_of_a_live_notifier_too(autojump_clock):
    settings = {"latency": 2, "capacity": 1, "discipline": "critical_first"}
    async with Notifier.open({"channels": {"email": {"provider": settings}}}) as notifier:
        for name in "abc":
            await notifier.send(email(name, critical=name == "c"))
        await notifier.wait_until_quiet()
        sent = [(event.notification_id, event.at_ns / S) for event in notifier.sent_notifications]
        assert sent == [("a", 2.0), ("c", 4.0), ("b", 6.0)]


@pytest.mark.parametrize("real", [Sleeping(0.5), Scripted(latency=0.5)])
async def test_what_stands_before_a_real_provider_holds_attempts_back_just_so(autojump_clock, real):
    provider = FaultyProvider(
        real,
        [],
        settings=validated(ProviderConfig, {"latency": 2, "capacity": 1, "discipline": "processor_sharing"}),
    )
    async with Notifier.open({"channels": {"email": {}}}, providers={"email": provider}) as notifier:
        for name in "ab":
            await notifier.send(email(name))
        await notifier.wait_until_quiet()
        assert [event.at_ns / S for event in notifier.sent_notifications] == [4.5, 4.5]
        if isinstance(real, Sleeping):
            assert real.begun == [4.0, 4.0]


async def test_in_real_time_too_its_promises_are_kept():
    async with LiveSystem() as system:
        provider = SimulatedProvider(latency=0.001, capacity=1, discipline="processor_sharing")
        provider.on_wired(system)
        promises = [provider.attempt(ATTEMPT, system.now_ns) for _ in range(3)]
        with trio.fail_after(10):
            assert [await promise() for promise in promises] == [Sent()] * 3  # type: ignore[operator]


MIXED = """
duration: 100s
drain: 30m
workload:
  - {{channel: sms, arrivals: {{poisson: 3/s}}}}
  - {{channel: sms, critical: true, arrivals: {{poisson: 1/s}}}}
channels:
  sms:
    timeout: 6s
    max_in_flight: 12
    hedging: {hedging}
    retry: {{max_attempts: 3, jitter: full}}
    provider: {{latency: {{exponential: {{mean: 400ms}}}}, capacity: 2, discipline: {discipline}, failure_rate: 10%}}
faults:
  - {{channel: sms, at: 20s, for: 10s, capacity: 1}}
  - {{channel: sms, at: 40s, for: 5s, outage: true}}
  - {{channel: sms, at: 50s, for: 5s, latency_factor: 3, lost_reply_rate: 20%}}
  - {{channel: sms, at: 60s, crash: {{actor: {crash}}}}}
  - {{channel: sms, at: 65s, for: 2s, hang: true}}
  - {{channel: sms, at: 70s, crash: process, restart_after: 2s}}
"""


@pytest.mark.parametrize("discipline", sliced(["critical_first", "processor_sharing"], 4))
@pytest.mark.parametrize(
    ("hedging", "crash"), sliced([("null", "channel"), ("{max_attempts: 3, delay: 1s}", "breaker")], 4)
)
def test_the_history_is_the_same_on_both_clocks_and_breaks_no_invariant(discipline, hedging, crash):
    scenario = parse(MIXED.format(discipline=discipline, hedging=hedging, crash=crash))
    simulated = simulation.run(scenario, invariants="all")
    assert simulated.history == simulation.run(scenario, runtime="trio").history
    assert simulated.history == simulation.run(scenario).history
    assert simulated.summary["in_flight"] == 0
