"""A database's password shows in no error, wherever in the settings it was put, and however wrong it is."""

import logging
import traceback
from pathlib import Path

import pytest
import trio
from beside import tables
from hypothesis import example, given, strategies as st

from actors.errors import ConfigurationError, StoreError
from actors.formatting import without_passwords
from actors.service.config import load
from actors.settings.base import validated
from actors.settings.channel import NotifierConfig
from actors.storage.postgres.schema import check_dsn
from actors.storage.postgres.store import PostgresStore

TABLES = tables(__file__)

DSN = "postgresql://shop:hunter2@db.example.com/shop"
REST = """
listen: 127.0.0.1:8080
transports: {sms: {simulated: true}}
tokens:
  - {name: ann, role: operator, secret: 0123456789abcdef0123456789abcdef0123456789abcdef}
"""


@pytest.mark.parametrize("store", TABLES["stores"])
def test_point_10_settings_with_a_dsn_at_the_wrong_place_do_not_show_its_password(tmp_path: Path, store: str) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(f"store: {store}{REST}", encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load(file)
    shown = f"{raised.value}{raised.value!r}" + "".join(traceback.format_exception(raised.value))
    assert "hunter2" not in shown
    assert "xxxxx" not in shown


def test_point_10_nor_do_settings_from_a_mapping() -> None:
    with pytest.raises(ConfigurationError) as raised:
        validated(NotifierConfig, {"drain": DSN, "channels": {"sms": {"timeout": {"a": DSN}}}, DSN: 1})
    assert "hunter2" not in repr(raised.value)
    assert "got 'postgresql://shop:**********@db.example.com/shop'" in str(raised.value)


@pytest.mark.parametrize("dsn", TABLES["unusable_dsns"])
def test_point_10_a_dsn_that_cannot_be_used_is_not_shown(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def use() -> None:
        async with PostgresStore.open(dsn):
            pytest.fail("it is open")

    with pytest.raises(StoreError) as raised:
        trio.run(use)
    error = raised.value
    shown = f"{error}{error!r}{error.__cause__!r}{caplog.text}"
    assert "hunter2" not in shown
    assert "cannot be opened: " in shown


def test_a_dsn_that_is_not_there_is_said_so() -> None:
    with pytest.raises(StoreError, match=r"wanted a DSN such as postgresql://\S+ or host=… dbname=…, got NoneType"):
        check_dsn(None)  # type: ignore[arg-type]  # of os.environ.get


PASSWORDS = st.text(st.characters(exclude_categories=["Z", "C"]), max_size=20)


@given(before=PASSWORDS, behind=PASSWORDS, text=st.text(max_size=40))
@example("a:", "@b/c", "")
@example("/", "://", "")
def test_what_is_between_a_user_and_a_host_is_hidden(before: str, behind: str, text: str) -> None:
    shown = without_passwords(f"{text} got 'postgresql://ann:{before}hunter2{behind}@db.example.com/shop' {text}")
    assert "hunter2" not in shown
    assert "postgresql://ann:**********@db.example.com/shop" in shown


@given(st.text())
def test_a_text_without_addresses_and_passwords_stays_as_it_is(text: str) -> None:
    text = text.replace(":/", "").replace("=", "")
    assert without_passwords(text) == text


def test_addresses_without_a_password_stay_as_they_are() -> None:
    text = "see https://example.com:80/a?b=c, postgresql://ann@db/shop, and write to ann@example.com"
    assert without_passwords(text) == text
