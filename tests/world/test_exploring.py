"""Explore over a service: planted bugs are found, cut down, and run again from their file; a sound service passes."""

import re
from functools import partial
from pathlib import Path

import effort
import pytest
from in_process import retrylab

from simulation.world import second
from simulation.world.exploring import explore_service

WORLD = """
name: planted
duration: 1m
channels:
  pay: {kind: webhook, provider: {latency: 100ms}}
  mail: {kind: webhook, provider: {latency: 100ms}}
world: {pay.example.com: pay, mail.example.com: mail}
workload: [{channel: pay, arrivals: {poisson: 1/s}}]
"""
SERVICE = r"""
import math, time, trio

async def post(host, arrival, attempts=10, key=True):
    for attempt in range(attempts):
        with trio.move_on_after(5):
            try:
                async with await trio.open_tcp_stream(host, 80) as stream:
                    header = f"idempotency-key: {arrival.id}\r\n" if key else ""
                    request = f"POST /{arrival.id} HTTP/1.1\r\nhost: {host}\r\n{header}\r\n"
                    await stream.send_all(request.encode())
                    if (await stream.receive_some()).startswith(b"HTTP/1.1 2"):
                        return
            except (OSError, trio.BrokenResourceError):
                pass
        await trio.sleep(2**attempt)
    raise RuntimeError("given up")

async def sound(arrival):
    await post("pay.example.com", arrival)

async def without_a_key(arrival):
    await post("pay.example.com", arrival, key=False)

async def cancels_its_sibling(arrival):
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, "pay.example.com", arrival)
            nursery.start_soon(post, "mail.example.com", arrival, 1)
    except* RuntimeError:
        pass

news = trio.Event()

async def loses_a_wakeup(arrival):
    global news
    await post("pay.example.com", arrival)
    if arrival.number % 2:
        news.set()
        news = trio.Event()
    else:
        await news.wait()

async def checks_itself(arrival):
    with trio.move_on_after(5) as scope:
        await post("pay.example.com", arrival)
    assert not scope.cancelled_caught

is_busy = False

async def drops_in_company(arrival):
    global is_busy
    if not is_busy:
        is_busy = True
        await post("pay.example.com", arrival)
        is_busy = False

lock = trio.Lock()

async def sleeps_with_a_lock(arrival):
    async with lock:
        await post("pay.example.com", arrival)

orders, to_do = trio.open_memory_channel(math.inf)

async def piles_up(arrival):
    await orders.send(arrival)
    if not arrival.number:
        with trio.move_on_after(800):
            async for order in to_do:
                await post("pay.example.com", order)

async def sleeps_with_a_lock_for_a_token(arrival):
    async with lock:
        await post("mail.example.com", arrival)
    await post("pay.example.com", arrival)

free = trio.CapacityLimiter(2)

async def releases_twice(arrival):
    await free.acquire_on_behalf_of(arrival.id)
    try:
        await post("pay.example.com", arrival, 1)
    except RuntimeError:
        free.release_on_behalf_of(arrival.id)
    finally:
        free.release_on_behalf_of(arrival.id)

async def posts_a_set(arrival):
    for host in {"pay.example.com", "mail.example.com"}:
        await post(host, arrival)

async def waits(arrival):
    stream = await trio.open_tcp_stream("pay.example.com", 80)
    await stream.send_all(b"GET / HTTP/1.1\r\nhost: pay.example.com\r\n\r\n")
    await stream.receive_some()

async def sleeps_in_an_outage(arrival):
    try:
        await post("pay.example.com", arrival, 2)
    except RuntimeError:
        time.sleep(1)
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "world.yaml").write_text(WORLD)
    (tmp_path / "planted_service.py").write_text(SERVICE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "world.yaml"


@pytest.mark.parametrize(
    ("main", "kind"),
    [
        ("without_a_key", "repeated"),
        effort.thorough(("cancels_its_sibling", "lost")),
        effort.thorough(("loses_a_wakeup", "never ends")),
        effort.thorough(("sleeps_in_an_outage", "escape")),
        effort.thorough(("checks_itself", "crash")),
        effort.thorough(("releases_twice", "crash")),
        effort.thorough(("drops_in_company", "lost")),
        effort.thorough(("sleeps_with_a_lock", "blocked")),
        effort.thorough(("sleeps_with_a_lock_for_a_token", "blocked")),
        effort.thorough(("piles_up", "piled up")),
        effort.thorough(("posts_a_set", "not repeatable")),
    ],
)
def test_a_planted_bug_is_found_cut_down_and_shows_again_by_the_line_that_is_printed(
    main: str, kind: str, scenario: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind != "not repeatable":
        monkeypatch.setattr(second, "run_with_others", partial(second.run_with_others, processes=0))
    service, folder = f"planted_service:{main}", scenario.parent
    done = retrylab("explore", "world.yaml", "--service", service, "--seeds", "100", "--out", "kept", cwd=folder)

    assert done.returncode == 1
    found, again = done.stdout.splitlines()
    seed, sentence, requests = re.findall(rf"seed (\d+): {kind}: (.*) \((\d+) requests?\)", found)[0]
    assert int(requests) < 10
    assert again == f"run it again: retrylab run kept/{kind.replace(' ', '-')}-{seed}.yaml --service {service} --check"
    repeated = retrylab(*again.partition(": retrylab ")[2].split(), cwd=folder)
    assert repeated.returncode == 1
    assert sentence in repeated.stderr


@pytest.mark.thorough
def test_a_sound_service_passes(scenario: Path) -> None:
    assert str(explore_service("planted_service:sound", scenario, seeds=40)) == "40 cases: none broke"


def test_findings_fail_a_run_that_is_checked_alone(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second, "run_with_others", partial(second.run_with_others, processes=0))
    scenario.write_text(f"{WORLD}faults: [{{channel: pay, hang: true}}]\ndrain: 5s\n")
    for arguments, code in (((), 0), (("--check",), 1)):
        done = retrylab("run", "world.yaml", "--service", "planted_service:waits", *arguments, cwd=scenario.parent)
        assert "finding: " in done.stderr
        assert " for pay.example.com without any deadline" in done.stderr
        assert done.returncode == code
