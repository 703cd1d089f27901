"""What is between a node and its database: a socket of its own, which can be cut and mended."""

from __future__ import annotations

from pathlib import Path

import trio

SOCKET = ".s.PGSQL.5432"
"""The name that PostgreSQL gives to its socket in a directory."""


class DatabaseLink:
    """Relays connections to a server; those that are there end when it is cut, and new ones until it is mended."""

    def __init__(self, directory: Path, server: Path) -> None:
        """Get ready to run.

        Args:
            directory: where its own socket is to be.
            server: where that of the server is.
        """
        self._directory = directory
        self._server = server / SOCKET
        self._is_cut = False
        self._relayed: set[trio.CancelScope] = set()

    def url(self, database: str) -> str:
        """Return what to connect to a database of the server by, through it."""
        before, _, _ = database.partition("?host=")
        return f"{before}?host={self._directory}"

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self._directory.mkdir()
        listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await listening.bind(str(self._directory / SOCKET))
        listening.listen()
        await trio.serve_listeners(self._relay, [trio.SocketListener(listening)], task_status=task_status)  # type: ignore[arg-type]

    def cut(self) -> None:
        """Have nobody reach the server."""
        self._is_cut = True
        for scope in self._relayed:
            scope.cancel()

    def mend(self) -> None:
        """Let all reach it again."""
        self._is_cut = False

    async def _relay(self, client: trio.SocketStream) -> None:
        async with client:
            if self._is_cut:
                return
            async with await trio.open_unix_socket(str(self._server)) as server, trio.open_nursery() as nursery:
                self._relayed.add(nursery.cancel_scope)
                nursery.start_soon(self._pump, client, server, nursery.cancel_scope)
                nursery.start_soon(self._pump, server, client, nursery.cancel_scope)
            self._relayed.discard(nursery.cancel_scope)

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async for chunk in source:
                await sink.send_all(chunk)
        except trio.BrokenResourceError:
            pass
        scope.cancel()
