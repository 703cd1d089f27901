"""The lock file and pyproject.toml agree, and what is pinned is within the bounds of what has been tried."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
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


def hashed(name):
    """Return each requirement of a file with hashes, and its hashes."""
    text = (ROOT / ".ci" / name).read_text(encoding="utf-8").replace("\\\n", "")
    assert "://" not in text
    parts = [re.split(r"\s+--hash=", line) for line in text.splitlines() if line and not line.startswith("#")]
    return {requirement: hashes for requirement, *hashes in parts}


def test_all_that_is_pinned_is_hashed_and_nothing_else_with_what_builds_the_package():
    assert hashed("requirements.txt").keys() == set(LINES)
    assert {"hatchling", "editables"} <= pins("3.11").keys()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-service.txt"])
def test_every_hash_is_one(name):
    found = hashed(name)
    assert [requirement for requirement, hashes in found.items() if not hashes] == []
    assert [
        each for hashes in found.values() for each in hashes if not re.fullmatch(r"sha256:[0-9a-f]{64}", each)
    ] == []


def test_the_image_of_the_guide_has_the_same_versions_and_all_that_a_service_needs():
    """As far as it is installed here."""
    image, pinned = (
        {(canonicalize_name(pin.name), str(pin.specifier)) for pin in map(Requirement, lines)}
        for lines in (hashed("requirements-service.txt"), LINES)
    )
    assert image <= pinned
    left = {("retrylab", "service"), ("retrylab", "postgres"), ("retrylab", "tracing"), ("retrylab", "")}
    left |= {("psycopg", "binary"), ("hatchling", "")}
    needed = set()
    while left:
        needed.add(each := left.pop())
        for need in needs(*each):
            left |= {(canonicalize_name(need.name), extra) for extra in ("", *need.extras)} - needed
    assert {name for name, _ in needed} - {"retrylab"} <= {name for name, _ in image}


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_is_pinned_within_its_range(python):
    pinned = pins(python)
    assert [str(wanted) for wanted in REQUIRED if not wanted.specifier.contains(pinned[wanted.name.lower()])] == []


def needs(name, extra=""):
    """Return what an installed package needs; nothing where it is not installed."""
    try:
        found = [Requirement(text) for text in requires(name) or ()]
    except PackageNotFoundError:
        return []
    return [need for need in found if need.marker is None or need.marker.evaluate({"extra": extra})]


def test_everything_that_is_installed_with_them_is_pinned_too():
    """As far as it is installed here."""
    pinned = pins("3.11") | pins("3.13")
    needed = {canonicalize_name(need.name) for name in pinned for need in needs(name)}
    assert needed - pinned.keys() == set()


@pytest.mark.parametrize("name", WITH_PRIVATE_PARTS)
def test_a_package_whose_private_parts_are_used_is_bounded_above_and_installed_within(name):
    (bounds,) = (wanted.specifier for wanted in REQUIRED if wanted.name == name)
    assert "<" in {bound.operator for bound in bounds}
    assert bounds.contains(version(name)), f"{name} {version(name)}: try its private parts, then move the bound"
