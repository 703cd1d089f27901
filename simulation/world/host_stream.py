"""The host's end of a connection, with or without TLS.

A host takes no steps of trio's scheduler but where it waits, so it costs the run less than a second client would.
"""

from __future__ import annotations

import contextlib
import errno
import os
import ssl
from typing import Final

from simulation.world.sockets import WorldSocket

_READ: Final = 65536


class HostStream:
    """Reads and writes bytes over a socket of a host."""

    def __init__(self, sock: WorldSocket, context: ssl.SSLContext | None) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = None if context is None else context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def receive(self) -> bytes:
        """Wait for bytes, and return them; none at the end of the connection.

        Raises:
            OSError: the connection was reset, or the client broke off the handshake.
        """
        half = self._sock.rx
        assert half is not None
        while True:
            if self._tls is not None and (self._incoming.pending or self._tls.pending()):
                try:
                    return self._tls.read(_READ)
                except ssl.SSLWantReadError:
                    await self._flush()
                except ssl.SSLZeroReturnError:
                    return b""
                except ssl.SSLError:
                    with contextlib.suppress(OSError):
                        await self._flush()  # the alert
                    raise
            while not half.is_readable:
                await half.readers.park()
            if half.reset:
                raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            got = half.take()
            if self._tls is None or not got:
                return got
            self._incoming.write(got)

    async def send(self, data: bytes) -> None:
        """Send bytes, and wait only where the client reads too slowly."""
        if self._tls is None:
            await self._send(data)
        else:
            self._tls.write(data)
            await self._flush()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._send(self._outgoing.read())

    async def _send(self, data: bytes) -> None:
        view, half = memoryview(data), self._sock.tx
        assert half is not None
        while view:
            await self._sock.wait_for_room()
            view = view[half.put(view) :]

    async def close(self) -> None:
        """Say that nothing more will come."""
        if self._tls is not None:
            with contextlib.suppress(ssl.SSLError, OSError):
                with contextlib.suppress(ssl.SSLWantReadError):
                    self._tls.unwrap()
                await self._flush()
        self._sock.close()
