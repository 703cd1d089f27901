"""What `save` of a result in Python leaves as it is, and what it leaves when it is cut off."""

from pathlib import Path

import pandas as pd
import pytest

import simulation
from actors.errors import ConfigurationError
from simulation.scenario import load

pytestmark = pytest.mark.usefixtures("undrawn")

SCENARIO = """
seed: 3
duration: 10s
workload: [{channel: email, arrivals: {poisson: 5/s}}]
expect: [sent >= 1]
"""
VARY = {"channels.email.retry.max_attempts": [1, 3]}

MAKES = {
    "run": simulation.run,
    "record": lambda path: simulation.record(path, Path(path).with_name("trace")),
    "sweep": lambda path: simulation.sweep(path, VARY, replicates=1),
    "compare": lambda path: simulation.compare(path, VARY, replicates=1),
    "tune": lambda path: simulation.tune(path, VARY, replicates=1, probability=0.5),
}
DOCUMENTS = {
    "run": "summary.json",
    "record": "summary.json",
    "sweep": "sweep.json",
    "compare": "comparison.json",
    "tune": "tuning.json",
}


@pytest.mark.parametrize(
    ("name", "file"),
    [("run", "scenario.yaml"), ("record", "scenario.yaml"), ("sweep", "scenario.yaml"), ("tune", "tuned.yaml")],
)
def test_a_result_does_not_take_the_place_of_its_scenario(name, file, tmp_path):
    path = tmp_path / file
    path.write_text(SCENARIO)
    result = MAKES[name](path)
    before = set(tmp_path.iterdir())
    with pytest.raises(ConfigurationError, match=f"wanted a folder where {file} may be written, got the one where"):
        simulation.save(result, tmp_path)
    assert (path.read_text(), set(tmp_path.iterdir())) == (SCENARIO, before)
    simulation.save(result, tmp_path / "out")
    assert (tmp_path / "out" / file).exists()


@pytest.mark.parametrize("name", MAKES)
def test_a_folder_has_the_results_of_one_kind_of_command(name, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SCENARIO)
    other = next(other for other in MAKES if DOCUMENTS[other] != DOCUMENTS[name])
    simulation.save(MAKES[other](path), tmp_path / "out")
    written = {each: each.read_bytes() for each in (tmp_path / "out").iterdir()}
    with pytest.raises(ConfigurationError, match=r"out: wanted a folder for .* alone, got one with the results of"):
        simulation.save(MAKES[name](path), tmp_path / "out")
    assert {each: each.read_bytes() for each in (tmp_path / "out").iterdir()} == written


@pytest.mark.parametrize("name", MAKES)
def test_one_that_is_cut_off_leaves_no_document_beside_the_tables_of_another(name, tmp_path, monkeypatch):
    path = tmp_path / "mine.yaml"
    path.write_text(SCENARIO)
    result = MAKES[name](path)
    written = simulation.save(result, tmp_path / "out")
    document = tmp_path / "out" / DOCUMENTS[name]
    assert document in written
    assert document.exists()

    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pd.DataFrame, "to_parquet", interrupted)
        with pytest.raises(KeyboardInterrupt):
            simulation.save(result, tmp_path / "out")
    assert not document.exists()
    assert simulation.save(result, tmp_path / "out") == written
    assert document.exists()


def test_a_search_removes_only_what_one_has_found(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SCENARIO)
    out = tmp_path / "out"
    simulation.save(MAKES["tune"](path), out)
    names = ["tuned-by-hand.yaml", "tuned-1.yaml", "tuned-12.yaml", "tuned-1-old.yaml", "tuned.yaml.bak"]
    for name in names:
        (out / name).write_text(SCENARIO)
    simulation.save(MAKES["tune"](path), out)
    assert {each.name for each in out.iterdir()} & set(names) == {
        "tuned-by-hand.yaml", "tuned-1-old.yaml", "tuned.yaml.bak"
    }  # fmt: skip
    assert load(out / "tuned.yaml").seed == 3
