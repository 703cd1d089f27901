"""A service to be killed that redrives without an operator: ``redriving_service.py STORE down | up | up-slowly``.

While its provider is down it sends six notifications, which die of it, says ``dead`` and waits to be killed. Where it
is up, it says of each that it takes ``taken ID``, and ends when none is a dead letter or under way; slowly, it redrives
one a second, and says ``dead`` and waits to be killed when it has taken two.
"""

from __future__ import annotations

import sys

import trio
from service_parts import opened_store, say

from actors import Foreseen, Notifier, SendNotification
from actors.domain.attempts import Attempt, Provider
from actors.outcomes import Outcome, Sent, Transient

MODE = sys.argv[2]
taken: list[str] = []


class Gateway(Provider):
    """Is down, or takes everything."""

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        outcome: Outcome = Transient(reason="503 from the gateway") if MODE == "down" else Sent()
        if MODE != "down":
            taken.append(attempt.command.notification_id)
            say("taken", attempt.command.notification_id)
        return Foreseen(1_000_000, outcome)


async def main() -> None:
    """Run it."""
    path = sys.argv[1]
    node = {"node": "one", "lease": 5.0} if path.startswith("postgresql:") else {}
    push = {
        "retry": {"max_attempts": 1},
        "circuit_breaker": {"failure_threshold": 2, "timeout": "10m", "when_open": "fail"},
        "redrive": {"rate": "1/s" if MODE == "up-slowly" else "50/s"},
    }
    async with (
        opened_store(path, **node) as store,
        Notifier.open({"channels": {"push": push}, "drain": 0}, providers=Gateway(), store=store) as notifier,
    ):
        if MODE == "down":
            for number in range(6):
                command = {"notification_id": f"n-{number}", "channel": "push", "recipient": "device"}
                await notifier.send(SendNotification(**command, message="hello"))
        while True:
            await trio.sleep(0.01)
            letters = len(notifier.dead_letter_queue)
            if (MODE == "down" and letters == 6) or (MODE == "up-slowly" and len(taken) == 2):
                say("dead", letters)
                await trio.sleep_forever()
            if MODE == "up" and not letters and not notifier.pipeline.is_busy:
                return


trio.run(main)
