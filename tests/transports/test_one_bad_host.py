"""With the defaults and over real connections, one host of a thousand that is bad holds up nobody else."""

import base64
import json
import math
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from effort import sliced
from loopback_hosts import clock, hosts_on_loopback

from actors import Notifier, SendNotification, WebhookProvider, WebPushProvider
from actors.messages import BreakerTransitioned, NotificationChannel, NotificationFailed, NotificationSent

PUSH, WEBHOOK = NotificationChannel.PUSH, NotificationChannel.WEBHOOK
LOOPBACK = {"allow_networks": ["127.0.0.0/8"], "allow_http": True}
TAKES = 0.5
"""Seconds that a host takes to answer."""


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


KEYS = {
    "p256dh": base64url(
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    ),
    "auth": base64url(b"sixteen bytes of"),
}
PROVIDERS = {
    WEBHOOK: lambda: WebhookProvider({"signing_keys": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], **LOOPBACK}),
    PUSH: lambda: WebPushProvider({"vapid_key": base64url(b"1" * 32), "subject": "mailto:ops@example.com", **LOOPBACK}),
}


def sent_after(
    channel: NotificationChannel, names: list[str], **settings: Any
) -> tuple[dict[str, float], set[str], set[str]]:
    """Send one for each name of a host at once; those to bad hosts never end, so it ends when all others have.

    Returns:
        After how many seconds that to each host was sent; to which hosts attempts failed; and whose breakers moved.
    """
    sent: dict[str, float] = {}
    failed, moved = set(), set()

    async def main() -> None:
        start, good = trio.current_time(), {name for name in names if name.startswith("host-")}

        def hear(event: Any) -> None:
            if isinstance(event, NotificationSent):
                sent[host_of(event)] = trio.current_time() - start
                if good <= sent.keys():
                    are_sent.set()
            elif isinstance(event, NotificationFailed):
                failed.add(host_of(event))
            elif isinstance(event, BreakerTransitioned):
                moved.add(event.host)

        def host_of(event: Any) -> str:
            return event.notification_id.partition("/")[0]

        are_sent = trio.Event()
        async with hosts_on_loopback(201, TAKES) as hosts, PROVIDERS[channel]() as provider:
            with trio.CancelScope() as scope:
                async with Notifier.open(
                    {"channels": {channel: settings}}, providers={channel: provider}, on_event=hear
                ) as notifier:
                    for number, name in enumerate(names):
                        url = hosts.url(name)
                        to = url if channel is WEBHOOK else json.dumps({"endpoint": url, "keys": KEYS})
                        await notifier.send(
                            SendNotification(
                                notification_id=f"{name}/{number}", channel=channel, recipient=to, message="Hello"
                            )
                        )
                    with trio.move_on_after(600):
                        await are_sent.wait()
                    scope.cancel()

    trio.run(main, clock=clock())
    return sent, failed, moved


BAD = ["dead.example", "hangs.example", *["refuses.example"] * 6]


def those_later(usual: dict[str, float], now: dict[str, float]) -> list[str]:
    """Return which hosts got theirs later by more than a twentieth and one turn of a slot."""
    return [name for name in usual if now[name] > 1.05 * usual[name] + TAKES]


@pytest.mark.parametrize("size", sliced([120, pytest.param(1000, marks=pytest.mark.slow)], 4))
@pytest.mark.parametrize("channel", sliced([WEBHOOK, PUSH], 4))
def test_nobody_else_is_later(channel, size):
    names = [f"host-{number}.example" for number in range(size)]
    usual, failed, moved = sent_after(channel, names)
    assert (len(usual), failed, moved) == (size, set(), set())
    assert max(usual.values()) == pytest.approx(
        math.ceil(size / 100) * TAKES
    )  # as fast as a hundred connections take them
    now, failed, moved = sent_after(channel, [*names[:10], *BAD, *names[10:]])
    assert now.keys() == usual.keys()
    assert failed <= set(BAD)
    assert moved == {"refuses.example"}
    assert those_later(usual, now) == []
    assert max(now.values()) <= 1.05 * max(usual.values()) + TAKES


@pytest.mark.thorough
def test_with_one_breaker_for_all_they_would_be():
    names = [f"host-{number}.example" for number in range(120)]
    usual, now = (sent_after(WEBHOOK, each, circuit_breaker={"per": "channel"})[0] for each in (names, [*BAD, *names]))
    assert len(those_later(usual, now)) >= 20
