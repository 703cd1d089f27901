"""The file of settings of the service: what is in it, and what is said of what is wrong with it."""

import textwrap
from pathlib import Path

import pytest
from beside import tables

from actors.errors import ConfigurationError
from actors.messages import NotificationChannel
from actors.service import config as config_module
from actors.service.config import load
from actors.service.stores import check_store

TOKENS = """
tokens:
  - {name: shop, role: ingest, secret: shop-0123456789abcdef}
"""
LEAST = "store: memory\ntransports: {email: {simulated: true}}\n" + TOKENS


def loaded(tmp_path: Path, text: str):
    path = tmp_path / "service.yaml"
    path.write_text(text)
    return load(path)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        loaded(tmp_path, text)
    return [problem.removeprefix(f"{tmp_path}/") for problem in refused.value.problems]


def test_the_least_that_a_service_needs(tmp_path):
    config = loaded(tmp_path, LEAST)
    assert (config.listen, config.store_kind, config.drain) == ("127.0.0.1:8080", "memory", 30.0)
    assert list(config.notifier.channels) == [NotificationChannel.EMAIL]
    assert config.faults == ()


def test_the_example_can_be_used(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", "shop-0123456789abcdef")
    monkeypatch.setenv("TWILIO_TOKEN", "hush")
    (tmp_path / "ann").write_text("ann-0123456789abcdef\n")
    example = textwrap.dedent(config_module.__doc__.split("::\n")[1].partition("\nPaths are")[0])
    config = loaded(tmp_path, example.replace("/run/secrets/", ""))
    assert [token.name for token in config.tokens] == ["shop", "ann"]
    assert config.notifier.channels[NotificationChannel.EMAIL].retry.max_attempts == 5
    assert config.store.sqlite == str(tmp_path / "notifications.db")


def test_channels_have_the_keys_that_a_scenario_has_for_them_and_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SMTP_PASSWORD", "hush")
    (tmp_path / "dsn").write_text("postgresql://shop:hush@db/shop\n")
    config = loaded(
        tmp_path,
        TOKENS
        + """
store: {postgres: {file: dsn}}
templates: mails
transports:
  email:
    smtp: {host: mail.example.com, sender: shop@example.com, username: shop, password: {env: SMTP_PASSWORD},
      ca_file: ca.pem}
    failover: {backup: {simulated: true}}
  webhook: {simulated: true}
channels:
  email:
    retry: {max_attempts: 5, schedule: [5s, 5m, 30m, 2h]}
    circuit_breaker: {failure_threshold: 10}
    failover: {backup: {timeout: 3s}}
faults:
  - {channel: email, provider: backup, at: 1m, for: 2m, failure_rate: 30%}
""",
    )
    assert config.transports.email.smtp.password.reveal() == "hush"
    assert config.transports.email.smtp.ca_file == str(tmp_path / "ca.pem")
    assert config.store.postgres.reveal() == "postgresql://shop:hush@db/shop"
    assert config.templates == str(tmp_path / "mails")
    email = config.notifier.channels[NotificationChannel.EMAIL]
    assert [own.timeout for own in email.by_provider().values()] == [10.0, 3.0]
    assert list(config.notifier.channels) == [NotificationChannel.EMAIL, NotificationChannel.WEBHOOK]
    assert "hush" not in repr(config)


@pytest.mark.parametrize(("text", "expected"), tables(__file__)["mistakes"])
def test_all_that_is_wrong_is_said_at_once_with_its_place(tmp_path, text, expected):
    assert problems(tmp_path, text) == [line.replace("{}/", f"{tmp_path}/") for line in expected]


@pytest.mark.parametrize(
    "dsn", ["mysql://shop:hush@db/shop", "postgresql//shop:hush@db/shop", "shop.db", "jdbc:postgresql://db/shop?a=b"]
)
def test_what_is_no_dsn_is_said_before_anything_is_opened_and_not_shown(tmp_path, monkeypatch, dsn):
    rest = "\ntransports: {sms: {simulated: true}}\n" + TOKENS
    wanted = "store.postgres: wanted a DSN such as postgresql://user@host/database or host=… dbname=…, got "
    monkeypatch.setenv("SUCH_URL", dsn)
    monkeypatch.delenv("NO_URL", raising=False)
    for given, got in (
        (f"'{dsn}'", "a value that is not shown"),
        ("{env: SUCH_URL}", "another value in the environment variable SUCH_URL, which is not shown"),
        ("{env: NO_URL}", "nothing: the environment variable NO_URL is not set"),
    ):
        assert problems(tmp_path, f"store: {{postgres: {given}}}{rest}") == [f"service.yaml:1:19: {wanted}{got}"]


@pytest.mark.parametrize(
    "dsn", ["postgresql://db/shop", "postgres://ann@db", "dbname=shop", " host = db dbname = shop", "service=shop"]
)
def test_what_libpq_takes_is_a_dsn(tmp_path, dsn):
    text = f"store: {{postgres: '{dsn}'}}\ntransports: {{sms: {{simulated: true}}}}\n"
    check_store(loaded(tmp_path, text + TOKENS))


def test_a_dsn_that_libpq_would_misread_is_found_by_the_check(tmp_path):
    config = loaded(
        tmp_path, "store: {postgres: 'postgresql://ann:hu@sh@db/x'}\ntransports: {sms: {simulated: true}}\n" + TOKENS
    )
    with pytest.raises(ConfigurationError, match=r"store\.postgres: .*percent-encoded") as refused:
        check_store(config)
    assert "hu@sh" not in str(refused.value)


def test_a_key_file_of_a_service_account_holds_most_settings(tmp_path):
    (tmp_path / "key.json").write_text(
        '{"type": "service_account", "project_id": "shop", "client_email": "a@b.c", "private_key": "hush", "x": 1}'
    )
    config = loaded(
        tmp_path, "store: memory\ntransports: {push: {fcm: {service_account: key.json, connections: 3}}}\n" + TOKENS
    )
    fcm = config.transports.push.fcm
    assert (fcm.project_id, fcm.private_key.reveal(), fcm.connections) == ("shop", "hush", 3)


def test_what_differs_is_known_by_its_key(tmp_path):
    one = loaded(tmp_path, LEAST)
    same = loaded(tmp_path, LEAST + "drain: 30s\n")
    other = loaded(tmp_path, LEAST.replace("0123456789", "9876543210") + "channels: {email: {timeout: 3s}}\n")
    assert one.differs_from(same) == set()
    assert one.differs_from(other) == {"tokens", "channels"}
