"""A host of a world that speaks HTTP/1.1, with or without TLS: a provider of the scenario, or never there."""

from __future__ import annotations

from functools import lru_cache
from http.client import responses
from typing import Any, Final

from actors.optional_dependencies import needs
from simulation.world.host import Host
from simulation.world.host_stream import HostStream
from simulation.world.provider import Fate, HostAnswer, HostRequest
from simulation.world.sockets import WorldSocket

with needs("world"):
    import h11

_HANDSHAKE: Final = b"\x16"
"""The first byte of TLS; no request of HTTP begins so."""


class HttpHost(Host):
    """One host of a world that speaks HTTP."""

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
