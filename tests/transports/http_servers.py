"""An HTTP server for tests, on loopback: h11 under trio, answering by a script."""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import h11
import trio

DROP = "drop"
"""In place of an answer: the connection is gone."""

HANG = "hang"
"""In place of an answer: there is none."""


class Reply(NamedTuple):
    status: int
    body: bytes | dict[str, Any] | str = b""
    headers: dict[str, str] = {}  # noqa: RUF012
    cut_off: bool = False
    """The connection is gone before the end of the body."""
    endless: bool = False
    """The connection stays, and the end of the body does not come."""
    after: float = 0.0
    """Seconds that it takes."""


class Request(NamedTuple):
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Said = Reply | str | bytes
"""Bytes are sent as they are, and the connection is kept."""

Script = Sequence[Said] | Callable[[Request], Said]


class HttpServer:
    """A server under way; `script` may be changed."""

    def __init__(self, script: Script, scheme: str, host: str) -> None:
        self.script = script if callable(script) else list(script)
        self.requests: list[Request] = []
        self.connections = 0
        self.scheme = scheme
        self.host = host
        self.port = 0
        self.hangs = trio.Event()
        """Set while a client waits for an answer that does not come."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def _reply(self, request: Request) -> Said:
        if callable(self.script):
            return self.script(request)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        try:
            async with stream:
                await self._serve(stream)
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass

    async def _serve(self, stream: trio.abc.Stream) -> None:
        connection = h11.Connection(h11.SERVER)

        async def next_event() -> Any:
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(65536))
            return event

        while True:
            head = await next_event()
            if not isinstance(head, h11.Request):
                return
            body = b""
            while isinstance(event := await next_event(), h11.Data):
                body += event.data
            headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
            request = Request(head.target.decode(), headers, body)
            self.requests.append(request)
            reply = self._reply(request)
            if reply == HANG:
                self.hangs.set()
                await stream.receive_some(1)
                return
            if isinstance(reply, bytes):
                await stream.send_all(reply)
                connection = h11.Connection(h11.SERVER)
                continue
            if not isinstance(reply, Reply):
                return
            await trio.sleep(reply.after)
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            if isinstance(reply.body, str):
                content = reply.body.encode()
            length = {"content-length": str(len(content))} | reply.headers
            await stream.send_all(connection.send(h11.Response(status_code=reply.status, headers=list(length.items()))))
            if reply.cut_off:
                await stream.send_all(content[: len(content) // 2])
                return
            if reply.endless:
                await stream.send_all(content[: len(content) // 2])
                await stream.receive_some(1)
                return
            await stream.send_all(connection.send(h11.Data(data=content)) + connection.send(h11.EndOfMessage()))
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()


@asynccontextmanager
async def http_server(
    script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[HttpServer]:
    """Run a server; its answers are those of the script, the last one forever, or what a function says."""
    server = HttpServer(script, "http" if tls is None else "https", host)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=host)
        server.port = listener.socket.getsockname()[1]
        accepts = listener if tls is None else trio.SSLListener(listener, tls, https_compatible=True)
        nursery.start_soon(trio.serve_listeners, server.serve, [accepts])
        yield server
        nursery.cancel_scope.cancel()
