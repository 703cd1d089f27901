"""The parts of a run that the model has to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.messages import NotificationChannel, SendNotification
from actors.settings.accounts import AccountConfig
from actors.settings.channel import KEEP_ALL_LETTERS, ChannelConfig, DeadLettersConfig
from actors.settings.faults import FaultConfig


@dataclass
class World:
    seed: int
    epoch_ns: int
    channels: Mapping[NotificationChannel, ChannelConfig]
    faults: Sequence[FaultConfig] = ()
    preferences: Sequence[Any] = ()
    """Rules: a `share` of the users has switched off a `channel`."""
    quiet_hours: Sequence[Any] = ()
    """Rules: a `share` of the users has quiet hours on `channels`, `from_` to `to` in their `zone`."""
    zones: Sequence[str] = ()
    """The zones that users are in; the id of one in Asia/Tokyo begins with ``Asia/Tokyo-user-``."""
    operations: Sequence[Any] = ()
    has_callers: bool = False
    """Whether a program calls the service, and gives orders at any time; then there are no `operations`."""
    chosen: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    """By user and channel, what is switched on or off now; it may change, and comes before `preferences`."""
    templates: Mapping[str, Any] = field(default_factory=dict)
    """By name: `subject`, `body` and `html`."""
    fill_in: Callable[[SendNotification], SendNotification] = lambda command: command
    """Fills in a template that is Jinja's; of others the model does that itself."""
    recipient_problem: Callable[[SendNotification], str | None] = lambda _: None
    """Tells why no provider of a command's channel could send to its recipient; None: one could."""
    platform: str = ""
    dead_letters: DeadLettersConfig = KEEP_ALL_LETTERS
    remember_ids: float = 86_400.0
    commit_latency: float = 0.0
    max_pending: int | None = None
    nodes: Any = None
    """`count` of them at first, which of them gets what by `routing`, and `takeover_after`. None: one process."""
    nodes_at_most: int = 1
    schedule: Any = None
    """An order of messages other than the usual one. With it the run is not compared: the model has no rule that says
    which actor goes first."""
    accounts: Mapping[str, AccountConfig] = field(default_factory=dict)
    simulates_providers: bool = False
    """Whether its providers are the simulated ones of the settings."""
