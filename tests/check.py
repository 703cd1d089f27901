"""What to run after each change: lint, types, layers and the quick tests, in under a minute on two cores.

``python tests/check.py [--jobs N]``; exit code 1 when one of them finds something.

The quick tests are those of `QUICK`, without what starts processes (`integration`) or takes long (`slow`), and those in
files that have changed since the branch left `main`. Folders that run whole scenarios are left to `python -m pytest -n
auto`. Types are checked of all modules: mypy remembers what has not changed, so that only its first run takes longer.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PYTHON = sys.executable

QUICK = ("kernel", "lint", "policies", "scenario", "settings", "structure")
"""The folders of tests of what everything else stands on."""

MODELLED = ("actors/pipeline/", "actors/policies/", "simulation/verification/model/")
"""The folders whose behaviour the reference model states a second time."""


class Step(NamedTuple):
    name: str
    command: list[str]


class Done(NamedTuple):
    step: Step
    code: int
    seconds: float
    output: str


def steps(jobs: int) -> list[Step]:
    """Return what is to be checked; what takes longest comes first."""
    changed = changed_files()
    tests = [f"tests/{folder}" for folder in QUICK] + changed_tests(changed)
    quick = ["-m", "not slow and not integration", "-n", str(jobs), "-q", "--no-header", "-p", "no:cacheprovider"]
    found = [
        Step("tests", [PYTHON, "-m", "pytest", *quick, *tests]),
        Step("types", [PYTHON, "-m", "mypy"]),
        Step("lint", [PYTHON, "-m", "ruff", "check", "."]),
        Step("format", [PYTHON, "-m", "ruff", "format", "--check", "."]),
    ]
    if any(name.startswith(MODELLED) for name in changed):
        cases = ["--settings", "drawn", "--seeds", "0:40", "tests/verification/drawing/swarm.yaml"]
        found.insert(1, Step("model", [PYTHON, "tests/verification/many_seeds.py", *cases]))
    if has_contracts():
        found.append(Step("layers", [str(Path(PYTHON).with_name("lint-imports"))]))
    return found


def has_contracts() -> bool:
    """Tell whether there are contracts for imports, and something that checks them."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return "importlinter" in config["tool"] and importlib.util.find_spec("importlinter") is not None


def changed_files() -> list[str]:
    """Return the files that have changed since the branch left `main`, or are new."""
    base = git("merge-base", "HEAD", "main") or ["HEAD"]
    return git("diff", "--name-only", base[0]) + git("ls-files", "--others", "--exclude-standard")


def changed_tests(changed: list[str]) -> list[str]:
    """Return the files of tests among those that have changed, but for those in `QUICK`."""
    tests = [Path(name) for name in changed if name.startswith("tests/") and Path(name).name.startswith("test_")]
    outside = {path for path in tests if path.suffix == ".py" and path.parts[1] not in QUICK}
    return sorted(str(path) for path in outside if (ROOT / path).exists())


def git(*arguments: str) -> list[str]:
    """Return the lines that git prints; none where it fails, or where there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return done.stdout.splitlines()


def run(step: Step) -> Done:
    """Run a check, and keep what it prints."""
    began = time.perf_counter()
    done = subprocess.run(step.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return Done(step, done.returncode, time.perf_counter() - began, done.stdout.strip())


def main() -> int:
    """Run all checks side by side; print each when it is done, with all it says when it fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes for the tests")
    options = parser.parse_args()
    began, failed = time.perf_counter(), []
    with ThreadPoolExecutor() as pool:
        for future in as_completed([pool.submit(run, step) for step in steps(options.jobs)]):
            done = future.result()
            if done.code:
                failed.append(done.step.name)
                print(done.output)
            last = done.output.splitlines()[-1].strip(" =") if done.output else ""
            print(f"{'fails' if done.code else 'ok':5}  {done.step.name:6}  {done.seconds:5.1f} s  {last}", flush=True)
    conclusion = f"fails: {', '.join(failed)}" if failed else "all ok"
    print(f"{conclusion}, in {time.perf_counter() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
