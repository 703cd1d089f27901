"""A service to be killed that has something scheduled: ``python scheduled_service.py STORE AHEAD``.

It sends ``soon`` for AHEAD seconds from now, ``later`` and ``cancelled`` for an hour from now, cancels the last and
``in-line``, which waits in line, and says ``ready`` and the instant of the first; what its receiver gets of these it
says as ``taken ID INSTANT``, in seconds since 1970. Then it waits to be killed. With an AHEAD of 0 it sends nothing,
and ends when ``soon`` has been taken.
"""

import sys
import time
from datetime import UTC, datetime, timedelta

import trio
from service_parts import opened_store, push, say

from actors import Foreseen, Notifier
from actors.domain.attempts import Attempt, Provider
from actors.outcomes import Sent

taken = trio.Event()


class Receiver(Provider):
    """Takes everything."""

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        if attempt.command.channel == "push":
            say("taken", attempt.command.notification_id, time.time())
            taken.set()
        return Foreseen(1_000_000, Sent())


async def main() -> None:
    path, ahead = sys.argv[1], float(sys.argv[2])
    config = {"channels": {"push": {}, "sms": {"quota": {"rate": "1/h"}}}, "drain": 0}
    async with (
        opened_store(path, node="one", lease=5.0) as store,
        Notifier.open(config, providers=Receiver(), store=store) as notifier,
    ):
        if not ahead:
            await taken.wait()
            while (await notifier.state("soon")).state != "sent":
                await trio.sleep(0.01)
            return
        now = datetime.now(UTC)
        for name in ("first", "in-line"):  # the second waits for the quota, for an hour
            await notifier.send(push(name, channel="sms", recipient="+491512345"))
        assert await notifier.cancel("in-line")
        for name, after in (("soon", ahead), ("later", 3600.0), ("cancelled", 3600.0)):
            await notifier.send(push(name, not_before=now + timedelta(seconds=after)))
        assert await notifier.cancel("cancelled")
        say("ready", (now + timedelta(seconds=ahead)).timestamp())
        await trio.sleep_forever()


trio.run(main)
