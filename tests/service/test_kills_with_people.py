"""A service that is killed while people are written to by templates, report what did not arrive, and are erased."""

import http.client
import itertools
import json
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from serve_processes import WAIT_S, Process, Receiver, hook, process, receiver, settings, until
from served import OTTO, SHOP, write
from test_second_serve import server, store  # noqa: F401

from actors.service.config import load
from actors.service.stores import open_store

pytestmark = pytest.mark.integration

LATER = "2099-01-01T00:00:00Z"
BOUNCE = """Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com

Final-Recipient: rfc822; {}
Action: failed
Status: 5.1.1

--b--
"""


class Ledger:
    """What the service has said, over all its processes."""

    def __init__(self) -> None:
        self.accepted: dict[str, str] = {}
        """By notification, its user."""
        self.to_erase: set[str] = set()
        """Users that the service was asked to erase, whether or not it has answered."""
        self.erased: dict[str, int] = {}
        """Users that it says are erased, with the start in which it said so."""
        self.reported: set[str] = set()
        self.scheduled: set[str] = set()


class Person(threading.Thread):
    """Sends for one user after the other, reports a bounce of the one before, and erases one from before that."""

    def __init__(self, served: Process, hooks: Receiver, numbers: Iterator[int], ledger: Ledger) -> None:
        super().__init__(daemon=True)
        self._served, self._hooks, self._numbers, self._ledger = served, hooks, numbers, ledger

    def run(self) -> None:
        ledger = self._ledger
        connection = http.client.HTTPConnection("127.0.0.1", self._served.port, timeout=WAIT_S)
        mine: list[str] = []

        def ask(path: str, content: Any, token: str = SHOP) -> Any:
            body = content if isinstance(content, str) else json.dumps(content)
            connection.request("POST", path, body, {"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            said = answer.read()
            return json.loads(said) if answer.status in (200, 202, 207) else None

        try:
            for number in self._numbers:
                user = f"user-{number}"
                batch = [
                    hook(number * 5 + offset, self._hooks)
                    | {"user_id": user, "metadata": {"template": "note", "name": user}}
                    | ({"not_before": LATER} if offset == 4 else {})
                    for offset in range(5)
                ]
                for one in ask("/notifications", batch):
                    if one["code"] == 202:
                        ledger.accepted[one["notification_id"]] = user
                ledger.scheduled.add(batch[4]["notification_id"])
                mine.append(user)
                address = f"{user}@example.com"
                if ask("/callbacks/bounces", BOUNCE.format(address)) == {"reported": 1, "suppressed": 1}:
                    ledger.reported.add(address)
                if len(mine) > 3:
                    gone = mine.pop(0)
                    ledger.to_erase.add(gone)
                    while (said := ask(f"/api/users/{gone}/erase", {}, OTTO)) is not None and said["in_flight"]:
                        time.sleep(0.01)
                    if said is not None:
                        ledger.erased[gone] = self._hooks.start_number
        except (OSError, http.client.HTTPException, ValueError, TypeError):
            return  # it is gone
        finally:
            connection.close()


@pytest.mark.thorough
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
async def test_it_must_show_nothing_accepted_is_lost_and_nothing_erased_comes_back(kills, store, tmp_path, capsys):  # noqa: F811
    ledger, random, numbers = Ledger(), Random(kills), itertools.count()
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "note.txt").write_text("Dear {{ name }}, hello.")
    took: list[float] = []
    with receiver() as hooks:
        given = settings(hooks, store=store, templates="templates")
        given["transports"]["email"] = {"simulated": True}
        config = write(tmp_path / "service.yaml", **given)
        killed_at: float | None = None
        for hooks.start_number in range(kills):
            with process(config) as served:
                if killed_at is not None:
                    took.append(time.monotonic() - killed_at)
                people = [Person(served, hooks, numbers, ledger) for _ in range(3)]
                for person in people:
                    person.start()
                known = len(ledger.erased)
                until(lambda known=known: len(ledger.erased) >= known + 1 + random.randrange(10))
                assert served.end(signal.SIGKILL) == -signal.SIGKILL
                killed_at = time.monotonic()
                for person in people:
                    person.join()
                hooks.come_to_rest()
        hooks.start_number = kills
        with process(config) as served:
            kept = ledger.scheduled & ledger.accepted.keys()
            until(lambda: served.ask("GET", "/healthz", token=OTTO)[1]["in_flight"] <= len(kept))
            assert served.end() == 0
    async with open_store(load(config)) as opened:
        waiting = set(opened.open_ids())
        dead = {letter.notification_id for letter in opened.dead_letters()}
        users = {each.command.user for each in (*opened.open_deliveries(0), *opened.dead_letters())}
        suppressed = {each.address for each in opened.suppressions}
    found = hooks.taken.keys() | dead | waiting
    lost = {each for each, user in ledger.accepted.items() if each not in found and user not in ledger.to_erase}
    assert lost == set()
    assert users & ledger.erased.keys() == set()
    sent_after: dict[str, list[str]] = defaultdict(list)
    for each, user in ledger.accepted.items():
        for start in hooks.taken.get(each, ()):
            if start > ledger.erased.get(user, kills + 1):
                sent_after[user].append(each)
    assert sent_after == {}
    assert ledger.reported <= suppressed
    with capsys.disabled():
        print(
            f"\n{next(iter(store))}: {kills} kills, {len(ledger.accepted):,} accepted, {len(ledger.erased):,} erased, "
            f"{len(ledger.reported):,} reports, {len(dead):,} letters left; from kill to serving at most "
            f"{max(took, default=0):.1f} s"
        )
