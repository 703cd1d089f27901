"""Each way out of a world is refused by the line of the service that took it, and stays recorded if it is caught."""

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from beside import tables
from own_process import in_a_world

from simulation.world import refusals
from simulation.world.run import in_a_fork

REFUSED = tables(__file__)["refused"]
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
