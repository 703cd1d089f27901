"""A node that does as it is told: ``python node_beside.py DATABASE NAME``, of this release or the one before it.

Which one, ``PYTHONPATH`` says. Each line of its standard input is an order in JSON, and is answered by a line in JSON
on its standard output. It ends when its standard input does.
"""

import json
import os
import sys
from typing import Any

import trio

import actors
from actors import Foreseen, Notifier, RedriveDeadLetter, SendNotification
from actors.messages import NotificationChannel
from actors.outcomes import Outcome, Permanent, Sent, Transient

try:
    from actors.domain.attempts import Provider
    from actors.domain.audit import AuditEntry
    from actors.domain.store import SettingsChange
    from actors.domain.suppressions import Suppression, SuppressionSource
    from actors.domain.user_preferences import UserPreferences
    from actors.storage.postgres.store import PostgresStore
except ImportError:  # the release before has other places for them
    from actors.pipeline.attempts import Provider
    from actors.pipeline.suppressions import Suppression, SuppressionSource
    from actors.preferences_config import UserPreferences
    from actors.storage.audit import AuditEntry
    from actors.storage.settings_change import SettingsChange

    from actors.storage.postgres import PostgresStore

LEASE = 6.0
CONFIG = {
    "drain": "0s",
    "channels": {
        "email": {
            "retry": {"backoff": "constant", "initial_delay": "500ms", "jitter": "none", "max_attempts": 1000},
            "circuit_breaker": {"enabled": False},
        }
    },
}
EMAIL = NotificationChannel.EMAIL


class Receiver(Provider):
    """Takes everything, or answers as it is told."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.answers: Outcome = Sent()

    def attempt(self, attempt: Any, now_ns: int) -> Foreseen:
        if isinstance(self.answers, Sent):
            self.taken.append(attempt.command.notification_id)
        return Foreseen(0, self.answers)


class Node:
    def __init__(self, store: Any, notifier: Notifier, receiver: Receiver) -> None:
        self._store, self._notifier, self._receiver = store, notifier, receiver

    async def answer(self, do: str, value: Any) -> Any:
        """Carry out one order, and return the answer to it."""
        return await getattr(self, f"_{do}")(value)

    async def _where(self, _: None) -> str:
        return str(actors.__file__)

    async def _send(self, notification_id: str) -> str:
        command = SendNotification(
            notification_id=notification_id,
            channel=EMAIL,
            recipient=f"{notification_id}@example.org",
            message="Hello",
            metadata={"order": "7"},
        )
        return (await self._notifier.send(command)).name

    async def _answers(self, kind: str) -> None:
        outcomes = {"Sent": Sent(), "Permanent": Permanent(reason="bad"), "Transient": Transient(reason="busy")}
        self._receiver.answers = outcomes[kind]

    async def _redrive(self, notification_id: str) -> bool:
        queue = self._notifier.pipeline.dead_letter_queue
        done: bool = await queue.ask(RedriveDeadLetter(notification_id=notification_id, by="ann"), block=False)
        return done

    async def _suppress(self, address: str) -> None:
        suppression = Suppression(
            channel=EMAIL, address=address, reason="complaint", source=SuppressionSource("operator"), since_ns=1, by="b"
        )
        await self._change(suppressed=(suppression,))

    async def _lift(self, address: str) -> None:
        await self._change(lifted=((EMAIL, address),))

    async def _prefer(self, user_id: str) -> None:
        wants = UserPreferences.model_validate({"channels": {"sms": "off"}, "quiet_hours": None})
        await self._change(preferences={user_id: wants})

    async def _change(self, **fields: Any) -> None:
        await self._store.change(SettingsChange(audit=AuditEntry(at_ns=1, action="change", by="ann"), **fields))()

    async def _state(self, _: None) -> dict[str, Any]:
        return {
            "taken": self._receiver.taken,
            "open": sorted(each.command.notification_id for each in self._store.open_deliveries(0)),
            "attempts": {each.command.notification_id: each.attempts for each in self._store.open_deliveries(0)},
            "dead": sorted(letter.notification_id for letter in self._notifier.dead_letter_queue),
            "suppressed": sorted(each.address for each in self._store.suppressions),
            "preferences": sorted(self._store.preferences),
            "audit": sorted(entry.action for entry in await self._store.audit_trail()),
        }


async def main(database: str, name: str) -> None:
    receiver = Receiver()
    async with (
        PostgresStore.open(database, node=name, lease=LEASE) as store,
        Notifier.open(CONFIG, providers=receiver, store=store) as notifier,
    ):
        node = Node(store, notifier, receiver)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            answer = await node.answer(*json.loads(line))
            os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
