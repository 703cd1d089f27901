"""The lock file and pyproject.toml agree, and what is pinned is within the bounds of what has been tried."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
LINES = [
    line
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PYTHONS = ("3.11", "3.12", "3.13")
REQUIRED = [
    requirement
    for text in (
        *PROJECT["dependencies"],
        *(text for extra in PROJECT["optional-dependencies"].values() for text in extra),
        *PYPROJECT["build-system"]["requires"],
    )
    if (requirement := Requirement(text)).name != "retrylab"
]
WITH_PRIVATE_PARTS = ("pykka", "simpy")
"""Of these we use what they do not promise to keep."""


def pins(python):
    """Return the pinned versions by name, as pip reads the lock file on Linux with this version of Python."""
    there = default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
    }
    found = {}
    for line in LINES:
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(there):
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            assert found.setdefault(canonicalize_name(pin.name), specifier.version) == specifier.version
    return found


def test_a_line_is_a_pin_and_nothing_else():
    assert [line for line in LINES if not re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*( ; .+)?", line)] == []


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_is_pinned_within_its_range(python):
    pinned = pins(python)
    assert [str(wanted) for wanted in REQUIRED if not wanted.specifier.contains(pinned[wanted.name.lower()])] == []


def test_everything_that_is_installed_with_them_is_pinned_too():
    """As far as it is installed here."""
    from importlib.metadata import PackageNotFoundError, requires

    pinned, unpinned = pins("3.11") | pins("3.13"), set()
    for name in pinned:
        try:
            needed = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:
            continue
        unpinned |= {
            canonicalize_name(need.name)
            for need in needed
            if need.marker is None or need.marker.evaluate({"extra": ""})
        } - pinned.keys()
    assert unpinned == set()


@pytest.mark.parametrize("name", WITH_PRIVATE_PARTS)
def test_a_package_whose_private_parts_are_used_is_bounded_above_and_installed_within(name):
    (bounds,) = (wanted.specifier for wanted in REQUIRED if wanted.name == name)
    assert "<" in {bound.operator for bound in bounds}
    assert bounds.contains(version(name)), f"{name} {version(name)}: try its private parts, then move the bound"
