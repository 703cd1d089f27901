"""What works with the base dependencies alone, in a process in which nothing else can be imported."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_THE_LAB = ("matplotlib", "numpy", "optuna", "pandas", "pyarrow", "rich", "scipy", "simpy", "typer")
OF_OTHER_EXTRAS = ("cryptography", "distributed", "h11", "http_ece", "httpx2", "prometheus_client", "psycopg")

ALONE = f"""\
import sys

class NotInstalled:
    names = {(*OF_THE_LAB, *OF_OTHER_EXTRAS, "py_vapid", "starlette", "opentelemetry")!r}

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
    assert sorted(line.split(">")[0] for line in PACKAGES["optional-dependencies"]["lab"]) == sorted(OF_THE_LAB)


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


@pytest.mark.parametrize(
    ("arguments", "what", "extra"),
    [
        (("run", "outage.yaml"), "retrylab run", "lab"),
        (("tune", "--help"), "retrylab tune", "lab"),
        (("serve", "service.yaml"), "retrylab serve", "service"),
        (("studio",), "retrylab studio", "studio"),
        (("dlq", "list"), "retrylab dlq", "service"),
        (("--help",), "retrylab", "lab"),
        (("rum",), "retrylab", "lab"),
        ((), "retrylab", "lab"),
    ],
)
def test_a_command_whose_extra_is_missing_says_so_in_a_line(arguments, what, extra):
    said = f"{what} needs the extra {extra}: pip install 'retrylab[{extra}]'\n"
    assert ended(MAIN, *arguments) == (2, "", said)


OF_STUDIO = ("h11", "starlette")
STUDIO = f"""\
NotInstalled.names = set(NotInstalled.names) - {{*{OF_THE_LAB!r}, *{OF_STUDIO!r}}}
from simulation.studio import comparing, ranking, searching, server, worker
print(all(server._file_of(name) for name in server._STATIC))
"""


def test_studio_and_the_files_of_its_pages_need_its_own_extra_alone():
    of_the_extra = PACKAGES["optional-dependencies"]["studio"]
    assert sorted(line.split(">")[0] for line in of_the_extra) == [*OF_STUDIO[:1], "retrylab[lab]", *OF_STUDIO[1:]]
    assert ended(STUDIO) == (0, "True\n", "")
