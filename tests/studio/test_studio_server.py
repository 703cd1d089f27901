"""Who may use studio, and what of the machine it shows: raw requests, as pages of other sites send them."""

import json
import re
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
from effort import sliced
from hypothesis import given, strategies as st

from actors.errors import ConfigurationError
from simulation.studio import server
from simulation.studio.folder import BYTES_MAX, Folder, Refused, packed, unpacked

SCENARIO = "duration: 10s  # short\nworkload:\n  - {channel: email, arrivals: {constant: 1/s}}\n"


class Answered:
    """A worker pool that knows one answer."""

    def __init__(self, _count):
        self.asked_for = []

    @asynccontextmanager
    async def asked(self, what):
        async def lines():
            yield b'{"type": "begin"}'
            yield b'{"type": "done"}'

        self.asked_for.append(what)
        yield lines()

    def end(self):
        pass


class Client:
    """Sends requests as they are given."""

    def __init__(self, url):
        self.port = int(re.search(r":(\d+)/", url)[1])
        self.token = url.partition("token=")[2]
        self.host = f"127.0.0.1:{self.port}"
        self.cookie = ""

    async def request(self, method, path, body=None, **headers):
        """Return the status, the headers and the body of an answer; a header that is None is not sent."""
        text = b"" if body is None else json.dumps(body).encode()
        given = {"Host": self.host, "Content-Length": str(len(text)), "Connection": "close"}
        given |= {"Cookie": self.cookie} if self.cookie else {}
        given |= {"Origin": f"http://{self.host}"} if method == "POST" else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in given.items() if value is not None]
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + text)
            received = b""
            with trio.fail_after(30):
                while part := await stream.receive_some():
                    received += part
        head, _, rest = received.partition(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        found = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        return int(status.split()[1]), found, rest.decode()

    async def come_in(self):
        status, headers, _ = await self.request("GET", f"/?token={self.token}")
        assert status == 303
        self.cookie = headers["set-cookie"].partition(";")[0]
        return headers


@asynccontextmanager
async def serving(monkeypatch, folder):
    monkeypatch.setattr(server, "Workers", Answered)
    send, receive = trio.open_memory_channel(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, Folder(folder), 0, send.send_nowait)
        with trio.fail_after(30):
            client = Client(await receive.receive())
        yield client
        nursery.cancel_scope.cancel()


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "scenarios"
    (inside / "more").mkdir(parents=True)
    (inside / "one.yaml").write_text(SCENARIO)
    (inside / "more" / "two.yaml").write_text(SCENARIO)
    (inside / "notes.txt").write_text("a secret")
    (tmp_path / "outside.yaml").write_text("secret: yes")
    (inside / "leads-out.yaml").symlink_to(tmp_path / "outside.yaml")
    return inside


PAGES = ["/", "/edit?file=one.yaml", "/static/edit.js", "/static/console.css", "/file?file=one.yaml", "/nowhere"]


async def test_without_the_token_there_is_nothing(monkeypatch, folder):
    async with serving(monkeypatch, folder) as client:
        for path in [*PAGES, "/?token=", "/?token=wrong", f"/?token={client.token[:-1]}"]:
            status, headers, text = await client.request("GET", path)
            assert (status, "set-cookie" in headers, "duration" in text) == (403, False, False)
        for path in ["/check", "/ask", "/save", "/fault", "/complete", "/link"]:
            status, *_ = await client.request("POST", path, {"file": "one.yaml", "text": SCENARIO, "do": "run"})
            assert status == 403
        assert (folder / "one.yaml").read_text() == SCENARIO


async def test_the_token_is_good_once_and_the_cookie_for_every_reload(monkeypatch, folder):
    async with serving(monkeypatch, folder) as client:
        headers = await client.come_in()
        assert headers["location"] == "/"
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(headers["set-cookie"].split("; "))
        assert str(client.port) in client.cookie  # browsers send cookies to every port of a host
        for _ in range(2):
            assert (await client.request("GET", "/edit?file=one.yaml"))[0] == 200
        again = await client.request("GET", f"/edit?file=one.yaml&token={client.token}")
        assert (again[0], again[1]["location"]) == (303, "/edit?file=one.yaml")
        client.cookie = ""
        assert (await client.request("GET", f"/?token={client.token}"))[0] == 403


async def test_a_foreign_host_name_is_refused(monkeypatch, folder):
    async with serving(monkeypatch, folder) as client:
        await client.come_in()
        for host in [
            "evil.example",
            f"evil.example:{client.port}",
            "127.0.0.1",
            "127.0.0.1:1",
            f"localhost.:{client.port}",
        ]:
            for path in PAGES:
                assert (await client.request("GET", path, Host=host))[0] == 421
            assert (await client.request("POST", "/check", {"file": "one.yaml", "text": ""}, Host=host))[0] == 421
        assert (await client.request("GET", "/", Host=f"localhost:{client.port}"))[0] == 200


async def test_pages_of_other_sites_are_refused(monkeypatch, folder):
    async with serving(monkeypatch, folder) as client:
        await client.come_in()
        for headers in [
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": f"https://{client.host}"},
            {"Origin": f"http://127.0.0.1:{client.port + 1}"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
        ]:
            assert (await client.request("GET", "/file?file=one.yaml", **headers))[0] == 403
        body = {"file": "one.yaml", "text": "x", "do": "run"}
        for path in ["/check", "/ask", "/save", "/fault", "/complete", "/link"]:
            for origin in ["http://evil.example", "null", None]:
                assert (await client.request("POST", path, body, Origin=origin))[0] == 403


async def test_a_websocket_is_no_way_around(monkeypatch, folder):
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "eA==",
    }
    async with serving(monkeypatch, folder) as client:
        for path in PAGES:
            headers = {**upgrade, "Connection": "close, Upgrade"}
            assert (await client.request("GET", path, **headers))[0] == 403
            assert (await client.request("GET", path, Origin="http://evil.example", **headers))[0] == 403


async def test_every_answer_forbids_what_is_from_elsewhere(monkeypatch, folder):
    async with serving(monkeypatch, folder) as client:
        refused = await client.request("GET", "/")
        await client.come_in()
        for status, headers, _ in [refused, *[await client.request("GET", path) for path in PAGES]]:
            policy = dict(part.split(maxsplit=1) for part in headers["content-security-policy"].split("; "))
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'", status
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"


OUTSIDE = ["../outside.yaml", "more/../../outside.yaml", "leads-out.yaml", "notes.txt", "", "x\0.yaml", "/etc/passwd"]


async def test_what_is_outside_of_the_folder_is_refused(monkeypatch, folder):
    async with serving(monkeypatch, folder) as client:
        await client.come_in()
        for name in [*OUTSIDE, str(folder.parent / "outside.yaml")]:
            status, _, text = await client.request("GET", f"/file?file={name.replace(chr(0), '%00')}")
            assert (status, "secret" in text) == (400, False), name
            for path, more in [("/check", {}), ("/save", {}), ("/ask", {"do": "run"})]:
                assert (await client.request("POST", path, {"file": name, "text": SCENARIO, **more}))[0] == 400, name
        for path in ["/static/..%2Fserver.py", "/static/../server.py", "/static/server.py", "/static/gallery.html.py"]:
            assert (await client.request("GET", path))[0] == 404
        assert (folder.parent / "outside.yaml").read_text() == "secret: yes"


async def test_what_no_page_sends_is_refused(monkeypatch, folder):
    async with serving(monkeypatch, folder) as client:
        await client.come_in()
        for body in [[], "x", {"text": SCENARIO}, {"file": 1, "text": SCENARIO}, {"file": "one.yaml", "text": None}]:
            assert (await client.request("POST", "/check", body))[0] == 400
        for do in ["exec", "", None, "__init__"]:
            asked = {"file": "one.yaml", "text": SCENARIO, "do": do}
            assert (await client.request("POST", "/ask", asked))[0] == 400
        assert (await client.request("POST", "/fault", {"text": SCENARIO}))[0] == 400
        long = {"file": "one.yaml", "text": "#" * (server.BODY_BYTES_MAX + 1)}
        assert (await client.request("POST", "/check", long))[0] == 400


async def test_only_known_arguments_reach_a_worker(monkeypatch, folder):
    monkeypatch.setattr(server, "Workers", lambda count: pool)
    pool = Answered(1)
    async with serving_with(folder) as client:
        await client.come_in()
        asked = {"file": "one.yaml", "text": SCENARIO, "do": "run", "filename": "/etc/passwd", "replicates": 9}
        status, headers, body = await client.request("POST", "/ask", asked)
        assert (status, headers["content-type"]) == (200, "application/x-ndjson")
        assert [json.loads(line)["type"] for line in re.findall(r"\{.*\}", body)] == ["begin", "done"]
        assert pool.asked_for == [{"do": "run", "text": SCENARIO, "filename": str(folder / "one.yaml")}]


@asynccontextmanager
async def serving_with(folder):
    send, receive = trio.open_memory_channel(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, Folder(folder), 0, send.send_nowait)
        yield Client(await receive.receive())
        nursery.cancel_scope.cancel()


async def test_a_gallery_shows_the_scenarios_and_escapes_what_they_say(monkeypatch, folder):
    (folder / "<b>.yaml").write_text(f"name: <script>alert(1)</script>\n{SCENARIO}")
    (folder / "broken.yaml").write_text("workload: 1")
    (folder / "other.yaml").write_text("a: 1")
    async with serving(monkeypatch, folder) as client:
        await client.come_in()
        _, _, page = await client.request("GET", "/")
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
        assert re.findall(r"/edit\?file=([^\"]+)", page) == ["%3Cb%3E.yaml", "broken.yaml", "one.yaml", "more/two.yaml"]
        assert "cannot be run" in page


async def test_a_single_file_is_all_that_is_listed(monkeypatch, folder):
    async with serving(monkeypatch, folder / "one.yaml") as client:
        await client.come_in()
        status, headers, _ = await client.request("GET", "/")
        assert (status, headers["location"]) == (303, "/edit?file=one.yaml")


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_saved_only_over_what_was_opened(folder):
    files = Folder(folder)
    opened = files.read("one.yaml")
    assert opened["text"] == SCENARIO
    (folder / "one.yaml").chmod(0o600)
    newer = files.write("one.yaml", "duration: 1h\n", opened["version"])
    assert (folder / "one.yaml").read_text() == "duration: 1h\n"
    assert (folder / "one.yaml").stat().st_mode & 0o777 == 0o600
    for version in (opened["version"], None):
        with pytest.raises(Refused, match="Save under another name"):
            files.write("one.yaml", "lost", version)
    files.write("new.yaml", "a: ü\n", None)
    assert files.write("one.yaml", "b: 1\n", newer["version"])["version"] != newer["version"]
    assert (folder / "new.yaml").read_bytes() == "a: ü\n".encode()
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_what_cannot_be_opened_is_said(tmp_path):
    with pytest.raises(ConfigurationError, match="no such file"):
        Folder(tmp_path / "nothing.yaml")


@given(st.text())
def test_a_text_survives_its_way_through_an_address(text):
    code = packed(text)
    assert re.fullmatch(r"[\w-]+", code)
    assert unpacked(code) == text


@pytest.mark.parametrize("code", ["", "x", "ü", packed("a" * 50)[:-4], packed("a" * (BYTES_MAX + 1))])
def test_a_link_that_is_broken_or_too_long_is_refused(code):
    with pytest.raises(Refused, match="link is broken"):
        unpacked(code)


# ── what no page sends ──────────────────────────────────────────────────────────────────────────────────────────────

LAUGHS = "a: &a [1, 1]\n" + "".join(f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in pairwise("abcdefghijkl"))
ODD = [
    ("/complete", {"before": "a: &a\n  b: *a\n  c: ", "after": ""}),
    ("/complete", {"before": LAUGHS, "after": ""}),
    ("/complete", {"before": "? [1, 2]\n: ", "after": ""}),
    ("/complete", {"before": "{" * 90_000, "after": ""}),
    ("/complete", {"before": "a: [" + "1," * 400_000, "after": ""}),
    ("/fault", {"text": "faults: &a\n- *a\n", "number": 0}),
    ("/fault", {"text": "faults: [{a: 1}, {b: 2}]", "number": -5}),
    ("/fault", {"text": "faults: [{a: 1}]", "number": 10**18}),
    ("/fault", {"text": "faults: [{a: 1}]", "number": 10**30}),
    ("/fault", {"text": "faults: 1", "number": True}),
    ("/fault", {"text": "faults: 1", "entry": "\ud800"}),
    ("/fault", {"text": f"faults: [{'1,' * 400_000}]", "number": 3}),
    ("/link", {"text": "\ud800"}),
    ("/link", {"code": "\ud800"}),
    ("/link", {"code": "é"}),
    ("/link", [1]),
    ("/check", {"file": "one.yaml", "text": "\ud800"}),
    ("/check", {"file": "one.yaml", "text": f"a: [{'1,' * 400_000}]"}),
    ("/check", {"file": "x" * 5_000 + ".yaml", "text": SCENARIO}),
    ("/check", {"file": "one.yaml", "text": SCENARIO.replace("10s", "1ns")}),
    ("/save", {"file": "new.yaml", "text": "\ud800"}),
    ("/save", {"file": "new.yaml", "text": SCENARIO, "version": 7}),
    ("/save", {"file": "\ud800.yaml", "text": SCENARIO}),
    ("/save", {"file": "x" * 5_000 + ".yaml", "text": SCENARIO}),
    ("/ask", {"do": "compare", "file": "one.yaml", "text": SCENARIO, "pinned": SCENARIO, "replicates": "2"}),
    ("/ask", {"do": "compare", "file": "one.yaml", "text": SCENARIO}),
    ("/ask", {"do": "notifications", "file": "one.yaml", "text": SCENARIO, "from_s": 1, "to_s": None}),
    ("/ask", {"do": "rank", "file": "one.yaml", "text": SCENARIO, "metric": ["a"]}),
    ("/ask", {"do": ["run"], "file": "one.yaml", "text": SCENARIO}),
    ("/ask", {}),
    ("/link", {"further": [[1]] * 400_000}),
]


@pytest.mark.parametrize("first", sliced(range(4), 4))
async def test_nothing_that_is_sent_is_a_fault_of_the_server(monkeypatch, folder, first):
    faults = []
    async with serving(monkeypatch, folder) as client:
        await client.come_in()
        for number, (path, body) in list(enumerate(ODD))[first::4]:
            status, _, text = await client.request("POST", path, body)
            if status not in (200, 400) or "Traceback" in text:
                faults.append((number, path, status, text[-500:]))
    assert faults == []
    assert not (folder / "new.yaml").exists()


HIDDEN = [".one.yaml", ".git/one.yaml", "more/.two.yaml", "more/../.x.yaml", "../scenarios/x.yaml"]
UNSEEN = ["a\nb.yaml", "a\rb.yaml", "a\x1b[2Jb.yaml", "a\u202eb.yaml", "a\u2028b.yaml", "a\0.yaml"]


@pytest.mark.parametrize("name", [*HIDDEN, *UNSEEN, "linked/new.yaml", "link.yaml", "dangling.yaml", "leads-out.yaml"])
async def test_nothing_is_saved_under_a_hidden_name_one_with_line_feeds_or_through_a_link(name, monkeypatch, folder):
    (folder / ".git").mkdir()
    (folder / "linked").symlink_to(folder / "more")
    (folder / "link.yaml").symlink_to(folder / "one.yaml")
    (folder / "dangling.yaml").symlink_to(folder / "not-there.yaml")
    before = {path: path.read_text() for path in folder.parent.rglob("*") if path.is_file()}
    async with serving(monkeypatch, folder) as client:
        await client.come_in()
        for version in (None, Folder(folder).read("one.yaml")["version"]):
            body = {"file": name, "text": SCENARIO + "# changed", "version": version}
            status, _, text = await client.request("POST", "/save", body)
            assert (status, "wanted" in text or "not in the folder" in text) == (400, True)
    assert {path: path.read_text() for path in folder.parent.rglob("*") if path.is_file()} == before


async def test_a_link_in_the_place_of_the_part_that_is_written_is_not_followed(monkeypatch, folder):
    (folder / "one.yaml.part").symlink_to(folder.parent / "outside.yaml")
    version = Folder(folder).read("one.yaml")["version"]
    Folder(folder).write("one.yaml", "a: 1", version)
    assert (folder / "one.yaml").read_text() == "a: 1"
    assert not (folder / "one.yaml").is_symlink()
    assert (folder.parent / "outside.yaml").read_text() == "secret: yes"


def test_a_gallery_shows_nothing_of_what_links_lead_out_to(folder):
    (folder.parent / "outside.yaml").write_text(f"name: secret\n{SCENARIO}")
    assert [each["name"] for each in Folder(folder).overview()] == ["one.yaml", "more/two.yaml"]


def test_a_hidden_file_that_studio_was_opened_with_is_saved(folder):
    (folder / ".mine.yaml").write_text(SCENARIO)
    mine = Folder(folder / ".mine.yaml")
    mine.write(".mine.yaml", "a: 1", mine.read(".mine.yaml")["version"])
    assert (folder / ".mine.yaml").read_text() == "a: 1"
