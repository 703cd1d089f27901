from worlds import EMAIL, PUSH

from actors.instants import NS_PER_S
from actors.messages import NotificationRequested, NotificationSent
from simulation.results.backlogs import Backlogs, FaultTimes


def requested(notification_id, at_s, channel=EMAIL):
    return NotificationRequested(
        at_ns=at_s * NS_PER_S, epoch_ns=0, notification_id=notification_id, channel=channel, user_id="ann"
    )


def sent(notification_id, at_s, channel=EMAIL):
    at_ns = at_s * NS_PER_S
    return NotificationSent(
        at_ns=at_ns, epoch_ns=0, notification_id=notification_id, channel=channel, attempt=1, started_ns=at_ns,
        requested_at_ns=0,
    )  # fmt: skip


def cleared_s(events, *, is_in_order=True):
    backlogs = Backlogs([FaultTimes(0, (EMAIL,), 0, 4 * NS_PER_S)], is_in_order=is_in_order)
    backlogs.fold(events[:2])
    backlogs.fold(events[2:])
    return backlogs.end(9 * NS_PER_S)["0"]["backlog_cleared_s"]


def test_a_backlog_is_that_of_its_instants_where_some_are_recorded_late():
    assert cleared_s([requested("a", 1), requested("b", 5), sent("a", 3)], is_in_order=False) == 0
    assert cleared_s([requested("a", 1), requested("b", 5), sent("a", 6)], is_in_order=False) == 2


def test_a_backlog_is_that_of_the_channels_that_the_fault_hits():
    assert cleared_s([requested("a", 1), requested("p", 3, PUSH), sent("a", 6)]) == 2
    assert cleared_s([requested("a", 1), sent("a", 2), requested("p", 3, PUSH)]) == 0
