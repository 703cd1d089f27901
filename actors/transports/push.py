"""Push notifications to apps over Firebase Cloud Messaging (HTTP v1).

==================================== =============== ==============================================================
FCM                                  outcome         because
==================================== =============== ==============================================================
2xx                                  Sent            it has taken the message [4]
UNREGISTERED                         DeadDestination the app is gone from that device [1]
SENDER_ID_MISMATCH                   Permanent       the token belongs to another project [1]
THIRD_PARTY_AUTH_ERROR               Permanent       the project has no valid key for this token's platform, APNs or Web
                                                     Push [1]; those of other platforms are sent
INVALID_ARGUMENT, other 4xx          Permanent       it does not take this message, or it is no token [1]
QUOTA_EXCEEDED, 429                  Transient,      too fast; after Retry-After, and after a minute without one [1] [2]
                                     throttled
INTERNAL, UNAVAILABLE, 500, 503      Transient       it says so; after Retry-After [1] [2]
408, 425                             Transient       it may be asked again (RFC 9110, 15.5.9; RFC 8470, 5.2)
other 5xx                            Ambiguous       it may have taken the message before it failed (RFC 9110, 15.6)
401, 403                             ChannelFault    the account may not send, also with a new access token, which is
                                                     tried at once [3]
404 without UNREGISTERED, 3xx        ChannelFault    there is no such project, or `base_url` is wrong [3]
no access token                      as in           no message was sent yet
                                     google_token
no connection                        Transient       nothing was said
certificate does not verify          ChannelFault    nothing was said, and nothing will be
an error of 4xx, but for 429, that   Transient       what it is about is not known, and nothing was taken; any other
is cut off                                           answer counts by its status
lost after the request went out      Ambiguous       it may have taken the message
==================================== =============== ==============================================================

| [1] https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
| [2] https://firebase.google.com/docs/cloud-messaging/scale-fcm
| [3] https://cloud.google.com/apis/design/errors
| [4] https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send

A row without a source follows from the state of the request: see :mod:`actors.transports.http_exchange`.

FCM has no idempotency key. But a message shows under a tag made from the notification's id, and a copy of it replaces
the one that is there. Neither FCM nor APNs keeps it for a device for longer than its notification is wanted.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from actors.domain.attempts import Attempt
from actors.messages import SendNotification
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.base import validated
from actors.settings.transports import FcmConfig
from actors.transports.google_token import GoogleToken
from actors.transports.http_exchange import HttpAnswer, HttpExchange, HttpTransport

WAIT_FOR_QUOTA_S: Final = 60.0

TTL_MAX_S: Final = 28 * 24 * 3600
"""Four weeks: the longest that FCM keeps a message, and its default."""

_OF_A_NEW_TOKEN: Final = frozenset({401, 403})


class PushProvider(HttpTransport):
    """Hands messages to Firebase Cloud Messaging.

    The recipient is a device's registration token; subject and message are title and body. Of the metadata are read
    `badge` (a number), `sound`, `deep_link` and `data` (a mapping): the latter two reach the app as its data. What
    is no text in `data` is written in JSON.
    """

    def __init__(self, config: FcmConfig | Mapping[str, Any], *, clock: Callable[[], float] = time.time) -> None:
        config = validated(FcmConfig, config)
        self._http = HttpExchange(config, clock)
        self._token = GoogleToken(config, self._http, clock)
        self._clock = clock
        self._url = f"{config.base_url}/v1/projects/{config.project_id}/messages:send"

    def recipient_problem(self, command: SendNotification) -> str | None:
        return None if command.recipient.isprintable() else "a control character or line break; wanted a token of FCM's"

    async def _send(self, attempt: Attempt, wanted_for: float | None) -> Outcome:
        if self.recipient_problem(attempt.command) is not None:
            return Permanent(reason="not a registration token")
        try:
            until = None if wanted_for is None else self._clock() + wanted_for
            content = msgspec.json.encode({"message": message_of(attempt.command, wanted_for, until)})
        except (UnicodeEncodeError, TypeError) as error:
            return Permanent(reason="no message that could be written", answer=str(error), unwritten=True)
        token = await self._token.get()
        answer = await self._post(token, content)
        if answer.status in _OF_A_NEW_TOKEN and error_code(answer) is None:
            answer = await self._post(await self._token.get(refused=token), content)
        return outcome_of_answer(answer)

    async def _post(self, token: str, content: bytes) -> HttpAnswer:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        return await self._http.post(self._url, headers, content)


def message_of(
    command: SendNotification, wanted_for: float | None = None, wanted_until: float | None = None
) -> dict[str, Any]:
    """Return the message as FCM wants it.

    Args:
        command: The notification.
        wanted_for: Seconds that it may wait for the device; None: as long as the services keep it.
        wanted_until: The end of that, in seconds since 1970.

    Raises:
        TypeError: there is something in the metadata's `data` that JSON does not have.
        UnicodeEncodeError: there is half a surrogate pair in it.
    """
    metadata = command.metadata
    tag = hashlib.sha256(command.notification_id.encode(errors="surrogatepass")).hexdigest()
    notification: dict[str, Any] = {"tag": tag}
    aps: dict[str, Any] = {}
    shown = {"body": command.message} | ({} if command.subject is None else {"title": command.subject})
    data = metadata.get("data")
    carried = {str(key): _as_text(value) for key, value in data.items()} if isinstance(data, Mapping) else {}
    if type(badge := metadata.get("badge")) is int:
        notification["notification_count"] = aps["badge"] = badge
    if isinstance(sound := metadata.get("sound"), str):
        notification["sound"] = aps["sound"] = sound
    if isinstance(deep_link := metadata.get("deep_link"), str):
        carried["deep_link"] = deep_link
    android: dict[str, Any] = {"notification": notification}
    headers = {"apns-collapse-id": tag}
    message: dict[str, Any] = {
        "token": command.recipient,
        "notification": shown,
        "android": android,
        "apns": {"headers": headers, "payload": {"aps": aps}},
    }
    if wanted_for is not None and wanted_until is not None:
        ttl = int(min(wanted_for, TTL_MAX_S))
        android["ttl"] = f"{ttl}s"
        headers["apns-expiration"] = str(int(wanted_until)) if ttl else "0"  # 0: now or never
        message["webpush"] = {"headers": {"TTL": str(ttl)}}
    return message | ({"data": carried} if carried else {})


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def error_code(answer: HttpAnswer) -> str | None:
    """Return FCM's own name of an error, or None where there is none."""
    error = answer.json.get("error")
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        code = detail.get("errorCode") if isinstance(detail, dict) else None
        if isinstance(code, str):
            return code
    return None


def outcome_of_answer(answer: HttpAnswer) -> Outcome:
    status, text, code = answer.status, answer.text, error_code(answer)
    if 200 <= status < 300:
        return Sent(answer=text)
    reason = f"HTTP {status} {code or ''}".rstrip()
    wait = answer.retry_after
    if code == "UNREGISTERED":
        return DeadDestination(reason=reason, answer=text)
    if code in ("SENDER_ID_MISMATCH", "THIRD_PARTY_AUTH_ERROR", "INVALID_ARGUMENT"):
        return Permanent(reason=reason, answer=text)
    if status == 429 or code == "QUOTA_EXCEEDED":
        wait = WAIT_FOR_QUOTA_S if wait is None else wait
        return Transient(reason=reason, answer=text, retry_after=wait, throttled=True)
    if status in (408, 425, 500, 503):
        return Transient(reason=reason, answer=text, retry_after=wait)
    if status >= 500:
        return Ambiguous(reason=reason, answer=text)
    if status in (401, 403, 404) or status < 400:
        return ChannelFault(reason=reason, answer=text)
    return Permanent(reason=reason, answer=text)
