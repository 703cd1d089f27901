"""A service that gets ten times what its provider takes: it refuses what it has no room for, and stays as it is."""

import http.client
import json
import os
import time
from pathlib import Path

import pytest
from serve_processes import process
from served import OTTO, SHOP, write
from test_serve_strangers import resident

PER_S = 20
"""What the provider takes a second: one after the other, 50 ms each."""

GROWTH_MAX = 20 * 2**20
"""Bytes, once the bound on what is pending has been reached."""


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(("seconds", "most"), [(4, 40), pytest.param(600, 2_000, marks=pytest.mark.slow)])
def test_ten_times_what_the_provider_takes(tmp_path, seconds, most):
    seconds = float(os.environ.get("RETRYLAB_OVERLOAD_S", seconds))
    channel = {"provider": {"latency": {"constant": "50ms"}}, "max_in_flight": 1}
    config = write(
        tmp_path / "service.yaml",
        store={"sqlite": str(tmp_path / "store.db")},
        listen="127.0.0.1:0",
        channels={"email": channel},
        transports={"email": {"simulated": True}},
        max_pending=most,
        logs={"format": "json"},
    )
    accepted, critical, refused, sizes = set(), [], 0, []
    with process(config) as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)

        def ask(method, path, content=None, token=SHOP):
            body = None if content is None else json.dumps(content)
            connection.request(method, path, body, {"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            return response, response.read()

        def metric(name):
            lines = ask("GET", "/metrics", token=OTTO)[1].decode().splitlines()
            return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

        started, number = time.monotonic(), 0
        while (now := time.monotonic() - started) < seconds:
            if number >= 10 * PER_S * now:
                time.sleep(0.01)
                continue
            items = [notification(number + each) for each in range(20)]
            number += len(items)
            is_with_critical = number % (20 * PER_S) == 0
            if is_with_critical:
                items[-1]["critical"] = True
            response, answer = ask("POST", "/notifications", items)
            results = json.loads(answer)
            accepted |= {
                item["notification_id"] for item, result in zip(items, results, strict=True) if result["code"] == 202
            }
            refused += sum(result["code"] == 429 for result in results)
            assert {result["code"] for result in results} <= {202, 429}
            if refused_now := [result for result in results if result["code"] == 429]:
                assert int(response.headers["Retry-After"]) >= refused_now[0]["retry_after"] >= 1
            if is_with_critical:
                critical.append(results[-1]["code"])
            if refused:
                sizes.append(resident(served.popen.pid))
        assert metric("requests_overloaded_total") == refused
        until = time.monotonic() + 60 + 3 * most / PER_S
        while metric("notifications_in_flight") and time.monotonic() < until:
            time.sleep(0.2)
        sent, dead = metric("notifications_sent_total"), metric("notifications_in_dlq")
        connection.close()
        assert served.end() == 0
    growth = max(sizes) - sizes[0]
    print(
        f"{number:,} in {seconds:g} s: {len(accepted):,} accepted, {refused:,} refused, {sent:,.0f} sent; "
        f"memory grew by {growth / 2**20:.1f} MiB beyond {sizes[0] / 2**20:.0f} MiB"
    )
    assert refused > number / 2
    assert set(critical) == {202}
    assert (sent, dead) == (len(accepted), 0)
    assert growth < GROWTH_MAX


def notification(number):
    return {"notification_id": f"n-{number}", "channel": "email", "recipient": f"user-{number}@example.com",
        "message": "Hello"}  # fmt: skip
