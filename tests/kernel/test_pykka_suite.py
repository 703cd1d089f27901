"""Pykka's own tests, run on both systems: what passes for a pykka actor anywhere passes for ours."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

import actors

pytestmark = pytest.mark.integration

PYKKA = version("pykka")
TESTS_PER_RUNTIME = {"4.5": 137}
"""How many of pykka's tests take a runtime, by version; of another version at least the fewest of these."""


@pytest.fixture(scope="module")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution of the pykka that is installed; only that carries the tests."""
    where = tmp_path_factory.mktemp("pykka")
    # --no-binary names the one package: what it takes to build it may come as a wheel.
    command = ["download", f"pykka=={PYKKA}", "--no-deps", "--no-binary", "pykka", "--dest", str(where)]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "10"]
    try:
        pip = subprocess.run(
            [sys.executable, "-m", "pip", *command, *quiet], capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("no source distribution of pykka: pip got no answer")
    archives = list(where.glob("pykka-*.tar.gz"))
    if pip.returncode != 0 or not archives:
        pytest.skip(f"no source distribution of pykka: {(pip.stderr.strip() or 'none was found').splitlines()[-1]}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(where, filter="data")
    return where / f"pykka-{PYKKA}"


@pytest.mark.thorough
def test_pykkas_own_tests_pass_on_both_systems(source_tree: Path) -> None:
    tests = source_tree / "tests"
    (tests / "conftest.py").rename(tests / "upstream_conftest.py")
    shutil.copy(Path(__file__).with_name("pykka_runtimes.py"), tests / "conftest.py")

    report = source_tree / "report.xml"
    # Only the plugin that pykka itself asks for: trio's would run its coroutine tests a second way.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    home = Path(actors.__file__).parents[1]
    if (home / "pyproject.toml").exists():  # a checkout; an installed package is found without help
        env["PYTHONPATH"] = str(home)
    options = ["-p", "pytest_mock", "-p", "no:cacheprovider", "-c", "pyproject.toml", "--rootdir", "."]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, f"--junit-xml={report}", "tests"],
        cwd=source_tree,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert report.exists(), run.stdout + run.stderr

    passed: Counter[str] = Counter()
    others = []
    for case in ElementTree.parse(report).iter("testcase"):
        runtime = re.search(r"\[(simulated|live)\b", case.get("name", ""))
        if len(case.findall("failure") + case.findall("error") + case.findall("skipped")):
            others.append(f"{case.get('classname')}::{case.get('name')}")
        elif runtime:
            passed[runtime[1]] += 1
    assert others == [], run.stdout
    assert run.returncode == 0, run.stdout
    expected = TESTS_PER_RUNTIME.get(PYKKA.rpartition(".")[0])
    assert passed["simulated"] == passed["live"] == (expected or passed["live"])
    assert passed["live"] >= min(TESTS_PER_RUNTIME.values())
