"""What is of other channels than the four, in a store that the release before opens in turn with this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from effort import sliced, thorough
from releases import ROOT, unpacked
from service_parts import opened_store
from shelves import command, happens

from actors import NotificationChannel
from actors.messages import NotificationFailed, NotificationRequested
from actors.storage.sqlite.store import SqliteStore

pytestmark = pytest.mark.integration

RELEASE_BEFORE = "45ab646b"
FOUR, OWN = "email,sms,push,webhook", "payments-api,news,alarm"
A_TURN = 100_000
"""The numbers of what one process accepts are apart from those of others by this."""


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(RELEASE_BEFORE, tmp_path_factory.mktemp("before"))


class Turns:
    """Processes that have a store in turn, and what all of them say."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.said: list[tuple[Path, str, int]] = []
        self._turns = 0

    def run(self, release: Path, channels: str, notifications: int, taken: int | None = None) -> None:
        """Run a service of a release; kill it when it has taken so many, or else let it come to its end."""
        first, self._turns = self._turns * A_TURN + 1, self._turns + 1
        service = Path(__file__).with_name("killed_service.py")
        argv = [sys.executable, str(service), self.path, str(first), str(notifications), channels, "one"]
        search = os.pathsep.join([str(release), str(service.parent)])
        environment = {**os.environ, "PYTHONPATH": search, "PYTHONSAFEPATH": "1"}
        with subprocess.Popen(argv, env=environment, cwd=release, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            left = taken
            for line in process.stdout:
                word, number = line.split()
                self.said.append((release, word, int(number)))
                if left is not None and word == "taken" and (left := left - 1) == 0:
                    process.kill()
        assert process.returncode == (0 if taken is None else -9)

    def numbers(self, word: str, release: Path | None = None) -> list[int]:
        return [number for by, said, number in self.said if said == word and release in (None, by)]


@pytest.fixture
def path(request, tmp_path) -> str:
    return request.getfixturevalue("dsn") if request.param == "postgres" else str(tmp_path / "store.db")


@pytest.mark.parametrize(("kills", "each"), [thorough((1, 60)), pytest.param(10, 500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", sliced(["sqlite", "postgres"], 2), indirect=True)
async def test_the_release_before_passes_by_what_is_of_other_channels(before, path, kills, each):
    turns = Turns(path)
    for _ in range(kills):
        turns.run(ROOT, f"{FOUR},{OWN}", each, taken=each // 2)
        turns.run(before, FOUR, each, taken=each // 2)
    turns.run(ROOT, f"{FOUR},{OWN}", each)
    accepted, sent = set(turns.numbers("accepted")), turns.numbers("sent")
    never = {number for number in accepted if number % 11 == 0}
    assert accepted - never <= set(turns.numbers("taken"))
    assert not {number for number, times in Counter(sent).items() if times > 1}
    after = {number: place for place, (_, word, number) in enumerate(turns.said) if word == "sent"}
    assert not [
        each for place, (_, word, each) in enumerate(turns.said) if word == "taken" and place > after.get(each, place)
    ]
    of_others = {number for number in accepted if number // A_TURN % 2 == 0 and number % 7 > 3}
    assert len(of_others) > each // 4
    assert not of_others & set(turns.numbers("taken", before))

    async def letters() -> dict[str, str]:
        async with opened_store(path, lease=15.0, node="one") as store:
            assert not list(store.open_deliveries(0))
            return {name: command.channel for name, command in store.dead_commands()}

    dead = await letters()
    assert never <= set(map(int, dead))
    assert {int(name) for name, channel in dead.items() if channel in OWN.split(",")} >= never & of_others
    turns.run(before, FOUR, 20)  # and back to it
    assert dead.items() <= (await letters()).items()
    assert all(isinstance(channel, NotificationChannel) for channel in dead.values())


_READS = """
import sys, trio
from actors.storage.sqlite.store import SqliteStore

async def main():
    async with SqliteStore.open(sys.argv[1]) as store:
        [delivery] = store.open_deliveries(0)
        print(delivery.attempts, len(delivery.failures), delivery.failures[20].attempt)

trio.run(main)
"""


async def test_the_release_before_reads_of_unlimited_attempts_how_many_there_were(before, tmp_path):
    path, sent = tmp_path / "store.db", command("a")
    async with SqliteStore.open(path) as store:
        await happens(store, NotificationRequested, sent)
        for number in range(1, 151):
            await happens(store, NotificationFailed, sent, attempt=number, unlimited=True)
    environment = {**os.environ, "PYTHONPATH": str(before), "PYTHONSAFEPATH": "1"}
    argv = [sys.executable, "-c", _READS, str(path)]
    assert subprocess.check_output(argv, env=environment, cwd=before, text=True) == "150 100 71\n"
