"""Runs that are checked: the shipped scenarios, sabotaged pipelines, invariants of one's own, and what is reported."""

from pathlib import Path
from random import Random

import pytest
from console_command import app
from effort import sliced
from typer.testing import CliRunner

import simulation
from actors.errors import ConfigurationError, InvariantBreach
from actors.messages import NotificationMovedToDeadLetter, NotificationSent
from actors.outcomes import Transient
from actors.pipeline.deduplicating import InFlight
from actors.pipeline.handler import Handler
from actors.policies.breaker.breaker import Breaker
from actors.policies.rate_limit.windows import SlidingWindow
from simulation.engine.schedules import RandomWalk
from simulation.invariants import KNOWN, Invariant, observes
from simulation.scenario import load, parse
from simulation.verification.drawing.swarm import case
from simulation.verification.known import PLAYED_BY_THE_MODEL

SCENARIOS = sorted((Path(__file__).parents[3] / "scenarios").glob("*.yaml"))
SMALL = """\
name: small
seed: 5
duration: 30s
workload:
  - {channel: email, arrivals: {constant: 2/s}, users: 3}
channels:
  email:
    circuit_breaker: {failure_threshold: 3, timeout: 5s}
    rate_limit: {max_per_minute: 100}
    quota: {rate: 10/s}
    max_in_flight: 5
    retry: {max_attempts: 3, initial_delay: 100ms}
    provider: {latency: 50ms}
faults:
  - {channel: email, at: 5s, for: 10s, outage: true}
"""
ALL_BUT_THE_MODEL = [invariant for invariant in KNOWN.values() if invariant.name != "reference-model"]
"""What is checked where whole scenarios are run: the model takes as long as the others and the run together."""

TWICE = """\
duration: 10s
workload:
  - {channel: email, arrivals: {constant: 4/s}}
channels:
  email: {max_in_flight: 50, provider: {latency: 1s}}
faults:
  - {channel: email, duplicate_rate: 30%}
  - {channel: email, at: 5s, crash: {actor: channel}}
operations:
  - {at: 1m, redrive: all}
"""

CRASHES = """\
commit_latency: 5ms
"""

each_scenario = pytest.mark.parametrize("path", sliced(SCENARIOS, 20), ids=lambda path: path.stem)


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    return "small.yaml"


@pytest.fixture
def crashing(tmp_path):
    path = tmp_path / "crashing.yaml"
    crashes = [
        "{channel: email, at: 6s, crash: {actor: channel}}",
        "{channel: email, at: 8s, crash: {actor: handler}, restart_after: 1s}",
        "{channel: email, at: 16s, crash: {actor: breaker}, restart_after: 2s}",
        "{channel: email, at: 20s, crash: process, restart_after: 3s}",
        "{channel: email, at: 26s, for: 3s, lost_reply_rate: 70%}",
    ]
    path.write_text(SMALL + "".join(f"  - {crash}\n" for crash in crashes) + CRASHES)
    return path


# ── what holds ──────────────────────────────────────────────────────────────────────────────────────────────────


@each_scenario
def test_a_case_of_each_shipped_scenario_breaks_none(path):
    result = simulation.run(case(load(path), 1), invariants="all")
    assert len(result.checked) >= 10


@pytest.mark.thorough
@pytest.mark.parametrize("path", SCENARIOS[8::20], ids=lambda path: path.stem)
def test_shipped_scenarios_break_none_as_they_are(path):
    result = simulation.run(path, seed=load(path).seed + 1000, invariants=ALL_BUT_THE_MODEL)
    assert len(result.checked) >= 10


@pytest.mark.slow
@each_scenario
@pytest.mark.parametrize("seed", range(10))
def test_the_shipped_scenarios_break_none_with_other_seeds(path, seed):
    simulation.run(path, seed=seed, invariants="all")


@pytest.mark.parametrize("seed", range(5))
def test_none_is_broken_over_crashes(crashing, seed):
    result = simulation.run(crashing, seed=seed, invariants="all")
    assert result.summary["in_flight"] == 0
    assert "nothing-lost" in result.checked


def test_a_checked_run_is_the_same_on_both_clocks(small):
    simulated = simulation.run(small, invariants="all")
    live = simulation.run(small, invariants="all", runtime="trio")
    assert simulated.summary["digest"] == live.summary["digest"] == simulation.run(small).summary["digest"]


def test_a_run_in_another_order_is_checked_too(small):
    simulation.run(small, invariants="all", schedule=RandomWalk(Random(3)))


def test_the_names_of_laws_that_decided_again_are_names_of_the_model(small):
    assert {KNOWN[name] for name in PLAYED_BY_THE_MODEL} == {KNOWN["reference-model"]}
    assert simulation.run(small, invariants=["backoff", "conservation", "ramp"]).checked == (
        "reference-model",
        "conservation",
    )


def test_by_default_only_conservation_is_checked_which_is_not_counted(small):
    assert simulation.run(small).checked == ()


# ── sabotage ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_breaker_that_lets_all_through_is_caught(small, monkeypatch):
    monkeypatch.setattr(Breaker, "try_acquire", lambda self, now_ns: self.generation)
    with pytest.raises(InvariantBreach) as caught:
        simulation.run(small, invariants="all")
    assert caught.value.invariant == "open-breaker"
    assert caught.value.seed == 5


def test_a_limiter_that_lets_all_through_is_caught(small, monkeypatch):
    monkeypatch.setattr(SlidingWindow, "try_acquire", lambda self, key, now_ns, cost=1: now_ns)
    monkeypatch.setattr(SlidingWindow, "fits_at", lambda self, key, now_ns, cost=1: now_ns)
    with pytest.raises(InvariantBreach, match="user-limit") as caught:
        simulation.run(small, invariants="all", sets=["channels.email.rate_limit.max_per_minute=5"])
    assert "6 since" in caught.value.message
    assert "of at most 5 in 60 s" in caught.value.message
    with pytest.raises(InvariantBreach, match="quota"):
        simulation.run(small, invariants="all", sets=["channels.email.quota.rate=1/s"])


def test_slots_that_nobody_gives_back_are_caught(monkeypatch):
    simulation.run(parse(TWICE), invariants=["slots-given-back"])
    monkeypatch.setattr(InFlight, "flush", lambda self: self._attempts.clear())
    with pytest.raises(InvariantBreach, match=r"all attempts on email have ended, and . still count as under way"):
        simulation.run(parse(TWICE), invariants=["slots-given-back"])


def test_a_slot_that_a_wait_holds_at_the_end_is_not_missed():
    """Nothing else follows before the end of the run, as the breaker stays open."""
    text = """
        duration: 10s
        workload: [{channel: email, arrivals: {times: [0s]}}]
        channels: {email: {max_in_flight: 1, retry: {holds_slot: true}, provider: {latency: 1s}}}
        faults: [{channel: email, outage: true}]
        operations: [{at: 500ms, channel: all, breaker: force-open}]
    """
    run = simulation.run(parse(text), invariants=["slots-given-back"])
    assert run.summary["in_flight"] == 1


def test_a_handler_that_sends_twice_is_caught(small, monkeypatch):
    def send_twice(self, delivery):
        send(self, delivery)
        self._entrances[delivery.command.channel](delivery.current)

    send = Handler._send
    monkeypatch.setattr(Handler, "_send", send_twice)
    with pytest.raises(InvariantBreach) as caught:
        simulation.run(small, invariants=["nothing-after-the-end", "legal-steps"])
    assert "is sent, though it has been dead-lettered for 5 s" in caught.value.message
    with pytest.raises(InvariantBreach, match="is delivered 2 times; at most 1 can be explained"):
        simulation.run(small, invariants=["one-success"])


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_the_run_stops_where_it_breaks_also_inside_a_provider(small, runtime):
    events = []

    @observes(simulation.invariants.AttemptMade)
    def never_after_ten_seconds(made):
        return "too late" if made.at_ns >= 10 * 10**9 else None

    never = {"email": [lambda attempt, now_ns, load: None]}
    with pytest.raises(InvariantBreach) as caught:
        simulation.run(
            small, invariants=[never_after_ten_seconds], rules=never, runtime=runtime, on_events=events.extend
        )
    assert events[-1].at_ns == caught.value.at_ns == 10_450_000_000
    assert caught.value.replay == (
        "simulation.run('small.yaml', seed=5, "
        + ("runtime='trio', " if runtime == "trio" else "")
        + "rules=rules, invariants=[never_after_ten_seconds])"
    )


def test_a_lost_notification_is_a_breach_without_any_choice(small, monkeypatch):
    def forget(self, delivery):
        del self.deliveries.by_id[delivery.command.notification_id]

    monkeypatch.setattr(Handler, "_wait", forget)
    with pytest.raises(InvariantBreach) as caught:
        simulation.run(small)
    assert caught.value.invariant == "conservation"
    assert caught.value.replay == "retrylab run small.yaml --seed 5"


# ── of one's own ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_function_is_an_invariant(small):
    def quick(event):
        if type(event) is NotificationSent and event.at_ns - event.requested_at_ns > 2 * 10**9:
            return f"{event.notification_id} took too long"
        return None

    with pytest.raises(InvariantBreach, match="invariant quick broken") as caught:
        simulation.run(small, invariants=["all", quick])
    assert caught.value.history[-1].endswith("Sent with attempt 1")


def test_a_subclass_is_an_invariant_made_for_each_run(small):
    class FewDead(Invariant):
        name = "few-dead"

        def __init__(self, context):
            super().__init__(context)
            self.dead = 0

        @observes(NotificationMovedToDeadLetter)
        def on_dead_letter(self, event):
            self.dead += 1

        def at_end(self, now_ns):
            return f"{self.dead} dead" if self.dead > 2 else None

    simulation.run(small, invariants=[FewDead])
    fails = {"email": [lambda attempt, now_ns, load: Transient()]}
    for _ in range(2):
        with pytest.raises(InvariantBreach, match=r"few-dead broken, at [\d.]+ s \(seed 5\):\n  60 dead"):
            simulation.run(
                small, invariants=[FewDead], rules=fails, sets=["channels.email.circuit_breaker.enabled=false"]
            )


def test_what_is_no_invariant_is_refused_all_at_once(small):
    with pytest.raises(ConfigurationError) as caught:
        simulation.run(small, invariants=["open-breakers", 3])
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith("invariants.0: wanted all, a name (conservation, nothing-lost, ")
    assert caught.value.problems[1].endswith("got 3")


def test_each_has_a_name_and_says_what_it_is():
    assert all(law.__doc__ and name == law.name for name, law in KNOWN.items() if name not in PLAYED_BY_THE_MODEL)


# ── at the shell ────────────────────────────────────────────────────────────────────────────────────────────────


def test_check_says_how_many_were_checked(small):
    result = CliRunner().invoke(app, ["run", small, "--check"])
    assert result.exit_code == 0
    assert f"checked: {len(simulation.run(small, invariants='all').checked)} invariants" in result.stdout
    assert "checked" not in CliRunner().invoke(app, ["run", small]).stdout


def test_a_breach_is_reported_with_its_history_and_how_to_see_it_again(small, monkeypatch):
    monkeypatch.setattr(Breaker, "try_acquire", lambda self, now_ns: self.generation)
    monkeypatch.setattr(Breaker, "refuses", lambda self, now_ns: False)
    result = CliRunner().invoke(app, ["run", small, "--check", "--set", "drain=2h"])
    assert result.exit_code == 3
    assert result.stderr.split("small.yaml: ", 1)[1] == REPORT


REPORT = """\
invariant open-breaker broken, at 5.5 s (seed 5):
  email-0-11 is let through by breaker email, which is open since 5.45 s (channels.email.circuit_breaker.timeout = 5s)
what had happened until then:
      5.500000 s  Accepted on email for user-2
to see it again:
  retrylab run small.yaml --seed 5 --set drain=2h --check
"""


def test_an_attempt_that_waits_behind_the_limiter_after_a_crash_is_no_breach_of_the_limit(tmp_path):
    """The attempt before the crash waits for the adaptive rate, and its repeat is on its way; found by exploring."""
    file = tmp_path / "case.yaml"
    file.write_text("""\
name: case
seed: 0
duration: 50s
workload:
  - {channel: push, arrivals: {times: [0s, 0s]}}
channels:
  push: {rate_limit: {rate: 2/20s}, adaptive_rate: {initial_rate: 1/s}}
  webhook: {}
faults:
  - {channel: push, crash: {actor: channel}}
schedule:
  deviations: [[2, 8], [7, 4], [9, 3], [10, 2], [13, 1], [14, 2], [15, 1], [16, 3], [17, 3]]
""")
    assert simulation.run(file, invariants="all").summary["sent"] == 2
