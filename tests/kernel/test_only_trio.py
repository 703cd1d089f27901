"""What needs trio and is used elsewhere says so."""

import asyncio
from functools import partial

import pytest
import trio

from actors import LiveSystem, Notifier, SqliteStore
from actors.errors import ActorSystemError
from actors.kernel.trio_token import trio_token
from actors.storage.postgres.store import PostgresStore


@pytest.mark.parametrize(
    "what", [Notifier.open, LiveSystem, partial(SqliteStore.open, "none.db"), partial(PostgresStore.open, "")]
)
def test_under_asyncio_it_says_what_it_wants(what):
    async def enter():
        async with what():
            pass

    with pytest.raises(ActorSystemError, match=r"wanted an event loop of trio's, got asyncio's"):
        asyncio.run(enter())


def test_where_there_is_no_loop_it_says_so():
    with pytest.raises(ActorSystemError, match=r"got none"):
        trio_token()


async def test_under_trio_it_is_the_token_of_the_loop():
    assert trio_token() is trio.lowlevel.current_trio_token()
