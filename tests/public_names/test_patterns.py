"""Every pattern meets texts that people send: none of them takes time by the square of the length.

A linear pattern reads all of these texts in a second or two. One that begins anew at each character, or gives back what
it has read in every way that there is, takes hours for a single one, and the deadline ends it.
"""

import ast
import functools
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from effort import thorough

import actors

ROOT = Path(actors.__file__).parents[1]
FOLDERS = ("actors", "simulation/fitting", "simulation/running", "simulation/scenario")
"""Where patterns meet what clients, providers and operators write, and the files that people read in."""

DEADLINE_S = 120

REPEATED = [
    *" a1@.-_\"\\(<>/=+\t\n\0:,'é%&|?",
    "a.", "a@", "a-", "a ", "a:", "a/", "1(", "1 ", "1.", '"\\', '\\"', "<a", "<a ", "<!--", '="', "&#", " \n", "%(",
    "://", "=?", "Expected `a", " - at `$.", "a: wanted ", "-a", "a-1", "()", "0e", " a\n",
]  # fmt: skip
BEFORE = ["", "a", "1", "<a ", '"', "<!--", "+1", "Expected `"]
BEHIND = ["", "!", "\x01", "a@"]

WORK = """
import json, re, sys
given = json.load(sys.stdin)
for pattern, flags, ways in given["patterns"]:
    compiled = re.compile(pattern, flags)
    print(pattern, flush=True)
    for text in given["texts"]:
        for way in ways:
            if way == "sub":
                compiled.sub("", text)
            else:
                getattr(compiled, way)(text)
"""
WAYS = ("finditer", "findall", "fullmatch", "match", "search", "split", "sub")

Found = dict[tuple[str, int], set[str]]
"""How each pattern, with its flags, is used: by the names of methods."""


@functools.cache
def patterns() -> Found:
    """Return the patterns of `actors`: those that are compiled, and those that are given to a function of `re`."""
    found: Found = {}
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "re"
                and isinstance(node.args[0], ast.Constant)
                and node.func.attr != "compile"
            ):
                pattern = node.args[0].value
                pattern = pattern if isinstance(pattern, str) else pattern.decode()
                found.setdefault((pattern, 0), set()).add(node.func.attr)
        if "re.compile(" in text:
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for name, value in vars(importlib.import_module(module)).items():
                if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
                    ways = {way for way in WAYS if f"{name}.{way}" in text} or {"search"}
                    found.setdefault((value.pattern, value.flags & ~re.UNICODE.value), set()).update(ways)
    return found


def read(found: Found, length: int) -> str | None:
    """Have another process read long texts by these patterns; return the pattern that did not come to an end."""
    texts = {
        before + repeated * (length // len(repeated)) + behind
        for repeated in REPEATED
        for before in BEFORE
        for behind in BEHIND
        if (before == "") + (behind == "") + (repeated in ("a", " ", "1", "a ")) >= 2
    }
    listed = [
        (*pattern, sorted({"findall" if way == "finditer" else way for way in ways})) for pattern, ways in found.items()
    ]
    given = json.dumps({"patterns": listed, "texts": sorted(texts)})
    try:
        ended = subprocess.run(
            [sys.executable, "-c", WORK], input=given, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode().splitlines()[-1]
    assert ended.returncode == 0, ended.stderr
    return None


def test_all_patterns_are_found():
    found = {pattern for pattern, _ in patterns()}
    assert len(found) > 30
    assert any("whsec_" in pattern for pattern in found)
    assert any("wanted" in pattern for pattern in found)


@pytest.mark.integration
@pytest.mark.parametrize("length", [8_000, thorough(50_000)])
def test_no_pattern_takes_time_by_the_square_of_the_length(length):
    assert read(patterns(), length) is None


@pytest.mark.slow
def test_the_deadline_finds_a_pattern_that_does(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "DEADLINE_S", 5)
    assert read({(r"[^\s@]+@[^\s@]+", 0): {"sub"}}, 200_000) == r"[^\s@]+@[^\s@]+"


@pytest.mark.slow
def test_no_pattern_takes_time_by_the_square_of_the_length_of_a_megabyte():
    assert read(patterns(), 1_000_000) is None
