"""Planted mistakes: each can still be planted, and is found."""

import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType

import hunt as hunting
import pytest
import stalking
from catalogue import ANYTHING, BY_SUBJECT, MUTANTS, OF_TESTS, STRANGERS, DoesNotApply, Mutant, read
from each_row import check_each
from hunt import Kill, chosen, copy_of_the_product, hunt, main, row, stalk

from simulation.invariants import KNOWN

ROOT = Path(__file__).parents[2]
GROUNDS = 3
"""How many of them a product without a mistake is led over: a hunt that finds nothing goes to its end."""

AT_ONCE = "late-success-closes"
"""One that is found on one of the first grounds."""

QUICK = ("one-attempt-too-many", "quiet-hours-not-over-midnight", "counted-as-sent-when-dead-lettered")


def test_each_can_still_be_planted():
    def check(each):
        text = (ROOT / each.file).read_text(encoding="utf-8")
        planted = each.planted(text)
        assert planted != text
        compile(planted, each.file, "exec")
        finders = {"tests"} if each in OF_TESTS else {*KNOWN, "expectations", "reopened", "others_go_on"}
        assert each.expected in finders

    check_each(((each.name, each) for each in (*MUTANTS, *OF_TESTS)), check)


def test_each_has_a_name_of_its_own():
    assert len({each.name for each in MUTANTS}) == len(MUTANTS) >= 30


def test_each_of_a_stranger_can_still_be_planted(monkeypatch):
    def check(each):
        assert each.file.startswith(("actors/", "simulation/engine/", "simulation/running/", "simulation/world/"))
        text = (ROOT / each.file).read_text(encoding="utf-8")
        planted = each.planted(text)
        assert planted != text
        module = ModuleType("planted")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(planted, each.file, "exec"), vars(module))  # it can be imported
        assert each.expected == ANYTHING
        assert all(said.endswith(".") for said in (each.mistake, each.seen, each.world))

    check_each(((each.name, each) for each in chosen([], strangers=True)), check)


@pytest.mark.parametrize("stranger", STRANGERS)
def test_those_of_a_stranger_are_equally_of_nine_areas(stranger):
    areas = [len(area) for area in STRANGERS[stranger].values()]
    assert list(STRANGERS[stranger]) == list(STRANGERS["stranger-1"])
    assert len(areas) == 9
    assert max(areas) - min(areas) == 1
    assert sum(areas) == (20 if stranger == "stranger-8" else 40)


def test_those_of_strangers_are_a_set_of_their_own():
    strangers = chosen([], strangers=True)
    assert len(strangers) == 300
    first = {(each.file, each.change): each.name for each in reversed(strangers)}
    again = [each.name for each in strangers if first[each.file, each.change] != each.name]
    assert again == ["a-timer-for-the-past-is-in-the-past"]  # the sixth came upon one of the fifth's
    assert chosen([]) == list(MUTANTS)
    names = [each.name for each in (*MUTANTS, *OF_TESTS, *strangers)]
    assert len(names) == len(set(names))
    assert chosen([strangers[-1].name]) == strangers[-1:]


def test_a_change_that_does_not_fit_is_an_error():
    twice = Mutant("twice", "a.py", "It is there twice.", "-b\n+c\n", "quota")
    with pytest.raises(DoesNotApply, match=r"twice: wanted 'b\\n' once in a\.py, got it 2 times"):
        twice.planted("a\nb\nb\n")
    with pytest.raises(DoesNotApply, match="got it 0 times"):
        twice.planted("a\n")


def test_a_change_is_read_as_a_patch_is():
    change = "@@\n a\n\n-b\n+c\n+d\n e\n@@\n-f\n"
    assert Mutant("two", "a.py", "Two places.", change).changes() == [("a\n\nb\ne\n", "a\n\nc\nd\ne\n"), ("f\n", "")]


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ("{name: a, file: b, mistake: c}", "missing required field `change`"),
        ("{name: a, file: b, mistake: c, change: '-d', finds: e}", "unknown field `finds`"),
        ("{name: a, file: b, mistake: c, change: 'd'}", "wanted '-', '+' or ' ' before each line, got 'd'"),
        ("{name: a, file: b, mistake: c, change: '+d'}", "wanted lines to look for, after '-' or ' ', got '+d'"),
        ("{name: a, file: b, mistake: c, change: ''}", "wanted lines to look for, after '-' or ' ', got ''"),
    ],
)
def test_a_row_that_is_no_mistake_is_an_error(row, error, tmp_path, monkeypatch):
    monkeypatch.setattr("catalogue.MISTAKES", tmp_path)
    (tmp_path / "limits.yaml").write_text(f"- {row}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^limits\.yaml: .*{re.escape(error)}.* - at `\$\[0\]`$"):
        read(tmp_path / "limits.yaml", list[Mutant])


def test_the_route_has_every_seed_of_every_ground_once():
    route = list(stalking.route(50))
    assert len(route) == len(set(route))
    for ground, most in stalking.grounds().items():
        seeds = [seed for of, seed in route if of == ground]
        assert seeds == list(range(50 if most is None else most))


@pytest.mark.thorough
@pytest.mark.integration
def test_the_command_finds_its_modules_finders():
    code = "import sys; sys.path.insert(0, 'tests/mutants'); import hunt; print(len(hunt.route(1, shipped=False)))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert int(done.stdout) > 10, done.stderr


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_few_are_found_at_once(name):
    (planted,) = [each for each in MUTANTS if each.name == name]
    kill = hunt(planted, seeds=4).kill
    assert kill is not None
    assert kill.killer in KNOWN
    assert kill.seed < 4


def found_by_drawn_settings(each, seeds):
    """Return the first find of a mutant in cases with drawn settings that the product itself passes, or None."""
    with copy_of_the_product() as copy:
        each.plant(copy)
        left = list(seeds)
        while True:
            kill = stalk(copy, [(stalking.DRAWN, seed) for seed in left])
            if kill is None or stalk(ROOT, [(stalking.DRAWN, kill.seed)]) is None:
                return kill
            left = [seed for seed in left if seed > kill.seed]


@pytest.mark.parametrize("each", BY_SUBJECT["drawn-settings"], ids=lambda each: each.name)
@pytest.mark.slow
def test_what_only_a_drawn_setting_reveals_is_found_within_200_seeds(each):
    kill = found_by_drawn_settings(each, range(200))
    assert kill is not None
    assert kill.killer == each.expected


@pytest.mark.thorough
@pytest.mark.integration
def test_one_of_them_is_found_soon_and_not_without_drawn_settings():
    (each,) = [each for each in BY_SUBJECT["drawn-settings"] if each.name == "reserve-for-everyone"]
    kill = found_by_drawn_settings(each, range(40))
    assert kill is not None
    assert kill.killer == each.expected
    with copy_of_the_product() as copy:
        each.plant(copy)
        assert stalk(copy, [("swarm", seed) for seed in range(8)]) is None


@pytest.mark.thorough
@pytest.mark.integration
def test_the_product_itself_is_not_found(monkeypatch):
    change = "-        simulated_s = simulated_ns / NS_PER_S\n+        simulated_s = (simulated_ns / NS_PER_S)\n"
    harmless = Mutant("harmless", "simulation/results/tallies.py", "There is none.", change, "summary")
    monkeypatch.setattr(hunting, "route", lambda seeds, **_: list(islice(stalking.route(seeds), GROUNDS)))
    assert hunt(harmless, seeds=1).kill is None


QUICK_GROUNDS = (stalking.LOCK_STEP, stalking.VARIED, "fallbacks", "ids-come-again", "many-retries", "pushback")


@pytest.mark.thorough
@pytest.mark.integration
def test_the_reference_model_is_asked_and_differs_nowhere_in_the_product():
    """Else nothing that is found there counts."""
    assert stalk(ROOT, [(ground, 0) for ground in QUICK_GROUNDS]) is None


def test_no_scenario_of_the_hunt_is_one_that_the_model_says_nothing_about():
    grounds = [*QUICK_GROUNDS, *(path.stem for path in stalking.OWN)]
    assert [ground for ground in grounds if stalking.scenario_of(ground, 0).schedule is not None] == []


def test_where_the_product_breaks_itself_nothing_is_found_and_the_table_says_so(capsys, monkeypatch):
    found = iter([Kill("quota", "swarm", 0, "in both"), Kill("quota", "swarm", 0, "in both"), None])
    monkeypatch.setattr("hunt.stalk", lambda copy, route, without: next(found))
    assert main([QUICK[0], "--seeds", "1", "--workers", "1"]) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "0 of 1 killed, 1 survived",
        "without any mistake: quota in swarm, seed 0: in both",
    ]


def test_the_table(capsys, monkeypatch):
    found = iter([Kill("quota", "swarm", 3, "too much"), None])
    monkeypatch.setattr("hunt.stalk", lambda copy, route, without: next(found))
    assert main([AT_ONCE, "--seeds", "4", "--workers", "1"]) == 0
    header, line, total = capsys.readouterr().out.splitlines()
    assert header.split() == ["mutant", "killer", "scenario", "and", "seed", "s"]
    assert line.split()[0] == AT_ONCE
    assert total == "1 of 1 killed, 0 survived"
    with pytest.raises(SystemExit, match="got nobody"):
        main(["nobody"])


def test_a_survivor_is_said_to_survive():
    planted = MUTANTS[0]
    assert "SURVIVES" in row(hunt_of(planted, None))
    assert "quota" in row(hunt_of(planted, Kill("quota", "swarm", 3, "too much")))


def hunt_of(planted, kill):
    from hunt import Hunt

    return Hunt(planted, kill, 1.0)


@pytest.mark.slow
def test_none_survives(capsys):
    assert main([]) == 0, capsys.readouterr().out
