"""Web Push to browsers (RFC 8030), encrypted for the browser (RFC 8291) and signed by us (VAPID, RFC 8292).

==================================== =============== ==============================================================
the push service                     outcome         because
==================================== =============== ==============================================================
201, other 2xx                       Sent            it has taken the message (RFC 8030, 5)
404, 410                             DeadDestination the subscription has ended (RFC 8030, 7.3)
413                                  Permanent       the message is too large (RFC 8030, 7.2)
429                                  Transient,      too fast; after Retry-After (RFC 8030, 8.4)
                                     throttled
401, 403                             Permanent       this subscription was made with another key (RFC 8292, 4.2)
401, 403 of a third push service     ChannelFault    none takes our signature (see :class:`Refusals`)
while none ever took a message
408, 425                             Transient       it may be asked again (RFC 9110, 15.5.9; RFC 8470, 5.2)
503                                  Transient       not now; after Retry-After (RFC 9110, 15.6.4)
other 4xx, 3xx                       Permanent       it does not take this message; redirects are not followed
                                                     (RFC 9110, 15.4 and 15.5)
other 5xx                            Ambiguous       it may have taken the message before it failed (RFC 9110, 15.6)
no connection, a certificate that    Transient       nothing was said
does not verify
a private, link-local, loopback,     Permanent       refused here, unless it is in `allow_networks`: browsers choose
multicast or reserved address                        their push service, and what calls itself a browser may be none
no subscription, no https URL, an    Permanent       refused here
impossible host, port 0, a
message that is too large, a topic
or an unknown urgency
an answer whose body is cut off      by its status   the status has come
lost after the request went out      Ambiguous       it may have taken the message
==================================== =============== ==============================================================

A row without a source follows from the state of the request: see :mod:`actors.transports.http_exchange`.

A message has a topic made from the notification's id, unless the metadata names another: of several with the same topic
a push service keeps the last one, so that a browser that was offline gets no copies. It keeps none for longer than the
notification is wanted.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from actors.domain.attempts import Attempt
from actors.errors import ConfigurationError
from actors.messages import SendNotification
from actors.optional_dependencies import needs
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.base import NOT_SHOWN, validated
from actors.settings.transports import WebPushConfig
from actors.transports.http_exchange import HttpAnswer, HttpExchange, HttpTransport
from actors.transports.network_guard import GuardedNetwork
from actors.transports.webhook import MAY_BE_REPEATED, NOT_ALLOWED, problem_of_url

with needs("live"):
    import http_ece
    import httpx2
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from py_vapid import Vapid02, VapidException
    from py_vapid.jwt import sign

BODY_SIZE_MAX: Final = 4096
"""Bytes that every push service takes (RFC 8030, 7.2), encrypted: 3,993 of a message."""

SIGNATURE_LIFE_S: Final = 12 * 3600
"""RFC 8292 allows a day."""

REFUSING_MIN: Final = 3
"""Push services that refuse us before it is taken for a fault of ours."""

REFUSED: Final = frozenset({401, 403})

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

URGENCIES: Final = ("very-low", "low", "normal", "high")


class Unpushable(Exception):
    """This can be no push message; the text says why."""


class Subscription(msgspec.Struct, frozen=True):
    """The address and keys that a browser gave for messages to it."""

    endpoint: str
    key: bytes
    """Its public key, P-256, uncompressed."""
    secret: bytes
    """Sixteen bytes that only it and we know."""


class Refusals:
    """Tells whether push services refuse one subscription, or us.

    A push service refuses what is not signed with the key that a subscription was made with (RFC 8292, 4.2). Whoever
    subscribes chooses that key, and the push service too. So a refusal concerns its recipient, unless several push
    services refuse and none has ever taken what we sign: then our key is another one than browsers know, or our clock
    is wrong.
    """

    def __init__(self) -> None:
        self._refusing: set[str] = set()
        self._was_taken = False

    def record_taken(self) -> None:
        """Know from now on that our signature is one that push services take."""
        self._was_taken = True
        self._refusing.clear()

    def record_refused(self, origin: str) -> bool:
        """Return whether the refusal of this push service concerns all recipients."""
        if not self._was_taken and len(self._refusing) < REFUSING_MIN:
            self._refusing.add(origin)
        return len(self._refusing) >= REFUSING_MIN


class WebPushProvider(HttpTransport):
    """Sends messages to browsers.

    The recipient is a subscription, as ``JSON.stringify`` writes it: ``{"endpoint": …, "keys": {"p256dh": …, …}}``. The
    browser's service worker gets ``{"id", "title", "body"}`` in JSON, and of the metadata `badge`, `sound`, `deep_link`
    and `data` where they are. Besides, the metadata may hold `ttl` (seconds), `urgency` and `topic`. A message
    waits for its browser for its `ttl`, and not beyond the expiry of its notification.
    """

    recipients_choose_hosts = True

    def __init__(self, config: WebPushConfig | Mapping[str, Any], *, clock: Callable[[], float] = time.time) -> None:
        config = validated(WebPushConfig, config)
        vapid = _vapid(config)
        self._key = vapid.private_key
        public = vapid.public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self._public_key = base64.urlsafe_b64encode(public).decode().rstrip("=")
        self._refusals = Refusals()
        self._network = GuardedNetwork(config.allow_networks)
        self._http = HttpExchange(config, clock, network=self._network, is_ours=False, errors_in_body=False)
        self._config = config
        self._clock = clock

    def recipient_problem(self, command: SendNotification) -> str | None:
        try:
            subscription, _ = self._subscription(command)
        except Unpushable as error:
            return f"{error}; wanted what JSON.stringify makes of the subscription of a browser"
        return NOT_ALLOWED if self._network.refuses(subscription.endpoint) else None

    def _subscription(self, command: SendNotification) -> tuple[Subscription, str]:
        subscription = parse_subscription(command.recipient)
        if (problem := problem_of_url(subscription.endpoint, allow_http=self._config.allow_http)) is not None:
            raise Unpushable(problem)
        return subscription, origin_of(subscription.endpoint)

    async def _send(self, attempt: Attempt, wanted_for: float | None) -> Outcome:
        command = attempt.command
        try:
            subscription, origin = self._subscription(command)
        except Unpushable as error:
            return Permanent(reason=str(error))
        try:
            headers = self._headers(command, origin, wanted_for)
            body = encrypted(payload_of(command), subscription)
        except Unpushable as error:
            return Permanent(reason=str(error), unwritten=True)
        answer = await self._http.post(subscription.endpoint, headers, body)
        outcome = outcome_of_answer(answer)
        if isinstance(outcome, Sent):
            self._refusals.record_taken()
        elif answer.status in REFUSED and self._refusals.record_refused(origin):
            return ChannelFault(reason=outcome.reason, answer=outcome.answer)
        return outcome

    def _headers(self, command: SendNotification, origin: str, wanted_for: float | None) -> dict[str, str]:
        metadata = command.metadata
        ttl = metadata.get("ttl", self._config.ttl)
        if isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not 0 <= ttl < 2**31:
            raise Unpushable("a ttl that is no number of seconds")
        urgency = metadata.get("urgency", self._config.urgency)
        if urgency not in URGENCIES:
            raise Unpushable("an unknown urgency")
        topic = metadata.get("topic", topic_of(command.notification_id))
        if not isinstance(topic, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", topic):
            raise Unpushable("a topic that is not up to 32 characters of base64url")
        return {
            "authorization": self._authorization(origin),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(int(ttl if wanted_for is None else min(ttl, wanted_for))),
            "urgency": urgency,
            "topic": topic,
        }

    def _authorization(self, origin: str) -> str:
        # Not by Vapid02.sign, which knows no origin with an IPv6 address.
        exp = int(self._clock()) + SIGNATURE_LIFE_S
        token = sign({"aud": origin, "exp": exp, "sub": self._config.subject}, self._key)
        return f"vapid t={token},k={self._public_key}"


def _vapid(config: WebPushConfig) -> Vapid02:
    text = config.vapid_key.reveal().strip()
    try:
        vapid = Vapid02.from_pem(text.encode()) if text.startswith("-----BEGIN") else Vapid02.from_string(text)
        if not isinstance(vapid.private_key.curve, ec.SECP256R1):
            raise ValueError("another curve")
    except (ValueError, TypeError, AttributeError):  # also binascii.Error
        raise ConfigurationError([f"vapid_key: wanted a P-256 key in PEM or base64url, got {NOT_SHOWN}"]) from None
    try:
        vapid.sign({"aud": "https://push.example", "sub": config.subject})
    except VapidException:
        problem = f"subject: wanted a mailto: or https: URL, got {config.subject!r}"
        raise ConfigurationError([problem]) from None
    return vapid


def origin_of(url: str) -> str:
    """Return the origin of a URL in ASCII (RFC 6454, 6.2): in lower case, and without the scheme's own port. Raise
    Unpushable where it is no URL of http or https."""
    try:
        parts = httpx2.URL(url)  # by which the request goes out, too
        host = parts.raw_host.decode("ascii")
        if ":" in host:
            host = f"[{ipaddress.IPv6Address(host)}]"
        own_port = DEFAULT_PORTS[parts.scheme]
    except (httpx2.InvalidURL, ValueError, KeyError):
        raise Unpushable("not a URL") from None
    port = "" if parts.port in (None, own_port) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def topic_of(notification_id: str) -> str:
    digest = hashlib.sha256(notification_id.encode(errors="surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest[:24]).decode()


def parse_subscription(text: str) -> Subscription:
    """Return the subscription that is written in JSON; raise Unpushable where it is none."""
    try:
        held = json.loads(text)
        keys = held["keys"]
        endpoint, key, secret = held["endpoint"], _bytes(keys["p256dh"]), _bytes(keys["auth"])
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Unpushable("not a subscription") from None
    if not isinstance(endpoint, str) or len(key) != 65 or len(secret) != 16:
        raise Unpushable("not a subscription")
    return Subscription(endpoint, key, secret)


def _bytes(base64url: str) -> bytes:
    return base64.b64decode(
        base64url.rstrip("=") + "=" * (-len(base64url.rstrip("=")) % 4), altchars=b"-_", validate=True
    )


def payload_of(command: SendNotification) -> bytes:
    """Return the content for the browser's service worker; raise Unpushable where it cannot be written in JSON."""
    shown = {"id": command.notification_id, "title": command.subject, "body": command.message}
    metadata = command.metadata
    try:
        return msgspec.json.encode(
            shown | {key: metadata[key] for key in ("badge", "sound", "deep_link", "data") if key in metadata}
        )
    except (UnicodeEncodeError, TypeError):
        raise Unpushable("no message that could be written") from None


def encrypted(payload: bytes, subscription: Subscription) -> bytes:
    """Return the body of the request, which only the browser can read; another one each time. Raise Unpushable where it
    is larger than every push service takes."""
    body: bytes = http_ece.encrypt(
        payload,
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=subscription.key,
        auth_secret=subscription.secret,
        version="aes128gcm",
    )
    if len(body) > BODY_SIZE_MAX:
        raise Unpushable("message too large")
    return body


def outcome_of_answer(answer: HttpAnswer) -> Outcome:
    status, text = answer.status, answer.text
    reason = f"HTTP {status}"
    if 200 <= status < 300:
        return Sent(answer=text)
    if status in (404, 410):
        return DeadDestination(reason=reason, answer=text)
    if status in (429, 503) or status in MAY_BE_REPEATED:
        return Transient(reason=reason, answer=text, retry_after=answer.retry_after, throttled=status == 429)
    if status >= 500:
        return Ambiguous(reason=reason, answer=text)
    return Permanent(reason=reason, answer=text)
