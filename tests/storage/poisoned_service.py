"""A service that an attempt may end: ``python poisoned_service.py STORE NOTIFICATIONS [template]``.

STORE is the file of a store, or a database of PostgreSQL's, ``postgresql://…``. It sends so many notifications; an
attempt of one whose id starts with ``poison`` ends the process as a crash in native code does; or filling in its
template. It says on its standard output ``started``, what it sends, and in the end ``quiet``.
"""

import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import trio
from service_parts import opened_store, push, say

from actors import Notifier, SendNotification, Template, Templates
from actors.domain import caution
from actors.domain.attempts import Attempt, Provider
from actors.outcomes import Outcome, Sent

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


fill_in = Templates.fill_in


def deadly_fill_in(templates: Templates, command: SendNotification) -> SendNotification:
    """End the process over some."""
    if command.notification_id.startswith("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    return fill_in(templates, command)


async def main(path: str, notifications: int, by_template: bool) -> None:
    say("started")
    caution.PAUSE_S = 0.05  # no one kills this process over and over
    deadly, templates = Deadly(), Templates({"t": Template(body="Hello")})
    Templates.fill_in = deadly_fill_in  # type: ignore[method-assign]
    async with (
        opened_store(path, node="one") as store,
        Notifier.open(CONFIG, providers=deadly, store=store, templates=templates) as notifier,
    ):
        for number in range(notifications):
            name = f"poison-{number}" if number % 20 == 7 else str(number)
            more: dict[str, Any] = {}
            if by_template:
                more = {"metadata": {"template": "t"}, "not_before": datetime.now(UTC) + timedelta(seconds=1)}
            await notifier.send(push(name, **more))
        deadly.all_accepted.set()
        await notifier.wait_until_quiet()
    say("quiet")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["template"])
