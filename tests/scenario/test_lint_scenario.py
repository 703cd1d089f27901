"""The linter over scenarios: shipped ones, their places in the file, and what only a scenario can get wrong."""

import itertools
import json
import logging
import random
import textwrap
from bisect import bisect_right
from functools import partial
from pathlib import Path

import in_process
import pytest
import trio
import yaml
from beside import tables
from documents import text_of
from each_row import over_each
from effort import sliced
from hypothesis import given, strategies as st
from scenario_tables import written
from worlds import Scripted

import simulation
from actors import Notifier
from actors.instants import ns
from actors.pipeline.retries import BUDGET_SPENT
from simulation.scenario import load, parse
from simulation.scenario.arrivals import MONDAY_NS, Arrivals, arrival_times_ns
from simulation.scenario.expected_arrivals import expected_arrivals, most_arrivals
from simulation.scenario.lint import lint_scenario, lint_varied, located
from simulation.scenario.unnamed import default_notes

TABLES = tables(__file__)

ROOT = Path(__file__).parents[2]
TIMES = "duration: 10m\n"
HEAD = TIMES + "workload: [{channel: email, arrivals: {poisson: 20/s}}]\n"


retrylab = partial(in_process.retrylab, cwd=ROOT)


def said(text):
    return [str(finding) for finding in lint_scenario(parse(text))]


# ── false alarms ────────────────────────────────────────────────────────────────────────────────────────────────


@over_each(sorted((ROOT / "scenarios").glob("*.yaml")))
def test_shipped_scenarios_have_no_warning_but_those_that_are_meant(path):
    meant = TABLES["meant"]
    assert [str(finding) for finding in lint_scenario(load(path))] == meant.get(path.stem, [])


# ── a true one ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("discipline", sliced(["fifo", "critical_first", "processor_sharing"], 6))
def test_late_work_takes_up_the_provider_just_when_it_is_said_to(discipline):
    """A fifth takes 20 s, and 19 s of that in vain: a place takes 4.08 s for each, so 5/s need 20.4 of them."""
    text = """
name: late
duration: 10m
workload:
  - {channel: sms, arrivals: {poisson: 2.5/s}}
  - {channel: sms, arrivals: {poisson: 2.5/s}, critical: true}
channels:
  sms:
    timeout: 1s
    circuit_breaker: {enabled: false}
    retry: {max_attempts: 1}
    provider:
      latency: {mixture: [{weight: 8, constant: 100ms}, {weight: 2, constant: 20s}]}
      capacity: CAPACITY
      discipline: DISCIPLINE
""".replace("DISCIPLINE", discipline)
    few, enough = (parse(text.replace("CAPACITY", places)) for places in ("10", "30"))
    assert [str(finding) for finding in lint_scenario(few)] == [
        "channels.sms.provider.capacity: 10 places at a mean latency of 4.08s serve 2.45/s, and 5/s arrive: the queue "
        "grows by 153 a minute"
    ]
    assert lint_scenario(enough) == []
    sent = [simulation.run(scenario).summary["sent_fraction"] for scenario in (few, enough)]
    assert sent[0] < 0.5
    assert sent[1] > 0.75


# ── what is said of a scenario ──────────────────────────────────────────────────────────────────────────────────


FINDINGS = yaml.safe_load(Path(__file__).with_name("findings.yaml").read_text(encoding="utf-8"))


@over_each(FINDINGS)
def test_what_it_says(row):
    assert said(row["scenario"]) == row.get("findings", [])


def test_what_is_varied_where_nothing_arrives_has_no_effect():
    scenario = parse(HEAD + "channels: {email: {fallback: {channel: sms}}}")
    email, sms, push = (f"channels.{name}.retry.max_attempts" for name in ("email", "sms", "push"))
    said = f"{push}: nothing arrives on push: it has no effect"
    assert lint_varied(scenario, [email, push, sms, "seed"]) == [said]
    assert lint_varied(scenario, [push, "workload.0.channel"]) == []
    assert lint_varied(scenario, [push, "channels.sms.fallback.channel"]) == []
    assert lint_varied(parse(TIMES + "workload: [{event: OrderPlaced, arrivals: {poisson: 20/s}}]"), [email, sms]) == []


@pytest.mark.parametrize(("workload", "settings", "places"), TABLES["all_alike"])
def test_where_all_are_alike_no_one_goes_first(workload, settings, places):
    first = "provider: {capacity: 9, discipline: critical_first}"
    text = f"{TIMES}workload: [{workload}]\nchannels: {{email: {{{first}, failover: {{b: {{{first}}}}}}}, {settings}}}"
    who = "all that arrive are critical" if "critical: true" in workload else "nothing that arrives is critical"
    found = [finding for finding in said(text) if "discipline" in finding]
    assert found == [
        f"channels.{place}.discipline: critical_first, and {who}: it is first come, first served" for place in places
    ]


# ── where it is said ────────────────────────────────────────────────────────────────────────────────────────────

WRONG = """\
duration: 10m
workload:
  - {channel: email, arrivals: {poisson: 20/s}}
channels:
  email:
    circuit_breaker:
      when_open: fail
    timeout: 100ms
    max_in_flight: 1
    provider: {latency: 250ms}
    quota:
      rate: 5/s
  sms: {timeout: 5s}
faults:
  - {channel: email, at: 3h, outage: true}
"""


wrong = written("wrong.yaml", WRONG)


def test_each_finding_stands_at_its_setting_in_the_order_of_the_file(wrong):
    lines = located(lint_scenario(load(wrong)), wrong)
    assert [line.removeprefix(str(wrong)).split(": ")[0:2] for line in lines] == [
        [":7:18", "channels.email.circuit_breaker.when_open"],
        [":8:14", "channels.email.timeout"],
        [":12:13", "channels.email.quota.rate"],
        [":13:8", "channels.sms"],
        [":15:26", "faults.0.at"],
    ]


def test_a_default_stands_at_the_nearest_that_is_there(tmp_path):
    path = tmp_path / "default.yaml"
    path.write_text(HEAD + "channels:\n  email:\n    provider: {latency: 20s}\n")
    (line,) = located(lint_scenario(load(path)), path)
    assert line.startswith(f"{path}:5:5: channels.email.timeout: 10s is shorter than")


FURTHER = """\
duration: 10m
workload:
  - {channel: email, arrivals: {poisson: 20/s}}
channels:
  email:
    switch_after: 5
    hedging:
      max_attempts: 2
      delay: 20s
    quota: {rate: 8/s}
    fallback: {channel: sms, after: 30ms}
    provider: {latency: 50ms}
    failover:
      backup:
        hedging: {delay: 10ms}
        quota:
          rate: 4/s
        provider: {latency: 40ms}
      slow:
        quota: {rate: 1/s}
        provider: {latency: 30s}
"""


def test_what_is_said_of_further_providers_stands_where_they_are(tmp_path):
    path = tmp_path / "further.yaml"
    path.write_text(FURTHER)
    lines = located(lint_scenario(load(path)), path)
    assert [line.removeprefix(str(path)).split(": ")[0:2] for line in lines] == [
        [":6:19", "channels.email.switch_after"],
        [":9:14", "channels.email.hedging.delay"],
        [":10:19", "channels.email.quota.rate"],
        [":11:37", "channels.email.fallback.after"],
        [":15:26", "channels.email.failover.backup.hedging.delay"],
        # Its own are only the latency and the quota: the timeout and the hedging are the channel's.
        [":20:9", "channels.email.failover.slow.timeout"],
    ]
    assert lines[2].endswith(
        "8/s, with those of failover 13/s, is below the 20/s that arrive: the queue grows by 420 a minute"
    )


BUDGET = """duration: 10m
record: aggregates
workload: [{channel: email, arrivals: {poisson: 20/s}}]
channels:
  email:
    retry: {budget: %s}
    circuit_breaker: {enabled: false}
    provider: {latency: 100ms, failure_rate: %s}
"""


def test_a_budget_that_does_not_last_is_found_in_the_file(tmp_path):
    path = tmp_path / "budget.yaml"
    path.write_text(BUDGET % ("{kind: grpc, token_ratio: 0.01}", "2%"))
    assert located(lint_scenario(load(path)), path) == [
        f"{path}:6:47: channels.email.retry.budget.token_ratio: 0.01 for each success makes up for 0.99% of the "
        "attempts failing, and 2% do, so that the tokens run out: with nothing wrong, some of what fails is not retried"
    ]


@pytest.mark.parametrize(
    ("budget", "too_many", "few"),
    sliced(
        [
            ("{share: 10%, min_rate: 1/s}", "18%", "10%"),
            ("{kind: envoy, share: 20%}", "18%", "3%"),
            ("{kind: grpc, token_ratio: 0.1}", "12%", "6%"),
            ("{kind: aws}", "25%", "18%"),
            ("{kind: token_bucket, share: 10%}", "18%", "8%"),
        ],
        6,
    ),
)
def test_a_budget_that_is_warned_of_refuses_retries_and_one_that_is_not_hardly_does(budget, too_many, few):
    shares = []
    for failure_rate in (too_many, few):
        result = simulation.run(parse(BUDGET % (budget, failure_rate)))
        spent = sum(letter.reason == BUDGET_SPENT for letter in result.history)
        failed = result.summary["attempts"] - result.summary["sent"]
        shares.append(spent / failed)
        assert bool(result.warnings) == (failure_rate == too_many)
    assert shares[0] > 0.1
    assert shares[1] < 0.05


def test_an_override_is_named_as_such(wrong):
    sets = ["channels.email.timeout=50ms", "faults=[]"]
    lines = located(lint_scenario(load(wrong, sets=sets)), wrong, sets)
    assert lines[-1].startswith("--set channels.email.timeout: 50ms is shorter than the provider's median latency")


# ── the commands ────────────────────────────────────────────────────────────────────────────────────────────────


def test_run_says_them_on_stderr_and_goes_on(wrong):
    done = retrylab("run", wrong.name, "--json", "--set", "duration=1s", cwd=wrong.parent)
    assert done.returncode == 0
    assert "channels" in json.loads(done.stdout)
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    assert lines[1] == (
        "warning: wrong.yaml:8:14: channels.email.timeout: 100ms is shorter than the provider's median latency of "
        "250ms: 100% of the attempts will time out"
    )


def test_lint_prints_them_alone_and_exits_1_if_there_are_any(wrong):
    done = retrylab("lint", ROOT / "scenarios" / "steady-state.yaml", wrong)
    assert (done.returncode, done.stderr) == (1, "")
    notes = [f"note: {note}" for note in located(default_notes(load(wrong)), wrong)]
    assert done.stdout.splitlines() == [*located(lint_scenario(load(wrong)), wrong), *notes]
    assert len(notes) == 2


def test_the_guide_shows_what_it_prints():
    done = retrylab("lint", "scenarios/throttling-provider.yaml")
    assert f"```text\n{done.stdout}```\n" in text_of("scenarios")


def test_a_file_that_cannot_be_read_again_is_named_without_a_line(wrong):
    findings = lint_scenario(load(wrong))
    wrong.unlink()
    assert located(findings, wrong)[1].startswith(f"{wrong}: channels.email.timeout: 100ms is shorter")


def test_lint_of_what_is_right_or_no_scenario(tmp_path):
    done = retrylab("lint", ROOT / "scenarios" / "steady-state.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = retrylab("lint", "nowhere.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "nowhere.yaml: no such file\n")


def test_a_result_has_them_and_its_summary_and_digest_do_not(wrong):
    result = simulation.run(wrong, sets=["duration=1s"])
    assert [text.split(":")[0] for text in result.warnings] == [
        "channels.email.circuit_breaker.when_open",
        "channels.email.timeout",
        "channels.email.quota.rate",
        "channels.sms",
        "faults.0.at",
    ]
    assert "warnings" not in result.summary


# ── live ────────────────────────────────────────────────────────────────────────────────────────────────────────


SILENT = Scripted(lambda _: pytest.fail("nothing is sent"))


@pytest.mark.parametrize(
    ("providers", "expected"), [(None, ["when_open", "timeout", "timeout"]), (SILENT, ["when_open"])]
)
def test_a_live_configuration_is_linted_into_the_log_once(caplog, providers, expected):
    settings = {
        "circuit_breaker": {"when_open": "fail"},
        "timeout": 0.1,
        "provider": {"latency": 0.25},
        "failover": {"backup": {"provider": {"latency": 0.2}}},
    }

    async def main():
        async with Notifier.open({"channels": {"email": settings, "sms": {}}}, providers=providers):
            pass

    with caplog.at_level(logging.WARNING):
        trio.run(main)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * len(expected)
    assert [record.getMessage().split(":")[0].rsplit(".", 1)[-1] for record in caplog.records] == expected


@pytest.mark.parametrize(("providers", "count"), [(None, 0), (SILENT, 1)])
def test_a_real_provider_may_say_that_the_channel_is_broken(caplog, providers, count):
    async def main():
        settings = {"circuit_breaker": {"enabled": False}}
        async with Notifier.open({"channels": {"email": settings, "sms": {}}}, providers=providers):
            pass

    trio.run(main)
    assert caplog.text.count("channels.email.circuit_breaker.enabled: false, and a channel fault") == count
    assert len(caplog.records) == count


# ── how many arrive ─────────────────────────────────────────────────────────────────────────────────────────────

TRACE = {"file": str(ROOT / "tests" / "scenario" / "counts.csv"), "column": "value", "every": "10s"}
PROCESSES = [
    {"constant": "7/s"},
    {"poisson": "7/s"},
    {"burst": {"size": 40, "every": "9s"}},
    {"burst": {"size": {"uniform": {"low": 1, "high": 5}}, "every": {"exponential": {"mean": "500ms"}}}},
    {"daily": {"at": "00:01", "zone": "UTC", "count": 4000, "over": "5m"}},
    {"ramp": {"from": "1/s", "to": "20/s"}},
    {"ramp": {"from": "20/s", "to": "1/s"}},
    {"diurnal": {"mean": "5/s", "peak": "9/s", "peak_at": "1h"}},
    {"diurnal": {"mean": "1/s", "peak": "9/s", "peak_at": "0s"}},
    {"weekly": {"mean": "5/s", "factors": [hour % 7 for hour in range(168)]}},
    {
        "stages": [
            {"to": "20/s", "over": "30s"},
            {"hold": "20s"},
            {"to": "0/s", "over": "0s"},
            {"hold": "30s"},
            {"to": "9/s", "over": "90s"},
            {"to": "2/s", "over": "60s"},
        ]
    },
    {"trace": TRACE},
    {"times": [second / 4 for second in range(200, 400) for _ in range(second % 3)]},
]


@over_each(itertools.product(PROCESSES, (0, 3600, 80_000)))
def test_as_many_are_expected_as_arrive(process, time_of_day):
    arrivals = Arrivals.model_validate(process)
    for duration in (95.0, 600.0):
        times = list(arrival_times_ns(arrivals, random.Random(4), ns(duration), epoch_ns=MONDAY_NS + ns(time_of_day)))
        expected = expected_arrivals(arrivals, duration, epoch_ns=MONDAY_NS + ns(time_of_day))
        assert abs(len(times) - expected) <= 4 * max(1.0, expected) ** 0.5
        for until in (0.0, 0.4 * duration, duration):
            so_far = expected_arrivals(arrivals, duration, epoch_ns=MONDAY_NS + ns(time_of_day), until=until)
            assert abs(sum(at_ns < ns(until) for at_ns in times) - so_far) <= 4 * max(1.0, so_far) ** 0.5


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_no_stretch_is_busier_than_the_busiest(process):
    arrivals = Arrivals.model_validate(process)
    times = list(arrival_times_ns(arrivals, random.Random(4), ns(600)))

    @given(width=st.floats(0.5, 200), start=st.floats(0, 400))
    def check(width, start):
        most = most_arrivals(arrivals, width)
        within = bisect_right(times, ns(start + width)) - bisect_right(times, ns(start))
        assert within <= most + 5 * most**0.5 + 1

    check()


def test_a_whole_day_has_its_mean():
    arrivals = Arrivals.model_validate({"diurnal": {"mean": "1/s", "peak": "9/s", "peak_at": "5h"}})
    assert expected_arrivals(arrivals, 86_400.0) == pytest.approx(86_400)
    halves = expected_arrivals(arrivals, 43_200.0) + expected_arrivals(
        arrivals, 43_200.0, epoch_ns=MONDAY_NS + ns(43_200.0)
    )
    assert halves == pytest.approx(86_400, rel=1e-4)


QUEUES = """
    duration: 2m
    {bound}workload:
      - {{channel: email, arrivals: {{constant: 12/s}}, for: 1m}}
      - {{channel: email, priority: bulk, arrivals: {{burst: {{size: 100, every: 40s}}}}}}
      - {{channel: sms, arrivals: {{constant: {sms}/s}}}}
    channels:
      email: {{quota: {{rate: 8/s, kind: token_bucket, burst: 1}}}}
      sms: {{max_in_flight: 4, provider: {{latency: 1s}}}}
    """


@pytest.mark.parametrize(("sms", "key", "most"), [(3, "email.quota", 440), (12, "sms.max_in_flight", 1020)])
def test_it_is_said_how_many_would_wait_where_more_arrive_than_go(sms, key, most):
    """On all channels together, as a run shows; those of the bursts and of a steady rate are one queue."""
    bounded = textwrap.dedent(QUEUES.format(bound="max_pending: 150\n    ", sms=sms))
    (found,) = [finding for finding in said(bounded) if "pending" in finding]
    assert found.partition(":")[0] == f"channels.{key}"
    told = int(found.split("up to ")[1].split(" ")[0].replace(",", ""))
    assert told == pytest.approx(most, rel=0.06)
    assert found.endswith("and at most 150 may be pending: what is more is refused, the first of these at 120 pending")
    waiting = simulation.run(parse(textwrap.dedent(QUEUES.format(bound="", sms=sms)))).summary["peaks"]["waiting"]
    # The peaks of what waits for an account and for slots need not be at one instant.
    assert 0.94 * max(waiting.values()) <= told <= 1.06 * sum(waiting.values())
    assert simulation.run(parse(bounded)).summary["refused"]["overloaded"] > 0


@pytest.mark.parametrize(
    ("nodes", "settings"),
    sliced(
        [
            (1, "quota: {rate: 10/s}"),
            (2, "quota: {rate: 10/s}"),
            (2, "quota: {rate: 10/s, kind: token_bucket, across: nodes}"),
            (2, "max_in_flight: 2, provider: {latency: 200ms}"),
            (1, "quota: {rates: [20/s, 600/min]}"),
            (1, "quota: {rate: 800/h}"),
            (1, "quota: {rate: 600/min, kind: token_bucket}"),
            (1, "quota: {rate: 10/s, kind: leaky_bucket}"),
        ],
        4,
    ),
)
def test_as_many_wait_as_it_says_at_each_number_of_nodes_and_under_each_limit(nodes, settings):
    """A window lets its whole count go at once, however long it is; and each node has a quota and slots of its own."""
    text = f"""
        duration: 30s
        nodes: {nodes}
        workload: [{{channel: sms, users: 1000, arrivals: {{constant: 50/s}}}}]
        channels: {{sms: {{{settings}}}}}
        """
    text = textwrap.dedent(text)
    (found,) = [finding for finding in said(text + "max_pending: 150\n") if "would wait" in finding]
    told = int(found.split("up to ")[1].split(" ")[0].replace(",", ""))
    waiting = simulation.run(parse(text)).summary["peaks"]["waiting"]
    assert told == pytest.approx(max(waiting["quota"], waiting["slots"]), rel=0.1)


def test_nothing_is_said_where_there_is_room_for_all_that_would_wait():
    text = textwrap.dedent(QUEUES.format(bound="max_pending: 600\n    ", sms=3))
    assert [finding for finding in said(text) if "pending" in finding] == []
    assert simulation.run(parse(text)).summary["refused"]["overloaded"] == 0
