"""What the services that are killed in tests have in common; each is run as a script, and so imports it by its name."""

import os
from contextlib import AbstractAsyncContextManager
from typing import Any

from actors import PostgresStore, SendNotification, SqliteStore


def say(*words: object) -> None:
    """Say something so that it is known even if this process is gone right behind it."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def opened_store(path: str, **of_a_node: Any) -> AbstractAsyncContextManager[Any]:
    """Open the file of a store, or a database of PostgreSQL's, ``postgresql://…``, as a node with these settings."""
    return PostgresStore.open(path, **of_a_node) if path.startswith("postgresql:") else SqliteStore.open(path)


def push(name: object, **more: Any) -> SendNotification:
    """Return a notification to a device, unless `more` names another channel."""
    given = {"notification_id": str(name), "channel": "push", "recipient": f"device-{name}", "message": "Hello"}
    return SendNotification(**given | more)
