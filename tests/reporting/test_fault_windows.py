"""When faults and quiet hours hold, as the picture shows it."""

from datetime import UTC, datetime, timedelta

import pytest
from each_row import over_each
from hypothesis import given, strategies as st

from actors.channel_names import EVERY_CHANNEL
from actors.policies.quiet_hours import QuietHours
from actors.settings.faults import FAULT_KEYS, FaultConfig
from simulation.reporting.fault_windows import Window, fault_text, windows
from simulation.scenario import parse


def scenario(rest):
    return parse(
        "duration: 1h\n"
        "workload: [{channel: sms, arrivals: {constant: 1/s}}, {channel: push, arrivals: {constant: 1/s}}]\n" + rest,
        "a.yaml",
    )


def found(rest, end_s=3600.0):
    return [
        (window.text.replace("\N{NO-BREAK SPACE}", " "), list(window.spans))
        for window in windows(scenario(rest), end_s)
    ]


@over_each(
    [
        ("{channel: sms, at: 1m, for: 2m, outage: true}", [("sms: outage", [(60, 180)])]),
        ("{channel: sms, at: 50m, outage: true}", [("sms: outage", [(3000, 3600)])]),
        ("{channel: sms, at: 50m, for: 1h, outage: true}", [("sms: outage", [(3000, 3600)])]),
        ("{channel: sms, at: 1h, outage: true}", []),
        ("{channel: all, outage: true}", [("all: outage", [(0, 3600)])]),
        ("{channel: [push, sms], hang: true}", [("all: hangs, no answer", [(0, 3600)])]),
        ("{channel: all, at: 1m, clock_step: 2m}", [("wall clock steps +2 min", [(60, 60)])]),
        ("{channel: sms, at: 1m, crash: {actor: breaker}}", [("sms: breaker crashes", [(60, 60)])]),
        ("{channel: sms, at: 1m, crash: process, restart_after: 2m}", [("process crashes, down 2 min", [(60, 180)])]),
        ("{at: 1m, crash: process, restart_after: 2m}", [("process crashes, down 2 min", [(60, 180)])]),
        ("{at: 1m, crash: {actor: handler}}", [("handler crashes", [(60, 60)])]),
        ("{at: 1m, crash: {actor: channel}}", [("all: channel crashes", [(60, 60)])]),
        ("{at: 1m, clock_step: 2m}", [("wall clock steps +2 min", [(60, 60)])]),
        (
            "{channel: sms, at: 1m, crash: process, outage: true}",
            [("sms: process crashes; outage", [(60, 3600)])],
        ),
    ]
)
def test_a_fault_holds_in_its_window_as_far_as_the_run_goes(fault, expected):
    assert found(f"faults: [{fault}]") == expected


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ("node: 4, ", "node 4 cut off from the store"),
        ("node: [2, 4], ", "nodes 2, 4 cut off from the store"),
        ("", "cut off from the store"),
    ],
)
def test_who_is_cut_off_from_the_store_is_said_in_one_phrase(node, text):
    assert found(f"nodes: 4\nfaults: [{{{node}at: 1m, for: 2m, partition: store}}]") == [(text, [(60, 180)])]


@pytest.mark.parametrize(("scaled", "until_s"), [("30s", 186), ("2m", 96)])
def test_a_deploy_lasts_until_the_last_of_the_nodes_that_there_are_is_back(scaled, until_s):
    deploy = "{at: 1m, deploy: {each_down: 5s, every: 30s, drain: 1s}}"
    _, (_, spans) = found(f"nodes: 2\nfaults: [{{at: {scaled}, scale: {{to: 5}}}}, {deploy}]")
    assert spans == [(60, until_s)]
    assert found(f"nodes: 2\nfaults: [{deploy}]", 70.0)[0][1] == [(60, 70)]


@over_each(
    [
        ({"failure_rate": 0.125}, "12.5% fail"),
        ({"channel_fault_rate": 0.1}, "10% find the channel broken"),
        ({"permanent_rate": 0.5, "dead_destination_rate": 0.02}, "50% fail for good; 2% of addresses gone"),
        ({"lost_reply_rate": 0.01}, "1% of replies lost"),
        ({"fail_first": 1200}, "first 1,200 attempts fail"),
        ({"latency_factor": 2.5}, "latency ×2.5"),
        ({"latency": {"constant": 3}}, "other latency"),
        ({"flap": {"up": 40, "down": 20}}, "flaps, 40 s up, 20 s down"),
        ({"capacity": 1200}, "capacity 1,200"),
        ({"speed": 0.2}, "works at 0.2 of its speed"),
        ({"speed": 0}, "frozen"),
        ({"failure_rate": {"from": 0, "to": 0.6, "over": 600}}, "0% to 60% over 10 min fail"),
        ({"latency_factor": {"from": 1, "to": 2.5, "over": 30}}, "latency ×1 to 2.5 over 30 s"),
        (
            {"burst": {"mean_good": 300, "mean_bad": 20, "failure_rate": 0.9}},
            "90% fail in bursts, 5 min good, 20 s bad",
        ),
        ({"throttle": {"rate": "8/s", "retry_after": 30}}, "throttled to 8/s, Retry-After 30 s"),
        ({"outage": True, "host": "a.example"}, "outage, at a.example"),
        ({"failure_rate": 0.5, "host": ["a.example", "b.example"]}, "50% fail, at 2 hosts"),
        ({"duplicate_rate": 0.01, "reorder": {"delay": 1}}, "1% of messages come twice; messages late, out of order"),
        ({"clock_step": -90}, "wall clock steps −90 s"),
        ({"crash": {"actor": "dlq"}, "restart_after": 5}, "dlq crashes, back after 5 s"),
        ({"throttle": {"rate": "100/min"}}, "throttled to 100/min"),
        ({"throttle": {"rate": "5/3s"}}, "throttled to 5/3 s"),
    ]
)
def test_a_fault_is_told_in_a_few_words(keys, text):
    fault = FaultConfig.model_validate({"channel": "sms", **keys})
    assert fault_text(fault).replace("\N{NO-BREAK SPACE}", " ") == text


def test_every_kind_of_fault_that_runs_has_words_of_its_own():
    given_values = {
        "outage": True,
        "hang": True,
        "fail_first": 3,
        "latency": 1.0,
        "latency_factor": 2.0,
        "throttle": {"rate": "1/s"},
        "flap": {"up": 1.0, "down": 1.0},
        "burst": {"mean_good": 60.0, "mean_bad": 5.0},
        "capacity": 3,
        "crash": "process",
        "deploy": {"each_down": 5.0, "every": 30.0},
        "scale": {"to": 3},
        "partition": "store",
        "clock_step": -90.0,
        "reorder": {"delay": 1.0},
    }
    texts = [
        fault_text(FaultConfig.model_validate({"channel": "all", key: given_values.get(key, 0.5)}))
        for key in FAULT_KEYS
    ]
    assert len(set(texts)) == len(FAULT_KEYS)
    assert "fault" not in texts


def test_the_dips_of_a_flapping_provider_are_those_of_its_window():
    (window,) = windows(scenario("faults: [{channel: sms, at: 1m, for: 150s, flap: {up: 40s, down: 20s}}]"), 3600.0)
    assert window.dips == ((100, 120), (160, 180))
    (window,) = windows(scenario("faults: [{channel: sms, at: 1m, for: 105s, flap: {up: 40s, down: 20s}}]"), 3600.0)
    assert window.dips == ((100, 120), (160, 165))


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"])
TIMES = st.times().map(lambda time: time.replace(second=0, microsecond=0))


@given(
    zone=ZONES,
    start=st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)).map(
        lambda at: at.replace(microsecond=0, tzinfo=UTC)
    ),
    hours=st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] != pair[1]),
    days=st.integers(1, 5),
    shares=st.lists(st.floats(0, 1), min_size=20, max_size=20),
)
def test_quiet_hours_are_shown_when_the_policy_says_it_is_quiet(zone, start, hours, days, shares):
    begin, end = hours
    rule = f"{{share: 50%, from: '{begin:%H:%M}', to: '{end:%H:%M}', zone: {zone}, channels: push}}"
    end_s = days * 86_400.0
    shown = windows(scenario(f"start: {start:%Y-%m-%dT%H:%M:%SZ}\nquiet_hours: [{rule}]"), end_s)
    spans = [span for window in shown for span in window.spans]
    policy = QuietHours(begin, end, zone)
    for at_s in (share * end_s * 0.999 for share in shares):
        is_quiet = policy.end_of_quiet(start + timedelta(seconds=at_s)) is not None
        assert is_quiet is any(first <= at_s < last for first, last in spans)


def test_a_night_of_quiet_hours_over_a_change_of_the_clock_is_as_long_as_it_is():
    rule = "{share: 50%, from: 22:00, to: 07:00, zone: Europe/Berlin, channels: push}"
    ((text, spans),) = found(f"start: 2026-03-28T18:00:00Z\nquiet_hours: [{rule}]", 50_000.0)
    assert text == "push: 50% of users quiet 22:00–07:00 Europe/Berlin"
    assert spans == [(3 * 3600, 11 * 3600)]


def test_a_fault_hits_the_breakers_of_its_channels_and_of_its_provider():
    every, one = (
        Window("all: outage", ((0.0, 1.0),), channels=EVERY_CHANNEL),
        Window("email/backup: outage", ((0.0, 1.0),), channels=("email",), provider="backup"),
    )
    assert all(every.hits(breaker) for breaker in ("email", "email/backup", "pager", "sms@3"))
    assert [one.hits(breaker) for breaker in ("email", "email/backup", "email/backup@2", "sms/backup")] == [
        False, True, True, False,
    ]  # fmt: skip


def test_quiet_hours_by_the_zone_of_users_are_shown_for_each():
    entries = "".join(
        f"  - {{channel: sms, arrivals: {{constant: 1/h}}, users: {{count: 5, zone: {zone}}}}}\n"
        for zone in ("Asia/Tokyo", "Europe/Berlin", "Asia/Tokyo")
    )
    case = parse(f"duration: 1d\nquiet_hours: [{{share: 50%, from: 21:00, to: 08:00}}]\nworkload:\n{entries}")
    assert [(each.text, each.spans) for each in windows(case, 86_400.0)] == [
        ("sms: 50% of users quiet 21:00–08:00 Asia/Tokyo", ((12 * 3600.0, 23 * 3600.0),)),
        ("sms: 50% of users quiet 21:00–08:00 Europe/Berlin", ((0.0, 7 * 3600.0), (20 * 3600.0, 86_400.0))),
    ]
