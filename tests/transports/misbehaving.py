"""Servers on loopback that go wrong as a scenario says: each answer stands for an outcome."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from typing import Any

from attempts import attempt_of
from http_servers import HANG, HttpServer, Reply, Request, Said, http_server
from smtp_servers import Script

from actors.faults.build import faults_of, stream_name
from actors.faults.rules import Fate, FaultRules
from actors.instants import NS_PER_S
from actors.kernel.randomness import RandomStreams
from actors.messages import NotificationChannel, SendNotification
from actors.outcomes import DeadDestination, Permanent, Sent, Transient
from actors.settings.channel import PRIMARY
from simulation import Scenario

_ATTEMPT = attempt_of(
    SendNotification(notification_id="any", channel=NotificationChannel.PUSH, recipient="anybody", message="")
)
"""No fault here names a host, so whose attempt it is does not matter."""


class Schedule:
    """What happens to each request at the provider of a channel, by a clock that reads 0 when it is started."""

    def __init__(self, scenario: Scenario, channel: NotificationChannel) -> None:
        self._rules = FaultRules(
            scenario.channel_config(channel).provider,
            faults_of(scenario.faults, channel, PRIMARY),
            (),
            RandomStreams(scenario.seed),
            stream_name(channel, PRIMARY),
        )
        self._began = time.monotonic()

    def start(self) -> None:
        self._began = time.monotonic()

    def judge(self) -> Fate:
        now_ns = round((time.monotonic() - self._began) * NS_PER_S)
        return self._rules.judge(_ATTEMPT, now_ns)


def webhook_server(schedule: Schedule) -> AbstractAsyncContextManager[HttpServer]:
    def answer(request: Request) -> Said:
        fate = schedule.judge()
        if fate.outcome is None:
            return HANG
        return _HTTP_ANSWERS[type(fate.outcome)](fate.outcome)._replace(after=fate.delay_ns / NS_PER_S)

    return http_server(answer)


_HTTP_ANSWERS: dict[type, Any] = {
    Sent: lambda _: Reply(204),
    Permanent: lambda _: Reply(400),
    DeadDestination: lambda _: Reply(410),
    Transient: lambda said: (
        Reply(503) if said.retry_after is None else Reply(429, headers={"retry-after": f"{said.retry_after:.0f}"})
    ),
}


class MisbehavingMail(Script):
    """The script of a mail server that answers to each mail as its schedule says."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self._schedule = schedule

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        fate = self._schedule.judge()
        if fate.outcome is None:
            await asyncio.sleep(3600)
        await asyncio.sleep(fate.delay_ns / NS_PER_S)
        return _SMTP_REPLIES[type(fate.outcome)]


_SMTP_REPLIES = {
    Sent: "250 2.0.0 taken",
    Permanent: "554 5.6.0 refused",
    DeadDestination: "550 5.1.1 no such user",
    Transient: "451 4.3.0 try again",
}
