"""The pytest plugin, run inside pytest: which files become tests, and what a failure says."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from effort import sliced
from scenario_tables import scenarios_of

import simulation.running.runner
import simulation.testing.scenario_items
from actors.errors import ConfigurationError, InvariantBreach
from actors.messages import NotificationMovedToDeadLetter
from simulation.invariants import observes

OUTAGE, TWO_CHANNELS, FATES = map(scenarios_of(__file__).get, ("outage", "two-channels", "fates"))


# Now, since pytester forgets what is imported only inside it, and some of it cannot be imported twice.
for needed in (
    "actors.kernel.live",
    "scipy.special",
    "simulation.reporting.expectation_report",
    "simulation.testing.testkit",
):
    importlib.import_module(needed)

Pytester = pytest.Pytester

ROOT = Path(__file__).parents[2]


def run(pytester: Pytester, *args: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *args)


def shown(result: pytest.RunResult, first: str) -> list[str]:
    """Return the lines of a failure, from the one that begins so to the next blank-separated section."""
    lines = result.outlines
    start = next(number for number, line in enumerate(lines) if line.startswith(first))
    end = next(number for number, line in enumerate(lines) if number > start and line[:3] in ("===", "___"))
    return lines[start:end]


def test_what_defaults_did_is_said_also_where_all_hold(pytester: Pytester) -> None:
    text = OUTAGE.replace("    circuit_breaker: {enabled: false}\n", "").replace("<= 10s", "<= 1h")
    pytester.makefile(".yaml", outage=text)
    result = run(pytester, "--retrylab-seeds", "2")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["*what defaults did*", "outage.yaml: email's circuit breaker, which the file does *"])
    assert sum("which the file does not name" in line for line in result.outlines) == 1  # the same with both seeds


def test_a_failure_says_what_defaults_did(pytester: Pytester) -> None:
    pytester.makefile(".yaml", outage=OUTAGE.replace("max_attempts: 2, ", "").replace("0.9\n", "0.99\n"))
    failure = "\n".join(shown(run(pytester), "sent_fraction >= 0.99 does not hold"))
    assert "email's max_attempts, which the file does not name (default: 3), left no further attempt to " in failure


def test_each_expectation_is_a_test_and_so_is_the_run(pytester: Pytester) -> None:
    pytester.makefile(".yaml", outage=OUTAGE)
    result = run(pytester, "-v")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "outage.yaml::runs PASSED*",
            "outage.yaml::sent_fraction >= 0.9 FAILED*",
            "outage.yaml::dlq.peak <= 100 PASSED*",
            "outage.yaml::delivery_time_s.p50 <= 10s PASSED*",
            "FAILED outage.yaml::sent_fraction >= 0.9 - is 77.5%, wanted at least 90%",
        ]
    )


def test_a_failed_expectation_shows_by_how_much_and_how_it_went(pytester: Pytester) -> None:
    pytester.makefile(".yaml", outage=OUTAGE)
    result = run(pytester, "outage.yaml::sent_fraction >= 0.9")
    result.assert_outcomes(failed=1)
    assert shown(result, "sent_fraction") == [
        "sent_fraction >= 0.9 does not hold",
        "is           77.5%",
        "wanted       at least 90%",
        "off          12 points short",
        "run          outage, seed 3, simpy, 2 min simulated",
        "",
        "                                                                                         most",
        "sent per 2 s              ▂▄▄▄▄▄▄▄▄▄▄▄▄▄▄▂              ▄█▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▂  4",
        "dead-lettered per 2 s                      █████████████▄                                2",
        "email: outage                            ━━━━━━━━━━━━━━━",
        "                          ┌──────┬───────┬──────┬───────┬──────┬───────┬──────┬───────┬",
        "                          0      15      30     45      60     75      90     105     120  s",
        "",
        "look closer  retrylab run outage.yaml --seed 3 --out report",
        "run again    pytest 'outage.yaml::sent_fraction >= 0.9'",
    ]


@pytest.mark.thorough
def test_the_command_that_it_shows_fails_in_the_same_way(pytester: Pytester) -> None:
    pytester.makefile(".yaml", outage=OUTAGE)
    args = ("--retrylab-seeds", "2", "--retrylab-runtime", "trio", "-k", "sent_fraction and 4")
    result = run(pytester, *args)
    (line,) = (line for line in result.outlines if line.startswith("run again"))
    assert line == (
        "run again    pytest 'outage.yaml::sent_fraction >= 0.9[seed 4]' --retrylab-runtime trio --retrylab-seeds 2"
    )
    result.stdout.fnmatch_lines(
        [
            "run          outage, seed 4, trio, 2 min simulated",
            "look closer  retrylab run outage.yaml --seed 4 --runtime trio --out report",
        ]
    )
    again = run(pytester, "outage.yaml::sent_fraction >= 0.9[seed 4]", "--retrylab-runtime=trio", "--retrylab-seeds=2")
    assert shown(again, "sent_fraction") == shown(result, "sent_fraction")


def test_several_seeds_are_several_tests_of_one_run_each(pytester: Pytester, monkeypatch: Any) -> None:
    runs = []

    def noted(*args: Any, **kwargs: Any) -> Any:
        runs.append(kwargs)
        return simulation.running.runner.run(*args, **kwargs)

    monkeypatch.setattr(simulation.testing.scenario_items, "run", noted)
    pytester.makefile(".yaml", outage=OUTAGE)
    result = run(pytester, "-v", "--retrylab-seeds=3")
    result.assert_outcomes(passed=9, failed=3)
    result.stdout.fnmatch_lines(["outage.yaml::runs[[]seed 3[]] PASSED*", "outage.yaml::runs[[]seed 5[]] PASSED*"])
    assert runs == [{"seed": seed, "runtime": "simpy", "invariants": "default"} for seed in (3, 4, 5)]
    assert run(pytester, "--retrylab-seeds=0").ret == pytest.ExitCode.USAGE_ERROR
    run(pytester, "--retrylab-seeds=x").stderr.fnmatch_lines(["*wanted a whole number of at least 1, got 'x'"])


def test_tests_can_be_chosen_by_name_and_marker(pytester: Pytester) -> None:
    pytester.makefile(".yaml", outage=OUTAGE)
    pytester.makepyfile("def test_other(): pass")
    run(pytester, "-k", "dlq").assert_outcomes(passed=1, deselected=4)
    run(pytester, "--strict-markers", "-m", "not retrylab_scenario").assert_outcomes(passed=1, deselected=4)
    run(pytester, "outage.yaml::runs").assert_outcomes(passed=1)


def test_a_file_that_cannot_be_used_is_an_error_with_all_its_problems(pytester: Pytester) -> None:
    wrong = OUTAGE.replace("max_attempts: 2", "max_attempts: many").replace("duration: 2m", "duration: 2")
    pytester.makefile(".yaml", outage=wrong)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    assert shown(result, "outage.yaml:") == [
        "outage.yaml:3:11: duration: wanted a duration of more than 0 such as 80ms, 10s, 5m or 2h "
        "(2 is 2ms if milliseconds were meant, 2s if seconds), got 2",
        "outage.yaml:10:27: channels.email.retry.max_attempts: wanted a whole number of at least 1, or unlimited, "
        "got 'many'",
    ]
    assert "Traceback" not in result.stdout.str()


def test_scenarios_go_with_the_mode_of_pytest_trio(pytester: Pytester) -> None:
    pytester.makefile(".yaml", outage=OUTAGE)
    pytester.makeini("[pytest]\ntrio_mode = true")
    run(pytester).assert_outcomes(passed=3, failed=1)


def test_a_breach_fails_the_run_and_no_expectation_has_a_figure(pytester: Pytester, monkeypatch: Any) -> None:
    def breach(*_args: Any, **_kwargs: Any) -> Any:
        raise InvariantBreach("one too many", "conservation", 12_000_000_000, 3, ("1 s: requested",), "run(...)")

    monkeypatch.setattr(simulation.testing.scenario_items, "run", breach)
    pytester.makefile(".yaml", outage=OUTAGE)
    result = run(pytester)
    result.assert_outcomes(failed=4)
    report = [
        "an invariant broke, which is a bug",
        "invariant conservation broken, at 12 s (seed 3):",
        "  one too many",
        "what had happened until then:",
        "  1 s: requested",
        "",
        "look closer  retrylab run outage.yaml --seed 3 --check",
        "run again    pytest outage.yaml::runs",
    ]
    assert shown(result, "an invariant broke") == report
    assert shown(result, "no metric") == [
        "no metric: an invariant broke, see outage.yaml::runs",
        "",
        "look closer  retrylab run outage.yaml --seed 3 --check",
        "run again    pytest 'outage.yaml::sent_fraction >= 0.9'",
    ]
    result.stdout.fnmatch_lines(["FAILED outage.yaml::runs - an invariant broke", "FAILED *0.9 - no metric"])


def test_a_breach_shows_what_had_happened_to_the_notification(pytester: Pytester, monkeypatch: Any) -> None:
    @observes(NotificationMovedToDeadLetter)
    def nothing_is_dead_lettered(event: Any) -> str:
        return f"{event.notification_id} is dead-lettered"

    def strict(*args: Any, invariants: str, **kwargs: Any) -> Any:
        return simulation.running.runner.run(*args, invariants=[invariants, nothing_is_dead_lettered], **kwargs)

    monkeypatch.setattr(simulation.testing.scenario_items, "run", strict)
    pytester.makefile(".yaml", outage=OUTAGE)
    report = shown(run(pytester, "outage.yaml::runs", "--retrylab-check"), "an invariant broke")
    assert report[1].endswith("(seed 3):")
    assert report[2].endswith(" is dead-lettered")
    assert report[3] == "what had happened until then:"
    assert any("Attempt 1 failed" in line for line in report[4:])
    assert "simulation.run(" not in "".join(report)


def test_a_scenario_that_cannot_be_run_so_says_why(pytester: Pytester, monkeypatch: Any) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise ConfigurationError(["schedule: wanted the runtime simpy, got trio"])

    monkeypatch.setattr(simulation.testing.scenario_items, "run", refuse)
    pytester.makefile(".yaml", outage=OUTAGE)
    result = run(pytester, "outage.yaml::runs", "--retrylab-runtime=trio")
    assert shown(result, "the scenario cannot")[:3] == [
        "the scenario cannot be run so",
        "schedule: wanted the runtime simpy, got trio",
        "",
    ]


def test_any_other_error_keeps_its_traceback(pytester: Pytester, monkeypatch: Any) -> None:
    def bug(*_args: Any, **_kwargs: Any) -> Any:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(simulation.testing.scenario_items, "run", bug)
    pytester.makefile(".yaml", outage=OUTAGE)
    result = run(pytester, "outage.yaml::runs")
    result.stdout.fnmatch_lines(["*raise ZeroDivisionError*", "E *ZeroDivisionError: a bug of ours"])


# ── which files ─────────────────────────────────────────────────────────────────────────────────────────────────────

STRANGERS = {
    "docker-compose": "services: {web: {image: nginx}}\n",
    "ci": "on: push\njobs:\n  test:\n    expect: yes\n    workload: x\n    duration: 5\n",
    "locust": "workload: heavy\nduration: 5\n",
    "hint": "# yaml-language-server: $schema=https://example.org/compose.json\nworkload: x\n",
    "broken": "workload: [\nduration: {\n",
    "tab": "\tx",
    "empty": "",
}


def test_yaml_files_of_strangers_are_left_alone(pytester: Pytester) -> None:
    pytester.makefile(".yaml", **STRANGERS)
    pytester.makefile(".yml", **STRANGERS)
    pytester.path.joinpath("binary.yaml").write_bytes(bytes(range(256)))
    pytester.path.joinpath("gone.yaml").symlink_to("nowhere")
    assert run(pytester).ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize("name", ["ci", "broken", "empty"])
def test_a_file_that_is_named_is_a_scenario_whatever_it_looks_like(pytester: Pytester, name: str) -> None:
    pytester.makefile(".yaml", **STRANGERS)
    result = run(pytester, f"{name}.yaml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"{name}.yaml:[123]:*"])


def test_a_file_that_is_named_and_a_test_of_another_plugin_is_left_to_that(pytester: Pytester) -> None:
    pytester.makefile(".yaml", **STRANGERS)
    pytester.makefile(".yaml", outage=OUTAGE)
    pytester.makeconftest(
        """
import pytest

class Item(pytest.Item):
    def runtest(self): pass

class File(pytest.File):
    def collect(self):
        yield Item.from_parent(self, name="theirs")

def pytest_collect_file(file_path, parent):
    return File.from_parent(parent, path=file_path) if file_path.suffix == ".yaml" else None
"""
    )
    run(pytester, "ci.yaml").assert_outcomes(passed=1)
    run(pytester, "outage.yaml").assert_outcomes(passed=4, failed=1)


def test_the_hint_for_editors_makes_a_scenario_without_expectations_a_test(pytester: Pytester) -> None:
    text = OUTAGE[: OUTAGE.index("expect:")]
    pytester.makefile(".yaml", outage=text)
    assert run(pytester).ret == pytest.ExitCode.NO_TESTS_COLLECTED
    hint = "# yaml-language-server: $schema=../scenario.schema.json\n"
    pytester.makefile(".yaml", outage=hint + text)
    run(pytester).assert_outcomes(passed=1)


def test_with_patterns_it_is_those_files_and_no_others(pytester: Pytester) -> None:
    folder = pytester.mkdir("checks")
    for path in (folder / "one.yaml", folder / "two.yml", pytester.path / "three.yaml"):
        path.write_text(OUTAGE[: OUTAGE.index("expect:")] + "expect: [dlq.peak <= 100]\n", encoding="utf-8")
    run(pytester).assert_outcomes(passed=6)
    pytester.makeini("[pytest]\nretrylab_scenarios = checks/*.yaml")
    run(pytester, "-v").stdout.no_fnmatch_line("*t[wh]*.y*::*")
    run(pytester).assert_outcomes(passed=2)
    run(pytester, "three.yaml").assert_outcomes(passed=2)


def test_a_file_is_shown_as_seen_from_where_pytest_was_started(pytester: Pytester, monkeypatch: Any) -> None:
    file = pytester.makefile(".yaml", outage=OUTAGE.replace("duration: 2m", "duration: 2"))
    inner = pytester.mkdir("inner")
    for start, seen in ((pytester.path, "outage.yaml"), (inner, str(file))):
        monkeypatch.chdir(start)
        result = run(pytester, f"--rootdir={inner}", str(file))
        result.stdout.fnmatch_lines([f"{seen}:3:11: duration: *"])


@pytest.mark.thorough
@pytest.mark.integration
def test_scenarios_of_the_project_are_tests() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    listed = subprocess.run([*command, "scenarios"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "scenarios/provider-outage.yaml::sent_fraction >= 0.99\n" in listed
    files = {line.split("::")[0] for line in listed.splitlines() if "::" in line}
    assert files == {str(path.relative_to(ROOT)) for path in (ROOT / "scenarios").rglob("*.yaml")}


@pytest.mark.thorough
@pytest.mark.integration
def test_nothing_heavy_is_imported_for_a_run_without_scenarios(pytester: Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_what_is_there():
            heavy = {"pandas", "pydantic", "simpy", "matplotlib", "yaml", "rich", "simulation", "actors"}
            assert "retrylab_pytest" in sys.modules
            assert heavy & set(sys.modules) == set()
        """
    )
    pytester.makefile(".yaml", **STRANGERS)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


@pytest.mark.thorough
@pytest.mark.parametrize(("option", "ini"), sliced([(False, False), (True, False), (False, True)], 6))
def test_only_a_run_that_is_to_check_all_invariants_loads_them(pytester: Pytester, option: bool, ini: bool) -> None:
    pytester.makefile(".yaml", outage=OUTAGE)
    pytester.makepyfile(
        test_z=f"""
        import sys

        def test_what_is_there():
            assert "simulation.running.runner" in sys.modules
            assert ("simulation.verification" in sys.modules) is {option or ini}
        """
    )
    if ini:
        pytester.makeini("[pytest]\nretrylab_check = true")
    args = ["--retrylab-check"] * option + ["outage.yaml::runs", "outage.yaml::sent_fraction >= 0.9", "test_z.py"]
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *args)
    result.assert_outcomes(passed=2, failed=1)
    again = " --retrylab-check" if option or ini else ""
    assert f"run again    pytest 'outage.yaml::sent_fraction >= 0.9'{again}" in result.outlines


# ── what a chart shows of other metrics ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.thorough
def test_a_figure_of_a_channel_shows_the_series_and_faults_of_that_channel(pytester: Pytester) -> None:
    pytester.makefile(".yaml", two=TWO_CHANNELS)
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=6)
    sms = shown(result, "channels.sms.dead_lettered")
    assert "off          99,996 short" in sms
    assert not any("email" in line for line in sms[6:])
    assert any(line.startswith("sms: 10% fail") and line.count("━") >= 60 for line in sms)
    opened = shown(result, "breaker.email.opened")
    (band,) = (line for line in opened if line.startswith("breaker email"))
    assert band.split()[-2:] == ["10×", "open"]
    drawn = band[26:88]
    assert (drawn.index("█"), drawn.rindex("█")) == (10, 20)
    assert "wanted       0" in opened
    assert "                          █ open, else closed" in opened
    assert any(line.startswith("breaker email") for line in shown(result, "channels.email.breaker.open_s"))
    assert "wanted       at most 1 ms" in shown(result, "retry_delay_s.max")
    assert "wanted       other than 7,200" in shown(result, "accepted")


@pytest.mark.thorough
def test_a_run_that_keeps_no_rows_shows_the_whole_run_and_says_so(pytester: Pytester) -> None:
    pytester.makefile(".yaml", two=TWO_CHANNELS.replace("record: full", "record: aggregates"))
    result = run(pytester, "-k", "channels.sms")
    assert any("the whole run" in line for line in shown(result, "channels.sms.dead_lettered"))


@pytest.mark.thorough
def test_a_statistic_over_nothing_says_so(pytester: Pytester) -> None:
    text = OUTAGE.replace("delivery_time_s.p50 <= 10s", "retry_delay_s.p99 <= 10s")
    pytester.makefile(".yaml", outage=text.replace("at: 30s, for: 30s", "at: 30.5s, for: 1ms"))
    result = run(pytester)
    result.assert_outcomes(passed=3, failed=1)
    assert "is           unknown: there was nothing to measure" in shown(result, "retry_delay_s")


def test_a_quantile_that_so_many_never_reach_is_never(pytester: Pytester) -> None:
    pytester.makefile(".yaml", outage=OUTAGE.replace("p50 <= 10s", "p99 <= 1h"))
    result = run(pytester, "-k", "delivery_time_s")
    assert shown(result, "delivery_time_s")[1:3] == ["is           never", "wanted       at most 60 min"]
    result.stdout.fnmatch_lines(["FAILED * - is never, wanted at most 60 min"])


@pytest.mark.thorough
def test_metrics_of_an_entry_or_a_class_and_of_a_fault_show_their_series(pytester: Pytester) -> None:
    paths = ("workload.email.dead_lettered", "classes.normal.dead_lettered", "faults.0.backlog_cleared_s")
    expect = "expect:\n" + "".join(f"  - {path} <= 0\n" for path in paths)
    pytester.makefile(".yaml", outage=OUTAGE[: OUTAGE.index("expect:")] + expect)
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=3)
    for path in paths[:2]:
        assert [line.split()[0] for line in shown(result, path)[7:9]] == ["failed", "dead-lettered"]
    assert [line.split()[:2] for line in shown(result, paths[2])[7:9]] == [["in", "flight"], ["sent", "per"]]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name",
    [
        "burst-over-the-limit",
        pytest.param("flapping-provider", marks=pytest.mark.slow),
        pytest.param("provider-outage", marks=pytest.mark.slow),
        pytest.param("quiet-hours", marks=pytest.mark.slow),
    ],
)
def test_no_line_is_wider_than_a_hundred_columns(pytester: Pytester, name: str) -> None:
    text = (ROOT / "scenarios" / f"{name}.yaml").read_text(encoding="utf-8")
    bounds = (
        "sent_fraction <= 0",
        "dlq.peak > 1e9",
        "sent_time_s.max <= 0",
        "retry_amplification > 99",
        "simulated_s <= 0",
    )
    expect = "\nexpect:\n" + "".join(f"  - {bound}\n" for bound in bounds)
    pytester.makefile(".yaml", one=text[: text.index("\nexpect:")] + expect)
    result = run(pytester)
    starts = [number for number, line in enumerate(result.outlines) if line.endswith("does not hold")]
    assert len(starts) == len(bounds)
    for start in starts:
        chart = result.outlines[start : result.outlines.index("", start + 7)]
        assert [line for line in chart if len(line) > 100] == []
        assert len(chart) > 9


# ── fixtures ────────────────────────────────────────────────────────────────────────────────────────────────────────

FIXTURES = """\
import pytest
from actors import Actor, BreakerTransitioned, handles
from actors.messages import ActorFailed

class Echo(Actor):
    @handles(str)
    async def on_text(self, text):
        await self.sleep(2.0)
        return text, self.now_ns, self.stream("x").randrange(10**6)

    @handles(int)
    def on_number(self, number):
        raise ValueError(number)

    @handles(float)
    def on_float(self, delay):
        self.after(delay, 1)
        return self.stream("x").randrange(10**6)

seen = []
"""


@pytest.mark.parametrize("plugins", [("-p", "no:trio"), ()], ids=["alone", "beside pytest-trio"])
def test_the_fixtures(pytester: Pytester, plugins: tuple[str, ...]) -> None:
    pytester.makepyfile(
        FIXTURES
        + """
@pytest.mark.retrylab_seed(4)
def test_simulated(simulated_system, recorder):
    echo = simulated_system.spawn(Echo)
    seen.append(echo.ask("hi"))
    echo.tell(1)
    simulated_system.run()
    assert recorder.times(ActorFailed) == [2.0]
    assert recorder.of(BreakerTransitioned) == []

@pytest.mark.retrylab_seed(4)
def test_live(live_system, recorder):
    echo = live_system.spawn(Echo)
    seen.append(echo.ask("hi"))
    echo.tell(1)
    live_system.run()
    assert recorder.times(ActorFailed) == [2.0]
    assert seen[0] == seen[1]

def test_another_seed(simulated_system):
    assert simulated_system.spawn(Echo).ask("hi")[:2] == seen[0][:2]
    assert simulated_system.spawn(Echo).ask("hi")[2] != seen[0][2]

@pytest.mark.retrylab_seed(4)
def test_kit(actor_kit, request):
    kit = actor_kit(Echo)
    seen.append(kit.ask(3.0))
    assert [timer.due for timer in kit.timers] == [3.0]
    kit.advance(3)
    assert kit.recorded.times(ActorFailed) == [3.0]

def test_kits_had_the_same_seeds():
    assert seen[-1] == seen[-2]
"""
    )
    run(pytester, "--strict-markers", "-W", "error", *plugins).assert_outcomes(passed=6)


def test_the_world(pytester: Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def first_difference(*arguments: Any, **options: Any) -> str | None:
        asked.append((*arguments, options))
        return "request 3 differs" if options["processes"] == 2 else None

    monkeypatch.setattr("simulation.world.second.first_difference", first_difference)
    pytester.makefile(
        ".yaml",
        world="""
duration: 5s
workload: [{channel: payments, arrivals: {constant: 1/s}}]
channels: {payments: {kind: call}}
world: {api.example.com: payments}
""",
    )
    pytester.makepyfile("""
import pytest, trio

async def ask(arrival):
    stream = await trio.open_tcp_stream("api.example.com", 80)
    async with stream:
        await stream.send_all(b"GET / HTTP/1.1\\r\\nhost: api.example.com\\r\\nconnection: close\\r\\n\\r\\n")
        async for part in stream:
            assert b"200 OK" in part

@pytest.mark.parametrize("processes", [3, 2])
def test_it(retrylab_world, processes):
    main = ask if processes == 3 else "test_the_world:ask"
    assert retrylab_world(main, "world.yaml", processes=processes).summary["sent"] == 5
""")
    result = run(pytester, "test_the_world.py", "-W", "error")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["request 3 differs"])
    assert asked == [("test_the_world:ask", "world.yaml", {"processes": 2})]


def test_systems_are_closed_after_their_test(pytester: Pytester) -> None:
    pytester.makepyfile(
        FIXTURES
        + """
import threading

before = set(threading.enumerate())

def test_one(simulated_system, live_system, actor_kit):
    seen.extend([simulated_system.spawn(Echo), live_system.spawn(Echo), actor_kit(Echo).ref])

def test_two():
    assert [ref.is_alive() for ref in seen] == [False] * 6
    assert set(threading.enumerate()) <= before
"""
    )
    run(pytester).assert_outcomes(passed=3)


def test_a_seed_that_is_none_is_an_error(pytester: Pytester) -> None:
    pytester.makepyfile(
        """
import pytest

@pytest.mark.retrylab_seed("four")
def test_one(simulated_system):
    pass
"""
    )
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*UsageError: *::test_one: wanted @pytest.mark.retrylab_seed(a whole number)"])


# ── expectations of a share of runs ─────────────────────────────────────────────────────────────────────────────────


def test_what_no_single_run_decides_is_skipped_with_the_reason(pytester: Pytester) -> None:
    pytester.makefile(".yaml", fates=FATES)
    result = run(pytester, "-v", "-ra")
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(
        [
            "fates.yaml::sent == 1 in 80% of runs SKIPPED*",
            "SKIPPED * sent == 1 in 80% of runs: undecided by one run: it takes --retrylab-replicates 14 or more",
        ]
    )


def test_replicates_decide_it_by_the_option_or_the_configuration(pytester: Pytester) -> None:
    pytester.makefile(".yaml", fates=FATES)
    result = run(pytester, "-v", "--retrylab-replicates=20", "--retrylab-seeds=2")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        ["fates.yaml::sent == 1 in 80% of runs PASSED*", "FAILED *sent == 0 in 80% of runs - held in 0 of 3 runs*"]
    )
    assert shown(result, "sent == 0 in") == [
        "sent == 0 in 80% of runs does not hold",
        "held in 0 of 3 runs, so in 0% to 63.16% of all",
        "",
        "look closer  retrylab run fates.yaml --replicates 20",
    ]
    pytester.makeini("[pytest]\nretrylab_replicates = 13")
    result = run(pytester, "-ra")
    result.assert_outcomes(passed=2, skipped=1, failed=1)
    result.stdout.fnmatch_lines(["*sent == 1 in 80% of runs: undecided, held in 13 of 13 runs, so in * of all"])


def test_replicates_that_are_no_number_are_a_usage_error(pytester: Pytester) -> None:
    pytester.makeini("[pytest]\nretrylab_replicates = many")
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*retrylab_replicates: wanted a whole number of at least 1, got 'many'"])
    assert run(pytester, "--retrylab-replicates=0").ret == pytest.ExitCode.USAGE_ERROR


def test_replicates_of_a_file_are_shared_by_its_expectations(pytester: Pytester, monkeypatch: Any) -> None:
    seeds = []

    def noted(task: Any, **how: Any) -> Any:
        seeds.append((task.seed, how["invariants"]))
        return True, False, True

    monkeypatch.setattr("simulation.running.deciding.held_in_run", noted)
    pytester.makefile(".yaml", fates=FATES)
    run(pytester, "--retrylab-replicates=20").assert_outcomes(passed=3, failed=1)
    assert seeds == [(seed, "default") for seed in range(6, 19)]
    seeds.clear()
    run(pytester, "--retrylab-replicates=20", "--retrylab-check").assert_outcomes(passed=3, failed=1)
    assert seeds == [(seed, "all") for seed in range(6, 19)]


@pytest.mark.thorough
def test_what_a_huge_run_takes_is_said_before_it(pytester: Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulation.scenario.run_size.LARGE_BYTES", 1000)
    pytester.makefile(".yaml", outage=OUTAGE)
    said = [line for line in run(pytester).outlines if " of memory" in line]
    assert len(said) == 1
    assert "outage.yaml: " in said[0]


LIMITS = """
duration: 2m
workload: [{channel: webhook, arrivals: {constant: 20/min}}]
channels: {webhook: {retry: {schedule: [10s, 30s, 60s]}, circuit_breaker: {enabled: false}}}
expect: [sent_fraction == 1]
limits: {webhook.outage: ">= 90s", all.outage: ">= 3m"}
"""


def test_what_a_scenario_is_to_take_is_asked(pytester: Pytester) -> None:
    pytester.makefile(".yaml", ladder=LIMITS)
    result = run(pytester, "-v")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*::webhook.outage >= 90s PASSED*",
            "*::all.outage >= 3m FAILED*",
            "all.outage >= 3m does not hold",
            "`sent_fraction == 1` breaks with 3 of 3 seeds: it is 9*",
            "look closer  retrylab limits ladder.yaml --of outage --on all",
        ]
    )


def test_that_a_scenario_with_a_world_is_run_without_a_service_is_said(pytester: Pytester) -> None:
    text = LIMITS.partition("expect")[0] + "world: {api.example.com: webhook}\nexpect: [sent >= 1]\n"
    pytester.makefile(".yaml", shop=text)
    said = [line for line in run(pytester).outlines if "a run of the pipeline, not of a service" in line]
    assert len(said) == 1
    assert "shop.yaml: " in said[0]


def test_the_code_that_a_scenario_names_is_imported_for_its_run_alone_and_only_when_asked_for(
    pytester: Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "own_mine", raising=False)
    touch = "from pathlib import Path\nPath('exploded').touch()\n"
    pytester.makepyfile(own_mine=f"{touch}from actors import OwnActor\nclass A(OwnActor): ...\n")
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(pytester.path))])
    workload = "[{channel: email, arrivals: {constant: 1/s}}]"
    text = f"duration: 3s\nworkload: {workload}\nactors: {{a: {{actor: 'own_mine:A'}}}}\nexpect: [sent >= 1]\n"
    pytester.makefile(".yaml", s=text)
    run(pytester, "--collect-only", "--retrylab-code").assert_outcomes()
    refused = run(pytester)
    refused.assert_outcomes(failed=2)
    refused.stdout.fnmatch_lines(
        [
            "*actors.a.actor: own_mine:A is code, *, by pytest with --retrylab-code",
            "look closer  retrylab run s.yaml --seed 0 --check --code",
            "run again    pytest s.yaml::runs --retrylab-code",
        ]
    )
    assert not (pytester.path / "exploded").exists()
    run(pytester, "--retrylab-code").assert_outcomes(passed=2)
    assert (pytester.path / "exploded").exists()
    text = text.replace("sent >= 1", "sent_fraction == 1")
    pytester.makefile(".yaml", s=text + 'limits: {email.outage: ">= 1h"}\n')
    for options in ([], ["--retrylab-code"]):
        limit = run(pytester, "-k", "outage", *options)
        limit.assert_outcomes(failed=1)
        limit.stdout.fnmatch_lines(["look closer  retrylab limits s.yaml --of outage --on email --code"])
