"""Later reports of providers: ``POST /callbacks/twilio`` and ``POST /callbacks/bounces``.

Twilio's status callbacks need no token: each is signed with the account's auth token, by the URL that `status_callback`
of the transport names, even if a proxy changes the URL. An API key's secret is not that token: with an API key no
callback can be checked, and all are refused. A bounce is a mail with a delivery status notification (RFC 3464),
unchanged, from a mail server or a script that has a token of the role ``ingest``. Let only reports come to the address
for bounces: a person who can write to it can have addresses suppressed.

An address that a report calls dead is suppressed, as if the provider had said so at once; a redrive lifts the
suppression. A notification that ended as sent stays sent; the audit trail, the log and ``delivery_reports_total`` show
that it was not delivered. The answer to a callback is 204, or 403 if the signature is wrong; a repeated callback
changes nothing. The answer to a mail is ``{"reported": 2, "suppressed": 1}``, with ``"unread": true`` if the report is
longer than the part that is read (:mod:`actors.transports.bounces`), so that there may be further recipients.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException

from actors.domain.ids import problem_of_id
from actors.instants import since_1970_ns
from actors.messages import ChannelKind, NotificationChannel, SendNotification
from actors.service.http.access import Role
from actors.service.http.bodies import BODY_MAX, body_of
from actors.service.http.endpoints import Call, Document, HttpEndpoints
from actors.service.operations.delivery_reports import DeliveryReport
from actors.service.reloading.suppression_list import wrong_text
from actors.settings.transports import TwilioConfig

FORM_MAX = 2**16
"""Bytes of a status callback."""

FIELDS_MAX = 100
"""Fields of a status callback, and of the query of its URL."""


ENDPOINTS = HttpEndpoints()


@ENDPOINTS(
    "POST /callbacks/twilio",
    "Take a status callback of Twilio's, which is signed.",
    roles=(),
    body={"type": "object", "additionalProperties": {"type": "string"}},
    content_type="application/x-www-form-urlencoded",
    success=204,
    codes={400: "no form, or no id or address in it", 403: "the signature is wrong", 413: "too long"},
)
async def _twilio(call: Call) -> None:
    from actors.transports.sms import has_signed, status_callback

    request, service = call.request, call.service
    body = await body_of(request, FORM_MAX, HTTPException(413, f"wanted a form of at most {FORM_MAX:,} bytes"))
    query = request.url.query
    form, named = _fields(body, "form"), _fields(query.encode(), "query")
    signature = request.headers.get("x-twilio-signature", "")
    if not any(
        has_signed(account.auth_token.reveal(), url, form, signature)
        for account in _accounts(service)
        for url in _urls(account, query)
    ):
        raise HTTPException(403, "wanted a callback that is signed with the token of an account in the settings")
    status = status_callback(named | form)
    if status is None or status.outcome is None or not form.get("To"):
        return
    for name, problem in (
        ("notification_id", problem_of_id(status.notification_id or "")),
        ("MessageSid", wrong_text(status.message_sid)),
        ("To", wrong_text(form["To"])),
    ):
        if problem is not None:
            raise HTTPException(400, f"{name}: {problem}")
    sent = None if status.notification_id is None else await _command_of(service, status.notification_id)
    report = DeliveryReport(
        outcome=status.outcome,
        channel=NotificationChannel.SMS if sent is None else sent.channel,
        address=form["To"] if sent is None else sent.recipient,  # which may be a national number
        by="twilio",
        notification_id=status.notification_id,
        message_id=status.message_sid,
    )
    await service.reports.take(report)


def _fields(text: bytes, what: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError:
        raise HTTPException(400, f"wanted a {what} in UTF-8 with at most {FIELDS_MAX} fields") from None


async def _command_of(service: Any, notification_id: str) -> SendNotification | None:
    history = await service.store.past(notification_id)
    now_ns = since_1970_ns(service.notifier.system.present)
    command = await service.store.recall(notification_id, now_ns) if history is None else history.command
    return command if command is not None and command.channel in _channels(service, ChannelKind.SMS) else None


def _channels(service: Any, kind: ChannelKind) -> list[NotificationChannel]:
    channels = service.config.notifier.channels
    return [NotificationChannel(kind), *(each for each, own in channels.items() if own.kind is kind)]


def _accounts(service: Any) -> list[TwilioConfig]:
    own = (service.config.transports.of(channel).values() for channel in _channels(service, ChannelKind.SMS))
    twilios = [transport.twilio for transports in own for transport in transports]
    return [each for each in twilios if each is not None and each.status_callback is not None and each.api_key is None]


def _urls(account: TwilioConfig, query: str) -> tuple[str, ...]:
    assert account.status_callback is not None
    url = account.status_callback.partition("#")[0].partition("?")[0]
    return (f"{url}?{query}",) if query else (url, f"{url}?")


@ENDPOINTS(
    "POST /callbacks/bounces",
    "Take a delivery status notification (RFC 3464).",
    roles=(Role.INGEST,),
    body={"type": "string"},
    content_type="message/rfc822",
    codes={413: "too long"},
)
async def _bounces(call: Call) -> Document:
    from actors.transports.bounces import bounces_in

    content = await body_of(call.request, BODY_MAX, HTTPException(413, f"wanted a mail of at most {BODY_MAX:,} bytes"))
    bounces = bounces_in(content)
    reports = [
        DeliveryReport(outcome=bounce.outcome, channel=channel, address=bounce.recipient, by=call.who.name)
        for bounce in bounces
        for channel in _channels(call.service, ChannelKind.EMAIL)
    ]
    answer = {"reported": len(reports), "suppressed": await call.service.reports.take_all(reports)}
    return answer if bounces.is_whole else answer | {"unread": True}
