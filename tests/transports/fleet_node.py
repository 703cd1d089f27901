"""A node of a fleet, to be killed: ``python fleet_node.py DATABASE NAME LEASE SETTINGS URL``.

It is one of those that share a database, with a lease of so many seconds and the settings in JSON; its webhooks go to a
receiver on loopback. It says on its standard output what happens, a line each: ``imported`` when it could begin,
``open`` when it has begun, ``accepted 7``, ``attempted 7`` when the outcome of an attempt is recorded, ``ended 7`` as
sent or as a dead letter, ``opened`` when its breaker opens, ``told`` when that is since others say so, and ``took 5``
when it has taken over so many of another node's.

It begins with the first line of its standard input. Each further one is the id of a notification to accept, and it ends
when there is none any more.
"""

import json
import logging
import os
import sys
from collections.abc import AsyncIterator

import trio

from actors import Notifier, SendNotification
from actors.messages import (
    BreakerTransitioned,
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationSent,
    RecordedEvent,
)
from actors.storage.postgres import worker
from actors.storage.postgres.store import PostgresStore
from actors.transports.webhook import WebhookProvider

WEBHOOK = {
    "signing_keys": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    "allow_http": True,
    "allow_networks": ["127.0.0.0/8"],
    "connections": 100,
}


def say(*words: object) -> None:
    """Say something so that it is known even if this process is gone right behind it."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Takeovers(logging.Handler):
    """Says what the store logs of what it has taken over."""

    def emit(self, record: logging.LogRecord) -> None:
        if "takes over" in record.msg:
            assert isinstance(record.args, tuple)
            say("took", record.args[1])


def tell(event: RecordedEvent) -> None:
    if isinstance(event, BreakerTransitioned):
        if event.to_state == "open":
            say("opened")
        if event.cause == "others-open":
            say("told")
    elif isinstance(event, (NotificationSent, NotificationFailed)):
        say("attempted", event.notification_id)
    if isinstance(event, (NotificationSent, NotificationMovedToDeadLetter)):
        say("ended", event.notification_id)


async def input_lines() -> AsyncIterator[str]:
    """Read the standard input by lines; not in a thread, which would keep a node that has failed from ending."""
    rest = b""
    async for chunk in trio.lowlevel.FdStream(os.dup(0)):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode()


async def main(database: str, name: str, lease: float, settings: str, url: str) -> None:
    say("imported")
    lines = input_lines()
    if await anext(lines, None) is None:
        return
    async with (
        PostgresStore.open(database, node=name, lease=lease) as store,
        WebhookProvider(WEBHOOK) as webhook,
        Notifier.open(json.loads(settings), providers=webhook, store=store, on_event=tell) as notifier,
    ):
        say("open")

        async def accept(notification_id: str) -> None:
            await notifier.send(
                SendNotification(
                    notification_id=notification_id,
                    channel=NotificationChannel.WEBHOOK,
                    recipient=f"{url}/{notification_id}",
                    message="Hello",
                )
            )
            say("accepted", notification_id)

        async with trio.open_nursery() as nursery:
            async for line in lines:
                nursery.start_soon(accept, line)


if __name__ == "__main__":
    logging.getLogger(worker.__name__).addHandler(Takeovers())
    trio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4], sys.argv[5])
