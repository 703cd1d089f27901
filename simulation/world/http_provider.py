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
        await self._serve(HostStream(sock, self.tls_context if speaks_tls else None), sock, fate)

    async def _serve(self, stream: HostStream, sock: WorldSocket, fate: Fate | None) -> None:
        connection = h11.Connection(h11.SERVER)
        request: Any = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    await stream.send(connection.send(h11.InformationalResponse(status_code=100, headers=[])))
                connection.receive_data(await stream.receive())
            elif isinstance(event, h11.Request):
                request, body = event, bytearray()
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                if not await self._answer(stream, sock, connection, self._request(request, bytes(body)), fate):
                    return
                fate = None
            else:
                return

    def _request(self, request: Any, body: bytes) -> HostRequest:
        return HostRequest(
            host=self.name,
            method=request.method.decode("ascii"),
            path=request.target.decode("ascii", "replace"),
            headers=tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers),
            body=body,
        )

    async def _answer(
        self, stream: HostStream, sock: WorldSocket, connection: Any, request: HostRequest, fate: Fate | None
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
        closes = answer.broken == "cut" or self.provider.may_refuse
        await stream.send(_written(connection, request, answer, closes=closes))
        self.goes_on(sock)
        if answer.broken == "cut" or connection.our_state is not h11.DONE:
            await stream.close()
            return False
        connection.start_next_cycle()
        return True


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[tuple[str, str], ...]) -> Any:
    """Return the first line of an answer and its headers; h11 takes long to check them, and they repeat."""
    return h11.Response(status_code=status, headers=list(headers), reason=responses.get(status, ""))


def _written(connection: Any, request: HostRequest, answer: HostAnswer, *, closes: bool) -> bytes:
    has_body = request.method != "HEAD" and answer.status not in (204, 304)
    headers = [*answer.headers]
    if has_body or answer.body:
        headers.append(("content-length", str(len(answer.body))))
    if closes:
        headers.append(("connection", "close"))
    written: bytes = connection.send(_head(answer.status, tuple(headers)))
    if has_body and answer.body:
        body = answer.body[:-1] if answer.broken == "cut" else answer.body
        written += connection.send(h11.Data(data=body)) if body else b""
    if answer.broken != "cut":
        written += connection.send(h11.EndOfMessage())
    return written
