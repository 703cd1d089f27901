"""Web Push against a server that plays a push service; what it gets, an independent decryption reads."""

import base64
import json
import re
from typing import Any

import jwt
import pytest
from attempts import outcome_of
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from http_servers import DROP, Reply, http_server
from hypothesis import given, strategies as st
from tls_certificate import Tls

from actors.errors import ConfigurationError
from actors.messages import SendNotification
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Permanent, Sent, Transient
from actors.transports.webpush import (
    Refusals,
    Subscription,
    Unpushable,
    WebPushProvider,
    encrypted,
    origin_of,
    parse_subscription,
    topic_of,
)

NOW = 1_800_000_000.0
VAPID = ec.generate_private_key(ec.SECP256R1())


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def raw(key: ec.EllipticCurvePrivateKey) -> str:
    return base64url(key.private_numbers().private_value.to_bytes(32, "big"))


class Browser:
    """Has subscribed, and reads what it gets, by RFC 8291 and RFC 8188."""

    def __init__(self, key: ec.EllipticCurvePrivateKey | None = None, secret: bytes = bytes(range(16))) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.secret = secret

    def subscription(self, endpoint: str) -> str:
        keys = {"p256dh": base64url(public(self.key)), "auth": base64url(self.secret)}
        return json.dumps({"endpoint": endpoint, "expirationTime": None, "keys": keys})

    def read(self, body: bytes) -> bytes:
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        sender, sealed = body[21 : 21 + length], body[21 + length :]
        assert len(sealed) <= size
        shared = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))

        def derived(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
            return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)

        secret = derived(self.secret, shared, b"WebPush: info\0" + public(self.key) + sender, 32)
        key = derived(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
        nonce = derived(salt, secret, b"Content-Encoding: nonce\0", 12)
        text, mark, padding = AESGCM(key).decrypt(nonce, sealed, None).rpartition(b"\2")
        assert (mark, padding.strip(b"\0")) == (b"\2", b"")
        return text


def test_the_browser_reads_the_example_of_rfc_8291():
    key = ec.derive_private_key(
        int.from_bytes(from_base64url("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"), "big"), ec.SECP256R1()
    )
    body = (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3"
        "jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )
    browser = Browser(key, from_base64url("BTBZMqHH6r4Tts7J_aSIgg"))
    assert browser.read(from_base64url(body)) == b"When I grow up, I want to be a watermelon"


BROWSER = Browser()


@given(st.binary(min_size=1, max_size=3993))
def test_what_is_encrypted_the_browser_can_read(payload):
    subscription = Subscription("https://push.example/1", public(BROWSER.key), BROWSER.secret)
    body = encrypted(payload, subscription)
    assert BROWSER.read(body) == payload
    assert len(body) <= 4096
    assert body != encrypted(payload, subscription)


def push(endpoint: str, **more: Any) -> SendNotification:
    given = {"notification_id": "push-17", "channel": "push", "message": "It is on its way", "subject": "Order 17"}
    return SendNotification(**(given | {"recipient": BROWSER.subscription(endpoint)} | more))


def provider_of(**more: Any) -> WebPushProvider:
    settings = {
        "vapid_key": raw(VAPID),
        "subject": "mailto:push@shop.example",
        "allow_networks": ["127.0.0.0/8"],
        "allow_http": True,
    }
    return WebPushProvider(settings | more, clock=lambda: NOW)


TABLE = [
    (Reply(201), Sent()),
    (Reply(200), Sent()),
    (Reply(404), DeadDestination(reason="HTTP 404")),
    (Reply(410), DeadDestination(reason="HTTP 410")),
    (Reply(413), Permanent(reason="HTTP 413")),
    (Reply(429), Transient(reason="HTTP 429", throttled=True)),
    (Reply(429, b"", {"retry-after": "7"}), Transient(reason="HTTP 429", throttled=True, retry_after=7.0)),
    (Reply(401), Permanent(reason="HTTP 401")),
    (Reply(403, b"signature"), Permanent(reason="HTTP 403")),
    (Reply(408), Transient(reason="HTTP 408")),
    (Reply(425), Transient(reason="HTTP 425")),
    (Reply(503, b"", {"retry-after": "9"}), Transient(reason="HTTP 503", retry_after=9.0)),
    (Reply(400), Permanent(reason="HTTP 400")),
    (Reply(307, b"", {"location": "/elsewhere"}), Permanent(reason="HTTP 307")),
    (Reply(500), Ambiguous(reason="HTTP 500")),
    (DROP, Ambiguous(reason="connection lost before the answer")),
    (Reply(400, b"half", cut_off=True), Permanent(reason="HTTP 400")),
    (Reply(410, b"half", cut_off=True), DeadDestination(reason="HTTP 410")),
    (Reply(500, b"half", cut_off=True), Ambiguous(reason="HTTP 500")),
]


@pytest.mark.parametrize(("reply", "wanted"), TABLE)
async def test_what_an_answer_means(reply, wanted):
    async with http_server([reply]) as server, provider_of() as provider:
        outcome = await outcome_of(provider, push(server.url))
    assert (type(outcome), outcome.reason) == (type(wanted), wanted.reason)
    if isinstance(outcome, Transient):
        assert (outcome.retry_after, outcome.throttled) == (wanted.retry_after, wanted.throttled)
    assert len(server.requests) == 1


async def test_one_subscription_that_is_refused_concerns_nobody_else():
    async with http_server([Reply(403), Reply(403), Reply(403), Reply(201)]) as server, provider_of() as provider:
        outcomes = [type(await outcome_of(provider, push(f"{server.url}/{number}"))) for number in range(4)]
    assert outcomes == [Permanent, Permanent, Permanent, Sent]


async def test_several_push_services_that_refuse_us_are_a_fault_of_ours():
    async with (
        http_server([Reply(403)]) as first,
        http_server([Reply(401)]) as second,
        http_server([Reply(403), Reply(410), Reply(201), Reply(403)]) as third,
        provider_of() as provider,
    ):
        targets = [first, second, third, first, third, third, first, second, third]
        outcomes = [type(await outcome_of(provider, push(server.url))) for server in targets]
    before, fault, after = [Permanent, Permanent], [ChannelFault, ChannelFault, DeadDestination], [Permanent] * 3
    # Once a message is taken the key is right, and who refuses from then on refuses one subscription.
    assert outcomes == [*before, *fault, Sent, *after]


@given(st.lists(st.sampled_from(["taken", "https://a", "https://b", "https://c", "https://d"]), max_size=12))
def test_refusals_concern_all_only_while_nothing_was_taken_and_several_refuse(answers):
    refusals, seen = Refusals(), []
    for answer in answers:
        seen.append(answer)
        if answer == "taken":
            refusals.record_taken()
        else:
            assert refusals.record_refused(answer) == ("taken" not in seen and len(set(seen)) >= 3)


async def test_a_push_service_that_is_down_or_not_itself(tls: Tls):
    async with http_server([Reply(201)]) as server:
        pass
    async with provider_of() as provider:
        assert (await outcome_of(provider, push(server.url))).reason == "no connection"
        async with http_server([Reply(201)], tls=tls.server) as server:
            outcome = await outcome_of(provider, push(server.url))
    assert (type(outcome), outcome.reason) == (Transient, "certificate of the server does not verify")


async def test_what_the_browser_gets():
    async with http_server([Reply(201)]) as server, provider_of() as provider:
        assert type(await outcome_of(provider, push(f"{server.url}/wpush/v2/abc?d=e"))) is Sent
        metadata = {"badge": 3, "sound": "bell", "deep_link": "https://shop.example/17", "data": {"a": 1}, "other": 2}
        assert type(await outcome_of(provider, push(server.url, metadata=metadata), number=2)) is Sent
    first, second = server.requests
    assert first.target == "/wpush/v2/abc?d=e"
    shown = {"id": "push-17", "title": "Order 17", "body": "It is on its way"}
    assert json.loads(BROWSER.read(first.body)) == shown
    del metadata["other"]
    assert json.loads(BROWSER.read(second.body)) == shown | metadata
    assert first.headers["content-encoding"] == "aes128gcm"
    assert (first.headers["ttl"], first.headers["urgency"]) == ("86400", "normal")
    assert first.headers["topic"] == second.headers["topic"] == topic_of("push-17") != topic_of("push-18")
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", topic_of("push-17"))


async def test_how_long_and_how_urgently():
    async with http_server([Reply(201)]) as server, provider_of(ttl="1h", urgency="low") as provider:
        await outcome_of(provider, push(server.url))
        await outcome_of(provider, push(server.url, metadata={"ttl": 0, "urgency": "high", "topic": "orders"}))
    hints = [[request.headers[name] for name in ("ttl", "urgency", "topic")] for request in server.requests]
    assert hints == [["3600", "low", topic_of("push-17")], ["0", "high", "orders"]]


async def test_a_push_service_keeps_no_message_for_longer_than_it_is_wanted():
    async with http_server([Reply(201)]) as server, provider_of(ttl="1h") as provider:
        for wanted_for, ttl in ((60.9, None), (7200.0, None), (60.0, 30), (60.0, 90), (0.5, None), (-1.0, None)):
            command = push(server.url, metadata={} if ttl is None else {"ttl": ttl})
            assert type(await outcome_of(provider, command, wanted_for=wanted_for)) is Sent
    assert [request.headers["ttl"] for request in server.requests] == ["60", "3600", "30", "60", "0", "0"]


@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [
        ("https://push.example/a?b", "https://push.example"),
        ("HTTPS://Push.Example:443/A", "https://push.example"),
        ("https://push.example:8443/a", "https://push.example:8443"),
        ("http://push.example:80/a", "http://push.example"),
        ("https://push.example:80/a", "https://push.example:80"),
        ("https://bücher.example/a", "https://xn--bcher-kva.example"),
        ("https://[2001:DB8:0:0::1]/a", "https://[2001:db8::1]"),
        ("https://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443"),
    ],
)
def test_the_origin_of_a_push_service_is_written_as_rfc_6454_has_it(endpoint, origin):
    assert origin_of(endpoint) == origin


async def test_a_push_service_with_an_ipv6_address_is_signed_for():
    async with http_server([Reply(201)], host="::1") as server, provider_of(allow_networks=["::1/128"]) as provider:
        assert type(await outcome_of(provider, push(f"{server.url}/abc"))) is Sent
    token = server.requests[0].headers["authorization"].removeprefix("vapid t=").partition(",")[0]
    ignored = {"verify_exp": False}  # by the clock of this machine
    claims = jwt.decode(token, VAPID.public_key(), ["ES256"], audience=f"http://[::1]:{server.port}", options=ignored)
    assert claims["exp"] == NOW + 12 * 3600


async def test_the_signature_is_ours_and_for_that_push_service():
    async with http_server([Reply(201)]) as server, provider_of() as provider:
        await outcome_of(provider, push(f"{server.url}/abc"))
    header = server.requests[0].headers["authorization"]
    found = re.fullmatch(r"vapid t=([^.,]+)\.([^.,]+)\.([^.,]+), ?k=(\S+)", header)
    assert found is not None
    kind, claims, signature, key = found.groups()
    assert from_base64url(key) == public(VAPID)
    assert json.loads(from_base64url(kind)) == {"typ": "JWT", "alg": "ES256"}
    assert json.loads(from_base64url(claims)) == {
        "aud": server.url,
        "exp": NOW + 12 * 3600,
        "sub": "mailto:push@shop.example",
    }
    pair = from_base64url(signature)
    der = encode_dss_signature(int.from_bytes(pair[:32], "big"), int.from_bytes(pair[32:], "big"))
    VAPID.public_key().verify(der, f"{kind}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        VAPID.public_key().verify(der, f"{kind}.x{claims}".encode(), ec.ECDSA(hashes.SHA256()))


# ── what is never sent ──────────────────────────────────────────────────────────────────────────────────────────

KEYS = json.loads(BROWSER.subscription(""))["keys"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://push.example/1",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({"endpoint": "https://push.example/1"}),
        json.dumps({"endpoint": "https://push.example/1", "keys": ["p256dh", "auth"]}),
        json.dumps({"endpoint": "https://push.example/1", "keys": KEYS | {"p256dh": 7}}),
        json.dumps({"endpoint": "https://push.example/1", "keys": KEYS | {"p256dh": KEYS["auth"]}}),
        json.dumps({"endpoint": "https://push.example/1", "keys": KEYS | {"p256dh": base64url(b"\4" + b"\1" * 64)}}),
        json.dumps({"endpoint": "https://push.example/1", "keys": KEYS | {"auth": base64url(b"short")}}),
        json.dumps({"endpoint": "https://push.example/1", "keys": KEYS | {"auth": "ü"}}),
        json.dumps({"endpoint": 7, "keys": KEYS}),
    ],
)
def test_what_is_no_subscription(text):
    with pytest.raises(Unpushable, match="not a subscription"):
        parse_subscription(text)


def test_a_subscription_may_have_padding():
    padded = {name: value + "=" * (-len(value) % 4) for name, value in KEYS.items()}
    text = json.dumps({"endpoint": "https://push.example/1", "keys": padded})
    assert parse_subscription(text).secret == BROWSER.secret


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"recipient": "device-token"}, "not a subscription"),
        ({"message": "x" * 4_000}, "message too large"),
        ({"message": "\ud800"}, "no message that could be written"),
        ({"metadata": {"ttl": "soon"}}, "a ttl that is no number of seconds"),
        ({"metadata": {"ttl": -1}}, "a ttl that is no number of seconds"),
        ({"metadata": {"urgency": "very"}}, "an unknown urgency"),
        ({"metadata": {"urgency": ["high"]}}, "an unknown urgency"),
        ({"metadata": {"topic": "a b"}}, "a topic that is not up to 32 characters of base64url"),
        ({"metadata": {"topic": "x" * 33}}, "a topic that is not up to 32 characters of base64url"),
        ({"recipient": BROWSER.subscription("ftp://push.example/1")}, "not a URL"),
        ({"recipient": BROWSER.subscription("https://[::1]/1")}, "target address not allowed"),
        ({"recipient": BROWSER.subscription("https:///1")}, "not a URL"),
        ({"recipient": BROWSER.subscription("https://a..b/1")}, "an empty label in the host"),
    ],
)
async def test_what_is_refused_before_anything_is_sent(changed, reason):
    async with http_server([Reply(201)]) as server, provider_of() as provider:
        outcome = await outcome_of(provider, push(server.url, **changed))
        assert type(outcome) is Permanent
        assert outcome.reason.startswith(reason)
        assert outcome.unwritten == ("recipient" not in changed)
    assert server.connections == 0


async def test_our_own_network_is_refused_and_so_is_http():
    async with http_server([Reply(201)]) as server:
        async with provider_of(allow_networks=[]) as provider:
            assert (await outcome_of(provider, push(server.url))).reason == "target address not allowed"
        async with provider_of(allow_http=False) as provider:
            assert await outcome_of(provider, push(server.url)) == Permanent(reason="not an https URL")
    assert server.connections == 0


# ── settings ────────────────────────────────────────────────────────────────────────────────────────────────────


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


@pytest.mark.parametrize("text", [raw(VAPID), pem(VAPID)], ids=["base64url", "PEM"])
async def test_the_key_in_all_its_forms(text):
    async with http_server([Reply(201)]) as server, provider_of(vapid_key=text) as provider:
        await outcome_of(provider, push(server.url))
    assert server.requests[0].headers["authorization"].endswith(f"k={base64url(public(VAPID))}")


WRONG = "vapid_key: wanted a P-256 key in PEM or base64url, got a value that is not shown"


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"vapid_key": "hunter2"}, WRONG),
        ({"vapid_key": pem(ec.generate_private_key(ec.SECP384R1()))}, WRONG),
        ({"vapid_key": pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))}, WRONG),
        ({"vapid_key": "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----"}, WRONG),
        ({"subject": "push@shop.example"}, "subject: wanted a mailto: or https: URL, got 'push@shop.example'"),
        ({"subject": "mailto:push@shop"}, "subject: wanted a mailto: or https: URL, got 'mailto:push@shop'"),
        ({"urgency": "very"}, "urgency: wanted one of very-low, low, normal, high, got 'very'"),
    ],
)
def test_settings_that_cannot_be_used(changed, problem):
    with pytest.raises(ConfigurationError) as caught:
        provider_of(**changed)
    assert caught.value.problems == [problem]
