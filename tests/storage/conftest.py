"""A PostgreSQL for the tests of the stores: one server for all, started when the first of them needs it."""

import psycopg
import pytest
from postgres_server import NoServer, running_server
from shelves import KINDS, POSTGRES, Shelf

from actors import PostgresStore, SqliteStore


@pytest.fixture(scope="session")
def postgres_server():
    """Return a server that runs; where there is none, skip."""
    try:
        with running_server() as server:
            yield server
    except NoServer as error:
        pytest.skip(f"no PostgreSQL here: {error}")


@pytest.fixture(scope="session")
def postgres_url(postgres_server) -> str:
    """Return a database of our own; one for all tests, since each is some hundreds of files."""
    return postgres_server.new_database()


@pytest.fixture
def dsn(postgres_url) -> str:
    """Return a database without a store."""
    with psycopg.connect(postgres_url) as sql:
        sql.execute("DROP SCHEMA IF EXISTS retrylab CASCADE")
    return postgres_url


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else request.param


@pytest.fixture(params=["sqlite", POSTGRES])
def opened(request, tmp_path):
    """Return what opens a store on disk, the same one each time."""
    if request.param == "sqlite":
        return lambda: SqliteStore.open(tmp_path / "store.db")
    dsn = request.getfixturevalue("dsn")
    return lambda: PostgresStore.open(dsn, node="one")


@pytest.fixture(params=["as it happened", "opened again"])
def settle(request):
    """Return what is done before the store is looked at."""

    async def settle(shelf: Shelf) -> None:
        if request.param == "opened again":
            await shelf.open()

    return settle
