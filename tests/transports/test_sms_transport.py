"""SMS against a server that plays Twilio by its documented answers."""

import base64
import re
from typing import Any

import phonenumbers
import pytest
from attempts import outcome_of
from beside import tables
from each_row import over_each
from http_servers import DROP, HttpServer, Reply, Request, http_server
from hypothesis import given, strategies as st
from tls_certificate import Tls

from actors.errors import ConfigurationError
from actors.messages import SendNotification
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Permanent, Sent, Transient
from actors.transports.sms import SmsProvider, e164, status_callback

TABLES = tables(__file__)

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
TOKEN = "hunter2"


def text(**more: Any) -> SendNotification:
    given = {
        "notification_id": "sms-17",
        "channel": "sms",
        "recipient": "+4930123456",
        "message": "Order 17 confirmed!",
    }
    return SendNotification(**(given | more))


def provider_of(server: HttpServer, **more: Any) -> SmsProvider:
    settings = {"account_sid": ACCOUNT, "auth_token": TOKEN, "sender": "+15005550006", "base_url": server.url}
    return SmsProvider(settings | more, clock=lambda: 1_800_000_000.0)


def error(status: int, code: int | None = None, **headers: str) -> Reply:
    body = {"status": status, "message": "as documented"} | ({} if code is None else {"code": code})
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


LATER = "Fri, 15 Jan 2027 08:00:30 GMT"

TABLE = [
    (Reply(201, {"sid": "SM1", "status": "queued"}), Sent()),
    (Reply(200, {"sid": "SM1"}), Sent()),
    (error(400, 21211), DeadDestination(reason="HTTP 400, code 21211")),
    (error(400, 21614), DeadDestination(reason="HTTP 400, code 21614")),
    (error(400, 21610), DeadDestination(reason="HTTP 400, code 21610")),
    (error(401, 20003), ChannelFault(reason="HTTP 401, code 20003")),
    (error(401), ChannelFault(reason="HTTP 401")),
    (error(403, 20003), ChannelFault(reason="HTTP 403, code 20003")),
    *((error(403, code), ChannelFault(reason=f"HTTP 403, code {code}")) for code in (20005, 20006, 20008, 30002)),
    *((error(400, code), ChannelFault(reason=f"HTTP 400, code {code}")) for code in (21212, 21601, 21603, 21606)),
    *((error(400, code), ChannelFault(reason=f"HTTP 400, code {code}")) for code in (21659, 21660)),
    *((error(400, code), ChannelFault(reason=f"HTTP 400, code {code}")) for code in (21701, 21703, 21705)),
    (error(429, 20429), Transient(reason="HTTP 429, code 20429", throttled=True)),
    (error(400, 20429), Transient(reason="HTTP 400, code 20429", throttled=True)),
    (error(429, Retry_After="7"), Transient(reason="HTTP 429", throttled=True, retry_after=7.0)),
    (
        error(429, Retry_After="Fri, 15 Jan 2027 08:00:30 GMT"),
        Transient(reason="HTTP 429", throttled=True, retry_after=30.0),
    ),
    (error(503), Transient(reason="HTTP 503")),
    (error(400, 21730), Transient(reason="HTTP 400, code 21730")),
    (error(408), Transient(reason="HTTP 408")),
    (error(425), Transient(reason="HTTP 425")),
    (error(503, Retry_After="9"), Transient(reason="HTTP 503", retry_after=9.0)),
    (error(301, location="https://elsewhere.example"), ChannelFault(reason="HTTP 301")),
    (error(400, 21602), Permanent(reason="HTTP 400, code 21602")),
    (error(404, 20404), ChannelFault(reason="HTTP 404, code 20404")),
    (error(404), ChannelFault(reason="HTTP 404")),
    (error(400, 21611), Transient(reason="HTTP 400, code 21611", throttled=True)),
    (error(400, 30001), Transient(reason="HTTP 400, code 30001", throttled=True)),
    (Reply(400, "not JSON"), Permanent(reason="HTTP 400")),
    (Reply(400, {"code": ["21211"]}), Permanent(reason="HTTP 400")),
    (error(500, 20500), Ambiguous(reason="HTTP 500, code 20500")),
    (Reply(502, "<html>"), Ambiguous(reason="HTTP 502")),
    (DROP, Ambiguous(reason="connection lost before the answer")),
    (Reply(400, {"code": 21211}, cut_off=True), Transient(reason="answer cut off")),
    (Reply(500, {"code": 20500}, cut_off=True), Ambiguous(reason="HTTP 500")),
]


@pytest.mark.parametrize(("reply", "wanted"), TABLE)
async def test_what_an_answer_means(reply, wanted):
    async with http_server([reply]) as server, provider_of(server) as provider:
        outcome = await outcome_of(provider, text())
    assert type(outcome) is type(wanted)
    assert outcome.reason == wanted.reason
    if isinstance(outcome, Transient):
        assert (outcome.retry_after, outcome.throttled) == (wanted.retry_after, wanted.throttled)
    if isinstance(reply, Reply) and not reply.cut_off:
        assert outcome.answer is not None
        assert outcome.answer.startswith(str(reply.status))


async def test_nothing_was_said(tls: Tls):
    async with http_server([Reply(201)]) as server:
        pass
    async with provider_of(server) as provider:
        assert (await outcome_of(provider, text())).reason == "no connection"
    async with http_server([Reply(201)], tls=tls.server) as server, provider_of(server) as provider:
        assert type(await outcome_of(provider, text())) is ChannelFault
    assert server.requests == []


async def sent(command: SendNotification, wanted_for: float | None = None, **settings: Any) -> Request:
    async with http_server([Reply(201)]) as server, provider_of(server, **settings) as provider:
        assert type(await outcome_of(provider, command, wanted_for=wanted_for)) is Sent
    (request,) = server.requests
    return request


async def test_the_request():
    request = await sent(text(message="Grüße & more"))
    assert request.target == f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    assert request.form == {"To": "+4930123456", "From": "+15005550006", "Body": "Grüße & more"}
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == f"{ACCOUNT}:{TOKEN}".encode()
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"


async def test_the_request_with_all_settings():
    request = await sent(
        text(notification_id="Bestellung für 17"),
        sender=None,
        messaging_service="MG1",
        api_key="SK1",
        status_callback="https://shop.example/sms?a=b",
        idempotency_header="Idempotency-Key",
    )
    assert request.form == {
        "To": "+4930123456",
        "MessagingServiceSid": "MG1",
        "Body": "Order 17 confirmed!",
        "StatusCallback": "https://shop.example/sms?a=b&notification_id=Bestellung+f%C3%BCr+17",
    }
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == f"SK1:{TOKEN}".encode()
    assert request.headers["idempotency-key"] == "Bestellung%20f%C3%BCr%2017"


@pytest.mark.parametrize(
    ("configured", "wanted"),
    [
        ("https://shop.example/sms", "https://shop.example/sms?notification_id=n"),
        ("https://shop.example/sms/", "https://shop.example/sms/?notification_id=n"),
        ("https://shop.example", "https://shop.example?notification_id=n"),
        ("https://shop.example/sms?", "https://shop.example/sms?notification_id=n"),
        ("https://shop.example/sms?a=b&", "https://shop.example/sms?a=b&notification_id=n"),
        ("https://shop.example/sms?a=b/", "https://shop.example/sms?a=b/&notification_id=n"),
        ("https://shop.example/sms#rc=5&rp=all", "https://shop.example/sms?notification_id=n#rc=5&rp=all"),
        ("https://shop.example/sms/?#a?b", "https://shop.example/sms/?notification_id=n#a?b"),
    ],
)
async def test_the_status_callback_is_as_configured_and_knows_the_notification(configured, wanted):
    request = await sent(text(notification_id="n"), status_callback=configured)
    assert request.form["StatusCallback"] == wanted


@pytest.mark.parametrize(
    ("wanted_for", "period"), [(90.9, "90"), (0.0, "1"), (35_999.9, "35999"), (36_000.0, None), (None, None)]
)
async def test_the_provider_keeps_no_message_for_longer_than_it_is_wanted(wanted_for, period):
    assert (await sent(text(), wanted_for)).form.get("ValidityPeriod") == period


async def test_what_an_operator_has_edited_is_another_message_of_the_same_notification():
    settings = {"idempotency_header": "Idempotency-Key", "status_callback": "https://shop.example/sms"}
    async with http_server([Reply(201)]) as server, provider_of(server, **settings) as provider:
        for edits in (0, 1):
            await outcome_of(provider, text(notification_id="n"), edits=edits)
    assert [request.headers["idempotency-key"] for request in server.requests] == ["n", "n/edit-1"]
    assert len({request.form["StatusCallback"] for request in server.requests}) == 1


async def test_no_phone_number_and_no_text_are_refused_before_anything_is_sent():
    async with http_server([Reply(201)]) as server, provider_of(server) as provider:
        for command in (text(recipient="ann@example.com"), text(recipient="030 123456")):
            assert await outcome_of(provider, command) == Permanent(reason="not a phone number")
        assert type(await outcome_of(provider, text(message="\ud800"))) is Permanent
    assert server.connections == 0


async def test_the_country_is_that_of_the_notification_before_that_of_the_settings():
    assert (await sent(text(recipient="030 123456"), country_code="+49")).form["To"] == "+4930123456"
    command = text(recipient="0664 123456", metadata={"country_code": "+43"})
    assert (await sent(command, country_code="+49")).form["To"] == "+43664123456"


@over_each(map(tuple, TABLES["phone_numbers"]))
def test_phone_numbers(recipient, country_code, wanted):
    assert e164(recipient, country_code) == wanted


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_a_number_in_e164_stays_as_it_is(number):
    assert e164(number, "+1") == number


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize("kind", [phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE])
def test_national_numbers_of_all_countries_are_read_as_their_people_write_them(kind):
    # The examples of the numbering plans, which the library writes and we read.
    read = 0
    for region in REGIONS:
        number = phonenumbers.example_number_for_type(region, kind)
        if number is not None:
            national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
            wanted = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            assert e164(national, number.country_code) == e164(wanted, None) == wanted
            read += 1
    assert read > 200


PARTS = st.lists(st.sampled_from(["+", "00", "(0)", "0", "1", "49", "7", "8", "39", " ", "-", "(", ")", "x", "٤"]))


@given(PARTS, st.none() | st.sampled_from(["+1", 7, "39", "+49", "DE", "+", "0", True, {}]) | st.text(max_size=3))
def test_whatever_is_written_is_a_number_in_e164_or_none(parts, country_code):
    number = e164("".join(parts), country_code)
    assert number is None or re.fullmatch(r"\+[1-9][0-9]{6,14}", number)


@given(st.from_regex(r"[0-9]{1,16}", fullmatch=True), st.sampled_from(REGIONS))
def test_a_national_number_is_read_as_a_valid_one_or_not_at_all(digits, region):
    number = e164(digits, phonenumbers.country_code_for_region(region))
    assert number is None or digits.startswith("00") or phonenumbers.is_valid_number(phonenumbers.parse(number))


# ── its final outcome ───────────────────────────────────────────────────────────────────────────────


@over_each(map(tuple, TABLES["status_callbacks"]))
def test_a_status_callback(status, code, kind):
    form = {"MessageSid": "SM1", "MessageStatus": status, "notification_id": "sms-17"}
    report = status_callback(form | ({} if code is None else {"ErrorCode": code}))
    assert report is not None
    assert (report.notification_id, report.message_sid, report.status) == ("sms-17", "SM1", status)
    assert (None if report.outcome is None else type(report.outcome).__name__) == kind
    assert report.error_code == (int(code) if code and code.isdigit() else None)
    if code and code.isdigit():
        assert report.outcome is not None
        assert report.outcome.reason == f"{status}, code {code}"


def test_what_is_no_status_callback():
    assert status_callback({}) is None
    assert status_callback({"MessageSid": "SM1"}) is None


def test_who_has_signed_a_callback():
    # The example of Twilio's documentation.
    provider = SmsProvider({"account_sid": ACCOUNT, "auth_token": "12345", "sender": "+15005550006"})
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675309",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
    }
    signature = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert provider.has_signed(url, form, signature)
    assert not provider.has_signed(url, form | {"Digits": "1235"}, signature)
    assert not provider.has_signed(url + "x", form, signature)
    assert not provider.has_signed(url, form, "ü")


@pytest.mark.parametrize(("changed", "problem"), TABLES["unusable_settings"])
def test_settings_that_cannot_be_used(changed, problem):
    settings = {"account_sid": ACCOUNT, "auth_token": TOKEN, "sender": "+15005550006"}
    with pytest.raises(ConfigurationError) as caught:
        SmsProvider(settings | changed)
    assert caught.value.problems == [problem]
