"""The store of a service: which one, its settings say."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from actors.domain.store import Store
from actors.errors import ConfigurationError, StoreError
from actors.instants import ns
from actors.service.config import ServiceConfig, StoreConfig
from actors.storage.clock_steps import ClockSteps
from actors.storage.memory import MemoryStore


@asynccontextmanager
async def open_store(config: ServiceConfig) -> AsyncGenerator[Store, None]:
    """Open the store of the settings for as long as the block lasts.

    Raises:
        StoreError: it cannot be opened; or a change could not be made durable.
        ConfigurationError: the packages for it are not installed.
    """
    choice = config.store
    if not isinstance(choice, StoreConfig):
        yield MemoryStore(remember_ids_ns=ns(config.remember_ids), ahead_ns=ClockSteps().ahead_ns)
    elif choice.sqlite is not None:
        from actors.storage.sqlite.store import SqliteStore

        async with SqliteStore.open(
            choice.sqlite, remember_ids=config.remember_ids, keep_audit=choice.keep_audit
        ) as store:
            yield store
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
        ) as database:
            yield database


def check_store(config: ServiceConfig) -> None:
    """Check what can be known of the store in the settings without opening it.

    Raises:
        ConfigurationError: the packages for it are not installed, or its DSN cannot be read.
    """
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
