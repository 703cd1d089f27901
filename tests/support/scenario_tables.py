"""Scenarios of tests: tables beside the tests, with a name, why it is there, and the scenario; and files of them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest


class Row(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    scenario: str
    why: str = ""


def scenarios_of(test_file: str) -> dict[str, str]:
    """Return the scenarios of a test's table by name: that of ``test_x.py`` is ``x.yaml``.

    Raises:
        ValueError: two have one name.
    """
    path = Path(test_file)
    rows = msgspec.yaml.decode(path.with_name(f"{path.stem.removeprefix('test_')}.yaml").read_bytes(), type=list[Row])
    scenarios = {row.name: row.scenario for row in rows}
    if len(scenarios) != len(rows):
        raise ValueError(f"{path}: wanted a name of its own for each scenario, got {[row.name for row in rows]}")
    return scenarios


def written(name: str, text: str) -> Any:
    """Return a fixture: the path of a file of this name and text, in the folder of the test."""

    @pytest.fixture
    def path(tmp_path: Path) -> Path:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return path
