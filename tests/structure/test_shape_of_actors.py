"""The shape of `actors`: sizes, class names, and where attributes are assigned; see `findings.py`."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from beside import tables


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("findings", Path(__file__).with_name("findings.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["findings"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.thorough
def test_nothing_is_found_but_the_exceptions(script):
    excepted = script.EXCEPTIONS.read_text(encoding="utf-8").splitlines()
    assert [str(each) for each in script.findings() if str(each) not in excepted] == []


HOME = """
class Door:
    __slots__ = ("bolt",)
    width: int = 1

    def __init__(self, colour):
        self.colour = colour

    @classmethod
    def open(cls, other: Door | None):
        door = cls("green")
        door.colour = other.colour = "red"
        return door

    @property
    def height(self): ...

def paint(door):
    door.colour = "blue"
"""


@pytest.mark.parametrize(("statement", "found"), tables(__file__)["statements"])
def test_an_attribute_is_assigned_from_outside(script, tmp_path, statement, found):
    (tmp_path / "home.py").write_text(HOME)
    signature = "def paint(self, door: Door, other: House, of_library: library.Door, anything: Any)"
    (tmp_path / "house.py").write_text(f"class House:\n    colour: int\n    {signature}:\n        {statement}\n")
    place = f"{tmp_path.name}/house.py::House.paint"
    assert script.findings(tmp_path) == ([] if found is None else [("attribute", place, found)])


def test_sizes_and_names(script, tmp_path):
    body = "    attribute = 1\n"
    (tmp_path / "long.py").write_text("class Large:\n" + 300 * body + "class Small:\n" + 299 * body)
    (tmp_path / "store.py").write_text("class SqliteStore:\n" + 399 * body + "def f():\n    class Small: ...\n")
    name = tmp_path.name
    assert script.findings(tmp_path) == [
        ("class", f"{name}/long.py", "Large"),
        ("file", f"{name}/long.py", ""),
        ("name", f"{name}/long.py, {name}/store.py", "Small"),
    ]
