"""`retrylab run --replicates`: expectations of a share of runs, as a person or a CI job meets them."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import in_process
import pytest
from scenario_tables import written
from undrawn import undrawn

FATES = """\
name: fates
duration: 1s
workload: [{channel: email, arrivals: {times: [0s]}}]
channels:
  email: {retry: {max_attempts: 1}, circuit_breaker: {enabled: false}, provider: {failure_rate: FAILURE_RATE}}
expect:
  - {that: sent == 1, in: 80% of runs}
"""


@pytest.fixture(autouse=True)
def _in_words() -> Iterator[None]:
    with undrawn(words=True):
        yield


file = written("fates.yaml", FATES.replace("FAILURE_RATE", "0%"))


@pytest.fixture
def retrylab(tmp_path: Path) -> partial:
    return partial(in_process.retrylab, cwd=tmp_path)


FAILING = ("--set", "channels.email.provider.failure_rate=100%")


def test_without_replicates_it_is_undecided_which_is_said_and_exits_0(retrylab: partial, file: Path) -> None:
    done = retrylab("run", file)
    assert done.returncode == 0
    line = "undecided  sent == 1 in 80% of runs  is 1; undecided by one run: it takes --replicates 14 or more"
    assert line in done.stdout
    assert retrylab("run", file, *FAILING).returncode == 0


def test_it_stops_when_it_is_decided_and_says_after_how_many_runs(retrylab: partial, file: Path) -> None:
    done = retrylab("run", file, "--replicates", 100, "--workers", 1)
    assert done.returncode == 0
    assert "holds  sent == 1 in 80% of runs  is 1; held in 14 of 14 runs, so in 80.74% to 100% of all" in done.stdout
    done = retrylab("run", file, "--replicates", 100, "--workers", 1, *FAILING)
    assert done.returncode == 1
    assert "FAILS  sent == 1 in 80% of runs  is 0, 1 short; held in 0 of 3 runs" in done.stdout
    done = retrylab("run", file, "--replicates", 13, "--workers", 1)
    assert done.returncode == 0
    assert "undecided  sent == 1 in 80% of runs  is 1; held in 13 of 13 runs" in done.stdout


def test_an_expectation_of_every_run_fails_by_the_first_seed(retrylab: partial, file: Path) -> None:
    words = ("run", file, *FAILING, "--set", "expect=[sent == 1]", "--replicates", 4, "--workers", 1)
    done = retrylab(*words)
    assert done.returncode == 1
    assert "FAILS  sent == 1  is 0, 1 short; held in 0 of 4 runs, so in 0% to 52.71% of all" in done.stdout


def test_json_and_the_saved_summary_and_report_have_the_decision(retrylab: partial, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = retrylab("run", file, "--replicates", 50, "--workers", 1, "--json", "--out", out, "--check")
    (entry,) = json.loads(done.stdout)["expectations"]
    assert {key: entry[key] for key in ("text", "value", "holds", "runs", "held")} == {
        "text": "sent == 1 in 80% of runs", "value": 1, "holds": True, "runs": 14, "held": 14,
    }  # fmt: skip
    assert json.loads(done.stdout)["replicates"] == {"runs": 14, "at_most": 50, "seeds": [0, 13]}
    assert json.loads((out / "summary.json").read_text()) == json.loads(done.stdout)
    assert "held in 14 of 14 runs" in (out / "report.html").read_text()


def test_the_report_of_one_run_says_that_it_is_undecided(retrylab: partial, file: Path, tmp_path: Path) -> None:
    assert retrylab("run", file, "--out", tmp_path / "out").returncode == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 of 1 expectation is undecided; none fails." in page
    assert '<span class="state off">undecided</span>' in page


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--workers", 2), "--workers 2: wanted it with --replicates, to share the runs"),
        (
            ("--replicates", 2, "--seed", 2**63 - 1),
            "seed: wanted one below 2^63 in every replicate, got 9223372036854775807",
        ),
    ],
)
def test_what_cannot_be_is_bad_input(words: tuple[object, ...], problem: str, retrylab: partial, file: Path) -> None:
    done = retrylab("run", file, *words)
    assert done.returncode == 2
    assert problem in " ".join(done.stderr.split())
