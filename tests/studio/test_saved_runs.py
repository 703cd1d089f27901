"""A saved run, or a trace, opens as the scenario that it is of, and is told to be the same run when it is."""

import json

import pytest

import simulation
from simulation.studio.folder import Folder, Refused
from simulation.studio.worker import Worker

SCENARIO = """\
# of the shop
duration: 20s
workload:
  - {channel: email, arrivals: {trace: counts.csv, column: value, every: 10s}}
  - {channel: push, arrivals: {poisson: 5/s}}
channels:
  email: {retry: {max_attempts: 3}}   # three
"""
COUNTS = "value\n5\n0\n7\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "counts.csv").write_text(COUNTS)
    (tmp_path / "shop.yaml").write_text(SCENARIO)
    return tmp_path


def figures(path, text):
    told = []
    Worker(told.append, lambda: False).do({"do": "run", "text": text, "filename": str(path)})
    assert [line for line in told if line["type"] in ("problems", "failed")] == []
    [done] = [line for line in told if line["type"] == "done"]
    return done["figures"]


def test_a_trace_opens_with_its_changes_and_its_data(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    trace = elsewhere / "shop.trace"
    simulation.record(folder / "shop.yaml", trace, sets=["channels.email.retry.max_attempts=5"], seed=4)
    for each in folder.iterdir():
        each.unlink()
    opened = Folder(elsewhere)
    assert opened.names() == ["shop.trace"]
    text = opened.read("shop.trace")["text"]
    assert text == SCENARIO.replace("max_attempts: 3", "max_attempts: 5") + "seed: 4\n"
    assert "This is the run that was saved." in figures(trace, text)
    assert "that was saved" not in figures(trace, text.replace("seed: 4", "seed: 5"))
    [shown] = opened.overview()
    assert (shown["problem"], shown["is_saved"]) == (None, True)
    with pytest.raises(Refused, match=r"wanted a name that ends in \.yaml"):
        opened.write("shop.trace", text, None)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.thorough
def test_a_folder_of_results_opens_and_says_whether_it_is_the_same_run(folder):
    out = folder / "out"
    result = simulation.run(simulation.load(folder / "shop.yaml"))
    simulation.save(result, out)
    opened = Folder(out)
    assert opened.names() == ["scenario.yaml"]
    text = opened.read("scenario.yaml")["text"]
    path = opened.file("scenario.yaml")
    assert "This is the run that was saved." in figures(path, text)
    summary = json.loads((out / "summary.json").read_text())
    (out / "summary.json").write_text(json.dumps({**summary, "digest": "0" * 64}))
    assert "This is not the run that was saved" in figures(path, text)
    assert "that was saved" not in figures(folder / "shop.yaml", SCENARIO)


def test_a_trace_that_is_none_is_said(folder):
    (folder / "broken.trace").write_text("a: 1")
    [broken, shop] = sorted(Folder(folder).overview(), key=lambda each: each["name"])
    assert "wanted a trace, got something else" in broken["problem"]["text"]
    assert not shop["is_saved"]
