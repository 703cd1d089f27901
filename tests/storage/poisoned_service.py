"""A service that an attempt may end: ``python poisoned_service.py STORE NOTIFICATIONS``.

STORE is the file of a store, or a database of PostgreSQL's, ``postgresql://…``. It sends so many notifications; an
attempt of one whose id starts with ``poison`` ends the process as a crash in native code does. It says on its standard
output ``started``, what it sends, and in the end ``quiet``.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import trio
from service_parts import opened_store, say

from actors import Notifier, SendNotification
from actors.domain.attempts import Attempt, Provider
from actors.messages import NotificationChannel
from actors.outcomes import Outcome, Sent
from actors.pipeline import isolation

CONFIG = {"channels": {"push": {"max_in_flight": 10}}}


class Deadly(Provider):
    """Takes some time for each, and ends the process over some, once all are accepted."""

    def __init__(self) -> None:
        self.all_accepted = trio.Event()

    def attempt(self, attempt: Attempt, now_ns: int) -> Any:
        async def send() -> Outcome:
            name = attempt.command.notification_id
            await trio.sleep(0.01)
            if name.startswith("poison"):
                await self.all_accepted.wait()
                os.kill(os.getpid(), signal.SIGKILL)
            await trio.sleep(0.01)
            say("sent", name)
            return Sent()

        return send


async def main(path: str, notifications: int) -> None:
    """Run the service."""
    say("started")
    isolation.PAUSE_S = 0.05  # no one kills this process over and over
    deadly = Deadly()
    async with (
        opened_store(path, node="one") as store,
        Notifier.open(CONFIG, providers=deadly, store=store) as notifier,
    ):
        for number in range(notifications):
            name = f"poison-{number}" if number % 20 == 7 else str(number)
            await notifier.send(
                SendNotification(
                    notification_id=name, channel=NotificationChannel.PUSH, recipient=f"device-{name}", message="Hello"
                )
            )
        deadly.all_accepted.set()
        await notifier.wait_until_quiet()
    say("quiet")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))
