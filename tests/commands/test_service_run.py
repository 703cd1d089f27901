"""``retrylab run --service``: a trio service in the world of a scenario, and when code of a file is imported."""

import sys

import pytest
from in_process import retrylab

import simulation
from simulation.reporting.html.reproduce import reproduction
from simulation.running.own_code import NOT_IMPORTED
from simulation.studio.checking import check

SCENARIO = """
duration: 20s
workload: [{channel: payments, arrivals: {constant: 1/s}, calls: "a_shop:order"}]
channels: {payments: {kind: call, provider: {latency: 80ms}}}
faults: [{channel: payments, at: 10s, for: 5s, outage: true}]
world: {api.example.com: payments}
expect: [sent_fraction >= 80%]
"""
SHOP = """
import pathlib, httpx2, trio
pathlib.Path("imported").touch()

async def main():
    await trio.sleep_forever()

async def order(arrival):
    async with httpx2.AsyncClient() as client:
        (await client.post("http://api.example.com/orders", content=arrival.id)).raise_for_status()

async def leaves():
    await trio.open_tcp_stream("db.internal", 5432)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "s.yaml").write_text(SCENARIO)
    (tmp_path / "a_shop.py").write_text(SHOP)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_it_prints_what_the_providers_saw_and_what_holds(folder):
    done = retrylab("run", "s.yaml", "--service", "a_shop:main", "--code", "--out", "out", cwd=folder)
    assert done.returncode == 1
    assert "api.example.com saw 20 requests: 15 × 200, 5 × 503" in done.stdout
    assert "calls of the service raised 5 × HTTPStatusError" in done.stdout
    assert "FAILS  sent_fraction >= 80%  is 75%" in done.stdout
    assert done.stderr.count("warning") == 0
    report = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "retrylab run s.yaml --seed 0 --service a_shop:main --code" in report
    assert "a_shop" not in sys.modules


def test_what_leaves_the_world_fails_the_run_by_file_and_line(folder):
    done = retrylab("run", "s.yaml", "--service", "a_shop:leaves", "--code", cwd=folder)
    assert done.returncode == 1
    line = SHOP.splitlines().index('    await trio.open_tcp_stream("db.internal", 5432)') + 1
    assert f"a_shop.py:{line}: the world has no host 'db.internal' (it has: api.example.com)" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("run", "s.yaml", "--service", "a_shop:main"),
        ("run", "s.yaml"),
        ("lint", "s.yaml"),
        ("explain", "s.yaml"),
        ("compare", "s.yaml", "s.yaml"),
    ],
    ids=" ".join,
)
def test_code_that_a_file_names_is_imported_only_when_asked_for(folder, command):
    done = retrylab(*command, cwd=folder)
    assert not (folder / "imported").exists()
    if "--service" in command:
        assert done.returncode == 2
        assert done.stderr == (f"s.yaml:3:66: workload.0.calls: a_shop:order {NOT_IMPORTED}\n")


def test_the_studio_and_collection_import_none_either(folder, monkeypatch):
    monkeypatch.chdir(folder)
    sys.path.insert(0, str(folder))
    check(SCENARIO, "s.yaml")
    assert pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "s.yaml"]) in (0, 5)
    assert not (folder / "imported").exists()


@pytest.mark.thorough
def test_a_report_says_how_a_service_is_run_again(folder, monkeypatch):
    monkeypatch.chdir(folder)
    sys.path.insert(0, str(folder))
    said = reproduction(simulation.run_service("a_shop:main", "s.yaml", sets=["duration=2s"], code=True))
    assert said.shell == "retrylab run s.yaml --seed 0 --set duration=2s --service a_shop:main --code"
    call = "simulation.run_service('a_shop:main', 's.yaml', seed=0, sets=['duration=2s'], code=True)"
    assert said.python.endswith(call)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--service", "a_shop"), "--service a_shop: wanted a function module:main"),
        (("--service", "a_shop:main", "--replicates", "2"), "--replicates: wanted it without --service"),
        (("--service", "a_shop:nothing", "--code"), "s.yaml: a_shop:nothing: wanted a function module:name"),
        (
            ("--service", "a_shop:main", "--code", "--set", "workload.0.calls=a_shop:nothing"),
            "s.yaml: --set workload.0.calls: a_shop:nothing: wanted a function module:name",
        ),
        (
            ("--service", "a_shop:main", "--code", "--set", "world={}"),
            "s.yaml: --set world: wanted the hosts that the service calls",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(folder, options, text):
    done = retrylab("run", "s.yaml", *options, cwd=folder)
    assert (done.returncode, done.stderr.startswith(text)) == (2, True), done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "run s.yaml",
        "explore s.yaml --seeds 2",
        "explore s.yaml --seeds 2 --expect",
        "compare s.yaml --vary drain=1m,2m --workers 1",
        "limits s.yaml --of outage --set expect=[sent>=0]",
        "plot s.yaml --kind overview --out p.png",
    ],
)
def test_without_a_service_a_file_with_a_world_says_that_the_pipeline_is_run(folder, command):
    done = retrylab(*command.split(), cwd=folder)
    text = "s.yaml: a run of the pipeline, not of a service in its world: that takes --service MODULE:MAIN"
    assert done.stderr.count(text) == 1, done.stderr
    assert not (folder / "imported").exists()
