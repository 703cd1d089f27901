"""Each way out of a world is refused by the line of the service that took it, and stays recorded if it is caught."""

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from own_process import in_a_world

from simulation.world import refusals
from simulation.world.run import in_a_fork

REFUSED = {
    "time.sleep(1)": "time.sleep blocks the event loop",
    "socket.getaddrinfo('example.com', 80)": "looking up a name blocks",
    "urllib.request.urlopen('http://example.com')": "looking up a name blocks",
    "subprocess.run(['true'])": "a process is started",
    "os.fork()": "a process is started",
    "os.system('true')": "a process is started",
    "multiprocessing.get_context('fork').Process(target=print).start()": "a process is started",
    "multiprocessing.get_context('spawn').Process(target=print).start()": "a process is started",
    "asyncio.run(asyncio.sleep(0))": "an event loop of asyncio is started",
    "_socket.socket()": "a real socket is opened past the world",
    "trio.socket.socketpair()": "a real pair of sockets is opened",
    "await trio.run_process(['true'])": "a process is started",
    "await trio.to_thread.run_sync(trio.run, trio.sleep, 1)": "trio.run is called within the run",
    "import pycurl": "pycurl opens its sockets in C",
    "from psycopg import pq": "psycopg opens its sockets in C",
    "held.acquire()": "waiting for a lock",
    "held.acquire(timeout=1)": "waiting for a lock",
    "queue.Queue().get()": "waiting for a lock, queue or event",
    "threading.Event().wait(1)": "waiting for a lock, queue or event",
    "pool.submit(time.sleep, 1).result()": "waiting for a lock, queue or event",
    "thread.join()": "Thread.join blocks the event loop",
    "early.lock.acquire()": "the event loop waits for something outside of the world",
    "await trio.to_thread.run_sync(early.lock.acquire)": "a thread waits for something outside of the world",
    "os.read(pipe, 1)": "the event loop waits for something outside of the world",
    "await trio.to_thread.run_sync(os.read, pipe, 1)": "a thread waits for something outside of the world",
    "all(zero == 0 for zero in iter(int, 1))": "the event loop computes",
}
SERVICE = """
import _socket, asyncio, concurrent.futures, early, multiprocessing, os, queue, socket, subprocess, threading
import time, trio, urllib.request
held = threading.Lock()
held.acquire()
pool = concurrent.futures.ThreadPoolExecutor()
pipe, _ = os.pipe()

async def main(seen):
    thread = threading.Thread(target=time.sleep, args=(5,))
    thread.start()
    early.lock.acquire()
"""


def test_each_escape_is_refused_by_its_line(tmp_path: Path) -> None:
    lines = [f"    try: {call}\n    except BaseException: seen.append('caught')\n" for call in REFUSED]
    first = SERVICE.count("\n") + 1
    files = {"service.py": SERVICE + "".join(lines), "early.py": "import threading\nlock = threading.Lock()\n"}
    quick = "threads.STANDING_S, threads.COMPUTING_S = 0.5, 0.2"

    seen, escapes, _ = in_a_world(
        tmp_path, files, before=f"import early; from simulation.world import threads; {quick}"
    )

    assert seen == ["caught"] * len(REFUSED)
    for (call, sentence), (file, line, refusal), number in zip(
        REFUSED.items(), escapes, range(first, first + 2 * len(REFUSED), 2), strict=True
    ):
        assert (Path(file).name, line) == ("service.py", number), call
        assert sentence in refusal, call


OPEN_TO_ALL = """
import netrc, os, urllib.request
async def main(seen):
    seen.append([urllib.request.getproxies(), os.environ["NETRC"]])
    try: netrc.netrc()
    except FileNotFoundError: seen.append("no .netrc")
"""


def test_proxies_and_netrc_of_the_machine_are_not_read(tmp_path: Path) -> None:
    before = "import os; os.environ |= {'HTTPS_PROXY': 'http://proxy.corp', 'http_proxy': 'http://p', 'HOME': '.'}"
    files = {"service.py": OPEN_TO_ALL, ".netrc": "machine example.com login ann password secret"}

    seen, escapes, after = in_a_world(tmp_path, files, before=before, after="os.environ['HTTPS_PROXY']")

    assert seen == [[{}, "/dev/null"], "no .netrc"]
    assert escapes == []
    assert after == "http://proxy.corp"


def test_a_watchdog_that_interrupts_as_the_run_ends_does_not_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, asked = threading.Lock(), threading.Event()
    looks.acquire()

    class Late:
        def look(self, *_loop: int) -> str:
            asked.set()
            looks.acquire(timeout=0.1)
            return "waits"

    monkeypatch.setattr(refusals, "Meter", Late)
    monkeypatch.setattr(refusals, "LOOK_S", 0.0)

    def run() -> str:
        with refusals.watchdog(SimpleNamespace(running=None)):
            asked.wait()
        looks.release()
        threading.Event().wait(0.05)  # for an interrupt that is sent yet
        return "ended"

    assert in_a_fork(run) == "ended"
