"""Webhooks by the Standard Webhooks specification (https://www.standardwebhooks.com).

==================================== =============== ==============================================================
the endpoint                         outcome         because
==================================== =============== ==============================================================
2xx                                  Sent            it has taken the event (the specification)
410                                  DeadDestination it is disabled for good (the specification)
429, 502, 504                        Transient,      it is overloaded, or a proxy before it says so (the specification;
                                     throttled       RFC 6585, 4)
other 5xx, 408, 425                  Transient       it has failed, and says so (RFC 9110, 15.6 and 15.5.9; RFC 8470,
                                                     5.2); an event that it took all the same it knows by its id
3xx                                  Transient       a failure as any other, by the specification: an endpoint that has
                                                     moved is given time to move back, and is never followed
other 4xx with a Retry-After         Transient       it wants to be asked again (RFC 9110, 10.2.3)
other 4xx                            Permanent       it does not take this event (RFC 9110, 15.5); Transient with
                                                     ``client_errors: transient``
600 and more                         Transient       a status that there is not, as 5xx (RFC 9110, 15)
no connection, a certificate that    Transient       it is down, or being set up: nothing was said
does not verify
no connection free within            UNSENT          it is ours that are busy: no attempt, and no failure
`connect_timeout`
a private, link-local, loopback,     Permanent       refused here, unless it is in `allow_networks`; checked on the
multicast or reserved address                        address that is connected to
no URL, http without `allow_http`,   Permanent       refused here
a URL with a password in it, with
port 0 or an impossible host
lost after the request went out, or  Ambiguous       it may have taken the event; by its id it knows it the next time
an answer that is none, such as 101
==================================== =============== ==============================================================

A notification that belongs to a trace carries its ``traceparent`` on (https://www.w3.org/TR/trace-context/, 3.2), as it
came; the signature does not cover it.

The status counts when it has come, also of an answer whose body is cut off or slow. Every Transient waits as long as
the Retry-After of its answer says, in seconds or until a date.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from actors.domain.attempts import Attempt
from actors.messages import SendNotification
from actors.optional_dependencies import needs
from actors.outcomes import DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.base import validated
from actors.settings.transports import HOST_LENGTH_MAX, SigningKey, WebhookConfig, problem_of_host
from actors.transports.http_exchange import HttpAnswer, HttpExchange, HttpTransport, header_value
from actors.transports.network_guard import GuardedNetwork

with needs("live"):
    import httpx2

THROTTLED: Final = frozenset({429, 502, 504})
MAY_BE_REPEATED: Final = frozenset({408, 425})
"""Request Timeout, Too Early: they say themselves that the request may be repeated."""


NOT_ALLOWED: Final = "target address not allowed; wanted one of the internet, or of allow_networks"


class WebhookProvider(HttpTransport):
    """Posts events to the endpoints of other people, signed.

    The recipient is a URL. With ``content_type`` in the metadata the message is the body as it is; without, the body is
    ``{"type": …, "timestamp": …, "data": …}`` in JSON, each from the metadata: `type` is ``notification`` and `data` is
    subject and message where they are not given, and `timestamp` is left out.
    """

    recipients_choose_hosts = True

    def __init__(self, config: WebhookConfig | Mapping[str, Any], *, clock: Callable[[], float] = time.time) -> None:
        config = validated(WebhookConfig, config)
        self._network = GuardedNetwork(config.allow_networks)
        self._http = HttpExchange(config, clock, network=self._network, is_ours=False, errors_in_body=False)
        self._clock = clock
        self._allow_http = config.allow_http
        self._keys = _keys(config.signing_keys)
        self._keys_of = {url: _keys(keys) for url, keys in config.endpoint_keys.items()}
        self._retries_client_errors = config.client_errors == "transient"

    def recipient_problem(self, command: SendNotification) -> str | None:
        problem = problem_of_url(command.recipient, allow_http=self._allow_http)
        if problem is None and self._network.refuses(command.recipient):
            return NOT_ALLOWED
        return None if problem is None else f"{problem}; wanted one such as https://example.com/hook"

    async def _send(self, attempt: Attempt, wanted_for: float | None) -> Outcome:
        command = attempt.command
        if (problem := problem_of_url(command.recipient, allow_http=self._allow_http)) is not None:
            return Permanent(reason=problem)
        try:
            content_type, body = body_of(command)
        except (UnicodeEncodeError, TypeError) as error:
            return Permanent(reason="no event that could be written", answer=str(error), unwritten=True)
        event = header_value(attempt.idempotency_key)
        timestamp = str(int(self._clock()))
        keys = self._keys_of.get(command.recipient, self._keys)
        headers = {
            "content-type": content_type,
            "webhook-id": event,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(keys, event, timestamp, body),
        }
        if attempt.traceparent is not None:
            headers["traceparent"] = header_value(attempt.traceparent)
        return self._outcome(await self._http.post(command.recipient, headers, body))

    def _outcome(self, answer: HttpAnswer) -> Outcome:
        status, text, wait = answer.status, answer.text, answer.retry_after
        reason = f"HTTP {status}"
        if 200 <= status < 300:
            return Sent(answer=text)
        if status == 410:
            return DeadDestination(reason=reason, answer=text)
        if status in THROTTLED:
            return Transient(reason=reason, answer=text, retry_after=wait, throttled=True)
        is_final = 400 <= status < 500 and status not in MAY_BE_REPEATED and wait is None
        if is_final and not self._retries_client_errors:
            return Permanent(reason=reason, answer=text)
        return Transient(reason=reason, answer=text, retry_after=wait)


def problem_of_url(url: str, *, allow_http: bool) -> str | None:
    """Return why nothing may or can be posted to this URL, whatever is there; None when it may."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "not a URL"
    if parts.scheme not in ("http", "https") or not host:
        return "not a URL"
    if parts.scheme == "http" and not allow_http:
        return "not an https URL"
    if "@" in parts.netloc:
        return "password in the URL"
    if port == 0:
        return "port 0 in the URL"
    if len(host) > HOST_LENGTH_MAX + 1:
        return problem_of_host(host)
    try:
        name = httpx2.URL(url).raw_host.decode("ascii")  # by which the request goes out, too
    except (httpx2.InvalidURL, UnicodeError):
        return "not a URL" if host.isascii() else "not a URL: its host is no internationalised name (IDNA 2008)"
    if not name:
        return "not a URL"
    return None if ":" in name else problem_of_host(name)


def body_of(command: SendNotification) -> tuple[str, bytes]:
    """Return the content type and the body, which is the same in every attempt.

    Raises:
        UnicodeEncodeError: there is half a surrogate pair in the text.
        TypeError: there is something in the metadata's `data` that JSON does not have.
    """
    metadata = command.metadata
    content_type = metadata.get("content_type")
    if isinstance(content_type, str):
        return header_value(content_type).replace("%20", " "), command.message.encode()
    event: dict[str, Any] = {"type": metadata.get("type", "notification")}
    if "timestamp" in metadata:
        event["timestamp"] = metadata["timestamp"]
    event["data"] = metadata.get("data", {"subject": command.subject, "message": command.message})
    return "application/json", msgspec.json.encode(event)


def _keys(keys: Iterable[SigningKey]) -> tuple[bytes, ...]:
    return tuple(key.key for key in keys)


def signature(keys: Iterable[bytes], event: str, timestamp: str, body: bytes) -> str:
    """Return the header webhook-signature: one of version 1 for each key, HMAC-SHA256 over id, timestamp and body."""
    signed = f"{event}.{timestamp}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)
