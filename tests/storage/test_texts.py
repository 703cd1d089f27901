"""Texts that no store could keep as they are: as an id they are unknown, and in a change of settings refused."""

import pytest
import trio
from shelves import EPOCH_NS, change, command, event_of, suppression

from actors import Notifier
from actors.domain.audit import AuditEntry
from actors.errors import Unstorable
from actors.messages import NotificationRequested
from actors.outcomes import DeadDestination, Permanent
from actors.service.observability.metrics import Metrics
from actors.service.operations.dead_letters import DeadLetters
from actors.service.operations.delivery_reports import DeliveryReport, DeliveryReports

HALF, NUL = "a\ud800b", "a\x00b"
KEPT = suppression("x@example.org", "kept")


async def test_point_8_an_id_that_no_store_could_keep_is_unknown(opened):
    async with opened() as store, Notifier.open(store=store) as notifier, trio.open_nursery() as nursery:
        letters = DeadLetters(notifier, nursery)
        for text in (HALF, NUL):
            assert await notifier.state(text) is None
            assert await store.ended_as(text, EPOCH_NS) is None
            assert await letters.show(text) is None
            assert await letters.audit(notification_id=text) == []
            assert not await letters.retry(text, by="otto")
            assert not await letters.discard(text, by="otto", why="test")


CHANGES = {
    "address": {"suppressed": [suppression(HALF, "test")]},
    "reason": {"suppressed": [suppression("y@example.org", HALF)]},
    "by": {"suppressed": [suppression("y@example.org", "test", by=HALF)]},
    "lifted": {"lifted": [(KEPT.channel, HALF)]},
    "enabled": {"enabled": [(KEPT.channel, HALF)]},
    "user": {"preferences": {HALF: None}},
}


async def test_a_change_that_no_store_could_keep_is_refused_and_the_store_goes_on(opened):
    """It ended the store, and the service with it."""
    async with opened() as store:
        for fields in CHANGES.values():
            with pytest.raises(Unstorable, match=r"wanted text, got 'a\\ud800b'"):
                store.change(change(**fields))
        for text in (HALF, NUL):
            with pytest.raises(Unstorable, match="wanted the id of a notification"):
                store.note(AuditEntry(at_ns=EPOCH_NS, action="test", by=None, notification_id=text))
            for outcome in (Permanent(reason="gone"), DeadDestination(reason="gone")):
                address = {"channel": KEPT.channel, "address": "z@example.org"}
                report = DeliveryReport(outcome=outcome, by="shop", notification_id=text, **address)
                with pytest.raises(Unstorable):
                    await DeliveryReports(store, Metrics()).take(report)
        await store.change(change(suppressed=[KEPT], preferences={NUL: None}))()
        a = command("a")
        await store.commit(event_of(NotificationRequested, a), a)()
    async with opened() as store:
        assert [each.address for each in store.suppressions] == ["x@example.org"]
        assert list(store.open_ids()) == ["a"]
