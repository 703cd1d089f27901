"""The reference of the scenario language is what the models say, and its examples are scenarios."""

import json
import re
from pathlib import Path
from typing import Any

from console_command import app
from each_row import over_each
from typer.testing import CliRunner

from actors.messages import NotificationChannel
from simulation.scenario import load
from simulation.scenario.metrics import MEANINGS, NOT_METRICS, MetricKind, Outline, Shape, path_of, summary_shape
from simulation.scenario.reference import meaning_of, models_described, reference

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "notebooks" / "guides" / "reference.md").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "scenarios" / "scenario.schema.json").read_text(encoding="utf-8"))
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_file_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(app, ["schema", "--markdown"])
    assert printed.exit_code == 0, printed.output
    assert printed.stdout == reference() == TEXT


def test_it_has_the_keys_of_every_model() -> None:
    models = {name for name, schema in SCHEMA["$defs"].items() if "enum" not in schema}
    assert models | {"Scenario"} == models_described()


def described(schema: object, path: str) -> list[str]:
    """Return the keys in a schema that nothing is said about."""
    if not isinstance(schema, dict):
        return []
    silent = [f"{path}.{key}" for key, about in schema.get("properties", {}).items() if not about.get("description")]
    return silent + [key for part in schema.get("anyOf", []) for key in described(part, path)]


def test_every_key_says_what_it_is() -> None:
    assert described(SCHEMA, "Scenario") == []
    assert [key for name, model in SCHEMA["$defs"].items() for key in described(model, name)] == []


def leaves(shape: Shape, above: tuple[str, ...] = ()) -> list[str]:
    paths = []
    for key, part in shape.items():
        if isinstance(part, MetricKind):
            paths += [] if part in NOT_METRICS else [path_of((*above, key))]
        else:
            paths += leaves(part, (*above, key))
    return paths


def test_every_metric_says_what_it_is() -> None:
    channels = tuple((channel, ("primary", "backup")) for channel in NotificationChannel)
    told_apart: dict[str, Any] = {
        "upstreams": 4,
        "shares_breakers": True,
        "has_endpoints": True,
        "has_own_actors": True,
    }
    outline = Outline(channels, faults=(0,), nodes=2, queues=channels, **told_apart)
    said = [meaning_of(path) for path in leaves(summary_shape(outline))]
    assert [text for text in MEANINGS.values() if not any(one.endswith(text) for one in said)] == []


def test_the_metrics_in_it_are_those_that_can_be_expected(tmp_path: Path) -> None:
    section = TEXT.partition("## Expect")[2].partition("\n##")[0]
    listed = re.findall(r"^\| `([\w.<>()]+)` \|", section, flags=re.MULTILINE)
    names = {"<breaker>": "email/backup", "<channel>": "email", "<provider>": "backup", "<n>": "0", "<node>": "2"}
    paths = [re.sub("<.*?>", lambda name: names[name[0]], path) for path in listed]
    paths.remove("refused.unhandled")  # of own actors, which go without nodes
    own = 'actors: {a: {actor: "a:A"}}\nexpect: [refused.unhandled >= 0]\n'
    assert load(complete(own, tmp_path)).expect
    fault = "nodes: 2\nfaults: [{channel: email, for: 1m, outage: true}]\n"
    expected = "".join(f"  - {path} >= 0\n" for path in paths)
    provider = "{upstream: {upstream: {upstream: {upstream: {}}}}, capacity: 1, queue: {limit: 9}}"
    others = "failover: {backup: {}}, circuit_breaker: {shared: any}, endpoints: {}"
    email = f"{{provider: {provider}, {others}}}"
    scenario = load(complete(f"channels: {{email: {email}}}\n{fault}expect:\n{expected}", tmp_path))
    assert [path_of(expectation.path) for expectation in scenario.expect] == paths
    shape = summary_shape(Outline(((NotificationChannel.EMAIL, ("primary", "backup")),), faults=(0,)))
    of_the_run = [path for path in leaves(shape) if not path.startswith(("channels.", "delivered_within("))]
    assert [path for path in of_the_run if path not in paths and not path.startswith("breaker.email.")] == []


def complete(text: str, folder: Path) -> Path:
    """Write a part of a scenario as a whole one, with data files beside it."""
    keys = re.findall(r"^(\w+):", text, flags=re.MULTILINE)
    if "workload" not in keys:
        text += "workload: [{channel: email, arrivals: {poisson: 1/s}}]\n"
    if "duration" not in keys:
        text += "duration: 10m\n"
    file = folder / "example.yaml"
    file.write_text(text, encoding="utf-8")
    (folder / "counts.csv").write_text("value\n94.0\n3\n", encoding="utf-8")
    (folder / "latency.csv").write_text("seconds\n0.1\n0.2\n", encoding="utf-8")
    return file


@over_each(range(len(EXAMPLES)))
def test_an_example_is_a_scenario_or_a_part_of_one(number: int, tmp_path: Path) -> None:
    load(complete(EXAMPLES[number], tmp_path))


def test_the_defaults_in_it_are_those_of_the_models() -> None:
    rows = re.findall(r"^\| `(max_attempts|timeout|drain|failure_rate|enabled)` \| .*? \| (\S+) \|", TEXT, re.MULTILINE)
    assert ("drain", "`1h`") in rows
    assert ("max_attempts", "`3`") in rows
    assert {("timeout", "`10s`"), ("timeout", "`1m`")} <= set(rows)
    assert {("failure_rate", "`0%`"), ("failure_rate", "`50%`")} <= set(rows)
    assert ("enabled", "`true`") in rows


def test_it_says_what_was_found_unsaid() -> None:
    text = " ".join(TEXT.split())
    assert "Expiry begins anew with a redrive" in text
    assert "waiting in quiet hours before that does not count" in text
    assert "the next provider with room takes a refused attempt at once" in text
