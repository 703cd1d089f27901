"""The release before beside this one, on one PostgreSQL: each sees what the other does, and takes over what it had.

The release before is taken from the history of the repository; where there is none, as in an archive of its sources,
this is skipped.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from releases import ROOT, unpacked
from shelves import change, command, event_of, mark, suppression

from actors.messages import NotificationFailed, NotificationRequested
from actors.storage.postgres.store import PostgresStore

pytestmark = pytest.mark.integration

RELEASE_BEFORE = "48561f7"
NODE = Path(__file__).with_name("node_beside.py")
PATIENCE_S = 90


@pytest.fixture(scope="session")
def release_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(RELEASE_BEFORE, tmp_path_factory.mktemp("release_before"))


class Node:
    """A process that is a node, of one of the two releases."""

    def __init__(self, release: Path, dsn: str, name: str) -> None:
        self.name = name
        argv = [sys.executable, str(NODE), dsn, name]
        environment = {**os.environ, "PYTHONPATH": str(release), "PYTHONSAFEPATH": "1"}
        self.process = subprocess.Popen(
            argv, env=environment, cwd=release, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert Path(self.ask("where")).is_relative_to(release)

    def ask(self, do: str, value: Any = None) -> Any:
        """Give an order, and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([do, value]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"{self.name} has ended"
        return json.loads(line)

    def until(self, holds: Callable[[dict[str, Any]], object]) -> None:
        """Wait until its state is as it should be."""
        began = time.monotonic()
        while not holds(state := self.ask("state")):
            assert time.monotonic() - began < PATIENCE_S, f"{self.name}: {state}"
            time.sleep(0.02)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE_S) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()


@pytest.fixture
def nodes(release_before, dsn) -> Generator[Callable[[str], Node], None, None]:
    started: list[Node] = []

    def start(which: str) -> Node:
        started.append(Node(release_before if which == "before" else ROOT, dsn, which))
        return started[-1]

    yield start
    for node in started:
        node.kill()


@pytest.mark.parametrize("first", ["before", pytest.param("now", marks=pytest.mark.slow)])
def test_point_13_the_release_before_runs_beside_this_one(nodes, dsn, first):
    """Whichever of them makes the tables; what each does the other sees, and takes over when that is gone."""
    one = nodes(first)
    assert one.ask("send", "n1") == "ACCEPTED"
    other = nodes("now" if first == "before" else "before")

    for mine, theirs, number in ((one, other, 1), (other, one, 2)):
        # An id is new once.
        assert mine.ask("send", f"x{number}") == "ACCEPTED"
        assert theirs.ask("send", f"x{number}") == "DUPLICATE"
        # Suppressions and preferences.
        mine.ask("suppress", f"s{number}@example.org")
        mine.ask("prefer", f"user{number}")
        theirs.until(lambda state, n=number: f"s{n}@example.org" in state["suppressed"])
        theirs.until(lambda state, n=number: f"user{n}" in state["preferences"])
        assert theirs.ask("send", f"s{number}") == "ACCEPTED"
        theirs.until(lambda state: not state["open"])
        assert f"s{number}" not in theirs.ask("state")["taken"]
        # Dead letters, and who redrives one.
        mine.ask("answers", "Permanent")
        mine.ask("send", f"d{number}")
        mine.ask("answers", "Sent")
        theirs.until(lambda state, n=number: f"d{n}" in state["dead"])
        assert theirs.ask("redrive", f"d{number}")
        theirs.until(lambda state, n=number: f"d{n}" in state["taken"])
        mine.until(lambda state: not state["dead"])
        theirs.ask("lift", f"s{number}@example.org")
        mine.until(lambda state: not state["suppressed"])
        assert mine.ask("state")["audit"] == theirs.ask("state")["audit"]

    # A takeover, with the attempts that are used up; first by the one that ends of itself, then by a kill.
    one.ask("answers", "Transient")
    one.ask("send", "t1")
    one.until(lambda state: state["attempts"].get("t1", 0) >= 2)
    one.end()
    other.until(lambda state: "t1" in state["taken"])
    one = nodes(first)
    other.ask("answers", "Transient")
    other.ask("send", "t2")
    other.until(lambda state: state["attempts"].get("t2", 0) >= 2)
    other.kill()
    one.until(lambda state: "t2" in state["taken"])  # when its lease is over
    one.end()
    with psycopg.connect(dsn) as sql:
        assert sql.execute("SELECT count(*) FROM retrylab.notifications WHERE state <> 'ended'").fetchone() == (0,)


@pytest.mark.thorough
async def test_the_release_before_goes_on_beside_endpoints_that_it_does_not_know(nodes, dsn):
    one = nodes("before")
    failing = command("n1", recipient="n1@example.org")
    async with PostgresStore.open(dsn, node="now", lease=6.0) as now:
        await now.commit(event_of(NotificationRequested, failing), failing)()
        for state in ("failing", "disabled"):
            failed = event_of(NotificationFailed, failing, 1, endpoint=mark(state), next_retry_at_ns=None)
            await now.commit(failed, failing)()
        await now.change(change(suppressed=(suppression("s1@example.org", "complaint"),)))()
        one.until(lambda state: state["suppressed"] == ["s1@example.org"])  # it has come by what has changed
    one.until(lambda state: "n1" in state["taken"])  # it takes over what was under way, with its failures
    one.end()
    again = nodes("before")  # which reads it all anew
    assert again.ask("send", "n2") == "ACCEPTED"
    again.until(lambda state: "n2" in state["taken"])
    again.end()
    async with PostgresStore.open(dsn, node="now") as now:
        assert [each.state.value for each in now.endpoints] == ["disabled"]  # as the release before tells nothing of it
