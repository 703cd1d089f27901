"""A host of a world that speaks HTTP/1.1 (RFC 9112), with or without TLS: a provider of the scenario, or never there.

It reads a head by one regular expression: a state machine such as h11's would take as long as the client does.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http.client import responses
from typing import Final

from actors.errors import ConfigurationError
from simulation.world.host import Host
from simulation.world.host_stream import HostStream
from simulation.world.provider import Fate, Headers, HostAnswer, HostRequest
from simulation.world.sockets import WorldSocket

_HANDSHAKE: Final = b"\x16"
"""The first byte of TLS; no request of HTTP begins so."""

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIELD: Final = rb"\r?\n" + _TOKEN + rb":[^\x00\r\n]*"
_HEAD: Final = re.compile(rb"(?:\r?\n)*(%b) ([!-~]+) HTTP/1\.([01])((?:%b)*)\r?\n\r?\n" % (_TOKEN, _FIELD))
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[^\r\n]*\r?\n")
_TRAILERS: Final = re.compile(rb"(?:%b)*\r?\n" % _FIELD.removeprefix(rb"\r?\n"))
_HEAD_MAX: Final = 1 << 16
_ILLEGAL: Final = re.compile(r"[\x00\r\n]")


class _NotHttp(Exception):
    """The client has sent what is no request."""


class HttpHost(Host):
    """One host of a world that speaks HTTP."""

    gone = (OSError, _NotHttp)
    status_word = "HTTP"

    async def _session(self, sock: WorldSocket, fate: Fate | None) -> None:
        assert sock.rx is not None
        while not sock.rx.is_readable:
            await sock.rx.readers.park()
        speaks_tls = sock.rx.data[:1] == _HANDSHAKE
        stream = HostStream(sock, self.tls_context if speaks_tls else None)
        requests = _Requests(self.name, stream)
        while (request := await requests.next()) is not None:
            if not await self._answer(stream, sock, request, fate, goes_on=requests.go_on):
                return
            fate = None

    async def _answer(
        self, stream: HostStream, sock: WorldSocket, request: HostRequest, fate: Fate | None, *, goes_on: bool
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
        goes_on = goes_on and answer.broken != "cut" and not self.provider.may_refuse
        await stream.send(_written(request, answer, closes=not goes_on))
        self.goes_on(sock)
        if not goes_on:
            await stream.close()
        return goes_on


class _Requests:
    def __init__(self, host: str, stream: HostStream) -> None:
        self._host, self._stream = host, stream
        self._unread = b""
        self.go_on = True
        """Whether the client lets further requests follow the latest one."""

    async def next(self) -> HostRequest | None:
        """Wait for a request; None: the client has ended the connection.

        Raises:
            OSError: the connection was reset.
            _NotHttp: what comes is no request.
        """
        while (head := _HEAD.match(self._unread)) is None:
            if len(self._unread) > _HEAD_MAX or _BLANK_LINE.search(self._unread):
                raise _NotHttp
            if not await self._more():
                return None
        self._unread = self._unread[head.end() :]
        headers = _headers(head[4])
        names = dict(headers)
        if head[3] == b"1" and "host" not in names:
            raise _NotHttp
        connection = names.get("connection", "" if head[3] == b"1" else "close")
        self.go_on = "close" not in connection.lower()
        if "100-continue" in names.get("expect", "").lower() and not self._unread:
            await self._stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return HostRequest(
            host=self._host,
            method=head[1].decode("ascii"),
            path=head[2].decode("ascii"),
            headers=headers,
            body=await self._body(names),
        )

    async def _body(self, names: dict[str, str]) -> bytes:
        if "transfer-encoding" not in names:
            length = names.get("content-length", "0")
            if not (length.isascii() and length.isdigit()):
                raise _NotHttp
            return await self._take(int(length))
        body = b""
        while size := int((await self._matched(_CHUNK))[1], 16):
            body += await self._take(size)
            await self._take(2)
        await self._matched(_TRAILERS)
        return body

    async def _matched(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        while (found := pattern.match(self._unread)) is None:
            if len(self._unread) > _HEAD_MAX or not await self._more():
                raise _NotHttp
        self._unread = self._unread[found.end() :]
        return found

    async def _take(self, size: int) -> bytes:
        while len(self._unread) < size:
            if not await self._more():
                raise _NotHttp
        taken, self._unread = self._unread[:size], self._unread[size:]
        return taken

    async def _more(self) -> bool:
        came = await self._stream.receive()
        self._unread += came
        return bool(came)


@lru_cache(maxsize=256)
def _headers(fields: bytes) -> Headers:
    split = (line.split(":", 1) for line in fields.decode("latin-1").split("\n")[1:])
    return tuple((name.lower(), value.strip()) for name, value in split)


@lru_cache(maxsize=256)
def _head(status: int, headers: Headers) -> bytes:
    lines = [f"HTTP/1.1 {status} {responses.get(status, '')}", *(f"{name}: {value}" for name, value in headers)]
    if any(_ILLEGAL.search(line) for line in lines):
        raise ConfigurationError([f"answer: wanted headers without line ends, got {headers!r:.100}"])
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


def _written(request: HostRequest, answer: HostAnswer, *, closes: bool) -> bytes:
    has_body = request.method != "HEAD" and answer.status not in (204, 304)
    headers = [*answer.headers]
    if has_body or answer.body:
        headers.append(("content-length", str(len(answer.body))))
    if closes:
        headers.append(("connection", "close"))
    head = _head(answer.status, tuple(headers))
    if not has_body:
        return head
    return head + (answer.body[:-1] if answer.broken == "cut" else answer.body)
