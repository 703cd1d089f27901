"""The command ``retrylab serve`` as a process: signals, restarts, and being killed under load."""

import http.client
import itertools
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from console_command import app
from effort import thorough
from serve_processes import WAIT_S, Process, Receiver, hook, process, receiver, settings, until
from served import OTTO, SHOP, write
from typer.testing import CliRunner

from actors.service.serve import serve
from actors.storage.sqlite.store import SqliteStore


@pytest.mark.parametrize(
    ("version", "wanted"),
    [((3, 11, 14), "3.11.15"), ((3, 11, 15), None), ((3, 12, 1), "3.12.13"), ((3, 13, 20), None), ((3, 15, 0), None)],
)
def test_a_start_with_a_python_that_is_not_safe_is_told_so(version, wanted, monkeypatch, caplog):
    async def ended(*_: Any) -> int:
        return 0

    monkeypatch.setattr("actors.service.serve._serve", ended)
    monkeypatch.setattr("actors.service.serve.logs.set_up", lambda _: None)
    monkeypatch.setattr("actors.service.serve.sys", SimpleNamespace(version_info=(*version, "final", 0)))
    trio.run(serve, Path("service.yaml"), SimpleNamespace(logs=None), print)
    name = ".".join(map(str, version))
    text = f"Python {name} has known vulnerabilities in what is used here; wanted {wanted} or later, or a build with "
    assert [record.getMessage() for record in caplog.records] == ([f"{text}their fixes"] if wanted else [])


@pytest.mark.integration
def test_signals_and_a_second_start_that_takes_up_what_was_parked(tmp_path):
    with receiver() as hooks:
        hooks.up = False
        slow = {"webhook": {"retry": {"max_attempts": 3, "initial_delay": "2s"}}}
        config = write(tmp_path / "service.yaml", **settings(hooks, channels=slow))
        with process(config) as served:
            assert served.said == f"retrylab serves http://127.0.0.1:{served.port}\n"
            assert served.ask("POST", "/notifications", [hook(1, hooks), hook(2, hooks)])[0] == 202
            served.wait_for("NotificationFailed")
            write(config, **settings(hooks, channels={"webhook": {"retry": {"max_attempts": "many"}}}))
            served.popen.send_signal(signal.SIGHUP)
            served.wait_for("settings are not used")
            write(config, **settings(hooks, channels=slow | {"webhook": {**slow["webhook"], "timeout": "5s"}}))
            served.popen.send_signal(signal.SIGHUP)
            served.wait_for("settings read again")
            code, health = served.ask("GET", "/healthz")
            assert (code, health["in_flight"]) == (200, 2)
            assert 'notifications_in_flight{channel="webhook"} 2.0' in served.ask("GET", "/metrics")[1]
            assert served.end() == 0
            assert served.wait_for("stopped; still in flight and parked in the store: 2")
        hooks.up = True
        with process(config) as served:
            assert served.wait_for("started")["in_flight"] == 2
            served.wait_for("NotificationSent")
            assert served.ask("POST", "/notifications", hook(1, hooks))[1]["status"] == "duplicate"
            until(lambda: len(hooks.taken) >= 2)
            assert served.end(signal.SIGINT) == 0
    assert {event: len(starts) for event, starts in hooks.taken.items()} == {"n-1": 1, "n-2": 1}


@pytest.mark.integration
def test_a_second_signal_ends_it_at_once(tmp_path):
    with receiver() as hooks:
        hooks.up = False
        slow = {"webhook": {"retry": {"max_attempts": 3, "initial_delay": "4m", "max_delay": "4m"}}}
        config = write(tmp_path / "service.yaml", **settings(hooks, channels=slow, drain="10m"))
        with process(config) as served:
            assert served.ask("POST", "/notifications", hook(1, hooks))[0] == 202
            served.popen.send_signal(signal.SIGTERM)
            served.wait_for("draining")
            assert served.ask("POST", "/notifications", hook(2, hooks))[0] == 503
            assert served.ask("GET", "/healthz/ready")[0] == 503
            assert served.ask("GET", "/healthz/live")[0] == 200
            assert served.end() == 128 + signal.SIGTERM


@pytest.fixture
def run(kept_logging):
    return lambda *argv: CliRunner().invoke(app, ["serve", *map(str, argv)])


def test_bad_input_is_said_without_a_traceback(tmp_path, run):
    config = write(tmp_path / "service.yaml", drain="soon", listne="x", actors={"a": {"actor": "b:C"}})
    ended = run(config)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert [line.partition(" ")[2] for line in ended.stderr.splitlines()] == [
        "drain: wanted a duration such as 80ms, 10s, 5m or 2h, got 'soon'",
        "listne: unknown key; did you mean listen?",
        "actors: unknown key; a service imports no code: open a notifier with actors= in a program of yours",
    ]
    assert run(tmp_path / "none.yaml").stderr == f"{tmp_path}/none.yaml: no such file\n"
    fine = write(tmp_path / "fine.yaml")
    assert run("--check", fine).stdout == f"{fine}: the settings are valid\n"
    smtp = {"host": "mail.example.com", "sender": "shop@example.com", "ca_file": "/nowhere"}
    config = write(tmp_path / "ca.yaml", transports={"email": {"smtp": smtp}})
    for ended in (run(config), run("--check", config)):
        assert ended.exit_code == 2
        assert (
            "ca.yaml: transports.email: ca_file: wanted a file of certificates in PEM, got '/nowhere'" in ended.stderr
        )
    (tmp_path / "users.yaml").write_text("users: {ann: {channels: {sms: maybe}}}")
    ended = run("--check", write(tmp_path / "files.yaml", templates="none", preferences="users.yaml"))
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert f"{tmp_path}/none: wanted a directory of templates, got no such file or directory" in ended.stderr
    assert f"{tmp_path}/users.yaml:1:31: users.*.channels.sms: wanted on or off, got 'maybe'" in ended.stderr


def test_an_address_or_a_store_that_is_not_there_is_said_in_a_line(tmp_path, run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = write(tmp_path / "taken.yaml", listen=address)
        ended = run(config)
    last = ended.stderr.splitlines()[-1]
    assert (ended.exit_code, last) == (1, f"{config}: listen: {address}: Address already in use")
    (tmp_path / "none.db").write_text("This is no database, but long enough to be taken for one." * 100)
    config = write(tmp_path / "none.yaml", store={"sqlite": "none.db"})
    ended = run(config)
    assert (ended.exit_code, ended.stderr.splitlines()[-1][: len(f"{config}: store: ")]) == (1, f"{config}: store: ")


class Load(threading.Thread):
    """Sends notifications until the service is gone; remembers which were accepted."""

    def __init__(self, served: Process, hooks: Receiver, numbers: Iterator[int], accepted: set[str]) -> None:
        super().__init__(daemon=True)
        self._served, self._hooks, self._numbers, self._accepted = served, hooks, numbers, accepted

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._served.port, timeout=WAIT_S)
        try:
            for first in self._numbers:
                batch = [hook(first * 5 + offset, self._hooks) for offset in range(5)]
                connection.request("POST", "/notifications", json.dumps(batch), {"Authorization": f"Bearer {SHOP}"})
                answer = connection.getresponse()
                results = json.loads(answer.read())
                self._accepted |= {one["notification_id"] for one in results if one["code"] == 202}
        except (OSError, http.client.HTTPException, ValueError):
            return  # it is gone
        finally:
            connection.close()


@pytest.mark.integration
@pytest.mark.parametrize("kills", [1, thorough(3), pytest.param(50, marks=pytest.mark.slow)])
async def test_killed_under_load_it_loses_nothing_and_sends_anew_only_what_was_in_flight(kills, tmp_path):
    accepted: set[str] = set()
    numbers, random = itertools.count(1), Random(kills)  # over all starts, and atomic for the threads
    ended: set[str] = set()
    in_flight: list[set[str]] = []
    with receiver() as hooks:
        config = write(tmp_path / "service.yaml", **settings(hooks))
        for start_number in range(kills):
            hooks.start_number = start_number
            with process(config) as served:
                clients = [Load(served, hooks, numbers, accepted) for _ in range(2)]
                for client in clients:
                    client.start()
                time.sleep(random.uniform(0.05, 0.5))
                assert served.end(signal.SIGKILL) == -signal.SIGKILL
                for client in clients:
                    client.join()
                hooks.come_to_rest()
            ended |= {line["notification_id"] for line in served.lines if line["event"] == "NotificationSent"}
            in_flight.append(hooks.taken.keys() - ended)
        hooks.start_number = kills
        with process(config) as served:
            until(lambda: not served.ask("GET", "/healthz", token=OTTO)[1]["in_flight"])
            assert served.end() == 0
    assert len(accepted) > 5 * kills
    async with SqliteStore.open(tmp_path / "store.db") as store:
        assert list(store.open_deliveries(0)) == []
        dead = {letter.notification_id for letter in store.dead_letters()}
    assert accepted <= hooks.taken.keys() | dead
    assert not dead & hooks.taken.keys()
    assert all(int(event.removeprefix("n-")) % 11 == 0 for event in dead)
    for event, starts in hooks.taken.items():
        assert len(set(starts)) == len(starts), f"{event} was sent twice by one process"
        for earlier in starts[:-1]:
            assert event in in_flight[earlier], f"{event} was sent again although that was durable"
