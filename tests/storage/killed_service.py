"""A service to be killed: ``python killed_service.py STORE FIRST NOTIFICATIONS [CHANNELS [NODE]]``.

STORE is the file of a store, or a database of PostgreSQL's, ``postgresql://…``, for a node among others. It sends
notifications numbered from FIRST on and says on its standard output what happens, a line each: ``accepted 7`` as their
sender gets its answer, ``taken 7`` as the receiver gets one, ``sent 7`` as that is durable. When it has come through
NOTIFICATIONS of them and nothing is in flight, it ends; with 0 of them, when its standard input is closed. Then it
has nothing to hurry for once it has accepted `AT_FULL_SPEED`: it goes on slowly, for the other node may wait for a
lease. Notifications go on the CHANNELS in turn, whose names a comma is between; else on `push`. With a
NODE it is one of that name, which takes over what an earlier one had at once.
"""

import itertools
import sys
from collections.abc import Iterator
from math import inf

import trio
from service_parts import opened_store, push, say

from actors import Foreseen, Notifier
from actors.domain.attempts import Attempt, Provider
from actors.messages import NotificationSent
from actors.outcomes import Outcome, Permanent, Sent, Transient

CLIENTS = 40

AT_FULL_SPEED = 1000
PAUSE_S = 0.2
"""Of each client, after that."""

LEASE = 15.0
"""Seconds until others take over what a node had that is killed; a busy disk may make the others wait for some."""

OF_A_CHANNEL = {"retry": {"max_attempts": 3, "initial_delay": "50ms"}, "circuit_breaker": {"enabled": False}}
FOUR = ("email", "sms", "push", "webhook")


class Receiver(Provider):
    """Fails the first attempts of every fifth for a while, every eleventh for good, and takes the others."""

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        number = attempt.command.notification_id
        outcome: Outcome = Sent()
        if int(number) % 11 == 0:
            outcome = Permanent(reason="never")
        elif int(number) % 5 == 0 and attempt.number == 1:
            outcome = Transient(reason="busy")
        else:
            say("taken", number)
        return Foreseen(2_000_000, outcome)


async def publish(notifier: Notifier, names: list[str], numbers: Iterator[int], hurried_to: float = inf) -> None:
    """Send one notification after the other, slowly from a number on."""
    for number in numbers:
        if number >= hurried_to:
            await trio.sleep(PAUSE_S)
        await notifier.send(push(number, channel=names[number % len(names)]))
        say("accepted", str(number))


async def main(path: str, first: int, notifications: int, channels: str = "push", node: str | None = None) -> None:
    names = channels.split(",")
    config = {"channels": {each: OF_A_CHANNEL | ({} if each in FOUR else {"kind": "push"}) for each in names}}
    async with (
        opened_store(path, lease=LEASE, node=node) as store,
        Notifier.open(config, providers=Receiver(), store=store) as notifier,
    ):
        notifier.bus.subscribe(NotificationSent)(lambda event: say("sent", event.notification_id))
        numbers = iter(range(first, first + notifications)) if notifications else itertools.count(first)
        hurried_to = inf if notifications else first + AT_FULL_SPEED
        async with trio.open_nursery() as clients:
            for _ in range(CLIENTS):
                clients.start_soon(publish, notifier, names, numbers, hurried_to)
            if not notifications:
                await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
                clients.cancel_scope.cancel()
        await notifier.wait_until_quiet()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
