"""What a service reads beside its settings: preferences, templates, suppressions; and what operators do to them."""

from served import OTTO, email, service

OFF = "users:\n  ann: {channels: {email: off}}\n"


async def sent(served):
    await served.server.notifier.wait_until_quiet()
    return [event.notification_id for event in served.server.notifier.sent_notifications]


async def test_files_beside_the_settings_are_used_and_read_again_on_demand(tmp_path, caplog):
    preferences, templates = tmp_path / "preferences.yaml", tmp_path / "templates"
    preferences.write_text(OFF)
    templates.mkdir()
    (templates / "hello.txt").write_text("Subject: From {platform}\n\nHello {name}")
    files = {"preferences": "preferences.yaml", "templates": "templates", "platform": "the shop"}
    async with service(tmp_path, **files) as served:
        before = served.server.notifier
        await served.post("/notifications", email(1, user_id="ann"))
        assert await sent(served) == []
        assert await served.metric('notifications_suppressed_total{channel="email"}') == 1
        preview = await served.post("/api/templates/hello/preview", {"variables": {"name": "Ann"}}, OTTO)
        assert preview.json()["subject"] == "From the shop"
        preferences.write_text("users: {}\n")
        assert await served.change(**files)
        await served.post("/notifications", email(2, user_id="ann"))
        assert await sent(served) == ["n-2"]
        assert served.server.notifier is before
        preferences.write_text("users: {ann: {channels: {email: perhaps}}}\n")
        assert not await served.change(**files, channels={"email": {"timeout": "3s"}})
        assert served.server.notifier is before
        assert any(
            "preferences.yaml:1:33: users.*.channels.email: wanted on or off" in text for text in caplog.messages
        )


async def test_what_an_operator_suppresses_holds_over_a_change_of_settings(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        entry = {"channel": "email", "address": "ann@example.com", "reason": "complaint"}
        assert (await served.post("/api/suppressions", entry, OTTO)).status_code < 300
        assert await served.change(channels={"email": {"timeout": "3s"}})
        await served.post("/notifications", email(1))
        assert await sent(served) == []
        assert await served.metric('notifications_suppressed_total{channel="email"}') == 1
