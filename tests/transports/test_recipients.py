"""What each transport knows of a recipient before anything is sent: exactly what it would refuse by itself then."""

import ipaddress
import json
from typing import Any

import pytest
import trio
from effort import examples
from hypothesis import example, given, settings, strategies as st
from provider_attempts import first_attempt

from actors.domain.attempts import Provider
from actors.messages import NotificationChannel, SendNotification
from actors.outcomes import Permanent, Sent
from actors.transports.email import EmailProvider
from actors.transports.http_exchange import Failed, HttpAnswer, HttpTransport, TargetRefused
from actors.transports.sms import SmsProvider
from actors.transports.webhook import NOT_ALLOWED, WebhookProvider
from actors.transports.webpush import WebPushProvider

VAPID = "MC4QU6Pt7xZGb5mYGsXfWXxQCTc_xQ_LXHHJxJYBQSU"
KEYS = {
    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
}
MAIL_SERVER = {"host": "127.0.0.1", "port": 1, "security": "none", "sender": "shop@example.com"}
ACCOUNT = {"account_sid": "AC0", "auth_token": "hush", "sender": "+4930123456"}
SIGNED = {"signing_keys": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}
IDENTITY = {"vapid_key": VAPID, "subject": "mailto:shop@example.com"}


NO_NAME, NO_CHARACTER = (
    "not a URL: its host is no internationalised name (IDNA 2008)",
    "a character in the host that no name has",
)
IMPOSSIBLE = {
    f"{'a' * 64}.example": "a label of 64 characters in the host, of at most 63",
    f"{'.'.join(['a' * 49] * 5)}.abcd": "a host of 254 characters, of at most 253",
    "ä" * 300: "a host of 300 characters, of at most 253",
    "ä" * 63: NO_NAME,
    "☃-.example": NO_NAME,
    "xn--.example": "a label in the host that begins with xn-- and stands for none",
    "a..example": "an empty label in the host",
    ".example": "an empty label in the host",
    "a.example..": "an empty label in the host",
    "a b.example": NO_CHARACTER,
    "a%20b.example": NO_CHARACTER,
    "a,b.example": NO_CHARACTER,
    "1.2.3.4.5": "a host that is neither a name nor an IPv4 address",
    "1.2.3.256": "not a URL",
    "example.com:0": "port 0 in the URL",
}
"""Hosts that are found by nobody, with what is said of them."""


def subscription(endpoint: str = "https://push.example/x", **keys: str) -> str:
    return json.dumps({"endpoint": endpoint, "keys": KEYS | keys})


def to(channel: str, recipient: str, **metadata: Any) -> SendNotification:
    return SendNotification(
        notification_id="n",
        channel=NotificationChannel(channel),
        recipient=recipient,
        message="Hello",
        metadata=metadata,
    )


class _Taking:
    """Takes every request, or every mail, in place of a server."""

    def __init__(self, network: Any) -> None:
        self.taken = 0
        self.network = network
        if network is not None:
            network._network = self

    async def connect_tcp(self, host: str, port: int, **_: Any) -> None:
        """Connect, which costs nothing."""

    async def answer(self, request: Any) -> HttpAnswer:
        host = request.url.host.decode()
        if self.network is not None and _is_literal(host):  # else it is a name of an address of the internet
            try:
                await self.network.connect_tcp(host, 443)
            except TargetRefused:
                raise Failed(Permanent(reason="target address not allowed")) from None
        self.taken += 1
        return HttpAnswer(201, {}, b"{}", 0.0, False)

    def deliver(self, mail: Any, flight: Any) -> Sent:
        self.taken += 1
        return Sent()


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_handed_over(provider: Any, command: SendNotification) -> bool:
    """Make an attempt; tell whether it came to the network. It is refused for good, where it did not."""
    network = _Taking(getattr(provider, "_network", None))
    if isinstance(provider, HttpTransport):
        provider._http._answer = network.answer  # type: ignore[method-assign]
    else:
        provider._pool = network
    attempt = first_attempt(command)
    outcome = trio.run(provider.attempt(attempt, 0))
    assert isinstance(outcome, Sent if network.taken else Permanent)
    return network.taken == 1


@pytest.mark.parametrize(
    ("provider", "channel", "good", "bad"),
    [
        (
            EmailProvider(MAIL_SERVER),
            "email",
            ["ann@example.com", "Ann <ann@example.com>", '"a@b"@example.com', "ann@mänster.de", "ann@localhost"],
            {
                "ann": "not a mailbox; wanted one such as ann@example.com",
                "a@b@c": "not a mailbox; wanted one such as ann@example.com",
                "ann@example.com>": "not a mailbox; wanted one such as ann@example.com",
                "a@b.c\r\nBcc: d@e.f": "control character in address; wanted one such as ann@example.com",
                "a@b.c, d@e.f": "not a mailbox; wanted one such as ann@example.com",
                f"a@{'b' * 64}.c": "not a mailbox: a label of 64 characters in the host, of at most 63; wanted one "
                "such as ann@example.com",
                "a@1.2.3.4.5": "not a mailbox: a host that is neither a name nor an IPv4 address; wanted one such as "
                "ann@example.com",
            },
        ),
        (
            SmsProvider(ACCOUNT),
            "sms",
            ["+49 30 123456", "+4930123456", "004930123456"],
            dict.fromkeys(
                ["ann", "+49", "030 123456", "+49301234567890123456"],
                "not a phone number; wanted one such as +4930123456, or one that is valid in the country of "
                "country_code",
            ),
        ),
        (
            WebhookProvider(SIGNED),
            "webhook",
            [
                "https://example.com/hook",
                "https://[2606:4700::1]:8443/x?y=z",
                "https://9.9.9.9",
                "https://localhost",
                f"https://{'a' * 63}.a_-b.example.:443",
                f"https://{'.'.join(['a' * 49] * 5)}.abc",
                "https://mänster.de",
                "https://xn--mnster-bua.de",
            ],
            {
                "example.com/hook": "not a URL; wanted one such as https://example.com/hook",
                "https://": "not a URL; wanted one such as https://example.com/hook",
                "ftp://example.com": "not a URL; wanted one such as https://example.com/hook",
                "https://example.com:x": "not a URL; wanted one such as https://example.com/hook",
                "http://example.com": "not an https URL; wanted one such as https://example.com/hook",
                "https://127.0.0.1/hook": NOT_ALLOWED,
                "https://[::ffff:10.0.0.1]/hook": NOT_ALLOWED,
                "https://169.254.169.254": NOT_ALLOWED,
                **{
                    f"https://{host}/hook": f"{problem}; wanted one such as https://example.com/hook"
                    for host, problem in IMPOSSIBLE.items()
                },
                "https://a:b@example.com": "password in the URL; wanted one such as https://example.com/hook",
            },
        ),
        (
            WebPushProvider(IDENTITY),
            "push",
            [subscription()],
            {
                subscription("https://[::1]/x"): NOT_ALLOWED,
                "{}": "not a subscription; wanted what JSON.stringify makes of the subscription of a browser",
                "token": "not a subscription; wanted what JSON.stringify makes of the subscription of a browser",
                subscription(auth="x"): "not a subscription; wanted what JSON.stringify makes of the subscription of "
                "a browser",
                **{
                    subscription(
                        f"https://{host}/x"
                    ): f"{problem}; wanted what JSON.stringify makes of the subscription of a browser"
                    for host, problem in IMPOSSIBLE.items()
                },
                subscription("http://push.example"): "not an https URL; wanted what JSON.stringify makes of the "
                "subscription of a browser",
            },
        ),
    ],
    ids=["email", "sms", "webhook", "web push"],
)
def test_what_is_no_address_is_known_and_said_without_it(provider, channel, good, bad):
    for recipient in good:
        assert provider.recipient_problem(to(channel, recipient)) is None, recipient
        assert is_handed_over(provider, to(channel, recipient)), recipient
    assert {recipient: provider.recipient_problem(to(channel, recipient)) for recipient in bad} == bad
    for recipient in bad:
        assert not is_handed_over(provider, to(channel, recipient)), recipient


def test_a_national_number_is_read_by_the_country_of_its_metadata_or_of_the_settings():
    assert SmsProvider(ACCOUNT).recipient_problem(to("sms", "030 1234567", country_code="+49")) is None
    assert SmsProvider(ACCOUNT | {"country_code": "+49"}).recipient_problem(to("sms", "030 1234567")) is None
    assert SmsProvider(ACCOUNT).recipient_problem(to("sms", "030 1234567", country_code="+999")) is not None


def test_an_address_of_ones_own_network_is_one_where_it_is_allowed():
    allowed = WebhookProvider(SIGNED | {"allow_networks": ["127.0.0.0/8"]})
    assert allowed.recipient_problem(to("webhook", "https://127.0.0.1:1/x")) is None
    assert allowed.recipient_problem(to("webhook", "https://10.0.0.1/x")) == NOT_ALLOWED


def test_http_is_an_address_where_it_is_allowed():
    assert WebhookProvider(SIGNED | {"allow_http": True}).recipient_problem(to("webhook", "http://localhost:1")) is None


def test_a_provider_that_does_not_know_says_nothing():
    assert Provider().recipient_problem(to("push", "any token")) is None


PARTS = st.lists(
    st.sampled_from(
        [
            *'@.<>"\\,:;/?#[]+-() \t\r\n%=',
            *("ann", "example", "com", "https://", "http://", "0", "49", "30123", "ä", "a" * 64, "xn--", "\ud800"),
            *("127.0.0.1", "[::1]"),
        ]
    ),
    max_size=12,
).map("".join)
EMAIL, WEBHOOK, SMS = EmailProvider(MAIL_SERVER), WebhookProvider(SIGNED), SmsProvider(ACCOUNT)


@pytest.mark.parametrize(
    ("provider", "channel", "begin"),
    [(EMAIL, "email", "ann@"), (WEBHOOK, "webhook", "https://"), (SMS, "sms", "+")],
    ids=["email", "webhook", "sms"],
)
@settings(max_examples=examples(60), deadline=None)
@example(text="example.com", begins=True)
@given(text=PARTS, begins=st.booleans())
def test_a_problem_is_known_before_exactly_where_the_transport_would_refuse(provider, channel, begin, text, begins):
    command = to(channel, begin + text if begins else text)
    assert (provider.recipient_problem(command) is None) == is_handed_over(provider, command)
