"""How much a run will take is said before it begins, where that is hours or gigabytes."""

import json

import in_process
import pytest
from each_row import over_each
from shipped import SCENARIOS

import simulation
from simulation.running import runner
from simulation.running.watching import too_large
from simulation.scenario.run_size import RunSize, size_of, size_of_runs, warning_of

BIG = """
duration: 30000s
workload: [{channel: email, arrivals: {poisson: 20000/s}}]
"""


def of(more="", record="full", arrivals="poisson: 10/s"):
    return size_of(
        simulation.parse(
            f"duration: 1000s\nrecord: {record}\nworkload: [{{channel: email, arrivals: {{{arrivals}}}}}]\n{more}"
        )
    )


@over_each(SCENARIOS)
def test_nothing_is_said_of_the_scenarios_that_ship(path):
    assert warning_of(size_of(simulation.load(path))) is None


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ((6e8, 18_000, 3e11), "600 million arrivals, about 5 hours and 300 GB of memory"),
        ((1, 0.1, 1e6), "1 arrival, about 1 second and 1 MB of memory"),
        ((12_345, 100, 2e9), "12,345 arrivals, about 1.7 minutes and 2 GB of memory"),
        ((1.55e9, 86_400 * 2.5, 1.2e12), "1.6 billion arrivals, about 2.5 days and 1.2 TB of memory"),
        ((1e25, 1e20, 1e25), "1e+13 trillion arrivals, about 3.2e+12 years and 1e+13 TB of memory"),
    ],
)
def test_it_is_said_in_words_with_two_digits(size, text):
    assert str(RunSize(*size)) == text


def test_it_counts_arrivals_retries_nodes_clients_and_what_is_kept():
    plain = of()
    assert plain.arrivals == 10_000
    assert of(arrivals="burst: {size: 1000, every: 10s}").arrivals == 100_000
    assert of(record="aggregates").bytes < plain.bytes
    assert of("nodes: 1000").bytes > plain.bytes + 50 * 10**6
    never = "channels: {email: {provider: {failure_rate: 100%}, retry: {max_attempts: N, initial_delay: 1ms}}}"
    assert of(never.replace("N", "1000")).seconds > 50 * plain.seconds
    assert of(never.replace("N", "1000000000")).seconds < 1e6 * plain.seconds  # time runs out before
    runs = size_of_runs([simulation.parse(BIG)] * 3, replicates=10, at_once=4)
    one = size_of(simulation.parse(BIG))
    assert runs == (30 * one.arrivals, pytest.approx(7.5 * one.seconds), 4 * one.bytes)


def test_what_does_not_fit_is_said_to_end_before():
    size = size_of(simulation.parse(BIG))
    assert warning_of(size, left=lambda: 10**13) == str(size)
    assert "of which 8 GB are left: it will be ended before" in warning_of(size, left=lambda: 8 * 10**9)


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        (("run",), ""),
        (("sweep", "--vary", "drain=1s,2s", "--replicates", "5", "--out", "out", "--workers", "1"), "up to 10 runs: "),
        (("compare", "--vary", "drain=1s,2s", "--replicates", "5", "--workers", "1"), "up to 10 runs: "),
        (("tune", "--vary", "drain=1s,2s", "--trials", "2", "--replicates", "5", "--workers", "1"), "up to 10 runs: "),
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_a_command_says_it_before_it_begins_on_standard_error(words, runs, as_json, tmp_path, monkeypatch):
    (tmp_path / "big.yaml").write_text(f"{BIG}expect: [sent_fraction >= 0%]\n")
    begun = []

    def begin(plan):
        begun.append(plan)
        raise too_large(plan.recorder)

    monkeypatch.setattr(runner, "_run_on_simpy", begin)
    options = ("--json",) if as_json else ()
    done = in_process.retrylab(words[0], "big.yaml", *words[1:], *options, cwd=tmp_path)
    arrivals = {"": "600 million arrivals, about 5 hours and 300 GB"}.get(
        runs, "6 billion arrivals, about 2.1 days and"
    )
    assert begun
    assert f"big.yaml: {runs}{arrivals}" in done.stderr
    assert (done.returncode, done.stdout) == (2, "")


def test_a_small_run_says_nothing(tmp_path):
    (tmp_path / "small.yaml").write_text(BIG.replace("30000s", "1s").replace("20000/s", "20/s"))
    done = in_process.retrylab("run", "small.yaml", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["offered"] > 0
