"""Own actors of a scenario: the same on both clocks, whatever crashes; and their code runs only where it may."""

from __future__ import annotations

import re
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from effort import thorough
from hypothesis import given, settings, strategies as st
from in_process import retrylab
from own_actors_example import EXAMPLE

import simulation
from actors import BUILT_IN_SUBSCRIBERS, ConfigurationError, OrderShipped
from actors.errors import ForeignAwait
from actors.messages import ActorFailed, OwnActorMessage
from simulation.reporting.html.notifications import worst_notifications
from simulation.running.own_code import NOT_IMPORTED
from simulation.verification.drawing.swarm import drawn_case

DIGEST = """
duration: 3m
workload: [{event: OrderShipped, arrivals: {constant: 1/s}, users: 12}]
actors: {digests: {actor: "digest:Digest", at_most: 4, max_age: 40s}}
"""
OUTAGE = "{channel: sms, at: 1m, for: 3m, outage: true}"
SAGA = f"""
duration: 6m
workload: [{{event: OrderPlaced, arrivals: {{constant: 10/min}}}}]
channels: {{push: {{}}, sms: {{retry: {{max_attempts: 50}}}}}}
actors: {{sagas: {{actor: "confirmation:Confirmation", within: 1m}}}}
faults: [{OUTAGE}]
"""


def run(text, *sets, runtime="simpy", **options):
    """Return the result of a scenario, and what its mails and pushes said, by id."""
    said = {}

    def see(attempt, _now_ns, _load):
        said[attempt.command.notification_id] = attempt.command.message

    loaded = simulation.parse(text, sets=sets)
    rules = {str(channel): [see] for channel in loaded.channels_used}
    return simulation.run(loaded, code=True, runtime=runtime, rules=rules, **options), said


CRASHES = [
    (),
    ("commit_latency=50ms",),
    ("faults=[{channel: all, at: 100s, crash: {actor: NAME}, restart_after: 30s}]",),
    ("faults=[{channel: all, at: 100s, crash: {actor: handler}}]", "commit_latency=20ms"),
    ("faults=[{channel: all, at: 100s, crash: process, restart_after: 10s}]", "commit_latency=1s"),
    ("faults=[{channel: all, duplicate_rate: 20%}]",),
]


@pytest.mark.parametrize(
    ("text", "name", "sets"),
    [
        (thorough if (number + actor) % 2 else tuple)((text, name, sets))
        for number, sets in enumerate(CRASHES)
        for actor, (text, name) in enumerate([(DIGEST, "digests"), (SAGA, "sagas")])
    ],
)
def test_own_actors_have_the_same_effects_in_the_same_order_on_both_clocks(text, name, sets):
    sets = [each.replace("NAME", name) for each in sets]
    simulated, said = run(text, *sets, invariants="all")
    live, said_live = run(text, *sets, runtime="trio")
    assert simulated.summary["digest"] == live.summary["digest"]
    assert said == said_live
    assert list(simulated.history) == list(live.history)
    assert Counter(map(type, simulated.history))[OwnActorMessage] > 100


def test_a_live_run_has_the_same_effects():
    simulated, _ = run(SAGA)
    scenario = simulation.parse(SAGA)
    live = trio.run(
        partial(simulation.run_live, scenario, code=True), clock=trio.testing.MockClock(autojump_threshold=0)
    )
    assert list(live.history) == list(simulated.history)
    with pytest.raises(ConfigurationError, match="confirmation:Confirmation is code"):
        trio.run(simulation.run_live, scenario)


@settings(max_examples=12)
@given(
    crash=st.sampled_from(["process", "{actor: digests}", "{actor: handler}"]),
    at_ms=st.integers(1, 200_000),
    down=st.sampled_from(["0s", "100ms", "1m"]),
    latency=st.sampled_from(["0s", "30ms", "2s"]),
)
def test_each_parcel_is_in_one_mail_whenever_something_crashes(crash, at_ms, down, latency):
    faults = f"faults=[{{channel: all, at: {at_ms}ms, crash: {crash}, restart_after: {down}}}]"
    result, said = run(DIGEST, faults, f"commit_latency={latency}")
    parcels = [parcel for mail in said.values() for parcel in mail.split()]
    assert len(set(parcels)) == len(parcels)
    assert 180 - result.summary["refused"]["down"] <= len(parcels) <= 180
    assert not result.summary["in_flight"]
    assert not [each for each in result.history if type(each) is ActorFailed and "Injected" not in each.error]


@settings(max_examples=8)
@given(at_ms=st.integers(1, 400_000), crash=st.sampled_from(["process", "{actor: sagas}"]))
def test_each_order_ends_once_confirmed_or_late_whenever_something_crashes(at_ms, crash):
    crashes = f"{{channel: all, at: {at_ms}ms, crash: {crash}, restart_after: 1s}}"
    result, said = run(SAGA, f"faults=[{OUTAGE}, {crashes}]")
    ends = Counter(each.rpartition("-0-")[2] for each in said if each.startswith(("confirmed-", "late-")))
    assert set(ends.values()) == {1}
    assert 60 - result.summary["refused"]["down"] <= len(ends) <= 60
    late = [each for each in said if each.startswith("late-")]
    assert len(late) >= 10
    sent = {each.notification_id for each in result.history if type(each).__name__ == "NotificationSent"}
    assert not sent & {f"sms-order-placed{each.removeprefix('late')}" for each in late}  # they were taken back


def test_what_own_actors_send_counts_as_all_else():
    result, said = run(DIGEST)
    summary = result.summary
    assert summary["offered"] == summary["delivered"] == summary["workload"]["OrderShipped"]["delivered"] == len(said)
    assert set(result.notifications["entry"]) == {"OrderShipped"}
    assert OrderShipped in BUILT_IN_SUBSCRIBERS
    got = [each for each in result.history if type(each) is OwnActorMessage]
    assert Counter(each.message for each in got if not each.is_sent)["OrderShipped"] == 180
    assert {each.notification_id for each in got if each.is_sent} == set(said)


def test_the_report_has_the_messages_of_own_actors_among_the_steps_of_a_notification():
    result, _ = run(SAGA)
    said = {
        (details.notification_id.partition("-")[0], step.what.replace(details.notification_id, "it"))
        for details in worst_notifications(result)
        for step in (*details.steps.head, *details.steps.tail)
    }
    assert ("sms", "The actor sagas gets NotificationSent about it") in said
    assert ("confirmed", "The actor sagas sends it") in said


# ── what is wrong ───────────────────────────────────────────────────────────────────────────────────────────────

CODE = """
import trio
from actors import NotificationChannel, OrderShipped, OwnActor, PositiveDuration, SendNotification, handles

class Takes(OwnActor):
    def __init__(self, at_most: int, every: PositiveDuration = 60.0) -> None:
        super().__init__()
        if at_most > 9:
            raise ValueError("wanted at most 9")

class Sleeps(OwnActor):
    @handles(OrderShipped)
    async def on_shipped(self, event):
        await trio.sleep(1)

class Performs(OwnActor):
    @handles(OrderShipped)
    def on_shipped(self, event):
        self.perform(trio.sleep, event)

class Raises(OwnActor):
    @handles(OrderShipped)
    def on_shipped(self, event):
        raise ValueError("no")

class Replaces(Raises):
    replaces = (OrderShipped,)

class Keeps(OwnActor):
    replaces = (OrderShipped,)

    @handles(OrderShipped)
    async def on_shipped(self, event):
        await self.keep("last", event.order_id)

class RaisesFirst(OwnActor):
    seen = set()

    @handles(OrderShipped)
    def on_shipped(self, event):
        if event.order_id not in self.seen:
            self.seen.add(event.order_id)
            raise ValueError("no")

class Names(OwnActor):
    replaces = (OrderShipped,)

    @handles(OrderShipped)
    async def on_shipped(self, event):
        for name in ("a", "b-9-9", "c-0-1", "d-0-1/webhook-1", "e-placed-0-1-x", "f/0-3"):
            to = {"channel": NotificationChannel.PUSH, "recipient": "them", "addresses": {"sms": "+49"}}
            await self.send(SendNotification(notification_id=name, message="x", **to))

class Nobody: ...
"""
FILE = """duration: 3s
workload: [{event: OrderShipped, arrivals: {constant: 1/s}}]
actors:
  a: WRITTEN
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "own_code.py").write_text(CODE)
    (tmp_path / "own_dies.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("own_code", "own_dies", "own_bomb"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("5", "4:6: actors.a: wanted a class with its settings, such as {actor: shop.digests:Digest, at_most: 20}"),
        ("{at_most: 5}", "4:6: actors.a.actor: wanted a class such as shop.digests:Digest, got nothing"),
        ("{actor: own_code}", "4:14: actors.a.actor: wanted a class such as shop.digests:Digest, got 'own_code'"),
        ('{actor: "own_kode:Takes"}', "4:14: actors.a.actor: there is no module own_kode, in FOLDER or installed"),
        ('{actor: "own_code:Take"}', "4:14: actors.a.actor: own_code has no Take; did you mean Takes?"),
        ('{actor: "own_dies:A"}', "4:14: actors.a.actor: importing own_dies raised SystemExit: 3"),
        ('{actor: "own_code:trio.sleep"}', "4:14: actors.a.actor: wanted a subclass of actors.OwnActor, got <func"),
        ('{actor: "own_code:Nobody"}', "4:14: actors.a.actor: wanted a subclass of actors.OwnActor, got <class"),
        ('{actor: "own_code:Takes"}', "4:6: actors.a.at_most: wanted a whole number, got nothing"),
        ('{actor: "own_code:Takes", at_most: x}', "4:41: actors.a.at_most: wanted a whole number, got 'x'"),
        ('{actor: "own_code:Takes", at_most: 1, every: 5}', "4:51: actors.a.every: wanted a duration of more than 0"),
        ('{actor: "own_code:Takes", at_most: 1, evry: 5s}', "4:44: actors.a.evry: unknown key; did you mean every?"),
        ('{actor: "own_code:Takes", at_most: 1, limit: 5}', "4:44: actors.a.limit: unknown key; Takes takes no such"),
        ('{actor: "own_code:Sleeps", at_most: 3}', "4:33: actors.a.at_most: unknown key; Sleeps takes no"),
        ('{actor: "own_code:Takes", at_most: 10}', "4:6: actors.a: Takes raised ValueError: wanted at most 9"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_own_actor_is_said_with_its_place(folder, written, problem):
    (folder / "f.yaml").write_text(FILE.replace("WRITTEN", written))
    done = retrylab("run", "f.yaml", "--code", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("f.yaml:" + problem.replace("FOLDER", str(Path.cwd())))
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("sets", "problem"),
    [
        ('faults=[{channel: all, crash: {actor: b}}]', "wanted one of handler, limiter, .*, alert, a, got 'b'"),
        ("actors={dlq: {actor: 'own_code:Takes'}}", "wanted a name of letters, .* that no actor of the pipeline has"),
        ("nodes=3", "wanted one process: own actors of several nodes are not simulated"),
    ],
)  # fmt: skip
def test_names_that_do_not_fit_are_refused_without_any_code(folder, sets, problem):
    with pytest.raises(ConfigurationError, match=problem):
        simulation.parse(FILE.replace("WRITTEN", '{actor: "own_code:Takes"}'), sets=[sets])
    assert "own_code" not in sys.modules


@pytest.mark.parametrize(("name", "said"), [("Sleeps", "{}/own_code.py:"), ("Performs", "a (")])
def test_what_waits_for_the_real_world_ends_a_simulation_and_names_the_actor(folder, name, said):
    text = FILE.replace("WRITTEN", f'{{actor: "own_code:{name}"}}')
    with pytest.raises(ForeignAwait):
        run(text)
    result, _ = run(text, runtime="trio")
    assert result.summary["simulated_s"] >= 2
    (folder / "f.yaml").write_text(text)
    done = retrylab("run", "f.yaml", "--code", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith(f"f.yaml: {said.format(folder)}")


def test_ids_and_recipients_that_an_actor_makes_up_are_of_the_entries_that_there_are_or_of_none(folder):
    text = FILE.replace("WRITTEN", '{actor: "own_code:Names"}')
    further = "{channel: push, arrivals: {constant: 1/s}, hosts: 3, tenants: 2, users: 9}"
    sets = ["channels={push: {fallback: {channel: sms}}}", "faults=[{channel: push, permanent_rate: 100%}]"]
    result, _ = run(text.replace("}}]", f"}}}}, {further}]"), *sets, invariants="all")
    own = result.notifications[~result.notifications["id"].str.contains("push-|/sms")]
    assert list(own[own["entry"].isna()]["id"]) == ["a", "b-9-9"]
    assert set(own["entry"].dropna()) == {"OrderShipped"}
    assert result.summary["offered"] == result.summary["delivered"] == 9
    assert result.summary["channels"]["sms"]["delivered"] == 9


@pytest.mark.parametrize("seeds", [15, thorough(60)])
def test_searches_keep_the_channels_that_own_actors_may_send_to(seeds):
    scenario = simulation.load(EXAMPLE / "confirmation.yaml")
    for seed in range(seeds):
        assert set(drawn_case(scenario, seed).scenario.channels_used) >= set(scenario.channels_used)


def test_that_own_actors_raise_is_said(folder):
    (folder / "f.yaml").write_text(FILE.replace("WRITTEN", '{actor: "own_code:Raises"}'))
    done = retrylab("run", "f.yaml", "--code", cwd=folder)
    assert "own actors raised: 3 a: ValueError: no; the first at 0 s" in done.stdout
    assert "of these were refused: 3 by an own actor, which raised or ended first" in done.stdout


CRASHED = ("commit_latency=1s", "faults=[{channel: all, at: 1500ms, crash: {actor: a}}]")
DEAD = ("commit_latency=1s", "faults=[{channel: all, at: 1500ms, crash: process, restart_after: 1s}]")
AT_ITS_END = ("commit_latency=1h", "drain=1s")


@pytest.mark.parametrize("runtime", ["simpy", "trio"])
@pytest.mark.parametrize(
    ("name", "sets", "refused", "of_email"),
    [
        ("Raises", (), {"down": 0, "unhandled": 3}, 3),  # beside the built-in mails
        ("Replaces", (), {"down": 0, "unhandled": 3}, 0),
        ("Keeps", (), {"down": 0, "unhandled": 0}, 0),
        ("Keeps", CRASHED, {"down": 0, "unhandled": 1}, 0),
        ("Keeps", DEAD, {"down": 2, "unhandled": 0}, 0),  # the one under way, and one while it is down
        ("Keeps", AT_ITS_END, {"down": 3, "unhandled": 0}, 0),
    ],
)
def test_what_an_own_actor_does_not_handle_is_not_accepted_and_counts(folder, runtime, name, sets, refused, of_email):
    written = f'{{actor: "own_code:{name}"}}\nexpect: [sent_fraction >= 99%, refused.unhandled == 0]'
    result, _ = run(FILE.replace("WRITTEN", written), *sets, runtime=runtime)
    summary = result.summary
    assert summary["refused"] == refused | {"overloaded": 0}
    assert summary["channels"]["email"]["offered"] == of_email
    assert summary["offered"] == of_email + sum(refused.values())
    assert summary["delivered"] == of_email
    assert [each["holds"] for each in summary["expectations"]][1] is (refused["unhandled"] == 0)


def test_what_is_sent_again_after_an_own_actor_raised_counts_once(folder):
    text = FILE.replace("arrivals", "resend: {after: 1s, at_most: 5}, arrivals")
    result, _ = run(text.replace("WRITTEN", '{actor: "own_code:RaisesFirst"}'))
    assert result.summary["refused"]["unhandled"] == 0


# ── whose code runs ─────────────────────────────────────────────────────────────────────────────────────────────

SWEEP = "sweep: {actors.a.at_most: [1, 2], replicates: 2}\nexpect: [sent_fraction >= 1%]\n"
REFUSED = f"f.yaml:4:14: actors.a.actor: own_bomb:A {NOT_IMPORTED}"


@pytest.fixture
def bomb(folder):
    explode = "from pathlib import Path\nPath('exploded').touch()\n"
    (folder / "own_bomb.py").write_text(f"{explode}from actors import OwnActor\nclass A(OwnActor): ...\n")
    (folder / "f.yaml").write_text(FILE.replace("WRITTEN", '{actor: "own_bomb:A"}') + SWEEP)
    return folder


@pytest.mark.parametrize(
    ("command", "is_refused"),
    [
        ("run f.yaml", True),
        ("run f.yaml --record trace.gz", True),
        ("run f.yaml --replicates 2", True),
        ("explore f.yaml --seeds 1", True),
        ("limits f.yaml --of outage", True),
        ("sweep f.yaml --workers 1", True),
        ("compare f.yaml --vary drain=1h,2h --workers 1", True),
        pytest.param("tune f.yaml --minimize attempts --workers 1", True, marks=pytest.mark.thorough),
        pytest.param("plot f.yaml --kind overview --out p.png", True, marks=pytest.mark.thorough),
        ("lint f.yaml", False),
        pytest.param("explain f.yaml", False, marks=pytest.mark.thorough),
    ],
)
def test_no_command_runs_code_that_a_file_names_unless_it_is_told_to(bomb, command, is_refused):
    done = retrylab(*command.split(), cwd=bomb)
    assert not (bomb / "exploded").exists()
    assert (done.returncode == 2) is is_refused
    assert (REFUSED in done.stderr) is is_refused, done.stderr


@pytest.mark.parametrize(
    "command",
    ["run f.yaml", "explore f.yaml --seeds 1", pytest.param("limits f.yaml --of outage", marks=pytest.mark.thorough)],
)
def test_with_the_option_the_code_runs(bomb, command):
    retrylab(*command.split(), "--code", cwd=bomb)
    assert (bomb / "exploded").exists()


def test_the_studio_runs_no_code(bomb):
    from simulation.studio.checking import check
    from simulation.studio.comparing import compare

    text = (bomb / "f.yaml").read_text()
    check(text, "f.yaml")
    with pytest.raises(ConfigurationError, match=re.escape(f"own_bomb:A {NOT_IMPORTED}")):
        list(compare([text, text], "f.yaml", 2, lambda: False))
    assert not (bomb / "exploded").exists()


@pytest.mark.parametrize("name", ["run", "explore", "limits", "sweep", "record"])
def test_python_runs_no_code_unless_it_is_told_to(bomb, name):
    function = partial(getattr(simulation, name), "f.yaml", *(["trace.gz"] if name == "record" else []))
    with pytest.raises(ConfigurationError) as refused:
        function()
    assert refused.value.problems == [REFUSED]
    assert not (bomb / "exploded").exists()
    if name in ("run", "record"):
        function(code=True)
        assert (bomb / "exploded").exists()


@pytest.mark.parametrize(
    ("name", "seeds"),
    [("digest", 2), *(pytest.param(name, 60, marks=pytest.mark.thorough) for name in ("digest", "confirmation"))],
)
def test_the_example_keeps_every_invariant_in_a_search(name, seeds):
    found = simulation.explore(EXAMPLE / f"{name}.yaml", seeds=seeds, code=True)
    assert found.failure is None
