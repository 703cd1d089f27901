"""A trio service as it is, in the world of a scenario: it is written here as anyone would write it."""

import contextlib
import copyreg
import random
import re
import socket
import ssl
import uuid
from collections import Counter
from functools import partial

import httpx
import httpx2
import pytest
import stamina
import tenacity
import trio

import simulation
from actors.errors import ConfigurationError
from simulation.world.escape import Escape, ServiceFailed
from simulation.world.provider import HostAnswer

OUTAGE = """
duration: 10m
seed: 3
workload: [{channel: payments, arrivals: {constant: 1/s}}]
channels:
  payments: {kind: call, provider: {latency: 80ms}}
faults:
  - {channel: payments, at: 2m, for: 3m, outage: true}
world:
  api.example.com: payments
"""


def run(main, text=OUTAGE, **options):
    return simulation.run_service(main, simulation.parse(text), **options)


def fewer(text=OUTAGE, **changes):
    """The same in a minute, with an outage of 20 s."""
    for old, new in {"10m": "60s", "2m": "20s", "3m": "20s", **changes}.items():
        text = text.replace(old, new)
    return text


REFUSED = fewer().replace("com: payments", "com: {channel: payments, outage: refused}") + "drain: 10s\n"


# ── services ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Tenacious:
    """Orders that are charged with httpx2 and tenacity, four attempts each with 2 s between them."""

    def __init__(self, library=httpx2, url="https://api.example.com/charges"):
        self.library, self.url = library, url

    async def __call__(self):
        @tenacity.retry(stop=tenacity.stop_after_attempt(4), wait=tenacity.wait_fixed(2), sleep=trio.sleep)
        async def charge(client, order):
            answer = await client.post(self.url, json={"order": order})
            answer.raise_for_status()

        async def place(client, order):
            with contextlib.suppress(tenacity.RetryError):
                await charge(client, order)

        async with self.library.AsyncClient(timeout=5) as client, trio.open_nursery() as nursery:
            for order in range(60):
                nursery.start_soon(place, client, order)
                await trio.sleep(1)


CONTEXT = ssl.create_default_context()
"""Made once, as that takes long; and before there is a world."""


async def stubborn(arrival):
    @stamina.retry(on=httpx.HTTPError, attempts=3, wait_initial=1.0, wait_jitter=0.0, timeout=None)
    async def order():
        with trio.fail_after(10):
            async with httpx.AsyncClient(verify=CONTEXT) as client:
                (await client.get(f"https://api.example.com/orders/{arrival.number}")).raise_for_status()

    await order()


# ── what the providers see ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("library", "scheme"), [(httpx, "http"), (httpx2, "https")])
def test_attempts_in_an_outage_are_as_many_as_the_decorator_says(library, scheme):
    result = run(Tenacious(library, f"{scheme}://api.example.com/charges"), fewer())
    # Those of 20 s to 32.9 s meet the outage alone: at +0, +2.08, +4.16 and +6.24 s. Orders come each second.
    met = {order: sum(20 <= order + 2.08 * attempt < 40 for attempt in range(4)) for order in range(60)}
    begins = {order: next((k for k in range(4) if not 20 <= order + 2.08 * k < 40), None) for order in range(60)}
    assert Counter(result.traffic.answer) == {
        "503": sum(begin if begin is not None else 4 for begin in begins.values()),
        "200": sum(begin is not None for begin in begins.values()),
    }
    assert result.summary["sent"] == sum(begin is not None for begin in begins.values())
    assert result.summary["dead_lettered"] == sum(met[order] == 4 for order in range(60)) > 0
    assert result.summary["attempts"] == len(result.traffic)
    assert result.findings == []


def test_arrivals_call_a_function_and_their_attempts_are_theirs():
    result = run(stubborn, fewer())
    lost = result.notifications[result.notifications.outcome == "dead_lettered"]
    assert result.errors == {"HTTPStatusError": len(lost)}
    assert len(result.notifications) == 60
    assert set(lost.attempts) == {3}
    assert set(result.traffic.path) == {f"/orders/{number}" for number in range(60)}
    assert list(result.traffic.notification) == [
        f"payments-0-{path.rpartition('/')[2]}" for path in result.traffic.path
    ]
    assert result.summary["retry_amplification"] == pytest.approx(len(result.traffic) / 60)


def test_two_runs_have_one_digest_and_another_seed_another():
    text = OUTAGE.replace("10m", "15s").replace("latency", "failure_rate: 20%, latency")
    first, again, other = (run(stubborn, text, seed=seed) for seed in (3, 3, 4))
    assert first.summary["digest"] == again.summary["digest"] != other.summary["digest"]


OUTAGES = {
    "refused": "ConnectError",
    "unreachable": "ConnectError",
    "reset": "ReadError",
    "closed": "RemoteProtocolError",
    "cut": "RemoteProtocolError",
    "silence": "ReadTimeout",
    "418": "HTTPStatusError",
    "wrong": "JSONDecodeError",
}


def test_an_outage_shows_as_the_scenario_says():
    raised = set()

    async def ask(host):
        try:
            async with httpx2.AsyncClient(timeout=1) as client:
                answer = await client.get(f"https://{host}.example.com/")
                answer.raise_for_status()
                answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raised.add((host, type(error).__name__))

    async def main():
        for begins in (0, 20):
            await trio.sleep_until(10_000 + begins)
            assert not raised
            async with trio.open_nursery() as nursery:
                for word in OUTAGES:
                    nursery.start_soon(ask, f"as-{word}")
        assert raised == {(f"as-{word}", error) for word, error in OUTAGES.items()}

    hosts = "".join(f"\n  as-{word}.example.com: {{channel: payments, outage: {word}}}" for word in OUTAGES)
    result = run(main, fewer() + hosts)
    assert (result.summary["sent"], result.summary["dead_lettered"]) == (len(OUTAGES), len(OUTAGES))


def test_an_outage_that_refuses_resets_connections_that_are_open():
    async def main():
        async with httpx2.AsyncClient(timeout=1) as client:
            await client.get("http://api.example.com/")
            await trio.sleep(19.95)
            with pytest.raises(httpx2.ConnectError):
                await client.get("http://api.example.com/")
            await trio.sleep(20)
            await client.get("http://api.example.com/")

    text = fewer().replace("com: payments", "com: {channel: payments, outage: refused}")
    assert list(run(main, text).traffic.answer) == ["200", "refused", "200"]


def test_hosts_may_be_away_or_have_a_certificate_that_no_one_trusts():
    async def main():
        async with httpx2.AsyncClient(timeout=3) as client:
            for host, error in (("gone", "ConnectError"), ("off", "ConnectError"), ("mute", "ConnectTimeout")):
                with pytest.raises(getattr(httpx2, error)):
                    await client.get(f"https://{host}.example.com/")
        for host, text in (("bad", "unable to get local issuer"), ("old", "certificate has expired")):
            stream = await trio.open_ssl_over_tcp_stream(f"{host}.example.com", 443)
            with pytest.raises(trio.BrokenResourceError) as broken:
                await stream.do_handshake()
            assert text in str(broken.value.__cause__)

    away = "\n  gone.example.com: refused\n  off.example.com: unreachable\n  mute.example.com: silence"
    tls = "".join(
        f"\n  {host}.example.com: {{channel: payments, tls: {word}}}"
        for host, word in (("bad", "untrusted"), ("old", "expired"))
    )
    assert run(main, fewer() + away + tls).traffic.empty


def test_an_answer_of_ones_own_and_a_throttle():
    async def main():
        async with httpx2.AsyncClient() as client:
            assert (await client.post("https://api.example.com/a?b=1", content=b"x")).json() == {"/a?b=1": "x"}
            refused = await client.get("https://api.example.com/")
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")

    text = fewer(latency="throttle: {rate: 1/10s, retry_after: 7s}, latency")
    run(main, text, answers={"api.example.com": lambda request: {request.path: request.body.decode()}})


# ── arrivals over HTTP, and servers ─────────────────────────────────────────────────────────────────────────────────


async def shop():
    async def handle(stream):
        async with stream, httpx2.AsyncClient() as client:
            head = (await stream.receive_some()).decode()
            order = head.partition('"number": ')[2].partition(",")[0]
            answer = await client.post("https://api.example.com/charges", json={"order": order})
            await stream.send_all(b"HTTP/1.1 %d Whatever\r\ncontent-length: 0\r\n\r\n" % answer.status_code)

    await trio.sleep(0.5)
    await trio.serve_tcp(handle, 8080, host="127.0.0.1")


def test_arrivals_may_ask_a_port_of_the_service():
    text = fewer().replace("1/s}", "1/s}, calls: POST http://localhost:8080/orders")
    result = run(shop, text)
    assert result.errors == {"CallFailed": 20}
    assert (result.summary["offered"], result.summary["sent"], result.summary["dead_lettered"]) == (60, 40, 20)
    assert set(result.traffic.notification) == {f"payments-0-{number}" for number in range(60)}


# ── escapes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def to_another_host():
    async with httpx2.AsyncClient() as client:
        await client.get("https://other.example.com/")


async def to_a_database():
    await trio.open_tcp_stream("127.0.0.1", 5432)


async def to_an_address():
    await trio.open_tcp_stream("203.0.113.7", 80)


async def by_datagrams():
    trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


async def swallowed():
    try:
        await trio.open_tcp_stream("other.example.com", 80)
    except BaseException as error:
        print(error)


def test_what_imports_draw_does_not_matter(monkeypatch, tmp_path):
    async def main():
        async with httpx2.AsyncClient() as client:
            await client.post("http://api.example.com/", content=f"{random.random()} {uuid.uuid4()}")

    (tmp_path / "draws.py").write_text("import random\nrandom.random()\n")
    monkeypatch.syspath_prepend(tmp_path)
    with_import = fewer() + "\n  other.example.com: {channel: payments, answer: 'draws:random.random'}"
    digests = {run(main, text, code=True).summary["digest"] for text in (fewer(), with_import)}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("main", "text"),
    [
        (
            to_another_host,
            r"test_run_service.py:\d+: the world has no host 'other.example.com' \(it has: api.example.com",
        ),
        (to_a_database, r"test_run_service.py:\d+: nothing of the service listens at 127.0.0.1:5432"),
        (to_an_address, r"test_run_service.py:\d+: the world has no host '203.0.113.7'"),
        (by_datagrams, r"test_run_service.py:\d+: a world has no sockets of AF_INET, SOCK_DGRAM"),
        (swallowed, r"test_run_service.py:\d+: the world has no host 'other.example.com'"),
    ],
)
def test_what_the_world_lacks_is_refused_by_file_and_line(main, text):
    with pytest.raises(Escape, match=text):
        run(main, fewer())


def test_a_wait_without_any_deadline_is_a_finding():
    async def main():
        async with httpx2.AsyncClient(timeout=None) as client:
            await client.get("https://api.example.com/")

    text = fewer().replace("at: 20s, for: 20s, outage: true", "at: 0s, hang: true") + "drain: 30s\n"
    result = run(main, text)
    (finding,) = result.findings
    assert "test_run_service.py" in finding
    assert finding.endswith("main a task waits for api.example.com without any deadline")
    assert result.summary["simulated_s"] == 90


async def charges(order):
    return {}[order]


async def in_nurseries():
    async with trio.open_nursery(), trio.open_nursery() as nursery:
        await trio.sleep(1.5)
        for order in ("a", "b"):
            nursery.start_soon(charges, order)


async def in_a_library():
    async with httpx2.AsyncClient() as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "https://gone.example.com/")


@pytest.mark.parametrize(
    ("main", "said"),
    [
        (partial(charges, "a"), r"PLACE: 0 s into the run, charges raised KeyError: 'a'"),
        (in_nurseries, r"PLACE: 1.5 s into the run, charges raised KeyError: '[ab]', and 1 other.* at PLACE, in .*"),
        (in_a_library, r"PLACE: 0.08 s into the run, in_a_library raised ConnectError: .*, from ConnectError: .*"),
        (lambda: None, r".*<lambda>: wanted an async function, got one that returned None"),
    ],
)  # fmt: skip
def test_a_service_that_raises_fails_the_run_in_a_sentence_with_its_own_lines(main, said):
    with pytest.raises((ServiceFailed, ConfigurationError)) as failed:
        run(main, OUTAGE.replace("at: 2m, ", "") + "  gone.example.com: {channel: payments, outage: refused}\n")
    assert re.fullmatch(said.replace("PLACE", r"\S*test_run_service.py:\d+"), str(failed.value), re.DOTALL)


def test_code_that_the_file_names_is_imported_only_when_asked_for():
    text = OUTAGE.replace("1/s}", "1/s}, calls: 'no_such_module:order'")
    with pytest.raises(
        ConfigurationError, match=r"scenario.yaml:4:66: workload.0.calls: no_such_module:order is code, "
    ):
        run(shop, text)
    with pytest.raises(ConfigurationError, match="no_such_module:order: wanted a function"):
        run(shop, text, code=True)


async def test_it_is_called_outside_of_trio():
    with pytest.raises(ValueError, match="wanted a caller outside of trio"):
        run(shop)


def test_an_error_in_a_group_that_was_never_raised_is_the_error_of_its_call():
    async def order(_):
        raise ExceptionGroup("both", [RuntimeError("given up")])

    result = run(order, fewer())
    assert (result.errors, result.bugs) == ({"RuntimeError": 60}, {})


def test_a_host_closes_a_connection_where_its_answer_says_so_in_capitals_too():
    async def order(_):
        async with await trio.open_tcp_stream("api.example.com", 80) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
            assert b"".join([part async for part in stream])  # until it is closed

    result = run(order, fewer(), answers={"api.example.com": lambda _: HostAnswer(headers=(("Connection", "Close"),))})
    assert len(result.calls) == 40  # all but those in the outage, whose answers say nothing of it


def test_an_answer_function_that_fails_fails_the_run_by_its_own_name():
    def broken(request):
        raise LookupError(request.path)

    async def main():
        async with httpx2.AsyncClient() as client:
            await client.get("http://api.example.com/orders")

    with pytest.raises(ServiceFailed, match=r":\d+: \S+ s into the run, broken raised LookupError: /orders$"):
        run(main, answers={"api.example.com": broken})
    with pytest.raises(ConfigurationError, match=r"answer: wanted a HostAnswer, a mapping, text or bytes of .* got 17"):
        run(main, answers={"api.example.com": lambda _: 17})


def test_an_error_is_handed_on_where_a_library_has_errors_pickled_with_their_tracebacks(monkeypatch):
    support = pytest.importorskip("tblib.pickling_support")  # distributed, of Dask, does this for every error
    monkeypatch.setitem(copyreg.dispatch_table, ConfigurationError, ConfigurationError.__reduce__)
    support.install(ConfigurationError)

    async def main():
        async with httpx2.AsyncClient() as client:
            await client.get("http://api.example.com/orders")

    with pytest.raises(ConfigurationError, match=r"answer: wanted a HostAnswer"):
        run(main, answers={"api.example.com": lambda _: 17})


def test_so_does_one_of_a_host_that_takes_mails():
    def broken(request):
        raise LookupError(request.method)

    async def main():
        stream = await trio.open_tcp_stream("mail.example.com", 25)
        for line in (
            "EHLO here",
            "MAIL FROM:<a@b.example>",
            "RCPT TO:<c@b.example>",
            "DATA",
            "Subject: x\r\n\r\ny\r\n.",
        ):
            await stream.receive_some()
            await stream.send_all(f"{line}\r\n".encode())
        await stream.receive_some()

    with pytest.raises(ServiceFailed, match=r":\d+: \S+ s into the run, broken raised LookupError: MAIL$"):
        run(main, OUTAGE.replace("api.example.com", "mail.example.com"), answers={"mail.example.com": broken})


def test_requests_of_a_pool_of_workers_are_their_arrivals():
    class Shop:
        async def main(self):
            self.queue, orders = trio.open_memory_channel(10)
            async with httpx2.AsyncClient(timeout=1) as client, trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(self.work, client, orders.clone())

        async def work(self, client, orders):
            async for _ in orders:
                with contextlib.suppress(httpx2.ConnectError):
                    await client.get("https://api.example.com/")

        async def order(self, arrival):
            await self.queue.send(object())

    shop = Shop()
    result = run(shop.main, REFUSED, calls=shop.order)
    assert sorted(result.traffic.notification) == sorted(f"payments-0-{number}" for number in range(60))
    assert Counter(result.traffic.answer) == {"200": 40, "refused": 20}
    lost = result.notifications[result.notifications.outcome == "dead_lettered"]
    assert len(lost) == 20
    assert set(lost.finished_at_s) < set(result.traffic.ended_s), "each was dropped when it failed, not at the end"
    assert result.summary["faults"]["0"]["backlog_cleared_s"] == 0


async def again(client, path, attempts):
    for _ in range(attempts):
        with contextlib.suppress(httpx2.ConnectError):
            return await client.get(f"https://api.example.com/{path}")
        await trio.sleep(1)
    raise RuntimeError(path)


def test_requests_of_the_background_are_no_notifications():
    class Shop:
        async def main(self):
            async with httpx2.AsyncClient(timeout=1) as self.client:
                while True:
                    with contextlib.suppress(RuntimeError):
                        await again(self.client, "news", 1)
                    await trio.sleep(2.5)

        async def order(self, arrival):
            await again(self.client, arrival.id, 3)

    shop = Shop()
    result = run(shop.main, REFUSED, calls=shop.order)
    beside = result.traffic[result.traffic.notification.str.startswith("background")]
    counted = Counter(zip(beside.method, beside.path, beside.answer, strict=True))
    assert set(counted) == {("GET", "/news", "200"), ("CONNECT", "", "refused")}
    assert counted["GET", "/news", "200"] > counted["CONNECT", "", "refused"] > 3
    assert result.summary["offered"] == len(result.notifications) == 60
    assert result.summary["attempts"] == len(result.traffic) - len(beside)
    assert result.summary["in_flight"] == 0
    assert any(line.startswith("requests of no arrival: ") for line in result.lines)
    seen = Counter(int(at) for at in result.traffic.at_s)
    assert result.summary["peaks"]["requests_per_s"] == max(seen.values())


def test_a_refused_connection_is_an_attempt_of_the_request_that_its_task_makes():
    async def main():
        async with httpx2.AsyncClient(timeout=1) as client, trio.open_nursery() as nursery:
            for order in range(60):
                nursery.start_soon(again, client, order, 30)
                await trio.sleep(1)

    result = run(main, REFUSED)
    assert (result.summary["offered"], result.summary["sent"], result.summary["dead_lettered"]) == (60, 60, 0)
    assert result.summary["attempts"] == len(result.traffic) > 200
