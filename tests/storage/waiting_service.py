"""A service at which many wait for the quota of a mail server: ``python waiting_service.py STORE PORT COUNT RATE``.

STORE is the file of a store, or a database of PostgreSQL's, ``postgresql://…``; the mail server listens at PORT of
loopback, and the quota is RATE. It accepts COUNT notifications of bulk, of one tenant and, every tenth, of another one,
then a critical one, and once that is sent twenty normal ones and three critical ones more; with a COUNT of 0 one
critical one. It says on its standard output ``waiting`` once all of bulk are accepted, ``overtakes NUMBER`` when the
critical one is, with how many had been sent by then, and ``accepted`` in the end. Then it goes on until it is killed.
"""

import itertools
import sys

import trio
from service_parts import opened_store, say

from actors import EmailProvider, Notifier, SendNotification
from actors.messages import NotificationChannel, NotificationSent

EMAIL = NotificationChannel.EMAIL


def command(notification_id: str, priority: str, tenant: str) -> SendNotification:
    """Return a mail with its id as the subject."""
    return SendNotification(
        notification_id=notification_id,
        channel=EMAIL,
        recipient="ann@example.com",
        subject=notification_id,
        message="Hello",
        priority=priority,
        metadata={"tenant": tenant},
    )


async def main(path: str, port: int, count: int, rate: str) -> None:
    email = {
        "max_in_flight": 1,
        "quota": {"rate": rate, "kind": "token_bucket", "burst": 1},
        "order": {"fair_by": "tenant"},
        "circuit_breaker": {"resume_rate": "200/s"},
    }
    settings = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "Shop <shop@example.com>"}
    sent: list[str] = []
    is_sent = trio.Event()

    def note(event: NotificationSent) -> None:
        sent.append(event.notification_id)
        if event.notification_id == "critical-first":
            is_sent.set()

    async with (
        opened_store(path, node="one", lease=3.0) as store,
        EmailProvider(settings | {"local_hostname": "client.test"}) as provider,
        Notifier.open({"channels": {"email": email}}, providers=provider, store=store) as notifier,
    ):
        notifier.bus.subscribe(NotificationSent)(note)

        async def accept(notification_id: str, priority: str, tenant: str) -> None:
            await notifier.send(command(notification_id, priority, tenant))

        if count:
            tenants = itertools.cycle(["noisy"] * 9 + ["quiet"])
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    tenant = next(tenants)
                    nursery.start_soon(accept, f"bulk-{tenant}-{number}", "bulk", tenant)
            say("waiting")
            await accept("critical-first", "critical", "noisy")
            say("overtakes", len(sent))
            await is_sent.wait()
            for number in range(20):
                tenant = ["noisy", "noisy", "noisy", "quiet"][number % 4]
                await accept(f"normal-{tenant}-{number}", "normal", tenant)
            for number in range(3):
                await accept(f"critical-{number}", "critical", "noisy")
        else:
            await accept("critical-new", "critical", "quiet")
        say("accepted")
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
