"""What goes to Twilio's API, and what it signs, by Twilio's own library."""

import base64
from typing import Any
from urllib.parse import parse_qsl

import pytest
from attempts import outcome_of
from http_servers import Reply, http_server
from hypothesis import given, strategies as st

from actors.messages import SendNotification
from actors.outcomes import Sent
from actors.transports.sms import SmsProvider

pytest.importorskip("twilio", reason="needs twilio, the judge of these tests")
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

ACCOUNT, TOKEN = "AC0123456789abcdef0123456789abcdef", "hunter2"
PROVIDER = SmsProvider({"account_sid": ACCOUNT, "auth_token": TOKEN, "sender": "+15005550006"})
VALIDATOR = RequestValidator(TOKEN)

fields = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.text("aZ0 ü&=+", max_size=8))
paths = st.sampled_from(["", "/", "/sms", "/sms?notification_id=a%2Fb", "/sms?a=1&a=2", "/sms#x", "?a=b", "/ü"])


@st.composite
def urls(draw: st.DrawFn) -> str:
    scheme, host = draw(st.sampled_from(["http", "https"])), draw(st.sampled_from(["a.example", "10.0.0.1"]))
    port = draw(st.sampled_from(["", ":80", ":443", ":8443"]))
    return f"{scheme}://{host}{port}{draw(paths)}"


@given(urls(), urls(), fields, fields)
def test_who_has_signed_a_callback_is_known_as_twilio_knows_it(url, other, form, another):
    """What was signed as another URL is: with and without the port, as what signs it does either."""
    signature = VALIDATOR.compute_signature(other, form)
    assert PROVIDER.has_signed(url, form, signature) == VALIDATOR.validate(url, form, signature)
    assert PROVIDER.has_signed(other, form, signature)
    assert PROVIDER.has_signed(other, another, signature) == VALIDATOR.validate(other, another, signature)


@pytest.mark.parametrize(
    "url", ["https://[2001:db8::1]/sms", "https://[2001:db8::1]:8443/sms", "https://a.example/sms?"]
)
def test_it_is_known_where_twilio_s_library_does_not(url):
    assert PROVIDER.has_signed(url, {"a": "b"}, VALIDATOR.compute_signature(url, {"a": "b"}))


class Recording(HttpClient):
    """Keeps what the library would send."""

    def __init__(self) -> None:
        super().__init__(None, False, None)
        self.sent: dict[str, Any] = {}

    def request(self, method: str, url: str, params: Any = None, data: Any = None, **more: Any) -> Response:
        self.sent = {"method": method, "url": url, "params": params, "data": data, "auth": more.get("auth")}
        return Response(201, '{"sid": "SM1", "status": "queued"}')


@pytest.mark.parametrize(
    ("settings", "arguments", "wanted_for"),
    [
        ({"sender": "+15005550006"}, {"from_": "+15005550006"}, None),
        ({"messaging_service": "MG0123456789abcdef0123456789abcdef"},
         {"messaging_service_sid": "MG0123456789abcdef0123456789abcdef"}, None),
        ({"sender": "+15005550006"}, {"from_": "+15005550006", "validity_period": 600}, 600.0),
        ({"sender": "Shop", "status_callback": "https://shop.example/sms"},
         {"from_": "Shop", "status_callback": "https://shop.example/sms?notification_id=sms-17"}, None),
    ],
)  # fmt: skip
async def test_the_request_is_that_of_twilio_s_library(settings, arguments, wanted_for):
    body = "Grüße & 50% + 🍉\nOrder 17"
    recording = Recording()
    Client(ACCOUNT, TOKEN, http_client=recording).messages.create(to="+4930123456", body=body, **arguments)
    command = SendNotification(notification_id="sms-17", channel="sms", recipient="+4930123456", message=body)
    async with http_server([Reply(201, {"sid": "SM1"})]) as server:
        login = {"account_sid": ACCOUNT, "auth_token": TOKEN, "base_url": server.url}
        async with SmsProvider(login | settings) as provider:
            assert type(await outcome_of(provider, command, wanted_for=wanted_for)) is Sent
    (request,) = server.requests
    sent = recording.sent
    assert (sent["method"], sent["params"]) == ("POST", None)
    assert sent["url"] == f"https://api.twilio.com{request.target}"
    given = {name: str(value) for name, value in sent["data"].items()}
    assert dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True)) == given
    scheme, _, login_sent = request.headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(login_sent).decode()) == ("Basic", f"{ACCOUNT}:{TOKEN}")
