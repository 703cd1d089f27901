"""The product in lock-step with the reference model: every shipped scenario, cases of the swarm, both clocks."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from console_command import app
from effort import sliced, thorough
from many_seeds import SCENARIOS, difference, main, ordinary
from scenario_tables import scenarios_of
from typer.testing import CliRunner

import simulation
from actors.errors import InvariantBreach
from actors.kernel.actor import handles
from actors.messages import ActorFailed
from actors.pipeline.agenda import Agenda
from actors.pipeline.alert import AdminAlert, Alert
from actors.pipeline.deduplicating import DeduplicatingLimiter, InFlight
from actors.pipeline.handler import Handler
from actors.pipeline.quotas import Quotas
from actors.pipeline.rate_limiter import RateLimiterActor
from actors.policies.retry.policy import RetryPolicy
from actors.storage.shared_memory import NodeStore, SharedMemory
from simulation.running.service import Process, Service
from simulation.scenario import load, parse
from simulation.verification import lockstep
from simulation.verification.cases import case as validation_case
from simulation.verification.cases.procedure import find

ROOT = Path(__file__).parents[2]
SHIPPED = sorted([*(ROOT / "scenarios").glob("*.yaml"), *(ROOT / "scenarios" / "incidents").glob("*.yaml")])
LIVE = {"swarm", "stages-restart", "told-twice"}
"""Those of which some cases run under trio too."""
LOCK_STEP = ["reference-model"]
TEXTS = scenarios_of(__file__)


def compared(scenario, **arguments):
    result = simulation.run(scenario, invariants=LOCK_STEP, **arguments)
    assert result.checked == ("reference-model",)
    return result


# ── no difference ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", sliced(SHIPPED, 40), ids=lambda path: path.stem)
def test_a_case_of_each_shipped_scenario(path):
    compared(ordinary(load(path), 7))


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_each_shipped_scenario_as_it_is(path):
    compared(path)


@pytest.mark.parametrize("seeds", [range(1), thorough(range(1, 3))], ids=["one", "more"])
@pytest.mark.parametrize("path", sliced(SCENARIOS, 18), ids=lambda path: path.stem)
def test_cases_of_the_swarm(path, seeds):
    scenario = load(path)
    assert {seed: found for seed in seeds if (found := difference(scenario, seed))} == {}


@pytest.mark.slow
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_many_cases_of_the_swarm(path):
    scenario = load(path)
    assert {seed: found for seed in range(1000) if (found := difference(scenario, seed))} == {}


@pytest.mark.parametrize("seed", sliced(range(3), 6, 1))
@pytest.mark.parametrize("path", [path for path in SCENARIOS if path.stem in LIVE], ids=lambda path: path.stem)
def test_on_the_clock_for_tests(path, seed):
    compared(ordinary(load(path), seed), runtime="trio")


def test_how_long_an_attempt_took_does_not_depend_on_when_its_breaker_is_back():
    assert compared(parse(TEXTS["down-while-answers-come"])).summary["sent"] == 48


def test_what_falls_due_for_a_stage_that_is_down_stands_before_what_comes_at_the_same_instant():
    assert compared(parse(TEXTS["due-for-one-that-is-down"])).summary["sent"] == 14


ONCE_DIFFERENT = (
    "durable-for-one-that-is-down",
    "copy-of-one-that-holds-a-slot",
    "timer-of-a-process-that-is-gone",
    "quota-that-outlives-all-nodes",
)


@pytest.mark.parametrize("name", ONCE_DIFFERENT)
def test_a_scenario_that_once_differed(name):
    compared(parse(TEXTS[name]))


def test_a_stage_that_is_down_has_one_look_in_its_mailbox_however_much_falls_due():
    assert compared(parse(TEXTS["looked-for-while-it-is-down"])).summary["sent"] > 0


def test_what_jinja_makes_of_a_template_is_given_to_the_model():
    result = compared(parse(TEXTS["jinja"]))
    assert result.summary["sent"] > 10
    assert "template 'welcome': 'nothing' is undefined" in set(result.dlq["reason"])


def test_one_without_a_connection_waits_for_no_one_at_a_provider_that_takes_one_at_a_time():
    result = simulation.run(parse(TEXTS["unconnected"]), invariants=[*LOCK_STEP, "fates"])
    assert set(result.attempts["reason"].dropna()) >= {"connection refused"}


def test_unlimited_attempts_of_which_a_history_has_a_hundred():
    result = compared(parse(TEXTS["unlimited"], "unlimited.yaml"))
    assert result.attempts["attempt"].max() > 150


QUICK = ("attempts", "herd", "token-bucket", "fan-out", "duplicates", "contention", "gas-station", "bank-renege")


def replicates_of_cases(names):
    for case in find(names):
        for experiment in case.experiments:
            if getattr(experiment.replicate, "func", None) is validation_case._run:
                yield pytest.param(experiment.replicate, id=f"{case.name} {experiment.name}")


def run_case(replicate, seed):
    text, _measure, rules, providers = replicate.args
    compared(
        parse(text, "scenario"),
        seed=seed,
        rules=None if rules is None else rules(),
        providers=None if providers is None else providers(seed),
    )


@pytest.mark.parametrize("replicate", sliced([next(iter(replicates_of_cases([name]))) for name in QUICK], 12))
def test_a_slice_of_the_validation_cases(replicate):
    run_case(replicate, 3)


@pytest.mark.slow
@pytest.mark.parametrize("replicate", list(replicates_of_cases(None)))
def test_every_validation_case(replicate):
    run_case(replicate, 3)


def test_answers_that_nobody_could_foresee():
    """A provider that is slowed down while it works gives promises; what is not kept in time has timed out."""
    text = TEXTS["small"].replace("latency: 50ms", "latency: 50ms, capacity: 1").replace("outage: true", "speed: 0.05")
    result = compared(parse(text + "  - {channel: email, at: 8s, for: 4s, speed: 0}\n", "small.yaml"))
    assert result.summary["peaks"]["in_flight"] > 1


@pytest.mark.parametrize("seed", sliced(range(3), 6))
@pytest.mark.parametrize("order", ["kind: strict", "aging: 5s", "kind: weighted", "kind: weighted, weights: {bulk: 3}"])
@pytest.mark.parametrize("per", sliced(["channel", "host"], 4))
def test_classes_wait_in_their_order_and_are_refused_by_their_shares(per, order, seed):
    text = TEXTS["classes"].replace("timeout: 2s}", f"timeout: 2s, per: {per}}}\n    order: {{{order}}}")
    assert compared(parse(text, "classes.yaml"), seed=seed).summary["channels"]["webhook"]["refused"]["overloaded"] > 0


@pytest.mark.parametrize("fair_by", sliced(["user", "host", "tenant"], 6))
@pytest.mark.parametrize(
    ("per", "order", "bounds"),
    [("channel", "kind: weighted", None), ("host", "aging: 5s", "{max_in_flight: 3, rate: 10/2s}")],
)
def test_users_hosts_and_tenants_take_turns_and_tenants_have_bounds(per, order, bounds, fair_by):
    """At two providers, where there is a slot for each key and one that is kept."""
    backup = "failover: {backup: {max_in_flight: 5, provider: {latency: {exponential: {mean: 1s}}}}}"
    lines = [f"max_in_flight: {4 if bounds else 9}", backup, f"order: {{{order}, fair_by: {fair_by}}}"]
    lines += [] if bounds is None else [f"tenant: {bounds}"]
    text = (
        TEXTS["classes"].replace("hosts: 4", "hosts: 4, tenants: 3").replace("timeout: 2s", f"timeout: 2s, per: {per}")
    )
    text = text.replace("max_in_flight: 4", "\n    ".join(lines))
    assert compared(parse(text, "classes.yaml"), seed=1).summary["channels"]["webhook"]["deferred"] > 10


def test_answers_that_nobody_could_foresee_while_the_process_is_down():
    provider = "latency: 1s, capacity: 1, discipline: processor_sharing"
    text = TEXTS["small"].replace("latency: 50ms", provider).replace("outage: true", "speed: 0.5")
    compared(parse(text + "  - {channel: all, at: 6s, crash: process, restart_after: 4s}\n", "small.yaml"))


def test_a_redrive_that_waits_is_for_the_letter_of_one_death_alone():
    """Both orders wait; the first lets each die once more, and so the second has no letter any more."""
    result = compared(parse(TEXTS["ordered-twice"], "ordered-twice.yaml"))
    redriven = result.dlq[result.dlq["left"] == "redriven"]["id"]
    assert len(redriven) > 5
    assert redriven.is_unique


def test_what_became_durable_while_the_handler_was_down_is_recorded_when_the_process_crashes():
    text = TEXTS["small"].replace("seed: 5", "seed: 5\ncommit_latency: 300ms")
    crashes = "  - {channel: all, at: 6700ms, crash: {actor: handler}, restart_after: 5s}\n"
    compared(parse(text + crashes + "  - {channel: all, at: 9s, crash: process, restart_after: 1s}\n", "small.yaml"))


# ── messages that come twice, or late ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", sliced(range(6), 12))
@pytest.mark.parametrize("is_fleet", [False, True], ids=["alone", "fleet"])
def test_cases_whose_messages_come_twice_and_late(seed, is_fleet):
    scenario = load(SCENARIOS[seed % len(SCENARIOS)])
    assert difference(scenario, seed, is_fleet=is_fleet, are_messages_astray=True) is None


@pytest.mark.slow
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_many_cases_whose_messages_come_twice_and_late(path):
    scenario = load(path)
    found = {seed: difference(scenario, seed, are_messages_astray=True) for seed in range(100)}
    assert {seed: each for seed, each in found.items() if each} == {}


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_messages_that_come_twice_and_late_while_actors_and_the_process_crash(runtime):
    summary = compared(parse(TEXTS["astray"]), runtime=runtime).summary
    assert summary["requests"] > summary["attempts"]


# ── fleets ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("routing", sliced(["round_robin", "random", "by_user", "by_host"], 6))
@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_nodes_that_crash_are_deployed_and_take_over(routing, runtime):
    summary = compared(parse(TEXTS["fleet"].replace("by_user", routing), "fleet.yaml"), runtime=runtime).summary
    assert summary["in_flight"] == 0
    assert summary["breaker"]["email@1"]["opened"] > 0


@pytest.mark.parametrize(("latency", "runtime"), [("1ms", "simpy"), ("300ms", "trio"), ("5s", "simpy")])
def test_what_nodes_do_is_durable_later(latency, runtime):
    """With 5 s more than a lease: what one had is taken over before all that it did is known."""
    text = TEXTS["fleet"].replace("seed: 2", f"seed: 2\ncommit_latency: {latency}")
    assert compared(parse(text, "fleet.yaml"), runtime=runtime).summary["in_flight"] == 0


# In the last two a node has accepted what it takes over meanwhile, and redrives what another one has redriven.
@pytest.mark.parametrize("seed", sliced([*range(3), 160, 112], 6))
def test_fleets_of_the_swarm_whose_store_takes_its_time(seed):
    scenario = load(SCENARIOS[seed % len(SCENARIOS)])
    assert difference(scenario, seed, is_fleet=True, latency=5.0) is None


@pytest.mark.parametrize("latency", sliced(["0s", "700ms"], 4))
@pytest.mark.parametrize("runtime", ["simpy", "trio"])
def test_nodes_that_do_not_reach_the_store(runtime, latency):
    """For less than their leases and for more; and all at once, when nobody takes over and nothing is sent."""
    result = compared(
        parse(TEXTS["cut-off"].replace("seed: 4", f"seed: 4\ncommit_latency: {latency}")), runtime=runtime
    )
    failed = [event.error for event in result.history if isinstance(event, ActorFailed)]
    assert "LostLease: another node has taken over what it had" in failed
    assert result.summary["in_flight"] == 0


@pytest.mark.parametrize("seed", sliced(range(6), 6))
def test_fleets_of_the_swarm_that_do_not_reach_the_store(seed):
    assert difference(load(SCENARIOS[seed % len(SCENARIOS)]), seed, is_fleet=True, is_cut_off=True) is None


def test_what_is_durable_too_soon_is_told(monkeypatch):
    hand_over = NodeStore.commit
    at_once = {"commit_delay_ns": 0}
    monkeypatch.setattr(
        NodeStore, "commit", lambda self, *args: vars(self._shared).update(at_once) or hand_over(self, *args)
    )
    with pytest.raises(InvariantBreach, match=r"is expected|has not come"):
        simulation.run(parse(TEXTS["fleet"].replace("seed: 2", "seed: 2\ncommit_latency: 50ms")), invariants=LOCK_STEP)


# In the last a letter is edited by a redrive while another node has it among those of its host before.
@pytest.mark.parametrize("seed", sliced([*range(12), 331087], 12))
def test_fleets_of_the_swarm(seed):
    assert difference(load(SCENARIOS[seed % len(SCENARIOS)]), seed, is_fleet=True) is None


@pytest.mark.slow
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_many_fleets_of_the_swarm(path):
    scenario = load(path)
    assert {seed: found for seed in range(100) if (found := difference(scenario, seed, is_fleet=True))} == {}


@pytest.mark.parametrize(
    ("kind", "routing", "runtime"),
    [("token_bucket", "round_robin", "simpy"), ("leaky_bucket", "by_host", "simpy"), ("gcra", "random", "trio")],
)
def test_a_quota_is_divided_among_the_nodes_that_there_are(kind, routing, runtime):
    sets = [f"seed={len(kind)}", f"nodes.routing={routing}", f"channels.email.quota.kind={kind}"]
    compared(parse(TEXTS["divided"], sets=sets), runtime=runtime)


@pytest.mark.parametrize("kind", ["sliding_window", "fixed_window", "token_bucket"])
def test_channels_take_turns_at_the_quota_of_an_account_and_a_provider_retries_in_its_turn(kind):
    summary = compared(
        parse(TEXTS["of-one-account"], sets=[f"seed={len(kind)}", f"accounts.twilio.quota.kind={kind}"])
    ).summary
    assert summary["upstream_requests"] > summary["channels"]["sms"]["attempts"]


# ── a difference ────────────────────────────────────────────────────────────────────────────────────────────────


def all_to_one(self, number, heirs):
    return {heirs[0]: tuple(self.nodes[number].open_ids())}


@pytest.mark.parametrize(
    ("scenario", "owner", "name", "wrong", "told"),
    [
        ("astray", InFlight, "take", lambda self, attempt: True, "has passed all that|is expected|has come"),
        ("astray", InFlight, "settle", lambda self, admitted: True, "is expected|should be|has come"),
        ("astray", DeduplicatingLimiter, "on_attempt", RateLimiterActor.on_attempt, "is expected|should be|has come"),
        ("cut-off", NodeStore, "has_lease", lambda self: True, "nothing is expected now, and this has happened: Asked"),
        (
            "cut-off",
            NodeStore,
            "reconnect",
            lambda self: setattr(self, "_is_cut_off", False),
            "is missing|has not come",
        ),
        ("cut-off", Service, "_end_leases", lambda self: None, r"\(leases\) was due at .* and has not come"),
        ("cut-off", Agenda, "lease_is_back", lambda self: [], "has not come|is missing"),
        ("fleet", Service, "_home_of", lambda self, key, ready: ready[0], "routing is by_user"),
        ("fleet", Service, "drain", lambda self, process: None, "routing is by_user"),
        ("fleet", SharedMemory, "shares", all_to_one, "a dead node had is taken over"),
        ("fleet", SharedMemory, "hand_over", lambda self, number, to, ids: None, "has not come|is missing"),
        ("fleet", Process, "record_takeover", lambda self, of, ids: None, "a NodeTookOver is expected"),
        ("divided", Quotas, "divide", lambda *_: False, "resumes_at_ns should be|is expected|has not come"),
        # A retry that never comes is no event: it is missed when its time has passed.
        ("small", Handler, "_wait", lambda self, delivery: None, "was due at .* and has not come"),
    ],
)
def test_what_the_product_does_otherwise_is_told(monkeypatch, scenario, owner, name, wrong, told):
    monkeypatch.setattr(owner, name, wrong)
    with pytest.raises(InvariantBreach, match=told):
        simulation.run(parse(TEXTS[scenario]), invariants=LOCK_STEP)


def test_the_first_difference_is_said_with_its_rule_and_the_setting(monkeypatch):
    right = RetryPolicy.next_wait_ns
    monkeypatch.setattr(
        RetryPolicy, "next_wait_ns", lambda self, outcome, progress: (right(self, outcome, progress) or 0) + 1 or None
    )
    with pytest.raises(InvariantBreach) as caught:
        simulation.run(parse(TEXTS["small"], "small.yaml"), invariants=LOCK_STEP)
    message = caught.value.message
    assert "next_retry_at_ns should be" in message
    assert "(retry: initial_delay=0.1, " in message
    assert "state: " in message
    assert "jitter='full'" in message
    assert caught.value.history


@pytest.mark.integration
def test_a_planted_mistake_is_told_with_the_setting_that_is_broken():
    code = (
        "import os, subprocess, sys; sys.path.insert(0, 'tests/mutants'); "
        "from hunt import copy_of_the_product; from catalogue import MUTANTS\n"
        "GROUND = 'tests/mutants/scenarios/crashes-and-clocks.yaml'\n"
        "with copy_of_the_product() as copy:\n"
        "    next(each for each in MUTANTS if each.name == 'one-failure-too-late').plant(copy)\n"
        "    run = [sys.executable, 'tests/verification/many_seeds.py', '--seeds', '30:31', GROUND]\n"
        "    sys.exit(subprocess.run(run, env={**os.environ, 'PYTHONPATH': str(copy)}).returncode)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "a breaker trips, opens and closes by its circuit_breaker: failure_threshold=2, " in done.stdout


def test_an_alert_that_is_not_raised_is_missed(monkeypatch):
    monkeypatch.setattr(AdminAlert, "on_alert", handles(Alert)(lambda self, alert: None))
    text = TEXTS["small"].replace("max_attempts: 3", "max_attempts: 1")
    with pytest.raises(InvariantBreach, match=r"Alerted at .* is missing"):
        simulation.run(parse(text, "small.yaml"), invariants=LOCK_STEP)


# ── what it says nothing about ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", "in lock-step with the reference model"),
        ("schedule: {random_walk: true}", "not compared with the reference model, as its messages have another order"),
    ],
)
def test_a_checked_run_says_whether_it_is_compared(tmp_path, change, said):
    path = tmp_path / "small.yaml"
    path.write_text(f"{TEXTS['small']}{change}\n")
    result = CliRunner().invoke(app, ["run", str(path), "--check"])
    assert said in " ".join(result.stdout.split())
    assert ("reference-model" in simulation.run(load(path), invariants="all").checked) == (not change)


def test_many_seeds_go_on_where_they_stopped(tmp_path, capsys):
    path, out = tmp_path / "small.yaml", tmp_path / "seeds.txt"
    path.write_text(TEXTS["small"])
    assert main(["--seeds", "0:2", "--out", str(out), str(path)]) == 0
    assert main(["--seeds", "0:3", "--out", str(out), str(path)]) == 0
    assert [line.split()[0] for line in out.read_text().splitlines()] == ["0", "1", "2"]
    assert "1 seeds, 0 differ" in capsys.readouterr().out


def test_it_reads_nothing_private_of_the_product_and_knows_no_class_by_its_name():
    tree = ast.parse(Path(lockstep.__file__).read_text())
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
    assert {ast.unparse(node) for node in attributes if ast.unparse(node.value) not in ("self", "super()")} == set()
