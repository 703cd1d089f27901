"""Our own notifier with its transports over HTTP, unchanged, in a world: as in a simulation of the same scenario."""

from pathlib import Path

import pytest
import trio
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import simulation
from actors import Notifier, PushProvider, SendNotification, SmsProvider, WebhookProvider

SHIPPED = Path(__file__).parents[2] / "scenarios"
SCENARIO = """
duration: 2m
seed: 5
workload: [{channel: CHANNEL, arrivals: {poisson: 2/s}}]
channels:
  CHANNEL:
    timeout: 2.87s
    retry: {max_attempts: 4, initial_delay: 1s, jitter: none}
    circuit_breaker: {per: channel, failure_threshold: 5, timeout: 11s}
    provider: {latency: 120ms, failure_rate: 5%}
  tokens: {kind: call}
faults:
  - {channel: CHANNEL, at: 20s, for: 30s, outage: true}
  - {channel: CHANNEL, at: 70s, for: 10s, hang: true}
  - {channel: CHANNEL, at: 90s, for: 20s, throttle: {rate: 1/s, retry_after: 3s}}
  - {channel: CHANNEL, permanent_rate: 2%, dead_destination_rate: 1%, channel_fault_rate: FAULTS}
drain: 10m
world:
  "*.example.com": {channel: CHANNEL, shape: SHAPE}
  tokens.example.org: tokens
"""
SETTINGS = {
    "timeout": 2.87,
    "retry": {"max_attempts": 4, "initial_delay": 1, "jitter": "none"},
    "circuit_breaker": {"per": "channel", "failure_threshold": 5, "timeout": 11},
}


def sms():
    return SmsProvider(
        {"account_sid": "AC1", "auth_token": "x", "sender": "+15005550006", "base_url": "https://api.example.com"}
    )


def push():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return PushProvider(
        {
            "project_id": "shop",
            "client_email": "shop@example.com",
            "private_key": key.private_bytes(encoding, form, serialization.NoEncryption()).decode(),
            "token_uri": "https://tokens.example.org/token",
            "base_url": "https://fcm.example.com",
        }
    )


def webhook():
    return WebhookProvider({"signing_keys": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]})


KINDS = {
    "webhook": (webhook, "https://h{}.example.com/hook", "webhook", "0%"),  # a status tells of no broken channel
    "sms": (sms, "+1415555{:04}", "twilio", "0.5%"),
    "push": (push, "token-{}", "fcm", "0%"),  # it tries a refusal once more at once, with a new access token
}


class Shop:
    """A service that keeps a notifier open, and sends a notification for each arrival."""

    def __init__(self, channel, settings):
        self.channel, self.settings = channel, settings
        self.provider, self.recipient, *_ = KINDS[channel]

    async def main(self):
        settings, providers = {"channels": {self.channel: self.settings}}, {}
        async with self.provider() as providers[self.channel], Notifier.open(settings, providers=providers) as notifier:
            self.notifier = notifier
            await trio.sleep_forever()

    async def send(self, arrival):
        await self.notifier.send(
            SendNotification(
                notification_id=arrival.id,
                channel=self.channel,
                recipient=self.recipient.format(arrival.number),
                message=f"Order {arrival.id}",
            )
        )


def compared(shop, scenario):
    """Run a scenario in a world and in a simulation; see that both make the same attempts, and return them."""
    answers = {"tokens.example.org": lambda _: {"access_token": "t", "expires_in": 36000}}
    live = simulation.run_service(shop.main, scenario, calls=shop.send, answers=answers)
    simulated = simulation.run(scenario)

    def attempts(result):
        made = result.attempts[result.attempts.channel == shop.channel]
        return sorted(
            (each.id, each.attempt, round(each.start_s, 6), round(each.end_s, 6), each.outcome)
            for each in made.itertuples()
        )

    assert attempts(live) == attempts(simulated)
    for metric in ("offered", "accepted", "sent", "dead_lettered"):
        assert live.summary["channels"][shop.channel][metric] == simulated.summary["channels"][shop.channel][metric]
    return attempts(live)


@pytest.mark.parametrize(
    "channel", ["webhook", *(pytest.param(channel, marks=pytest.mark.thorough) for channel in ("sms", "push"))]
)
def test_its_transports_make_the_attempts_of_a_simulation(channel):
    _, _, shape, faults = KINDS[channel]
    text = SCENARIO.replace("CHANNEL", channel).replace("SHAPE", shape).replace("FAULTS", faults)
    made = compared(Shop(channel, SETTINGS), simulation.parse(text))
    assert {each[-1] for each in made} >= {"sent", "transient", "ambiguous", "permanent", "dead_destination"}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("flapping-provider", "sms"),
        ("throttling-provider", "sms"),
        ("throttling-provider", "push"),
        ("hanging-provider", "webhook"),
        ("hanging-provider", "push"),
    ],
)
def test_so_they_do_in_shipped_scenarios(name, channel):
    text = (SHIPPED / f"{name}.yaml").read_text()
    for rate in ("20/s", "15/s", "12/s", "5/s"):
        text = text.replace(f"poisson: {rate}", "poisson: 2/s")
    data = yaml.safe_load(text.replace("rate: 8/s", "rate: 1/s")) | {"duration": "4m", "expect": []}
    config = data["channels"][channel]
    config["retry"]["jitter"] = "none"  # which another generator draws
    config.setdefault("circuit_breaker", {})["per"] = "channel"  # webhooks have one per host
    data |= {
        "channels": {channel: config, "tokens": {"kind": "call"}},
        "workload": [entry for entry in data["workload"] if entry["channel"] == channel],
        "faults": [fault | {"channel": channel} for fault in data["faults"]],
        "world": {"*.example.com": {"channel": channel, "shape": KINDS[channel][2]}, "tokens.example.org": "tokens"},
    }
    settings = {key: value for key, value in config.items() if key != "provider"}
    assert len(compared(Shop(channel, settings), simulation.parse(yaml.safe_dump(data)))) > 400
