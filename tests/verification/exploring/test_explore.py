"""Exploration: the first case that breaks, what never happened, kept cases, and the command."""

from __future__ import annotations

import itertools
import json
import textwrap
from pathlib import Path

import pytest
from console_command import app
from effort import sliced, thorough
from planted import AfterTwoCrashes, OpensOnce, nothing_is_redriven
from scenario_tables import written
from typer.testing import CliRunner

from actors.errors import ConfigurationError
from simulation.results.progress import Interrupted
from simulation.scenario import load, parse
from simulation.verification.exploring import explore as exploring
from simulation.verification.exploring.corpus import Corpus
from simulation.verification.exploring.coverage import SOMETIMES, demanded, reached
from simulation.verification.exploring.explore import explore
from simulation.verification.exploring.guide import ROUND
from simulation.verification.exploring.report import document, interrupted, report
from simulation.verification.exploring.shrink import DoesNotBreak
from simulation.verification.known import KNOWN

ROOT = Path(__file__).parents[3]
SWARM = ROOT / "tests" / "verification" / "drawing" / "swarm.yaml"

SMALL = """
duration: 1m
workload:
  - {channel: email, arrivals: {constant: 1/s}, users: 5}
  - {channel: sms, arrivals: {constant: 1/s}, users: 5}
channels:
  email: {retry: {max_attempts: 2}, provider: {latency: 100ms}}
  sms: {circuit_breaker: {failure_threshold: 2, timeout: 5s}, provider: {latency: 100ms}}
"""


STILL_BREAKS = 36
"""From this seed on the first case that breaks does so, once shrunk, on the settings of the file too: a kept case is
tried on those, and not on the simpler ones that it has been shrunk to."""


small = written("small.yaml", SMALL)


def command(*words):
    return CliRunner().invoke(app, ["explore", *map(str, words)])


def folder_of(file):
    return file.parent / ".retrylab" / "failures" / file.stem


def explore_as_given(file, **how):
    """Explore the settings of a file as they are, each seed by itself, and keep what breaks."""
    return explore(file, **({"failures": folder_of(file), "settings": "given", "guided": False} | how))


@pytest.mark.thorough
@pytest.mark.integration
def test_one_process_or_two_say_the_same(small):
    one = explore(small, seeds=40, workers=1, invariants=["all", nothing_is_redriven], shrink_runs=20)
    assert one.failure is not None
    two = explore(small, seeds=40, workers=2, invariants=["all", nothing_is_redriven], shrink_runs=20)
    assert report(two) == report(one)
    assert (two.cases, two.notifications, two.coverage) == (one.cases, one.notifications, one.coverage)


@pytest.mark.thorough
@pytest.mark.integration
def test_one_process_or_two_vary_the_same_cases(small):
    one, two = (explore(small, seeds=ROUND + 12, workers=workers) for workers in (1, 2))
    assert one.variations > 3
    assert document(two) == document(one)


def test_a_failure_begins_with_its_seed_and_the_command_that_replays_it(small):
    how = {"invariants": [OpensOnce], "schedule": "normal", "sets": ["seed=3"]}
    shrunk = []
    exploration = explore_as_given(small, seeds=100, shrinking=shrunk.append, **how)
    assert shrunk == [exploration.failure.seed]
    seed, replay, empty, *rest = report(exploration).splitlines()
    assert seed == f"seed {exploration.failure.seed}"
    options = f"--schedule normal --settings given --unguided --set seed=3 --out {folder_of(small)}"
    assert replay == f"retrylab explore {small} --first-seed {seed.split()[1]} --seeds 1 {options}"
    assert empty == ""
    assert rest[0].startswith("invariant opens-once broken, at ")
    assert rest[1] == "  the breaker of sms opens for the second time"
    assert exploration.failure.shrunk.after.faults <= 2
    assert rest[-1] == f"kept: retrylab run {exploration.failure.file} --check"
    number = int(seed.split()[1])
    exploration.failure.file.unlink()
    alone = explore_as_given(small, seeds=1, first_seed=number, **how)
    assert report(alone) == report(exploration)
    assert document(alone)["failure"]["broken"] == "opens-once"


def test_a_failing_case_is_kept_tried_first_and_gone_when_it_is_mended(small):
    checked = [OpensOnce]
    first = explore_as_given(small, seeds=100, first_seed=STILL_BREAKS, invariants=checked)
    folder = folder_of(small)
    assert first.failure.file == folder / f"seed-{first.failure.seed}.yaml"
    assert (folder.parent.parent / ".gitignore").read_text().endswith("*\n")
    text = first.failure.file.read_text()
    assert text.startswith("# invariant opens-once broken")
    assert f"# retrylab run {first.failure.file} --check" in text
    assert load(first.failure.file) == first.failure.shrunk.scenario

    second = explore_as_given(small, seeds=100, first_seed=5000, invariants=checked)
    assert (second.cases, second.failure.kept) == (0, first.failure.file)

    never_opens = "circuit_breaker: {enabled: false}"
    mended = SMALL.replace("circuit_breaker: {failure_threshold: 2, timeout: 5s}", never_opens)
    small.write_text(mended.replace("email: {retry", f"email: {{{never_opens}, retry"))
    third = explore_as_given(small, seeds=3, invariants=checked)
    assert third.mended == [first.failure.file]
    assert third.failure is None
    assert not first.failure.file.exists()
    assert f"mended: {first.failure.file} broke before" in report(third)


BREAK = (2, 4, 12, 17, 20, 21)
"""The first seeds that break `OpensOnce`."""


@pytest.mark.parametrize("workers", sliced([1, pytest.param(2, marks=pytest.mark.integration)], 4))
def test_all_that_breaks_is_found_shrunk_and_kept(small, workers):
    how = {"seeds": BREAK[-1] + 1, "invariants": [OpensOnce], "workers": workers, "shrink_runs": 8}
    exploration = explore_as_given(small, keep_going=True, **how)
    assert [failure.seed for failure in exploration.failures] == list(BREAK)
    assert exploration.failure.seed == BREAK[0]
    assert all(failure.shrunk.after.total < failure.shrunk.before.total for failure in exploration.failures)
    lines = report(exploration).splitlines()
    assert lines[0] == f"{len(BREAK)} of {exploration.cases} cases broke, seeds 0 to {BREAK[-1]}"
    options = f"--settings given --unguided --out {folder_of(small)}"
    for failure, below in zip(exploration.failures, [*BREAK[1:], None], strict=True):
        shown = lines[lines.index(f"seed {failure.seed}") : None if below is None else lines.index(f"seed {below}") - 1]
        assert shown[1] == f"retrylab explore {small} --first-seed {failure.seed} --seeds 1 {options}"
        assert shown[-1] == f"kept: retrylab run {failure.file} --check"
    assert [each["seed"] for each in document(exploration)["failures"]] == list(BREAK)


def test_the_command_goes_on_after_a_case_that_broke(small, monkeypatch):
    def does_not_break(*what, **how):
        raise DoesNotBreak

    monkeypatch.setitem(KNOWN, OpensOnce.name, OpensOnce)
    monkeypatch.setattr(exploring, "shrink", does_not_break)  # then a case is shown as it was found
    words = (small, "--workers", 1, "--first-seed", BREAK[-2], "--seeds", 3, "--settings", "given", "--unguided")
    first, each = (command(*words, "--json", *more) for more in ([], ["--all"]))
    assert (first.exit_code, each.exit_code) == (1, 1)
    assert [failure["seed"] for failure in json.loads(first.stdout)["failures"]] == [BREAK[-2]]
    found = json.loads(each.stdout)
    assert found["cases"] == 3
    assert [failure["seed"] for failure in found["failures"]] == list(BREAK[-2:])
    assert [failure["command"] for failure in found["failures"]] == [
        f"retrylab explore {small} --first-seed {seed} --seeds 1 --settings given --unguided" for seed in BREAK[-2:]
    ]


def test_a_kept_case_of_other_channels_is_left_alone(small):
    folder = folder_of(small)
    folder.mkdir(parents=True)
    kept = "# A case; to see it again:\nduration: "
    (folder / "old.yaml").write_text(f"{kept}1s\nworkload: [{{channel: webhook, arrivals: {{constant: 1/s}}}}]")
    (folder / "unreadable.yaml").write_text(f"{kept}[")
    exploration = explore(small, seeds=2, failures=folder)
    assert exploration.failure is None
    assert exploration.mended == []
    assert len(list(folder.glob("*.yaml"))) == 2


def everything_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("how", sliced([{}, {"shrink_runs": 0}], 4, 1))
def test_nothing_is_written_unless_it_is_told_where(small, how):
    folder_of(small).mkdir(parents=True)
    (folder_of(small) / "seed-1.yaml").write_text(f"# A case; to see it again:{SMALL}")
    before = everything_in(small.parent)
    exploration = explore(small, seeds=40, invariants=["all", OpensOnce], settings="given", **how)
    assert (exploration.failure.file, exploration.failure.kept) == (None, None)
    assert everything_in(small.parent) == before
    told = report(exploration)
    assert told.endswith("not kept: --out DIR writes it to a file there")
    if not how:  # the whole small case, as it is in no file
        text = told[told.index("  name: small") : told.index("not kept")]
        assert parse(textwrap.dedent(text)) == exploration.failure.shrunk.scenario
    again = document(exploration)["failure"]
    assert parse(json.dumps(again["scenario"])) == exploration.failure.smallest
    assert again["file"] is None


@pytest.mark.thorough
def test_a_case_with_drawn_settings_is_tried_again_with_them(small):
    checked, folder = ["all", OpensOnce], folder_of(small)
    first = explore(small, seeds=60, invariants=checked, settings="drawn", failures=folder)
    assert first.failure.own_settings
    small.write_text(SMALL.replace("{failure_threshold: 2, timeout: 5s}", "{enabled: false}"))
    second = explore(small, seeds=1, invariants=checked, settings="given", failures=folder)
    assert (second.failure.kept, second.mended) == (first.failure.file, [])


def test_a_kept_script_is_no_setting(small):
    folder = Corpus(folder_of(small))
    scripted = parse(f"{SMALL}".replace("sms: {", "sms: {timeout: 3s, ").replace(
        "timeout: 5s}, provider: {latency: 100ms}", "timeout: 5s}, provider: {script: [{outcome: hang}]}"
    ))  # fmt: skip
    file = folder.keep("seed-1", scripted, "It breaks", "retrylab run …")
    again = folder.case(file, load(small))
    assert [answer.outcome for answer in again.channels.sms.provider.script] == ["hang"]
    assert (again.channels.sms.timeout, again.channels.sms.provider.latency.constant) == (10.0, 0.1)


@pytest.mark.thorough
def test_a_variation_is_replayed_by_the_seeds_that_led_to_it(small):
    how = {"seeds": 300, "first_seed": 80}
    exploration = explore(small, **how, invariants=[AfterTwoCrashes], shrink_runs=50, settings="given")
    assert len(exploration.failure.lineage) > 1, "no case of the swarm itself has two crashes in a row"
    options = exploration.replay.partition("--varies ")[2].split()
    varies = [int(seed) for seed in options[0].split(",")]
    again = explore(
        small,
        seeds=1,
        first_seed=exploration.failure.seed,
        varies=varies,
        shrink_runs=50,
        invariants=[AfterTwoCrashes],
        settings="given",
    )
    assert again.failure.case == exploration.failure.case
    assert report(again) == report(exploration)


@pytest.mark.parametrize("varies", ["", "1,,2", "a", "-1"])
def test_seeds_that_are_none_are_refused(small, varies):
    done = command(small, f"--varies={varies}")
    assert (done.exit_code, "wanted seeds with commas between them" in done.stderr) == (2, True)


def test_scenarios_in_the_folder_are_neither_tried_nor_removed(small):
    other = small.with_name("other.yaml")
    other.write_text(SMALL)
    exploration = explore(small, seeds=2, failures=small.parent)
    assert (exploration.cases, exploration.mended) == (2, [])
    assert small.read_text() == other.read_text() == SMALL


@pytest.mark.thorough
def test_what_looks_like_a_kept_case_is_not_explored_into_its_own_folder(small):
    kept = explore_as_given(small, seeds=100, invariants=["all", OpensOnce]).failure.file
    renamed = kept.rename(kept.with_name("mine.yaml"))
    small_too = kept.with_name("seed-7.yaml")
    small_too.write_text(SMALL)
    for file in (renamed, small_too):
        before = file.read_text()
        with pytest.raises(ConfigurationError, match="wanted a folder for failing cases, got the one where"):
            explore(file, seeds=2, failures=kept.parent)
        assert file.read_text() == before


def interrupt_at(monkeypatch, name, count):
    """Have a Ctrl-C come when a function of the exploration is called for this time."""
    whole, calls = getattr(exploring, name), itertools.count(1)

    def stopped(*words, **more):
        if next(calls) == count:
            raise KeyboardInterrupt
        return whole(*words, **more)

    monkeypatch.setattr(exploring, name, stopped)


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (1, ["interrupted before a case had finished"]),
        (
            2,
            [
                "interrupted: no case broke in 1 case, seed 20; to go on from there:",
                "retrylab explore {file} --first-seed 21 --seeds 999 --set seed=3",
            ],
        ),
        (
            6,
            [
                "interrupted: no case broke in 5 cases, seeds 20 to 24; to go on from there:",
                "retrylab explore {file} --first-seed 25 --seeds 995 --set seed=3",
            ],
        ),
    ],
)
def test_interrupted_it_says_how_many_were_run_and_how_to_go_on(small, monkeypatch, at, shown):
    interrupt_at(monkeypatch, "_explore_one", at)
    done = command(small, "--first-seed", 20, "--workers", 1, "--set", "seed=3")
    assert (done.exit_code, done.stdout) == (130, "")
    assert done.stderr.splitlines() == [line.format(file=small) for line in shown]


@pytest.mark.thorough
def test_interrupted_while_it_shrinks_a_case_it_says_which_broke(small, monkeypatch):
    checked = ["all", OpensOnce]
    failure = explore_as_given(small, seeds=100, first_seed=STILL_BREAKS, invariants=checked).failure
    with monkeypatch.context() as patched:
        interrupt_at(patched, "shrink", 1)
        with pytest.raises(Interrupted) as stopped:
            explore_as_given(small, seeds=100, invariants=checked)  # of the kept case, which is tried first
        assert interrupted(stopped.value.so_far, 100).startswith(f"interrupted: {failure.file} broke, ")
    failure.file.unlink()
    interrupt_at(monkeypatch, "shrink", 1)
    with pytest.raises(Interrupted) as stopped:
        explore_as_given(small, seeds=100, first_seed=STILL_BREAKS, invariants=checked)
    assert interrupted(stopped.value.so_far, 100).splitlines() == [
        f"interrupted: seed {failure.seed} broke, and its case is not shrunk to the end; to see it again:",
        f"retrylab explore {small} --first-seed {failure.seed} --seeds 1 --settings given --unguided "
        f"--out {folder_of(small)}",
    ]


@pytest.mark.thorough
def test_interrupted_it_says_of_cases_that_are_mended_and_gone(small, monkeypatch):
    kept = explore_as_given(small, seeds=100, invariants=["all", OpensOnce]).failure.file
    interrupt_at(monkeypatch, "_explore_one", 2)
    done = command(small, "--workers", 1, "--out", kept.parent)
    assert done.exit_code == 130
    assert not kept.exists()
    assert done.stderr.startswith(f"mended: {kept} broke before and no longer does\ninterrupted: no case broke in 1")


def test_what_never_happened_is_said_and_fails(small):
    exploration = explore(small, seeds=2)
    assert exploration.failure is None
    assert not exploration.holds
    lines = report(exploration).splitlines()
    assert lines[:2] == ["seeds 0 to 1", f"retrylab explore {small} --first-seed 0 --seeds 2"]
    assert lines[3] == "no case broke, but this never happened in 2 cases, though the settings make it possible:"
    never = [line.strip() for line in lines[4:] if line.startswith("  a")]
    assert set(exploration.never) >= set(never)
    assert never
    result = command(small, "--seeds", 2, "--workers", 1)
    assert (result.exit_code, result.stdout) == (1, report(exploration) + "\n")


def test_only_what_the_settings_make_possible_is_demanded():
    texts = {each.text for each in SOMETIMES}
    assert len(texts) == len(SOMETIMES)
    files = (SWARM, ROOT / "tests" / "mutants" / "scenarios" / "policies.yaml")
    assert {each.text for file in files for each in demanded(load(file))} == texts
    plain = {each.text for each in demanded(load(ROOT / "scenarios" / "steady-state.yaml"))}
    assert plain & {"a breaker opens", "a dead letter is redriven"}
    assert not plain & {
        "a limit drops a notification", "an open breaker refuses", "a hedge is sent", "a retry budget is spent",
        "quiet hours make a notification wait", "another provider takes over", "a notification expires",
    }  # fmt: skip
    assert reached([], load(SWARM)) == frozenset()


def test_the_command_in_json(small):
    result = command(small, "--seeds", 3, "--workers", 1, "--json", "--schedule", "random-walk")
    written = json.loads(result.stdout)
    told = command(small, "--seeds", 3, "--workers", 1, "--schedule", "random-walk").stdout
    assert len(written["reached"]) > len(demanded(load(small)))  # drawn settings make more possible
    assert all(f"{count:7,}  {text}" in told for text, count in written["reached"].items())
    assert (written["scenario"], written["first_seed"], written["cases"]) == ("small", 0, 3)
    assert written["failure"] is None
    assert set(written["never"]) == {text for text, count in written["reached"].items() if not count}
    assert written["command"].endswith("--first-seed 0 --seeds 3 --schedule random-walk")
    assert result.exit_code == (1 if written["never"] else 0)


def test_bad_input(small, tmp_path):
    assert command(tmp_path / "none.yaml").exit_code == 2
    small.write_text("duration: 1m")
    result = command(small)
    assert (result.exit_code, "workload: wanted a list" in result.stderr) == (2, True)
    assert command(small, "--seeds", 0).exit_code == 2
    with pytest.raises(ConfigurationError):
        explore(small)
    with pytest.raises(ValueError, match="wanted seeds of at least 1, got 0"):
        explore(SWARM, seeds=0)


@pytest.mark.parametrize("seeds", [2, thorough(25)])
def test_a_slice_of_the_swarm_breaks_nothing(seeds):
    exploration = explore(SWARM, seeds=seeds, first_seed=10_000, workers=1, settings="given", guided=False)
    if exploration.failure is not None:
        pytest.fail(report(exploration), pytrace=False)


@pytest.mark.slow
def test_ten_thousand_cases_break_nothing_and_reach_everything(tmp_path):
    exploration = explore(SWARM, seeds=10_000, workers=None, failures=tmp_path)
    if not exploration.holds:
        pytest.fail(report(exploration), pytrace=False)
    assert exploration.cases == 10_000
