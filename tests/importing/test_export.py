"""Settings of a scenario back in the file of the library that they were imported from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from in_process import retrylab

from simulation.importing.channels import channels_of, scenario_text
from simulation.importing.source import KINDS, Given, SourceFile

TYPESCRIPT = """import { Queue } from 'bullmq';
const LIMIT = 4;
const shared = { attempts: 9, backoff: 20 };
new Queue('mails', { defaultJobOptions: { attempts: 3, backoff: { type: 'exponential', delay: 1_000 } } });
new Queue('texts', { defaultJobOptions: { attempts: LIMIT, backoff: 20 * 1000 } });
new Queue('one', { defaultJobOptions: shared });
new Queue('two', { defaultJobOptions: shared });
"""
RUBY = "class Charge\n  include Sidekiq::Job\n  sidekiq_options retry: 5, queue: 'q'\nend\n"
ELIXIR = "defmodule Charge do\n  use Oban.Worker, max_attempts: 3\nend\n"
PYTHON = (
    "from celery import shared_task\n"
    "@shared_task(autoretry_for=(Exception,), retry_backoff=5, retry_backoff_max=60, max_retries=4)\n"
    "def charge(): ...\n"
)
YAML = "resilience4j.retry:\n  instances:\n    charge:\n      maxAttempts: 4  # three more\n      waitDuration: 500ms\n"


def scenario(kind: str, name: str, text: str, changes: dict[str, str]) -> str:
    """Return the scenario that is imported, with changes of its lines."""
    written = scenario_text(KINDS[kind].read([SourceFile(name, text)], Given()), "s", "1h", "made here")
    for old, new in changes.items():
        assert re.search(rf"{re.escape(old)}(?!\w)", written), (old, written)
        written = re.sub(rf"{re.escape(old)}(?!\w)", new, written, count=1)
    return written


@pytest.mark.parametrize(
    ("kind", "name", "text", "changes", "lines"),
    [
        (
            "bullmq",
            "q.ts",
            TYPESCRIPT,
            {
                "max_attempts: 3": "max_attempts: 6",
                "initial_delay: 1s": "initial_delay: 1.5s",
            },
            {"attempts: 3": "attempts: 6", "1_000": "1_500"},
        ),
        ("oban", "c.ex", ELIXIR, {"max_attempts: 3": "max_attempts: 4"}, {"max_attempts: 3": "max_attempts: 4"}),
        ("sidekiq", "c.rb", RUBY, {"max_attempts: 6": "max_attempts: 11"}, {"retry: 5": "retry: 10"}),
        (
            "celery",
            "c.py",
            PYTHON,
            {
                "max_attempts: 5": "max_attempts: 8",
                "initial_delay: 5s": "initial_delay: 7s",
                "max_delay: 60s": "max_delay: 2m",
            },
            {"max_retries=4": "max_retries=7", "retry_backoff=5": "retry_backoff=7", "_max=60": "_max=120"},
        ),
        (
            "resilience4j",
            "application.yaml",
            YAML,
            {
                "max_attempts: 4": "max_attempts: 7",
                "initial_delay: 0.5s": "initial_delay: 2s",
                "max_delay: 0.5s": "max_delay: 2s",
            },
            {"maxAttempts: 4": "maxAttempts: 7", "500ms": "2000ms"},
        ),
        (
            "resilience4j",
            "application.yaml",
            YAML + "      enableExponentialBackoff: true\n      exponentialBackoffMultiplier: 2\n",
            {"max_attempts: 4": "max_attempts: 7"},
            {"maxAttempts: 4": "maxAttempts: 7"},
        ),
    ],
    ids=["bullmq", "oban", "sidekiq", "celery", "resilience4j", "exponential"],
)
def test_what_was_imported_exported_and_imported_is_the_same(
    tmp_path: Path, kind: str, name: str, text: str, changes: dict[str, str], lines: dict[str, str]
) -> None:
    into, wanted = tmp_path / name, tmp_path / "s.yaml"
    into.write_bytes(text.replace("\n", "\r\n").encode())
    wanted.write_text(scenario(kind, name, text, changes))
    done = retrylab("export", "s.yaml", "--as", kind, "--into", name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"--- {name}")
    assert into.read_bytes().decode() == text.replace("\n", "\r\n")  # nothing is written unless it is asked for
    assert retrylab("export", "s.yaml", "--as", kind, "--into", name, "--write", cwd=tmp_path).returncode == 0
    expected = text
    for old, new in lines.items():
        expected = expected.replace(old, new, 1)
    assert into.read_bytes().decode() == expected.replace("\n", "\r\n")
    again = channels_of(KINDS[kind].read([SourceFile(name, expected)], Given()))
    first: Any = channels_of(KINDS[kind].read([SourceFile(name, text)], Given()))
    assert again.keys() == first.keys()
    done = retrylab("export", "s.yaml", "--as", kind, "--into", name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("kind", "text", "changes", "problem"),
    [
        (
            "bullmq",
            TYPESCRIPT,
            {"max_attempts: 4": "max_attempts: 5"},
            "q:5: wanted one number to replace: attempts: LIMIT",
        ),
        (
            "bullmq",
            TYPESCRIPT,
            {"initial_delay: 20s": "initial_delay: 30s"},
            "one number to replace: backoff: 20 * 1000",
        ),
        ("bullmq", TYPESCRIPT, {"max_attempts: 9": "max_attempts: 8"}, "q:3: attempts: 9 is of two too"),
        (
            "bullmq",
            TYPESCRIPT,
            {"max_delay: 3155760000s": "max_delay: 24s"},
            "mails.retry.max_delay: wanted 24.0: no line of q",
        ),
        ("sidekiq", RUBY, {"power: 4": "power: 3"}, "no line of q gives it"),
        (
            "sidekiq",
            RUBY,
            {"{channel: charge": "{channel: other", "charge:": "other:"},
            "wanted a channel of a policy in q: charge; got other",
        ),
        ("oban", ELIXIR, {"plus: 15s": "plus: 20s"}, "no line of q gives it"),
        ("oban", ELIXIR, {"max_attempts: 3": "max_attempts: 30"}, "no line of q gives it"),
    ],
)
def test_what_stands_elsewhere_is_refused(
    tmp_path: Path, kind: str, text: str, changes: dict[str, str], problem: str
) -> None:
    (tmp_path / "q").write_text(text)
    (tmp_path / "s.yaml").write_text(scenario(kind, "q", text, changes))
    done = retrylab("export", "s.yaml", "--as", kind, "--into", "q", "--write", cwd=tmp_path)
    assert done.returncode == 2
    assert problem in done.stderr
    assert (tmp_path / "q").read_text() == text
