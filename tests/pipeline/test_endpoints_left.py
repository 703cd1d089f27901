"""Endpoints that were disabled, where the setting is taken out: nothing asks for them any more."""

import pytest
import trio
from worlds import Scripted

from actors import MemoryStore, Notifier, SendNotification, Transient
from actors.domain.endpoints import Endpoint
from actors.endpoints import EndpointMark, EndpointState
from actors.messages import NotificationChannel

URL = "https://hooks.example/in"
EVENT = SendNotification(notification_id="a", channel=NotificationChannel.WEBHOOK, recipient=URL, message="{}")


@pytest.mark.parametrize(("endpoints", "left"), [({}, []), ({"endpoints": {"disable_after": "5d"}}, ["a"])])
async def test_letters_are_redriven_to_them_only_there(autojump_clock, endpoints, left):
    store, provider = MemoryStore(), Scripted([Transient(reason="busy")])
    mark = EndpointMark(state=EndpointState.DISABLED, since_ns=0, until_ns=1)
    config = {"retry": {"max_attempts": 1}, "redrive": {"rate": "1/s"}}
    async with Notifier.open({"channels": {"webhook": config}}, providers=provider, store=store) as notifier:
        await notifier.send(EVENT)
        await notifier.wait_until_quiet()
    disabled = Endpoint(channel=EVENT.channel, address=URL, mark=mark, reason="busy", marked_ns=1)
    store.endpoints.set(disabled.key, disabled)
    channels = {"webhook": config | endpoints}
    async with Notifier.open({"channels": channels}, providers=provider, store=store) as notifier:
        await trio.sleep(60)
        there = [letter.notification_id for letter in notifier.dead_letter_queue]
    assert there == left
