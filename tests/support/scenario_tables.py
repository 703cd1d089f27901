"""Tables of scenarios beside the tests that run them: a row has a name, why it is there, and the scenario."""

from pathlib import Path

import msgspec


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """A scenario of a table."""

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
