"""What the guide shows of tuning is so."""

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from console_command import app
from documents import text_of
from typer.testing import CliRunner

import simulation
from simulation.scenario import load

ROOT = Path(__file__).parents[2]
GUIDE = text_of("experiments")
COMMAND, SHOWN = re.search(r"^```sh\n(retrylab tune .*?)```\n\n```text\n(.*?)```", GUIDE, re.M | re.S).groups()
WORDS = shlex.split(COMMAND.replace("\\\n", " "))[1:]


def options(name):
    return [value for word, value in itertools.pairwise(WORDS) if word == name]


@pytest.mark.thorough
def test_the_setting_shown_meets_with_other_seeds_what_the_file_s_own_misses():
    path, sets = ROOT / WORDS[1], options("--set")
    found = dict(re.findall(r"^  (\S+) +(\S+) +was", SHOWN, re.M))
    assert list(found) == [text.partition("=")[0] for text in options("--vary")]
    chosen = [f"{key}={value}" for key, value in found.items()]
    assert simulation.run(path, seed=12_345, sets=[*sets, *chosen]).holds
    assert not simulation.run(path, seed=12_345, sets=sets).holds
    expected = [expectation.text for expectation in load(path, sets=sets).expect]
    assert [line.split("  ")[0] for line in SHOWN.splitlines() if re.match(r"[a-z_.0-9]+ <= ", line)] == expected


@pytest.mark.thorough
def test_the_command_shown_prints_what_has_the_shape_shown():
    # The same search of a far shorter run without an outage, for which the file's own attempts do not do either.
    sets = ("duration=40s", "faults=[]", "channels.push.provider.failure_rate=20%", "expect=[dead_lettered <= 0]")
    shorter = [word for text in sets for word in ("--set", text)]
    printed = CliRunner().invoke(app, [*WORDS, *shorter, "--trials", "8", "--probability", "50%", "--workers", "1"])
    assert printed.exit_code == 0, printed.output

    def shape(text):
        lines = [re.sub(r"[\d,.]+", "#", line).split("  ")[0] for line in text.splitlines()]
        return [
            line
            for line in lines
            if line.startswith(("provider-outage", "requests", "  channels", "confirmed", "what", "±"))
        ]

    assert shape(printed.output) == shape(SHOWN)


@pytest.mark.integration
@pytest.mark.slow
def test_the_output_shown_is_that_of_the_command():
    code = "from simulation.commands.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *WORDS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.rstrip() for line in done.stdout.splitlines()] == SHOWN.splitlines()
