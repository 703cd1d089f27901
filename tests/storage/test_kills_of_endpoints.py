"""The clock of an endpoint that fails, and that it is disabled, outlive the process that is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from service_parts import opened_store

pytestmark = pytest.mark.integration

SERVICE = Path(__file__).with_name("endpoint_service.py")


def killed_when_it_says(path: str, mode: str) -> list[str]:
    """Run the service until it says something, and kill it; return the words."""
    with subprocess.Popen([sys.executable, str(SERVICE), path, mode], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        words = service.stdout.readline().split(maxsplit=2)
        service.kill()
    return words


def run(path: str, mode: str) -> list[str]:
    """Run the service to its end; return the lines that it says."""
    done = subprocess.run(
        [sys.executable, str(SERVICE), path, mode], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", [pytest.param("sqlite", marks=pytest.mark.slow), "postgres"])
async def test_an_endpoint_is_disabled_over_kills_until_an_order_or_one_success(kind, tmp_path, request):
    path = request.getfixturevalue("dsn") if kind == "postgres" else str(tmp_path / "store.db")
    failing, since_ns = killed_when_it_says(path, "down")
    disabled, still_since_ns, alert = killed_when_it_says(path, "disabled")
    assert (failing, disabled) == ("failing", "disabled")
    assert still_since_ns == since_ns  # the clock has gone on over the kill
    assert alert.startswith("Endpoint https://example.com/hook of channel webhook is disabled: all attempts have")
    assert run(path, "first") == []  # it is disabled still, so that one is a dead letter
    assert run(path, "order") == ["disabled"]
    assert run(path, "second") == ["taken second"]
    node = {"node": "one", "lease": 5.0} if kind == "postgres" else {}
    async with opened_store(path, **node) as store:
        assert list(store.endpoints) == []
        trail = [entry for entry in await store.audit_trail() if "endpoint" in entry.action]
        reasons = [letter.failure_reason for letter in store.dead_letters()]
    assert [(entry.action, entry.by, entry.about, entry.why) for entry in reversed(trail)] == [
        ("disable endpoint", None, "webhook https://example.com/hook", "HTTP 503"),
        ("enable endpoint", "otto", "webhook https://example.com/hook", "it is back"),
    ]
    assert set(reasons) == {"HTTP 503", "the endpoint is disabled"}
