"""Web Push to browsers (RFC 8030), encrypted for the browser (RFC 8291) and signed by us (VAPID, RFC 8292).

==================================== =============== ==============================================================
the push service                     outcome         because
==================================== =============== ==============================================================
201, other 2xx                       Sent            it has taken the message
404, 410                             DeadDestination the subscription has ended
413                                  Permanent       the message is too large
429                                  Transient,      too fast; after Retry-After
                                     throttled
401, 403                             ChannelFault    it does not take our signature
503                                  Transient       not now; after Retry-After
other 4xx, 3xx                       Permanent       it does not take this message; redirects are not followed
other 5xx                            Ambiguous       it may have taken the message before it failed
no connection, a certificate that    Transient       nothing was said
does not verify
a private, link-local, loopback,     Permanent       refused here, unless it is in `allow_networks`: browsers choose
multicast or reserved address                        their push service, and what calls itself a browser may be none
no subscription, no https URL, a     Permanent       refused here
message that is too large, a topic
or an unknown urgency
an error that is cut off             Transient       it has not taken the message
lost after the request went out      Ambiguous       it may have taken the message
==================================== =============== ==============================================================

A message has a topic made from the notification's id, unless the metadata names another: of several with the same topic
a push service keeps the last one, so that a browser that was offline gets no copies.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from actors.domain.attempts import Attempt
from actors.errors import ConfigurationError
from actors.messages import SendNotification
from actors.optional_dependencies import needs
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.base import NOT_SHOWN, validated
from actors.settings.transports import WebPushConfig
from actors.transports.http_exchange import Answer, HttpExchange, HttpTransport
from actors.transports.network_guard import GuardedNetwork
from actors.transports.webhook import problem_of_url

with needs("live"):
    import http_ece
    from cryptography.hazmat.primitives.asymmetric import ec
    from py_vapid import Vapid02, VapidException

BODY_SIZE_MAX: Final = 4096
"""Bytes that every push service takes (RFC 8030, 7.2), encrypted: 3,993 of a message."""

SIGNATURE_LIFE_S: Final = 12 * 3600
"""RFC 8292 allows a day."""

URGENCIES: Final = ("very-low", "low", "normal", "high")


class Unpushable(Exception):
    """This can be no push message; the text says why."""


class Subscription(msgspec.Struct, frozen=True):
    """What a browser gave for messages to it."""

    endpoint: str
    key: bytes
    """Its public key, P-256, uncompressed."""
    secret: bytes
    """Sixteen bytes that only it and we know."""


class WebPushProvider(HttpTransport):
    """Sends messages to browsers.

    The recipient is a subscription, as ``JSON.stringify`` writes it: ``{"endpoint": …, "keys": {"p256dh": …, …}}``. The
    browser's service worker gets ``{"id", "title", "body"}`` in JSON, and of the metadata `badge`, `sound`, `deep_link`
    and `data` where they are. Besides, the metadata may hold `ttl` (seconds), `urgency` and `topic`.

    Args:
        config: Who we are, or a mapping of that.
        clock: The time in seconds since 1970, for the end of a signature.

    Raises:
        ConfigurationError: the settings cannot be used.
    """

    def __init__(self, config: WebPushConfig | Mapping[str, Any], *, clock: Callable[[], float] = time.time) -> None:
        if not isinstance(config, WebPushConfig):
            config = validated(WebPushConfig, config)
        self._vapid = _vapid(config)
        self._http = HttpExchange(config, clock, network=GuardedNetwork(config.allow_networks), is_ours=False)
        self._config = config
        self._clock = clock

    @property
    def recipients_choose_hosts(self) -> bool:
        """Yes: whose endpoint it is, chooses it."""
        return True

    async def _send(self, attempt: Attempt) -> Outcome:
        command = attempt.command
        try:
            subscription = parse_subscription(command.recipient)
            if (problem := problem_of_url(subscription.endpoint, allow_http=self._config.allow_http)) is not None:
                raise Unpushable(problem)
            headers = self._headers(command, subscription.endpoint)
            body = encrypted(payload_of(command), subscription)
        except Unpushable as error:
            return Permanent(reason=str(error))
        return outcome_of_answer(await self._http.post(subscription.endpoint, headers, body))

    def _headers(self, command: SendNotification, endpoint: str) -> dict[str, str]:
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
            "authorization": self._authorization(endpoint),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(int(ttl)),
            "urgency": urgency,
            "topic": topic,
        }

    def _authorization(self, endpoint: str) -> str:
        parts = urlsplit(endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(self._clock()) + SIGNATURE_LIFE_S,
            "sub": self._config.subject,
        }
        try:
            return str(self._vapid.sign(claims)["Authorization"])
        except VapidException as error:
            raise Unpushable(f"not to be signed for: {error}") from None


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


def topic_of(notification_id: str) -> str:
    """Return the topic of a notification: 32 characters, the same in every attempt."""
    digest = hashlib.sha256(notification_id.encode(errors="surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest[:24]).decode()


def parse_subscription(text: str) -> Subscription:
    """Return the subscription that is written in JSON.

    Raises:
        Unpushable: it is none.
    """
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
    """Return what the browser's service worker gets.

    Raises:
        Unpushable: it cannot be written in JSON.
    """
    shown = {"id": command.notification_id, "title": command.subject, "body": command.message}
    metadata = command.metadata
    try:
        return msgspec.json.encode(
            shown | {key: metadata[key] for key in ("badge", "sound", "deep_link", "data") if key in metadata}
        )
    except (UnicodeEncodeError, TypeError):
        raise Unpushable("no message that could be written") from None


def encrypted(payload: bytes, subscription: Subscription) -> bytes:
    """Return the body of the request, which only the browser can read; another one each time.

    Raises:
        Unpushable: it is larger than every push service takes.
    """
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


def outcome_of_answer(answer: Answer) -> Outcome:
    """Return the outcome that an answer of a push service means."""
    status, text = answer.status, answer.text
    reason = f"HTTP {status}"
    if 200 <= status < 300:
        return Sent(answer=text)
    if status in (404, 410):
        return DeadDestination(reason=reason, answer=text)
    if status in (401, 403):
        return ChannelFault(reason=reason, answer=text)
    if status in (429, 503):
        return Transient(reason=reason, answer=text, retry_after=answer.retry_after, throttled=status == 429)
    if status >= 500:
        return Ambiguous(reason=reason, answer=text)
    return Permanent(reason=reason, answer=text)
