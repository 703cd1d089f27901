"""The published schema and the loader agree: what editors accept is what runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from beside import tables
from each_row import over_each
from malformed_scenarios import MALFORMED, Malformed

from actors.errors import ConfigurationError
from actors.settings.yaml_tree import Place, Unreadable, data, read
from simulation import scenario

jsonschema = pytest.importorskip("jsonschema")

DATA = Path(__file__).parent / "data"
SHIPPED = sorted((Path(__file__).parents[2] / "scenarios").glob("**/*.yaml"))
SCHEMA = json.loads((Path(__file__).parents[2] / "scenarios" / "scenario.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def plain(text: str) -> Any:
    return data(read(text, Place("f.yaml", 1, 1)))


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["title"] == "retrylab scenario"
    assert SCHEMA["required"] == ["workload"]


@over_each([*sorted(DATA.glob("*.yaml")), *SHIPPED])
def test_good_files_are_valid(file: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(plain(file.read_text()))] == []


SMALL = "duration: 10m\nworkload: [{channel: email, arrivals: {poisson: 20/s}}]\n"


@over_each(tables(__file__)["invalid_to_both"])
def test_bad_files_are_invalid_to_both(change: str) -> None:
    key = change.partition(":")[0]
    rest = "".join(line + "\n" for line in SMALL.splitlines() if not line.startswith(f"{key}:"))
    text = f"{rest}{change}\n"
    assert not VALIDATOR.is_valid(plain(text))
    with pytest.raises(ConfigurationError):
        scenario.parse(text)


@over_each(MALFORMED)
def test_what_is_invalid_is_refused(each: Malformed, tmp_path: Path) -> None:
    file = each.written(tmp_path)
    try:
        invalid = not VALIDATOR.is_valid(plain(file.read_text()))
    except (Unreadable, UnicodeDecodeError):
        return
    if invalid:
        with pytest.raises(ConfigurationError):
            scenario.load(file)


def test_everything_is_described() -> None:
    def properties(part: Any, path: str = "") -> Any:
        if isinstance(part, dict):
            for name, described in part.get("properties", {}).items():
                yield f"{path}.{name}", described
            for key, child in part.items():
                yield from properties(child, f"{path}.{key}")

    bare = [
        path
        for path, described in properties(SCHEMA)
        if "description" not in described and "$ref" not in str(described)
    ]
    # a few speak for themselves: their type's own description or list of values says it all
    assert [path for path in bare if path.split(".")[-1] not in SELF_EXPLANATORY] == []


SELF_EXPLANATORY = {"low", "high", "mean", "sd", "median", "p99", "minimum", "alpha", "channel", "kind", "backoff"} | {
    "jitter", "enabled", "subject", "body"
}  # fmt: skip


def test_defaults_are_written_as_in_a_file() -> None:
    retry = SCHEMA["$defs"]["RetryConfig"]["properties"]
    assert (retry["initial_delay"]["default"], retry["max_delay"]["default"]) == ("1s", "1m")
    assert SCHEMA["properties"]["drain"]["default"] == "1h"
    assert SCHEMA["$defs"]["CircuitBreakerConfig"]["properties"]["resume_rate"]["default"] == "10/s"
