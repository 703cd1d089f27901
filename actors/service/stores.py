"""The store of a service: which one, its settings say."""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from actors.domain.store import Store
from actors.errors import ConfigurationError, StoreError, StoreInUse
from actors.instants import ns
from actors.service.config import ServiceConfig, StoreConfig
from actors.storage.clock_steps import ClockSteps
from actors.storage.memory import MemoryStore

if TYPE_CHECKING:
    from actors.storage.sqlite.store import SqliteStore


logger = logging.getLogger("retrylab.service")

LOOK_AGAIN = 1.0
"""Seconds after which a file that is in use is looked at a second time: its process may just be ending."""


@asynccontextmanager
async def open_store(
    config: ServiceConfig, *, replace: bool = False, when_replaced: Callable[[str], object] | None = None
) -> AsyncGenerator[Store, None]:
    """Open the store of the settings for as long as the block lasts; wait for a lock on it.

    Args:
        config: the settings.
        replace: whether a living service that has the store, under the same name, is asked to drain and end, and
            waited for.
        when_replaced: called when another service asks this one to end by way of a database; with a file it is sent
            SIGTERM.

    Raises:
        StoreInUse: a living service has the store, and stays.
        StoreError: the store cannot be opened; or a change could not be made durable.
        ConfigurationError: the packages for the store are not installed.
    """
    choice = config.store
    if not isinstance(choice, StoreConfig):
        yield MemoryStore(remember_ids_ns=ns(config.remember_ids), ahead_ns=ClockSteps().ahead_ns)
    elif choice.sqlite is not None:
        async with AsyncExitStack() as stack:
            yield await _open_file(stack, choice.sqlite, config.remember_ids, choice.keep_audit, replace)
    else:
        assert choice.postgres is not None
        check_store(config)
        from actors.storage.postgres.store import PostgresStore

        async with PostgresStore.open(
            choice.postgres.reveal(),
            node=choice.node,
            lease=choice.lease,
            remember_ids=config.remember_ids,
            keep_audit=choice.keep_audit,
            busy_timeout=math.inf,
            replace=replace,
            when_replaced=when_replaced,
        ) as database:
            yield database


async def _open_file(
    stack: AsyncExitStack, path: str, remember_ids: float, keep_audit: float, replace: bool
) -> SqliteStore:
    from actors.storage.sqlite.place import resolved, store_holder
    from actors.storage.sqlite.store import SqliteStore

    until, asked = trio.current_time() + LOOK_AGAIN, None
    while True:
        try:
            return await stack.enter_async_context(
                SqliteStore.open(path, remember_ids=remember_ids, keep_audit=keep_audit, busy_timeout=math.inf)
            )
        except StoreInUse as error:
            pid = store_holder(resolved(path)) if replace else None
            if pid is not None and pid != asked and pid != os.getpid():
                _ask_to_end(pid, error)
                asked = pid
            if asked is None and trio.current_time() >= until:
                raise
        await trio.sleep(0.1)


def file_in_use(config: ServiceConfig) -> StoreInUse | None:
    """Return the error that names the user of the store's file, without opening it; None: no one uses it, or no
    file."""
    choice = config.store
    if not isinstance(choice, StoreConfig) or choice.sqlite is None:
        return None
    from actors.storage.sqlite.place import in_use, resolved, store_holder

    path = resolved(choice.sqlite)
    return None if store_holder(path) is None else in_use(path)


def _ask_to_end(pid: int, error: StoreInUse) -> None:
    """Have the service that is a process of this machine drain and end; raise StoreInUse where it is no service, or not
    to be ended from here."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"serve" not in words:
            raise StoreInUse(f"{error}; it is no `retrylab serve`, and so is not ended")
        os.kill(pid, signal.SIGTERM)
    except OSError as why:
        raise StoreInUse(f"{error}; it cannot be asked to end: {why.strerror}") from None
    logger.warning("the service that has the store is asked to drain and end: process %d", pid)


def check_store(config: ServiceConfig) -> None:
    """Check the settings of the store without opening it; raise ConfigurationError where the packages for the store are
    not installed, or its DSN cannot be read."""
    choice = config.store
    if not isinstance(choice, StoreConfig) or choice.postgres is None:
        return
    try:
        from actors.storage.postgres.schema import check_dsn
    except ImportError as error:
        raise ConfigurationError(
            [f"store.postgres: wanted the extra retrylab[postgres], got no {error.name}"]
        ) from None
    try:
        check_dsn(choice.postgres.reveal())
    except StoreError as error:
        raise ConfigurationError([f"store.postgres: {error}"]) from None
