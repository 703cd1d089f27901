"""What the README and the guides show runs, and says what they say it says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from console_command import app
from documents import blocks, text_of
from effort import examples, sliced
from hypothesis import settings
from in_process import retrylab
from typer.testing import CliRunner

from actors import NotificationService, Notifier, SendNotification
from simulation import limits
from simulation.scenario import load, parse

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README", "scenarios", "experiments", "fitting", "testing", "notebooks", "embedding")
PRINTS = ("open_result", "critical_first", "Notifier.open")
"""What is in the blocks whose output has a test of its own."""

PYTHON = [
    (name, number)
    for name in DOCUMENTS
    for number, code in enumerate(blocks(name, "python"))
    if not any(word in code for word in PRINTS)
]


def in_a_process(code, folder=ROOT):
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_first_shell_block_holds_the_two_commands():
    main_job, tests = blocks("README", "sh")[0].splitlines()
    assert main_job.endswith("retrylab run scenarios/provider-outage.yaml")
    assert tests.endswith("-m pytest -n auto")
    for command in (main_job, tests):
        assert command.startswith("python3 -m venv ")
        assert " install " in command


def test_the_output_shown_is_that_of_the_command():
    shown = blocks("README", "text")[0].splitlines()
    printed = retrylab("run", "scenarios/provider-outage.yaml", cwd=ROOT).stdout
    assert [line.rstrip() for line in printed.splitlines()] == [line.rstrip() for line in shown]


@pytest.mark.integration
@pytest.mark.slow
def test_the_exploration_shown_is_that_of_the_command_but_for_its_counts():
    (command,) = (block.split() for block in blocks("testing", "sh") if block.startswith("retrylab explore"))
    (shown,) = (block for block in blocks("testing", "text") if "no case broke" in block)
    code = "from simulation.commands.cli import main; main()"
    words = [sys.executable, "-c", code, *command[1:], "--workers", "1"]
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    def without_counts(text):
        return [re.sub(r"[\d,]+", "#", line).split() for line in text.splitlines()]

    assert without_counts(printed) == without_counts(shown)


@pytest.mark.thorough
def test_the_limit_shown_is_that_of_the_scenario_shown():
    (line,) = (line for line in text_of("README").splitlines() if line.startswith("retrylab limits"))
    found = limits(ROOT / "scenarios" / "provider-outage.yaml", ["outage"], on=["email"])
    assert found.in_words(found.edges[0]) == f"email.outage: {line.partition('# ')[2]}"


@pytest.mark.thorough
@pytest.mark.integration
def test_the_sweep_shown_prints_what_it_says(tmp_path):
    (block,) = (block for block in blocks("experiments", "sh") if block.startswith("retrylab sweep"))
    (shown,) = (block for block in blocks("experiments", "text") if "cells on the same seeds" in block)
    _, *words = shlex.split(block.replace("\\\n", "").replace("scenarios/", f"{ROOT}/scenarios/"))
    code = "from simulation.commands.cli import main; main()"
    command = [sys.executable, "-c", code, *words, "--workers", "1"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert [line.rstrip() for line in printed.splitlines()] == shown.splitlines()
    assert (tmp_path / "out" / "push" / "cells.parquet").exists()


@pytest.mark.thorough
def test_the_log_shown_is_fitted_and_replayed_as_shown(tmp_path):
    (commands,) = (block.splitlines() for block in blocks("fitting", "sh") if "retrylab fit" in block)
    (shown,) = (block for block in blocks("fitting", "text") if "95% interval" in block)
    printed = []
    for command in commands:
        words = [str(tmp_path / word) if word in ("recorded", "calibrated.yaml") else word for word in command.split()]
        done = CliRunner().invoke(
            app, [str(ROOT / word) if word.startswith("scenarios/") else word for word in words[1:]]
        )
        assert done.exit_code == 0, done.output
        printed.append([line.rstrip() for line in done.stdout.splitlines()])
    run, fitted, replayed = printed
    assert fitted[:-1] == shown.splitlines()
    assert fitted[-1] == f"written to {tmp_path / 'calibrated.yaml'}"
    assert (load(tmp_path / "calibrated.yaml").faults[0].outage, run[0][:15]) == (True, "provider-outage")
    assert any(line.startswith("A replay cannot know") for line in replayed)


def test_the_property_shown_holds():
    (code,) = (block for block in blocks("testing", "python") if "strategies.scenarios" in block)
    shown = {}
    exec(code, shown)
    settings(max_examples=examples(20), deadline=None)(shown["test_whatever_goes_wrong_few_are_dead_lettered"])()


def test_the_scenario_shown_is_a_scenario():
    for name in ("README", "scenarios"):
        (text,) = (block for block in blocks(name, "yaml") if block.startswith("name: "))
        assert parse(text, f"{name}.md").expect


@pytest.mark.integration
@pytest.mark.parametrize(("name", "number"), sliced(PYTHON, 22, first=5))
def test_the_python_code_runs(name, number, tmp_path):
    in_a_process(blocks(name, "python")[number].replace('"scenarios/', f'"{ROOT}/scenarios/'), tmp_path)


@pytest.mark.thorough
@pytest.mark.integration
def test_a_saved_result_has_it_all_again(tmp_path):
    (code,) = (block for block in blocks("notebooks", "python") if "open_result" in block)
    assert in_a_process(code.replace('"scenarios/', f'"{ROOT}/scenarios/'), tmp_path) == "True True\n"
    assert (tmp_path / "out" / "calm" / "report.html").exists()


@pytest.mark.thorough
@pytest.mark.integration
def test_the_case_of_ones_own_holds():
    (code,) = blocks("validation", "python")
    assert in_a_process(code) == "True\nTrue\n"


def test_the_readme_can_be_read():
    lines = text_of("README").splitlines()
    assert len(lines) <= 200
    assert any(line.startswith("![") for line in lines[:60])


@pytest.mark.thorough
@pytest.mark.integration
def test_critical_notifications_gain_and_the_others_pay_where_it_is_shown():
    (code,) = (block for block in blocks("notebooks", "python") if "critical_first" in block)
    p99 = dict(line.split() for line in in_a_process(code).splitlines())
    before = dict(line.split() for line in in_a_process(code.replace("critical_first", "fifo")).splitlines())
    assert float(p99["critical"]) < 1 < float(before["critical"])
    assert float(before["normal"]) < float(p99["normal"])


def shared(words):
    """Return the one code that the README and the guide to services both show."""
    (code,) = {block for name in ("README", "embedding") for block in blocks(name, "python") if words in block}
    return code


def test_the_service_shown_sends_what_it_says():
    code = shared("Notifier.open")
    assert in_a_process(code) == (
        "['email-user-registered-ann', 'email-order-placed-17', 'sms-order-placed-17'] 1\n"
    )  # fmt: skip


async def test_the_redrive_shown_sends_what_was_dead_lettered_for_that_reason(autojump_clock, nursery, capsys):
    (code,) = (block for block in blocks("embedding", "python") if "DeadLetters" in block)
    shown = {}
    exec(code, shown)
    config = {"channels": {"email": {"circuit_breaker": {"enabled": False}, "retry": {"max_attempts": 3}}}}
    async with Notifier.open(config, providers=NotificationService(fail_count=6)) as notifier:
        for name in ("ann", "bob"):
            await notifier.send(
                SendNotification(notification_id=name, channel="email", recipient=f"{name}@example.com", message="Hi")
            )
        await notifier.wait_until_quiet()
        assert len(notifier.dead_letter_queue) == 2
        await shown["redrive"](notifier, nursery, "no such mailbox")
        assert (len(notifier.dead_letter_queue), capsys.readouterr().out) == (2, "")
        await shown["redrive"](notifier, nursery, "injected")
    assert sorted(sent.notification_id for sent in notifier.sent_notifications) == ["ann", "bob"]
    assert notifier.dead_letter_queue == []
    assert capsys.readouterr().out.startswith("ann injected failure 3 [datetime.datetime(")


def test_the_commands_of_a_live_service_are_such_as_there_are():
    (block,) = (block for block in blocks("embedding", "sh") if block.startswith("retrylab serve"))
    for line in block.splitlines():
        _, *words = shlex.split(line, comments=True)
        run_result = CliRunner().invoke(app, [*words, "--help"])
        assert run_result.exit_code == 0, run_result.output


async def test_the_pause_shown_sends_nothing_until_it_is_over(autojump_clock):
    (code,) = (block for block in blocks("embedding", "python") if "operate_breaker" in block)
    shown = {}
    exec(code, shown)
    async with Notifier.open({"channels": {"email": {}}}, providers=NotificationService()) as notifier:

        async def repair():
            await notifier.send(
                SendNotification(notification_id="ann", channel="email", recipient="ann@example.com", message="Hi")
            )
            assert not await notifier.wait_until_quiet(3600)
            assert notifier.sent_notifications == []

        await shown["pause"](notifier, repair)
        assert await notifier.wait_until_quiet(60)
    assert [sent.notification_id for sent in notifier.sent_notifications] == ["ann"]


def test_the_embedding_is_ten_lines_of_trio_code():
    code = shared("Notifier.open")
    body = code[code.index("async def main") :].splitlines()
    assert len([line for line in body if line.strip()]) <= 13
