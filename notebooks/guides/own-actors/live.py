import datetime
import sys
from functools import partial

import trio
from digest import Digest

from actors import Notifier, OrderShipped, SqliteStore


async def main(order):
    now = datetime.datetime.now(datetime.UTC)
    shipped = OrderShipped(
        order_id=order,
        user_id="ann",
        customer_email="ann@example.com",
        carrier="DHL",
        tracking_number="1",
        shipped_at=now,
    )
    digests = partial(Digest, at_most=3, max_age=86400.0)
    async with (
        SqliteStore.open("shop.db") as store,
        Notifier.open(
            {"channels": {"email": {}}}, store=store, actors={"digests": digests}
        ) as notifier,
    ):
        await notifier.publish(shipped)  # returns when the digest has kept it
        await notifier.wait_until_quiet()
        print([sent.notification_id for sent in notifier.sent_notifications])


trio.run(main, sys.argv[1])
