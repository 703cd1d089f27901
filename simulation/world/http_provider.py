"""A host of a world that speaks HTTP/1.1, with or without TLS: a provider of the scenario, or never there."""

from __future__ import annotations

import contextlib
import errno
import os
import ssl
from functools import lru_cache
from http.client import responses
from typing import Any, Final

from actors.optional_dependencies import needs
from simulation.world.host import Host
from simulation.world.provider import Fate, HostAnswer, HostRequest
from simulation.world.sockets import WorldSocket

# ── the stream to a host ──────────────────────────────────────────────────────────────────────────────────────────────


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


with needs("world"):
    import h11

_HANDSHAKE: Final = b"\x16"
"""The first byte of TLS; no request of HTTP begins so."""


class HttpHost(Host):
    gone = (OSError, h11.RemoteProtocolError)
    status_word = "HTTP"

    async def _session(self, sock: WorldSocket, fate: Fate | None) -> None:
        assert sock.rx is not None
        while not sock.rx.is_readable:
            await sock.rx.readers.park()
        speaks_tls = sock.rx.data[:1] == _HANDSHAKE
        stream, further = HostStream(sock, self.tls_context if speaks_tls else None), b""
        while True:
            connection = h11.Connection(h11.SERVER)  # for one request: what it is answered is written apart
            connection.receive_data(further or await stream.receive())
            if (request := await self._request(stream, connection)) is None:
                return
            closes = connection.their_state is h11.MUST_CLOSE
            if not await self._answer(stream, sock, request, fate, closes=closes):
                return
            fate, (further, _) = None, connection.trailing_data

    async def _request(self, stream: HostStream, connection: Any) -> HostRequest | None:
        """Read a request; None: the client has closed the connection instead."""
        request: Any = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    await stream.send(connection.send(h11.InformationalResponse(status_code=100, headers=[])))
                connection.receive_data(await stream.receive())
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return None
        return HostRequest(
            host=self.name,
            method=request.method.decode("ascii"),
            path=request.target.decode("ascii", "replace"),
            headers=tuple(
                [(name.decode("ascii").lower(), value.decode("latin-1")) for name, value in request.headers.raw_items()]
            ),
            body=bytes(body),
        )

    async def _answer(
        self, stream: HostStream, sock: WorldSocket, request: HostRequest, fate: Fate | None, *, closes: bool
    ) -> bool:
        if (work := await self.work_on(request, sock, fate)) is None:
            return False
        answer = work.answer
        work.seen.end(answer.shown, work.outcome)
        if answer.broken in ("reset", "refused", "unreachable"):
            sock.reset()
            return False
        if answer.broken == "closed":
            return False
        assert self.provider is not None
        said = {(name.lower(), value.lower()) for name, value in answer.headers}
        closes |= answer.broken == "cut" or self.provider.may_refuse or ("connection", "close") in said
        await stream.send(_written(request, answer, closes=closes))
        self.idle[sock] = None
        if closes:
            await stream.close()
        return not closes


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Return the first line of an answer and its headers as they are sent: they repeat."""
    response = h11.Response(status_code=status, headers=list(headers), reason=responses.get(status, ""))
    return bytes(h11.Connection(h11.SERVER).send(response))


def _written(request: HostRequest, answer: HostAnswer, *, closes: bool) -> bytes:
    has_none = answer.status in (204, 304)
    headers = [each for each in answer.headers if each[0].lower() != "transfer-encoding"]
    if answer.body or not has_none:
        headers.append(("content-length", str(len(answer.body))))
    if closes:
        headers.append(("connection", "close"))
    body = b"" if has_none or request.method == "HEAD" else answer.body
    return _head(answer.status, tuple(headers)) + (body[:-1] if answer.broken == "cut" else body)
