"""Web Push against a push service and a browser that nobody here wrote: the package web-push-testing for Node."""

import base64
import json
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from attempts import outcome_of
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from node_packages import node_with

from actors.messages import SendNotification
from actors.outcomes import DeadDestination, Permanent, Sent
from actors.transports.webpush import WebPushProvider

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

PACKAGE = "web-push-testing@1.2.2"
START = """
const {PushApiModel} = require('web-push-testing/src/PushApiModel.js');
const Server = require('web-push-testing/src/server.js');
new Server(new PushApiModel(), Number(process.argv[1])).startServer();
"""

VAPID = ec.generate_private_key(ec.SECP256R1())
PEM = VAPID.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public(key: ec.EllipticCurvePrivateKey) -> str:
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(point).decode().rstrip("=")


class Browsers:
    """They subscribe at the push service, and show what they were sent."""

    def __init__(self, port: int) -> None:
        self._client = httpx2.Client(base_url=f"http://localhost:{port}", trust_env=False)

    def subscribe(self, key: str) -> dict[str, Any]:
        answer = self._client.post("/subscribe", data={"userVisibleOnly": "true", "applicationServerKey": key})
        subscription: dict[str, Any] = answer.raise_for_status().json()["data"]
        return subscription

    def unsubscribe(self, subscription: dict[str, Any]) -> None:
        self._client.post(f"/expire-subscription/{subscription['clientHash']}").raise_for_status()

    def shown(self, subscription: dict[str, Any]) -> list[Any]:
        answer = self._client.post("/get-notifications", json={"clientHash": subscription["clientHash"]})
        return [json.loads(text) for text in answer.raise_for_status().json()["data"]["messages"]]

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="module")
def browsers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browsers]:
    folder = tmp_path_factory.mktemp("node")
    node = node_with(PACKAGE, folder)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with subprocess.Popen([node, "-e", START, str(port)], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert "running" in process.stdout.readline()
            there = Browsers(port)
            yield there
            there.close()
        finally:
            process.kill()


async def pushed(subscription: dict[str, Any], **more: Any) -> Any:
    settings = {
        "vapid_key": PEM,
        "subject": "mailto:push@shop.example",
        "allow_networks": ["127.0.0.0/8", "::1/128"],
        "allow_http": True,
    }
    command = SendNotification(
        notification_id="push-17", channel="push", recipient=json.dumps(subscription), message="Grüße 🍉", **more
    )
    async with WebPushProvider(settings) as provider:
        return await outcome_of(provider, command, wanted_for=60)


async def test_a_browser_shows_what_was_pushed(browsers: Browsers) -> None:
    subscription = browsers.subscribe(public(VAPID))
    assert type(await pushed(subscription, subject="Order 17")) is Sent
    assert type(await pushed(subscription, metadata={"data": {"a": [1]}})) is Sent
    first = {"id": "push-17", "title": "Order 17", "body": "Grüße 🍉"}
    assert browsers.shown(subscription) == [first, first | {"title": None, "data": {"a": [1]}}]


async def test_a_browser_that_has_unsubscribed_is_a_dead_destination(browsers: Browsers) -> None:
    subscription = browsers.subscribe(public(VAPID))
    browsers.unsubscribe(subscription)
    assert type(await pushed(subscription)) is DeadDestination


async def test_a_browser_that_has_subscribed_with_another_key_concerns_nobody_else(browsers: Browsers) -> None:
    other = browsers.subscribe(public(ec.generate_private_key(ec.SECP256R1())))
    assert type(await pushed(other)) is Permanent
    assert browsers.shown(other) == []
    assert type(await pushed(browsers.subscribe(public(VAPID)))) is Sent
