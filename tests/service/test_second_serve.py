"""A second `retrylab serve` of the same name: it leaves a living one alone, replaces it when told to, and takes over
from one that was killed."""

from __future__ import annotations

import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import in_process
import pytest
from effort import thorough
from postgres_server import NoServer, Server, running_server
from serve_processes import Process, hook, process, receiver, settings, until
from served import OTTO, write

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    try:
        with running_server() as server:
            yield server
    except NoServer as error:
        pytest.skip(f"no PostgreSQL here: {error}")


@pytest.fixture(params=["sqlite", thorough("postgres")])
def store(request) -> dict[str, Any]:
    if request.param == "sqlite":
        return {"sqlite": "store.db"}
    return {"postgres": request.getfixturevalue("server").new_database(), "node": "shop", "lease": "1h"}


def ended(config: Path, *options: str) -> tuple[int, str]:
    done = in_process.retrylab("serve", config, *options, cwd=config.parent)
    return done.returncode, done.stderr.splitlines()[-1]


def test_point_8_a_second_serve_leaves_a_living_one_alone_and_says_who_that_is(store, tmp_path):
    with receiver() as hooks:
        config = write(tmp_path / "service.yaml", **settings(hooks, store=store))
        with process(config) as first:
            code, said = ended(config)
            assert code == 2
            assert f"process {first.popen.pid}" in said
            assert "since 20" in said
            assert first.ask("POST", "/notifications", hook(1, hooks))[0] == 202
            taken = write(tmp_path / "taken.yaml", **settings(hooks, store=store, listen=f"127.0.0.1:{first.port}"))
            code, said = ended(taken)
            if "sqlite" in store:
                assert code == 2
                assert f"process {first.popen.pid}" in said
                assert said.endswith(f"; listen: 127.0.0.1:{first.port}: Address already in use")
            else:
                assert (code, said) == (1, f"{taken}: listen: 127.0.0.1:{first.port}: Address already in use")
            other = write(tmp_path / "other.yaml", **settings(hooks, store="memory", listen=f"127.0.0.1:{first.port}"))
            code, said = ended(other)
            assert (code, said) == (1, f"{other}: listen: 127.0.0.1:{first.port}: Address already in use")
            until(lambda: "n-1" in hooks.taken)
            assert first.end() == 0


@pytest.mark.thorough
@pytest.mark.parametrize("same_port", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_point_8_one_that_replaces_another_has_it_drain_first(store, same_port, tmp_path):
    """What the first has accepted and not sent is sent once, by the second."""
    with receiver() as hooks:
        hooks.up = False
        slow = {"webhook": {"retry": {"max_attempts": 9, "initial_delay": "4s", "jitter": "none"}}}
        given = settings(hooks, store=store, channels=slow, drain="200ms")
        with process(write(tmp_path / "service.yaml", **given)) as first:
            assert first.ask("POST", "/notifications", hook(1, hooks))[0] == 202
            listen = f"127.0.0.1:{first.port}" if same_port else "127.0.0.1:0"
            config = write(tmp_path / "second.yaml", **given | {"listen": listen})
            with process(config, "--replace") as second:
                assert first.over() == 0
                assert any(line["event"] == "draining" for line in first.lines)
                hooks.up = True
                assert second.ask("GET", "/healthz/ready")[0] == 200
                until(lambda: "n-1" in hooks.taken)
                assert second.end() == 0
    assert len(hooks.taken["n-1"]) == 1


@pytest.mark.thorough
def test_point_4_a_signal_ends_a_service_that_waits_for_a_locked_store(tmp_path):
    with receiver() as hooks:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        config = write(tmp_path / "service.yaml", **settings(hooks, listen=f"127.0.0.1:{port}"))
        with process(config) as served:
            assert served.end() == 0
        sql = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        sql.execute("BEGIN IMMEDIATE")
        waiting = Process(config, reads_url=False)
        waiting.port = port
        until(lambda: any("cannot be written for" in line["event"] for line in list(waiting.lines)))
        assert waiting.ask("GET", "/healthz/live") == (200, {"live": True})
        assert waiting.ask("GET", "/healthz/ready") == (503, {"detail": "the service is starting"})
        assert waiting.end() == 0
        sql.close()


@pytest.mark.thorough
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_point_8_each_start_after_a_kill_serves(store, kills, tmp_path, capsys):
    """A lease of an hour is not waited for: two looks at it are."""
    took: list[float] = []
    with receiver() as hooks:
        config = write(tmp_path / "service.yaml", **settings(hooks, store=store))
        killed_at: float | None = None
        for number in range(kills + 1):
            with process(config) as served:
                assert served.ask("GET", "/healthz/ready")[0] == 200
                if killed_at is not None:
                    took.append(time.monotonic() - killed_at)
                assert served.ask("POST", "/notifications", hook(number * 11 + 1, hooks))[0] == 202
                if number < kills:
                    served.end(signal.SIGKILL)
                    killed_at = time.monotonic()
                    continue
                until(lambda: served.ask("GET", "/healthz", token=OTTO)[1]["in_flight"] == 0)
                assert served.end() == 0
    assert {f"n-{number * 11 + 1}" for number in range(kills + 1)} <= hooks.taken.keys()
    with capsys.disabled():
        print(f"\n{store.keys()}: from kill to serving, seconds: {', '.join(f'{each:.1f}' for each in sorted(took))}")
    if kills >= 20:
        assert max(took) < 30  # 5 on a machine of one's own
