"""The whole pipeline under random programs of commands, faults, orders and crashes: the invariants hold throughout.

Once the faults have ended and the operators have put everything back, every notification ends within a bound.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import hypothesis
import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pipeline_invariants import (
    Log,
    check_no_one_waits_in_vain,
    check_quotas,
    check_states,
    check_times,
)
from worlds import World, email, on_both_clocks, simulate

from actors.faults.provider import SimulatedProvider
from actors.kernel.interceptors import put_in
from actors.messages import NotificationChannel, NotificationRequested, SendNotification
from actors.pipeline.circuit_breaker import OperateBreaker
from actors.pipeline.dead_letter_queue import Dequeue, DiscardDeadLetter, RedriveDeadLetter
from actors.pipeline.preferences import Preferences
from actors.pipeline.templates import Templates
from actors.settings.channel import ChannelConfig
from actors.settings.faults import FaultConfig
from actors.storage.lossy import LossyStore
from actors.storage.memory import MemoryStore
from simulation.engine.system import SimulatedSystem
from simulation.invariants import Checker, Context
from simulation.verification.laws.lifecycles import State

S = 1_000_000_000
BURNING = 60.0
"""Seconds until the faults have ended."""

AFTER = 7200.0
"""Seconds until everything has ended: a dozen retries of at most a minute, a line resumed at its pace, a rate limit."""

INVARIANTS = (
    "conservation",
    "nothing-lost",
    "legal-steps",
    "retry-limits",
    "one-success",
    "nothing-after-the-end",
    "open-breaker",
    "quota",
    "bulkhead",
    "liveness",
)
"""Those of :data:`simulation.invariants.KNOWN` that hold whatever crashes, and whatever is changed meanwhile."""

CHANNELS = ("email", "sms")
USERS = ("ann", "bob")
RECIPIENTS = ("ann", "bob", "ann@a.example", "bob@a.example", "bob@b.example")

# ── what may be in a program ────────────────────────────────────────────────────────────────────────────────────

shares = st.sampled_from([0.1, 0.5, 1.0])
fault_keys = st.one_of(
    st.just({"outage": True}),
    st.just({"hang": True}),
    st.integers(1, 8).map(lambda count: {"fail_first": count}),
    shares.map(lambda share: {"failure_rate": share}),
    shares.map(lambda share: {"permanent_rate": share}),
    shares.map(lambda share: {"dead_destination_rate": share / 2}),
    shares.map(lambda share: {"lost_reply_rate": share}),
    st.sampled_from([1, 5]).map(lambda rate: {"throttle": {"rate": f"{rate}/s", "retry_after": "3s"}}),
    st.just({"flap": {"up": "2s", "down": "3s"}}),
    st.just({"latency": "4s"}),
    st.just({"latency": {"exponential": {"mean": "2s"}}}),
)


@st.composite
def faults(draw: Any) -> FaultConfig:
    at = draw(st.integers(0, 50))
    length = draw(st.integers(1, round(BURNING) - at))
    channel = draw(st.sampled_from([*CHANNELS, "all"]))
    provider = draw(st.sampled_from([{}, {}, {"provider": "primary"}, {"provider": "backup"}]))
    return FaultConfig.model_validate({"channel": channel, "at": at, "for": length, **provider, **draw(fault_keys)})


quotas = st.builds(
    lambda rate, kind, on_limit: {"rate": rate, "kind": kind, "on_limit": on_limit},
    st.sampled_from(["1/s", "5/10s"]),
    st.sampled_from(["sliding_window", "sliding_window", "fixed_window", "token_bucket", "sliding_counter"]),
    st.sampled_from(["defer", "defer", "defer", "drop"]),
) | st.sampled_from([{"rates": ["2/s", "20/min"]}, {"rate": "2/s", "kind": "leaky_bucket"}])
adaptive_rates = st.sampled_from(
    [{}, {"initial_rate": "5/s"}, {"kind": "cubic", "maximum_rate": "20/s"}, {"cooldown": 0, "minimum_rate": "2/s"}]
)
concurrency_limits = st.sampled_from(
    [{"initial": 1, "maximum": 4}, {"kind": "vegas", "initial": 2, "maximum": 3, "probe_multiplier": 3}]
)
adaptive_throttles = st.sampled_from([{}, {"window": 5}, {"k": 1, "max_rejection": 0.9, "count_rejected": False}])
budgets = st.sampled_from(
    [
        {"share": 0.5, "min_rate": "1/10s"},
        {"kind": "grpc"},
        {"kind": "envoy", "share": 0.1},
        {"kind": "aws", "capacity": 20},
    ]
)


@st.composite
def lane_settings(draw: Any) -> dict[str, Any]:
    """Return settings that each provider may have of its own."""
    chosen: dict[str, Any] = {}
    if draw(st.booleans()):
        chosen["max_in_flight"] = draw(st.integers(1, 3))
    for key, values in {
        "quota": quotas,
        "adaptive_rate": adaptive_rates,
        "concurrency_limit": concurrency_limits,
        "adaptive_throttle": adaptive_throttles,
    }.items():
        if draw(st.sampled_from([True, False, False] if key != "quota" else [True, False])):
            chosen[key] = draw(values)
    return chosen


@st.composite
def breaker_settings(draw: Any, per: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "failure_threshold": draw(st.integers(1, 4)),
        "timeout": draw(st.sampled_from([1.0, 7.0, 60.0])),
        "half_open_permits": draw(st.integers(1, 2)),
        "resume_rate": draw(st.sampled_from(["1/s", "10/s"])),
        "per": per,
    }
    if draw(st.booleans()):
        chosen["ramp"] = {"over": draw(st.sampled_from([0.5, 20.0])), "start": draw(st.sampled_from([0.0, 0.3]))}
    if draw(st.sampled_from([True, False, False])):
        chosen["half_open_max"] = draw(st.sampled_from([0.5, 6.0]))
        chosen["half_open_then"] = draw(st.sampled_from(["open", "closed", "probe"]))
    return chosen


@st.composite
def channel_settings(draw: Any) -> dict[str, Any]:
    per = draw(st.sampled_from(["channel", "channel", "host"]))
    chosen: dict[str, Any] = {
        "retry": {
            "max_attempts": draw(st.integers(1, 4)),
            "initial_delay": draw(st.sampled_from([0.0, 0.5, 1.0, 20.0])),
            "jitter": draw(st.sampled_from(["none", "full", "decorrelated"])),
        },
        "circuit_breaker": {
            **draw(breaker_settings(per)),
            "when_open": draw(st.sampled_from(["wait", "wait", "fail"])),
            "enabled": draw(st.sampled_from([True, True, False])),
        },
        "timeout": 5.0,
    }
    if draw(st.booleans()):
        chosen["rate_limit"] = {
            "rate": draw(st.sampled_from(["1/s", "2/5s", "3/20s"])),
            "on_limit": draw(st.sampled_from(["defer", "defer", "drop"])),
        }
    if draw(st.sampled_from([True, False, False])):
        chosen["retry"]["budget"] = draw(budgets)
    if draw(st.sampled_from([True, False, False])):
        chosen["retry"]["max_elapsed"] = draw(st.sampled_from([0.5, 10.0, 40.0]))
    if draw(st.booleans()):
        chosen["failover"] = {"backup": {**draw(lane_settings()), "circuit_breaker": draw(breaker_settings(per))}}
        chosen["switch_after"] = draw(st.sampled_from([None, 1, 2]))
    return {**chosen, **draw(lane_settings())}


@dataclasses.dataclass(frozen=True)
class Setup:
    """Everything about a pipeline that a program does not change."""

    channels: dict[str, dict[str, Any]]
    faults: list[FaultConfig]
    latency: float
    commit_delay: float | None
    seed: int
    load: int
    """How many notifications arrive while it burns, beside those of the program."""


setups = st.builds(
    Setup,
    st.fixed_dictionaries({name: channel_settings() for name in CHANNELS}),
    st.lists(faults(), min_size=1, max_size=5),
    st.sampled_from([0.0, 0.1, 3.0]),
    st.sampled_from([None, None, 0.01, 0.5]),
    st.integers(0, 2**16),
    st.sampled_from([0, 30, 100]),
)

ids = st.integers(0, 9).map(lambda number: f"n{number}")
commands = st.builds(
    email,
    ids,
    channel=st.sampled_from(CHANNELS).map(NotificationChannel),
    user_id=st.sampled_from(USERS),
    recipient=st.sampled_from(RECIPIENTS),
    critical=st.sampled_from([False, False, True]),
    expires_after=st.sampled_from([None, None, 0.0, 2.0, 30.0]),
    metadata=st.sampled_from([{}, {}, {"template": "welcome", "name": "Ann"}, {"template": "welcome"}]),
)
operator_orders = st.sampled_from(["force-open", "disable", "close", "metrics-only"])
victims = st.sampled_from(["handler", "queue", "alert", "limiter", "breaker", "channel", "backup"])
steps = st.one_of(
    commands.map(lambda command: ("send", command)),
    commands.map(lambda command: ("send", command)),
    commands.map(lambda command: ("send", command)),
    ids.map(lambda notification_id: ("redrive", notification_id)),
    ids.map(lambda notification_id: ("discard", notification_id)),
    st.just(("dequeue", None)),
    st.just(("redrive all", None)),
    st.tuples(st.just("operate"), st.tuples(st.sampled_from(CHANNELS), operator_orders)),
    st.tuples(st.just("prefer"), st.tuples(st.sampled_from(USERS), st.sampled_from(CHANNELS), st.booleans())),
)
crashes = st.tuples(st.just("crash"), st.tuples(st.sampled_from(CHANNELS), victims))
instants = st.integers(0, 4 * round(BURNING)).map(lambda quarter: quarter / 4)


# ── carrying one out ────────────────────────────────────────────────────────────────────────────────────────────


def open_world(world: World, setup: Setup) -> None:
    """Start the pipeline of a setup, with a log in front of each provider."""
    world.preferences = Preferences()
    world.commands = {}
    world.logs = {
        NotificationChannel(name): {
            provider: Log(
                SimulatedProvider(
                    latency=setup.latency,
                    faults=[
                        each for each in setup.faults if name in each.channel and each.provider in (None, provider)
                    ],
                    streams=world.system.streams,
                    name=f"{name}.{provider}",
                ),
                timeout=5.0,
            )
            for provider in ("primary", *settings.get("failover", {}))
        }
        for name, settings in setup.channels.items()
    }
    delay = setup.commit_delay
    configs = {NotificationChannel(name): ChannelConfig.model_validate(each) for name, each in setup.channels.items()}
    world.checker = Checker(
        INVARIANTS,
        Context(
            channels=configs,
            faults=setup.faults,
            in_flight_now=lambda: world.pipeline.in_flight,
            pipeline=lambda: world.pipeline,
        ),
        record=world.system.record,
    )
    world.checker.watch(world.system)
    for each in world.checker.interceptors:
        put_in(each, world.system, world.system._lifecycle)
    world.system.record = world.checker.record
    world.open(
        world.checker.observed(world.logs),
        store=MemoryStore() if delay is None else LossyStore(commit_delay_ns=round(delay * S)),
        preferences=world.preferences,
        templates=Templates(variables={"platform": "Shop"}),
        **setup.channels,
    )


def do(world: World, what: str, argument: Any) -> None:
    """Carry out one step now."""
    pipeline = world.pipeline
    queue = pipeline.dead_letter_queue
    match what:
        case "send":
            world.commands.setdefault(argument.notification_id, argument)
            world.note_answer(pipeline.bus.send(argument))
        case "redrive":
            world.note_answer(queue.ask(RedriveDeadLetter(notification_id=argument), block=False))
        case "redrive all":
            for letter in world.letters:
                do(world, "redrive", letter.notification_id)
        case "discard":
            world.note_answer(queue.ask(DiscardDeadLetter(notification_id=argument, reason="why not"), block=False))
        case "dequeue":
            queue.ask(Dequeue(), block=False)
        case "operate":
            channel, order = argument
            breaker = pipeline.wiring.stages[NotificationChannel(channel)].circuit_breaker
            world.note_answer(breaker.ask(OperateBreaker(order=order), block=False))
        case "prefer":
            user, channel, enabled = argument
            world.preferences.set_channel(user, NotificationChannel(channel), enabled)
        case "crash":
            channel, victim = argument
            stages = pipeline.wiring.stages[NotificationChannel(channel)]
            ref = {
                "handler": pipeline.handler,
                "queue": queue,
                "alert": pipeline.alert,
                "limiter": stages.rate_limiter,
                "breaker": stages.circuit_breaker,
                "channel": stages.channels[0],
                "backup": stages.channels[-1] if len(stages.channels) > 1 else None,
            }[victim]
            if ref is not None:
                world.system.crash(ref, RuntimeError("injected crash"))


def put_everything_back(world: World) -> None:
    """Let no operator's order stand in the way of an end."""
    for channel in CHANNELS:
        do(world, "operate", (channel, "close"))


def check_safety(world: World, *, crashed: bool) -> None:
    check_times(world)
    if world.checker.breach is not None:
        raise world.checker.breach
    if not crashed:  # what has passed the quota waits while the channel behind it starts again
        check_quotas(world)


def check_the_end(world: World) -> None:
    """Check that everything has ended, and that every caller was answered."""
    world.checker.end(world.system.now_ns)
    counts = check_states(world)
    assert counts[State.IN_FLIGHT] == 0
    accepted = sum(note == "accepted" for note in world.notes)
    assert accepted == len(world.events(NotificationRequested))
    for stages in world.pipeline.wiring.stages.values():
        assert stages.in_flight == 0
    assert world.pipeline.wiring.commits.under_way == {}
    assert list(world.store.open_deliveries(world.system.epoch_ns)) == []
    assert {letter.notification_id for letter in world.store.dead_letters()} == {
        letter.notification_id for letter in world.letters
    }
    letters = world.letters
    for entry in world.store._dead.values():
        entry.letter = None  # so that it is made from the history
    assert list(world.store.dead_letters()) == letters


def send_load(world: World, count: int) -> None:
    """Have so many notifications arrive while it burns: three at a time, and some that expire."""
    random = world.system.streams.stream("load")
    for number in range(count):
        at = BURNING * (number - number % 3) / count
        command = email(
            f"load{number}",
            channel=NotificationChannel(random.choice(CHANNELS)),
            user_id=random.choice(USERS),
            recipient=f"address {number}{random.choice(['', '', '@a.example', '@b.example', '@c.example'])}",
            expires_after=random.choice([None, None, None, 1.0, 20.0]),
        )
        world.at(at, do, world, "send", command)


def scenario_of(setup: Setup, program: list[tuple[float, tuple[str, Any]]]) -> Any:
    def scenario(world: World) -> None:
        open_world(world, setup)
        send_load(world, setup.load)
        for at, (what, argument) in program:
            world.at(at, do, world, what, argument)
        world.at(BURNING + 5, put_everything_back, world)

    return scenario


@pytest.mark.thorough
@given(setups, st.lists(st.tuples(instants, steps), max_size=40))
@settings(max_examples=examples(400))
def test_the_invariants_hold_under_any_program(setup, program):
    def scenario(world: World) -> None:
        scenario_of(setup, program)(world)
        for second in range(round(BURNING)):
            world.at(second + 0.123456789, check_no_one_waits_in_vain, world)

    world = simulate(scenario, until=AFTER, seed=setup.seed)
    check_safety(world, crashed=False)
    check_the_end(world)


@given(setups, st.lists(st.tuples(instants, st.one_of(steps, steps, crashes)), max_size=40))
@settings(max_examples=examples(400))
def test_the_invariants_hold_under_any_program_with_crashes(setup, program):
    program = at_most_five_crashes_an_actor(program)
    world = simulate(scenario_of(setup, program), until=AFTER, seed=setup.seed)
    check_safety(world, crashed=True)
    check_the_end(world)


@given(setups, st.lists(st.tuples(instants, st.one_of(steps, steps, crashes)), max_size=30))
@settings(max_examples=examples(150))
def test_any_program_has_the_same_history_on_both_clocks(setup, program):
    program = at_most_five_crashes_an_actor(program)
    check_the_end(on_both_clocks(scenario_of(setup, program), until=AFTER, seed=setup.seed))


def at_most_five_crashes_an_actor(program: list[tuple[float, tuple[str, Any]]]) -> list[tuple[float, tuple[str, Any]]]:
    """Leave out what no supervision would bear: it ends the run, as it should."""
    left: dict[Any, int] = {}
    kept = []
    for at, (what, argument) in program:
        if what == "crash":
            actor = argument if argument[1] in ("limiter", "breaker", "channel", "backup") else argument[1]
            left[actor] = left.get(actor, 5) - 1
            if left[actor] < 0:
                continue
        kept.append((at, (what, argument)))
    return kept


# ── step by step, with a look after each ────────────────────────────────────────────────────────────────────────


class PipelineMachine(RuleBasedStateMachine):
    """The same, one step after the other: history, handler, queue and store agree after each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.world: Any = None
        self.crashes = 0

    @initialize(setup=setups)
    def start(self, setup: Setup) -> None:
        from worlds import History

        history = History()
        self.system = SimulatedSystem(seed=setup.seed, record=history.record)
        self.world = World(self.system, history)
        self.is_quick = setup.commit_delay is None
        open_world(self.world, setup)
        send_load(self.world, setup.load)
        self.now = 0.0
        self.let_pass(0)

    def let_pass(self, seconds: float) -> None:
        self.now += seconds
        self.system.run(until_ns=round(self.now * S) + 1)  # what is due at that instant included

    @rule(step=steps)
    def step(self, step: tuple[str, Any]) -> None:
        do(self.world, *step)
        self.let_pass(0)

    @rule(command=commands)
    def send(self, command: SendNotification) -> None:
        do(self.world, "send", command)
        self.let_pass(0)

    @precondition(lambda self: self.crashes < 5)
    @rule(crash=crashes)
    def crash(self, crash: tuple[str, Any]) -> None:
        self.crashes += 1
        do(self.world, *crash)
        self.let_pass(0)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.let_pass(seconds)

    @invariant()
    def all_agree(self) -> None:
        if self.world is None:
            return
        world = self.world
        # While a commit or a restart is under way, the parts are at different points of the same way.
        if self.is_quick and self.crashes == 0:
            check_states(world)
            in_store = {
                delivery.command.notification_id for delivery in world.store.open_deliveries(self.system.epoch_ns)
            }
            assert in_store == set(world.pipeline.handler.actor.deliveries.by_id)
            check_no_one_waits_in_vain(world)
        check_safety(world, crashed=self.crashes > 0)

    def teardown(self) -> None:
        if self.world is None:
            return
        self.now = max(self.now, BURNING + 5)
        self.let_pass(0)
        put_everything_back(self.world)
        self.let_pass(AFTER)
        check_the_end(self.world)


PipelineMachine.TestCase.settings = hypothesis.settings(max_examples=examples(150), stateful_step_count=30)
TestPipelineMachine = PipelineMachine.TestCase
