"""The transports that a file names are those that are opened, with the faults round them."""

from contextlib import AsyncExitStack

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from served import write

from actors.errors import ConfigurationError
from actors.faults.build import with_defaults
from actors.faults.chaos import FaultyProvider
from actors.faults.provider import NotificationService
from actors.kernel.randomness import RandomStreams
from actors.service.config import load
from actors.service.transports import open_transports
from actors.settings.channel import ChannelConfig
from actors.transports.email import EmailProvider
from actors.transports.push import PushProvider
from actors.transports.sms import SmsProvider
from actors.transports.webhook import WebhookProvider
from actors.transports.webpush import WebPushProvider


def pem(key):
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*kinds).decode()


SMTP = {"smtp": {"host": "mail.example.com", "sender": "shop@example.com"}}
TWILIO = {"twilio": {"account_sid": "AC1", "auth_token": "hush", "sender": "+4930123456"}}
WEBHOOKS = {"standard_webhooks": {"signing_keys": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}}
FCM = {
    "fcm": {
        "project_id": "shop",
        "client_email": "shop@shop.iam.gserviceaccount.com",
        "private_key": pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
    }
}
WEB_PUSH = {
    "web_push": {"vapid_key": pem(ec.generate_private_key(ec.SECP256R1())), "subject": "mailto:shop@example.com"}
}


async def opened(tmp_path, stack, **changes):
    config = load(write(tmp_path / "service.yaml", **changes))
    streams = RandomStreams(7)
    return open_transports(config.transports, config.notifier.channels, config.faults, streams, stack, config.accounts)


async def test_each_channel_has_the_transport_that_is_named(tmp_path):
    async with AsyncExitStack() as stack:
        transports = {"email": SMTP, "sms": TWILIO, "push": FCM, "webhook": WEBHOOKS}
        providers = await opened(tmp_path, stack, transports=transports)
        kinds = {str(channel): {name: type(one) for name, one in names.items()} for channel, names in providers.items()}
        assert kinds == {"email": {"primary": EmailProvider}, "sms": {"primary": SmsProvider},
            "push": {"primary": PushProvider}, "webhook": {"primary": WebhookProvider}}  # fmt: skip


async def test_a_channel_may_have_several_and_faults_are_round_those_that_they_hit(tmp_path):
    async with AsyncExitStack() as stack:
        providers = await opened(
            tmp_path,
            stack,
            transports={
                "email": SMTP | {"failover": {"backup": SMTP}},
                "push": WEB_PUSH,
                "sms": {"simulated": True, "failover": {"other": TWILIO}},
            },
            channels={"email": {"failover": {"backup": {}}}, "sms": {"failover": {"other": {}}}},
            faults=[
                {"channel": "email", "provider": "backup", "outage": True},
                {"channel": "sms", "failure_rate": "50%"},
            ],
        )
        kinds = {str(channel): {name: type(one) for name, one in names.items()} for channel, names in providers.items()}
        assert kinds == {
            "email": {"primary": EmailProvider, "backup": FaultyProvider},
            "push": {"primary": WebPushProvider},
            "sms": {"primary": NotificationService, "other": FaultyProvider},
        }


async def test_all_that_cannot_be_opened_is_said(tmp_path):
    smtp = {"smtp": SMTP["smtp"] | {"ca_file": "/nowhere"}}
    async with AsyncExitStack() as stack:
        with pytest.raises(ConfigurationError) as refused:
            await opened(
                tmp_path,
                stack,
                transports={
                    "email": SMTP | {"failover": {"backup": smtp}},
                    "push": {"fcm": FCM["fcm"] | {"private_key": "x"}},
                },
                channels={"email": {"failover": {"backup": {}}}},
            )
    assert [problem.partition(": wanted")[0] for problem in refused.value.problems] == [
        "transports.email.failover.backup: ca_file",
        "transports.push: private_key",
    ]


@pytest.mark.parametrize(
    ("changes", "slots", "per"),
    [
        ({"transports": {"email": SMTP}}, {"email": 4}, {"email": "channel"}),
        ({"transports": {"webhook": WEBHOOKS, "push": WEB_PUSH},
            "channels": {"webhook": {"circuit_breaker": {"timeout": "20s"}}}}, {"webhook": 100, "push": 100},
            {"webhook": "host", "push": "host"}),
        ({"transports": {"push": FCM, "sms": TWILIO}}, {"push": 20, "sms": 20}, {"push": "channel", "sms": "channel"}),
        ({"transports": {"email": {**SMTP, "failover": {"backup": {"smtp": SMTP["smtp"] | {"connections": 9}}}}},
            "channels": {"email": {"retry": {"max_attempts": 5}, "failover": {"backup": {}}}}}, {"email": 4,
            "email/backup": 9}, {"email": "channel", "email/backup": "channel"}),
        ({"transports": {"email": SMTP, "webhook": {"simulated": True}},
            "channels": {"email": {"max_in_flight": None}, "webhook": {"provider": {"connections": 3}}}},
            {"email": None, "webhook": 3}, {"email": "channel", "webhook": "host"}),
    ],
)  # fmt: skip
async def test_defaults_follow_from_the_transports_in_the_file_and_in_the_pipeline_alike(tmp_path, changes, slots, per):
    config = load(write(tmp_path / "service.yaml", **changes)).notifier
    in_file = {
        f"{channel}/{name}".removesuffix("/primary"): own
        for channel, settings in config.channels.items()
        for name, own in settings.by_provider().items()
    }
    assert {name: own.max_in_flight for name, own in in_file.items()} == slots
    assert {name: own.circuit_breaker.per for name, own in in_file.items()} == per
    async with AsyncExitStack() as stack:
        providers = await opened(tmp_path, stack, **changes)
        assert with_defaults(config.channels, providers) == config.channels


async def test_defaults_follow_from_transports_that_are_given_in_python(tmp_path):
    async with AsyncExitStack() as stack:
        transports = {"email": SMTP, "sms": TWILIO, "push": WEB_PUSH, "webhook": WEBHOOKS}
        providers = await opened(tmp_path, stack, transports=transports, faults=[{"channel": "sms", "outage": True}])
        assert type(providers["sms"]["primary"]) is FaultyProvider
        filled = with_defaults({channel: ChannelConfig() for channel in providers}, providers)
        assert {str(channel): (own.max_in_flight, own.circuit_breaker.per) for channel, own in filled.items()} == {
            "email": (4, "channel"),
            "sms": (20, "channel"),
            "push": (100, "host"),
            "webhook": (100, "host"),
        }
