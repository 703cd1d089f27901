"""Logs as people have them: names of columns, units, instants, words; and all that is wrong with one at once."""

import numpy as np
import pandas as pd
import pytest
from beside import tables

import simulation
from actors.channel_names import A_CHANNEL_NAME
from actors.errors import ConfigurationError
from simulation.fitting.log import OutcomeKind
from simulation.fitting.reading import Columns, kind_of, parse_map, read_log
from simulation.fitting.report import print_reading
from simulation.scenario import parse

TABLES = tables(__file__)


def read(tmp_path, text, **columns):
    path = tmp_path / "attempts.csv"
    path.write_text(text, encoding="utf-8")
    return read_log(path, Columns(**columns))


def problems(tmp_path, text, **columns):
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, text, **columns)
    return [problem.replace(str(tmp_path), "") for problem in refused.value.problems]


@pytest.mark.parametrize(
    "text",
    [
        "time,latency,outcome\n0,0.08,sent\n1.5,0.5,failed\n",
        "Timestamp,Latency (ms),Status\n2026-01-01T00:00:00Z,80,200\n2026-01-01T01:00:01.5+01:00,500,503\n",
        "started_at,duration_ms,result\n1700000000,80,ok\n1700000001.5,500,error\n",
        "ts,latency_us,code\n1700000000000,80000,204\n1700000001500,500000,500\n",
        "\ufeffdate,elapsed_seconds,outcome\n\n2026-01-01 00:00:00,0.08,Sent\n2026-01-01 00:00:01.500,0.5,Timed-out\n",
    ],
)
def test_one_log_in_several_dresses(tmp_path, text):
    log = read(tmp_path, text)
    assert log.start_s.tolist() == pytest.approx([0.0, 1.5])
    assert log.latency_s.tolist() == pytest.approx([0.08, 0.5])
    assert log.kind[0] == OutcomeKind.SENT
    assert log.kind[1] in (OutcomeKind.TRANSIENT, OutcomeKind.AMBIGUOUS)


@pytest.mark.parametrize("column", TABLES["columns"])
def test_the_usual_names_of_columns_of_outcomes_are_known(tmp_path, column):
    log = read(tmp_path, f"time,latency_ms,{column},host\n0,80,200,a\n1,500,503,b\n")
    assert log.kind.tolist() == [OutcomeKind.SENT, OutcomeKind.TRANSIENT]
    assert log.used == {"time": "time", "latency_ms": "latency", column: "outcome"}
    assert log.unread == ("host",)


def test_a_log_without_outcomes_is_refused_unless_it_is_said_to_have_none(tmp_path):
    text = "time,latency_ms,answer,host\n0,80,200,a\n1,500,503,b\n"
    assert problems(tmp_path, text) == [
        "/attempts.csv: wanted a column of outcomes such as status_code (or --outcome answer; --outcome none fits the "
        "latency alone), got time, latency_ms, answer, host"
    ]
    log = read(tmp_path, text, outcome="none")
    assert not log.has_outcomes
    assert log.warnings == ("--outcome none: the latency alone is fitted, and no failures are looked for",)
    assert read(tmp_path, text.replace("answer", "none"), outcome="none").has_outcomes


def test_of_two_columns_of_outcomes_the_one_that_is_not_read_is_named(tmp_path, capsys):
    text = "time,latency_ms,status,http_status,note\n0,80,ok,200,x\n1,500,ok,503,y\n"
    log = read(tmp_path, text)
    assert log.warnings == ("status is read as outcome, and http_status is not (--outcome http_status reads it)",)
    assert read(tmp_path, text, outcome="http_status").warnings == ()
    print_reading(log)
    assert capsys.readouterr().out.splitlines() == [
        "columns read: time, latency_ms as latency, status as outcome; not read: http_status, note",
        f"warning: {log.warnings[0]}",
    ]


def test_columns_can_be_named_and_units_given(tmp_path):
    text = "when,how_long,what,latency\n3,80,yes,1\n1,90,no,2\n"
    log = read(
        tmp_path,
        text,
        time="when",
        latency="how_long",
        latency_unit="ms",
        outcome="what",
        outcome_map={"yes": "sent", "no": "permanent"},
    )
    assert log.start_s.tolist() == [1.0, 3.0]  # in the order in which they started
    assert log.latency_s.tolist() == pytest.approx([0.09, 0.08])
    assert log.kind.tolist() == [OutcomeKind.PERMANENT, OutcomeKind.SENT]


def test_everything_that_is_wrong_is_said_at_once_with_its_line(tmp_path):
    text = (
        "time,latency_ms,outcome,channel\n2026-01-01T00:00:00Z,80,ok,email\nyesterday,90,ok,email\n\n"
        "2026-01-01T00:00:02Z,-5,weird,Pigeon\n2026-01-01T00:00:03Z,abc,weird,email\n"
    )
    assert problems(tmp_path, text) == [
        "/attempts.csv:3: time: wanted an instant from 1970 to 2200 such as 2026-01-01T12:00:00Z, got 'yesterday'",
        "/attempts.csv:5: latency_ms: wanted a latency, a number of at least 0, got '-5'",
        "/attempts.csv:6: latency_ms: wanted a latency, a number of at least 0, got 'abc'",
        "/attempts.csv: outcome: unknown outcomes 'weird' (2); say what they mean with --outcome-map weird=…, one of "
        "sent, transient, throttled, permanent, dead_destination, channel_fault, ambiguous",
        f"/attempts.csv: channel: wanted {A_CHANNEL_NAME}; got 'Pigeon' (1); --channel NAME says what all of them are",
    ]


@pytest.mark.parametrize(("text", "said"), TABLES["no_logs"])
def test_a_file_that_is_no_log_is_refused_in_a_line(tmp_path, text, said):
    assert said in "\n".join(problems(tmp_path, text))


def test_a_missing_file_a_binary_and_a_named_column_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="wanted a file that exists"):
        read_log(tmp_path / "none.csv")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        read_log(tmp_path / "binary")
    said = problems(tmp_path, "time,latency\n1,2\n", outcome="answer", channel="Pigeon")
    assert said == [
        "--outcome answer: wanted a column of /attempts.csv, which has time, latency",
        f"--channel Pigeon: wanted {A_CHANNEL_NAME}",
    ]


def test_a_channel_is_chosen_or_named_but_never_renamed(tmp_path):
    ours = "time,latency,outcome,channel\n0,1,ok,email\n1,1,ok,sms\n"
    theirs = ours.replace("email", "mailgun").replace("sms", "ses")
    assert read(tmp_path, ours, channel="sms").channel.tolist() == ["sms"]
    assert read(tmp_path, theirs, channel="sms").channel.tolist() == ["sms", "sms"]
    assert problems(tmp_path, ours, channel="push") == [
        "--channel push: wanted one in /attempts.csv, which has email, sms"
    ]


def test_problems_without_end_are_counted(tmp_path):
    text = "time,latency,ok\n" + "1,x,true\n" * 500
    said = problems(tmp_path, text)
    assert len(said) == 21
    assert said[-1] == "/attempts.csv: and 480 more"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("sent OK Success 200 204 250.0 delivered", OutcomeKind.SENT),
        ("Transient failed ERROR 500 503 408", OutcomeKind.TRANSIENT),
        ("429 rate-limited Too_Many_Requests", OutcomeKind.THROTTLED),
        ("permanent 400 404 422", OutcomeKind.PERMANENT),
        ("DeadDestination 410 hard_bounce", OutcomeKind.DEAD_DESTINATION),
        ("ChannelFault 401 403", OutcomeKind.CHANNEL_FAULT),
        ("Ambiguous timeout timed_out", OutcomeKind.AMBIGUOUS),
        ("soon 600 20 2000", None),
    ],
)
def test_words_mean_what_they_say(words, kind):
    assert {kind_of(word, {}) for word in words.split()} == {kind}


def test_an_outcome_map_comes_first_and_is_checked():
    given, said = parse_map(["error=permanent", "a=b=sent", "x", "y=often"])
    assert given == {"error": OutcomeKind.PERMANENT, "a=b": OutcomeKind.SENT}
    assert len(said) == 2
    assert "--outcome-map y=often: wanted word=outcome" in said[1]
    assert kind_of("error", given) == OutcomeKind.PERMANENT


def test_first_attempts_are_known_by_number_or_by_notification(tmp_path):
    by_number = read(tmp_path, "time,latency,outcome,id,attempt\n0,1,failed,a,1\n1,1,ok,b,1\n2,1,ok,a,2\n")
    by_id = read(tmp_path, "time,latency,outcome,id\n2,1,ok,a\n0,1,failed,a\n1,1,ok,b\n")
    neither = read(tmp_path, "time,latency,outcome\n0,1,failed\n1,1,ok\n2,1,ok\n")
    assert by_number.first.tolist() == by_id.first.tolist() == [True, True, False]
    assert neither.first.all()
    assert (by_id.knows_notifications, neither.knows_notifications) == (True, False)


@pytest.mark.thorough
def test_a_saved_run_is_read_with_its_arrivals_and_without_what_no_provider_was_asked(tmp_path):
    result = simulation.run(
        "scenarios/provider-outage.yaml", sets=["duration=90s", "faults.0.at=20s", "faults.0.for=40s"]
    )
    simulation.save(result, tmp_path)
    log = read_log(tmp_path)
    assert len(log) == len(result.attempts)
    email = log.where(log.channel == "email")
    waited = email.start_s[email.first] - email.arrived_s[email.first]
    assert waited.max() > 10.0  # at the open breaker
    assert np.allclose(
        np.sort(email.arrived_s[email.first]),
        np.sort(result.notifications.query("channel == 'email'").requested_at_s),
    )
    refused = result.attempts.assign(refused=True)
    assert len(read_log(pd.concat([result.attempts, refused]))) == len(log)


def test_a_run_whose_channel_has_one_provider_is_read_as_a_log_that_names_none():
    def providers(*sets):
        text = "{duration: 1m, workload: [{channel: email, arrivals: {constant: 1/s}}]}"
        return set(read_log(simulation.run(parse(text, sets=sets)).attempts).provider.tolist())

    assert providers() == {None}
    down = "faults=[{channel: email, provider: primary, at: 20s, for: 20s, outage: true}]"
    assert providers("channels.email.failover={backup: {}}", down) == {"primary", "backup"}


@pytest.mark.parametrize("name", ["attempts.parquet", "notifications.parquet"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_table_that_was_cut_off_is_named(tmp_path, name, kept):
    frame = pd.DataFrame({"id": [f"n{number}" for number in range(500)], "start": 0.0, "latency": 0.1, "ok": True})
    frame.to_parquet(tmp_path / "attempts.parquet")
    frame.assign(requested_at=0.0).to_parquet(tmp_path / "notifications.parquet")
    assert len(read_log(tmp_path)) == 500
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ConfigurationError) as raised:
        read_log(tmp_path)
    (problem,) = raised.value.problems
    assert problem.startswith(f"{tmp_path / name}: wanted a table as Parquet (")


def test_a_table_of_another_name_that_was_cut_off_is_no_csv(tmp_path):
    path = tmp_path / "log"
    pd.DataFrame({"time": range(500), "latency": 0.1}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigurationError, match="wanted a table as Parquet"):
        read_log(path)


def test_frames_with_numbers_and_instants_are_logs_too():
    frame = pd.DataFrame(
        {"time": pd.date_range("2026-01-01", periods=3, freq="s"), "latency_ms": [1, 2, None], "outcome": "ok"}
    )
    log = read_log(frame)
    assert log.start_s.tolist() == [0.0, 1.0, 2.0]
    assert log.origin == "2026-01-01T00:00:00+00:00"
    assert np.isnan(log.latency_s[2])
    assert "1 attempts have no latency" in log.notes


def test_what_the_sender_refused_itself_has_arrived_all_the_same():
    frame = pd.DataFrame(
        {
            "id": ["a", "b", "b", "c", "c", "d"],
            "channel": ["email"] * 5 + ["sms"],
            "attempt": [1, 1, 2, 1, 2, 1],
            "start": [0.0, 1.0, 4.0, 2.0, 5.0, 6.0],
            "end": [0.1, 1.0, 4.1, 2.0, 5.0, 6.1],
            "outcome": ["Sent", "Transient", "Sent", "Transient", "Transient", "Sent"],
            "refused": [False, True, False, True, True, False],
        }
    )
    log = read_log(frame, Columns())
    assert log.start_s.tolist() == [0.0, 4.0, 6.0]  # what the provider was asked
    assert log.first.tolist() == [True, True, True]
    assert log.arrivals_s("email").tolist() == [0.0, 1.0, 2.0]
    assert log.arrivals_s("sms").tolist() == [6.0]


def test_a_log_of_a_breaker_that_fails_has_the_load_that_there_was():
    result = simulation.run(
        simulation.parse(
            "{duration: 3m, workload: [{channel: email, arrivals: {constant: 5/s}}], channels: {email: "
            "{retry: {max_attempts: 3}, circuit_breaker: {when_open: fail, timeout: 20s}}}, "
            "faults: [{channel: email, at: 1m, for: 1m, outage: true}]}"
        )
    )
    arriving = simulation.fit(result.attempts, resamples=0).arriving["email"]
    assert arriving.count == 900
    assert arriving.process == "constant"


def test_the_classes_of_a_log_are_those_of_what_arrived():
    frame = pd.DataFrame(
        {
            "id": ["a", "b", "b", "c", "d"],
            "channel": ["email"] * 4 + ["sms"],
            "attempt": [1, 1, 2, 1, 1],
            "start": [0.0, 1.0, 4.0, 2.0, 6.0],
            "end": [0.1, 1.0, 4.1, 2.0, 6.1],
            "outcome": ["Sent", "Transient", "Sent", "Transient", "Sent"],
            "refused": [False, True, False, True, False],
            "priority": ["bulk", "Critical", "critical", "critical", None],
        }
    )
    log = read_log(frame, Columns())
    assert [log.classes(channel) for channel in ("email", "sms")] == [["critical", "bulk"], ["normal"]]
    assert log.arrivals_s("email", "critical").tolist() == [1.0, 2.0]  # of one the provider was never asked
    assert log.arrivals_s("email", "bulk").tolist() == [0.0]
    other = read_log(frame.assign(priority=["P1", "P2", "P2", "P1", "P3"]), Columns())
    assert other.classes("email") == ["normal"]
    assert any("priority has 'p1', which is no class of traffic" in note for note in other.notes)


def test_a_fit_has_an_entry_for_each_class_of_a_channel(tmp_path):
    text = """
    duration: 3m
    workload:
      - {channel: email, arrivals: {constant: 5/s}, priority: bulk}
      - {channel: email, arrivals: {poisson: 1/s}, critical: true}
      - {channel: sms, arrivals: {constant: 2/s}}
    """
    result = simulation.run(simulation.parse(text))
    fit = simulation.fit(result.attempts, resamples=0)
    assert {name: list(of) for name, of in fit.classes.items()} == {"email": ["critical", "bulk"]}
    simulation.save(fit, tmp_path / "fitted.yaml")
    written = simulation.load(tmp_path / "fitted.yaml")
    entries = [(each.channel.value, each.priority) for each in written.workload]
    assert entries == [("email", "critical"), ("email", "bulk"), ("sms", None)]
    assert written.workload[1].arrivals.constant.per_second == pytest.approx(5.0, rel=0.01)
    again = simulation.whatif(result.attempts, "scenarios/steady-state.yaml", replicates=1)
    assert {getattr(each, "priority", None) for each in again.scenario.workload} == {"critical", "bulk", None}


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1600-01-01", "2262-04-12T00:00:00Z"])
def test_an_instant_that_no_scenario_can_start_at_is_refused_with_its_line(tmp_path, at):
    instants = ["2026-01-01T00:00:00Z", at, "2026-01-01T00:00:05Z"]
    text = "time,latency_ms,outcome\n" + "".join(f"{each},12,sent\n" for each in instants)
    wanted = "wanted an instant from 1970 to 2200 such as 2026-01-01T12:00:00Z"
    assert problems(tmp_path, text) == [f"/attempts.csv:3: time: {wanted}, got '{at}'"]


@pytest.mark.parametrize("at", ["1e19", "1e300"])
def test_a_number_that_is_no_time_of_this_world_is_refused(tmp_path, at):
    (problem,) = problems(tmp_path, f"time,latency_ms,outcome\n1700000000,1,sent\n1700000001,1,sent\n{at},1,sent\n")
    assert problem.endswith(f"got '{at}'")
    (problem,) = problems(tmp_path, f"time,latency_ms,outcome\n1,{at},sent\n")
    assert problem == f"/attempts.csv:2: latency_ms: wanted a latency, a number of at least 0, got '{at}'"


def test_an_arrival_that_is_none_is_left_out_of_account(tmp_path):
    text = "time,latency_ms,outcome,created_at\n1700000000,1,sent,1e300\n" + "1700000001,1,sent,1700000000\n" * 2
    assert read(tmp_path, text).arrived_s.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("header", ["a," * 400_000, '"\n",' * 400_000])
def test_a_header_of_very_many_columns_is_refused_before_it_is_read(tmp_path, header, monkeypatch):
    monkeypatch.setattr(pd, "read_csv", None)
    (problem,) = problems(tmp_path, f"{header}\n1,2\n")
    assert problem.endswith("got: a header of more than 10,000 columns")


def test_very_many_problems_are_counted_and_the_first_are_said(tmp_path):
    found = problems(tmp_path, "time,latency_ms,outcome\n" + "1,x,sent\n" * 1_000)
    assert len(found) == 21
    assert found[-1] == "/attempts.csv: and 980 more"
