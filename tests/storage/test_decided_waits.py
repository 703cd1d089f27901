"""However the wall clock was set while a process was down, no wait is longer than the one that was decided."""

import time

import msgspec
import pytest
import trio
from hypothesis import given, strategies as st
from shelves import EPOCH_NS, Receiver, S, command, event_of
from trio.testing import MockClock

from actors import Notifier
from actors.domain.delivery import state_after
from actors.messages import NotificationDeferred, NotificationFailed, NotificationRequested, NotificationSent
from actors.storage.sqlite.store import SqliteStore

DAY_S = 86_400


@given(
    kind=st.sampled_from([NotificationFailed, NotificationDeferred]),
    decided_s=st.integers(0, 100_000),
    down_s=st.integers(0, 10**6),
    step_s=st.integers(-(10**7), 10**7),
    since_start_s=st.integers(0, 1000),
)
def test_no_wait_is_longer_than_was_decided(kind, decided_s, down_s, step_s, since_start_s):
    field = "next_retry_at_ns" if kind is NotificationFailed else "resumes_at_ns"
    each = command("a")
    events = [event_of(NotificationRequested, each, 0), event_of(kind, each, 1, **{field: (1 + decided_s) * S})]
    epoch_ns = EPOCH_NS + (1 + down_s + step_s) * S
    now_ns = since_start_s * S
    delivery = state_after(each, events, epoch_ns, now_ns)
    wait_s = (delivery.due_ns - now_ns) / S
    assert wait_s <= decided_s
    if step_s >= 0:
        assert wait_s == decided_s - down_s - step_s - since_start_s  # as it was to be, by the calendar


@pytest.mark.parametrize("ahead_s", [DAY_S, 1])
def test_a_retry_comes_in_time_when_the_wall_clock_is_a_day_back(ahead_s, tmp_path):
    """Not with the store's own clock, which nobody sets: what waits is told by the calendar."""
    each, then_ns = command("a"), time.time_ns() + ahead_s * S

    async def live() -> NotificationSent:
        async with SqliteStore.open(tmp_path / "store.db") as store:
            for kind, fields in ((NotificationRequested, {}), (NotificationFailed, {"next_retry_at_ns": 3 * S})):
                event = msgspec.structs.replace(event_of(kind, each, **fields), epoch_ns=then_ns)
                await store.commit(event, each)()
        async with (
            SqliteStore.open(tmp_path / "store.db") as store,
            Notifier.open({"drain": "10d"}, providers=Receiver(), store=store) as notifier,
        ):
            await notifier.wait_until_quiet()
        (sent,) = notifier.sent_notifications
        return sent

    sent = trio.run(live, clock=MockClock(autojump_threshold=0.05))
    assert sent.attempt == 2
    assert 0 <= sent.started_ns <= 3.001 * S
