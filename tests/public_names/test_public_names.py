"""The public names: what `actors` and `simulation` give, to a run and to a type checker, is one reviewed list."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from signatures import REVIEWED, public_names

import actors
import simulation
from actors.lazy_names import homes

ROOT = Path(__file__).parents[2]
PACKAGES = {"actors": actors, "simulation": simulation}


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_is_where_the_package_says(package: str) -> None:
    imported = PACKAGES[package]
    for name, module in homes(package).items():
        defined = importlib.import_module(module)
        assert name in vars(defined) or importlib.util.find_spec(f"{module}.{name}"), f"{name}: wanted it in {module}"
        assert getattr(imported, name) is getattr(defined, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_type_checker_sees_the_same_names(package: str) -> None:
    stub = ast.parse((ROOT / package / "__init__.pyi").read_text(encoding="utf-8"))
    declared = {}
    for node in stub.body:
        assert isinstance(node, ast.ImportFrom)
        assert all(each.asname == each.name for each in node.names), "re-exported only under its own name, with `as`"
        declared |= {each.name: node.module for each in node.names}
    assert homes(package) == declared
    assert PACKAGES[package].__all__ == dir(PACKAGES[package]) == sorted(homes(package))
    assert (ROOT / package / "py.typed").is_file()


def test_nothing_else_is_there() -> None:
    with pytest.raises(AttributeError, match="module 'actors' has no attribute 'Nonsense'"):
        _ = actors.Nonsense  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'Nonsense'"):
        exec("from simulation import Nonsense")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_hidden_by_a_module(package: str) -> None:
    there = {path.stem for path in (ROOT / package).iterdir()} - {"__init__", "py"}
    hidden = there & {name for name, module in homes(package).items() if module != package}
    assert hidden == set()


def test_nothing_inside_imports_a_public_name() -> None:
    found = []
    inits = {ROOT / package / "__init__.py" for package in PACKAGES}
    for path in sorted({*ROOT.glob("actors/**/*.py"), *ROOT.glob("simulation/**/*.py")} - inits):
        text = path.read_text(encoding="utf-8")
        if not re.search(r"(?:import|from)[^.\n]*\b(?:actors|simulation)\b(?!\.)", text):
            continue
        for node in ast.walk(ast.parse(text)):
            named = node.names if isinstance(node, ast.Import) else []
            module = node.module if isinstance(node, ast.ImportFrom) and not node.level else None
            if module in PACKAGES or any(each.name in PACKAGES for each in named):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")  # type: ignore[attr-defined]
    assert found == []


def test_the_public_names_and_their_signatures_are_those_reviewed() -> None:
    reviewed, now = REVIEWED.read_text(encoding="utf-8").splitlines(), public_names().splitlines()
    gone = "\n".join(f"- {line}" for line in reviewed if line not in now)
    new = "\n".join(f"+ {line}" for line in now if line not in reviewed)
    assert now == reviewed, f"review, then write it with `python tests/public_names/signatures.py`:\n{gone}\n{new}"


USER = """
import trio
from actors import Notifier, NotificationChannel, SendNotification
import simulation
from simulation import testkit

async def main() -> None:
    async with Notifier.open({"channels": {"email": {}}}) as notifier:
        command = SendNotification(
            notification_id="1", channel=NotificationChannel.EMAIL, recipient="ann@example.com", message="Hello"
        )
        reveal_type(await notifier.send(command))

reveal_type(simulation.run)
reveal_type(testkit.Probe)
trio.run(main)
"""


MISSPELT = USER.replace("notifier.send(command)", "notifier.publsh(command)") + "\nfrom actors import Nonsense\n"


@pytest.mark.slow  # 30 s, most of it of others' types; CI runs it by itself
def test_a_user_s_type_checker_sees_every_type_and_finds_a_misspelt_name(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(USER)
    (tmp_path / "misspelt.py").write_text(MISSPELT)
    cache = str(ROOT / ".mypy_cache" / "user")
    command = [sys.executable, "-m", "mypy", "--strict", "service.py", "misspelt.py", "--cache-dir", cache]
    env = {"MYPYPATH": str(ROOT)}
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=env).stdout
    said = [line for line in told.splitlines() if line.startswith("service.py")]
    assert not [line for line in said if "error" in line]
    revealed = [line.split('Revealed type is "')[1] for line in said if "Revealed type" in line]
    assert len(revealed) == 3
    assert not any("Any" in line.split(" -> ")[-1] for line in revealed)
    assert "-> simulation.results.result.Result" in revealed[1]
    wrong = [line for line in told.splitlines() if line.startswith("misspelt.py")]
    assert any('"Notifier" has no attribute "publsh"' in line for line in wrong)
    assert any('Module "actors" has no attribute "Nonsense"' in line for line in wrong)
