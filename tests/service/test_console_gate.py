"""Which users get into the console, and what is kept out."""

import pytest
from console_kit import ANN, HOST, OTTO, SHOP, Browser, Page, app_of, notification, running, signed_in
from starlette.exceptions import HTTPException
from starlette.requests import Request

from actors.service.console.gate import FORM_BYTES_MAX, read_form
from actors.service.http.access import SESSION_COOKIE
from actors.service.http.guesses import GUESSES_MAX
from actors.settings.faults import FaultConfig

PAGES = ["/console", "/console/dead-letters", "/console/dead-letters/notification?id=n-1", "/console/bulks",
    "/console/breakers", "/console/audit"]  # fmt: skip
FOR_OPERATORS = ["/console/dead-letters/edit?id=n-1", "/console/bulks/new?action=retry"]
ACTIONS = ["/console/dead-letters/retry", "/console/dead-letters/discard", "/console/dead-letters/edit",
    "/console/bulks", "/console/bulks/cancel", "/console/breakers"]  # fmt: skip
DEAD = [notification(1, "nobody@example.com")]


async def test_who_signs_in_comes_to_the_page_they_wanted(autojump_clock):
    async with running(DEAD) as service:
        browser = Browser(app_of(service))
        for path in PAGES + FOR_OPERATORS:
            asked = await browser.get(path)
            assert (asked.path, asked.status) == ("/console/sign-in", 200)
            assert "n-1" not in asked.response.text.replace("id%3Dn-1", "").replace("id=n-1", "")
        fields = (await browser.get("/console/dead-letters", channel="email")).form("/console/sign-in")
        page = await browser.post("/console/sign-in", fields | {"token": f" {ANN} "})
        assert page.path == "/console/dead-letters"
        assert page.response.url.params["channel"] == "email"
        assert page.text(".who .small") == "ann (reader)"


@pytest.mark.parametrize(
    ("token", "why"), [("nobody-0123456789abcdef", "No one has this token."), ("", "No one has"), (SHOP, "may ingest")]
)
async def test_who_may_see_nothing_is_told_so_and_gets_no_session(autojump_clock, token, why):
    async with running() as service:
        browser = Browser(app_of(service))
        page = await browser.sign_in(token)
        assert page.status == 403
        assert why in page.text(".problem")
        assert SESSION_COOKIE not in browser.client.cookies
        assert token not in page.response.text or not token


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example/console/",
        "/console\\evil.example",
        "/console/\r\nSet-Cookie: a=b",
        "/metrics",
        "/consoles",
        "/console/sign-in",
    ],
)
async def test_no_one_is_sent_away_from_the_console(autojump_clock, wanted):
    async with running() as service:
        browser = Browser(app_of(service))
        page = await browser.post("/console/sign-in", {"token": OTTO, "next": wanted})
        assert (page.response.url.host, page.path) == (HOST, "/console")


@pytest.mark.parametrize(("scheme", "is_secure"), [("http", False), ("https", True)])
async def test_the_cookie_is_for_this_site_and_no_script(autojump_clock, scheme, is_secure):
    async with running() as service:
        page = await Browser(app_of(service), scheme).sign_in(OTTO)
        [answer] = page.response.history
        cookie = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
        assert {"httponly", "samesite=strict", "path=/console"} <= cookie
        assert ("secure" in cookie) is is_secure
        assert not any(part.startswith("domain") for part in cookie)


async def test_who_has_signed_out_is_out(autojump_clock):
    async with signed_in(DEAD) as (_, browser):
        page = await browser.send(await browser.get("/console"), "/console/sign-out")
        assert page.text("[role=status]") == "You are signed out."
        assert (await browser.get("/console/dead-letters")).path == "/console/sign-in"


async def test_a_copy_of_a_cookie_ends_with_its_session_and_so_does_the_one_before_a_sign_in(autojump_clock):
    async with signed_in(DEAD) as (service, browser):

        async def sees(session):
            thief = Browser(app_of(service))
            thief.client.cookies.set(SESSION_COOKIE, session)
            return (await thief.get("/console/dead-letters")).path == "/console/dead-letters"

        other = Browser(app_of(service))
        await other.sign_in(ANN)
        first = browser.client.cookies[SESSION_COOKIE]
        assert await sees(first)
        await browser.sign_in(ANN)  # with the first cookie
        second = browser.client.cookies[SESSION_COOKIE]
        assert [await sees(first), await sees(second)] == [False, True]
        await browser.send(await browser.get("/console"), "/console/sign-out")
        assert not await sees(second)
        assert await sees(other.client.cookies[SESSION_COOKIE])


async def test_guesses_at_the_sign_in_are_limited(autojump_clock):
    async with signed_in() as (service, browser):
        stranger = Browser(app_of(service))
        answers = [await stranger.sign_in(f"guess-{number:012}") for number in range(GUESSES_MAX + 2)]
        assert [page.status for page in answers] == [403] * GUESSES_MAX + [429] * 2
        assert "too many unknown tokens" in answers[-1].text()
        assert int(answers[-1].response.headers["retry-after"]) >= 1
        assert (await stranger.sign_in(ANN)).status == 429
        assert (await browser.get("/console")).path == "/console"  # who is in stays in
        assert (await browser.sign_in(OTTO)).status == 200  # and comes in again from where they were before


async def test_a_strangers_form_is_small_and_read_only_when_all_else_is_right(autojump_clock):
    async with running() as service:
        kind = "application/x-www-form-urlencoded"

        async def status(path, **headers):
            headers = {
                "host": HOST,
                "content-type": kind,
                **{name.replace("_", "-"): it for name, it in headers.items()},
            }
            scope = {
                "type": "http", "method": "POST", "path": path, "query_string": b"", "root_path": "", "scheme": "http",
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }  # fmt: skip
            statuses, read = [], []

            async def receive():
                read.append(1)
                return {"type": "http.request", "body": b"x" * 9_000, "more_body": True}

            async def send(message):
                statuses.extend([message["status"]] if "status" in message else [])

            await app_of(service)(scope, receive, send)
            return statuses[0], len(read)

        here = f"http://{HOST}"
        assert await status("/console/sign-in", origin="http://evil.example", content_length="9") == (403, 0)
        assert await status("/console/sign-in", origin=here, content_length="16385") == (413, 0)
        assert await status("/console/sign-in", origin=here, content_type="text/plain") == (415, 0)
        assert await status("/console/sign-in", origin=here) == (413, 2)
        assert await status("/console/sign-out", origin=here, content_length="9") == (403, 0)
        for path in ACTIONS:
            assert await status(path, origin=here, content_length="9") == (401, 0)


async def test_a_host_is_no_part_of_a_path(autojump_clock):
    async with signed_in() as (service, browser):
        session = browser.client.cookies[SESSION_COOKIE]
        for host in ("[", f"{HOST}/console?", "a b"):
            headers = [(b"host", host.encode()), (b"cookie", f"{SESSION_COOKIE}={session}".encode())]
            scope = {"type": "http", "method": "GET", "query_string": b"", "headers": headers, "scheme": "http"}
            assert service.access.who(Request(scope | {"path": "/api/audit"})) is None
            assert service.access.who(Request(scope | {"path": "/console/audit"})).name == "otto"


async def test_every_answer_forbids_scripts_frames_and_copies(autojump_clock):
    async with signed_in(DEAD) as (_, browser):
        pages = [await browser.get(path) for path in [*PAGES, *FOR_OPERATORS, "/console/nothing-here"]]
        pages.append(await browser.post(ACTIONS[0], {}))
        for page in pages:
            headers = page.response.headers
            policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
            assert (policy["default-src"], policy["frame-ancestors"]) == ("'none'", "'none'")
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert not page.html.css("script, style, [style], [onclick]")
            links = [node.attributes.get("href") or node.attributes.get("src") for node in page.html.css("link, img")]
            assert all(link.startswith("/console/") for link in links)


async def test_a_reader_sees_all_and_changes_nothing(autojump_clock):
    async with signed_in(DEAD, token=ANN) as (service, browser):
        for path in PAGES:
            page = await browser.get(path)
            assert page.status == 200
            assert page.actions == set()
        for path in FOR_OPERATORS:
            assert (await browser.get(path)).status == 403
        token = (await browser.get("/console")).form("/console/sign-out")
        for path in ACTIONS:
            refused = await browser.post(path, token | {"id": "n-1", "why": "because", "action": "retry"})
            assert refused.status == 403
            assert "needs the role operator" in refused.text()
        assert [letter.notification_id for letter in service.notifier.dead_letter_queue] == ["n-1"]


async def refused(browser, service, fields, headers=None):
    page = await browser.post("/console/dead-letters/discard", {"id": "n-1", "why": "because"} | fields, headers)
    assert page.status == 403
    assert len(service.notifier.dead_letter_queue) == 1
    return page


async def test_a_form_without_its_token_or_with_that_of_another_session_does_nothing(autojump_clock):
    async with signed_in(DEAD) as (service, browser):
        other = Browser(app_of(service))
        await other.sign_in(OTTO)
        for fields in ({}, {"form_token": ""}, (await other.get("/console")).form("/console/sign-out")):
            assert "another session" in (await refused(browser, service, fields)).text()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "null", "host": ""},
        {"origin": "http://["},
        {},
        {"origin": f"http://{HOST}", "sec-fetch-site": "cross-site"},
        {"origin": f"http://{HOST}", "sec-fetch-site": "same-site"},
        {"origin": f"http://{HOST}:8080"},
    ],
)
async def test_a_form_from_elsewhere_does_nothing(autojump_clock, headers):
    async with signed_in(DEAD) as (service, browser):
        fields = (await browser.get("/console")).form("/console/sign-out")
        await refused(browser, service, fields, headers)
        sign_in = await browser.post("/console/sign-in", {"token": OTTO}, headers)
        assert sign_in.status == 403


async def test_a_form_counts_behind_a_proxy_that_changes_the_host_where_the_browser_says_it_is_of_this_site(
    autojump_clock,
):
    async with signed_in(DEAD) as (service, browser):
        fields = (await browser.get("/console/dead-letters/notification", id="n-1")).form(
            "/console/dead-letters/discard"
        )
        headers = {"origin": "https://console.example", "sec-fetch-site": "same-origin"}
        page = await browser.post("/console/dead-letters/discard", fields | {"why": "sold out"}, headers)
        assert page.status == 200
        assert service.notifier.dead_letter_queue == []


async def test_a_token_in_a_header_sends_no_form(autojump_clock):
    async with running(DEAD) as service:
        browser = Browser(app_of(service))
        headers = {"origin": f"http://{HOST}", "authorization": f"Bearer {OTTO}"}
        await refused(browser, service, {}, headers)
        assert (await browser.post("/console/breakers", {})).status == 401


async def test_what_is_no_form_is_refused(autojump_clock):
    async with signed_in(DEAD) as (_, browser):
        path, origin = "/console/dead-letters/retry", {"origin": f"http://{HOST}"}
        kind = {"content-type": "application/x-www-form-urlencoded"}
        for content, headers, status in [
            (b'{"id": "n-1"}', {"content-type": "application/json"}, 415),
            (b"&".join(b"a=1" for _ in range(1000)), kind, 400),
            (b"why=%ff", kind, 400),
            (b"why=\xff", kind, 400),
        ]:
            answer = await browser.client.post(path, content=content, headers=origin | headers)
            assert Page(answer).status == status


async def test_a_form_is_read_no_further_than_it_may_be_long():
    received = 0

    async def receive():
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b"x" * 10_000, "more_body": True}

    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    with pytest.raises(HTTPException) as refused:
        await read_form(Request({"type": "http", "headers": headers}, receive))
    assert refused.value.status_code == 413
    assert received * 10_000 < FORM_BYTES_MAX + 20_000


async def test_faults_that_are_on_are_seen_on_every_page(autojump_clock):
    faults = (
        FaultConfig(channel=["email", "sms"], outage=True, **{"for": 180}),
        FaultConfig(channel="sms", at=60, failure_rate=0.3, latency_factor=10),
    )
    async with signed_in(DEAD, faults=faults) as (_, browser):
        for path in PAGES:
            page = await browser.get(path)
            assert "FAULTS ARE BEING INJECTED" in page.text(".faults")
            assert page.texts(".faults li") == [
                "email, sms: outage, for 3 min",
                "sms: failure rate 30%, latency factor 10, from 1 min after it was set",
            ]
    async with signed_in(DEAD) as (_, browser):
        assert (await browser.get("/console")).texts(".faults") == []
