"""The services of these tests as processes of their own: what they say, a line each, and how they end."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 900


class Life:
    """One process of a service, which may be killed."""

    def __init__(self, service: str, *arguments: object) -> None:
        script = Path(__file__).with_name(f"{service}_service.py")
        argv = [sys.executable, str(script), *map(str, arguments)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self.was_killed = False
        self._has_ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            if line.endswith("\n"):  # else it was killed in the midst of it
                with self._news:
                    self.lines.append(line[:-1])
                    self._news.notify_all()
        with self._news:
            self._has_ended = True
            self._news.notify_all()

    def said(self, word: str) -> list[str]:
        """Return what followed a word, each time that it was said."""
        return [line.partition(" ")[2] for line in list(self.lines) if line.partition(" ")[0] == word]

    def wait_until(self, holds: Callable[[], object]) -> None:
        """Wait until it has said enough; it may not end by itself before that."""
        with self._news:
            assert self._news.wait_for(lambda: self._has_ended or holds(), PATIENCE_S)
        assert holds(), f"it has ended by itself: {self.lines[-3:]}"

    def heard(self, word: str) -> str:
        """Wait until it says a word, and return what follows."""
        self.wait_until(lambda: self.said(word))
        return self.said(word)[0]

    def kill(self) -> None:
        self.was_killed = True
        self._process.kill()
        self._ended(-9)

    def end(self) -> None:
        """Close its standard input, which ends it once it has done all."""
        self._process.stdin.close()
        self._ended(0)

    def _ended(self, code: int) -> None:
        assert self._process.wait(PATIENCE_S) == code
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()


@contextmanager
def killed(service: str, *arguments: object) -> Iterator[Life]:
    """Run a service, and kill it at the end of the block."""
    life = Life(service, *arguments)
    try:
        yield life
    finally:
        life.kill()
