"""`explain`: closed forms agree with runs, a breaker opens when it says, and whatever shows it says the same."""

import json
from dataclasses import replace

import numpy as np
import pytest
from console_command import app
from typer.testing import CliRunner

import simulation
from actors.errors import ConfigurationError
from actors.messages import NotificationChannel
from simulation.experiments.explaining import channel as explaining
from simulation.experiments.explaining.channel import (
    HORIZON_S,
    breaker_in_words,
    cost_in_words,
    endpoints_in_words,
    open_spells,
    opens_s,
    sheets,
)
from simulation.experiments.explaining.outages import (
    UnderLoad,
    _by_run,
    has_closed_form,
    load_sheet,
    one_call,
    under_load,
)
from simulation.experiments.explaining.picture import picture
from simulation.experiments.explaining.schedule import (
    By,
    Reach,
    drawn_starts,
    limits_in_words,
    schedule_in_words,
    schedule_sheet,
    schedules,
)

EMAIL = NotificationChannel.EMAIL


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(explaining, "OUTAGES_S", (1.0, 5.0))


def parsed(email, **more):
    return simulation.parse(
        json.dumps(
            {
                "duration": "1m",
                "workload": [{"channel": "email", "arrivals": {"poisson": "4/s"}, **more}],
                "channels": {"email": email},
            }
        )
    )


NO_BREAKER = {"circuit_breaker": {"enabled": False}}


@pytest.mark.parametrize(
    ("email", "outage_s"),
    [
        ({"retry": {"max_attempts": 3}}, 1.0),
        ({"retry": {"max_attempts": 3}}, 8.0),
        ({"retry": {"max_attempts": 5, "max_elapsed": "7s"}}, 20.0),
        ({"retry": {"schedule": ["300ms", "4s"]}, "provider": {"latency": "250ms"}}, 6.0),
        ({"retry": {"max_attempts": 1}, "provider": {"latency": "250ms"}}, 3.0),
    ],
)
def test_the_closed_form_is_what_a_run_finds(email, outage_s):
    scenario = parsed(NO_BREAKER | email)
    assert has_closed_form(scenario.channel_config(EMAIL))
    formula = under_load(scenario, EMAIL, 4.0, outage_s, scenario.workload[0])
    run = _by_run(scenario, EMAIL, 4.0, outage_s, scenario.workload[0])
    assert (formula.by, run.by) == (By.FORMULA, By.RUN)
    for found in ("calls", "lost", "requests", "peak_per_s"):
        assert getattr(formula, found) == getattr(run, found), found
    if formula.lost < formula.calls:
        assert formula.slowest_s == pytest.approx(run.slowest_s, abs=1e-6)


def test_what_is_lost_of_drawn_schedules_is_their_mean():
    config = {"retry": {"max_attempts": 4, "initial_delay": "2s", "jitter": "equal"}}
    scenario = parsed(NO_BREAKER | config)
    found = under_load(scenario, EMAIL, 10.0, 10.0, scenario.workload[0])
    last = np.sort([row[-1] for row in drawn_starts(scenario.channel_config(EMAIL).retry, 0.0, 1)])  # with another seed
    mean = sum(np.searchsorted(last, 10.0 - came / 10) for came in range(100)) / len(last)
    assert found.lost == pytest.approx(mean, rel=0.1)
    assert found.lost > 1


def test_what_is_lost_while_the_breaker_is_still_open_is_no_part_of_the_outage():
    breaker = {"failure_threshold": 3, "timeout": "30s", "when_open": "fail"}
    scenario = parsed({"circuit_breaker": breaker, "retry": {"max_attempts": 1}})
    found = under_load(scenario, EMAIL, 10.0, 10.0, scenario.workload[0])
    assert (found.calls, found.lost) == (100, 100)
    assert found.lost_after == pytest.approx(10 * (found.closes_s or 0.0), abs=2)
    assert found.lost_after > 100


@pytest.mark.parametrize(
    ("email", "said"),
    [
        (NO_BREAKER, "up to 50 requests/s."),
        ({}, "up to 50 requests/s, less those that an open breaker keeps back."),
        (
            {"retry": {"max_attempts": 5, "budget": {"kind": "finagle", "share": "10%"}}},
            "up to 50 requests/s, less those that the retry budget and an open breaker keep back.",
        ),
    ],
)
def test_only_what_there_is_keeps_requests_back(email, said):
    config = parsed({"retry": {"max_attempts": 5}} | email).channel_config(EMAIL)
    assert cost_in_words(config, 10.0, schedules(config.retry)[0], config.timeout)[0].text.endswith(said)


def test_drawn_schedules_agree_with_a_run():
    scenario = parsed(NO_BREAKER | {"retry": {"max_attempts": 4, "jitter": "full"}})
    drawn = under_load(scenario, EMAIL, 50.0, 10.0, scenario.workload[0])
    run = _by_run(scenario, EMAIL, 50.0, 10.0, scenario.workload[0])
    assert drawn.by == By.DRAWS
    assert drawn.lost == pytest.approx(run.lost, abs=4 * drawn.lost**0.5)
    assert drawn.requests == pytest.approx(run.requests, rel=0.05)


@pytest.mark.parametrize(
    "breaker",
    [
        {},
        {"failure_threshold": 3, "timeout": "2s"},
        {"window": {"calls": 20}},
        {"window": {"time": "4s"}, "failure_rate": 0.3},
        {"window": {"ema": 12}, "minimum_calls": 5},
        {"failure_threshold": 2, "timeout": "1s", "open_growth": {"multiplier": 2, "max": "3s"}},
    ],
)
def test_the_breaker_opens_and_probes_when_it_says(breaker):
    # Nothing is retried, so that first attempts alone are counted: that is what is promised.
    scenario = parsed({"retry": {"max_attempts": 1}, "circuit_breaker": breaker, "provider": {"latency": "50ms"}})
    config = scenario.channel_config(EMAIL)
    run = under_load(scenario, EMAIL, 10.0, 8.0, scenario.workload[0])
    assert run.opens_s == pytest.approx(opens_s(config, 10.0), abs=1e-6)
    probe_s = next(spell.end_s for spell in open_spells(config, 10.0) if spell.end_s >= 8.0)
    assert run.closes_s == pytest.approx(probe_s + 0.05 - 8.0, abs=0.11)  # the next call is the probe


def test_a_window_that_too_few_calls_fall_into_never_opens():
    config = parsed({"circuit_breaker": {"window": {"time": "2s"}}}).channel_config(EMAIL)
    assert opens_s(config, 4.0) is None
    assert opens_s(config, 10.0) is not None


def test_what_an_outage_does_to_one_call():
    config = parsed({"retry": {"max_attempts": 3}, "provider": {"latency": "100ms"}}).channel_config(EMAIL)
    late = one_call(config, 3.3)  # attempts start at 0, 1.1 and 3.2 s
    assert (late.delivered, late.after, late.attempts, late.by) == (0.0, None, 3.0, By.FORMULA)
    in_time = one_call(config, 3.2)
    assert (in_time.delivered, in_time.attempts) == (1.0, 3.0)
    assert in_time.after.shortest == in_time.after.longest == pytest.approx(3.3)


def test_a_limit_on_the_time_makes_late_attempts_uncertain():
    retry = {"max_attempts": 10, "jitter": "full", "max_elapsed": "10s"}
    (schedule,) = schedules(parsed({"retry": retry}).channel_config(EMAIL).retry)
    assert [each.is_certain for each in schedule.attempts] == [True] * 4 + [False] * 6
    assert all(each.start.longest <= 10.0 for each in schedule.attempts)
    assert 4.0 < schedule.mean_attempts < 10.0


def test_the_cost_is_that_of_the_attempts_that_there_is_time_for():
    retry = {"max_attempts": 50, "initial_delay": "1s", "backoff": "constant", "max_elapsed": "10s"}
    config = parsed({"retry": retry, "provider": {"price": 2}}).channel_config(EMAIL)
    said = " ".join(each.text for each in cost_in_words(config, 5.0, schedules(config.retry)[0], config.timeout))
    assert "a call makes 10 requests: 5 calls/s become up to 50 requests/s" in said
    assert "A call costs 2, and 20 if every attempt fails." in said


def test_each_kind_of_failure_with_a_rule_has_a_schedule():
    retry = {"per_outcome": {"throttled": {"max_attempts": 5, "initial_delay": "30s"}}}
    found = schedules(parsed({"retry": retry}).channel_config(EMAIL).retry)
    assert [(each.failures, each.max_attempts) for each in found] == [("any", 3), ("throttled", 5)]
    assert found[1].attempts[1].start.shortest == 30.0


def test_a_setting_that_only_a_run_accounts_for_is_named():
    provider = {"latency": "200ms", "one_at_a_time": {}, "throttle": {"rate": "9/s"}}
    for email, named in (
        ({"quota": {"rate": "2/s"}, "retry": {"budget": {}}}, ("quota", "retry.budget")),
        ({"tenant": {"rate": "2/s"}, "provider": provider}, ("tenant", "provider.throttle", "provider.one_at_a_time")),
    ):
        config = parsed(NO_BREAKER | email).channel_config(EMAIL)
        assert not has_closed_form(config)
        assert explaining.besides(config) == named


def test_that_a_table_leaves_out_what_attempts_take_is_said_and_of_what_the_mean_is():
    said = "The table leaves out what attempts take, 1 s each"
    for latency, more in (("1s", "."), ({"exponential": {"mean": "1s"}}, " on average, by which the formulas go.")):
        email = parsed({"timeout": "1h", "provider": {"latency": latency}}).channel_config(EMAIL)
        assert limits_in_words(email)[0].text == said + more
    assert limits_in_words(parsed({}).channel_config(EMAIL)) == []


@pytest.mark.usefixtures("short")
def test_what_of_the_people_and_of_other_entries_is_in_no_number_is_named():
    scenario = simulation.parse("""
        duration: 1m
        max_pending: 100
        workload:
          - {name: codes, channel: email, arrivals: {poisson: 1/s}, users: 9}
          - {name: offers, channel: email, arrivals: {poisson: 1/s}, users: 9, expires_after: 3m}
        channels: {email: {rate_limit: {rate: 3/min, on_limit: drop}, circuit_breaker: {enabled: false}}}
        quiet_hours: [{share: 30%, from: 22:00, to: 06:00}]
        preferences: [{share: 10%, channel: push, enabled: false}]
    """)
    (email,) = simulation.explain(scenario).channels
    assert email.left_out == ("quiet_hours", "max_pending", "workload.offers.expires_after")
    notes = "".join(note for sheet in sheets("a", [email]) for note in sheet.notes)
    assert "One node" not in notes
    assert email.in_words[-1].text == "What is over the rate_limit is dropped, outage or not."


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("nodes", "breaker", "named"),
    [
        (1, {}, ()),
        (3, {}, ("nodes",)),
        (3, {"shared": "any"}, ("nodes", "circuit_breaker.shared")),
    ],
)
def test_that_it_is_of_one_node_is_said_where_there_are_more(nodes, breaker, named):
    sets = [f"nodes={nodes}", *(f"channels.email.circuit_breaker.{key}={value}" for key, value in breaker.items())]
    (email,) = simulation.explain(sets=[*sets, "channels.email.retry.max_attempts=2"], load=1.0).channels
    assert email.left_out == named
    said = f"One node takes the whole load. Left out: {', '.join(named)}."
    assert any(note.endswith(said) for sheet in sheets("a", [email]) for note in sheet.notes) == bool(named)


def test_when_an_endpoint_is_disabled_is_said_beside_the_breaker():
    config = parsed({"endpoints": {"disable_after": "5d"}}).channel_config(EMAIL)
    assert explaining.besides(config) == ("endpoints",)
    (said,) = endpoints_in_words(config)
    assert said.text.startswith("An endpoint is disabled when all attempts at it have failed for 5 d, from the")
    assert "that are 12 h to 24 h apart" in said.text


def test_a_run_has_the_users_of_the_scenario():
    endpoints = NO_BREAKER | {"endpoints": {"disable_after": "10s"}, "retry": {"max_attempts": 1}}
    apart, few = parsed(endpoints), parsed(endpoints, users=4, hosts=2)
    runs = [under_load(each, EMAIL, 4.0, 60.0, each.workload[0]) for each in (apart, few)]
    assert [run.calls for run in runs] == [240, 240]
    assert runs[0].requests == 240  # each address fails once
    assert 40 <= runs[1].requests < 120  # the four are disabled within 30 s
    assert (runs[0].lost_after, runs[1].lost_after) == (0, 240)


def test_a_run_has_the_accounts_of_the_scenario():
    scenario = simulation.parse(
        json.dumps(
            {
                "duration": "1m",
                "accounts": {"mail": {"throttle": {"rate": "5/s"}}},
                "workload": [{"event": "OrderPlaced", "arrivals": {"poisson": "4/s"}, "users": 9}],
                "channels": {"email": NO_BREAKER | {"quota": {"account": "mail"}, "provider": {"account": "mail"}}},
            }
        )
    )
    run = under_load(scenario, EMAIL, 10.0, 10.0, scenario.workload[0])
    assert (run.calls, run.requests) == (100, 50)


@pytest.mark.usefixtures("short")
def test_the_load_is_that_of_the_scenario_unless_one_is_given():
    scenario = parsed(NO_BREAKER)
    (found,) = simulation.explain(scenario).channels
    assert (found.load, found.load_is) == (4.0, "of the scenario")
    (found,) = simulation.explain(scenario, load=7.0).channels
    assert (found.load, found.load_is, found.under_load[0].rate) == (7.0, "given", 7.0)


@pytest.mark.usefixtures("short")
def test_settings_alone_are_explained_on_the_defaults():
    found = simulation.explain(sets=["channels.sms.retry.max_attempts=7", "channels.sms.circuit_breaker.enabled=false"])
    (sms,) = found.channels
    assert (sms.channel, sms.load_is, sms.schedules[0].max_attempts) == ("sms", "assumed", 7)


@pytest.mark.usefixtures("short")
def test_a_channel_that_is_only_a_fallback_is_explained_with_an_assumed_load():
    fallback = {"fallback": {"channel": "sms"}, "retry": {"max_attempts": 2}, **NO_BREAKER}
    email, sms = simulation.explain(parsed(fallback)).channels
    assert (email.load_is, sms.channel, sms.load_is) == ("of the scenario", "sms", "assumed")


UPSTREAM = {"upstream": {"latency": {"constant": "2s"}, "failure_rate": "50%", "retry": {"max_attempts": 1}}}


@pytest.mark.usefixtures("short")
def test_the_upstream_of_a_provider_takes_its_time_in_every_number():
    provider = {"latency": {"constant": "1s"}} | UPSTREAM
    (email,) = simulation.explain(parsed(NO_BREAKER | {"retry": {"max_attempts": 3}, "provider": provider})).channels
    assert [each.slowest_s for each in email.under_load] == [pytest.approx(4.0, abs=1.1), pytest.approx(10.0, abs=3)]
    assert email.under_load[0].lost == 0  # the upstream is well too
    assert email.one_call[0].after.shortest == pytest.approx(1.0 + 1.0 + 3.0)
    assert "provider.upstream" in email.besides
    assert any("up to 1 request of its own to its upstream" in said.text for said in email.cost)


def test_calls_that_came_before_an_outage_are_not_lost_to_it():
    # The provider takes one a second of ten, and nobody waits longer than two seconds.
    provider = {"capacity": 1, "latency": {"constant": "1s"}}
    scenario = parsed(NO_BREAKER | {"provider": provider, "retry": {"max_attempts": 1}}, expires_after="2s")
    found = under_load(scenario, EMAIL, 10.0, 5.0, scenario.workload[0])
    assert 0 < found.lost <= found.calls == 50
    assert found.lost_before > 100
    assert "before it" in load_sheet([found], 10.0, "10/s", (), ()).rows[0].cells[2]


def test_a_run_at_a_lower_rate_than_the_load_says_which():
    slow = UnderLoad(60.0, 1.5, 90, 0, 90, 3, 61.0, None, None, By.RUN)
    sheet = load_sheet([replace(slow, rate=20.0), slow], 20.0, "20/s", (), ())
    assert [row.cells[1] for row in sheet.rows] == ["20/s", "1.5/s"]
    assert "rate" not in [column.heading for column in load_sheet([slow], 1.5, "1.5/s", (), ()).columns]


def test_attempts_that_are_not_followed_are_said_to_be():
    retry = {"max_attempts": 3000, "initial_delay": "2s", "backoff_multiplier": 1}
    config = parsed(NO_BREAKER | {"retry": retry}).channel_config(EMAIL)
    (schedule,) = schedules(config.retry)
    said = schedule_in_words(schedule, config.retry, config.timeout)[0].text
    assert said == (
        "The first attempt is made at once; attempt 1,000 of up to 3,000, as far as they are followed here, starts "
        "33.3 min after it."
    )
    assert schedule_sheet(schedule).notes == ["Attempts after number 1,000 are not followed."]
    assert one_call(config, 3600.0).delivered == 1.0  # by attempt 1,801
    assert not has_closed_form(config)


def test_as_long_as_an_outage_lasts_the_breaker_probes():
    config = parsed({"circuit_breaker": {"timeout": "1m"}}).channel_config(EMAIL)
    spells = open_spells(config, 10.0)
    assert spells[-1].end_s > HORIZON_S - 60
    assert len(spells) == pytest.approx(120, abs=3)


SERVICE = """
listen: 127.0.0.1:8080
store: {sqlite: here.db}
channels:
  email: {retry: {max_attempts: 4}, timeout: 30s, circuit_breaker: {timeout: 1s}}
"""


@pytest.mark.usefixtures("short")
def test_the_file_of_a_service_is_explained_and_linted(tmp_path):
    path = tmp_path / "service.yaml"
    path.write_text(SERVICE)
    (email,) = simulation.explain(path).channels
    assert (email.load_is, email.schedules[0].max_attempts) == ("assumed", 4)
    done = CliRunner().invoke(app, ["lint", str(path), "--set", "channels.email.retry.max_delay=1ms"])
    assert (done.exit_code, done.output.count("max_delay: 1ms is below the initial_delay")) == (1, 1)
    path.write_text("listen: 127.0.0.1:8080\nchannels: {email: {retry: {max_attempts: none}}}\n")
    with pytest.raises(ConfigurationError, match=r"service.yaml:2:.*max_attempts: wanted"):
        simulation.explain(path)


def test_what_cannot_be_explained_is_refused():
    for wrong in ({"load": 0.0}, {"load": float("nan")}, {"channel": "fax"}, {"sets": ["channels.email.retry.x=1"]}):
        with pytest.raises(ConfigurationError):
            simulation.explain(**wrong)


@pytest.mark.usefixtures("short")
def test_whatever_shows_it_says_the_same():
    found = simulation.explain(parsed(NO_BREAKER | {"retry": {"max_attempts": 4, "jitter": "equal"}}))
    html = found._repr_html_()
    cells = [cell for sheet in found.sheets for row in sheet.rows for cell in row.cells if isinstance(cell, str)]
    assert cells
    assert all(f">{cell}</t" in html for cell in cells)
    assert json.loads(json.dumps(found.document))["channels"][0]["under_load"][0]["by"] == "draws"
    (axes,) = picture("a", found.channels).get_axes()
    # One bar for each attempt that jitter spreads, from its earliest to its latest start.
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    starts = [each.start for each in found.channels[0].schedules[0].attempts[1:]]
    assert bars == [pytest.approx((start.shortest, start.longest)) for start in starts]


@pytest.mark.integration
@pytest.mark.usefixtures("short")
def test_one_process_or_two_explain_the_same():
    sets = ["channels.email.circuit_breaker.timeout=2s"]
    one, two = (simulation.explain(sets=sets, load=2.0, workers=workers) for workers in (1, 2))
    assert one.document == two.document


@pytest.mark.usefixtures("short")
def test_the_command_fits_eighty_columns_and_draws(tmp_path):
    sets = ["--set", "channels.email.retry.jitter=full", "--set", "channels.email.circuit_breaker.timeout=2s"]
    done = CliRunner().invoke(
        app,
        ["explain", "--workers", "1", *sets, "--load", "2", "--out", str(tmp_path / "a.png")],
        env={"COLUMNS": "80"},
    )
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.count("  ") > 3 and len(line.rstrip()) > 80] == []
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    as_json = CliRunner().invoke(app, ["explain", "--workers", "1", *sets, "--load", "2", "--json"])
    assert json.loads(as_json.stdout)["channels"][0]["load"] == 2.0
    assert CliRunner().invoke(app, ["explain", "--out", str(tmp_path / "a.txt")]).exit_code == 2


@pytest.mark.usefixtures("short")
def test_a_timeout_of_days_bounds_an_attempt_all_the_same():
    (email,) = simulation.explain(parsed(NO_BREAKER | {"timeout": "2d"})).channels
    assert any("If attempts hang, each takes 2 d" in said.text for said in email.cost)
    assert any("hangs until its timeout of 2 d" in said.text for said in email.in_words)


@pytest.mark.parametrize(
    ("email", "said"),
    [
        ({}, "A call that meets the open breaker waits and uses up no attempt. Once it is closed, waiting calls go on "
         "at 10/s, twice as fast every 10 s, up to 100/s."),
        ({"circuit_breaker": {"resume_rate_max": "30/s"}}, "twice as fast every 10 s, up to 30/s."),
        ({"failover": {"backup": {}}}, "A call that meets the open breaker of a provider goes to the next one; where "
         "all are open it waits and uses up no attempt."),
        ({"retry": {"jitter": "full"}}, "call 5 opens it after 400 ms; retries may open it sooner."),
        ({}, "call 5 opens it after 400 ms."),
        ({"provider": {"latency": {"exponential": {"mean": "80ms"}}}}, "call 5 opens it after about 480 ms."),
    ],
)  # fmt: skip
def test_what_is_said_of_a_breaker_is_of_its_settings(email, said):
    config = parsed(email).channel_config(EMAIL)
    assert said in " ".join(each.text for each in breaker_in_words(config, 10.0))


def test_bounds_that_read_the_same_are_one():
    assert Reach(86_400.0, None, 86_409.0).text == "24 h"
    assert Reach(86_400.0, None, 90_000.0).text == "24 h to 25 h"
