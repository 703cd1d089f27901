"""What is scheduled and what is cancelled stay so when their process is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from service_parts import opened_store

from actors.domain.notification_state import state_of

pytestmark = pytest.mark.integration

NAMES = ("soon", "later", "cancelled", "in-line")
SERVICE = Path(__file__).with_name("scheduled_service.py")


@pytest.mark.parametrize("kind", [pytest.param("sqlite", marks=pytest.mark.slow), "postgres"])
async def test_a_scheduled_one_survives_a_kill_and_goes_at_its_instant_and_a_cancelled_one_never(
    kind, tmp_path, request
):
    path = request.getfixturevalue("dsn") if kind == "postgres" else str(tmp_path / "store.db")
    with subprocess.Popen([sys.executable, str(SERVICE), path, "4"], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        word, instant = service.stdout.readline().split()
        service.kill()
    assert word == "ready"
    done = subprocess.run(
        [sys.executable, str(SERVICE), path, "0"], capture_output=True, text=True, check=True, timeout=120
    )
    [line] = done.stdout.splitlines()
    word, name, at = line.split()
    assert (word, name) == ("taken", "soon")
    assert float(at) >= float(instant)
    node = {"node": "one", "lease": 5.0} if kind == "postgres" else {}
    async with opened_store(path, **node) as store:
        states = {each: await state_of(store, each, time.time_ns()) for each in NAMES}
        open_ids = [delivery.command.notification_id for delivery in store.open_deliveries(0)]
    assert {each: state.state for each, state in states.items()} == {
        "soon": "sent",
        "later": "in flight",
        "cancelled": "cancelled",
        "in-line": "cancelled",
    }
    assert states["later"].resumes_at is not None
    assert open_ids == ["later"]
