"""Which addresses are the same, and what becomes of those that a release before has stored in another form."""

import contextlib
import hashlib
import re
import sqlite3
from itertools import product

import msgspec
import psycopg
from beside import tables
from each_row import over_each
from hypothesis import given, strategies as st
from shelves import suppression

from actors import SqliteStore
from actors.domain.codec import encode_endpoint, encode_suppression
from actors.domain.endpoints import Endpoint
from actors.domain.suppressions import normal_address
from actors.endpoints import EndpointMark, EndpointState
from actors.messages import NotificationChannel, SendNotification
from actors.storage.postgres.store import PostgresStore
from simulation.verification.model.addresses import address

EMAIL, SMS, PUSH, WEBHOOK = (NotificationChannel(name) for name in ("email", "sms", "push", "webhook"))


@over_each(map(tuple, tables(__file__)["addresses"]))
def test_which_addresses_are_the_same(channel, one, other, are_same):
    channel = NotificationChannel(channel)
    assert (normal_address(channel, one) == normal_address(channel, other)) == are_same


def test_path_and_query_stay_as_they_are():
    assert normal_address(WEBHOOK, "HTTPS://EXAMPLE.com:443/Hook;%7e?A=b#C") == "https://example.com/Hook;%7e?A=b#C"


@over_each(product(NotificationChannel, ["<", "< ", " <a", "[", "a:", "https://a", "0", "+ ", ":1"]))
def test_a_long_address_takes_no_longer_than_its_length(channel, part):
    """A minute or more, where the time goes by the square of it."""
    for begin in ("", "<", "https://", "https://[", "https://a:"):
        for end in ("", "a>", ">"):
            normal_address(channel, begin + part * 200_000 + end)


_PARTS = st.sampled_from(re.findall(r"\S+| $", r"http HTTPS :// : 80 :443 :80 / ? # @ [::A] [ ] < > Ab \ .  "))
_WRITTEN = st.lists(_PARTS, max_size=8).map("".join) | st.lists(_PARTS, max_size=6).map(
    lambda parts: "".join(["https://", *parts])
)


@given(channel=st.sampled_from(list(NotificationChannel)), written=_WRITTEN)
def test_the_normal_form_is_its_own_and_that_of_the_model(channel, written):
    normal = normal_address(channel, written)
    assert normal_address(channel, normal) == normal
    command = SendNotification(notification_id="n", channel=channel, recipient=written, message="m")
    assert address(command) == (channel, normal)


# ── what is stored ──────────────────────────────────────────────────────────────────────────────────────────────────

MARK = EndpointMark(state=EndpointState.DISABLED, since_ns=1, until_ns=2)


def as_before(made, form):
    """Return what a release before has made of an address that it left in this form."""
    msgspec.structs.force_setattr(made, "address", form)
    return made


def endpoint(form, mark=MARK):
    made = Endpoint(channel=WEBHOOK, address="", mark=mark, reason="500", marked_ns=3)
    return as_before(made, form)


def gone(form, channel=WEBHOOK):
    made = suppression("", "gone", "operator")
    msgspec.structs.force_setattr(made, "channel", channel)
    return as_before(made, form)


FORMER = ["HTTPS://Example.com:443/hook", "https://EXAMPLE.com/hook", "https://example.com/other"]
NORMAL = {"https://example.com/hook", "https://example.com/other"}


def held(store):
    """Return what a store has in memory: suppressions and endpoints."""
    return {each.key for each in store.suppressions}, {each.key for each in store.endpoints}


async def test_sqlite_rewrites_what_a_release_before_wrote(tmp_path):
    path = tmp_path / "store.db"
    async with SqliteStore.open(path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as sql:
        for form in FORMER:
            sql.execute("INSERT INTO suppressions VALUES ('webhook', ?, 'gone', 'operator', 5, NULL)", (form,))
            sql.execute("INSERT INTO endpoints VALUES ('webhook', ?, ?)", (form, encode_endpoint(endpoint(form))))
        sql.execute("INSERT INTO suppressions VALUES ('email', 'ann <ann@example.org>', 'gone', 'operator', 5, NULL)")
        sql.commit()
    keys = {(WEBHOOK, form) for form in NORMAL}
    async with SqliteStore.open(path) as store:
        assert held(store) == (keys | {(EMAIL, "ann@example.org")}, keys)
        assert store.endpoints.is_disabled(WEBHOOK, "HTTPS://EXAMPLE.COM/hook")
    with contextlib.closing(sqlite3.connect(path)) as sql:
        for table in ("suppressions", "endpoints"):
            rows = sql.execute(f"SELECT address FROM {table} WHERE channel = 'webhook'").fetchall()
            assert {form for (form,) in rows} == NORMAL
            assert len(rows) == 2


async def test_postgresql_rewrites_what_a_release_before_wrote(dsn):
    def row(kind, form, value, told):
        return kind, hashlib.sha256(form.encode()).digest(), form.encode(), value, told

    async with PostgresStore.open(dsn, node="one"):
        pass
    with psycopg.connect(dsn) as sql:
        sql.execute("SET search_path TO retrylab")
        for form in FORMER:
            written = row("webhook", form, encode_suppression(gone(form)), False)
            sql.execute("INSERT INTO settings VALUES (%s, %s, %s, %s, %s)", written)
            written = row("endpoint/webhook", form, encode_endpoint(endpoint(form)), False)
            sql.execute("INSERT INTO endpoints VALUES (%s, %s, %s, %s, %s)", written)
    keys = {(WEBHOOK, form) for form in NORMAL}
    async with PostgresStore.open(dsn, node="two") as store:
        assert held(store) == (keys, keys)
    with psycopg.connect(dsn) as sql:
        sql.execute("SET search_path TO retrylab")
        for table in ("settings", "endpoints"):
            rows = sql.execute(f"SELECT name, digest FROM {table}").fetchall()
            assert sorted(rows) == sorted((form.encode(), hashlib.sha256(form.encode()).digest()) for form in NORMAL)
    async with PostgresStore.open(dsn, node="three") as store:
        assert held(store) == (keys, keys)
