"""Types of events that the settings describe, and what they lead to."""

import json

import pytest
from beside import tables
from served import PLACED, Scripted, service, write

from actors.errors import ConfigurationError
from actors.outcomes import Sent
from actors.service.config import load
from actors.service.serve import check

RESET = [
    {"channel": "email", "recipient": "user.email", "id": "request_id", "user": "user.id", "template": "reset"},
    {"channel": "sms", "recipient": "phone", "id": "request_id", "template": "code", "critical": True},
]
EVENT = {
    "type": "PasswordResetRequested",
    "request_id": 17,
    "user": {"id": "ann", "email": "ann@example.com", "name": "Ann"},
    "phone": "+4930123456",
    "code": "123 456",
}


@pytest.fixture
def templates(tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "reset.txt").write_text(
        "Subject: Your password\n\nHello {user.name}, your code is {code}."
    )
    (tmp_path / "templates" / "code.txt").write_text("{code}")
    return "templates"


async def test_an_event_of_an_own_type_leads_to_what_the_settings_say(tmp_path, autojump_clock, monkeypatch, templates):
    commands = []

    async def keep(attempt):
        commands.append(attempt.command)
        return Sent()

    monkeypatch.setattr("actors.service.transports.EmailTransport.open", lambda self: Scripted(keep))
    events = {"PasswordResetRequested": RESET}
    async with service(tmp_path, events=events, templates=templates) as served:
        answers = [await served.post("/events", event) for event in (EVENT, EVENT, EVENT | {"code": "9"})]
        no_phone = await served.post("/events", EVENT | {"request_id": "a b", "phone": None})
        built_in = await served.post("/events", PLACED)
        await served.server.notifier.wait_until_quiet()
        sent = [event.notification_id for event in served.server.notifier.sent_notifications]
    ids = ["email-password-reset-requested-17", "sms-password-reset-requested-17"]
    assert [answer.status_code for answer in answers] == [202, 202, 409]
    assert [one["notification_id"] for one in answers[0].json()["notifications"]] == ids
    assert no_phone.json()["notifications"] == [
        {"status": "accepted", "notification_id": "email-password-reset-requested-a b"}
    ]
    assert built_in.status_code == 202
    assert set(ids) <= set(sent)
    first = commands[0]
    assert (first.subject, first.message) == ("Your password", "Hello Ann, your code is 123 456.")
    assert (first.recipient, first.user, first.priority) == ("ann@example.com", "ann", "normal")


async def test_an_event_may_say_in_which_zone_its_user_is(tmp_path, autojump_clock, monkeypatch, templates):
    commands = []

    async def keep(attempt):
        commands.append(attempt.command)
        return Sent()

    monkeypatch.setattr("actors.service.transports.EmailTransport.open", lambda self: Scripted(keep))
    rule = next(rule for rule in RESET if rule["channel"] == "email") | {"zone": "user.zone"}
    async with service(tmp_path, events={"PasswordResetRequested": [rule]}, templates=templates) as served:
        user = EVENT["user"]
        for number, zone in enumerate(["Asia/Tokyo", None]):
            said = EVENT | {"request_id": number, "user": user | {"zone": zone}}
            assert (await served.post("/events", said)).status_code == 202
        unknown = await served.post("/events", EVENT | {"user": user | {"zone": "Asia"}})
        await served.server.notifier.wait_until_quiet()
    assert [command.zone for command in commands] == ["Asia/Tokyo", None]
    assert unknown.status_code == 422
    assert unknown.json()["problems"] == [{"field": "user.zone", "problem": "wanted a time zone such as Asia/Tokyo"}]


@pytest.mark.parametrize(("changed", "problems"), tables(__file__)["lacking"])
async def test_the_sender_of_an_event_that_lacks_something_is_told(
    tmp_path, autojump_clock, templates, changed, problems
):
    async with service(tmp_path, events={"PasswordResetRequested": RESET}, templates=templates) as served:
        answer = await served.post("/events", EVENT | changed)
    assert answer.status_code == 422
    assert {one["field"]: one["problem"] for one in answer.json()["problems"]} == problems


async def test_a_built_in_type_may_lead_to_something_else_or_nothing_and_that_can_change(
    tmp_path, autojump_clock, templates
):
    own = [{"channel": "sms", "recipient": "customer_phone", "id": "order_id", "template": "code"}]
    async with service(tmp_path, events={"OrderPlaced": []}, templates=templates) as served:
        nothing = await served.post("/events", PLACED)
        assert await served.change(events={"OrderPlaced": own}, templates=templates)
        other = await served.post("/events", PLACED | {"code": "1"})
        assert await served.change()
        built_in = await served.post("/events", PLACED)
    assert nothing.json() == {"status": "accepted", "notifications": [], "code": 202}
    assert [one["notification_id"] for one in other.json()["notifications"]] == ["sms-order-placed-7"]
    assert [one["notification_id"] for one in built_in.json()["notifications"]] == [
        "email-order-placed-7",
        "sms-order-placed-7",
    ]


async def test_there_is_room_for_a_critical_event_where_there_is_none_for_a_bulk_one(
    tmp_path, autojump_clock, monkeypatch, templates
):
    rule = {"channel": "email", "recipient": "to", "template": "code"}
    events = {"News": [rule | {"priority": "bulk"}], "Login": [rule | {"critical": True}]}
    channels = {"email": {"quota": {"rate": "1/h"}}}
    async with service(tmp_path, events=events, templates=templates, max_pending=10, channels=channels) as served:
        news = [{"type": "News", "id": each, "to": "a@example.com", "code": "1"} for each in range(12)]
        answer = await served.post("/events", news)
        login = await served.post("/events", news[0] | {"type": "Login"})
    codes = [one["code"] for one in answer.json()]
    assert codes.count(429) >= 2
    assert login.status_code == 202


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ({"Reset": [RESET[0] | {"channel": "push"}]}, "events.Reset.0.channel: wanted a channel that has a transport"),
        ({"Reset": [RESET[0], RESET[0]]}, "events.Reset.1.channel: wanted each channel once for a type of events"),
        (
            {"Reset": [{"channel": "email", "recipient": "to"}]},
            "events.Reset.0.template: wanted text that is not empty",
        ),
        ({"Reset": [RESET[0] | {"recipient": "user..id"}]}, "events.Reset.0.recipient: wanted the name of a field"),
        ({"Re set": []}, "events.Re set: wanted a type of events such as PasswordResetRequested"),
        ({"Reset": [RESET[0] | {"to": "x"}]}, "events.Reset.0.to: unknown key"),
    ],
)
def test_wrong_rules_are_reported_with_their_place(tmp_path, events, problem):
    with pytest.raises(ConfigurationError) as raised:
        load(write(tmp_path / "service.yaml", events=events))
    assert any(problem in line for line in raised.value.problems), raised.value.problems


async def test_check_warns_of_a_template_that_there_is_not(tmp_path, templates):
    path = tmp_path / "service.yaml"
    write(path, events={"Reset": [RESET[0], RESET[1] | {"template": "codes"}]}, templates=templates)
    [warning] = await check(path, load(path))
    assert warning.endswith("events.Reset.1.template: wanted an existing template, got 'codes'")
    assert json.loads(path.read_text())["events"]["Reset"][1]["template"] == "codes"
