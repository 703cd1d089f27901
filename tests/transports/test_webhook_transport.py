"""Webhooks against endpoints on loopback: the table, signatures by the specification's library, where none may go."""

import base64
import ipaddress
import json
import socket
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from attempts import NOW_NS, attempt_of, outcome_of
from beside import tables
from http_servers import DROP, HANG, HttpServer, Reply, http_server
from hypothesis import given, strategies as st
from standardwebhooks import Webhook, WebhookVerificationError
from tls_certificate import Tls

from actors.domain.attempts import UNSENT
from actors.errors import ConfigurationError
from actors.messages import SendNotification
from actors.notifier import Notifier
from actors.outcomes import Ambiguous, DeadDestination, Permanent, Sent, Transient
from actors.transports import http_exchange
from actors.transports.network_guard import GuardedNetwork, is_public
from actors.transports.webhook import WebhookProvider

TABLES = tables(__file__)

NOW = 1_800_000_000.0
OLD, NEW, OTHER = ("whsec_" + base64.b64encode(bytes([byte]) * 32).decode() for byte in (1, 2, 3))


def event(url: str, **more: Any) -> SendNotification:
    given = {"notification_id": "webhook-17", "channel": "webhook", "recipient": url, "message": "Order 17 confirmed!"}
    return SendNotification(**(given | more))


def provider_of(**settings: Any) -> WebhookProvider:
    defaults = {"signing_keys": [NEW], "allow_networks": ["127.0.0.0/8"], "allow_http": True}
    return WebhookProvider(defaults | settings, clock=lambda: NOW)


def later(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


def wait(seconds: str) -> dict[str, str]:
    return {"retry-after": seconds}


TABLE = [
    (Reply(200), Sent()),
    (Reply(202, b"taken"), Sent()),
    (Reply(204), Sent()),
    (Reply(200, b"half", cut_off=True), Sent()),
    (Reply(410), DeadDestination(reason="HTTP 410")),
    (Reply(410, b"", wait("5")), DeadDestination(reason="HTTP 410")),
    (Reply(429), Transient(reason="HTTP 429", throttled=True)),
    (Reply(429, b"", wait("5")), Transient(reason="HTTP 429", throttled=True, retry_after=5.0)),
    (Reply(502), Transient(reason="HTTP 502", throttled=True)),
    (Reply(504, b"", wait(later(90))), Transient(reason="HTTP 504", throttled=True, retry_after=90.0)),
    (Reply(500), Transient(reason="HTTP 500")),
    (Reply(500, b"", wait("5")), Transient(reason="HTTP 500", retry_after=5.0)),
    (Reply(503, b"", wait(later(90))), Transient(reason="HTTP 503", retry_after=90.0)),
    (Reply(408), Transient(reason="HTTP 408")),
    (Reply(425), Transient(reason="HTTP 425")),
    (Reply(302, b"", {"location": "/elsewhere"}), Transient(reason="HTTP 302")),
    (Reply(308, b"", {"location": "/elsewhere"} | wait("5")), Transient(reason="HTTP 308", retry_after=5.0)),
    (Reply(413, b"", wait("5")), Transient(reason="HTTP 413", retry_after=5.0)),
    (Reply(404, b"", wait(later(-90))), Transient(reason="HTTP 404", retry_after=0.0)),
    (Reply(400, b"what?"), Permanent(reason="HTTP 400")),
    (Reply(401), Permanent(reason="HTTP 401")),
    (Reply(404), Permanent(reason="HTTP 404")),
    (Reply(400, b"half", cut_off=True), Permanent(reason="HTTP 400")),
    (Reply(410, b"half", cut_off=True), DeadDestination(reason="HTTP 410")),
    (Reply(429, b"half", wait("5"), cut_off=True), Transient(reason="HTTP 429", throttled=True, retry_after=5.0)),
    (Reply(500, b"half", cut_off=True), Transient(reason="HTTP 500")),
    (Reply(500, b"half", wait("5"), endless=True), Transient(reason="HTTP 500", retry_after=5.0)),
    (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", Ambiguous(reason="connection lost before the answer")),
    (b"what?\r\n\r\n", Ambiguous(reason="connection lost before the answer")),
    (Reply(600), Transient(reason="HTTP 600")),
    (DROP, Ambiguous(reason="connection lost before the answer")),
]


@pytest.mark.parametrize(("reply", "wanted"), TABLE)
async def test_what_an_answer_means(reply, wanted, monkeypatch):
    monkeypatch.setattr(http_exchange, "BODY_PATIENCE", 0.05)
    async with http_server([reply]) as server, provider_of() as provider:
        outcome = await outcome_of(provider, event(server.url))
    assert (type(outcome), outcome.reason) == (type(wanted), wanted.reason)
    if isinstance(outcome, Transient):
        assert (outcome.retry_after, outcome.throttled) == (wanted.retry_after, wanted.throttled)
    assert len(server.requests) == 1


async def test_client_errors_may_be_transient():
    async with http_server([Reply(404)]) as server, provider_of(client_errors="transient") as provider:
        assert await outcome_of(provider, event(server.url)) == Transient(reason="HTTP 404", answer="404")


async def test_an_endpoint_that_is_down_or_being_set_up(tls: Tls):
    async with http_server([Reply(200)]) as server:
        pass
    async with provider_of() as provider:
        outcome = await outcome_of(provider, event(server.url))
    assert (type(outcome), outcome.reason, outcome.connection) == (Transient, "no connection", True)
    async with http_server([Reply(200)], tls=tls.server) as server, provider_of() as provider:
        outcome = await outcome_of(provider, event(server.url))
    assert (type(outcome), outcome.reason) == (Transient, "certificate of the server does not verify")
    assert server.requests == []


async def test_who_finds_no_connection_free_has_made_no_attempt():
    async with (
        http_server([HANG]) as server,
        provider_of(connections=1, connect_timeout=0.1) as provider,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(outcome_of, provider, event(server.url))
        await server.hangs.wait()
        assert await outcome_of(provider, event(server.url)) is UNSENT
        nursery.cancel_scope.cancel()
    assert len(server.requests) == 1


# ── signatures ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_specifications_own_library_verifies_what_is_sent():
    settings = {"signing_keys": [NEW, OLD], "allow_networks": ["127.0.0.0/8"], "allow_http": True}
    async with http_server([Reply(200)]) as server, WebhookProvider(settings) as provider:
        await outcome_of(provider, event(server.url, message="Grüße"))
    (request,) = server.requests
    for key in (OLD, NEW):  # a receiver may have either while the key is rotated
        assert Webhook(key).verify(request.body, request.headers) == {
            "type": "notification",
            "data": {"subject": None, "message": "Grüße"},
        }
    for headers in ({"webhook-id": "other"}, {"webhook-timestamp": str(int(request.headers["webhook-timestamp"]) + 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(NEW).verify(request.body, request.headers | headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(request.body + b" ", request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(request.body, request.headers)


async def test_the_specifications_example():
    # The test vector of its libraries.
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    command = SendNotification(
        notification_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        channel="webhook",
        recipient="",
        message='{"test": 2432232314}',
        metadata={"content_type": "application/json"},
    )
    settings = {"signing_keys": [key], "allow_networks": ["127.0.0.0/8"], "allow_http": True}
    async with http_server([Reply(200)]) as server, WebhookProvider(settings, clock=lambda: 1614265330.9) as provider:
        await outcome_of(provider, event(server.url, message=command.message, metadata=command.metadata,
                                         notification_id=command.notification_id))  # fmt: skip
    (request,) = server.requests
    assert request.headers["webhook-timestamp"] == "1614265330"
    assert request.headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_another_attempt_has_the_same_id_and_body_and_a_timestamp_of_its_own():
    times = iter([NOW, NOW + 5, NOW + 60, NOW + 65])
    settings = {"signing_keys": [NEW], "allow_networks": ["127.0.0.0/8"], "allow_http": True}
    async with (
        http_server([Reply(503), Reply(200)]) as server,
        WebhookProvider(settings, clock=lambda: next(times)) as provider,
    ):
        for number in (1, 2):
            await outcome_of(provider, event(server.url, notification_id="Bestellung für 17"), number)
    first, second = server.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "Bestellung%20f%C3%BCr%2017"
    assert first.body == second.body
    assert (first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]) == ("1800000000", "1800000060")
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


async def test_what_an_operator_has_edited_is_another_event():
    async with http_server([Reply(200)]) as server, provider_of() as provider:
        for edits in (0, 1, 1, 2):
            await outcome_of(provider, event(server.url, notification_id="n"), edits=edits)
    assert [request.headers["webhook-id"] for request in server.requests] == ["n", "n/edit-1", "n/edit-1", "n/edit-2"]


async def test_an_endpoint_may_have_keys_of_its_own():
    async with http_server([Reply(200)]) as server:
        mine = f"{server.url}/mine"
        settings = {"signing_keys": [NEW], "endpoint_keys": {mine: [OTHER]}, "allow_networks": ["127.0.0.0/8"]}
        async with WebhookProvider(settings | {"allow_http": True}) as provider:
            await outcome_of(provider, event(mine))
            await outcome_of(provider, event(f"{server.url}/another"))
    first, second = server.requests
    Webhook(OTHER).verify(first.body, first.headers)
    Webhook(NEW).verify(second.body, second.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(first.body, first.headers)


# ── bodies ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_bodies():
    async with http_server([Reply(200)]) as server, provider_of() as provider:
        data = {"order": {"id": 17, "lines": [1, 2]}}
        metadata = {"type": "order.placed", "timestamp": "2027-01-15T08:00:00Z", "data": data}
        await outcome_of(provider, event(server.url, metadata=metadata))
        await outcome_of(
            provider, event(server.url, message="<a/>", metadata={"content_type": "text/xml; a=b\r\nx: y"})
        )
    first, second = server.requests
    assert (json.loads(first.body), first.headers["content-type"]) == (metadata, "application/json")
    assert (second.body, second.headers["content-type"]) == (b"<a/>", "text/xml; a=b%0D%0Ax: y")


@pytest.mark.parametrize("changed", [{"message": "\ud800"}, {"metadata": {"data": {"what": object()}}}])
async def test_what_is_no_event_is_refused_before_anything_is_sent(changed):
    async with http_server([Reply(200)]) as server, provider_of() as provider:
        outcome = await outcome_of(provider, event(server.url, **changed))
        assert (type(outcome), outcome.reason) == (Permanent, "no event that could be written")
        assert outcome.unwritten
    assert server.connections == 0


# ── where none may go ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("url", "reason"), TABLES["refused_urls"])
async def test_urls_that_are_refused(url, reason):
    async with provider_of(allow_http=False) as provider:
        outcome = await outcome_of(provider, event(url))
    assert (type(outcome), outcome.reason) == (Permanent, reason)


@pytest.mark.parametrize(
    "host",
    ["168.63.129.16", "0xa83f8110", "2822734096", "[::ffff:a83f:8110]",
     "127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "10.0.0.1",
     "169.254.169.254", "[fe80::1]", "224.0.0.1"],
)  # fmt: skip
async def test_our_own_network_is_refused_however_it_is_written(host):
    async with http_server([Reply(200)]) as server, provider_of(allow_networks=[]) as provider:
        outcome = await outcome_of(provider, event(f"http://{host}:{server.port}/"))
    assert (type(outcome), outcome.reason) == (Permanent, "target address not allowed")
    assert server.connections == 0


NOT_PUBLIC = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.8.9.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.2.1",
    "192.168.1.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1",
    "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:a00:1::1",
    "2001:0:808:808:0:0:f5ff:fffe", "2001:db8::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1",
    "168.63.129.16", "::ffff:168.63.129.16", "64:ff9b::a83f:8110", "2002:a83f:8110::1",  # Azure
    "100.100.100.200", "192.0.0.192", "192.0.0.8", "fd00:ec2::254", "fd20:ce::254",  # Alibaba, Oracle, Amazon, Google
    "::ffff:0:10.0.0.1", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:127.0.0.1", "2001::1", "3fff::1", "100::1",
    "4000::1", "5f00::1", "::ffff:0:0", "64:ff9b::7f00:1", "198.51.100.1", "192.88.99.1", "250.0.0.1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "172.32.0.1", "168.63.129.15", "168.63.129.17", "192.0.1.1", "223.255.255.255",
    "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
]  # fmt: skip


def test_which_addresses_are_public():
    assert [text for text in NOT_PUBLIC if is_public(ipaddress.ip_address(text))] == []
    assert [text for text in PUBLIC if not is_public(ipaddress.ip_address(text))] == []


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_public_in_every_disguise(address):
    number = int(address)
    disguises = [
        ipaddress.IPv6Address(0xFFFF << 32 | number),
        ipaddress.IPv6Address(0x0064FF9B << 96 | number),
        ipaddress.IPv6Address(0x2002 << 112 | number << 80),
        ipaddress.IPv6Address(0xFFFF << 48 | number),
        ipaddress.IPv6Address(0x26064700 << 96 | 0x5EFE << 32 | number),
        ipaddress.IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | number ^ 0xFFFFFFFF),
    ]
    assert {is_public(disguise) for disguise in disguises} == {is_public(address)}


def test_networks_that_are_allowed():
    guard = GuardedNetwork([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")])
    permitted = ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "8.8.8.8"]
    assert [text for text in (*permitted, *NOT_PUBLIC) if guard.permits(ipaddress.ip_address(text))] == [
        *permitted, "10.1.2.3", "::ffff:10.0.0.1", "fd12::1", "fd00:ec2::254", "fd20:ce::254",
    ]  # fmt: skip


class Resolver(trio.abc.HostnameResolver):
    """Resolves names to what the test says, a new answer each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        self.asked += 1
        addresses = self.answers.pop(0)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, int(port))) for address in addresses]

    async def getnameinfo(self, sockaddr: Any, flags: Any) -> Any:
        raise NotImplementedError


async def deliver(resolver: Resolver, server: HttpServer, **settings: Any) -> Any:
    trio.socket.set_custom_hostname_resolver(resolver)
    async with provider_of(**settings) as provider:
        return await outcome_of(provider, event(f"{server.scheme}://example.test:{server.port}/"))


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to():
    async with http_server([Reply(200)]) as server:
        # A second resolution comes out elsewhere.
        resolver = Resolver(["127.0.0.1"], ["10.0.0.1"])
        assert type(await deliver(resolver, server)) is Sent
        assert resolver.asked == 1


async def test_of_several_addresses_only_those_are_tried_that_are_permitted():
    async with http_server([Reply(200)]) as server:
        assert type(await deliver(Resolver(["10.0.0.1", "127.0.0.1"]), server, connect_timeout=60)) is Sent
        outcome = await deliver(Resolver(["10.0.0.1", "192.168.0.1"]), server)
        assert (type(outcome), outcome.answer) == (Permanent, "example.test is 10.0.0.1, 192.168.0.1")


async def test_an_address_that_does_not_answer_is_followed_by_the_next_one():
    async with http_server([Reply(200)]) as server:
        assert type(await deliver(Resolver(["127.0.0.2", "127.0.0.1"]), server)) is Sent


async def test_a_name_that_does_not_exist_is_transient():
    async with http_server([Reply(200)]) as server:
        assert (await deliver(Resolver([]), server)).reason == "no connection"


async def test_the_certificate_must_be_that_of_the_name(tls: Tls):
    async with http_server([Reply(200)], tls=tls.server) as server:
        assert type(await deliver(Resolver(["127.0.0.1"]), server, ca_file=tls.ca_file)) is Sent
        trio.socket.set_custom_hostname_resolver(Resolver(["127.0.0.1"]))
        async with provider_of(ca_file=tls.ca_file) as provider:
            outcome = await outcome_of(provider, event(f"https://other.test:{server.port}/"))
        assert outcome.reason == "certificate of the server does not verify"


class StuckResolver(Resolver):
    """Never comes back from the lookup of one name; knows how many are under way."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = self.most_stuck = 0

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        if b"stuck" not in bytes(host if isinstance(host, bytes) else host.encode()).lower():
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", int(port)))]
        self.stuck += 1
        self.most_stuck = max(self.most_stuck, self.stuck)
        try:
            await trio.sleep_forever()
        finally:
            self.stuck -= 1


async def test_a_name_whose_server_does_not_answer_takes_few_of_the_lookups():
    resolver = StuckResolver()
    trio.socket.set_custom_hostname_resolver(resolver)
    async with http_server([Reply(200)]) as server, provider_of(connect_timeout=60) as provider:
        async with trio.open_nursery() as nursery:
            for number in range(30):
                host = ("stuck.test", "Stuck.Test")[number % 2]
                nursery.start_soon(outcome_of, provider, event(f"http://{host}:{server.port}/"))
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert type(await outcome_of(provider, event(f"http://fine.test:{server.port}/"))) is Sent
            nursery.cancel_scope.cancel()
        assert (resolver.stuck, resolver.most_stuck) == (0, 4)
        with trio.move_on_after(0.05):
            await outcome_of(provider, event(f"http://stuck.test:{server.port}/"))
        assert resolver.most_stuck == 4


# ── settings, and through the pipeline ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("changed", "problem"), TABLES["unusable_settings"])
def test_settings_that_cannot_be_used(changed, problem):
    with pytest.raises(ConfigurationError) as caught:
        WebhookProvider({"signing_keys": [NEW]} | changed)
    assert caught.value.problems == [problem]


async def test_an_endpoint_that_recovers_gets_every_event_under_its_id_and_a_disabled_one_none():
    config = {"channels": {"webhook": {"retry": {"max_attempts": 5, "initial_delay": 0.01}}}}
    async with http_server([Reply(500), Reply(502), DROP, Reply(200)]) as server, http_server([Reply(410)]) as gone:
        provider = provider_of()
        async with provider, Notifier.open(config, providers={"webhook": provider}) as notifier:
            await notifier.send(event(server.url, notification_id="kept"))
            await notifier.send(event(gone.url, notification_id="gone"))
            assert await notifier.wait_until_quiet(30)
            await notifier.send(event(gone.url, notification_id="gone-too"))
            assert await notifier.wait_until_quiet(30)
            assert [sent.notification_id for sent in notifier.sent_notifications] == ["kept"]
            assert [dead.failure_reason for dead in notifier.dead_letter_queue] == ["HTTP 410"]
    assert [request.headers["webhook-id"] for request in server.requests] == ["kept"] * 4
    assert len(gone.requests) == 1


@pytest.mark.parametrize("traceparent", [None, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])
async def test_the_trace_of_a_notification_is_passed_on(traceparent):
    async with http_server([Reply(200)]) as server, provider_of() as provider:
        attempt = msgspec.structs.replace(attempt_of(event(server.url)), traceparent=traceparent)
        assert isinstance(await provider.attempt(attempt, NOW_NS)(), Sent)
    [request] = server.requests
    assert request.headers.get("traceparent") == traceparent
