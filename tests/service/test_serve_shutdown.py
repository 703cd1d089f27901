"""How a service ends, and what waits at its gates."""

import socket

import httpx2
import trio
from served import PLACED, email, service, write

from actors.outcomes import Sent, Transient
from actors.service.config import load
from actors.service.serve import Server
from actors.service.swappable_pipeline import ProviderGate, RequestGate
from actors.storage.memory import MemoryStore

ONLY_EMAIL = {"email": {"simulated": True}}


async def test_what_ends_within_the_time_is_sent_and_the_rest_is_parked(tmp_path, provider, autojump_clock, caplog):
    async def deliver(attempt):
        number = int(attempt.command.notification_id.removeprefix("n-"))
        return Sent() if attempt.number > number else Transient(reason="busy")

    provider.deliver = deliver
    channels = {"email": {"retry": {"initial_delay": "8s", "max_attempts": 9}, "timeout": "2s"}}
    async with service(tmp_path, transports=ONLY_EMAIL, channels=channels, drain="12s") as served:
        for number in range(3):  # they are sent after 0 s, 8 s and 24 s
            await served.post("/notifications", email(number))
        started = trio.current_time()
        assert "NOTHING GOES OUT on email: simulated" in caplog.messages
        assert await served.server.shut_down() == 1
        assert trio.current_time() - started <= 12
        assert [delivery.attempts for delivery in served.server._store.open_deliveries(0)] == [2]
    assert provider.taken == ["n-0", "n-1"]
    said = "stopped; still in flight and lost with the store in memory: 1"
    assert [message for message in caplog.messages if "in flight" in message] == [said]  # once


async def test_what_is_at_a_provider_at_the_end_may_come_back_and_nothing_else_goes_out(
    tmp_path, provider, autojump_clock
):
    async def deliver(attempt):
        await trio.sleep(3)
        if attempt.command.notification_id == "n-1":
            return Transient(reason="busy")
        return Sent()

    provider.deliver = deliver
    channels = {"email": {"retry": {"initial_delay": "2s", "max_attempts": 9}, "timeout": "4s"}}
    async with service(tmp_path, transports=ONLY_EMAIL, channels=channels, drain="10s") as served:
        await served.post("/notifications", email(1))
        started = trio.current_time()
        assert await served.server.shut_down() == 1
        # Its attempts are from 0 s to 3 s, and from 5 s to 8 s; from 6 s on nothing goes out.
        assert trio.current_time() - started <= 10
        [delivery] = served.server._store.open_deliveries(0)
        assert delivery.attempts == 2
    assert provider.attempts == [("n-1", 1), ("n-1", 2)]


async def test_a_node_without_a_lease_is_not_ready_and_lives(tmp_path, provider, monkeypatch, autojump_clock):
    held = [True]
    monkeypatch.setattr(MemoryStore, "lease_holds", lambda self: held[0])
    async with service(tmp_path) as served:
        answers = []
        for held[0] in (True, False, True):
            codes = [(await served.get(f"/healthz{path}", None)).status_code for path in ("", "/ready", "/live")]
            answers.append(((await served.get("/healthz", None)).json()["status"], codes))
    assert answers == [("ready", [200, 200, 200]), ("without a lease", [503, 503, 200]), ("ready", [200, 200, 200])]


async def test_a_request_that_is_inside_for_too_long_is_sent_away_and_the_next_one_waits(autojump_clock):
    inside, entered = [], trio.Event()

    async def app(scope, receive, send):
        inside.append(scope["path"])
        entered.set()
        if scope["path"] == "/slow":
            await trio.sleep(100)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    gate = RequestGate(app)
    answers = {}

    async def ask(path):
        answers[path] = (await client.get(path)).status_code, trio.current_time() - started

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=gate), base_url="http://service") as client:
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "/slow")
            await entered.wait()
            async with gate.closed(5):
                nursery.start_soon(ask, "/next")
                nursery.start_soon(ask, "/healthz")
                await trio.sleep(1)
    assert answers == {"/slow": (503, 5), "/healthz": (200, 5), "/next": (200, 6)}
    assert inside == ["/slow", "/healthz", "/next"]


async def test_the_gate_to_the_providers_waits_for_those_who_are_there_and_no_longer(autojump_clock):
    gate = ProviderGate()

    async def attempt():
        await trio.sleep(3)
        return Sent()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.passing, attempt, 10.0)
        await trio.sleep(1)
        assert await gate.close(5) == 0
        assert trio.current_time() == 3
        nursery.start_soon(gate.passing, attempt, 10.0)
        await trio.sleep(100)
        assert gate.under_way == 0
        nursery.cancel_scope.cancel()


async def test_every_route_has_its_role_and_an_unknown_one_is_not_there(tmp_path, autojump_clock):
    async with service(tmp_path) as served:
        assert (await served.get("/healthz/live", None)).json() == {"live": True}
        assert (await served.get("/healthz/ready", None)).status_code == 200
        assert (await served.get("/nowhere")).status_code == 404
        assert (await served.get("/events")).status_code == 405
        assert (await served.get("/api/dead-letters", None)).status_code == 401
        assert (await served.get("/api/dead-letters")).status_code == 200
        assert (await served.get("/console", None)).status_code in (303, 307)
        assert (await served.post("/events", PLACED, None)).status_code == 401


async def test_a_service_serves_http_over_a_socket(tmp_path):
    path = write(tmp_path / "service.yaml", listen="[::1]:0" if _has_ipv6() else "127.0.0.1:0")
    async with Server.open(path, load(path)) as server:
        [url] = await server.listen()
        async with httpx2.AsyncClient(base_url=url) as client:
            answer = await client.get("/healthz")
            assert answer.json()["status"] == "ready"
            assert "server" not in answer.headers
        assert await server.shut_down() == 0


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True
