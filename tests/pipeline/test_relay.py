"""A relay whose workers retry in their own processes, before a receiver with a quota: its backlog by the closed form.

Of so many workers each makes three tries, and sleeps in between. The receiver takes so many in a fixed window and
refuses all else, so a row takes a worker for three answers and two sleeps, or for one answer while there is quota. What
comes beyond that waits, and what is older than an age is dropped.
"""

from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest
import trio

import simulation
from actors import Notifier, SendNotification
from actors.transports.webhook import WebhookProvider
from simulation.scenario import parse


class Relay(NamedTuple):
    workers: int
    arriving_per_s: float
    taken: int
    window_s: float
    age_s: float
    takes_s: float
    sleeps_s: tuple[float, ...]

    @property
    def done_per_s(self) -> float:
        """How many rows leave in a second on average, sent or given up, while there is a backlog."""
        sent_for_s = self.taken * self.takes_s / self.workers
        refused_s = (len(self.sleeps_s) + 1) * self.takes_s + sum(self.sleeps_s)
        return (self.taken + (self.window_s - sent_for_s) * self.workers / refused_s) / self.window_s

    @property
    def growing_s(self) -> float:
        """How long it takes until the first are as old as they may get: what leaves is the oldest."""
        return self.age_s / (1 - self.done_per_s / self.arriving_per_s)

    @property
    def steady(self) -> float:
        """How many wait then: all that have come in the time that they may wait."""
        return self.arriving_per_s * self.age_s


TENTH = Relay(2, 365 / 60, 12, 60.0, 360.0, 0.1, (0.5, 1.0))
"""A tenth of the one below, but for a whole number of workers, and of an age of six minutes."""
WHOLE = Relay(16, 3650 / 60, 120, 60.0, 3600.0, 0.1, (0.5, 1.0))


def backlogs(relay: Relay, at_s: tuple[float, ...]) -> list[int]:
    """Return how many wait at these instants, in a simulation."""
    result = simulation.run(
        parse(
            f"""
            seed: 7
            duration: {max(at_s) + 1:.0f}s
            drain: 0s
            workload:
              - channel: relay
                arrivals: {{constant: {relay.arriving_per_s * 60:g}/min}}
                expires_after: {relay.age_s:g}s
            channels:
              relay:
                kind: call
                timeout: 10s
                max_in_flight: {relay.workers}
                retry: {{holds_slot: true, schedule: [{", ".join(f"{sleep:g}s" for sleep in relay.sleeps_s)}]}}
                circuit_breaker: {{enabled: false}}
                provider:
                  latency: {relay.takes_s:g}s
                  throttle: {{rate: {relay.taken}/{relay.window_s:g}s}}
            """.replace("\n            ", "\n")
        )
    )
    rows = result.notifications
    ended = rows["finished_at_s"].fillna(float("inf"))
    return [int(((rows["requested_at_s"] <= at) & (ended > at)).sum()) for at in at_s]


def check(relay: Relay) -> None:
    early, later, full, steady = backlogs(relay, tuple(part * relay.growing_s for part in (0.2, 0.6, 1.1, 1.4)))
    growth = (later - early) / (0.4 * relay.growing_s)
    assert growth == pytest.approx(relay.arriving_per_s - relay.done_per_s, rel=0.03)
    assert full == pytest.approx(relay.steady, rel=0.02)
    assert steady == pytest.approx(relay.steady, rel=0.02)


def test_its_backlog_grows_and_stands_as_the_closed_form_says():
    check(TENTH)


@pytest.mark.slow
def test_the_same_with_sixteen_workers_and_rows_of_an_hour():
    check(WHOLE)


@asynccontextmanager
async def receiver(taken: int, window_s: float, takes_s: float):
    """Listen on loopback: so many in a fixed window are taken, all others get a 429."""
    windows: dict[int, int] = {}

    async def serve(stream: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some()
        window = int(trio.current_time() / window_s)
        windows[window] = windows.get(window, 0) + 1
        status = b"200 OK" if windows[window] <= taken else b"429 Too Many Requests"
        await trio.sleep(takes_s)
        await stream.send_all(b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener, *_) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/relay"
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_live_it_stands_there_too():
    """Scaled down to seconds, over loopback: what takes longer on a machine with other work lets fewer rows leave."""
    relay = Relay(4, 60.0, 16, 2.0, 6.0, 0.02, (0.1, 0.2))
    retry = {"holds_slot": True, "schedule": list(relay.sleeps_s)}
    settings: dict[str, Any] = {
        "channels": {"webhook": {"max_in_flight": 4, "retry": retry, "circuit_breaker": {"enabled": False}}},
        "drain": 0,
    }
    transport = {"signing_keys": ["whsec_" + "c2VjcmV0" * 4], "allow_networks": ["127.0.0.0/8"], "allow_http": True}
    async with (
        receiver(relay.taken, relay.window_s, relay.takes_s) as url,
        WebhookProvider(transport) as provider,
        Notifier.open(settings, providers={"webhook": provider}) as notifier,
    ):
        began, number, waiting = trio.current_time(), 0, []
        while (elapsed := trio.current_time() - began) < 2.5 * relay.age_s:
            while number < elapsed * relay.arriving_per_s:
                command = {"notification_id": f"n{number}", "channel": "webhook", "recipient": url, "message": "row"}
                await notifier.send(SendNotification(**command, expires_after=relay.age_s))  # type: ignore[arg-type]
                number += 1
            waiting.append((elapsed, notifier.pipeline.in_flight))
            await trio.sleep(0.05)
    steady = [count for elapsed, count in waiting if elapsed > 1.5 * relay.age_s]
    assert sum(steady) / len(steady) == pytest.approx(relay.steady, rel=0.05)
    half = next(count for elapsed, count in waiting if elapsed >= relay.age_s / 2)
    least = (relay.arriving_per_s - relay.done_per_s) * relay.age_s / 2
    assert 0.9 * least <= half <= relay.arriving_per_s * relay.age_s / 2
