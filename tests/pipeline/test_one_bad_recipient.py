"""With the defaults one recipient that is down, hangs or is slow holds up nobody else; a burst is no failure."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from effort import examples, sliced
from hypothesis import given, settings, strategies as st
from timetables import send_at
from worlds import OK, PUSH, WEBHOOK, Scripted, Try, World, on_both_clocks, simulate

import simulation
from actors.domain.attempts import UNSENT
from actors.messages import (
    BreakerTransitioned,
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationSent,
    SendNotification,
)
from actors.outcomes import Transient
from actors.policies.breaker.per_host import recipient_host

NEVER = 1e6
REFUSES = Transient(reason="no connection")


class Endpoints(Scripted):
    """What a webhook or Web Push transport is to its channel: a hundred connections, to hosts that others choose."""

    connections_max = 100
    recipients_choose_hosts = True


def subscription(host: str) -> str:
    keys = {"p256dh": "BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA", "auth": "tBHItJI5svbpez7KI4CCXg"}
    return json.dumps({"endpoint": f"https://{host}/push/1", "expirationTime": None, "keys": keys})


def url(host: str) -> str:
    return f"https://{host}/hook"


def to(channel: NotificationChannel, host: str, notification_id: str) -> SendNotification:
    recipient = subscription(host) if channel is PUSH else url(host)
    return SendNotification(notification_id=notification_id, channel=channel, recipient=recipient, message="Hello")


def host_of(this: Try) -> str:
    return recipient_host(this.command.recipient)


# ── the host of a recipient ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("recipient", "host"),
    [
        (subscription("Updates.Push.Example:443"), "updates.push.example"),
        (' {"keys": {}, "endpoint": "https://a.example./x"}', "a.example"),
        ('{"endpoint": "https://[2001:db8::1]/x"}', "2001:db8::1"),
        ('{"endpoint": 5}', ""),
        ('{"endpoint": "nowhere"}', ""),
        ('{"endpoint": "https://a.example"', ""),
        ('{"x": ' + "[" * 100_000, ""),
        ('{"endpoint": "https://\ud800.example"}', ""),
        ("{ann}@b.example", "b.example"),
    ],
)
def test_the_host_of_a_web_push_subscription_is_that_of_its_endpoint(recipient, host):
    assert recipient_host(recipient) == host


# ── one of a thousand ───────────────────────────────────────────────────────────────────────────────────────────

HOSTS = [f"h{number}.example" for number in range(1000)]
BAD = {"h100.example": "dead", "h400.example": "hangs", "h700.example": "refuses"}


def latest_sent(channel: NotificationChannel, *, are_bad: bool) -> dict[str, float]:
    """Return how long each notification took, of 2,500 that come at once to a thousand hosts, by id."""

    def fate(this: Try) -> Any:
        return REFUSES if are_bad and host_of(this) in BAD else OK

    def latency(this: Try) -> float:
        kind = BAD.get(host_of(this)) if are_bad else None
        return {"dead": 5.0, "hangs": NEVER, "refuses": 0.0, None: 0.5}[kind]

    def scenario(world: World) -> None:
        world.open(Endpoints(fate, latency), **{str(channel): {}})
        for number in range(2500):
            world.send(to(channel, HOSTS[number % 1000], f"{number}"))

    world = simulate(scenario, until=3600)
    return {event.notification_id: event.at_ns / 1e9 for event in world.events(NotificationSent)}


@pytest.mark.parametrize("channel", sliced([WEBHOOK, PUSH], 4))
def test_one_dead_one_hanging_and_one_refusing_host_of_a_thousand_hold_up_nobody(channel):
    usual, now = (latest_sent(channel, are_bad=are_bad) for are_bad in (False, True))
    others = [each for each in usual if HOSTS[int(each) % 1000] not in BAD]
    assert len(usual) == 2500
    assert max(usual.values()) == 12.5  # as fast as a hundred connections take them
    assert [each for each in others if each not in now] == []
    assert max(now[each] for each in others) <= 1.05 * 12.5
    assert [each for each in others if now[each] > 1.05 * usual[each] + 0.5] == []  # one turn of a slot is 0.5 s


@pytest.mark.parametrize("channel", [WEBHOOK, PUSH])
def test_the_breaker_of_a_dead_endpoint_is_its_own(channel):
    def scenario(world: World) -> None:
        world.open(Endpoints(lambda this: REFUSES if host_of(this) == "a.example" else OK), **{str(channel): {}})
        for number in range(6):
            world.send(to(channel, "a.example", f"a{number}"))
        world.send(to(channel, "b.example", "b"), at=1)

    world = on_both_clocks(scenario, until=30)
    assert {event.host for event in world.events(BreakerTransitioned)} == {"a.example"}
    assert [(event.notification_id, event.at_ns / 1e9) for event in world.events(NotificationSent)] == [("b", 1.0)]


# ── slots ───────────────────────────────────────────────────────────────────────────────────────────────────────


def in_flight_of(world: World, latency: Callable[[Try], float]) -> list[tuple[float, str, Counter[str]]]:
    """Return, for each attempt, its instant, its host, and how many each host has at the provider with it."""
    seen, under_way = [], []
    for this in world.provider.tries:
        under_way = [(end, host) for end, host in under_way if end > this.at]
        under_way.append((this.at + latency(this), host_of(this)))
        seen.append((this.at, host_of(this), Counter(host for _, host in under_way)))
    return seen


def test_a_slow_host_that_comes_first_leaves_slots_to_others():
    def latency(this: Try) -> float:
        return 9.0 if host_of(this) == "slow.example" else 0.5

    def scenario(world: World) -> None:
        world.open(Endpoints(latency=latency), webhook={})
        world.send(*(to(WEBHOOK, "slow.example", f"slow{number}") for number in range(500)))
        world.send(*(to(WEBHOOK, "b.example", f"b{number}") for number in range(6)), at=0.1)
        world.send(*(to(WEBHOOK, "c.example", f"c{number}") for number in range(300)), at=20)

    world = on_both_clocks(scenario)
    most = Counter[str]()
    for at, _, held in in_flight_of(world, latency):
        most["all"] = max(most["all"], held.total())
        if at < 9:
            most["slow"] = max(most["slow"], held["slow.example"])
    assert (most["slow"], most["all"]) == (94, 100)
    sent = {event.notification_id: event.at_ns / 1e9 for event in world.events(NotificationSent)}
    assert [sent[f"b{number}"] for number in range(6)] == [0.6] * 6
    # Six at once from 20 s on, and from 27 s on, when those that are slow have ended, a quarter of all.
    assert max(sent[f"c{number}"] for number in range(300)) <= 32
    assert len(sent) == 806


def test_one_host_alone_has_all_slots_but_a_sixteenth():
    sends = {0: [to(WEBHOOK, "a.example", f"{number}") for number in range(940)]}
    world = send_at(sends, opens=lambda world: world.open(Endpoints(latency=0.5), webhook={}))
    assert max(event.at_ns for event in world.events(NotificationSent)) == 5 * 10**9


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from("aaaabbcdef"), st.sampled_from([1, 2, 7, 30])),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([*range(1, 10), 16]),
)
@settings(max_examples=examples(60))
def test_no_host_gets_more_than_a_quarter_while_another_waits(program, slots):
    def latency(this: Try) -> float:
        return float(this.command.metadata["takes"])

    waiting: dict[str, tuple[float, str]] = {}

    def scenario(world: World) -> None:
        waiting.clear()
        world.open(Endpoints(latency=latency), webhook={"max_in_flight": slots, "timeout": 1000})
        for number, (tenths, host, takes) in enumerate(program):
            waiting[str(number)] = tenths / 10, f"{host}.example"
            command = to(WEBHOOK, f"{host}.example", str(number))
            world.send(
                SendNotification(
                    notification_id=str(number),
                    channel=WEBHOOK,
                    recipient=command.recipient,
                    message="Hello",
                    metadata={"takes": takes},
                ),
                at=tenths / 10,
            )

    world = on_both_clocks(scenario)
    quarter = max(1, slots // 4)
    for (at, host, held), this in zip(in_flight_of(world, latency), world.provider.tries, strict=True):
        del waiting[this.notification_id]
        assert held.total() <= slots
        if held[host] > quarter:
            # Those that came at this very instant may come after it.
            assert {other for since, other in waiting.values() if since < at} <= {host}
    assert waiting == {}
    assert len(world.events(NotificationSent)) == len(program)


# ── bursts ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_waits_for_a_connection_is_no_attempt_and_no_failure():
    """Without a bulkhead the transport has them wait; it gives those back that have waited for long."""
    left = iter([UNSENT] * 40)

    def scenario(world: World) -> None:
        nonlocal left
        left = iter([UNSENT] * 40)
        world.open(
            Endpoints(lambda _: next(left, OK), latency=5.0),
            webhook={"max_in_flight": None, "rate_limit": {"max_per_minute": 1}, "retry": {"max_attempts": 1}},
        )
        world.send(*(to(WEBHOOK, "a.example", str(number)) for number in range(20)))

    world = on_both_clocks(scenario, until=1300)
    assert world.events(NotificationFailed, NotificationMovedToDeadLetter, BreakerTransitioned) == []
    sent = world.events(NotificationSent)
    assert [event.attempt for event in sent] == [1] * 20
    assert {this.number for this in world.provider.tries} == {1}


BURST = """
name: burst
duration: 1s
workload: [{channel: CHANNEL, arrivals: {burst: {size: SIZE, every: 1m}}}]
channels: {CHANNEL: {timeout: 6s, provider: {connections: MOST, latency: {constant: TAKES}}}}
"""


@pytest.mark.parametrize(
    ("channel", "size", "most", "takes", "sets", "ends"),
    sliced(
        [
            ("email", 800, 4, "50ms", [], 10.0),
            ("email", 800, 4, "50ms", ["channels.email.max_in_flight=50"], 10.0),
            ("email", 800, 4, "50ms", ["channels.email.max_in_flight=2"], 20.0),
            ("email", 800, 4, "50ms", ["channels.email.circuit_breaker.failure_threshold=1"], 10.0),
            ("webhook", 2500, 100, "500ms", [], 12.5),
        ],
        10,
    ),
)
def test_a_burst_at_a_provider_with_so_many_connections(tmp_path, channel, size, most, takes, sets, ends):
    text = BURST
    for word, value in {"CHANNEL": channel, "SIZE": size, "MOST": most, "TAKES": takes}.items():
        text = text.replace(word, str(value))
    path = tmp_path / "burst.yaml"
    path.write_text(text)
    summary = simulation.run(path, sets=sets, invariants="all").summary
    assert (summary["sent"], summary["attempts"], summary["dead_lettered"]) == (size, size, 0)
    assert summary["breaker"][channel]["opened"] == 0
    assert summary["sent_time_s"]["max"] == pytest.approx(ends)
