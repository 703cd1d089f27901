"""How long studio takes from a change to its picture, for every scenario that ships, beside the runner alone.

::

    python tests/benchmark/studio.py              # some minutes
    python tests/benchmark/studio.py --page       # in Chromium, too
    python tests/benchmark/studio.py --only provider-outage --rounds 5

A worker is started once and warm, as studio has it. The clock starts when it is asked, and ends at the first frame with
something to draw, and at the last one. Beside it the runner alone runs the same scenario in a process of its own, in
turn, so that both see the same neighbours on a busy machine. Nothing is asserted: times depend on the machine. So of
each the least of some rounds is printed, and the ratio is that of the least processor times, too. With a history kept
(``record: full``) on both sides.

In Chromium the clock starts when the slider of the seed is moved, and ends when the browser has drawn the first picture
and the last one: with the page, the server and the way between them.
"""

import argparse
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

SCENARIOS = Path(__file__).parents[2] / "scenarios"

FIRST_S, RATIO = 0.1, 1.3
"""What is wanted: the first picture within this time, and the whole within so many times what the runner takes."""


class Took(NamedTuple):
    """Seconds."""

    first: float
    """Until there is something to draw."""

    whole: float
    """Until all of it is."""

    processor: float
    """Of the process, for all of it."""


def alone(connection: Connection) -> None:
    """Run scenarios that are asked for, and say how long each took."""
    import simulation

    while (asked := connection.recv()) is not None:
        started, used = time.perf_counter(), time.process_time()
        simulation.run(simulation.parse(*asked))
        whole = time.perf_counter() - started
        connection.send(Took(whole, whole, time.process_time() - used))


def studio(connection: Connection) -> None:
    """Run scenarios that are asked for as a worker of studio does, and say how long each took."""
    from simulation.studio.worker import Worker

    while (asked := connection.recv()) is not None:
        seen: dict[str, float] = {}

        def note(line: dict[str, object], seen: dict[str, float] = seen) -> None:
            msgspec.json.encode(line)
            if line["type"] == "frame" and line["to"]:
                seen.setdefault("first", time.perf_counter())
            if line["type"] == "done":
                seen["whole"] = time.perf_counter()
                seen["processor"] = time.process_time()

        started, used = time.perf_counter(), time.process_time()
        Worker(note, lambda: False).do({"do": "run", "text": asked[0], "filename": asked[1]})
        since = {"first": started, "whole": started, "processor": used}
        connection.send(Took(**{name: seen[name] - begin for name, begin in since.items()}))


def measured(paths: list[Path], rounds: int) -> Iterator[tuple[Path, list[Took], list[Took]]]:
    """Yield for each scenario what the runner alone and studio took in each round."""
    context = multiprocessing.get_context("spawn")
    sides = []
    for side in (alone, studio):
        ours, theirs = context.Pipe()
        process = context.Process(target=side, args=(theirs,), daemon=True)
        process.start()
        sides.append((ours, process))
    warm = (SCENARIOS / "steady-state.yaml").read_text(encoding="utf-8").replace("duration: 10m", "duration: 10s")
    for path in [None, *paths]:
        asked = (warm, "warm.yaml") if path is None else (path.read_text(encoding="utf-8"), str(path))
        took: list[list[Took]] = [[], []]
        for _ in range(rounds):
            for (connection, _process), found in zip(sides, took, strict=True):
                connection.send(asked)
                found.append(connection.recv())
        if path is not None:
            yield path, took[0], took[1]
    for connection, process in sides:
        connection.send(None)
        process.join()


class Drawn(NamedTuple):
    """Seconds from a change in the page."""

    first: float
    """To the first picture."""

    whole: float
    """To the last."""


TURN = """
const [at, tell] = arguments, begun = performance.now(), seed = document.getElementById("knob-seed");
let first = null;
const drawn = (then) => requestAnimationFrame(() => then((performance.now() - begun) / 1000));
const watch = new MutationObserver(() => drawn((now) => { first ??= now; }));
watch.observe(document.getElementById("expectations"), { childList: true });
const status = document.getElementById("status"), end = new MutationObserver(() => {
  if (!first || !/expectation|has run/.test(status.textContent)) return;
  [watch, end].forEach((each) => each.disconnect());
  drawn((now) => tell([first, now]));
});
end.observe(status, { childList: true });
seed.value = at;
seed.dispatchEvent(new Event("input", { bubbles: true }));
"""
"""Moves the slider of the seed; the list of expectations is made anew with the first picture of a run."""


@contextmanager
def page() -> Iterator[Any]:
    """Give a browser that studio has let in."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
    from chromium import DESK, chromium

    program = "from simulation.commands.cli import main; main()"
    command = [sys.executable, "-c", program, "studio", str(SCENARIOS)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"(http://\S+)(/\?token=\S+)", server.stdout.readline())
        assert found is not None
        with TemporaryDirectory() as folder, chromium(found[1], *DESK, Path(folder)) as browser:
            browser.driver.set_script_timeout(600)
            browser.open(found[2])
            yield browser
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def drawn_in(browser: Any, path: Path, rounds: int) -> list[Drawn]:
    """Return what a page took in each round."""
    browser.open(f"/edit?file={path.relative_to(SCENARIOS)}")
    browser.wait(lambda: re.search("expectation|has run", browser.text("#status")))
    return [Drawn(*browser.driver.execute_async_script(TURN, str(at))) for at in range(40, 40 + rounds)]


def main() -> None:
    """Measure, and print a line for each scenario."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--page", action="store_true", help="In Chromium, too.")
    options = parser.parse_args()
    paths = sorted(SCENARIOS.rglob("*.yaml"))
    if options.only:
        paths = [path for path in paths if path.stem in options.only]
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; the least of {options.rounds} rounds")
    print(f"{'scenario':26} {'first':>8} {'whole':>8} {'alone':>8} {'of processor':>18} {'ratio':>6}")
    for path, runner, worker in measured(paths, options.rounds):
        first, whole = (min(getattr(took, name) for took in worker) for name in ("first", "whole"))
        one = min(took.whole for took in runner)
        used, own = (min(took.processor for took in side) for side in (worker, runner))
        missed = ("" if first <= FIRST_S else " late") + ("" if used <= RATIO * own else " more")
        print(
            f"{path.stem:26} {first * 1e3:5.0f} ms {whole:6.2f} s {one:6.2f} s {used:7.2f} / {own:6.2f} s "
            f"{used / own:6.2f}{missed}"
        )
    print(f"at most {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB in a process")
    if not options.page:
        return
    print(f"load {os.getloadavg()[0]:.1f}; in Chromium, the least of {options.rounds} rounds")
    print(f"{'':26} {'first':>8} {'whole':>8}")
    with page() as browser:
        for path in paths:
            drawn = drawn_in(browser, path, options.rounds)
            first = min(each.first for each in drawn)
            late = "" if first <= FIRST_S else " late"
            print(f"{path.stem:26} {first * 1e3:5.0f} ms {min(each.whole for each in drawn):6.2f} s{late}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
