"""What is redriven without an operator goes on where it was when its process is killed, and goes once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from service_parts import opened_store

from actors.domain.notification_state import state_of

pytestmark = pytest.mark.integration

SERVICE = Path(__file__).with_name("redriving_service.py")
ALL = {f"n-{number}" for number in range(6)}


def killed_when_dead(path: str, mode: str) -> list[str]:
    """Run the service until it says so, and kill it; return what it has taken."""
    taken = []
    with subprocess.Popen([sys.executable, str(SERVICE), path, mode], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        for line in service.stdout:
            word, what = line.split()
            if word == "dead":
                break
            taken.append(what)
        service.kill()
    return taken


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_letters_of_an_outage_are_redriven_by_the_processes_after_it(kind, tmp_path, request):
    path = request.getfixturevalue("dsn") if kind == "postgres" else str(tmp_path / "store.db")
    assert killed_when_dead(path, "down") == []
    first = killed_when_dead(path, "up-slowly")
    done = subprocess.run(
        [sys.executable, str(SERVICE), path, "up"], capture_output=True, text=True, check=True, timeout=120
    )
    rest = [line.split()[1] for line in done.stdout.splitlines()]
    assert {*first, *rest} == ALL
    node = {"node": "one", "lease": 5.0} if kind == "postgres" else {}
    async with opened_store(path, **node) as store:
        assert {(await state_of(store, each, time.time_ns())).state for each in ALL} == {"sent"}
        trail = [entry for entry in await store.audit_trail() if entry.action == "retry"]
    assert sorted(entry.notification_id for entry in trail) == sorted(
        ALL
    )  # each was redriven once, over three processes
    assert {(entry.by, entry.why) for entry in trail} == {(None, "the circuit breaker has closed")}


async def test_another_node_goes_on_where_one_has_died_in_the_midst_of_redriving(dsn):
    """What is redriven one after the other is at no node while it waits for its turn: nothing is taken over."""
    argv = [sys.executable, str(SERVICE), dsn, "beside", "two"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready two\n"
        first = [each for each in killed_when_dead(dsn, "again") if each in ALL]
        assert len(first) == 2
        rest = [line.split()[1] for line in other.stdout]
        assert other.wait() == 0
    assert sorted(first + rest) == sorted(ALL)  # each once
    async with opened_store(dsn, node="one", lease=5.0) as store:
        assert {(await state_of(store, each, time.time_ns())).state for each in ALL} == {"sent"}
        trail = [entry for entry in await store.audit_trail() if entry.action == "retry"]
    assert sorted(entry.notification_id for entry in trail) == sorted(ALL)
