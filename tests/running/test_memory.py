"""A run ends before it has filled the memory of the machine, wherever it is done, and says what takes less."""

import pickle

import in_process
import pytest
from effort import sliced

import simulation
from actors.errors import ConfigurationError, RunTooLarge
from simulation.running import memory, watching
from simulation.running.memory import Memory, Room
from simulation.scenario import run_size

GB = 10**9
SCENARIO = """
duration: 10m
record: {record}
workload: [{{channel: email, arrivals: {{constant: 100/s}}}}]
channels: {{email: {{circuit_breaker: {{enabled: false}}}}}}
expect: [sent_fraction >= 0%]
"""


@pytest.fixture
def filling(monkeypatch):
    """Have each look at the memory find that this process has taken one GB more of ten."""
    taken = iter(range(1_000))
    monkeypatch.setattr(watching, "MEMORY_EVERY_S", 0.0)

    def rooms():
        own = next(taken) * GB
        yield Room("machine", max(10 * GB - own, 0), 10 * GB, own)

    monkeypatch.setattr(memory, "rooms", rooms)
    return taken


@pytest.mark.parametrize(("record", "less"), [("full", "record: aggregates"), ("aggregates", "a shorter remember_ids")])
@pytest.mark.parametrize("runtime", sliced(["simpy", "trio"], 4))
def test_a_run_that_would_fill_the_memory_ends_before(filling, record, less, runtime):
    with pytest.raises(RunTooLarge) as ended:
        simulation.run(simulation.parse(SCENARIO.format(record=record)), runtime=runtime)
    (problem,) = ended.value.problems
    assert problem.startswith("memory: the run was ended after ")
    assert problem.endswith(f"; {less}, a shorter duration, fewer arrivals or fewer --workers take less")
    assert isinstance(ended.value, ConfigurationError)
    assert pickle.loads(pickle.dumps(ended.value)).problems == [problem]  # as one of a worker comes


@pytest.mark.parametrize(
    "words",
    sliced(
        [
            ["run"],
            ["sweep", "--vary", "drain=1s,2s", "--out", "out", "--workers", "1"],
            ["compare", "--vary", "drain=1s,2s", "--workers", "1"],
            ["tune", "--vary", "drain=1s,2s", "--workers", "1"],
        ],
        2,
    ),
)
def test_a_command_says_so_and_ends_with_2(filling, words, tmp_path):
    (tmp_path / "one.yaml").write_text(SCENARIO.format(record="full"))
    done = in_process.retrylab(words[0], "one.yaml", *words[1:], "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "memory: the run was ended after " in done.stderr
    assert "Traceback" not in done.stderr


def test_arrivals_that_no_event_is_recorded_of_are_looked_at_too(filling):
    text = """
    duration: 1s
    max_pending: 1
    workload:
      - {channel: email, arrivals: {burst: {size: 90000, every: 1h}}, resend: {after: 1h, at_most: 1}}
    """
    with pytest.raises(RunTooLarge):
        simulation.run(simulation.parse(text))


def test_a_run_without_memory_left_in_python_says_so_too():
    def take_all(_events):
        raise MemoryError

    with pytest.raises(RunTooLarge, match="memory: the run was ended after "):
        simulation.run(simulation.parse(SCENARIO.format(record="full")), on_events=take_all)


@pytest.mark.parametrize(
    ("own_before", "left", "own", "as_much_again", "is_short"),
    [
        (1, 6, 4, True, False),
        (1, 2, 4, True, True),  # its tables would take three
        (1, 2, 4, False, False),
        (1, 0.9, 4, False, True),
        (1, 0.5, 1.1, False, False),  # the machine is full of others
        (1, 0.5, 1.1, True, False),
    ],
)
def test_there_is_room_while_more_is_left_than_was_taken(monkeypatch, own_before, left, own, as_much_again, is_short):
    monkeypatch.setattr(memory, "rooms", lambda: [Room("machine", 9 * GB, 10 * GB, int(own_before * GB))])
    looked = Memory()
    monkeypatch.setattr(memory, "rooms", lambda: [Room("machine", int(left * GB), 10 * GB, int(own * GB))])
    assert (looked.short(as_much_again=as_much_again) is not None) == is_short


@pytest.mark.parametrize("version", [1, 2])
def test_the_limits_of_control_groups_and_of_the_process_count(monkeypatch, tmp_path, version):
    names = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")}
    limit, usage, cached = names.get(version, ("memory.max", "memory.current", "inactive_file"))
    for folder, most in (("inner", "4000"), ("outer", "max" if version == 2 else str(2**63))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / limit).write_text(most)
        (tmp_path / folder / usage).write_text("3000")
        (tmp_path / folder / "memory.stat").write_text(f"anon 1\n{cached} 500\n")
    files = [(tmp_path / folder / limit, tmp_path / folder / usage, cached) for folder in ("inner", "outer")]
    monkeypatch.setattr(memory, "_groups", lambda: files)
    monkeypatch.setattr(memory, "_limit", lambda name: 10**15 if name == "RLIMIT_AS" else None)
    found = {room.limit: room for room in memory.rooms()}
    assert set(found) == {"machine", str(files[0][0]), "RLIMIT_AS"}
    assert (found[str(files[0][0])].left, found[str(files[0][0])].of) == (1_500, 4_000)
    assert found["RLIMIT_AS"].left == 10**15 - found["RLIMIT_AS"].own
    assert memory.left() == 1_500


HUGE = """
name: huge
duration: 1d
drain: 1s
workload: [{channel: email, arrivals: {constant: 300/s}}]
expect: [sent_fraction >= 0%]
"""
SIZE = "26 million arrivals, about 13 minutes and 13 GB of memory"


@pytest.fixture
def soon_over(monkeypatch):
    """Have no run take more memory than there is for its first events."""
    monkeypatch.setattr(watching, "MEMORY_EVERY_S", 0.0)
    monkeypatch.setattr(memory, "rooms", lambda: [Room("machine", GB // 2, 10 * GB, 5 * GB)])
    monkeypatch.setattr(Memory, "short", lambda *_, **__: Room("machine", GB // 2, 10 * GB, 5 * GB))


@pytest.mark.parametrize(
    ("words", "says"),
    sliced(
        [
            (("run", "huge.yaml"), "huge.yaml: 26 million arrivals"),
            (("plot", "huge.yaml"), "huge.yaml: 26 million arrivals"),
            (("replay", "huge.trace"), "huge.trace: 26 million arrivals"),
            (
                ("explore", "huge.yaml", "--seeds", "2", "--workers", "1"),
                "huge.yaml: up to 2 runs: ",
            ),  # cases are small
        ],
        2,
    ),
    ids=lambda words: words[0] if isinstance(words, tuple) else "",
)
def test_a_command_says_before_a_huge_run_what_it_takes(soon_over, monkeypatch, words, says, tmp_path):
    (tmp_path / "huge.yaml").write_text(HUGE)
    if words[0] == "explore":
        monkeypatch.setattr(run_size, "LARGE_BYTES", 1000)
    if words[0] == "replay":
        with monkeypatch.context() as patch:
            patch.setattr(Memory, "short", lambda *_, **__: None)
            simulation.record(tmp_path / "huge.yaml", tmp_path / "huge.trace", sets=["duration=1s"])
        words = (*words, "--set", "duration=1d")
    done = in_process.retrylab(*words, cwd=tmp_path)
    assert done.returncode == 2
    size, ended = (done.stderr.find(text) for text in (says, "memory: the run was ended"))
    assert 0 <= size < ended
    assert done.stderr.count(" of memory") == 1
    assert "broke" not in done.stdout + done.stderr


def test_a_case_that_is_too_large_is_no_failing_case(soon_over, tmp_path):
    (tmp_path / "huge.yaml").write_text(HUGE)
    with pytest.raises(RunTooLarge, match=r"^seed 3: memory: the run was ended"):
        simulation.explore(tmp_path / "huge.yaml", seeds=2, first_seed=3, failures=tmp_path / "kept")
    assert list((tmp_path / "kept").glob("*.yaml")) == []


def test_a_run_from_python_logs_what_it_takes(soon_over, caplog):
    with pytest.raises(RunTooLarge):
        simulation.run(simulation.parse(HUGE))
    (logged,) = caplog.records
    assert logged.getMessage().startswith(f"huge: {SIZE}")
    assert logged.levelname == "WARNING"


def test_whatif_logs_what_it_takes(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(run_size, "LARGE_BYTES", 1000)
    small = simulation.parse("duration: 5s\nworkload: [{channel: email, arrivals: {constant: 2/s}}]\n")
    simulation.whatif(simulation.run(small).attempts, small, replicates=2)
    assert [each.getMessage().partition(",")[0] for each in caplog.records][-1:] == ["scenario: 20 arrivals"]
