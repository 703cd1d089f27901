"""A service with a backlog, to be killed: ``python backlog_service.py STORE FIRST COUNT``.

STORE is the file of a store, or a database of PostgreSQL's, ``postgresql://…``, for a node among others. It accepts
COUNT notifications numbered from FIRST on, all at once, then five more a second. Its provider takes one after the
other, twenty a second. It says on its standard output what happens, a line each: ``accepted 7``, ``begun 7 INSTANT``
(seconds of the clock of the machine), ``sent 7``, ``opened`` when a breaker opens, and ``quiet`` when all that it has
is sent and its standard input is closed.
"""

import sys
import time
from typing import Any

import trio
from service_parts import opened_store, push, say

from actors import Notifier
from actors.domain.attempts import Attempt, Provider
from actors.messages import BreakerTransitioned, NotificationSent
from actors.outcomes import Outcome, Sent

LEASE = 3.0
CONFIG = {"channels": {"push": {"max_in_flight": 1, "timeout": "10s"}}, "drain": "10m"}


class OneByOne(Provider):
    """Takes 50 ms for each."""

    def attempt(self, attempt: Attempt, now_ns: int) -> Any:
        async def send() -> Outcome:
            say("begun", attempt.command.notification_id, time.monotonic())
            await trio.sleep(0.05)
            return Sent()

        return send


async def main(path: str, first: int, count: int) -> None:
    async with (
        opened_store(path, lease=LEASE) as store,
        Notifier.open(CONFIG, providers=OneByOne(), store=store) as notifier,
    ):
        notifier.bus.subscribe(NotificationSent)(lambda event: say("sent", event.notification_id))
        notifier.bus.subscribe(BreakerTransitioned)(lambda event: say("opened") if event.to_state == "open" else None)

        async def accept(number: int) -> None:
            await notifier.send(push(number))
            say("accepted", number)

        async with trio.open_nursery() as nursery:
            for number in range(first, first + count):
                nursery.start_soon(accept, number)
        say("started")

        async def accept_more(start: int) -> None:
            number = start
            while True:
                await trio.sleep(0.2)
                await accept(number)
                number += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_more, first + count)
            await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()
        await notifier.wait_until_quiet()
        for letter in notifier.dead_letter_queue:
            say("letter", letter.notification_id)
    say("quiet")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
