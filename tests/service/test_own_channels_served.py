"""A service and a notifier with channels of any name: transports by kind, events, people's settings, metrics, pages."""

import pytest
from console_kit import notification, signed_in
from served import OTTO, email, service, write

from actors import Notifier, SendNotification
from actors.errors import ConfigurationError, InvalidRecipient, UnknownChannel
from actors.service.config import load
from actors.service.console.words import fault

CHANNELS = {
    "zeta": {"kind": "sms"},
    "news": {"kind": "email", "fallback": {"channel": "zeta"}, "retry": {"max_attempts": 1}},
    "email": {"timeout": "5s"},
}
TRANSPORTS = {"email": {"simulated": True}, "news": {"simulated": True}, "zeta": {"simulated": True}}
EVENTS = {"Alarm": [{"channel": "news", "recipient": "to", "template": "welcome", "addresses": {"zeta": "phone"}}]}
ALARM = {"type": "Alarm", "id": 1, "to": "Ann@Example.com", "phone": "+4930", "name": "Ann"}


def with_channels(**changes):
    return {"channels": CHANNELS, "transports": TRANSPORTS, "events": EVENTS} | changes


async def test_own_channels_are_served_with_events_fallbacks_people_metrics_and_pages(tmp_path):
    dead = with_channels(channels=CHANNELS | {"news": CHANNELS["news"] | {"provider": {"failure_rate": "100%"}}})
    async with service(tmp_path, **dead) as served:
        assert list(served.server.config.notifier.channels) == ["email", "zeta", "news"]
        assert (await served.post("/events", ALARM)).status_code == 202
        await served.server.notifier.wait_until_quiet()
        assert await served.metric('notifications_sent_total{channel="zeta",priority="normal"}') == 1
        assert await served.metric('notifications_in_dlq{channel="news"}') == 1
        assert (await served.get("/notifications/news-alarm-1/zeta")).json()["channel"] == "zeta"
        found = (await served.get("/api/preferences/ann")).json()["in_force"]["channels"]
        assert list(found) == ["email", "sms", "push", "webhook", "zeta", "news"]
        suppress = {"channel": "news", "address": "Bob <bob@example.com>", "reason": "left"}
        assert (await served.post("/api/suppressions", suppress, OTTO)).status_code == 201
        refused = await served.post("/api/suppressions", suppress | {"channel": "fax"}, OTTO)
        assert refused.json() == {
            "problems": ["channel: wanted one of email, sms, push, webhook, zeta, news, got 'fax'"]
        }
        assert (
            await served.post("/notifications", email(2, channel="news", recipient="BOB@example.com"))
        ).status_code == 202
        await served.server.notifier.wait_until_quiet()
        assert (await served.get("/notifications/n-2")).json()["state"] == "suppressed"
        missing = (
            await served.post("/notifications", {"notification_id": "n-3", "channel": "news", "message": "m"})
        ).json()
        assert missing["problems"] == [{"field": "recipient", "problem": "wanted text that is not empty"}]


async def test_a_fault_of_all_channels_is_said_to_be_of_those_that_there_are(tmp_path):
    async with service(tmp_path, **with_channels(faults=[{"channel": "all", "outage": True}])) as served:
        assert (await served.get("/healthz")).json()["faults"][0]["channels"] == ["email", "zeta", "news"]
        assert fault(served.server.config.faults[0]).startswith("all channels: outage")


async def test_the_console_has_pages_of_own_channels():
    settings = {"channels": {"zeta": {"kind": "sms"}, "email": {}, "news": {"kind": "email"}}, "drain": 0}
    letter = notification(1, "nobody@example.com", channel="news")
    async with signed_in([letter, notification(2, "+49", channel="zeta")], settings=settings) as (_, browser):
        overview = await browser.get("/console")
        assert [row[0] for row in overview.rows("Channels")][:3] == ["email", "zeta", "news"]
        letters = await browser.get("/console/dead-letters?channel=news")
        assert "n-1" in letters.response.text
        assert {"zeta", "news"} <= set(letters.texts("option"))
        assert "zeta" in (await browser.get("/console/breakers")).response.text


def test_transports_go_by_the_kind_of_a_channel(tmp_path):
    smtp = {"smtp": {"host": "mail.example.com", "sender": "shop@example.com"}}
    wrong = with_channels(
        channels=CHANNELS | {"api": {"kind": "call"}, "emial": {}},
        transports=TRANSPORTS | {"zeta": smtp, "fax": {"simulated": True}, "api": {"simulated": True}},
    )
    with pytest.raises(ConfigurationError) as refused:
        load(write(tmp_path / "service.yaml", **wrong))
    assert [problem.partition("service.yaml:")[2].partition(": ")[2] for problem in refused.value.problems] == [
        "channels.emial.kind: wanted the kind of a channel that is none of email, sms, push, webhook: one of these or "
        "call (did you mean email?), got nothing"
    ]
    del wrong["channels"]["emial"]
    with pytest.raises(ConfigurationError) as refused:
        load(write(tmp_path / "service.yaml", **wrong))
    there = "email, sms, push, webhook, zeta, news, api; `channels` may have more"
    assert {problem.partition("service.yaml:")[2].partition(": ")[2] for problem in refused.value.problems} == {
        "channels.api.kind: wanted a kind that has a transport, as a call has in Python alone, got call",
        "transports.zeta: wanted a transport for kind sms, got smtp",
        f"transports.fax: wanted an existing channel ({there}), got 'fax'",
    }
    config = load(write(tmp_path / "own.yaml", **with_channels(transports=TRANSPORTS | {"news": smtp})))
    assert config.notifier.channels["news"].slots == 4  # as its transport has connections


async def test_a_notifier_takes_calls_that_have_no_recipient_and_a_hundred_channels_at_most():
    settings = {"kind": "call", "rate_limit": {"max_per_minute": 1}}
    async with Notifier.open({"channels": {"payments-api": settings, "news": {"kind": "email"}}}) as notifier:
        for number in range(3):
            await notifier.send(SendNotification(notification_id=str(number), channel="payments-api", message="pay"))
        await notifier.wait_until_quiet()
        assert [(await notifier.state(str(number))).state for number in range(3)] == ["sent"] * 3
        with pytest.raises(UnknownChannel, match=r"\(payments-api, news\), got fax"):
            await notifier.send(SendNotification(notification_id="4", channel="fax", recipient="x", message="m"))
        with pytest.raises(InvalidRecipient, match="wanted an address, got nothing"):
            await notifier.send(SendNotification(notification_id="5", channel="news", message="m"))
    with pytest.raises(TypeError, match="recipient: wanted text"):
        SendNotification(notification_id="6", channel="email", message="m")
    many = {f"c-{number}": {"kind": "call"} for number in range(101)}
    with pytest.raises(ConfigurationError, match="wanted at most 100 channels, got 101"):
        async with Notifier.open({"channels": many}):
            raise AssertionError
