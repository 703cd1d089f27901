"""Say what each test is for: plant mistakes in copies of the project, one each, and note which tests fail.

``python tests/mutants/matrix.py --out matrix.jsonl [NAME…] [--sample 10] [--operators 200] [--tests FOLDER…]``. A line
of the file is a mistake with the tests that found it; what is there already is not tried again, so a run may be
interrupted and gone on with. It ends with candidates, and decides nothing: a test whose finds are another one's too may
still be the only one for a behaviour.
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

from catalogue import Mutant
from hunt import ROOT, chosen, copy_of_the_product

BESIDE = ("tests", "scenarios", "notebooks", "pyproject.toml", "README.md", "constraints.txt", ".github", ".ci")
"""What tests read beside the product."""

SWAPPED = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "!=": "==",
    "+": "-",
    "-": "+",
    "+=": "-=",
    "-=": "+=",
    "and": "or",
    "or": "and",
    "not": "",
    "True": "False",
    "False": "True",
    "break": "continue",
    "continue": "break",
}
PATIENCE_S = 1200
"""For the tests of one mistake; after that it counts as found by ``no end``."""

NO_END, NO_START = "no end", "no start"


def operators(count: int, seed: int = 0) -> Iterator[Mutant]:
    """Yield so many changes of one operator, drawn over the product."""
    places = []
    for path in sorted(path for package in ("actors", "simulation") for path in (ROOT / package).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.string in SWAPPED and token.type in (tokenize.OP, tokenize.NAME):
                places.append((path.relative_to(ROOT).as_posix(), *token.start, token.string))
    for file, line, column, sign in Random(seed).sample(places, min(count, len(places))):
        old = (ROOT / file).read_text(encoding="utf-8").splitlines(keepends=True)[line - 1]
        new = old[:column] + SWAPPED[sign] + old[column + len(sign) :]
        if (ROOT / file).read_text(encoding="utf-8").count(old) == 1:  # else no one could say which of them is meant
            name = f"{file}:{line}:{column} {sign}"
            yield Mutant(name, file, f"{sign} is {SWAPPED[sign] or 'left out'}", f"-{old}+{new}")


@contextmanager
def copy_of_the_project() -> Iterator[Path]:
    """Give a folder with a copy of the product, its tests and what they read."""
    with copy_of_the_product() as copy:
        for name in BESIDE:
            copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copied(ROOT / name, copy / name)
        yield copy


def nearest(file: str) -> list[str]:
    """Return the folder of tests that mirrors that of a file; all where there is none."""
    folder = f"tests/{Path(file).parts[1].removesuffix('.py')}"
    return [folder] if (ROOT / folder).is_dir() else ["tests"]


def tried(copy: Path, folders: Sequence[str]) -> dict[str, bool]:
    """Return by its name whether each test of the folders fails in a copy; those that start processes are left out."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rpfE", "-p", "no:cacheprovider", "-n", "0"]
    command += ["-m", "not slow and not integration", "-o", "addopts=--strict-markers", *folders]
    environment = {**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "500"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return {NO_END: True}
    said = re.findall(r"^(PASSED|FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return {name: word != "PASSED" for word, name in said} or {NO_START: True}


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Notes which tests fail with which mistake.")
    parser.add_argument("names", metavar="NAME", nargs="*", help="which mutants; all, or none beside --operators")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a line for each mistake; gone on with")
    parser.add_argument("--sample", type=int, metavar="N", help="draw so many of the mistakes")
    parser.add_argument("--operators", type=int, default=0, metavar="N", help="so many changes of operators too")
    parser.add_argument("--tests", nargs="+", metavar="FOLDER", help="the folders nearest to the mistake when left out")
    options = parser.parse_args()
    planted = [] if options.operators and not options.names else chosen(options.names)
    mistakes = [*planted, *operators(options.operators)]
    if options.sample is not None:
        mistakes = Random(0).sample(mistakes, min(options.sample, len(mistakes)))
    lines = options.out.read_text(encoding="utf-8").splitlines() if options.out.exists() else []
    known = {each["mistake"]: each for each in map(json.loads, lines)}
    usual: dict[tuple[str, ...], dict[str, bool]] = {}
    with options.out.open("a", encoding="utf-8") as file, copy_of_the_project() as copy:
        for each in mistakes:
            if each.name in known:
                continue
            folders = tuple(options.tests or nearest(each.file))
            if folders not in usual:
                usual[folders] = tried(copy, folders)
                if NO_START in usual[folders]:
                    raise SystemExit(f"without any mistake no test ran in {', '.join(folders)}")
            whole = (copy / each.file).read_text(encoding="utf-8")
            each.plant(copy)
            found = tried(copy, folders)
            (copy / each.file).write_text(whole, encoding="utf-8")
            failing = sorted(name for name, fails in found.items() if fails and not usual[folders].get(name))
            known[each.name] = {"mistake": each.name, "folders": folders, "tests": len(found), "found_by": failing}
            print(json.dumps(known[each.name]), file=file, flush=True)
            print(f"{each.name:<60} {len(failing):>5} of {len(found)} tests", flush=True)
    report([known[each.name] for each in mistakes if each.name in known])


def report(rows: Sequence[dict]) -> None:
    """Print what no test found, which tests are the only ones, and which found nothing that another one did not."""
    finds: dict[str, set[str]] = {}
    for row in rows:
        for test in row["found_by"]:
            finds.setdefault(test.partition("[")[0], set()).add(row["mistake"])
    times = Counter(mistake for found in finds.values() for mistake in found)
    print(f"\n{sum(not row['found_by'] for row in rows)} of {len(rows)} mistakes were found by no test here:")
    print(*(f"  {row['mistake']}" for row in rows if not row["found_by"]), sep="\n")
    alone = {test for test, found in finds.items() if any(times[mistake] == 1 for mistake in found)}
    print(f"{len(finds)} tests found some; {len(alone)} of them are the only ones to find a mistake:")
    print(*(f"  {test}" for test in sorted(alone)), sep="\n")
    weaker = [test for test, found in finds.items() if any(found < other for other in finds.values())]
    print(f"{len(weaker)} found less than another one did: candidates to read beside it, nothing more")


if __name__ == "__main__":
    main()
