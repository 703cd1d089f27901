"""Preferences, suppressions and templates over HTTP: which role may do what, and what is answered."""

from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from actors import MemoryStore
from actors.messages import NotificationChannel
from actors.service.app import Application
from actors.service.http.access import Access, TokenConfig
from actors.service.http.endpoints import routes_of
from actors.service.http.settings import ENDPOINTS
from actors.service.reloading.live_settings import LiveSettings

TOKENS = {"ingest": "shop-0123456789abcdef", "reader": "ann-0123456789abcdef", "operator": "otto-0123456789abcdef"}
NIGHT = {"from": "22:00", "to": "07:00", "zone": "Europe/Berlin"}


@asynccontextmanager
async def served(role: str = "operator", store: MemoryStore | None = None, **files: Any):
    store = store if store is not None else MemoryStore()
    access = Access([TokenConfig(name=f"the {name}", role=name, secret=secret) for name, secret in TOKENS.items()])
    app = Application(routes=routes_of(ENDPOINTS))
    async with LiveSettings.open(store, **files) as live:
        app.use(SimpleNamespace(access=access, live_settings=live))
        headers = {"Authorization": f"Bearer {TOKENS[role]}"} if role in TOKENS else {}
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service", headers=headers) as client:
            yield client, live


LOOKS = [
    ("GET", "/api/preferences/ann"),
    ("GET", "/api/suppressions"),
    ("GET", "/api/suppressions.csv"),
    ("GET", "/api/templates"),
    ("GET", "/api/settings-files"),
]
CHANGES = [
    ("PUT", "/api/preferences/ann"),
    ("DELETE", "/api/preferences/ann"),
    ("POST", "/api/suppressions"),
    ("DELETE", "/api/suppressions?channel=email&address=ann"),
    ("POST", "/api/settings-files/reload"),
    ("POST", "/api/templates/welcome/preview"),
]


@pytest.mark.parametrize(("method", "path"), LOOKS + CHANGES)
async def test_readers_look_operators_change_and_others_do_neither(method, path):
    for role in ("nobody", "ingest", "reader", "operator"):
        async with served(role) as (client, _):
            status = (await client.request(method, path)).status_code
            refused = {"nobody": 401, "ingest": 403, "reader": 403 if (method, path) in CHANGES else None}.get(role)
            assert status == refused or (refused is None and status not in (401, 403))


async def test_preferences_are_set_looked_at_and_forgotten():
    store = MemoryStore()
    async with served(store=store) as (client, live):
        user = "/api/preferences/ann%40example.org"
        given = {"channels": {"sms": "off", "email": True}, "quiet_hours": NIGHT}
        answer = await client.put(user, json=given, params={"why": "called us"})
        written = {**NIGHT, "from": "22:00:00", "to": "07:00:00"}
        assert answer.json() == (await client.get(user)).json()
        assert answer.json()["user"] == "ann@example.org"
        assert answer.json()["stored"] == {"channels": {"sms": "off", "email": "on"}, "quiet_hours": written}
        assert answer.json()["in_force"]["channels"] == {"email": "on", "sms": "off", "push": "on", "webhook": "on"}
        assert answer.json()["in_force"]["quiet_hours"]["push"] == [written]
        assert not live.preferences.is_enabled("ann@example.org", NotificationChannel.SMS)
        (entry,) = await store.audit_trail()
        assert (entry.by, entry.action, entry.why) == ("the operator", "set preferences", "called us")
        assert (await client.put(user, json=answer.json()["stored"])).json() == answer.json()
        assert (await client.delete(user)).json()["stored"] is None
        assert (await client.delete(user)).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b'{"channels": {"sms": "maybe"}}', 422, "channels.sms: wanted on or off, got 'maybe'"),
        (b'{"chanels": {}}', 422, "chanels: unknown key; did you mean channels?"),
        (b"[]", 422, "wanted an object"),
        (b"{", 400, "wanted JSON: "),
        (b'{"channels": {"\\ud800": "on"}}', 400, "wanted JSON: half a surrogate pair is no text"),
        (b"[" * 100_000, 400, "wanted JSON: "),
    ],
)
async def test_preferences_that_cannot_be_used_are_answered_with_all_that_is_wrong(body, status, problem):
    async with served() as (client, live):
        answer = await client.put("/api/preferences/ann", content=body)
        assert answer.status_code == status
        assert answer.json()["problems"][0].startswith(problem)
        assert live.preferences.set_in_store("ann") is None


async def test_suppressions_are_added_listed_by_pages_and_removed():
    async with served() as (client, _):
        for number in range(5):
            new = {"channel": "email", "address": f"User-{number}@example.org", "reason": "complaint"}
            answer = await client.post("/api/suppressions", json=new)
            assert answer.status_code == 201
            assert (answer.json()["address"], answer.json()["by"]) == (f"user-{number}@example.org", "the operator")
        await client.post("/api/suppressions", json={"channel": "sms", "address": "+49 30 12", "reason": "stop"})
        seen, after = [], None
        while True:
            params = {"channel": "email", "limit": 2} | ({} if after is None else {"after": after})
            page = (await client.get("/api/suppressions", params=params)).json()
            assert page["total"] == 5
            seen.append([each["address"][5] for each in page["suppressions"]])
            if (after := page["next"]) is None:
                break
        assert seen == [["0", "1"], ["2", "3"], ["4"]]
        url = {"channel": "webhook", "address": "HTTPS://Shop.example:443/Hook", "reason": "stop"}
        await client.post("/api/suppressions", json=url)
        for part in ("https://SHOP.example", "HTTPS://shop.example/", "/Hook"):
            (found,) = (await client.get("/api/suppressions", params={"address": part})).json()["suppressions"]
            assert found["address"] == "https://shop.example/Hook"
        found = (await client.get("/api/suppressions", params={"address": "ER-3@EX"})).json()["suppressions"]
        assert [each["address"] for each in found] == ["user-3@example.org"]
        gone = {"channel": "sms", "address": "+4930-12", "why": "asked for it"}
        assert (await client.delete("/api/suppressions", params=gone)).status_code == 204
        assert (await client.delete("/api/suppressions", params=gone)).status_code == 404
        assert (await client.delete("/api/suppressions", params={**gone, "channel": "fax"})).status_code == 422
        assert (await client.get("/api/suppressions", params={"limit": "many"})).status_code == 422


async def test_a_table_comes_in_and_goes_out():
    async with served() as (client, live):
        table = "channel,address,reason\nemail,ann@example.org,complaint\nsms,+4930,stop\n"
        kind = {"Content-Type": "text/csv; charset=utf-8"}
        answer = await client.post("/api/suppressions", content=table.encode(), headers=kind)
        assert answer.json() == {"imported": 2}
        exported = await client.get("/api/suppressions.csv")
        assert exported.headers["content-type"].startswith("text/csv")
        assert exported.text == await live.export_suppressions()
        wrong = await client.post("/api/suppressions", content=b"channel,address\n", headers=kind)
        assert (wrong.status_code, len(live.suppressions)) == (422, 2)
        assert (await client.post("/api/suppressions", content=b"\xff", headers=kind)).status_code == 400


async def test_what_a_file_suppresses_is_not_for_operators_to_lift(tmp_path):
    path = tmp_path / "suppressions.csv"
    path.write_text("channel,address,reason\nemail,ann@example.org,bounced\n")
    async with served(suppressions=path) as (client, _):
        (listed,) = (await client.get("/api/suppressions")).json()["suppressions"]
        assert (listed["source"], listed["removable"]) == ("file", False)
        ann = {"channel": "email", "address": "ann@example.org"}
        assert (await client.delete("/api/suppressions", params=ann)).status_code == 409


async def test_templates_are_listed_with_what_is_wrong_and_tried_out(tmp_path):
    (tmp_path / "hello.txt").write_text("Subject: For {name}\n\nHello {name}")
    (tmp_path / "hello.de.html").write_text("<p>Hallo {name}</p>")
    async with served(templates=tmp_path) as (client, _):
        (tmp_path / "bye.txt").write_text("{name")
        files = (await client.post("/api/settings-files/reload")).json()
        listed = (await client.get("/api/templates")).json()
        assert listed["directory"] == files["templates"]
        assert listed["directory"]["problems"][0].startswith(f"{tmp_path}/bye.txt:1: ")
        assert {"name": "hello", "languages": ["de"], "default": True} in listed["templates"]
        preview = "/api/templates/hello/preview"
        answer = await client.post(preview, json={"lang": "de", "variables": {"name": "A & B", "subject": "Hi"}})
        assert answer.json() == {"subject": "Hi", "message": "<p>Hallo A &amp; B</p>", "html": True}
        answer = await client.post(preview, json={})
        assert (answer.status_code, answer.json()) == (422, {"problems": ["template 'hello': 'name' is undefined"]})


@pytest.mark.parametrize(("method", "path", "read"), [("PUT", "preferences/ann", 2), ("POST", "suppressions", 17)])
async def test_a_body_that_is_too_long_is_refused_and_not_read_to_its_end(method, path, read):
    parts = iter([b" " * 2**20] * 100)

    async def receive():
        return {"type": "http.request", "body": next(parts), "more_body": True}

    sent = []

    async def send(message):
        sent.append(message)

    async with served() as (_, live):
        app = Application(routes=routes_of(ENDPOINTS))
        access = Access([TokenConfig(name="otto", role="operator", secret=TOKENS["operator"])])
        app.use(SimpleNamespace(access=access, live_settings=live))
        headers = [(b"authorization", f"Bearer {TOKENS['operator']}".encode())]
        headers.append((b"content-type", b"text/csv"))
        scope = {"type": "http", "method": method, "path": f"/api/{path}", "query_string": b"", "headers": headers}
        await app(scope, receive, send)
    assert sent[0]["status"] == 413
    assert len(list(parts)) == 100 - read


async def test_thousands_of_wrong_keys_are_a_short_answer_after_little_work(monkeypatch):
    looked = 0

    def nearest(*_args, **_settings):
        nonlocal looked
        looked += 1
        return

    monkeypatch.setattr("actors.settings.hints.nearest", nearest)
    async with served() as (client, _):
        for size, status in ((9_000, 422), (20_000, 400)):
            looked = 0
            wrong = {f"k{number}": 1 for number in range(size)}
            for content in (wrong, {"channels": wrong}):
                answer = await client.put(
                    "/api/preferences/ann", json=content, headers={"authorization": f"Bearer {TOKENS['operator']}"}
                )
                assert answer.status_code == status
                assert len(answer.json()["problems"]) <= 101
            assert looked <= 4 * 101
        table = ",".join(f"c{number}" for number in range(100_000))
        headers = {"authorization": f"Bearer {TOKENS['operator']}", "content-type": "text/csv"}
        answer = await client.post("/api/suppressions", content=table.encode(), headers=headers)
        assert answer.json()["problems"] == ["table:1: wanted at most 6 columns, got 100,000"]
