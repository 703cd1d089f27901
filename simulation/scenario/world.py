"""The world of a service under test: the hosts that it may call, and how each answers."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import model_validator

from actors.channel_names import CHANNEL_NAME_SCHEMA
from actors.messages import NotificationChannel
from actors.settings.base import Settings, at_key, plain_or
from actors.settings.channel import PRIMARY
from actors.settings.quantities import ShownText, Text, Wanted, matching, wanted

BROKEN = ("refused", "unreachable", "reset", "closed", "silence", "cut", "wrong")
"""The ways in which a request goes wrong without a status of HTTP."""

BEFORE_REQUEST = frozenset({"refused", "unreachable"})
"""Of these, the ways that show before a request: no connection is opened."""

_WORDS = ", ".join(BROKEN)

NO_SERVICE = (
    "a run of the pipeline, not of a service in its world: that takes --service MODULE:MAIN of run, or of explore"
)
"""The error where a scenario is of a service and no service is given."""


def _failing(value: Any, _unit_required: bool) -> int | str | None:
    if isinstance(value, str) and value in BROKEN:
        return value
    return value if type(value) is int and 400 <= value <= 599 else None


Failing: TypeAlias = Annotated[
    int | str,
    Wanted(
        f"a status of HTTP from 400 to 599, or one of {_WORDS}",
        _failing,
        {"anyOf": [{"enum": list(BROKEN)}, {"type": "integer", "minimum": 400, "maximum": 599}]},
    ),
]
"""How a failure shows to the client."""

Weather: TypeAlias = Literal["refused", "unreachable", "silence"]
"""A host that is never reached."""

WEATHER = ("refused", "unreachable", "silence")


_NAME = r"(\*\.)?(?!localhost$|[\d.]+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"

HostName: TypeAlias = Annotated[
    str,
    matching("the name of a host, such as api.example.com or *.example.com", _NAME),
]
"""A host that is not this machine: no URL, no address, no port."""


class HostConfig(Settings):
    """A host that the service under test may call, and how it answers."""

    wanted_text: ClassVar[str] = (
        "a channel, one of refused, unreachable, silence, or a mapping such as {channel: payments, outage: refused}"
    )

    channel: NotificationChannel | None = None
    """The channel whose provider is behind the host: its latency, capacity, queue and faults. None: see `always`."""

    provider: Text = PRIMARY
    """Which of the channel's providers it is: `primary`, or a name of its `failover`."""

    always: Weather | None = None
    """The host is never reached: connections are refused, end as unreachable, or stay silent."""

    outage: Failing = 503
    """How an outage shows: a status of HTTP, or `refused` and `unreachable` (no connection is opened, and open ones are
    reset), `reset` and `closed` (the connection ends without an answer), `silence` (no answer ever comes), `cut` (the
    body of the answer ends early), `wrong` (status 200 with a page of HTML)."""

    failure: Failing = 503
    """How any other transient failure shows, such as one of a `failure_rate`."""

    shape: Literal["json", "twilio", "fcm", "webpush", "webhook"] = "json"
    """The answers to requests that succeed, and to refusals for good: `{"ok": true}` in JSON, or those of an API that
    retrylab has a transport for."""

    answer: ShownText | None = None
    """A function `module:name` that takes each request that succeeds, and returns its answer. It is code, so it is
    imported only with `--code`. None: the answer of `shape`."""

    tls: Literal["trusted", "untrusted", "expired"] = "trusted"
    """Whether the host's certificate is signed by a trusted authority, by another one, or out of date."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.channel is None) == (self.always is None):
            raise wanted("exactly one of channel, always", "both" if self.channel else "none")
        if self.answer is not None and not re.fullmatch(r"[\w.]+:[\w.]+", self.answer):
            raise at_key("answer", wanted("a function such as shop.fakes:answer"), self.answer)
        return self


def _plain_host(word: str) -> HostConfig:
    return HostConfig.model_validate({"always" if word in WEATHER else "channel": word})


_PLAIN = Wanted(
    HostConfig.wanted_text,
    lambda value, _: _plain_host(value) if isinstance(value, str) else None,
    {"anyOf": [{"enum": list(WEATHER)}, CHANNEL_NAME_SCHEMA]},
)

Host: TypeAlias = Annotated[
    Annotated[HostConfig, _PLAIN] | HostConfig, plain_or(Annotated[HostConfig, _PLAIN], HostConfig)
]
"""A channel or a weather by its word, or a mapping."""
