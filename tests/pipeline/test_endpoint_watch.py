"""What the outcome of an attempt says of its endpoint."""

from typing import Any

import pytest

from actors.domain.endpoints import Endpoints
from actors.endpoints import EndpointState
from actors.messages import NotificationChannel, SendNotification
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Permanent, Sent, Transient
from actors.pipeline.channel import outcome_of
from actors.pipeline.endpoint_watch import EndpointWatch
from actors.settings.base import validated
from actors.settings.channel import ChannelConfig

WEBHOOK = NotificationChannel.WEBHOOK
COMMAND = SendNotification(notification_id="n", channel=WEBHOOK, recipient="https://example.com/hook", message="hello")


class Unfit(Permanent, frozen=True, kw_only=True, gc=False):
    """As a provider of one's own may have it."""


@pytest.mark.parametrize(
    ("outcome", "tells"),
    [
        (Transient(), True),
        (Ambiguous(), True),
        (Permanent(), True),
        (Transient(throttled=True), False),
        (Permanent(unwritten=True), False),
        (Unfit(unwritten=True), False),
        (ChannelFault(), False),
        (DeadDestination(), False),
        (Sent(), False),
    ],
)
def test_only_what_the_endpoint_has_to_do_with_tells_of_it(outcome, tells):
    config = validated(ChannelConfig, {"endpoints": {"disable_after": "60s"}})
    alerts: list[Any] = []
    watch = EndpointWatch({WEBHOOK: config}, Endpoints())
    mark = watch.mark_of(COMMAND, outcome_of(outcome), 10**9, alerts.append)
    assert (mark is not None and mark.state is EndpointState.SUSPECTED) == tells
    assert alerts == []
