"""A ground of the hunt: what happens in a case of the swarm is committed to a store on disk, which is opened again now
and then, and has to say of it what the store in memory says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import trio

import simulation.running.runner as runner
from actors.domain.store import Store
from actors.instants import since_1970_ns
from actors.messages import NotificationEvent, SendNotification
from actors.storage.memory import MemoryStore
from actors.storage.sqlite.store import SqliteStore
from simulation.exploration.trial import attempt
from simulation.scenario import Scenario

Change = tuple[NotificationEvent, SendNotification]

TIMES_OPENED = 3


def reopened(case: Scenario, seed: int) -> str | None:
    """Run a case and lead what was committed in it through a store on disk; return where that is wrong, or None."""
    # Where the wall clock steps back, how much longer an id is remembered depends on when the store was opened.
    case = case.model_copy(update={"faults": tuple(fault for fault in case.faults if fault.clock_step is None)})
    changes, remember_ids_ns = _committed(case)
    edges = sorted({0, len(changes), *(Random(seed).randrange(len(changes) + 1) for _ in range(TIMES_OPENED - 1))})
    memory = MemoryStore(remember_ids_ns=remember_ids_ns)
    epoch_ns = since_1970_ns(case.start)

    async def compare() -> str | None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "store.db"
            for start, end in pairwise(edges):
                async with SqliteStore.open(path, remember_ids=remember_ids_ns / 1e9) as store:
                    if (wrong := await _difference(memory, store, changes[:start], epoch_ns)) is not None:
                        return wrong
                    for event, command in changes[start:end]:
                        for each in (memory, store):
                            each.remembered.get(event.notification_id, event.epoch_ns + event.at_ns)
                            each.commit(event, command)
            async with SqliteStore.open(path, remember_ids=remember_ids_ns / 1e9) as store:
                return await _difference(memory, store, changes, epoch_ns)

    try:
        return trio.run(compare)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _committed(case: Scenario) -> tuple[list[Change], int]:
    """Return what a run of a case commits, and how long it remembers ids."""
    changes: list[Change] = []

    class Noting(MemoryStore):
        def commit(self, event: NotificationEvent, command: SendNotification) -> Any:
            done = super().commit(event, command)
            changes.append((event, command))
            return done

    remember_ids_ns = round(case.remember_ids * 1e9)
    made = runner._store
    runner._store = lambda _: Noting(remember_ids_ns=remember_ids_ns)
    try:
        attempt(case)
    finally:
        runner._store = made
    return changes, remember_ids_ns


async def _difference(memory: Store, store: Store, changes: Sequence[Change], epoch_ns: int) -> str | None:
    for what, in_memory, on_disk in zip(
        ("open deliveries", "dead letters", "suppressions", "endpoints", "remembered ids"),
        await _said(memory, changes, epoch_ns),
        await _said(store, changes, epoch_ns),
        strict=True,
    ):
        if in_memory != on_disk:
            return f"{what} are other ones when the store is opened again after {len(changes)} changes"
    return None


async def _said(store: Store, changes: Sequence[Change], epoch_ns: int) -> list[Any]:
    """Return all that a store answers."""
    now_ns = changes[-1][0].epoch_ns + changes[-1][0].at_ns if changes else 0
    ids = {event.notification_id for event, _ in changes}
    return [
        list(store.open_deliveries(epoch_ns)),
        list(store.dead_letters()),
        {suppression.key: suppression for suppression in store.suppressions},
        {endpoint.key: endpoint for endpoint in store.endpoints},
        {each: await store.recall(each, now_ns) for each in sorted(ids)},
    ]
