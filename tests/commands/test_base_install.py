"""What works with the base dependencies alone, in a process in which nothing else can be imported."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from simulation.commands import names

ROOT = Path(__file__).parents[2]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_SIMULATE = ("rich", "simpy", "typer")
OF_THE_LAB = ("matplotlib", "numpy", "optuna", "pandas", "pyarrow", "scipy")
OF_OTHER_EXTRAS = ("cryptography", "distributed", "h11", "http_ece", "httpx2", "prometheus_client", "psycopg")

ALONE = f"""\
import sys

class NotInstalled:
    names = {(*OF_SIMULATE, *OF_THE_LAB, *OF_OTHER_EXTRAS, "py_vapid", "starlette", "opentelemetry")!r}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""

NOTIFIER = """\
import trio
from actors import Foreseen, Notifier, SendNotification, Sent, SqliteStore
from actors.domain.attempts import Provider

class Mine(Provider):
    def attempt(self, attempt, now_ns):
        return Foreseen(0, Sent())

async def main():
    async with SqliteStore.open(sys.argv[1]) as store:
        async with Notifier.open({"channels": {"email": {}}}, providers=Mine(), store=store) as notifier:
            await notifier.send(
                SendNotification(notification_id="1", channel="email", recipient="ann@example.com", message="hi")
            )
            await notifier.wait_until_quiet()
            print(len(notifier.sent_notifications))

trio.run(main)
"""

MAIN = """\
import importlib.util
from simulation.commands import names

def find_spec(name, found=importlib.util.find_spec):
    return None if name in NotInstalled.names else found(name)

names.find_spec = find_spec
from simulation.commands.cli import main
main()
"""


def ended(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", ALONE + code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_the_base_dependencies_are_those_of_a_service():
    names = [line.split(">")[0] for line in PACKAGES["dependencies"]]
    assert names == ["jinja2", "msgspec", "pydantic", "pykka", "pyyaml", "sniffio", "trio", "tzdata"]
    extras = PACKAGES["optional-dependencies"]
    parsers = ("tree-sitter", "tree-sitter-elixir", "tree-sitter-ruby", "tree-sitter-typescript")
    assert sorted(line.split(">")[0] for line in extras["simulate"]) == sorted((*OF_SIMULATE, *parsers))
    assert [line.split(">")[0] for line in extras["lab"]] == ["retrylab[simulate]", *OF_THE_LAB]


def test_a_notifier_on_sqlite_sends_through_a_provider_of_ones_own(tmp_path):
    assert ended(NOTIFIER, tmp_path / "store.db") == (0, "1\n", "")


FACE = """\
import actors
for name in dir(actors):
    try:
        getattr(actors, name)
    except ModuleNotFoundError as error:
        print(name, error)
"""


def test_every_name_of_the_face_is_there_or_says_which_extra_it_needs():
    code, printed, problems = ended(FACE)
    assert (code, problems) == (0, "")
    wanted = re.compile(r"\w+ wanted the extra (live|postgres|service): pip install 'retrylab\[\1\]', got no \w+")
    assert [line for line in printed.splitlines() if not wanted.fullmatch(line)] == []
    assert not re.search("^(Notifier|SqliteStore|Provider) ", printed, re.MULTILINE)


def test_the_version_is_known():
    assert ended(MAIN, "--version") == (0, f"retrylab {PACKAGES['version']}\n", "")


NEEDS = {
    "run": ("rich", "simulate"),
    "tune": ("rich", "lab"),
    "serve": ("rich", "service"),
    "studio": ("rich", "studio"),
    "dlq": ("rich", "service"),
    None: ("rich", "simulate"),
}


def test_a_command_whose_extra_is_missing_says_so_in_a_line(monkeypatch):
    monkeypatch.setattr(names, "find_spec", lambda package: None)
    for name, (package, extra) in NEEDS.items():
        command = "retrylab" if name is None else f"retrylab {name}"
        said = f"{command} needs {package}, of the extra {extra}: pip install 'retrylab[{extra}]'"
        assert names.missing(name) == said


@pytest.mark.parametrize("arguments", [("run", "outage.yaml"), ("rum",)])
def test_such_a_command_ends_as_on_bad_input(arguments):
    code, out, said = ended(MAIN, *arguments)
    assert (code, out) == (2, "")
    assert said.endswith("needs rich, of the extra simulate: pip install 'retrylab[simulate]'\n")


WITH_SIMULATE = f"""\
NotInstalled.names = set(NotInstalled.names) - {set(OF_SIMULATE)!r}
import contextlib, io
from importlib import import_module, util
import simulation
from simulation.commands import app, names
found = util.find_spec
names.find_spec = util.find_spec = lambda name: None if name in NotInstalled.names else found(name)
path, *lines = sys.argv[1:]
for line in lines:
    name, *arguments = line.split()
    said = names.missing(name)
    if said is None:
        out, problems = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(problems):
            try:
                app.application([name])([name, *arguments])
            except SystemExit as end:
                said = f"exit {{end.code}}: {{problems.getvalue().strip() or out.getvalue()[:1]}}"
            except ModuleNotFoundError as error:
                said = names.missing_module(name, error)
    print(line.replace(" " + path, ""), "->", said)
result = simulation.run(path, sets=["record=full", "expect=[sent < 1]"])
from simulation.reporting.expectation_report import failure_text
print(*failure_text(result, result.scenario.expect[0], 99.0)[::6], sep="\\n")
for name in ("attempts", "series"):
    try:
        getattr(result, name)
    except ModuleNotFoundError as error:
        print(error)
try:
    simulation.plots
except ModuleNotFoundError as error:
    print(error)
"""
SHORT = """\
name: short
duration: 2s
workload: [{channel: email, arrivals: {poisson: 2/s}}]
channels: {email: {retry: {max_attempts: 2}, provider: {latency: 80ms}}}
"""
LACKING = "needs matplotlib, of the extra lab: pip install 'retrylab[lab]'"
OF_WORLD = "needs h11, of the extra world: pip install 'retrylab[world]'"
SAID = f"""\
run -> exit 0: s
run --check -> exit 0: s
run --out out -> exit 2: retrylab run --out {LACKING}
run --replicates 3 -> exit 2: retrylab run --replicates {LACKING}
run --service shop:main -> exit 2: retrylab run --service {OF_WORLD}
explore --service shop:main -> exit 2: retrylab explore --service {OF_WORLD}
lint -> exit 0:
explain --workers 1 -> exit 0: s
explain --out a.png -> exit 2: retrylab explain --out {LACKING}
run --annotate github --markdown - -> exit 0: #
explore --seeds 1 -> exit 1: s
limits --of latency --workers 1 -> exit 0: H
schema -> exit 0: {{
plot -> retrylab plot {LACKING}
validate -> retrylab validate {LACKING}
sent < 1 does not hold
its course   wanted the extra lab: pip install 'retrylab[lab]', got no numpy
wanted the extra lab: pip install 'retrylab[lab]', got no pandas
wanted the extra lab: pip install 'retrylab[lab]', got no pandas
wanted the extra lab: pip install 'retrylab[lab]', got no numpy
"""


@pytest.mark.integration
def test_with_simulate_alone_a_command_works_or_says_what_to_install(tmp_path):
    lines = [line.partition(" ->")[0] for line in SAID.splitlines() if " -> " in line]
    path = tmp_path / "short.yaml"
    path.write_text(SHORT)
    code, printed, problems = ended(
        WITH_SIMULATE, path, *(line if line == "schema" else f"{line} {path}" for line in lines)
    )
    assert (code, problems) == (0, "")
    assert [line.rstrip() for line in printed.splitlines()] == SAID.splitlines()


OF_STUDIO = ("h11", "starlette")
STUDIO = f"""\
NotInstalled.names = set(NotInstalled.names) - {{*{OF_SIMULATE + OF_THE_LAB!r}, *{OF_STUDIO!r}}}
from simulation.studio import comparing, ranking, searching, server, worker
print(all(server._file_of(name) for name in server._STATIC))
"""


@pytest.mark.thorough
def test_studio_and_the_files_of_its_pages_need_its_own_extra_alone():
    of_the_extra = PACKAGES["optional-dependencies"]["studio"]
    assert sorted(line.split(">")[0] for line in of_the_extra) == [*OF_STUDIO[:1], "retrylab[lab]", *OF_STUDIO[1:]]
    assert ended(STUDIO) == (0, "True\n", "")
