"""SMS over Twilio's REST API, or that of a provider with the same.

==================================== =============== ==============================================================
the provider                         outcome         because
==================================== =============== ==============================================================
2xx                                  Sent            it has taken the message [1]; its outcome comes later
                                                     (see :func:`status_callback`)
code 21211, 21614, 21610             DeadDestination no such number, no mobile number, does not want any message [2]
401; code 20003, 20005, 20006, 20008 ChannelFault    the login is wrong, the account is closed, may not do this, or may
                                                     only test [2]
code 30002                           ChannelFault    the account is suspended [2]
code 21212, 21601, 21603, 21606,     ChannelFault    no sender, or one that is no number, sends no SMS, is not Twilio's,
21659, 21660                                         or is another account's [2]
code 21701, 21703, 21705             ChannelFault    no such messaging service, or one without a number [2]
404, or code 20404                   ChannelFault    no such account, or `base_url` is not where the API is [2]
3xx                                  ChannelFault    `base_url` is not where the API is (RFC 9110, 15.4)
429, or code 20429                   Transient,      too fast; after Retry-After [1]
                                     throttled
code 21611, 30001                    Transient,      the sender's queue is full [2]
                                     throttled
503, code 21730                      Transient       not now: after Retry-After; maintenance [1] [2]
408, 425                             Transient       it may be asked again (RFC 9110, 15.5.9; RFC 8470, 5.2)
other 4xx                            Permanent       it does not take this message [1]
other 5xx                            Ambiguous       it may have taken the message before it failed [1]
no connection                        Transient       nothing was said
certificate does not verify          ChannelFault    nothing was said, and nothing will be
lost after the request went out      Ambiguous       it may have taken the message
an error of 4xx, but for 429, whose  Transient       its code is not known, and it has taken nothing; any other
text is cut off                                      answer counts by its status
a recipient that is no phone number  Permanent       refused here
==================================== =============== ==============================================================

| [1] https://www.twilio.com/docs/usage/twilios-response
| [2] https://www.twilio.com/docs/api/errors, one page for each code

A row without a source follows from the state of the request: see :mod:`actors.transports.http_exchange`.

Twilio has no idempotency key for messages: an ambiguous attempt that is made again may arrive twice. Other providers
have one (`idempotency_header`). A message waits in the provider's queue for no longer than its notification is wanted;
then it fails with code 30036.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from actors.domain.attempts import Attempt
from actors.messages import SendNotification
from actors.optional_dependencies import needs
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.base import validated
from actors.settings.transports import TwilioConfig
from actors.transports.http_exchange import HttpAnswer, HttpExchange, HttpTransport, header_value

with needs("live"):
    import phonenumbers

E164_LENGTH_MAX: Final = 16
"""The plus, and the fifteen digits that ITU-T E.164 allows."""

DEAD_CODES: Final = frozenset({21211, 21614, 21610})
"""Invalid number, not a mobile number, unsubscribed."""

FAULT_CODES: Final = frozenset(
    {20003, 20005, 20006, 20008, 20404, 21212, 21601, 21603, 21606, 21659, 21660, 21701, 21703, 21705, 30002}
)
"""Faults of the account and the sender: no message goes out before they are put right."""

MAINTENANCE_CODE: Final = 21730

QUEUED_FOR_MAX_S: Final = 36_000
"""Ten hours: the longest that Twilio keeps a message, and its default."""

THROTTLED_CODES: Final = frozenset({20429, 21611, 30001})
"""Too many requests; the sender's queue is full, found at once or later."""


class SmsProvider(HttpTransport):
    """Hands text messages to a provider with Twilio's API.

    The recipient is a number in E.164 (``+49 30 123456``), or a national one whose country is in the metadata
    (``country_code: "+49"``) or in the settings. A national one that is valid nowhere in that country is refused here:
    the provider would find a number dead that no one has.
    """

    def __init__(self, config: TwilioConfig | Mapping[str, Any], *, clock: Callable[[], float] = time.time) -> None:
        config = validated(TwilioConfig, config)
        self._config = config
        self._http = HttpExchange(config, clock)
        self._url = f"{config.base_url}/2010-04-01/Accounts/{quote(config.account_sid, safe='')}/Messages.json"
        login = f"{config.api_key or config.account_sid}:{config.auth_token.reveal()}"
        self._headers = {
            "authorization": "Basic " + base64.b64encode(login.encode()).decode(),
            "content-type": "application/x-www-form-urlencoded",
        }

    def recipient_problem(self, command: SendNotification) -> str | None:
        if self._number(command) is not None:
            return None
        return "not a phone number; wanted one such as +4930123456, or one that is valid in the country of country_code"

    def _number(self, command: SendNotification) -> str | None:
        return e164(command.recipient, command.metadata.get("country_code") or self._config.country_code)

    async def _send(self, attempt: Attempt, wanted_for: float | None) -> Outcome:
        command = attempt.command
        number = self._number(command)
        if number is None:
            return Permanent(reason="not a phone number")
        try:
            content = urlencode(self._form(command, number, wanted_for)).encode()
        except UnicodeEncodeError:
            return Permanent(reason="text with half a surrogate pair", unwritten=True)
        headers = self._headers
        if self._config.idempotency_header is not None:
            headers = headers | {self._config.idempotency_header: header_value(attempt.idempotency_key)}
        return outcome_of_answer(await self._http.post(self._url, headers, content))

    def _form(self, command: SendNotification, number: str, wanted_for: float | None) -> dict[str, str]:
        form = {"To": number, "Body": command.message}
        if self._config.sender is not None:
            form["From"] = self._config.sender
        if self._config.messaging_service is not None:
            form["MessagingServiceSid"] = self._config.messaging_service
        if self._config.status_callback is not None:
            url, mark, fragment = self._config.status_callback.partition("#")
            query = urlencode({"notification_id": command.notification_id})
            joint = "?" if "?" not in url else "" if url.endswith(("?", "&")) else "&"
            form["StatusCallback"] = f"{url}{joint}{query}{mark}{fragment}"
        if wanted_for is not None and wanted_for < QUEUED_FOR_MAX_S:
            form["ValidityPeriod"] = str(max(1, int(wanted_for)))
        return form

    def has_signed(self, url: str, form: Mapping[str, str], signature: str) -> bool:
        """Tell whether a status callback comes from the provider, who knows the account's token as we do.

        Twilio signs a URL with its port or without, whichever way it was configured, as its own libraries say: either
        is taken.

        Args:
            url: Where it was sent to, as the provider wrote it, with its query.
            form: The fields of its body.
            signature: The header X-Twilio-Signature.
        """
        return has_signed(self._config.auth_token.reveal(), url, form, signature)


def has_signed(token: str, url: str, form: Mapping[str, str], signature: str) -> bool:
    fields = "".join(name + form[name] for name in sorted(form))
    key, given = token.encode(), signature.encode("ascii", "replace")
    expected = [
        base64.b64encode(hmac.digest(key, (way + fields).encode(errors="replace"), hashlib.sha1))
        for way in _ways_to_write(url)
    ]
    return any(hmac.compare_digest(each, given) for each in expected)


def _ways_to_write(url: str) -> set[str]:
    parts = re.fullmatch(r"(https?)(://[^/?#]*?)(:[0-9]+)?([/?#].*)?", url, re.DOTALL)
    if parts is None:
        return {url}
    scheme, host, port, rest = parts.groups(default="")
    other = "" if port else ":443" if scheme == "https" else ":80"
    return {url, f"{scheme}{host}{other}{rest}"}


def e164(recipient: str, country_code: Any) -> str | None:
    """Return a phone number as it is dialled from anywhere, or None when it is none.

    An international one stays as it is. A national one is read by the numbering plan of its country, and must be valid
    there.

    Args:
        recipient: With or without spaces, dots, dashes, brackets; international with ``+`` or ``00``, else national.
        country_code: Of a national number: ``+49`` or ``49``.
    """
    text = re.sub(r"[\s.\-/\u2010-\u2015]", "", recipient)
    if text.startswith("00"):
        text = "+" + text[2:]
    has_optional_prefix = "(0)" in text
    text = re.sub(r"[()]", "", text)
    if not re.fullmatch(r"\+[1-9][0-9]{6,15}|[0-9]{1,17}", text, re.ASCII):
        return None
    if text.startswith("+") and not has_optional_prefix:
        return text if len(text) <= E164_LENGTH_MAX else None
    region = None
    if not text.startswith("+"):
        country = str(country_code).removeprefix("+")
        if not re.fullmatch(r"[0-9]{1,3}", country, re.ASCII):
            return None
        region = phonenumbers.region_code_for_country_code(int(country))
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def outcome_of_answer(answer: HttpAnswer) -> Outcome:
    status, text = answer.status, answer.text
    if 200 <= status < 300:
        return Sent(answer=text)
    said = answer.json.get("code")
    code = said if isinstance(said, int) else None
    reason = f"HTTP {status}" if code is None else f"HTTP {status}, code {code}"
    if status in (401, 404) or code in FAULT_CODES or status < 400:
        return ChannelFault(reason=reason, answer=text)
    if code in DEAD_CODES:
        return DeadDestination(reason=reason, answer=text)
    if status == 429 or code in THROTTLED_CODES:
        return Transient(reason=reason, answer=text, retry_after=answer.retry_after, throttled=True)
    if status in (408, 425, 503) or code == MAINTENANCE_CODE:
        return Transient(reason=reason, answer=text, retry_after=answer.retry_after)
    if status >= 500:
        return Ambiguous(reason=reason, answer=text)
    return Permanent(reason=reason, answer=text)


class SmsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a provider on a message that it has taken."""

    notification_id: str | None
    """The id of the notification; None where the callback's URL does not carry it."""

    message_sid: str
    """The provider's own name of the message."""

    status: str
    """``queued``, ``sent``, ``delivered``, …"""

    outcome: Outcome | None
    """Its final outcome; None while it is on its way."""

    error_code: int | None = None


_DELIVERY_ERRORS: Final[Mapping[int, Callable[..., Outcome]]] = {
    30003: Transient,  # handset unreachable: switched off, or without a network
    30005: DeadDestination,  # unknown handset
    30006: DeadDestination,  # landline, or a carrier that takes no messages
    30008: Transient,  # unknown error
    30410: Transient,  # the carrier does not answer
    **dict.fromkeys(DEAD_CODES, DeadDestination),
    **dict.fromkeys(FAULT_CODES, ChannelFault),
    **dict.fromkeys(THROTTLED_CODES, partial(Transient, throttled=True)),
}
"""Outcomes of messages that were not delivered; other codes are permanent, as 30004 (blocked) or 30007 (filtered)."""


def status_callback(form: Mapping[str, str]) -> SmsStatus | None:
    """Return the report of a status callback, or None when it is none.

    ============================ ========= ======================================================================
    MessageStatus                final     outcome
    ============================ ========= ======================================================================
    delivered, read              yes       Sent
    undelivered, failed          yes       by ErrorCode: 30005, 30006 DeadDestination; 30003, 30008, 30410 Transient;
                                           a code that an answer may have, as there; any other one, and none, Permanent
    canceled                     yes       Permanent
    any other                    no        None
    ============================ ========= ======================================================================

    Args:
        form: The fields of its body and of its URL's query; checked to be the provider's
            (:meth:`SmsProvider.has_signed`).
    """
    sid, status = form.get("MessageSid") or form.get("SmsSid"), form.get("MessageStatus") or form.get("SmsStatus")
    if not sid or not status:
        return None
    said = form.get("ErrorCode") or ""
    code = int(said) if said.isascii() and said.isdigit() and len(said) < 10 else None
    outcome: Outcome | None = None
    if status in ("delivered", "read"):
        outcome = Sent(answer=status)
    elif status in ("undelivered", "failed", "canceled"):
        kind = Permanent if code is None else _DELIVERY_ERRORS.get(code, Permanent)
        outcome = kind(reason=status if code is None else f"{status}, code {code}", answer=form.get("ErrorMessage"))
    return SmsStatus(
        notification_id=form.get("notification_id") or None,
        message_sid=sid,
        status=status,
        outcome=outcome,
        error_code=code,
    )
