"""Traces: a run is done again exactly, and where another run parts from it is shown."""

import errno
import gzip
import json
import os
from pathlib import Path
from random import Random

import pytest
from effort import sliced
from scenario_tables import written

import simulation
from actors.errors import ConfigurationError, InvariantBreach
from actors.messages import NotificationFailed, NotificationSent
from actors.outcomes import Permanent
from simulation.engine.schedules import RandomWalk
from simulation.results import recorder
from simulation.running.traces.replaying import event_text
from simulation.running.traces.trace import Trace
from simulation.scenario import load
from simulation.scenario.writing import write
from simulation.verification.drawing.swarm import case

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))

SMALL = """\
name: small
seed: 3
duration: 20s
workload:
  - {channel: email, arrivals: {poisson: 5/s}, users: 3}
  - {channel: sms, arrivals: {constant: 2/s}}
channels:
  email: {circuit_breaker: {enabled: false}, provider: {latency: 100ms, failure_rate: 20%}}
  sms: {provider: {latency: {exponential: {mean: 1s}}}}
"""


small = written("small.yaml", SMALL)


@pytest.mark.parametrize("path", sliced(SCENARIOS, 16), ids=lambda path: path.stem)
def test_a_case_of_every_scenario_that_ships_replays_exactly(path, tmp_path):
    small = tmp_path / "case.yaml"
    small.write_text(write(case(load(path), 1, schedule="normal", settings="given")), encoding="utf-8")
    check_replays_exactly(small, tmp_path)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if number % 16 else [])
        for number, path in enumerate(SCENARIOS)
    ],
)
def test_scenarios_that_ship_replay_exactly_as_they_are(path, tmp_path):
    check_replays_exactly(path, tmp_path)


def check_replays_exactly(path, tmp_path):
    digest = simulation.record(path, tmp_path / "trace").summary["digest"]
    replayed = simulation.replay(tmp_path / "trace")
    assert (replayed.difference, replayed.digest, replayed.error) == (None, digest, None)
    assert str(replayed) == f"exact: {replayed.events:,} events, digest {digest}"


def test_a_trace_holds_the_recorded_history(small, tmp_path):
    result = simulation.record(small, tmp_path / "trace")
    events = list(Trace(tmp_path / "trace").events())
    assert [(event["type"], event["at_ns"]) for event in events] == [
        (type(event).__name__, event.at_ns) for event in result.history
    ]
    for event, recorded in zip(events, result.history, strict=True):
        for name, value in event.items():
            assert name == "type" or getattr(recorded, name) == value


def test_equal_runs_have_equal_traces(small, tmp_path):
    simulation.record(small, tmp_path / "one")
    simulation.record(small, tmp_path / "other", progress=lambda _: None)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_trace_is_lines_of_json_that_any_tool_can_read(small, tmp_path):
    simulation.record(small, tmp_path / "trace", seed=9, sets=["duration=5s"])
    with gzip.open(tmp_path / "trace", "rt", encoding="utf-8") as file:
        first, *events, last = map(json.loads, file)
    assert (first["type"], first["scenario"], first["seed"], first["sets"]) == ("trace", "small", 9, ["duration=5s"])
    assert first["text"] == SMALL
    assert {event["type"] for event in events} >= {"NotificationRequested", "NotificationSent", "NotificationFailed"}
    assert (last["type"], last["events"]) == ("end", len(events))


def test_seed_settings_and_figures_alone_are_those_of_the_recorded_run(small, tmp_path):
    recorded = simulation.record(
        small, tmp_path / "trace", seed=9, sets=["channels.email.retry.max_attempts=1", "record=aggregates"]
    )
    assert recorded.summary["dead_lettered"] > 0
    assert simulation.replay(tmp_path / "trace").digest == recorded.summary["digest"]


@pytest.mark.parametrize("clocks", [("simpy", "trio"), ("trio", "simpy")])
def test_a_run_on_one_clock_replays_exactly_on_the_other(small, tmp_path, clocks):
    simulation.record(small, tmp_path / "trace", runtime=clocks[0])
    assert simulation.replay(tmp_path / "trace", runtime=clocks[1]).exact


def test_a_run_under_a_schedule_replays_by_its_deviations(small, tmp_path):
    simulation.record(small, tmp_path / "trace", schedule=RandomWalk(Random(1)))
    trace = Trace(tmp_path / "trace")
    assert trace.ending.deviations
    assert simulation.replay(trace).exact
    with pytest.raises(ValueError, match="wanted the runtime simpy"):
        simulation.replay(trace, runtime="trio")


# ── differences ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_changed_setting_shows_what_it_changes_first(small, tmp_path):
    simulation.record(small, tmp_path / "trace")
    replayed = simulation.replay(tmp_path / "trace", sets=["channels.email.retry.initial_delay=2s"])
    assert not replayed.exact
    recorded, now = replayed.difference.events
    assert recorded["type"] == now["type"] == "NotificationFailed"
    assert now["next_retry_at_ns"] - recorded["next_retry_at_ns"] == 1_000_000_000
    assert replayed.difference.index == replayed.events
    first = next(event for event in Trace(tmp_path / "trace").events() if event["type"] == "NotificationFailed")
    assert (recorded, replayed.difference.at_ns) == (first, first["at_ns"])


def test_a_difference_is_shown_with_its_time_and_both_events(small, tmp_path):
    text = SMALL.replace("{poisson: 5/s}", "{constant: 1/s}").replace("20%", "100%")
    small.write_text(text.replace("{exponential: {mean: 1s}}", "1s").replace("users: 3", "users: 1"))
    simulation.record(small, tmp_path / "trace")
    shown = str(simulation.replay(tmp_path / "trace", sets=["channels.email.retry.initial_delay=2500ms"]))
    assert shown == (
        "first difference at 0.1 s, in event 3:\n"
        "  recorded  0.1 s  NotificationFailed  notification_id=email-0-0  channel=email  reason='injected failure'"
        "  kind=Transient  attempt=1  started=0 s  next_retry_at=1.1 s\n"
        "  replayed  0.1 s  NotificationFailed  notification_id=email-0-0  channel=email  reason='injected failure'"
        "  kind=Transient  attempt=1  started=0 s  next_retry_at=2.6 s\n"
        "            differ in next_retry_at (1.1 s / 2.6 s)\n"
        "the latest in common:\n"
        "  0 s  NotificationRequested  notification_id=email-0-0  channel=email  user_id=user-0\n"
        "  0 s  NotificationRequested  notification_id=sms-1-0  channel=sms  user_id=user-1-0\n"
        "run with other settings:\n"
        "  set: none / channels.email.retry.initial_delay=2500ms"
    )


def test_a_run_that_ends_sooner_differs_by_its_end(small, tmp_path):
    simulation.record(small, tmp_path / "long")
    simulation.record(small, tmp_path / "short", sets=["workload.0.arrivals={constant: 0.01/s}", "drain=0s"])
    found = simulation.compare_traces(tmp_path / "long", tmp_path / "short")
    assert found.difference.events[1] is not None
    first = simulation.replay(tmp_path / "long", sets=["duration=10s", "drain=0s"]).difference
    assert first.events[1] is None
    assert "  replayed  has ended\n" in str(first)
    assert first.at_ns == first.events[0]["at_ns"] <= 10_000_000_000


def test_traces_are_compared_without_running_anything(small, tmp_path):
    simulation.record(small, tmp_path / "one")
    simulation.record(small, tmp_path / "same", runtime="trio")
    small.write_text(SMALL.replace("poisson: 5/s", "poisson: 6/s"))
    simulation.record(small, tmp_path / "other", seed=4)
    same = simulation.compare_traces(tmp_path / "one", tmp_path / "same")
    assert same.exact
    assert str(same).startswith("exact: ")
    other = simulation.compare_traces(tmp_path / "one", tmp_path / "other")
    assert not other.exact
    assert other.other == (
        "seed: 3 / 4",
        "line 5 of the file: - {channel: email, arrivals: {poisson: 5/s}, users: 3} / "
        "- {channel: email, arrivals: {poisson: 6/s}, users: 3}",
    )
    assert str(tmp_path / "other") in str(other)


def test_a_run_that_breaks_off_is_recorded_up_to_there_and_breaks_off_again(small, tmp_path, monkeypatch):
    with monkeypatch.context() as sabotage:
        sabotage.delitem(recorder.CHANGES_OF_PENDING, NotificationSent)  # so that conservation seems broken
        sabotage.setattr(recorder, "CHUNK", 1)  # so that it is found at once
        with pytest.raises(InvariantBreach, match="are in flight"):
            simulation.record(small, tmp_path / "trace")
        trace = Trace(tmp_path / "trace")
        events = list(trace.events())
        assert events[-1]["type"] == "NotificationRequested"
        assert sum(event["type"] == "NotificationSent" for event in events) == 1
        assert trace.ending.digest is None
        assert trace.ending.error.startswith("InvariantBreach: ")
        again = simulation.replay(trace)
        assert again.exact
        assert str(again) == f"exact: {len(events)} events, and then both break off with {trace.ending.error}"
    mended = simulation.replay(trace)
    assert mended.events == len(events)
    assert "  recorded  broke off  error=" in str(mended)
    assert simulation.compare_traces(trace, trace).events == len(events)


def test_what_is_lost_in_a_short_run_is_found_at_its_end(small, tmp_path, monkeypatch):
    whole = simulation.run(small)
    monkeypatch.delitem(recorder.CHANGES_OF_PENDING, NotificationSent)
    with pytest.raises(InvariantBreach, match=rf"is {whole.summary['sent']} by the history, but 0 are in flight"):
        simulation.record(small, tmp_path / "trace")
    assert Trace(tmp_path / "trace").ending.events == len(whole.history)


def test_a_breach_of_ones_own_invariant_is_replayed_with_it(small, tmp_path):
    def no_failure(event):
        return "that will do" if type(event) is NotificationFailed and event.at_ns > 5_000_000_000 else None

    with pytest.raises(InvariantBreach, match="that will do"):
        simulation.record(small, tmp_path / "trace", invariants=["all", no_failure])
    trace = Trace(tmp_path / "trace")
    assert trace.ending.error == "InvariantBreach: that will do"
    assert trace.header.invariants is None
    assert simulation.replay(trace, invariants=[no_failure]).exact
    later = simulation.replay(trace)
    assert (later.exact, later.events) == (False, trace.ending.events)


@pytest.mark.parametrize("checked", ["default", "all"])
def test_the_invariants_that_were_checked_are_checked_again(small, tmp_path, monkeypatch, checked):
    simulation.record(small, tmp_path / "trace", invariants=checked)
    given = []

    def run(*arguments, **options):
        given.append(options["invariants"])
        return simulation.run(*arguments, **options)

    monkeypatch.setattr("simulation.running.traces.replaying.run", run)
    assert simulation.replay(tmp_path / "trace").exact
    assert simulation.replay(tmp_path / "trace", invariants="default").exact
    assert given == [checked, "default"]


def test_rules_are_given_again(small, tmp_path):
    rules = {"email": [lambda attempt, now_ns, load: Permanent(reason="no")]}
    simulation.record(small, tmp_path / "trace", rules=rules)
    assert simulation.replay(tmp_path / "trace", rules=rules).exact
    assert not simulation.replay(tmp_path / "trace").exact


# ── the files of a scenario ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def with_files(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "counts.csv").write_text("value\n5\n0\n7\n")
    (tmp_path / "data" / "latency.csv").write_text("0.1\n0.25\n0.9\n")
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "files.yaml"
    path.write_text(
        "duration: 30s\n"
        "workload:\n"
        "  - {channel: email, arrivals: {trace: ../counts.csv, column: value, every: 10s}}\n"
        "channels:\n"
        f"  email: {{provider: {{latency: {{empirical: {tmp_path / 'data' / 'latency.csv'}}}}}}}\n"
    )
    return path


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_a_trace_brings_the_files_of_its_scenario(with_files, tmp_path, monkeypatch, runtime):
    simulation.record(with_files, tmp_path / "trace", runtime=runtime)
    assert Trace(tmp_path / "trace").header.files == {
        "../counts.csv": "value\n5\n0\n7\n",
        str(tmp_path / "data" / "latency.csv"): "0.1\n0.25\n0.9\n",
    }
    for file in (tmp_path / "counts.csv", tmp_path / "data" / "latency.csv", with_files):
        file.unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert simulation.replay(tmp_path / "trace").exact


def test_a_file_that_changed_does_not_change_what_is_replayed(with_files, tmp_path):
    simulation.record(with_files, tmp_path / "trace")
    (tmp_path / "counts.csv").write_text("value\n1\n1\n1\n")
    assert simulation.replay(tmp_path / "trace").exact
    simulation.record(with_files, tmp_path / "other")
    found = simulation.compare_traces(tmp_path / "trace", tmp_path / "other")
    assert found.other == ("data file ../counts.csv: one text / another",)


def test_a_further_change_may_name_a_file_that_the_trace_does_not_know(with_files, tmp_path):
    simulation.record(with_files, tmp_path / "trace")
    (tmp_path / "new.csv").write_text("value\n5\n0\n8\n")
    assert not simulation.replay(tmp_path / "trace", sets=["workload.0.arrivals.trace=../new.csv"]).exact
    with pytest.raises(ConfigurationError, match="wanted a CSV file that exists"):
        simulation.replay(tmp_path / "trace", sets=["workload.0.arrivals.trace=../none.csv"])


# ── traces that are none ────────────────────────────────────────────────────────────────────────────────────────


def refusal_of(path):
    with pytest.raises(ConfigurationError) as refused:
        Trace(path)
    (problem,) = refused.value.problems
    assert problem.startswith(f"{path}: ")
    return problem.removeprefix(f"{path}: ")


def test_what_is_no_trace_is_refused(small, tmp_path):
    assert refusal_of(small) == "wanted a trace, got something else"
    assert refusal_of(tmp_path / "none") == "no such file or directory"
    assert refusal_of(tmp_path) == "is a directory"
    for number, content in enumerate((b"", b"[1]\n", b'{"type":"trace"}\n', b"\xff\n", b'{"type":"other"}\n{}\n')):
        path = tmp_path / str(number)
        path.write_bytes(gzip.compress(content))
        assert refusal_of(path).startswith("wanted a trace")


def test_a_trace_that_was_cut_or_damaged_is_refused(small, tmp_path):
    simulation.record(small, tmp_path / "trace")
    whole = (tmp_path / "trace").read_bytes()
    for length in range(1, len(whole), 97):
        (tmp_path / "cut").write_bytes(whole[:length])
        assert refusal_of(tmp_path / "cut").startswith("wanted a ")
    for place in range(10, len(whole), 97):
        (tmp_path / "damaged").write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        assert refusal_of(tmp_path / "damaged").startswith("wanted a ")


def test_lines_that_are_missing_are_noticed(small, tmp_path):
    simulation.record(small, tmp_path / "trace")
    lines = gzip.decompress((tmp_path / "trace").read_bytes()).splitlines(keepends=True)
    (tmp_path / "no end").write_bytes(gzip.compress(b"".join(lines[:-1])))
    assert refusal_of(tmp_path / "no end") == "wanted a whole trace, got one without its end"
    (tmp_path / "gap").write_bytes(gzip.compress(b"".join(lines[:5] + lines[6:])))
    assert refusal_of(tmp_path / "gap") == f"wanted a whole trace of {len(lines) - 2} events, got {len(lines) - 3}"


def test_a_trace_of_another_format_says_of_which_version(small, tmp_path):
    simulation.record(small, tmp_path / "trace")
    content = gzip.decompress((tmp_path / "trace").read_bytes())
    (tmp_path / "new").write_bytes(gzip.compress(content.replace(b'"format":1', b'"format":2', 1)))
    assert refusal_of(tmp_path / "new").startswith("wanted a trace of format 1, got 2 of retrylab ")


def test_a_run_that_does_not_begin_leaves_what_was_there(small, tmp_path):
    simulation.record(small, tmp_path / "trace")
    before = (tmp_path / "trace").read_bytes()
    with pytest.raises(ConfigurationError):
        simulation.record(small, tmp_path / "trace", rules={"push": []})
    with pytest.raises(ValueError, match="wanted the runtime simpy"):
        simulation.record(small, tmp_path / "trace", runtime="trio", schedule=RandomWalk(Random(1)))
    with pytest.raises(ConfigurationError):
        simulation.record(small, tmp_path / "trace", sets=["duration=never"])
    assert (tmp_path / "trace").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"trace", "small.yaml"}


def test_a_full_disk_is_said_when_the_run_is_over(small, tmp_path, monkeypatch):
    class Full(gzip.GzipFile):
        def write(self, data):
            if self.size > 1000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(gzip, "GzipFile", Full)
    with pytest.raises(OSError, match="No space left"):
        simulation.record(small, tmp_path / "trace")
    assert {path.name for path in tmp_path.iterdir()} == {"small.yaml"}


def test_a_trace_does_not_take_the_place_of_its_scenario(small):
    with pytest.raises(ConfigurationError, match="got the scenario itself"):
        simulation.record(small, small)
    assert small.read_text() == SMALL


def test_a_trace_does_not_take_the_place_of_a_file_that_its_scenario_needs(with_files, tmp_path):
    for file in (tmp_path / "counts.csv", tmp_path / "data" / "latency.csv"):
        before = file.read_bytes()
        with pytest.raises(ConfigurationError, match="wanted a file for the trace, got one that the scenario needs"):
            simulation.record(with_files, file)
        assert file.read_bytes() == before


@pytest.mark.parametrize("content", [b"notes", gzip.compress(b"a backup", mtime=0), b"\x1f\x8b\x08"], ids=repr)
def test_a_trace_does_not_take_the_place_of_what_is_none(content, small, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="wanted a new file for the trace, or another trace, got something"):
        simulation.record(small, file)
    assert file.read_bytes() == content
    assert set(tmp_path.iterdir()) == {small, file}


def test_a_trace_takes_the_place_of_another_or_of_nothing(small, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for seed in (1, 2):
        simulation.record(small, file, seed=seed)
        assert Trace(file).header.seed == seed
    file.write_bytes(file.read_bytes()[:-20])  # as of a disk that was full
    simulation.record(small, file, seed=3)
    assert Trace(file).header.seed == 3


def test_the_directory_of_a_trace_is_made(small, tmp_path):
    simulation.record(small, tmp_path / "new" / "folder" / "trace")
    assert Trace(tmp_path / "new" / "folder" / "trace").header.filename == str(small)


def test_a_link_stays_one_and_what_it_points_to_is_the_trace(small, tmp_path):
    simulation.record(small, tmp_path / "folder" / "trace", seed=9)
    (tmp_path / "link").symlink_to("folder/trace")
    (tmp_path / "dangling").symlink_to("new/trace")
    for name in ("link", "dangling"):
        simulation.record(small, tmp_path / name)
        assert (tmp_path / name).is_symlink()
    assert simulation.replay(tmp_path / "folder" / "trace").exact
    assert simulation.replay(tmp_path / "new" / "trace").exact
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["trace"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system with named pipes is wanted")
def test_a_pipe_is_written_through(small, tmp_path):
    simulation.record(small, tmp_path / "trace")
    os.mkfifo(tmp_path / "pipe")
    with open(os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK), "rb") as end:
        simulation.record(small, tmp_path / "pipe")  # it holds the whole, so that no one need read meanwhile
        assert end.read() == (tmp_path / "trace").read_bytes()
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="a system where open files have names is wanted")
def test_a_pipe_without_a_name_of_its_own_is_written_through(small, tmp_path):
    """What a shell makes of ``--record >(gzip > x.gz)``."""
    simulation.record(small, tmp_path / "trace")
    reading, writing = os.pipe()
    with open(reading, "rb") as end:
        try:
            simulation.record(small, f"/dev/fd/{writing}")
        finally:
            os.close(writing)
        assert end.read() == (tmp_path / "trace").read_bytes()


def test_an_event_is_shown_in_one_line():
    event = {
        "type": "NotificationFailed",
        "at_ns": 61_000_000_001,
        "epoch_ns": 5,
        "reason": "line\nbreak",
        "answer": None,
    }
    assert event_text(event) == r"61.000000001 s  NotificationFailed  reason='line\nbreak'  answer=none"


# ── at the shell ────────────────────────────────────────────────────────────────────────────────────────────────


def retrylab(*arguments, capsys):
    from console_command import app

    with pytest.raises(SystemExit) as exited:
        app([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return exited.value.code, said.out, said.err


def test_run_records_and_replay_compares(small, tmp_path, capsys):
    trace = tmp_path / "trace"
    code, out, err = retrylab("run", small, "--seed", 5, "--record", trace, "--json", capsys=capsys)
    assert (code, err) == (0, "")
    digest = json.loads(out)["digest"]
    events = Trace(trace).ending.events
    assert retrylab("replay", trace, capsys=capsys) == (0, f"exact: {events:,} events, digest {digest}\n", "")
    assert retrylab("replay", trace, "--runtime", "trio", capsys=capsys)[0] == 0
    for change in (["--seed", 6], ["--set", "channels.email.retry.initial_delay=2s"]):
        code, out, err = retrylab("replay", trace, *change, capsys=capsys)
        assert (code, err) == (1, "")
        assert out.startswith("first difference at ")
    code, out, err = retrylab("replay", trace, "--against", trace, capsys=capsys)
    assert (code, out) == (0, f"exact: {events:,} events, digest {digest}\n")


def test_what_cannot_be_recorded_or_replayed_is_bad_input(small, tmp_path, capsys):
    trace = tmp_path / "trace"
    retrylab("run", small, "--record", trace, capsys=capsys)
    (tmp_path / "in the way").write_text("")
    for arguments, said in (
        (["run", small, small, "--record", trace], f"--record {trace}: wanted one scenario file, got 2"),
        (["run", small, "--record", small], f"--record {small}: wanted a file for the trace, got the scenario itself"),
        (["run", small, "--record", tmp_path / "in the way" / "trace"], f"--record {tmp_path}/in the way/trace: "),
        (["replay", small], f"{small}: wanted a trace, got something else"),
        (["replay", trace, "--against", small], f"{small}: wanted a trace, got something else"),
        (
            ["replay", trace, "--against", trace, "--seed", "4"],
            f"--against {trace}: wanted no other option, since nothing is run",
        ),
        (["replay", trace, "--set", "duration=never"], "--set duration: wanted a duration"),
    ):
        code, out, err = retrylab(*arguments, capsys=capsys)
        assert (code, out) == (2, "")
        assert err.startswith(said)
        assert "Traceback" not in err
