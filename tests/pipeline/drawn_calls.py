"""What a program does with a notifier, drawn from a seed: settings, faults, and calls at their instants."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from comparable import comparable

from actors.kernel.randomness import RandomStreams
from actors.messages import (
    NotificationChannel,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    Priority,
    SendNotification,
    UserRegistered,
)
from actors.settings.faults import FaultConfig
from simulation.engine.message_faults import is_message_fault
from simulation.running.system_faults import is_system_fault
from simulation.scenario import Scenario, load
from simulation.verification.drawing.swarm import case

SWARM = Path(__file__).parents[1] / "verification" / "drawing" / "swarm.yaml"
USERS = ("ann", "bob", "cat", "dan")
HOSTS = ("a.example", "b.example", "c.example")
OVERRIDES = ("force-open", "disable", "close", "metrics-only")
CHANNELS = tuple(NotificationChannel)
EDITS: tuple[dict[str, Any], ...] = (
    {"message": "once more"},
    {"recipient": "eve@b.example"},
    {"subject": None, "priority": "critical"},
    {"metadata": {"template": "welcome", "name": "Eve"}},
    {"expires_after": 30.0},
    {"expires_after": None, "message": "Hello"},
    {},
)
WRONG_EDITS: tuple[dict[str, Any], ...] = (
    {"channel": "sms"},
    {"recipient": "  "},
    {"message": 7},
    {"expires_after": -1},
    {"message": "good", "priority": "urgent"},
)
LEAVES = ("quiet", "drain", "error", "cancelled")
"""How the block of the notifier is left: when nothing is in flight, with what is left in flight after a drain, by an
error, or since it is cancelled."""


@dataclass(frozen=True)
class Call:
    at: float
    """When, in seconds."""
    what: str
    arguments: tuple[Any, ...] = ()
    patience: float | None = None
    """After how many seconds its caller is cancelled where it has no answer yet; None: it waits for that."""

    def __str__(self) -> str:
        patience = "" if self.patience is None else f" (for {self.patience:g} s)"
        return f"{self.at:9.3f} {self.what} {', '.join(map(str, self.arguments))}{patience}"


@dataclass(frozen=True)
class Program:
    """A service that calls a notifier."""

    seed: int
    scenario: Scenario
    """Has the settings, the faults of the providers, and what users want."""
    channels: tuple[NotificationChannel, ...]
    calls: tuple[Call, ...]
    ends_at: float
    """When the block of the notifier is left, in seconds."""
    leaves: str
    """How, of :data:`LEAVES`."""
    reopens_at: float | None = None
    """When the notifier ends, and another one is opened over the same store; None: it goes on."""
    is_on_disk: bool = False
    """Whether its store is a file."""
    is_choosy: bool = False
    """Whether its providers refuse some recipients at the door."""

    def without(self, calls: set[int]) -> Program:
        return replace(self, calls=tuple(each for place, each in enumerate(self.calls) if place not in calls))


@functools.cache
def _swarm() -> Scenario:
    return load(SWARM)


def drawn_program(seed: int, *, is_on_disk: bool = False) -> Program:
    streams = RandomStreams(seed)
    random = streams.stream("program")
    scenario = comparable(case(_swarm(), seed, schedule="normal"))
    faults = tuple(each for each in scenario.faults if not is_system_fault(each) and not is_message_fault(each))
    used = tuple(scenario.channels_used)
    needed = {own.fallback.channel for each in used if (own := scenario.channel_config(each)).fallback is not None}
    channels = tuple(each for each in used if each in needed or random.random() < 0.8) or used
    needed = {own.fallback.channel for each in channels if (own := scenario.channel_config(each)).fallback is not None}
    channels = tuple(each for each in used if each in channels or each in needed)
    ends_at = random.choice([20.0, 60.0, 150.0, 400.0])
    reopens_at = random.choice([None, None, round(ends_at * random.random(), 1)])
    if any(_goes_with_its_system(scenario, each) for each in channels):
        reopens_at = None
    changes: dict[str, Any] = {"operations": (), "nodes": 1, "schedule": None, "seed": seed}
    if is_on_disk:
        changes |= {"commit_latency": 0.0, "remember_ids": 86_400.0}  # as ids there grow old by another clock
        reopens_at = round(ends_at * random.uniform(0.2, 0.9), 1)
    elif reopens_at is not None:
        changes["commit_latency"] = 0.0
        crash = {"channel": "all", "at": reopens_at, "crash": "process"}
        faults = (*faults, FaultConfig.model_validate(crash))
    elif random.random() < 0.4:
        changes["commit_latency"] = random.choice([0.01, 0.5, 3.0])
    if random.random() < 0.3:
        changes["max_pending"] = random.choice([2, 5, 20, 60])
    scenario = scenario.model_copy(update={**changes, "faults": faults})
    return Program(
        seed,
        scenario,
        channels,
        tuple(sorted(_calls(random, scenario, channels, ends_at), key=lambda call: call.at)),
        ends_at,
        random.choice(LEAVES),
        reopens_at,
        is_on_disk,
        is_choosy=random.random() < 0.15,
    )


def _goes_with_its_system(scenario: Scenario, channel: NotificationChannel) -> bool:
    """Tell whether a provider of a channel serves one system alone."""
    providers = [each.provider for each in scenario.channel_config(channel).by_provider().values()]
    slows = any(fault.injects & {"capacity", "speed"} for fault in scenario.faults)
    return slows or any(each.capacity is not None or each.upstream is not None for each in providers)


# ── the calls ───────────────────────────────────────────────────────────────────────────────────────────────────


def _calls(
    random: Random, scenario: Scenario, channels: tuple[NotificationChannel, ...], ends_at: float
) -> Iterator[Call]:
    count = round(25 * 6 ** random.random())
    weights = {what: weight * random.choice([0, 0.3, 1, 1, 3]) for what, weight in _WEIGHTS.items()} | {"send": 12.0}
    ids = [f"n{number}" for number in range(random.choice([3, 12, 40]))]
    sent: list[SendNotification] = []
    at = 0.0
    for place in range(count):
        if random.random() < 0.6:
            at = random.choice([random.uniform(0, 1.05 * ends_at), float(random.randrange(int(ends_at)))])
            at = round(at, random.choice([0, 1, 3]))
        what = random.choices(list(weights), list(weights.values()))[0]
        patience = random.choice([None] * 6 + [0.0, 0.0, 0.5])
        if place >= count - 6:
            at = ends_at  # while the notifier is left
        draw = _Draw(random, scenario, channels, ids, sent, at)
        yield Call(at, what, _arguments(draw, what), patience)


_WEIGHTS = {
    "send": 12.0,
    "send again": 4.0,
    "send another": 2.0,
    "send all": 2.0,
    "publish": 3.0,
    "submit": 1.0,
    "cancel": 4.0,
    "cancel by": 1.0,
    "state": 3.0,
    "look": 6.0,
    "retry": 5.0,
    "retry all": 1.5,
    "discard": 2.0,
    "erase": 0.7,
    "operate": 1.5,
    "prefer": 1.5,
    "bulk": 0.7,
    "wait": 1.0,
    "wrong": 0.5,
}


@dataclass(frozen=True)
class _Draw:
    """What the arguments of a call are drawn from."""

    random: Random
    scenario: Scenario
    channels: tuple[NotificationChannel, ...]
    ids: list[str]
    sent: list[SendNotification]
    at: float

    def command(self) -> SendNotification:
        """Return a new command, and know it from now on."""
        random, user = self.random, self.random.choice(USERS)
        channel = random.choice(self.channels if random.random() < 0.97 else CHANNELS)
        metadata: dict[str, Any] = {}
        if random.random() < 0.3:
            metadata["tenant"] = random.choice(["t1", "t2"])
        if random.random() < 0.1:
            metadata |= random.choice(
                [{"template": "welcome", "name": "Ann"}, {"template": "welcome"}, {"template": "x"}]
            )
        not_before = None
        if random.random() < 0.12:
            not_before = self.scenario.start + timedelta(seconds=self.at + random.choice([-5.0, 0.0, 2.5, 30.0]))
        self.sent.append(
            SendNotification(
                notification_id=random.choice(self.ids),
                channel=channel,
                recipient=_recipient(random, channel, user),
                user_id=random.choice([user, user, None]),
                subject=random.choice([None, "Hi"]),
                message="Hello",
                metadata=metadata,
                critical=random.random() < 0.2,
                priority=random.choice([*Priority, Priority.NORMAL]),
                expires_after=random.choice([None, None, None, 0.0, 2.0, 30.0]),
                addresses={each: _recipient(random, each, user) for each in CHANNELS if random.random() < 0.4},
                not_before=not_before,
            )
        )
        return self.sent[-1]


def _arguments(draw: _Draw, what: str) -> tuple[Any, ...]:
    random, sent, known = draw.random, draw.sent, draw.random.choice(draw.ids)
    if what in ("send again", "send another") and not sent:
        draw.command()
    match what:
        case "send":
            return (draw.command(),)
        case "send again":
            return (random.choice(sent),)
        case "send another":
            return (_another(random, random.choice(sent)),)
        case "send all":
            return tuple(draw.command() for _ in range(random.randint(2, 6)))
        case "publish" | "submit":
            return (_event(random),)
        case "cancel" | "state" | "cancel by" | "discard":
            return (random.choice([known, known, *(each.notification_id for each in sent[-1:])]),)
        case "retry":
            edit = random.choice([None, None, *EDITS, random.choice(WRONG_EDITS)])
            return known, edit, random.choice(["exclude", "include"])
        case "retry all" | "bulk":
            return random.choice(["retry", "retry", "discard"]), random.choice(["exclude", "include"])
        case "erase":
            return (random.choice(USERS),)
        case "operate":
            channel = random.choice(draw.channels)
            names = [*draw.scenario.channel_config(channel).by_provider()]
            return channel, random.choice(OVERRIDES), random.choice([None, None, *names])
        case "prefer":
            return random.choice(USERS), random.choice(draw.channels), random.random() < 0.5
        case "wait":
            return random.choice(["drain", "wait_until_quiet"]), random.choice([0.0, 3.0, 40.0])
        case _:
            return (random.randrange(1_000),)


def _recipient(random: Random, channel: NotificationChannel, user: str) -> str:
    """Return an address of a user, of the kinds that the transports of a channel take."""
    host = random.choice(HOSTS)
    match channel:
        case _ if channel.is_own:
            return f"{user}@{host}"
        case NotificationChannel.EMAIL:
            return random.choice([f"{user}@{host}", f"{user} <{user}@{host.upper()}>"])
        case NotificationChannel.SMS:
            return f"+46 70{len(user)} {USERS.index(user)}"
        case NotificationChannel.WEBHOOK:
            return random.choice([f"https://{host}/{user}", f"HTTPS://{host}:443/{user}", f"http://{host}:8080/{user}"])
        case NotificationChannel.PUSH:
            keys = {"p256dh": "BNc", "auth": "tBH"}
            subscription = json.dumps({"endpoint": f"https://{host}/push/{user}", "keys": keys})
            return random.choice([f"token-of-{user}", subscription, subscription])


def _another(random: Random, command: SendNotification) -> SendNotification:
    """Return a command with the same id and another payload."""
    changes: dict[str, Any] = random.choice(
        [{"message": "Good bye"}, {"recipient": "zoe@c.example"}, {"expires_after": 77.0}, {"metadata": {"a": [1]}}]
    )
    return msgspec.structs.replace(command, **changes)


def _event(random: Random) -> Any:
    key, user, at = str(random.randrange(6)), random.choice(USERS), datetime(2026, 1, 1, tzinfo=UTC)
    mail = f"{user}@{random.choice(HOSTS)}"
    match random.randrange(4):
        case 0:
            return UserRegistered(user_id=f"{user}-{key}", email=mail, name=user, registered_at=at)
        case 1:
            return OrderShipped(
                order_id=key, user_id=user, customer_email=mail, carrier="c", tracking_number="t", shipped_at=at
            )
        case 2:
            return PaymentReceived(
                payment_id=key, order_id=key, user_id=user, customer_email=mail, amount=Decimal(3), received_at=at
            )
    return OrderPlaced(
        order_id=key,
        user_id=user,
        customer_email=mail,
        customer_phone="+4670",
        total_amount=Decimal("12.5"),
        placed_at=at,
    )
