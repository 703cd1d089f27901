"""One request over HTTP: what went out for sure, what perhaps did, and how long an answer asks to wait."""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
import trio
from each_row import over_each
from http_servers import DROP, HANG, Reply, http_server
from hypothesis import given, strategies as st
from tls_certificate import Tls

from actors.outcomes import Ambiguous, ChannelFault, Outcome, Permanent, Transient
from actors.settings.transports import HttpSettings
from actors.transports import http_exchange
from actors.transports.http_exchange import (
    BODY_SIZE_MAX,
    Failed,
    HttpExchange,
    NoConnectionFree,
    header_value,
    retry_after,
)

NOW = 1_800_000_000.0


async def failure(exchange: HttpExchange, url: str) -> Outcome:
    """Return the outcome of a request that gets no answer."""
    try:
        with pytest.raises(Failed) as caught:
            await exchange.post(url, {}, b"hello")
    finally:
        await exchange.aclose()
    return caught.value.outcome


def exchange_of(**settings: Any) -> HttpExchange:
    return HttpExchange(HttpSettings(**settings), lambda: NOW)


async def test_an_answer():
    async with http_server([Reply(404, {"code": 7}, {"Retry-After": "8"})]) as server:
        exchange = exchange_of()
        answer = await exchange.post(f"{server.url}/a%20b?c=d", {"x-key": "k"}, b"hello")
        await exchange.aclose()
    assert (answer.status, answer.json, answer.text, answer.retry_after, answer.at) == (
        404, {"code": 7}, '404 {"code": 7}', 8.0, NOW,
    )  # fmt: skip
    (request,) = server.requests
    assert (request.target, request.body, request.headers["x-key"]) == ("/a%20b?c=d", b"hello", "k")
    assert request.headers["user-agent"] == "retrylab"


async def test_a_connection_is_used_again_and_a_redirect_is_not_followed():
    async with http_server([Reply(302, b"", {"location": "/elsewhere", "set-cookie": "a=b"})]) as server:
        exchange = exchange_of()
        for _ in range(3):
            assert (await exchange.post(server.url, {}, b"")).status == 302
        await exchange.aclose()
    assert (server.connections, len(server.requests)) == (1, 3)
    assert not any("cookie" in request.headers for request in server.requests)


async def test_an_answer_is_read_up_to_a_bound():
    async with http_server([Reply(200, b"x" * (5 * BODY_SIZE_MAX))]) as server:
        exchange = exchange_of()
        answer = await exchange.post(server.url, {}, b"")
        await exchange.aclose()
    assert answer.body == b"x" * BODY_SIZE_MAX
    assert len(answer.text) == 1_000
    assert answer.json == {}


async def test_no_one_listens():
    async with http_server([Reply(200)]) as server:
        pass
    assert (await failure(exchange_of(), server.url)).reason == "no connection"


async def test_no_connection_in_time():
    # Its handshake never ends: the server waits for one, too.
    async with http_server([Reply(200)]) as server:
        outcome = await failure(exchange_of(connect_timeout=0.05), server.url.replace("http:", "https:"))
    assert (type(outcome), outcome.reason, outcome.connection) == (Transient, "no connection", True)


async def test_no_free_connection_in_time():
    async with http_server([HANG]) as server, trio.open_nursery() as nursery:
        exchange = exchange_of(connections=1, connect_timeout=0.1)
        nursery.start_soon(exchange.post, server.url, {}, b"")
        await server.hangs.wait()
        with pytest.raises(NoConnectionFree):
            await exchange.post(server.url, {}, b"")
        assert len(server.requests) <= 1
        nursery.cancel_scope.cancel()
    await exchange.aclose()


async def test_after_a_cancelled_request_there_is_a_connection_again():
    async with http_server([HANG, Reply(200)]) as server:
        exchange = exchange_of(connections=1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.post, server.url, {}, b"")
            await server.hangs.wait()
            nursery.cancel_scope.cancel()
        assert (await exchange.post(server.url, {}, b"")).status == 200
        await exchange.aclose()
    assert server.connections == 2


async def test_lost_before_the_answer():
    async with http_server([DROP]) as server:
        outcome = await failure(exchange_of(), server.url)
    assert (type(outcome), outcome.reason) == (Ambiguous, "connection lost before the answer")


@pytest.mark.parametrize("how", ["cut_off", "endless"])
async def test_what_an_answer_says_before_its_body_counts_where_that_does_not_end(how, monkeypatch):
    monkeypatch.setattr(http_exchange, "BODY_PATIENCE", 0.05)
    async with http_server([Reply(200, b"half of it", **{how: True})]) as server:
        exchange = exchange_of()
        answer = await exchange.post(server.url, {}, b"")
        assert (answer.status, answer.body, answer.cut_off) == (200, b"half ", True)
        server.script = [Reply(200, b"all of it")]
        assert (await exchange.post(server.url, {}, b"")).body == b"all of it"
        await exchange.aclose()
    for status in (302, 429, 500, 503):
        async with http_server([Reply(status, b"half of it", {"retry-after": "8"}, **{how: True})]) as server:
            exchange = exchange_of()
            answer = await exchange.post(server.url, {}, b"")
            assert (answer.status, answer.body, answer.cut_off, answer.retry_after) == (status, b"half ", True, 8.0)
            await exchange.aclose()


@pytest.mark.parametrize("how", ["cut_off", "endless"])
async def test_an_error_that_only_its_body_explains_is_no_answer_without_it(how, monkeypatch):
    monkeypatch.setattr(http_exchange, "BODY_PATIENCE", 0.05)
    async with http_server([Reply(404, b"half of it", {"retry-after": "8"}, **{how: True})]) as server:
        outcome = await failure(exchange_of(), server.url)
        assert isinstance(outcome, Transient)
        assert (outcome.reason, outcome.retry_after) == ("answer cut off", 8.0)
        exchange = HttpExchange(HttpSettings(), lambda: NOW, errors_in_body=False)
        assert (await exchange.post(server.url, {}, b"")).status == 404
        await exchange.aclose()


async def test_the_end_of_a_body_is_not_waited_for_until_the_time_limit_is_up():
    async with http_server([Reply(200, b"half of it", endless=True)]) as server:
        exchange = exchange_of()
        with trio.fail_after(0.9 * http_exchange.BODY_PATIENCE):
            answer = await exchange.post(server.url, {}, b"")
        assert (answer.status, answer.cut_off) == (200, True)
        await exchange.aclose()


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_certificate_that_does_not_verify(tls: Tls, is_ours):
    async with http_server([Reply(200)], tls=tls.server) as server:
        exchange = HttpExchange(HttpSettings(), lambda: NOW, is_ours=is_ours)
        outcome = await failure(exchange, server.url)
        assert type(outcome) is (ChannelFault if is_ours else Transient)
        assert outcome.reason == "certificate of the server does not verify"
        exchange = HttpExchange(HttpSettings(ca_file=tls.ca_file), lambda: NOW)
        assert (await exchange.post(server.url, {}, b"")).status == 200
        await exchange.aclose()


@pytest.mark.parametrize("url", ["no url", "ftp://example.com", "http://", "http://[::1", "http://a\nb/", "//x"])
async def test_what_is_no_url(url):
    outcome = await failure(exchange_of(), url)
    assert (type(outcome), outcome.reason) == (Permanent, "not a URL")


async def test_what_is_no_header():
    async with http_server([Reply(200)]) as server:
        with pytest.raises(Failed) as caught:
            await exchange_of().post(server.url, {"x-key": "a\r\nb"}, b"")
        assert server.requests == []
    assert (type(caught.value.outcome), caught.value.outcome.reason) == (Permanent, "no request that could be sent")


@pytest.mark.parametrize(
    "answer", [b"what?\r\n\r\n", b"HTTP/1.1 101 x\r\nupgrade: x\r\n\r\n", b"HTTP/1.1 200 x\r\nx: " + b"y" * 200_000]
)
async def test_an_answer_that_is_none(answer):
    async with http_server(lambda _: answer) as server:
        outcome = await failure(exchange_of(), server.url)
    assert (type(outcome), outcome.reason) == (Ambiguous, "connection lost before the answer")


# ── Retry-After ─────────────────────────────────────────────────────────────────────────────────────────────────


def http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


@over_each(
    [
        (None, None, None),
        ("120", None, 120.0),
        (" 120 ", None, 120.0),
        ("0", None, 0.0),
        ("9" * 400, None, 36525 * 86400.0),
        ("-5", None, None),
        ("1.5", None, None),
        ("٣", None, None),
        ("soon", None, None),
        ("", None, None),
        (http_date(NOW + 90), None, 90.0),
        (http_date(NOW - 90), None, 0.0),
        (http_date(NOW + 90), http_date(NOW + 30), 60.0),  # its clock is ahead of ours
        (http_date(NOW + 90), "yesterday", 90.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", http_date(784111717.0), 60.0),
        ("Sun Nov  6 08:49:37 1994", http_date(784111717.0), 60.0),
    ]
)
def test_how_long_to_wait(value, date, wanted):
    assert retry_after(value, date, NOW) == wanted


@given(st.text(max_size=40), st.none() | st.text(max_size=40))
def test_any_header_is_seconds_or_nothing(value, date):
    seconds = retry_after(value, date, NOW)
    assert seconds is None or 0 <= seconds <= 36525 * 86400


@given(st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=20))
def test_ids_as_headers_are_visible_ascii_and_as_different_as_the_ids(one, other):
    assert (header_value(one) == header_value(other)) is (one == other)
    assert all(33 <= ord(character) <= 126 for character in header_value(one))


def test_an_ordinary_id_stays_as_it_is():
    assert header_value("email-order-placed-17/sms") == "email-order-placed-17/sms"
