"""The pytest plugin in projects of others: it loads whatever their folders are called, and says if it stands aside."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from effort import sliced

from simulation.testing import pytest_plugin

MINE = "import simulation\n\ndef test_mine(): assert simulation.mine == 1\n"


def ended(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """Return how ``python -m pytest`` ends in a folder, and what the plugin says in the header."""
    command = [sys.executable, "-m", "pytest", "-W", "error", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    assert "warning" not in done.stdout
    return done.returncode, [line for line in done.stdout.splitlines() if line.startswith("retrylab: ")]


def packages(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("mine = 1\n")


@pytest.mark.parametrize(
    "names", sliced([["simulation", "actors"], ["simulation"], ["actors"]], 6, 1), ids=" and ".join
)
def test_a_project_has_folders_of_these_names(tmp_path: Path, names: list[str]) -> None:
    packages(tmp_path, *names)
    aside = [f"retrylab: stands aside, {names[0]} is {tmp_path / names[0]}"]
    assert ended(tmp_path) == (pytest.ExitCode.NO_TESTS_COLLECTED, aside)
    (tmp_path / "test_one.py").write_text(f"import {names[0]}\n\ndef test_mine(): assert {names[0]}.mine == 1\n")
    assert ended(tmp_path, "-p", "no:cacheprovider") == (pytest.ExitCode.OK, aside)


@pytest.mark.thorough
def test_it_stands_aside_in_every_process_of_xdist(tmp_path: Path) -> None:
    packages(tmp_path, "simulation")
    (tmp_path / "test_one.py").write_text(MINE)
    aside = [f"retrylab: stands aside, simulation is {tmp_path / 'simulation'}"]
    assert ended(tmp_path, "-n", "2") == (pytest.ExitCode.OK, aside)


@pytest.mark.thorough
def test_a_module_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "simulation.py").write_text("mine = 1\n")
    (tmp_path / "test_one.py").write_text(MINE)
    assert ended(tmp_path) == (0, [f"retrylab: stands aside, simulation is {tmp_path / 'simulation.py'}"])


@pytest.mark.thorough
def test_a_package_that_is_found_only_by_pytests_settings(tmp_path: Path) -> None:
    packages(tmp_path / "src", "simulation")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = src\n")
    (tmp_path / "test_one.py").write_text(MINE)
    assert ended(tmp_path) == (0, [f"retrylab: stands aside, simulation is {tmp_path / 'src' / 'simulation'}"])


@pytest.mark.thorough
def test_a_package_of_tests_of_that_name(tmp_path: Path) -> None:
    packages(tmp_path / "tests", "simulation")
    (tmp_path / "tests" / "simulation" / "test_one.py").write_text(MINE)
    assert ended(tmp_path) == (0, [])


@pytest.mark.thorough
def test_folders_that_are_no_packages_hide_nothing(tmp_path: Path) -> None:
    for name in ("simulation", "actors"):
        (tmp_path / name).mkdir()
    (tmp_path / "test_one.py").write_text("def test_recorder(recorder): assert recorder == []\n")
    assert ended(tmp_path) == (0, [])


@pytest.mark.thorough
def test_scenarios_and_fixtures_are_not_there_where_it_stands_aside(tmp_path: Path) -> None:
    packages(tmp_path, "simulation")
    (tmp_path / "outage.yaml").write_text("workload:\nduration:\nexpect:\n")
    assert ended(tmp_path)[0] == pytest.ExitCode.NO_TESTS_COLLECTED
    (tmp_path / "test_one.py").write_text("def test_recorder(recorder): pass\n")
    assert ended(tmp_path)[0] == pytest.ExitCode.TESTS_FAILED


def test_without_the_extra_simulate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytest_plugin, "find_spec", lambda name: None if name == "simpy" else find_spec(name))
    assert pytest_plugin.stands_aside() == "the extra simulate is not installed: pip install 'retrylab[simulate]'"
