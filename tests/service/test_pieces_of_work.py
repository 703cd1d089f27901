"""However many letters and suppressions there are, other tasks run while they are looked through, or taken in."""

import threading
import time
from typing import Any

import httpx2
import pytest
import trio
from desks import OTTO, app_of, command, desk

from actors.domain.delivery import requested
from actors.domain.suppressions import Suppression
from actors.errors import ConfigurationError
from actors.messages import NotificationMovedToDeadLetter
from actors.service.operations.queries import LOOKED_AT_MAX, Filter
from actors.service.reloading import live_settings
from actors.service.reloading.live_settings import LiveSettings
from actors.storage.memory import DeadEntry, MemoryStore
from actors.storage.sqlite.store import SqliteStore

BEGUN_NS = time.time_ns()
MANY = 4 * LOOKED_AT_MAX
TABLE = "channel,address,reason,source\n" + "".join(
    f"email,n{number}@example.org,complaint,{'provider' if number % 2 else 'file'}\n" for number in range(MANY)
)


class Handled(trio.abc.Instrument):
    """Counts how often a property is asked for on the loop in one piece of work, at the most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, of: type, name: str) -> None:
        self.most = self._now = 0
        asked, loop = getattr(of, name).fget, threading.get_ident()

        def counted(each: Any) -> Any:
            self._now += threading.get_ident() == loop
            self.most = max(self.most, self._now)
            return asked(each)

        monkeypatch.setattr(of, name, property(counted))
        trio.lowlevel.add_instrument(self)

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self._now = 0


def _store_with_dead_letters() -> MemoryStore:
    store = MemoryStore()
    for number in range(MANY):
        each = command(f"n{number}", recipient=f"n{number}@example.org")
        store.commit(requested(each, number, BEGUN_NS), each)
        of = {"notification_id": each.notification_id, "channel": each.channel, "reason": f"full {number}"}
        died = {"at_ns": number, "epoch_ns": BEGUN_NS, "requested_at_ns": number}
        store.commit(NotificationMovedToDeadLetter(**of, **died, attempts=1), each)
    return store


async def test_dead_letters_are_looked_through_in_slices(monkeypatch):
    async with desk(_store_with_dead_letters()) as at:
        handled = Handled(monkeypatch, DeadEntry, "as_letter")
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(at)), base_url="http://of-a-test")
        async with client:
            client.headers["authorization"] = f"Bearer {OTTO}"
            last = (await client.get("/api/dead-letters?recipient=n1999")).json()["dead_letters"][0]["id"]
            nothing = await client.get("/api/dead-letters?recipient=nobody")
            groups = (await client.get("/api/dead-letters/groups?by=recipient")).json()["groups"]
            bulk = {"action": "discard", "filter": {}, "why": "old", "rate": "1/s"}
            dry = (await client.post("/api/dead-letters/bulk", json=bulk | {"dry_run": True})).json()
            run = (await client.post("/api/dead-letters/bulk", json=bulk)).json()
            gone = await at.letters.page(after=f"{BEGUN_NS + MANY - 1}-gone", newest_first=False)
            newest = await at.letters.page(Filter(id_prefix="n1"), after=f"{BEGUN_NS + 1}-gone", newest_first=True)
        assert (last, nothing.json()["dead_letters"], len(groups)) == ("n1999", [], MANY)
        assert (dry["count"], len(dry["groups"]), run["total"]) == (MANY, MANY, MANY)
        assert [[each.notification_id for each in page.letters] for page in (gone, newest)] == [["n1999"], ["n1"]]
        await at.letters.erase("n7@example.org", by=None)
        assert LOOKED_AT_MAX <= handled.most <= LOOKED_AT_MAX + 20
        at.letters.bulks()[0].cancel(None)


@pytest.mark.parametrize("on_disk", [False, True])
async def test_suppressions_are_taken_in_without_a_step_for_each(on_disk, tmp_path, monkeypatch):
    listed, path = tmp_path / "list.csv", tmp_path / "store.db"
    listed.write_text("channel,address,reason\n")
    async with SqliteStore.open(path) as disk:
        store = disk if on_disk else MemoryStore()
        async with LiveSettings.open(store, suppressions=listed, poll=1e6) as live:
            handled = Handled(monkeypatch, Suppression, "key")
            await live.suppress("email", "n1@example.org", reason="by hand")
            assert await live.import_suppressions(TABLE) == MANY
            listed.write_text(TABLE.replace("@example.org", "@example.com"))
            assert await live.reload() == []
            assert handled.most < 20
            assert len(live.suppressions) == len(list(live.suppressions)) == 2 * MANY
            assert live.suppressions.find("email", "n1@example.org").reason == "by hand"
            monkeypatch.setattr(live_settings, "IMPORTED_MAX", 2)
            with pytest.raises(ConfigurationError, match="wanted at most 2 suppressions, got 3"):
                await live.import_suppressions("channel,address,reason\n" + "sms,+1,x\nsms,+2,x\nsms,+3,x\n")
    if on_disk:
        async with SqliteStore.open(path) as disk:
            assert len(disk.suppressions) == MANY
            assert disk.suppressions.find("email", "n1@example.org").reason == "by hand"
