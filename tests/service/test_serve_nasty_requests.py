"""Requests that someone with every right may send by mistake or on purpose: each has an answer that is no 500."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from urllib.parse import quote, urlencode

import pytest
from served import OTTO, email, service
from starlette.requests import Request
from starlette.routing import Mount, Route

from actors.service.http.access import SESSION_COOKIE

TEXTS = (
    "", " ", "0", "-1", "9" * 30, "9" * 5000, "1e999", "nan", "²", "٣", "\0", "a\nb", "\x1b[31m", "\u2028", "a" * 3000,
    "http://[", "[", "//x", "..", "%", "%00", "2026-13-45T99:99", "0001-01-01T00:00:00+14:00", "99999999999d",
    "9999-12-31T23:59:59-14:00", "1e300d", "n-1", "email", "fax", "oldest", "retry", "[" * 500, "{" * 500, "é",
    "\U0001f389", "null",
)  # fmt: skip
NAMES = (
    "limit", "after", "order", "since", "until", "id", "reason", "reason_is", "channel", "recipient", "by", "address",
    "source", "why", "next", "live", "done", "action", "breaker", "token", "form_token", "rate", "edit", "message",
    "metadata", "expires_after", "subject", "lang", "out", "bulk", "page",
)  # fmt: skip
VALUES = (
    None, True, 0, -1, 1e308, 10**30, "", "\0", "a\nb", "x" * 3000, [], {}, [[]], {"a": {"b": [1]}}, "email", "2h",
    "99999999999d", "\U0001f389", {"": ""}, {"\0": "\0"}, ["email"], {"channel": "email"}, {"sms": "off"},
    [{"from": "25:00", "to": "x", "zone": "../etc/passwd"}], "10/s", "1e400/s",
)  # fmt: skip
FIELDS = (
    *NAMES, "notification_id", "user_id", "critical", "addresses", "type", "order_id", "placed_at", "total_amount",
    "filter", "dry_run", "provider", "channels", "quiet_hours", "variables", "why",
)  # fmt: skip


def endpoints(routes, prefix=""):
    for route in routes:
        if isinstance(route, Mount):
            yield from endpoints(route.routes, prefix + route.path)
        elif isinstance(route, Route):
            for method in sorted(route.methods - {"HEAD"}):
                yield method, prefix + route.path


@pytest.mark.parametrize(("store", "seed"), [("memory", 1), ({"sqlite": "store.db"}, 2)])
async def test_no_request_of_an_operator_is_an_error_of_the_service(tmp_path: Path, store, seed: int, caplog):
    random, statuses = Random(seed), Counter()
    (tmp_path / "templates").mkdir()
    async with service(tmp_path, store=store, templates="templates") as served:
        await served.post("/notifications", email(1))
        access = served.server.app.state.service.access
        bearer = {"authorization": f"Bearer {OTTO}"}
        routes = sorted(set(endpoints(served.server.app.routes)))
        assert len(routes) > 40
        for method, path in routes * 6:
            filled = ""
            for part in path.split("/")[1:]:
                filled += "/" + (quote(random.choice(TEXTS), safe="") if part.startswith("{") else part)
            query = urlencode({name: random.choice(TEXTS) for name in random.sample(NAMES, random.randrange(4))})
            headers, content = dict(bearer), b""
            if path.startswith("/console"):
                scope = {"type": "http", "path": "/console", "headers": [], "query_string": b""}
                _, session = access.begin_session(Request(scope), OTTO)
                cookie = f"{SESSION_COOKIE}={session}"
                headers = {"cookie": cookie}
                if method == "POST":
                    in_session = Request(scope | {"headers": [(b"cookie", cookie.encode())]})
                    fields = {name: random.choice(TEXTS) for name in random.sample(NAMES, 8)} | {"id": "n-1"}
                    fields["form_token"] = access.form_token(in_session)
                    if "sign" in path:
                        fields["next"] = random.choice(TEXTS)
                    headers |= {
                        "origin": random.choice(("http://service", "http://[", "null")),
                        "content-type": "application/x-www-form-urlencoded",
                    }
                    if random.random() < 0.8:
                        headers["origin"] = "http://service"
                    content = urlencode(fields).encode()
            elif method in ("POST", "PUT"):
                document = {name: random.choice(VALUES) for name in random.sample(FIELDS, random.randrange(8))}
                if random.random() < 0.3:
                    document |= email(random.choice(("\0", "2", "x" * 3000)))
                content = json.dumps(random.choice((document, document, [document], random.choice(VALUES)))).encode()
                if random.random() < 0.1:
                    headers["content-type"] = "text/csv"
                if random.random() < 0.1:
                    content = random.randbytes(30)
            said = await served.client.request(method, f"{filled}?{query}", headers=headers, content=content)
            statuses[said.status_code] += 1
            assert said.status_code < 500, (method, filled[:200], query[:300], content[:500])
        await served.server.notifier.wait_until_quiet(5)
    assert statuses.keys() >= {200, 303, 404, 422}
    assert not [record for record in caplog.records if record.exc_info]
