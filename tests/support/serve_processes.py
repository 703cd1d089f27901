"""``retrylab serve`` as a process, and what gets its webhooks."""

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from served import SHOP

SERVE = [sys.executable, "-c", "from simulation.commands.cli import main; main()", "serve"]
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
T = TypeVar("T")
WAIT_S = 60.0
"""For anything to happen on a busy machine."""


def until(holds: Callable[[], T]) -> T:
    end = time.monotonic() + WAIT_S
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


class Process:
    """The service as a process; its log is read as it comes."""

    def __init__(self, config: Path, *options: str, reads_url: bool = True) -> None:
        self.lines: list[dict[str, Any]] = []
        """What it has logged."""
        argv = [*SERVE, str(config), *options]
        self.popen = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.popen.stdout is not None
        self.said = self.popen.stdout.readline() if reads_url else ""
        self.port = urlsplit(self.said.split()[-1]).port if self.said else None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            if line.startswith("{") and line.endswith("}\n"):
                self.lines.append(json.loads(line))

    def ask(self, method: str, path: str, content: Any = None, token: str = SHOP) -> tuple[int, Any]:
        """Ask something, and return the code and what is answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            body = None if content is None else json.dumps(content)
            connection.request(method, path, body, {"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            text = response.read().decode()
            return response.status, json.loads(text) if text.startswith(("{", "[")) else text
        finally:
            connection.close()

    def wait_for(self, event: str) -> dict[str, Any]:
        """Wait until something is logged."""
        return until(lambda: [line for line in list(self.lines) if line["event"].startswith(event)])[0]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal that ends it, and return the exit code."""
        self.popen.send_signal(number)
        return self.over()

    def over(self) -> int:
        """Wait for its end, and return the exit code."""
        code = self.popen.wait(WAIT_S)
        self._reader.join(WAIT_S)
        for pipe in (self.popen.stdout, self.popen.stderr):
            assert pipe is not None
            pipe.close()
        return code


@contextmanager
def process(config: Path, *options: str) -> Iterator[Process]:
    """Run the service; it is gone at the end of the block."""
    served = Process(config, *options)
    try:
        yield served
    finally:
        if served.popen.poll() is None:
            served.end(signal.SIGKILL)


class Receiver(ThreadingHTTPServer):
    """Gets webhooks: refuses every eleventh for good and every fifth once, and notes what it takes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.start_number = 0
        self.taken: defaultdict[str, list[int]] = defaultdict(list)
        """In which starts of the service each notification was taken."""
        self.busy: set[str] = set()
        self.up = True
        self._connections = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections += 1
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connections -= 1

    def come_to_rest(self) -> None:
        """Wait until all is read that a service had sent when it was killed."""
        quiet = 0
        while quiet < 5:
            time.sleep(0.01)
            quiet = 0 if self._connections else quiet + 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a service that is gone."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        event = self.headers["webhook-id"]
        number = int(event.removeprefix("n-"))
        code = 204
        if not self.server.up:
            code = 503
        elif number % 11 == 0:
            code = 400
        elif number % 5 == 0 and event not in self.server.busy:
            self.server.busy.add(event)
            code = 503
        else:
            self.server.taken[event].append(self.server.start_number)
        self.send_response(code)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def settings(receiver: Receiver, **changes: Any) -> dict[str, Any]:
    webhook = {"signing_keys": [KEY], "allow_networks": ["127.0.0.0/8"], "allow_http": True}
    return {
        "listen": "127.0.0.1:0",
        "store": {"sqlite": "store.db"},
        "transports": {"webhook": {"standard_webhooks": webhook}},
        "channels": {
            "webhook": {
                "retry": {"max_attempts": 3, "initial_delay": "50ms"},
                "circuit_breaker": {"enabled": False},
                "max_in_flight": 20,
                "timeout": "60s",
            }
        },
        "logs": {"format": "json", "level": "debug"},
        "drain": "500ms",
    } | changes


def hook(number: int, receiver: Receiver) -> dict[str, Any]:
    return {"notification_id": f"n-{number}", "channel": "webhook", "recipient": receiver.url, "message": "Hello"}
