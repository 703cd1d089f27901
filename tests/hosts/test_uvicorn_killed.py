"""FastAPI on uvicorn, killed again and again under load: what it has answered with 202 is delivered."""

import http.client
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from effort import thorough

import actors

APPLICATION = '''
import os
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from fastapi import FastAPI, Request

from actors import Notifier, Provider, SendNotification, Sent, SqliteStore


class Post(Provider):
    """Delivers into a file."""

    def __init__(self):
        self.file = os.open("delivered.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def attempt(self, attempt, now_ns):
        async def deliver():
            await trio.sleep(0.05)
            os.write(self.file, f"{attempt.command.notification_id}\\n".encode())
            return Sent()

        return deliver


@asynccontextmanager
async def lifespan(app):
    async with Notifier.open_asyncio(
        {"channels": {"email": {"circuit_breaker": {"resume_rate_max": 1000}}}, "drain": 60},
        providers=Post, store=lambda: SqliteStore.open("store.db"),
    ) as notifier:
        yield {"notifier": notifier}


app = FastAPI(lifespan=lifespan)


@app.post("/send/{key}", status_code=202)
async def send(key: str, request: Request):
    await request.state.notifier.send(
        SendNotification(notification_id=key, channel="email", recipient="ann@example.org", message="Hello")
    )
'''

CLIENTS = 4


class Clients:
    """Threads that post one after the other, and note what was answered."""

    def __init__(self, port, keys):
        self.acknowledged = []
        self._port = port
        self._keys = keys
        self._threads = [threading.Thread(target=self._post) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self._threads:
            thread.join()

    def _post(self):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            while True:
                key = f"n-{next(self._keys)}"
                connection.request("POST", f"/send/{key}")
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 202
                self.acknowledged.append(key)
        except (OSError, http.client.HTTPException):
            return  # it was killed
        finally:
            connection.close()


def started(directory, port, loop):
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--port", str(port), "--loop", loop, "--log-level", "warning", "killed:app"],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(Path(actors.__file__).parents[1])},
    )
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/openapi.json")
            connection.getresponse().read()
            connection.close()
        except OSError:
            assert server.poll() is None, "it did not start"
            time.sleep(0.05)
        else:
            return server
    server.kill()
    server.wait()
    raise AssertionError("it did not answer")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("kills", "loop"),
    [
        thorough((1, "uvloop")),
        pytest.param(20, "uvloop", marks=pytest.mark.slow),
        pytest.param(20, "asyncio", marks=pytest.mark.slow),
    ],
)
def test_killed_under_load_it_loses_nothing_acknowledged(tmp_path, kills, loop):
    (tmp_path / "killed.py").write_text(APPLICATION)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    keys, acknowledged = itertools.count(), []
    for kill in range(kills):
        server = started(tmp_path, port, loop)
        with Clients(port, keys) as clients:
            while len(clients.acknowledged) < 40 + 7 * (kill % 5) and server.poll() is None:
                time.sleep(0.005)
            server.kill()
            server.wait()
        acknowledged += clients.acknowledged
    assert len(acknowledged) >= 40 * kills
    server = started(tmp_path, port, loop)
    server.terminate()  # and it drains
    server.wait(120)
    delivered = (tmp_path / "delivered.txt").read_text().split()
    assert set(acknowledged) - set(delivered) == set()
    assert len(delivered) - len(set(delivered)) <= kills * CLIENTS * 10, "only what was at the provider is sent again"
    print(f"{kills} kills, {len(acknowledged)} acknowledged, {len(delivered) - len(set(delivered))} sent twice")
