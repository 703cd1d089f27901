"""The linter's notes on defaults that may decide, before the run."""

import json
from functools import partial
from pathlib import Path

import in_process
import pytest
from beside import tables

from simulation.scenario import parse
from simulation.scenario.unnamed import default_notes

HEAD = "duration: 10m\nworkload: [{channel: email, arrivals: {constant: 10/s}}]\n"
BREAKER = (
    "channels.email.circuit_breaker: is not in the file: by default 5 failures in a row open it, for 60s, and what "
    "comes meanwhile waits"
)
ATTEMPTS = (
    "channels.email.retry.max_attempts: is not in the file: by default 3 attempts, the first included, then the dead "
    "letter queue"
)


@pytest.mark.parametrize(("text", "notes"), tables(__file__)["notes"])
def test_a_default_is_noted_where_the_file_says_that_it_will_decide(text, notes):
    assert sorted(map(str, default_notes(parse(HEAD + text)))) == sorted(notes)


def test_a_breaker_of_a_webhook_is_one_for_each_host():
    text = HEAD.replace("email", "webhook") + "faults: [{channel: webhook, at: 1m, for: 1m, outage: true}]"
    assert "open it for each host, for 60s" in str(default_notes(parse(text))[0])


def test_lint_prints_notes_and_fails_for_none(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(HEAD + "faults: [{channel: email, at: 1m, for: 1m, outage: true}]\n")
    lint = partial(in_process.retrylab, "lint", "a.yaml", cwd=tmp_path)
    done = lint()
    assert done.returncode == 0
    assert done.stdout.splitlines() == [f"note: a.yaml:1:1: {text}" for text in (BREAKER, ATTEMPTS)]
    assert {each["rule"] for each in json.loads(lint("--json").stdout)} == {"default-decides"}
    annotated = lint("--annotate", "github")
    assert annotated.returncode == 0
    assert (annotated.stdout + annotated.stderr).count("::notice ") == 2
