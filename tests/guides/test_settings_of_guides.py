"""The settings that guides show are those to copy: the linter has nothing to say of them, and says what it is for."""

import ast
import base64
import logging
import re

import in_process
import pytest
import trio
from documents import GUIDES, blocks, text_of
from guide import Guide

from actors import Notifier, WebPushProvider

SECRETS = {
    "SHOP_TOKEN": "shop-0123456789abcdef",
    "ANN_TOKEN": "ann-0123456789abcdef",
    "DATABASE_URL": "postgresql://retrylab@db.example.com/retrylab",
    "SMTP_PASSWORD": "hunter2",
    "TWILIO_TOKEN": "0123456789abcdef0123456789abcdef",
    "WEBHOOK_KEY": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}


@pytest.fixture
def service_files(tmp_path, monkeypatch):
    """The files of the guide to `retrylab serve`, with those that they name."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    for name, content in Guide(GUIDES / "service-process.md").files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "bob.token").write_text("bob-0123456789abcdef")
    (tmp_path / "templates").mkdir()
    (tmp_path / "preferences.yaml").write_text("users: {}")
    (tmp_path / "suppressions.csv").write_text("channel,address,reason\n")
    return tmp_path


@pytest.mark.parametrize("name", ["production.yaml", "service.yaml"])
def test_nothing_is_said_of_the_files_of_the_service(service_files, name):
    done = in_process.retrylab("serve", name, "--check", cwd=service_files)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{name}: the settings are valid\n", "")


def test_a_check_says_what_in_a_valid_file_cannot_do_what_it_says(service_files):
    text = (service_files / "production.yaml").read_text()
    text = text.replace("{backup: {quota", "{backup: {max_in_flight: null, quota")
    text = text.replace("\n    rate_limit:", "\n    max_in_flight: null\n    rate_limit:")
    trap = "webhook:\n    circuit_breaker: {per: channel, timeout: 2m}\n    retry:"
    text = text.replace("webhook:\n    retry:", trap)
    (service_files / "traps.yaml").write_text(text)
    done = in_process.retrylab("serve", "traps.yaml", "--check", cwd=service_files)
    assert (done.returncode, done.stdout) == (0, "traps.yaml: the settings are valid\n")
    unbound = (
        "max_in_flight: null bounds nothing: while the provider does not answer, what arrives in a timeout of 10s is "
        "under way at once"
    )
    assert re.sub(r"traps.yaml:\d+:\d+: channels.", "", done.stderr).splitlines() == [
        f"warning: email.failover.backup.{unbound}",
        f"warning: sms.{unbound}",
        "warning: webhook.circuit_breaker.per: channel, where each recipient chooses a host: 5 failures in a row at "
        "one of them stop all others for 2m",
    ]
    places = re.findall(r"traps.yaml:(\d+):(\d+)", done.stderr)
    lines = text.splitlines()
    at = [lines[int(line) - 1][int(column) - 1 :] for line, column in places]
    assert [there.split("}")[0].split(",")[0] for there in at] == ["null", "null", "channel"]


def settings_shown():
    """The settings of notifiers that guides show in Python: mappings with `channels`."""
    for path in sorted(GUIDES.glob("*.md")):
        for code in blocks(path.stem, "python"):
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.Dict) and any(getattr(key, "value", "") == "channels" for key in node.keys):
                    yield pytest.param(ast.literal_eval(node), id=path.stem)


def warnings_of(caplog, config, providers=None):
    async def main():
        async with Notifier.open(config, providers=providers):
            pass

    with caplog.at_level(logging.WARNING):
        trio.run(main)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("config", list(settings_shown()))
def test_nothing_is_said_of_settings_in_python(caplog, config):
    assert warnings_of(caplog, config) == []


def test_those_guides_have_settings():
    assert {shown.id for shown in settings_shown()} >= {"trio-example", "asgi", "several-nodes", "embedding"}
    assert "\nchannels:" in text_of("service-process")


@pytest.mark.parametrize(("breaker", "is_said"), [({}, False), ({"per": "channel"}, True)])
def test_one_breaker_for_all_of_web_push_is_said_where_it_is_web_push(caplog, breaker, is_said):
    key = base64.urlsafe_b64encode(b"1" * 32).decode().rstrip("=")
    provider = WebPushProvider({"vapid_key": key, "subject": "mailto:ops@example.com"})
    config = {"channels": {"push": {"circuit_breaker": breaker}}}
    assert warnings_of(caplog, config, {"push": provider}) == is_said * [
        "channels.push.circuit_breaker.per: channel, where each recipient chooses a host: 5 failures in a row at one "
        "of them stop all others for 60s"
    ]


def test_the_event_types_of_ones_own_are_valid_settings(service_files):
    [events] = [block for block in blocks("service-process", "yaml") if "PasswordResetRequested" in block]
    (service_files / "templates" / "password-reset.txt").write_text("{code}")
    (service_files / "events.yaml").write_text((service_files / "service.yaml").read_text() + events)
    done = in_process.retrylab("serve", "events.yaml", "--check", cwd=service_files)
    assert (done.returncode, done.stdout, done.stderr) == (0, "events.yaml: the settings are valid\n", "")
