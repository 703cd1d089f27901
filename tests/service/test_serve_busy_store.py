"""A service whose store another process has locked: it says so to its callers, and goes on when the lock is gone."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio
from served import OTTO, PLACED, email, service

from actors.storage import patience

PATIENCE_S = 60
SQLITE = {"sqlite": "store.db"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(patience, "CALLERS_PATIENCE", 0.0)


@contextmanager
def locked(path: Path) -> Generator[None]:
    with closing(sqlite3.connect(path / "store.db", isolation_level=None)) as sql:
        sql.execute("BEGIN IMMEDIATE")
        yield


async def until_ready(served) -> None:
    with trio.fail_after(PATIENCE_S):
        while (await served.get("/healthz/ready", None)).status_code != 200:
            await trio.sleep(0.01)


async def test_point_4_a_locked_store_is_a_503_that_says_when_to_come_again(tmp_path, provider):
    async with service(tmp_path, store=SQLITE) as served:
        with locked(tmp_path):
            busy = [await served.post("/notifications", email(1)) for _ in range(2)]
            several = await served.post("/notifications", [email(1), email(2), {"notification_id": 3}])
            event = await served.post("/events", PLACED)
            assert [each.status_code for each in (*busy, several, event)] == [503, 503, 207, 503]
            assert {each.headers["retry-after"] for each in (*busy, several, event)} == {"1"}
            assert busy[0].json() == {"status": "busy", "notification_id": "n-1", "retry_after": 1, "code": 503}
            assert [each["code"] for each in several.json()] == [503, 503, 422]
            for path in ("/healthz", "/healthz/ready"):
                assert (await served.get(path, None)).status_code == 503
            assert (await served.get("/healthz", None)).json()["status"] == "waiting for the store"
            assert (await served.get("/healthz/live", None)).status_code == 200
            others = [
                await served.post("/notifications/n-1/cancel", {}),
                await served.post("/api/dead-letters/n-1/retry", {}, OTTO),
                await served.post("/api/dead-letters/n-1/discard", {"why": "test"}, OTTO),
                await served.post("/api/breakers/email", {"order": "force-open"}, OTTO),
                await served.post("/api/users/ann/erase", {}, OTTO),
                await served.post(
                    "/api/suppressions", {"channel": "email", "address": "x@example.com", "reason": "test"}, OTTO
                ),
                await served.get("/api/audit"),
            ]
            assert [(each.status_code, each.headers.get("retry-after")) for each in others] == [(503, "1")] * 7
            assert provider.attempts == []
        await until_ready(served)
        again = await served.post("/notifications", [email(1), email(2)])
        assert [each["status"] for each in again.json()] == ["duplicate", "accepted"]
        assert (await served.post("/events", PLACED)).status_code == 202
        await served.server.notifier.wait_until_quiet()
        assert (await served.get("/api/suppressions")).json()["total"] == 0
    assert sorted(provider.taken) == ["email-order-placed-7", "n-1", "n-2"]
