"""A node to be frozen: ``python frozen_node.py DATABASE NAME LOG NOTIFICATIONS``.

It sends so many notifications, of which every first attempt fails; the second ones are due soon after that, and take
their time at the receiver. It writes to the file LOG what happens, a line each: ``failed 7``; ``begun 7`` as an attempt
is at the receiver, which is right after the look at the lease; ``taken 7`` as the receiver takes it. It runs until it
is killed, or its store fails.
"""

import os
import sys
from collections.abc import Awaitable, Callable

import trio

from actors import Notifier, SendNotification
from actors.domain.attempts import Attempt, Provider
from actors.messages import NotificationChannel
from actors.outcomes import Outcome, Sent, Transient
from actors.storage.postgres.store import PostgresStore

LEASE = 3.0
SLOTS = 20
"""How many attempts are at the receiver at once."""

CONFIG = {
    "drain": "0s",
    "channels": {
        "push": {
            "retry": {"backoff": "constant", "initial_delay": "2s", "jitter": "none", "max_attempts": 100},
            "circuit_breaker": {"enabled": False},
            "max_in_flight": SLOTS,
        }
    },
}


class Receiver(Provider):
    """Takes every second attempt, in 50 ms."""

    def __init__(self, log: int) -> None:
        self._log = log

    def _say(self, what: str, notification_id: str) -> None:
        os.write(self._log, f"{what} {notification_id}\n".encode())

    def attempt(self, attempt: Attempt, now_ns: int) -> Callable[[], Awaitable[Outcome]]:
        notification_id, number = attempt.command.notification_id, attempt.number

        async def fail() -> Outcome:
            self._say("failed", notification_id)
            return Transient(reason="busy")

        async def take() -> Outcome:
            self._say("begun", notification_id)
            await trio.sleep(0.05)
            self._say("taken", notification_id)
            return Sent()

        return fail if number == 1 else take


async def main(database: str, name: str, path: str, notifications: int) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with (
        PostgresStore.open(database, node=name, lease=LEASE) as store,
        Notifier.open(CONFIG, providers=Receiver(log), store=store) as notifier,
    ):
        answers = [
            notifier.send(
                SendNotification(
                    notification_id=f"{name}-{number}",
                    channel=NotificationChannel.PUSH,
                    recipient=f"device-{number}",
                    message="Hello",
                )
            )
            for number in range(notifications)
        ]
        for answer in answers:
            await answer
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
