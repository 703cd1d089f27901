"""SMS over Twilio's REST API, or that of a provider with the same.

==================================== =============== ==============================================================
the provider                         outcome         because
==================================== =============== ==============================================================
2xx                                  Sent            it has taken the message; its outcome comes later
                                                     (see :func:`status_callback`)
code 21211, 21614, 21610             DeadDestination no such number, no mobile number, does not want any message
401, or code 20003, 20005            ChannelFault    the login is wrong, or the account closed
429, or code 20429                   Transient,      too fast; after Retry-After
                                     throttled
503                                  Transient       not now; after Retry-After
3xx                                  ChannelFault    `base_url` is not where the API is
other 4xx                            Permanent       it does not take this message
other 5xx                            Ambiguous       it may have taken the message before it failed
no connection                        Transient       nothing was said
certificate does not verify          ChannelFault    nothing was said, and nothing will be
lost after the request went out      Ambiguous       it may have taken the message
an error of 4xx, but for 429, whose  Transient       its code is not known, and it has taken nothing; any other
text is cut off                                      answer counts by its status
a recipient that is no phone number  Permanent       refused here
==================================== =============== ==============================================================

Twilio has no idempotency key for messages: an ambiguous attempt that is made again may arrive twice. Other providers
have one (`idempotency_header`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from actors.domain.attempts import Attempt
from actors.messages import SendNotification
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.base import validated
from actors.settings.transports import TwilioConfig
from actors.transports.http_exchange import Answer, HttpExchange, HttpTransport, header_value

DEAD_CODES: Final = frozenset({21211, 21614, 21610})
"""Invalid number, not a mobile number, unsubscribed."""

FAULT_CODES: Final = frozenset({20003, 20005})
"""Authentication failed, account not active."""

THROTTLED_CODE: Final = 20429

KEEPS_ITS_ZERO: Final = frozenset({"+39", "+378", "+225", "+242"})
"""Italy, San Marino, Côte d'Ivoire and Congo: a number's leading 0 is part of it abroad, too."""


class SmsProvider(HttpTransport):
    """Hands text messages to a provider with Twilio's API.

    The recipient is a number in E.164 (``+49 30 123456``), or a national one whose country is in the metadata
    (``country_code: "+49"``) or in the settings.

    Args:
        config: Which account, or a mapping of that.
        clock: The time in seconds since 1970, to understand a Retry-After that is a date.

    Raises:
        ConfigurationError: the settings cannot be used.
    """

    def __init__(self, config: TwilioConfig | Mapping[str, Any], *, clock: Callable[[], float] = time.time) -> None:
        if not isinstance(config, TwilioConfig):
            config = validated(TwilioConfig, config)
        self._config = config
        self._http = HttpExchange(config, clock)
        self._url = f"{config.base_url}/2010-04-01/Accounts/{quote(config.account_sid, safe='')}/Messages.json"
        login = f"{config.api_key or config.account_sid}:{config.auth_token.reveal()}"
        self._headers = {
            "authorization": "Basic " + base64.b64encode(login.encode()).decode(),
            "content-type": "application/x-www-form-urlencoded",
        }

    async def _send(self, attempt: Attempt) -> Outcome:
        command = attempt.command
        number = e164(command.recipient, command.metadata.get("country_code") or self._config.country_code)
        if number is None:
            return Permanent(reason="not a phone number")
        try:
            content = urlencode(self._form(command, number)).encode()
        except UnicodeEncodeError:
            return Permanent(reason="text with half a surrogate pair")
        headers = self._headers
        if self._config.idempotency_header is not None:
            headers = headers | {self._config.idempotency_header: header_value(attempt.idempotency_key)}
        return outcome_of_answer(await self._http.post(self._url, headers, content))

    def _form(self, command: SendNotification, number: str) -> dict[str, str]:
        form = {"To": number, "Body": command.message}
        if self._config.sender is not None:
            form["From"] = self._config.sender
        if self._config.messaging_service is not None:
            form["MessagingServiceSid"] = self._config.messaging_service
        if self._config.status_callback is not None:
            url = self._config.status_callback
            query = urlencode({"notification_id": command.notification_id})
            form["StatusCallback"] = f"{url}{'&' if '?' in url else '?'}{query}"
        return form

    def has_signed(self, url: str, form: Mapping[str, str], signature: str) -> bool:
        """Tell whether a status callback comes from the provider, who knows the account's token as we do.

        Args:
            url: Where it was sent to, as the provider wrote it, with its query.
            form: What was in its body.
            signature: The header X-Twilio-Signature.
        """
        signed = url + "".join(name + form[name] for name in sorted(form))
        expected = hmac.digest(self._config.auth_token.reveal().encode(), signed.encode(), hashlib.sha1)
        return hmac.compare_digest(base64.b64encode(expected), signature.encode("ascii", "replace"))


def e164(recipient: str, country_code: Any) -> str | None:
    """Return a phone number as it is dialled from anywhere, or None when it is none.

    Args:
        recipient: With or without spaces, dots, dashes, brackets; international with ``+`` or ``00``, else national.
        country_code: Of a national number: ``+49`` or ``49``. Its leading 0 is dropped, except where it is kept abroad.
    """
    text = re.sub(r"[\s().\-/\u2010-\u2015]", "", recipient.replace("(0)", ""))
    if text.startswith("00"):
        text = "+" + text[2:]
    if not text.startswith("+"):
        if not country_code:
            return None
        code = "+" + str(country_code).lstrip("+")
        if code == "+1" and len(text) == 11 and text.startswith("1"):
            text = text[1:]  # North America's own prefix is its country code
        elif text.startswith("0") and code not in KEEPS_ITS_ZERO:
            text = text[1:]
        text = code + text
    return text if re.fullmatch(r"\+[1-9][0-9]{6,14}", text, re.ASCII) else None


def outcome_of_answer(answer: Answer) -> Outcome:
    """Return the outcome that an answer of the API means."""
    status, text = answer.status, answer.text
    if 200 <= status < 300:
        return Sent(answer=text)
    said = answer.json.get("code")
    code = said if isinstance(said, int) else None
    reason = f"HTTP {status}" if code is None else f"HTTP {status}, code {code}"
    if status == 401 or code in FAULT_CODES or status < 400:
        return ChannelFault(reason=reason, answer=text)
    if code in DEAD_CODES:
        return DeadDestination(reason=reason, answer=text)
    if status == 429 or code == THROTTLED_CODE:
        return Transient(reason=reason, answer=text, retry_after=answer.retry_after, throttled=True)
    if status == 503:
        return Transient(reason=reason, answer=text, retry_after=answer.retry_after)
    if status >= 500:
        return Ambiguous(reason=reason, answer=text)
    return Permanent(reason=reason, answer=text)


class SmsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider reports about a message that it has taken."""

    notification_id: str | None
    """Which notification; None where the callback's URL does not carry it."""

    message_sid: str
    """The provider's own name of the message."""

    status: str
    """``queued``, ``sent``, ``delivered``, …"""

    outcome: Outcome | None
    """Its final outcome; None while it is on its way."""

    error_code: int | None = None


_DELIVERY_ERRORS: Final[Mapping[int, Callable[..., Outcome]]] = {
    30001: Transient,  # queue overflow
    30002: ChannelFault,  # account suspended
    30003: Transient,  # handset unreachable: switched off, or without a network
    30005: DeadDestination,  # unknown handset
    30006: DeadDestination,  # landline, or a carrier that takes no messages
    30008: Transient,  # unknown error
    30410: Transient,  # the carrier does not answer
    21610: DeadDestination,  # unsubscribed
}
"""Of a message that was not delivered; what is not here is permanent, such as 30004 (blocked) and 30007 (filtered)."""


def status_callback(form: Mapping[str, str]) -> SmsStatus | None:
    """Return what a status callback reports, or None when it is none.

    ============================ ========= ======================================================================
    MessageStatus                final     outcome
    ============================ ========= ======================================================================
    delivered, read              yes       Sent
    undelivered, failed          yes       by ErrorCode: 30005, 30006, 21610 DeadDestination; 30001, 30003, 30008,
                                           30410 Transient; 30002 ChannelFault; any other one, and none, Permanent
    canceled                     yes       Permanent
    any other                    no        None
    ============================ ========= ======================================================================

    Args:
        form: The fields of its body, and those of the query of its URL; checked to be the provider's
            (:meth:`SmsProvider.has_signed`).
    """
    sid, status = form.get("MessageSid") or form.get("SmsSid"), form.get("MessageStatus") or form.get("SmsStatus")
    if not sid or not status:
        return None
    said = form.get("ErrorCode") or ""
    code = int(said) if said.isascii() and said.isdigit() else None
    outcome: Outcome | None = None
    if status in ("delivered", "read"):
        outcome = Sent(answer=status)
    elif status in ("undelivered", "failed", "canceled"):
        kind = Permanent if code is None else _DELIVERY_ERRORS.get(code, Permanent)
        outcome = kind(reason=status if code is None else f"{status}, code {code}", answer=form.get("ErrorMessage"))
    return SmsStatus(
        notification_id=form.get("notification_id"), message_sid=sid, status=status, outcome=outcome, error_code=code
    )
