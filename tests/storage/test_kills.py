"""A service that is killed under load loses nothing it has accepted, and sends anew only what was under way."""

import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from random import Random

import pytest
from effort import thorough

from actors.storage.sqlite.store import SqliteStore

pytestmark = pytest.mark.integration

SERVICE = Path(__file__).with_name("killed_service.py")


class Ledger:
    """What is known without the service, over all its processes."""

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        self.sent: set[str] = set()
        self.taken: defaultdict[str, list[int]] = defaultdict(list)
        """In which processes the receiver got each notification."""
        self.in_flight: list[set[str]] = []
        """What the receiver had got at the end of each process, and of which it was not known that it was durable."""

    def take(self, process: int, line: str) -> None:
        """Take note of what a service said."""
        what, number = line.split()
        if what == "taken":
            self.taken[number].append(process)
        else:
            {"accepted": self.accepted, "sent": self.sent}[what].add(number)

    def process_ended(self) -> None:
        """Take note of what was in flight."""
        self.in_flight.append(self.taken.keys() - self.sent)

    @property
    def next_number(self) -> int:
        """The first number that is not known as accepted: its sender starts again there."""
        number = 0
        while str(number) in self.accepted:
            number += 1
        return number


def live(store: Path, ledger: Ledger, process: int, lines: int | None, notifications: int) -> None:
    """Run a service until it has said so many lines, then kill it; or with None until it ends."""
    argv = [sys.executable, str(SERVICE), str(store), str(ledger.next_number), str(notifications)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        for said, line in enumerate(service.stdout):
            if said == lines:
                service.kill()
            if line.endswith("\n"):
                ledger.take(process, line)
    assert service.returncode == (0 if lines is None else -9)
    ledger.process_ended()


@pytest.mark.parametrize("kills", [1, thorough(3), pytest.param(50, marks=pytest.mark.slow)])
async def test_nothing_accepted_is_lost_and_only_what_was_in_flight_comes_twice(kills, tmp_path):
    path, ledger, random = tmp_path / "store.db", Ledger(), Random(kills)
    for process in range(kills):
        live(path, ledger, process, lines=random.randrange(1500), notifications=10**9)
    live(path, ledger, kills, lines=None, notifications=100)

    assert len(ledger.accepted) > 100 * kills
    async with SqliteStore.open(path) as store:
        assert list(store.open_deliveries(0)) == []
        dead = {letter.notification_id for letter in store.dead_letters()}
        known = {number for number in ledger.accepted if await store.recall(number, time.time_ns()) is not None}
    assert ledger.accepted <= known  # sent, or a dead letter
    assert ledger.accepted - dead <= ledger.taken.keys()
    assert dead >= {number for number in ledger.accepted if int(number) % 11 == 0}
    assert all(int(number) % 11 == 0 for number in dead)
    assert not dead & ledger.taken.keys()
    for number, processes in ledger.taken.items():
        assert len(set(processes)) == len(processes), f"{number} was taken twice from one process"
        for earlier in processes[:-1]:
            assert number in ledger.in_flight[earlier], f"{number} was taken again although it had been sent"
