"""A service to be killed that redrives without an operator: ``redriving_service.py STORE MODE [NODE]``.

With the mode ``down`` its provider is down; it sends six notifications, which die of it, says ``dead`` and waits to be
killed. With ``up`` it says of each that it takes ``taken ID``, and ends when none is a dead letter or under way. With
``up-slowly`` it redrives one a second, and says ``dead`` and waits to be killed when it has taken two; with ``again``
the same, of six that died while it was down before, and when nothing is under way. With ``beside`` it says ``ready``,
and ends as with ``up`` once it has taken any.
"""

import itertools
import sys

import trio
from service_parts import opened_store, push, say

from actors import Foreseen, Notifier
from actors.domain.attempts import Attempt, Provider
from actors.outcomes import Outcome, Sent, Transient

MODE = sys.argv[2]
NODE = sys.argv[3] if len(sys.argv) > 3 else "one"
LETTERS = 6
taken: list[str] = []


class Gateway(Provider):
    """Is down, or takes everything."""

    def __init__(self) -> None:
        self.is_down = MODE in ("down", "again")

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        outcome: Outcome = Transient(reason="503 from the gateway") if self.is_down else Sent()
        if not self.is_down:
            taken.append(attempt.command.notification_id)
            say("taken", attempt.command.notification_id)
        return Foreseen(1_000_000, outcome)


async def send(notifier: Notifier, notification_id: str) -> None:
    """Send one, and wait until it is sent or dead."""
    await notifier.send(push(notification_id))
    await notifier.wait_until_quiet()


async def main() -> None:
    path, gateway = sys.argv[1], Gateway()
    push = {
        "retry": {"max_attempts": 1},
        "circuit_breaker": {
            "failure_threshold": 2,
            "timeout": "300ms" if MODE == "again" else "10m",
            "when_open": "fail",
        },
        "redrive": {"rate": "1/s" if MODE in ("up-slowly", "again") else "50/s"},
    }
    async with (
        opened_store(path, node=NODE, lease=5.0) as store,
        Notifier.open({"channels": {"push": push}, "drain": 0}, providers=gateway, store=store) as notifier,
    ):
        if MODE in ("down", "again"):
            for number in range(LETTERS):
                await send(notifier, f"n-{number}")
        if MODE == "again":
            gateway.is_down = False
            for number in itertools.count():
                await trio.sleep(0.3)
                await send(notifier, f"probe-{number}")
                if taken:  # by which the breaker has closed
                    break
        if MODE == "beside":
            say("ready", NODE)
        while True:
            await trio.sleep(0.01)
            letters = len(notifier.dead_letter_queue)
            redriven = [each for each in taken if each.startswith("n-")]
            is_in_the_midst = len(redriven) == 2 and (
                MODE == "up-slowly" or (MODE == "again" and not notifier.pipeline.is_busy)
            )
            if (MODE == "down" and letters == LETTERS) or is_in_the_midst:
                say("dead", letters)
                await trio.sleep_forever()
            if (MODE == "up" or (MODE == "beside" and taken)) and not letters and not notifier.pipeline.is_busy:
                return


trio.run(main)
