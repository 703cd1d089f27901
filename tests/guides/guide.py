"""Guides as tests: the files that one shows are written, and the commands that it shows are run by a real shell.

A code block behind a line that ends in the name of a file is that file. A block of the language `console` is a session:
lines with ``$`` are commands, those with ``>`` go on with them, and the others are what is printed. There, ``…`` stands
for any text, and one time of day is as good as another. Ports are exchanged for free ones.

What a command starts may print later, so what it prints is waited for. A command that only looks is repeated until it
shows what the guide shows.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PATIENCE = 60.0
"""Seconds to wait for what a guide says is printed, on a busy machine."""

_FILE = re.compile(r"`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SESSION = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"(?<=127\.0\.0\.1:)\d+|(?<=\"port\": )\d+|(?<=port: )\d+")
_LOOKS = re.compile(r"(curl -s (?!.* -d )|grep |retrylab dlq (list|groups|show|audit))")


class Step(NamedTuple):
    command: str
    printed: str

    def is_printed(self, text: str) -> bool:
        """Tell whether this text is what the guide shows."""
        shown = re.split("(…)", _as_compared(self.printed))
        pattern = "".join(".*" if part == "…" else re.escape(part) for part in shown)
        return re.fullmatch(pattern, _as_compared(text), re.DOTALL) is not None


def _as_compared(text: str) -> str:
    """Return a text without times of day, spaces at the ends of lines, and what the shell says of what was killed."""
    text = re.sub(r"^bash: line \d+: +\d+ Killed .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "a time", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


class Guide:
    """A guide, with ports that are free."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        ports = sorted(set(_PORT.findall(text)))
        for port, free in zip(ports, free_ports(len(ports)), strict=True):
            text = re.sub(rf"\b{port}\b", str(free), text)
        self.text = text

    @property
    def files(self) -> dict[str, str]:
        return dict(_FILE.findall(self.text))

    def steps(self) -> Iterator[Step]:
        """Iterate over the commands."""
        for session in _SESSION.findall(self.text):
            for step in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
                command, printed = re.fullmatch(r"(.*?\n(?:> .*?\n)*)(.*)", step, re.DOTALL).groups()
                yield Step(command.replace("\n> ", "\n").rstrip("\n"), printed)

    def run(self, directory: Path, **environment: str) -> None:
        """Do in `directory` what the guide says, and check that everything is as it says."""
        for name, content in self.files.items():
            file = directory / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(content, encoding="utf-8")
        with Shell(directory, environment) as shell:
            for step in self.steps():
                shell.check(step)


class Shell:
    """A bash that runs one command after the other, and all that was started in it."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=directory,
            env=os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "110"} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._printed: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._transcript = ""
        self._ends = 0.0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while chunk := os.read(self._bash.stdout.fileno(), 65536):
            self._printed.put(chunk)

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.wait()
        self._reader.join()
        self._bash.stdin.close()
        self._bash.stdout.close()

    def check(self, step: Step) -> None:
        """Run a command; it has to print what the guide says."""
        self._ends = time.monotonic() + PATIENCE
        text = self._run(step.command)
        while not step.is_printed(text):
            if _LOOKS.match(step.command):
                time.sleep(0.1)
                text = self._run(step.command)
            else:
                text += self._more(step.command)

    def _run(self, command: str) -> str:
        done = f"done {time.monotonic_ns()}"
        self._bash.stdin.write(f"{command}\necho {done}\n".encode())
        self._bash.stdin.flush()
        self._transcript += f"$ {command}\n"
        text = ""
        while f"{done}\n" not in text:
            text += self._more(command)
        return text.replace(f"{done}\n", "")

    def _more(self, command: str) -> str:
        try:
            text = self._printed.get(timeout=max(0.0, self._ends - time.monotonic())).decode()
        except queue.Empty:
            raise AssertionError(f"not what the guide shows: {command}\n{self._transcript[-5000:]}") from None
        self._transcript += text
        return text


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
