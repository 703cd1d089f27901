"""A seed that no file could have is refused wherever one can be given: what is saved of a run can be run again."""

from pathlib import Path

import in_process
import pytest

import simulation
from actors.errors import ConfigurationError
from simulation.scenario import load

STEADY = Path(__file__).parents[2] / "scenarios" / "steady-state.yaml"
LARGEST = 2**63 - 1
SHORT = ["duration=2s", "expect=[]"]
VARY = {"channels.email.timeout": ["1s", "2s"]}
LOG = "time,latency,outcome,channel\n" + "".join(f"{second},0.1,ok,email\n" for second in range(60))


def words(log, seed):
    """Return by command the words that give it a seed, and the name of the option in what it says."""
    steady = [STEADY, *(word for change in SHORT for word in ("--set", change))]
    vary = ["--vary", "channels.email.timeout=1s,2s", "--replicates", 2]
    return {
        "run": ["run", *steady, "--seed", seed],
        "record": ["run", *steady, "--seed", seed, "--record", "trace"],
        "compare": ["compare", *steady, *vary, "--seed", seed],
        "sweep": ["sweep", *steady, *vary, "--seed", seed, "--out", "sweep"],
        "tune": ["tune", *steady, *vary, "--minimize", "requests", "--seed", seed, "--out", "tune"],
        "plot": ["plot", STEADY, "--seed", seed],
        "explore": ["explore", *steady, "--first-seed", seed, "--seeds", 1, "--out", "failures"],
        "whatif": ["whatif", log, STEADY, "--seed", seed],
        "validate": ["validate", "--case", "layers", "--seed", seed],
    }


COMMANDS = list(words("", 0))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_seed_that_is_too_large_is_refused_before_anything_runs(command, tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    done = in_process.retrylab(*words("log.csv", 2**63)[command], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "seed: wanted " in done.stderr
    assert "below 2^63" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


@pytest.fixture
def loaded():
    return load(STEADY, sets=SHORT)


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
def test_no_run_takes_a_seed_that_a_file_cannot_have(loaded, seed):
    with pytest.raises(ConfigurationError, match=f"seed: wanted .* got {seed}$"):
        simulation.run(loaded, seed=seed)
    with pytest.raises(ConfigurationError, match=f"seed: wanted .* got {seed}$"):
        simulation.run(STEADY, sets=SHORT, seed=seed)


def test_replicates_do_not_count_beyond_it(loaded):
    wanted = f"seed: wanted one below 2\\^63 in every replicate, got {LARGEST}$"
    with pytest.raises(ConfigurationError, match=wanted):
        simulation.compare(STEADY, VARY, sets=SHORT, seed=LARGEST, replicates=2)
    with pytest.raises(ConfigurationError, match=wanted):
        simulation.sweep(STEADY, VARY, sets=SHORT, seed=LARGEST, replicates=2)
    with pytest.raises(ConfigurationError, match=wanted):
        simulation.predict(loaded, seed=LARGEST)


@pytest.mark.usefixtures("undrawn")
def test_the_largest_seed_comes_back_from_what_is_saved(loaded, tmp_path):
    simulation.save(simulation.run(loaded, seed=LARGEST), tmp_path)
    assert simulation.open_result(tmp_path).scenario.seed == LARGEST
    assert simulation.run(tmp_path / "scenario.yaml").summary["seed"] == LARGEST
