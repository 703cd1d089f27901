"""``--rules``: failure rules by their names, at the command line alone."""

import json
import sys
from textwrap import dedent

import pytest
from in_process import retrylab

import simulation
from simulation.reporting.html.reproduce import reproduction
from simulation.results.reproduce import Origin
from simulation.scenario import parse

SCENARIO = """
duration: 20s
workload: [{channel: email, arrivals: {constant: 1/s}}, {channel: sms, arrivals: {constant: 1/s}}]
channels: {email: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}},
           sms: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}}}
expect: [{in: 80% of runs, that: channels.email.dead_lettered == 10}]
"""
RULES = '''
from actors import Permanent, Transient

class EverySecond:
    """Remembers something, so that one that served two runs would show."""
    def __init__(self):
        self.asked = 0
    def __call__(self, attempt, now_ns, load):
        self.asked += 1
        return Permanent(reason="every second") if self.asked % 2 == 0 else None

class Nested:
    @staticmethod
    def all(attempt, now_ns, load):
        return Transient(reason="all")

class NeedsMore:
    def __init__(self, what): pass

def dies(attempt, now_ns, load):
    raise KeyError("of a rule")

async def later(attempt, now_ns, load): pass

number = 5
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a scenario and a module; what is imported from there is forgotten."""
    (tmp_path / "s.yaml").write_text(SCENARIO)
    (tmp_path / "some_rules.py").write_text(dedent(RULES))
    (tmp_path / "broken_rules.py").write_text("import nothing_such\n")
    (tmp_path / "ending_rules.py").write_text("raise SystemExit(3)\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in ("some_rules", "broken_rules", "ending_rules"):
        sys.modules.pop(name, None)


def dead_in(folder, *rules):
    done = retrylab("run", "s.yaml", *(word for rule in rules for word in ("--rules", rule)), "--json", cwd=folder)
    assert ("each attempt succeeds" in done.stderr) == (not rules), "by the rules it may not"
    channels = json.loads(done.stdout)["channels"]
    return channels["email"]["dead_lettered"], channels["sms"]["dead_lettered"]


def test_rules_hold_on_each_channel_or_on_one(folder):
    assert dead_in(folder) == (0, 0)
    assert dead_in(folder, "some_rules:EverySecond") == (10, 10), "each channel has its own"
    assert dead_in(folder, "sms=some_rules:EverySecond") == (0, 10)
    assert dead_in(folder, "sms=some_rules:EverySecond", "some_rules:Nested.all") == (20, 20)


def test_each_run_of_many_has_rules_of_its_own_and_is_the_same_from_a_trace(folder):
    rules = ["--rules", "some_rules:EverySecond"]
    many = retrylab("run", "s.yaml", *rules, "--replicates", "20", "--workers", "2", cwd=folder)
    assert "holds  channels.email.dead_lettered == 10 in 80% of runs" in many.stdout
    retrylab("run", "s.yaml", *rules, "--record", "trace", cwd=folder)
    assert retrylab("replay", "trace", *rules, cwd=folder).stdout.startswith("exact")
    assert retrylab("replay", "trace", cwd=folder).returncode == 1


def test_a_report_says_the_command_with_its_rules():
    result = simulation.run(parse(SCENARIO), rules={"sms": []})
    assert reproduction(result).shell is None
    result.origin = Origin("s.yaml", only_in_python=("rules",), rules=("sms=some_rules:EverySecond",))
    said = reproduction(result)
    assert said.shell == "retrylab run s.yaml --seed 0 --rules sms=some_rules:EverySecond"
    assert (said.only_in_python, "rules=rules" in said.python) == ((), True)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("some_rules", "wanted MODULE:NAME or CHANNEL=MODULE:NAME, such as email=shop.rules:sheds_load"),
        ("email=", "wanted MODULE:NAME or CHANNEL=MODULE:NAME, such as email=shop.rules:sheds_load"),
        ("some_rules.py:dies", "there is no module some_rules.py, in FOLDER or installed"),
        ("nowhere.rules:dies", "there is no module nowhere, in FOLDER or installed"),
        ("some_rules:die", "some_rules has no die; did you mean dies?"),
        ("some_rules:Nested.none", "some_rules has no Nested.none"),
        ("some_rules:number", "wanted a function of (attempt, now_ns, load), or a class of such, got 5"),
        ("some_rules:later", "wanted a function of (attempt, now_ns, load), or a class of such, got an async function"),
        ("push=some_rules:dies", "wanted a channel that s uses (email, sms), got 'push'"),
        ("broken_rules:dies", "importing broken_rules raised ModuleNotFoundError: No module named 'nothing_such'"),
        ("ending_rules:dies", "importing ending_rules raised SystemExit: 3"),
        ("some_rules:NeedsMore", "calling the class raised TypeError: NeedsMore.__init__() missing 1 required "
            "positional argument: 'what'"),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_bad_input(folder, rule, said):
    done = retrylab("run", "s.yaml", "--rules", rule, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"--rules {rule}: {said.replace('FOLDER', str(folder))}\n"


def test_a_rule_that_raises_ends_the_run_with_its_traceback(folder):
    with pytest.raises(KeyError, match="of a rule"):
        retrylab("run", "s.yaml", "--rules", "some_rules:dies", cwd=folder)
