import pickle
from datetime import UTC, datetime, time
from pathlib import Path

import pytest
import yaml
from beside import tables
from each_row import over_each

from actors.errors import ConfigurationError
from actors.messages import NotificationChannel as Channel
from actors.settings.quantities import Rate
from simulation import scenario
from simulation.scenario import ChannelWorkload, EventWorkload, Scenario

DATA = Path(__file__).parent / "data"
SCENARIOS = Path(__file__).parents[2] / "scenarios"

SMALL = "duration: 10m\nworkload:\n  - {channel: email, arrivals: {poisson: 20/s}}\n"


def problems(text: str, *sets: str, seed: int | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        scenario.parse(text, "f.yaml", sets=sets, seed=seed)
    return refusal.value.problems


def test_the_example_of_the_documentation() -> None:
    outage = scenario.load(DATA / "provider-outage.yaml")
    assert (outage.name, outage.seed, outage.duration, outage.drain) == ("provider-outage", 7, 600, 3600)
    orders, push, sms = outage.workload
    assert isinstance(orders, EventWorkload)
    assert orders.arrivals.poisson == Rate(20, 1)
    assert isinstance(push, ChannelWorkload)
    assert (push.channel, push.users) == (Channel.PUSH, 1000)
    assert isinstance(sms, ChannelWorkload)
    assert sms.arrivals.trace is not None
    assert sms.arrivals.trace.file == str(DATA / "counts.csv")
    assert sms.arrivals.trace.counts == (94, 56)
    assert outage.channels_used == (Channel.EMAIL, Channel.SMS, Channel.PUSH)
    email = outage.channel_config(Channel.EMAIL)
    assert (email.retry.max_attempts, email.retry.jitter, email.max_in_flight) == (5, "full", 50)
    assert email.provider.failure_rate == 0.01
    assert [(fault.channel, fault.at, fault.for_) for fault in outage.faults] == [
        ((Channel.EMAIL,), 120, 180),
        ((Channel.PUSH,), 0, 600),
    ]
    assert outage.faults[0].outage
    assert outage.faults[1].failure_rate == 0.3
    assert outage.sweep is not None
    assert outage.sweep.vary == {"channels.email.retry.max_attempts": (1, 2, 3, 5, 8)}
    assert outage.sweep.replicates == 20


def test_defaults() -> None:
    small = scenario.parse(SMALL, "some/dir/quiet.night.yaml")
    assert (small.name, small.seed, small.drain, small.record) == ("quiet.night", 0, 3600, "full")
    assert small.start == datetime(2026, 1, 1, tzinfo=UTC)
    assert small.remember_ids == 24 * 3600
    assert small.channels_used == (Channel.EMAIL,)
    push = small.channel_config(Channel.PUSH)
    assert (push.timeout, push.max_in_flight, push.rate_limit, push.provider.failure_rate) == (10, None, None, 0)
    assert (push.retry.max_attempts, push.circuit_breaker.failure_threshold) == (3, 5)
    assert (small.faults, small.expect, small.sweep, small.preferences, small.quiet_hours) == ((), (), None, (), ())


def test_every_key_of_the_release() -> None:
    every = scenario.load(DATA / "everything.yaml")
    assert every.seed == 17
    assert every.start == datetime(2026, 3, 28, 17, tzinfo=UTC)
    assert every.time_of_week_ns == (5 * 24 + 17) * 3600 * 10**9
    assert every.channels.sms == every.channels.email
    assert every.channels.email.retry.max_attempts == 5, "the schedule's length and one"
    assert every.channels.push.provider.latency.constant == 0.08
    assert every.faults[0].channel == tuple(Channel)
    assert every.faults[1].channel == (Channel.EMAIL, Channel.PUSH), "in the order of the enum"
    assert [expectation.value for expectation in every.expect] == [0, 240, 0.99]
    night, noon = every.quiet_hours
    assert (night.from_, night.to, night.zone, night.channels) == (time(22), time(7), "Europe/Berlin", tuple(Channel))
    assert (noon.zone, noon.channels) == ("UTC", (Channel.PUSH,))
    assert not every.preferences[0].enabled
    assert set(every.templates) == {"welcome", "welcome.de"}


@over_each(sorted(SCENARIOS.glob("**/*.yaml")))
def test_shipped_scenarios_load(file: Path) -> None:
    assert scenario.load(file).workload


def test_a_written_scenario_reads_back_the_same() -> None:
    every = scenario.load(DATA / "everything.yaml")
    written = yaml.safe_dump(every.model_dump(mode="json", by_alias=True, exclude_unset=True))
    assert scenario.parse(written, str(DATA / "again.yaml")) == every


def test_a_scenario_survives_the_way_to_another_process() -> None:
    every = scenario.load(DATA / "everything.yaml")
    assert pickle.loads(pickle.dumps(every)) == every


def test_a_scenario_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        scenario.parse(SMALL).seed = 3


def test_traces_alone_give_the_duration() -> None:
    text = """
    workload:
      - {channel: email, arrivals: {trace: counts.csv, column: value, every: 5m}}
      - {channel: sms, arrivals: {trace: {file: counts.csv, column: value, every: 10m}}}
    """
    assert scenario.parse(text, str(DATA / "f.yaml")).duration == 1200
    assert scenario.parse(text + "\n    duration: 1m", str(DATA / "f.yaml")).duration == 60
    mixed = text + "  - {channel: push, arrivals: {poisson: 1/s}}"
    with pytest.raises(ConfigurationError, match="duration: wanted a duration"):
        scenario.parse(mixed, str(DATA / "f.yaml"))


def test_the_seed_given_wins() -> None:
    assert scenario.parse(SMALL + "seed: 7", seed=8).seed == 8
    assert scenario.parse(SMALL + "seed: 7", sets=["seed=9"]).seed == 9
    assert problems(SMALL, seed=-1) == ["--seed: wanted a whole number of at least 0, got -1"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nowhere.yaml", "no such file"), ("", "is a directory"), ("a\0b", "no file has a null character in its name")],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        scenario.load(tmp_path / name)
    assert refusal.value.problems == [f"{tmp_path / name}: {reason}"]


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "long.yaml"
    file.write_bytes(b"#" * (5 * 2**20))
    with pytest.raises(ConfigurationError, match="too long: wanted at most 4,194,304 bytes"):
        scenario.load(file)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "marked.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    assert scenario.load(file).duration == 600


def test_python_says_it_in_plain_words_too() -> None:
    with pytest.raises(ValueError, match="unknown key; did you mean duration"):
        Scenario.model_validate({"name": "x", "duraton": 60, "workload": []})


# ── --set ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sets_reach_into_mappings_and_lists() -> None:
    changed = scenario.parse(
        SMALL,
        str(DATA / "f.yaml"),
        sets=[
            "workload.0.arrivals={trace: counts.csv, column: value, every: 5m}",
            "channels.sms.retry.max_attempts=0x7",
            "channels.sms.retry.jitter=none",
            "name=on",
            "faults=[{channel: sms, outage: true}]",
            "faults.0.for=90s",
        ],
    )
    entry = changed.workload[0]
    assert isinstance(entry, ChannelWorkload)
    assert entry.arrivals.trace is not None
    assert entry.arrivals.trace.counts == (94, 56)
    assert changed.channels.sms.retry.max_attempts == 7
    assert changed.name == "on"
    assert changed.channels_used == (Channel.EMAIL, Channel.SMS)
    assert changed.faults[0].for_ == 90


def test_a_set_of_nothing_leaves_a_setting_at_none() -> None:
    assert scenario.parse(SMALL, sets=["channels.email.max_in_flight=5", "channels.email.max_in_flight="])


def test_a_set_mends_what_is_wrong_in_the_file() -> None:
    assert scenario.parse("duration: soon\n" + SMALL.partition("\n")[2], sets=["duration=1m"]).duration == 60


def test_setting_through_an_alias_leaves_the_anchor_alone() -> None:
    text = SMALL + "channels:\n  email: &usual {timeout: 5s}\n  sms: *usual\n"
    changed = scenario.parse(text, sets=["channels.sms.timeout=9s"])
    assert (changed.channels.email.timeout, changed.channels.sms.timeout) == (5, 9)


@pytest.mark.parametrize(("override", "problem"), tables(__file__)["unusable_sets"])
def test_what_is_wrong_with_a_set(override: str, problem: str) -> None:
    assert problems(SMALL, override) == [problem]


def test_problems_of_sets_follow_those_of_the_file_in_their_order() -> None:
    text = SMALL + "drain: 3\n"
    assert [problem.split(": ")[0] for problem in problems(text, "seed=x", "record=y", seed=-1)] == [
        "f.yaml:4:8",
        "--set record",
        "--seed",
    ]


@over_each([*range(0x20), *range(0x7F, 0xA0)])
def test_what_is_printed_of_a_scenario_is_no_order_to_a_terminal(number: int) -> None:
    for key in ("name", "description"):
        text = rf'{SMALL}{key}: "a\x{number:02x}b"'
        if chr(number) in "\t\n":
            assert getattr(scenario.parse(text), key) == f"a{chr(number)}b"
        else:
            (problem,) = problems(text)
            assert problem.startswith(f"f.yaml:4:{len(key) + 3}: {key}: wanted text without control characters, got ")
            assert problem.isprintable()


def test_a_name_may_have_lines_as_files_of_windows_end_them() -> None:
    assert scenario.parse(SMALL + r'name: "one\r\nother"').name == "one\r\nother"


def test_a_copy_does_not_remember_what_the_original_has_looked_up_of_itself() -> None:
    loaded = scenario.parse("duration: 1s\nworkload: [{channel: email, arrivals: {constant: 1/s}}]\n")
    assert [channel for channel, _ in loaded.outline.providers] == ["email"]
    falling_back = scenario.parse(
        "duration: 1s\nworkload: [{channel: email, arrivals: {constant: 1/s}}]\n"
        "channels: {email: {fallback: {channel: sms}}}\n"
    )
    copy = loaded.model_copy(update={"channels": falling_back.channels})
    assert copy.outline == falling_back.outline
