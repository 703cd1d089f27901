"""Channels of any name in a scenario: what it may be called, where it may stand, and that requests need no people."""

import itertools
import pickle
import re
import sys

import pytest

from actors.channel_names import in_order
from actors.messages import NotificationChannel, SendNotification
from simulation import explain, explore, report, run
from simulation.reporting.facts import facts
from simulation.scenario import parse
from simulation.scenario.lint import lint_scenario
from simulation.scenario.reference import meaning_of
from simulation.scenario.writing import write

APIS = ("payments-api", "geo", "tax-eu", "fraud", "search", "stock", "copy", "json", "of", "api-2-3", "dlq", "x" * 63)
"""Of these some are the names of methods, of groups of the summary, or look like parts of an id."""


def calls(names=APIS, more="", settings="provider: {failure_rate: 5%}"):
    channels = "".join(f"  {name}: {{kind: call, {settings}}}\n" for name in names)
    workload = "".join(f"  - {{channel: {name}, arrivals: {{poisson: 3/s}}}}\n" for name in names)
    return f"name: apis\nduration: 20s\nchannels:\n{channels}workload:\n{workload}{more}"


@pytest.mark.parametrize("name", ["a", "payments-api", "a_1", "copy", "x" * 63])
def test_a_name_is_the_same_channel_whenever_it_is_asked_for(name):
    channel = NotificationChannel(name)
    assert NotificationChannel(name) is channel is pickle.loads(pickle.dumps(channel))
    assert (channel, str(channel), channel.value, channel.is_own) == (name, name, name, True)
    assert {channel: 1}[name] == 1
    assert list(NotificationChannel) == ["email", "sms", "push", "webhook"]
    made = SendNotification(notification_id="n", channel=name, recipient="x", message="m")
    assert made.channel is channel


@pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a b", "a.b", "a/b", "é", "all", "primary", "groups", "x" * 64])
def test_what_can_be_no_name_is_refused(name):
    with pytest.raises(ValueError, match="is not a valid NotificationChannel"):
        NotificationChannel(name)


def test_names_that_nobody_has_are_forgotten():
    from actors.channel_names import _other_channels

    NotificationChannel("not-kept-anywhere")
    assert "not-kept-anywhere" not in _other_channels


def test_the_four_come_first_and_then_the_others_as_they_are_written():
    names = [NotificationChannel(name) for name in ("zeta", "sms", "alpha", "email", "zeta")]
    assert in_order(names) == ["email", "sms", "zeta", "alpha"]
    scenario = parse(
        "duration: 1s\nchannels: {zeta: {kind: push}, sms: {}, alpha: {kind: sms}}\n"
        "workload: [{channel: alpha, arrivals: {constant: 1/s}}, {event: OrderPlaced, arrivals: {constant: 1/s}}]"
    )
    assert scenario.channels_used == ("email", "sms", "zeta", "alpha")
    assert list(run(scenario).summary["channels"]) == ["email", "sms", "zeta", "alpha"]


def test_all_is_every_channel_of_the_file_and_is_written_so():
    faults = (
        "faults: [{channel: all, at: 0s, for: 10s, outage: true}, {channel: [geo, fraud], latency: {constant: 1s}}]"
    )
    scenario = parse(calls(("geo", "fraud"), faults))
    failed = run(scenario).attempts
    assert {"geo", "fraud"} == set(failed[failed["outcome"] == "transient"]["channel"])
    again = parse(write(scenario))
    assert again == scenario
    assert "channel: all" in write(scenario)
    assert "channel: [geo, fraud]" in write(scenario)


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("channels.dlq.attempts", "attempts"),
        ("channels.breaker.dlq.peak", "dlq.peak"),
        ("breaker.nodes.opened", "breaker.email.opened"),
    ],
)
def test_a_metric_of_a_channel_that_is_called_like_a_group_has_its_own_meaning(path, same):
    assert meaning_of(path) == meaning_of(same)


def test_twelve_services_run_without_a_word_of_people():
    more = "faults: [{channel: geo, at: 5s, for: 5s, outage: true}]\nexpect: [channels.geo.sent >= 1]\n"
    result = run(parse(calls(more=more)), invariants="all")
    assert set(result.notifications["user"]) == {""}
    assert {name: each["accepted"] > 20 for name, each in result.summary["channels"].items()} == dict.fromkeys(
        APIS, True
    )
    assert list(result.summary["workload"]) == list(APIS)
    assert all(result.summary["workload"][name]["sent"] == result.summary["channels"][name]["sent"] for name in APIS)
    scenario = parse(calls(("payments-api", "geo"), more))
    result = run(scenario)
    page = report(result)
    page = re.sub(r"<style.*?</style>|<script.*?</script>|base64,[\w+/=]+", "", page, flags=re.DOTALL)
    said = [page, *facts(result), *map(str, lint_scenario(scenario)), *map(repr, explain(scenario).sheets)]
    assert [
        found for each in said for found in re.findall(r"(?i)recipient|\bhosts?\b|preference|\busers?\b", each)
    ] == []


def calls_of_functions(text):
    """Return how many functions a run calls: unlike its time, that is the same at each run and on each machine."""
    scenario, count = parse(text), itertools.count()
    sys.setprofile(lambda _frame, what, _argument: what == "call" and next(count))
    try:
        result = run(scenario)
    finally:
        sys.setprofile(None)
    return next(count), result.summary["accepted"]


def test_a_notification_takes_no_more_work_on_one_of_twelve_channels_than_on_one_of_four():
    def each(names):
        text = calls(names, settings="provider: {latency: 10ms}")
        text = text.replace("kind: call, ", "") if "email" in names else text
        few, many = (
            calls_of_functions(text.replace("poisson: 3/s", arrivals))
            for arrivals in (f"constant: {24 / len(names)}/s", f"constant: {96 / len(names)}/s")
        )
        return (many[0] - few[0]) / (many[1] - few[1])

    each(APIS[:1])  # what is imported and cached then is no work of a notification
    assert each(APIS) <= 1.03 * min(each(APIS[:4]), each(("email", "sms", "push", "webhook")))


def test_what_is_about_users_does_nothing_for_calls_without_any_and_lint_says_so():
    more = (
        "preferences: [{share: 100%, channel: geo, enabled: false}]\n"
        'quiet_hours: [{share: 100%, from: "00:00", to: "12:00", channels: geo}]\n'
        "faults: [{channel: geo, at: 5s, for: 2s, dead_destination_rate: 100%}]\n"
    )
    scenario = parse(calls(("geo",), more, "rate_limit: {max_per_minute: 1}, order: {fair_by: user}"))
    result = run(scenario, invariants="all")
    dead = result.summary["dead_lettered"]
    assert dead > 0
    assert result.summary["suppressed"] == result.summary["deferred"] == 0
    assert result.summary["sent"] == result.summary["accepted"] - dead
    assert {".".join(each.path) for each in lint_scenario(scenario) if each.rule == "of-users-without-users"} == {
        "channels.geo.rate_limit", "channels.geo.order.fair_by", "preferences.0", "quiet_hours.0",
    }  # fmt: skip
    with_users = parse(calls(("geo",), more, "rate_limit: {max_per_minute: 1}").replace("3/s}", "3/s}, users: 2"))
    assert run(with_users, invariants="all").summary["sent"] == 0


def test_a_call_takes_the_place_of_what_fails_and_what_fails_of_calls_may_reach_people():
    text = (
        "duration: 10s\nchannels:\n  email: {fallback: {channel: pager-api}, retry: {max_attempts: 1}}\n"
        "  pager-api: {kind: call, fallback: {channel: sms}, retry: {max_attempts: 1}}\n"
        "workload: [{channel: email, arrivals: {constant: 1/s}}, {channel: pager-api, arrivals: {constant: 1/s}}]\n"
        "faults: [{channel: [email, pager-api], permanent_rate: 100%}]"
    )
    result = run(parse(text), invariants="all")
    by_channel = result.summary["channels"]
    assert (by_channel["email"]["handed_on"], by_channel["pager-api"]["handed_on"]) == (10, 20)
    assert by_channel["sms"]["delivered"] == 20
    users = result.notifications.groupby("channel")["user"].agg(set)
    assert users["pager-api"] == {f"user-0-{k}" for k in range(10)} | {""}
    assert "" not in users["sms"]


@pytest.mark.parametrize("seeds", [6, pytest.param(300, marks=pytest.mark.slow)])
def test_drawn_cases_are_in_lock_step_with_the_reference_model(seeds, tmp_path):
    text = (
        "duration: 30s\nchannels:\n  payments-api: {kind: call, endpoints: {disable_after: 10s}, "
        "fallback: {channel: news-3-4}}\n  geo_2: {kind: call, fallback: {channel: payments-api}}\n"
        "  news-3-4: {kind: email, redrive: {}, rate_limit: {max_per_minute: 10}, failover: {second: {}}}\n"
        "  hook: {kind: webhook}\nworkload:\n"
        "  - {channel: payments-api, arrivals: {poisson: 1/s}}\n"
        "  - {channel: geo_2, arrivals: {poisson: 1/s}, users: 20}\n"
        "  - {channel: news-3-4, arrivals: {poisson: 1/s}, users: 20, hosts: 3}\n"
        "  - {channel: hook, arrivals: {poisson: 1/s}, users: 20, hosts: 3}\n"
        "  - {event: OrderPlaced, arrivals: {poisson: 1/s}}\n"
        "preferences: [{share: 20%, channel: geo_2, enabled: false}]\n"
    )
    (file := tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    explored = explore(file, seeds=seeds, shrink_runs=20)
    assert explored.failures == [], explored
