"""What a store keeps of a notification in memory gives back the event that it began with."""

import msgspec
import pytest

from actors.domain.delivery import requested
from actors.messages import NotificationChannel, NotificationRequested, Priority, SendNotification
from actors.storage.memory import entry_of_accepted

COMMAND = SendNotification(
    notification_id="n-1", channel=NotificationChannel.EMAIL, recipient="ann@example.com", user_id="ann", message="Hi"
)
USUAL = requested(COMMAND, 17, 1_700_000_000_000_000_000)
OTHERS = {
    "at_ns": 18,
    "epoch_ns": 19,
    "instead_of": "n-0",
    "node": 2,
    "waited_since_ns": 3,
    "priority": Priority.BULK,
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
OF_THE_COMMAND = {"notification_id", "channel", "user_id"}


def test_the_usual_event_takes_no_room():
    entry = entry_of_accepted(COMMAND, USUAL)
    assert entry.first is None
    assert entry.requested == entry.latest == USUAL
    assert entry.events == (USUAL,)


@pytest.mark.parametrize("field", sorted({*NotificationRequested.__struct_fields__} - OF_THE_COMMAND))
def test_an_event_comes_back_with_whatever_it_says(field):
    event = msgspec.structs.replace(USUAL, **{field: OTHERS[field]})
    assert event != USUAL
    assert entry_of_accepted(COMMAND, event).requested == event
