"""The help of every command: complete in a terminal of the usual width, in lines of its own."""

import re
import runpy
import sys

import pytest
from console_command import app
from each_row import over_each
from typer.main import get_command
from typer.testing import CliRunner


def commands(group, *names):
    yield names
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *names, name)


def help_of(*names, columns):
    done = CliRunner().invoke(app, [*names, "--help"], env={"COLUMNS": str(columns)})
    assert done.exit_code == 0
    return done.stdout


@over_each((names,) for names in commands(get_command(app)))
def test_nothing_is_cut_off_in_eighty_columns(names):
    assert re.findall(r".*\S….*", help_of(*names, columns=80)) == []


@pytest.mark.parametrize("name", ["explore", "sweep", "tune"])
def test_paragraphs_are_broken_where_the_terminal_ends(name):
    printed = get_command(app).commands[name].help.split("\n\n")
    lines = [line.strip() for line in help_of(name, columns=1000).splitlines()]
    assert all(" ".join(paragraph.split()) in lines for paragraph in printed)


def test_python_runs_the_package_as_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["simulation", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("simulation", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("retrylab ")
