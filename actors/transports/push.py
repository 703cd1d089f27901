"""Push notifications to apps over Firebase Cloud Messaging (HTTP v1).

==================================== =============== ==============================================================
FCM                                  outcome         because
==================================== =============== ==============================================================
2xx                                  Sent            it has taken the message
UNREGISTERED                         DeadDestination the app is gone from that device
SENDER_ID_MISMATCH                   Permanent       the token belongs to another project
INVALID_ARGUMENT, other 4xx          Permanent       it does not take this message, or it is no token
QUOTA_EXCEEDED, 429                  Transient,      too fast; after Retry-After, and after a minute without one, as
                                     throttled       FCM's documentation has it
500, 503                             Transient       it says so; after Retry-After
other 5xx                            Ambiguous       it may have taken the message before it failed
401, 403                             ChannelFault    the account may not send, also with a new access token, which is
                                                     tried at once
404 without UNREGISTERED, 3xx        ChannelFault    there is no such project, or `base_url` is wrong
no access token                      as in           no message was sent yet
                                     google_token
no connection                        Transient       nothing was said
certificate does not verify          ChannelFault    nothing was said, and nothing will be
an error of 4xx, but for 429, that   Transient       what it is about is not known, and nothing was taken; any other
is cut off                                           answer counts by its status
lost after the request went out      Ambiguous       it may have taken the message
==================================== =============== ==============================================================

FCM has no idempotency key. But a message shows under a tag made from the notification's id, and a copy of it replaces
the one that is there.
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
from actors.transports.http_exchange import Answer, HttpExchange, HttpTransport

WAIT_FOR_QUOTA_S: Final = 60.0

_OF_A_NEW_TOKEN: Final = frozenset({401, 403})


class PushProvider(HttpTransport):
    """Hands messages to Firebase Cloud Messaging.

    The recipient is a device's registration token; subject and message are title and body. Of the metadata are read
    `badge` (a number), `sound`, `deep_link` and `data` (a mapping): the latter two reach the app as its data.

    Args:
        config: Which project and account, or a mapping of that.
        clock: The time in seconds since 1970, for the end of an access token.

    Raises:
        ConfigurationError: the settings cannot be used.
    """

    def __init__(self, config: FcmConfig | Mapping[str, Any], *, clock: Callable[[], float] = time.time) -> None:
        if not isinstance(config, FcmConfig):
            config = validated(FcmConfig, config)
        self._http = HttpExchange(config, clock)
        self._token = GoogleToken(config, self._http, clock)
        self._url = f"{config.base_url}/v1/projects/{config.project_id}/messages:send"

    async def _send(self, attempt: Attempt) -> Outcome:
        try:
            content = msgspec.json.encode({"message": message_of(attempt.command)})
        except (UnicodeEncodeError, TypeError) as error:
            return Permanent(reason="no message that could be written", answer=str(error))
        token = await self._token.get()
        answer = await self._post(token, content)
        if answer.status in _OF_A_NEW_TOKEN and error_code(answer) is None:
            answer = await self._post(await self._token.get(refused=token), content)
        return outcome_of_answer(answer)

    async def _post(self, token: str, content: bytes) -> Answer:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        return await self._http.post(self._url, headers, content)


def message_of(command: SendNotification) -> dict[str, Any]:
    """Return the message as FCM wants it."""
    metadata = command.metadata
    tag = hashlib.sha256(command.notification_id.encode(errors="surrogatepass")).hexdigest()
    android: dict[str, Any] = {"tag": tag}
    aps: dict[str, Any] = {}
    shown = {"body": command.message} | ({} if command.subject is None else {"title": command.subject})
    data = metadata.get("data")
    carried = {str(key): str(value) for key, value in data.items()} if isinstance(data, Mapping) else {}
    if type(badge := metadata.get("badge")) is int:
        android["notification_count"] = aps["badge"] = badge
    if isinstance(sound := metadata.get("sound"), str):
        android["sound"] = aps["sound"] = sound
    if isinstance(deep_link := metadata.get("deep_link"), str):
        carried["deep_link"] = deep_link
    message: dict[str, Any] = {
        "token": command.recipient,
        "notification": shown,
        "android": {"notification": android},
        "apns": {"headers": {"apns-collapse-id": tag}, "payload": {"aps": aps}},
    }
    return message | ({"data": carried} if carried else {})


def error_code(answer: Answer) -> str | None:
    """Return FCM's own name of an error, or None where there is none."""
    error = answer.json.get("error")
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        code = detail.get("errorCode") if isinstance(detail, dict) else None
        if isinstance(code, str):
            return code
    return None


def outcome_of_answer(answer: Answer) -> Outcome:
    """Return the outcome that an answer of FCM means."""
    status, text, code = answer.status, answer.text, error_code(answer)
    if 200 <= status < 300:
        return Sent(answer=text)
    reason = f"HTTP {status} {code or ''}".rstrip()
    wait = answer.retry_after
    if code == "UNREGISTERED":
        return DeadDestination(reason=reason, answer=text)
    if code in ("SENDER_ID_MISMATCH", "INVALID_ARGUMENT"):
        return Permanent(reason=reason, answer=text)
    if status == 429 or code == "QUOTA_EXCEEDED":
        wait = WAIT_FOR_QUOTA_S if wait is None else wait
        return Transient(reason=reason, answer=text, retry_after=wait, throttled=True)
    if status in (500, 503):
        return Transient(reason=reason, answer=text, retry_after=wait)
    if status >= 500:
        return Ambiguous(reason=reason, answer=text)
    if status in (401, 403, 404) or status < 400:
        return ChannelFault(reason=reason, answer=text)
    return Permanent(reason=reason, answer=text)
