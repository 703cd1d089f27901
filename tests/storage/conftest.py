"""A PostgreSQL for the tests of the stores: one server for all, started when the first of them needs it."""

from __future__ import annotations

import pytest
from postgres_server import NoServer, running_server


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
    """Return the database of all tests that need no more than a schema of their own."""
    return postgres_server.new_database()


@pytest.fixture
def dsn(postgres_server) -> str:
    """Return an empty database, for one test."""
    return postgres_server.new_database()
