"""One HTTP/1.1 connection: requests are parsed by h11 and answered by an ASGI application, in the task that serves it.

It is made for clients who mean harm. Every wait for a client has a deadline, and the server can end it when it needs
the room. A body is read only when the application asks for it, so that an unwanted body costs nothing. A wrong request
ends its connection: with an answer if one can be sent, and never with an exception.

============================================  ========================================================================
from the client                               answer
============================================  ========================================================================
no request on a new connection, or half one   closed, or 408, after `head_s`
no further request                            closed after `idle_s`
a body slower than `body_bytes_per_s`         408, `body_s` after the instant at which it was due
an answer that is not taken                   closed after `send_s`
Content-Length beside Transfer-Encoding       400 and closed: two servers could read it differently (RFC 9112, 6.1)
HTTP/2, other versions                        505 and closed
an upgrade, such as to WebSocket or h2c       the request is answered as if it had not been asked for (RFC 9110, 7.8)
bytes that are no HTTP                        400
a head, or trailers, too long or of too many  431, before any of it is parsed: a header costs as much as a kilobyte
a head or a body in very many small parts     400: a hundred kilobytes in such parts would take seconds to read
============================================  ========================================================================
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum, auto
from functools import cached_property, lru_cache
from http import HTTPStatus
from typing import Final, Protocol

import h11
import trio
from starlette.types import ASGIApp

from actors.service.http_requests import BoundedParser, Ended, Message, scope_of

logger = logging.getLogger("retrylab.service")

READ_BYTES: Final = 2**16
"""The most that is read at once, and that is sent before a client's progress is looked at again."""

LINGER_S: Final = 1.0
"""Seconds for a client to take the last answer: closing a connection with unread bytes resets it, and an answer on its
way may be lost (RFC 9112, section 9.6)."""

PARTS_MAX: Final = 1_000
"""Parts in which a head or a body may come, beside one for each 64 bytes: each costs as much as a hundred bytes do."""

HURRIED_LINGER_S: Final = 0.05
"""As `LINGER_S`, while another client waits for the room."""

DISCARDED_MAX: Final = 100
"""How many received parts of an unwanted body are skipped to keep a connection."""

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


@dataclass(frozen=True)
class Limits:
    """How long clients may take, in seconds, and how much they may hold."""

    connections: int = 1_000
    """Connections at once; at most half of the file descriptors that the process may have. For one more, that which
    has been waited for the longest is closed."""
    idle_s: float = 75.0
    """Until a further request begins; more than the proxies in front have, so that these close first."""
    head_s: float = 10.0
    """For a request line and its headers."""
    body_s: float = 20.0
    """For a body, beside the time that it takes at `body_bytes_per_s`."""
    body_bytes_per_s: int = 2**15
    """The slowest that a body may come, in the long run."""
    send_s: float = 20.0
    """For a client to take 64 KiB of an answer."""
    head_bytes: int = 2**14
    """Bytes of a request line and its headers, or of the trailers of a body."""
    headers: int = 100
    bodies_bytes: int = 64 * 2**20
    """Bytes of all bodies of unanswered requests; a body may be in memory several times while it is read."""


class Waits(Enum):
    """The step of its client for which a connection waits."""

    BEGIN = auto()
    FINISH = auto()
    """Finish a head or a body that the client has begun."""
    TAKE = auto()


class Room(Protocol):
    """The calls of a connection to its server."""

    def changed(self) -> None:
        """Note that a connection begins to wait for its client, and may be sent away, or has ended."""

    def hold(self, connection: Connection, size: int) -> bool:
        """Note that a part of a body is held; tell whether there is room, for which another one may have to go."""

    def release(self, size: int) -> None:
        """Note that `size` bytes are no longer in memory."""


def place_of(error: Exception) -> str:
    """Return where an error was raised, as the log has it; empty where that is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""


def _say(error: Exception, is_over: bool) -> None:
    if is_over:  # the application knows that the request has ended, and stops by this error
        logger.debug("a request ended early: %s", type(error).__name__)
        return
    logger.error(
        "a request failed: %s",
        type(error).__name__,
        extra={"fields": {"at": place_of(error)}},
        exc_info=error if logger.isEnabledFor(logging.DEBUG) else None,
    )


class Connection:
    """One connection of a server. No input of a client makes :meth:`serve` raise; only bugs of this module do."""

    def __init__(self, stream: trio.SocketStream, app: ASGIApp, limits: Limits, room: Room) -> None:
        """Take over a stream, which its maker closes; `room` is shared with other connections."""
        self._is_last = False
        """Whether the request being answered, or else the next one, is the last."""
        self._stream = stream
        self._app = app
        self._limits = limits
        self._room = room
        self._h11 = BoundedParser(limits.head_bytes, limits.headers)
        self._waits_for: Waits | None = None
        self._waits_since = trio.current_time()
        self._scope: trio.CancelScope | None = None
        self._is_first = True
        self.is_sent_away = False
        """Whether it is to end as soon as it would wait for its client."""
        self._is_broken = False
        self._begin_request()

    def _begin_request(self) -> None:
        self._method = b""
        self.body_bytes = 0
        """Bytes of a body that are held until its request is answered."""
        self._body_parts = 0
        self._body_since: float | None = None
        self._has_body_ended = False
        self._head = b""
        """The head of the answer, until something of its body is there: both go out together."""
        self._has_content = True
        self._has_started = self._has_answered = False
        self._is_over = False
        """Whether the application hears that the client has gone: it has, or the server has answered in its place."""

    @property
    def waits(self) -> tuple[Waits, float] | None:
        """The awaited step of its client, and since when (on trio's clock); None: it does not wait, or no longer."""
        return None if self._waits_for is None or self.is_sent_away else (self._waits_for, self._waits_since)

    @property
    def reads_since(self) -> float | None:
        """Since when it reads a body that has begun (on trio's clock); None: it reads none, or no longer."""
        reads = self.body_bytes > 0 and not (self._has_body_ended or self._is_over or self.is_sent_away)
        return self._body_since if reads else None

    def finish(self) -> None:
        """Have the request that is being answered be the last one. A client that has not finished its request is sent
        away."""
        self._is_last = True
        if self.waits is not None and self.waits[0] is not Waits.TAKE:
            self.send_away()

    def send_away(self) -> None:
        """End it where it waits for its client: with 503 if a request has begun."""
        self.is_sent_away = True
        if self._scope is not None:
            self._scope.cancel()

    async def serve(self) -> None:
        try:
            while await self._answer_next():
                pass
        except Ended as ended:
            await self._refuse(ended)
        except h11.RemoteProtocolError as error:
            await self._refuse(Ended(error.error_status_hint, "wanted HTTP/1.1"))
        except _BROKEN:
            self._is_broken = True
        await self._linger()

    async def _linger(self) -> None:
        if self._is_broken or self._h11.our_state is h11.IDLE:
            return
        patience = HURRIED_LINGER_S if self.is_sent_away else LINGER_S
        with suppress(Ended, *_BROKEN):
            await self._stream.send_eof()
            self._waits_since = trio.current_time()
            with self._waiting(Waits.BEGIN, self._waits_since + patience):
                while await self._stream.receive_some(READ_BYTES):
                    pass

    @contextmanager
    def _waiting(self, waits: Waits, deadline: float) -> Generator[None, None, None]:
        """Let the block wait for the client; raise Ended at the deadline, or when the server wants the room."""
        with trio.CancelScope(deadline=deadline) as scope:
            self._scope, self._waits_for = scope, waits
            self._room.changed()
            try:
                yield
            finally:
                self._scope = self._waits_for = None
        if scope.cancelled_caught:
            raise self._too_late()

    def _too_late(self) -> Ended:
        if self.is_sent_away:
            return Ended(HTTPStatus.SERVICE_UNAVAILABLE, "others need the connection")
        return Ended(HTTPStatus.REQUEST_TIMEOUT, "the request came too slowly")

    async def _read(self, waits: Waits, deadline: float) -> bool:
        """Read what comes next; tell whether anything did, and raise Ended where nothing came in time."""
        if self.is_sent_away or trio.current_time() >= deadline:
            raise self._too_late()
        with self._waiting(waits, deadline):
            data = await self._stream.receive_some(READ_BYTES)
        if not data:
            self._is_broken = self._is_over = True
            return False
        self._h11.receive_data(data)
        return True

    async def _write(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), READ_BYTES):
            self._waits_since = trio.current_time()
            try:
                with self._waiting(Waits.TAKE, self._waits_since + self._limits.send_s):
                    await self._stream.send_all(view[start : start + READ_BYTES])
            except Ended:  # a part of the answer may be on its way: nothing more can be sent
                raise trio.BrokenResourceError from None

    async def _answer_next(self) -> bool:
        request = await self._next_request()
        if request is None:
            return False
        self._method = request.method.upper()
        scope = scope_of(request, *self._ends)
        try:
            await self._app(scope, self._receive, self._send)
            if not self._has_answered and not self._is_over:
                raise RuntimeError("the application has not answered")
        except Exception as error:
            _say(error, self._is_over)
        except trio.Cancelled:  # the process ends: on a signal, or since its store has failed
            with trio.CancelScope(shield=True):
                await self._refuse(Ended(HTTPStatus.SERVICE_UNAVAILABLE, "the service is stopping"))
            raise
        finally:
            self._room.release(self.body_bytes)
            self.body_bytes = 0
        if self._is_over:
            return False
        if not self._has_started:
            raise Ended(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")
        if not self._has_answered or self._is_last:
            return False
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        self._begin_request()
        return True

    async def _next_request(self) -> h11.Request | None:
        if self._is_last:
            return None
        limits = self._limits
        self._waits_since = trio.current_time()
        waits, patience = Waits.BEGIN, limits.head_s if self._is_first else limits.idle_s
        self._is_first = False
        parts = 0
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            if (parts := parts + 1) > PARTS_MAX:
                raise Ended(HTTPStatus.BAD_REQUEST, "the request comes in too many parts")
            if waits is Waits.BEGIN and self._h11.trailing_data[0]:
                waits, patience, self._waits_since = Waits.FINISH, limits.head_s, trio.current_time()
            try:
                if not await self._read(waits, self._waits_since + patience):
                    return None
            except Ended:
                if waits is Waits.BEGIN:
                    return None
                raise
        return event if isinstance(event, h11.Request) else None

    @cached_property
    def _ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """The addresses of the client and of the server; the system is asked once, and not for each request."""
        return self._stream.socket.getpeername()[:2], self._stream.socket.getsockname()[:2]

    async def _receive(self) -> Message:
        await trio.lowlevel.checkpoint()  # the received bytes may be many small parts
        if not self._is_over and not self._has_answered:
            try:
                if not self._has_body_ended:
                    return await self._next_part()
                await self._until_gone()
            except Ended as ended:
                await self._refuse(ended)
            except h11.RemoteProtocolError as error:
                await self._refuse(Ended(error.error_status_hint, "wanted a body as HTTP/1.1 has it"))
            except _BROKEN:
                self._is_broken = True
            self._is_over = True
        return {"type": "http.disconnect"}

    async def _next_part(self) -> Message:
        if self._h11.they_are_waiting_for_100_continue:
            await self._write(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])))
        if self._body_since is None:
            self._body_since = trio.current_time()
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._waits_since = self._body_since
            in_time = self._limits.body_s + self.body_bytes / self._limits.body_bytes_per_s
            if not await self._read(Waits.FINISH, self._body_since + in_time):
                raise Ended
        if not isinstance(event, h11.Data):
            self._has_body_ended = True
            return {"type": "http.request", "body": b"", "more_body": False}
        self.body_bytes += len(event.data)
        self._body_parts += 1
        if self._body_parts > PARTS_MAX + self.body_bytes // 64:
            raise Ended(HTTPStatus.BAD_REQUEST, "the body comes in too many parts")
        if not self._room.hold(self, len(event.data)):
            raise Ended(HTTPStatus.SERVICE_UNAVAILABLE, "too many bodies are being read")
        return {"type": "http.request", "body": bytes(event.data), "more_body": True}

    async def _until_gone(self) -> None:
        while len(self._h11.trailing_data[0]) < READ_BYTES:
            data = await self._stream.receive_some(READ_BYTES)
            if not data:
                self._is_broken = True
                return
            self._h11.receive_data(data)
        await trio.sleep_forever()

    def _discard(self) -> None:
        for _ in range(DISCARDED_MAX):
            event = self._h11.next_event()
            if isinstance(event, h11.EndOfMessage):
                self._has_body_ended = True
            if not isinstance(event, h11.Data):
                return

    async def _send(self, message: Message) -> None:
        if self._is_over:
            await trio.lowlevel.checkpoint()
            return
        if message["type"] == "http.response.start":
            self._head = self._h11.send(self._response_of(message))
            self._has_started = True
            return
        parts, self._head = [self._head], b""
        if (body := message.get("body", b"")) and self._has_content:
            parts += self._h11.send_with_data_passthrough(h11.Data(data=body)) or ()
        if has_ended := not message.get("more_body", False):
            parts += self._h11.send_with_data_passthrough(h11.EndOfMessage()) or ()
        if len(body) <= READ_BYTES:  # a larger one is not copied
            parts = [b"".join(parts)]
        try:
            for part in parts:
                await self._write(part)
        except _BROKEN:
            self._is_broken = self._is_over = True
        self._has_answered = has_ended

    def _response_of(self, message: Message) -> h11.Response:
        status, headers = message["status"], list(message.get("headers", []))
        if not self._has_body_ended:
            with suppress(h11.RemoteProtocolError, Ended):
                self._discard()
        if self._is_last or not self._has_body_ended:
            headers.append((b"connection", b"close"))
        self._has_content = self._method != b"HEAD" and status not in (204, 304)
        return h11.Response(status_code=status, headers=[*headers, (b"date", _date(int(time.time())))])

    async def _refuse(self, ended: Ended) -> None:
        may_answer = self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE)
        if ended.status is None or self._is_broken or not may_answer:
            return
        self._has_started = True
        text = f'{{"detail":"{ended.why}"}}'.encode()
        written = self._h11.send(_refusal(ended.status, text))
        written += b"" if self._method == b"HEAD" else self._h11.send(h11.Data(data=text))
        written += self._h11.send(h11.EndOfMessage())
        with trio.move_on_after(HURRIED_LINGER_S if self.is_sent_away else LINGER_S):  # mostly it takes no time
            try:
                await self._stream.send_all(written)
                return
            except _BROKEN:
                pass
        self._is_broken = True


def _refusal(status: int, text: bytes) -> h11.Response:
    headers = [
        (b"connection", b"close"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(text)),
        (b"date", _date(int(time.time()))),
    ]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"1"))
    return h11.Response(status_code=status, headers=headers)


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("ascii")
