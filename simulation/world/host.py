"""The hosts of a world: each lets connections in, and has its provider work on what comes, by HTTP or SMTP."""

from __future__ import annotations

import contextlib
import email.message
import email.policy
import errno
import os
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from http.client import responses
from typing import Any, ClassVar, Final, NamedTuple

import trio

from actors.faults.rules import OUTAGE
from actors.optional_dependencies import needs
from actors.outcomes import Outcome, Sent, Transient
from simulation.scenario.world import HostConfig
from simulation.world.provider import Fate, HostAnswer, HostRequest, VirtualProvider
from simulation.world.sockets import WorldSocket, looked_up_for, whose
from simulation.world.traffic import Seen, Traffic


class Work(NamedTuple):
    seen: Seen
    fate: Fate
    answer: HostAnswer
    outcome: Outcome | None
    """The outcome of the attempt: a function of the user's may have refused a request that the provider would take."""


class Host(ABC):
    gone: ClassVar[tuple[type[Exception], ...]]
    """The errors of a session whose client has gone, or breaks the protocol."""

    status_word: ClassVar[str]
    """The text before the status of an answer where that is the reason of a failure."""

    def __init__(
        self,
        name: str,
        config: HostConfig,
        provider: VirtualProvider | None,
        traffic: Traffic,
        tls: Callable[[str, HostConfig], ssl.SSLContext],
    ) -> None:
        """Make a host; `provider` is None for one that is never there, `tls` gives its context."""
        self.name = name
        self.config = config
        self.refusal = "refused"
        """How the latest connection was refused."""
        self.provider = provider
        self._traffic = traffic
        self._tls = tls
        self._fates: list[Fate] = []
        """The fate of the request for which a connection is being opened."""
        self.idle: dict[WorldSocket, None] = {}
        """Connections over which no request is under way."""

    @property
    def tls_context(self) -> ssl.SSLContext:
        return self._tls(self.name, self.config)

    async def lets_in(self) -> bool:
        """Wait for the answer to a new connection; return False if it is refused."""
        if self.provider is None or not self.provider.may_refuse:
            return True
        seen = self._traffic.begin(
            self.config, HostRequest(host=self.name, method="CONNECT", path=""), looked_up_for.get() or whose()
        )
        fate = self.provider.begin(seen.command, seen.number)
        if not fate.is_refused:
            self._traffic.forget(seen)
            self._fates.append(fate)
            return True
        try:
            outcome = await fate.known()
        except trio.Cancelled:
            seen.lost()
            raise
        self.refusal = self.provider.answer_to(outcome, seen.request).broken or "refused"
        seen.end(self.refusal, outcome)
        return False

    def reset_idle(self) -> None:
        for sock in list(self.idle):
            sock.reset()

    async def serve(self, sock: WorldSocket) -> None:
        fate = self._fates.pop() if self._fates else None
        self.idle[sock] = None
        try:
            await self._session(sock, fate)
        except self.gone:
            pass
        except Exception as error:
            self._traffic.failure = error
            raise
        finally:
            self.idle.pop(sock, None)
            sock.close()

    @abstractmethod
    async def _session(self, sock: WorldSocket, fate: Fate | None) -> None:
        """Speak the protocol over a connection; `fate` is of its first request, where that is decided already."""

    async def work_on(self, request: HostRequest, sock: WorldSocket, fate: Fate | None) -> Work | None:
        """Have the provider work on a request, which is not idle meanwhile; None: no answer comes, and the client has
        gone."""
        assert self.provider is not None
        assert sock.rx is not None
        began_ns = None if fate is None else fate.began_ns
        seen = self._traffic.begin(self.config, request, sock.rx.origin, began_ns=began_ns)
        if fate is None:
            fate = self.provider.begin(seen.command, seen.number)
        sock.rx.when_ended = seen.lost
        self.idle.pop(sock, None)
        answer = await fate.answer(request)
        if answer.broken == "silence":
            while not sock.rx.ended:
                await sock.rx.readers.park()
            return None
        sock.rx.when_ended = None
        outcome = fate.outcome
        if isinstance(outcome, Sent) and answer.status >= 400:
            outcome = Transient(reason=f"{self.status_word} {answer.status}")
        return Work(seen, fate, answer, outcome)


# ── hosts that speak HTTP ─────────────────────────────────────────────────────────────────────────────────────────────


# ── the stream to a host ──────────────────────────────────────────────────────────────────────────────────────────────


_READ: Final = 65536


class HostStream:
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


# ── hosts that speak SMTP ─────────────────────────────────────────────────────────────────────────────────────────────


_IMPLICIT_TLS_PORT: Final = 465
_LINE_MAX: Final = 4096
_CHALLENGES: Final = {"PLAIN": ("",), "LOGIN": ("VXNlcm5hbWU6", "UGFzc3dvcmQ6"), "CRAM-MD5": ("PHdvcmxkPg==",)}
"""The challenges of each mechanism; a response that comes with the command answers the first."""

_OFFERS: Final = ("8BITMIME", "SMTPUTF8", "SIZE 36700160", "ENHANCEDSTATUSCODES", f"AUTH {' '.join(_CHALLENGES)}")

_REPLIES: Final = {
    401: "530 5.7.0 injected channel fault",
    410: "550 5.1.1 injected dead destination",
    422: "554 5.6.0 injected permanent failure",
    429: "450 4.7.1 too many mails",
}
"""Replies by the status that HTTP has for the same outcome."""


class SmtpHost(Host):
    """A mail server of a world: a provider of the scenario behind SMTP (RFC 5321), with STARTTLS and AUTH.

    The fate of a mail is decided at its end, or when the connection is opened where that may be refused. Any user name
    and password is right.

    ===================================== ============================================================
    outcome                               reply to the end of the mail
    ===================================== ============================================================
    Sent                                  250
    Transient, throttled                  450 4.7.1
    Transient of an outage                421, and the connection ends; or the word of the host's `outage`
    other Transient                       451; or the word of the host's `failure`
    Permanent                             554 5.6.0
    DeadDestination                       550 5.1.1
    ChannelFault                          530 5.7.0
    Ambiguous                             the connection ends without a reply
    none (a hang, a lost reply)           silence
    ===================================== ============================================================
    """

    gone = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, EOFError)
    status_word = "status"

    async def _session(self, sock: WorldSocket, fate: Fate | None) -> None:
        await _Session(self, sock, fate).run()


class _Session:
    def __init__(self, host: SmtpHost, sock: WorldSocket, fate: Fate | None) -> None:
        self._host = host
        self._sock = sock
        self._fate = fate
        self._stream: trio.abc.Stream = trio.SocketStream(sock)
        self._is_secure = False
        self._unread = bytearray()
        self._recipients: list[str] | None = None

    async def run(self) -> None:
        if self._sock.getsockname()[1] == _IMPLICIT_TLS_PORT:
            self._secure()
        await self._say(f"220 {self._host.name} ESMTP")
        while True:
            verb, _, argument = (await self._line()).partition(" ")
            match verb.upper():
                case "EHLO":
                    lines = [self._host.name, *_OFFERS] if self._is_secure else [self._host.name, "STARTTLS", *_OFFERS]
                    await self._say(*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")
                case "HELO" | "RSET" | "NOOP":
                    self._recipients = None
                    await self._say("250 2.0.0 ok")
                case "STARTTLS" if not self._is_secure:
                    await self._say("220 2.0.0 go ahead")
                    self._secure()
                case "AUTH":
                    await self._log_in(argument)
                case "MAIL":
                    self._recipients = []
                    await self._say("250 2.1.0 ok")
                case "RCPT" if self._recipients is not None:
                    found = re.search(r"<(.*)>", argument)
                    self._recipients.append(argument if found is None else found[1])
                    await self._say("250 2.1.5 ok")
                case "DATA" if self._recipients:
                    await self._say("354 go ahead")
                    if not await self._take(await self._content(), self._recipients):
                        return
                    self._recipients = None
                case "QUIT":
                    await self._say("221 2.0.0 bye")
                    return
                case "MAIL" | "RCPT" | "DATA":
                    await self._say("503 5.5.1 bad sequence of commands")
                case _:
                    await self._say("502 5.5.1 command not implemented")

    def _secure(self) -> None:
        self._stream = trio.SSLStream(self._stream, self._host.tls_context, server_side=True)
        self._is_secure, self._unread = True, bytearray()  # what came in the clear is not to be trusted

    async def _log_in(self, argument: str) -> None:
        mechanism, _, first = argument.partition(" ")
        challenges = _CHALLENGES.get(mechanism.upper())
        if challenges is None:
            await self._say("504 5.5.4 no such mechanism")
            return
        for challenge in challenges[1:] if first else challenges:
            await self._say(f"334 {challenge}")
            await self._line()
        await self._say("235 2.7.0 welcome")

    async def _take(self, content: bytes, recipients: list[str]) -> bool:
        fate, self._fate = self._fate, None
        work = await self._host.work_on(_request(self._host.name, content, recipients), self._sock, fate)
        if work is None:
            return False
        broken = work.answer.broken
        reply = _reply(work.answer, is_outage=work.fate.outcome is OUTAGE)
        work.seen.end(reply[:3] if broken is None else broken, work.outcome)
        if broken in ("reset", "refused", "unreachable"):
            self._sock.reset()
        if reply:
            await self._say(reply)
        self._host.idle[self._sock] = None
        return broken is None and not reply.startswith("421")

    async def _content(self) -> bytes:
        lines = []
        while (line := await self._line_of_bytes(None)) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    async def _line(self) -> str:
        return (await self._line_of_bytes(_LINE_MAX)).decode("utf-8", "replace").strip()

    async def _line_of_bytes(self, size_max: int | None) -> bytes:
        while (end := self._unread.find(b"\r\n")) < 0:
            if size_max is not None and len(self._unread) > size_max:
                await self._say("500 5.5.2 line too long")
                raise EOFError
            data = await self._stream.receive_some()
            if not data:
                raise EOFError
            self._unread += data
        line = bytes(self._unread[: end + 2])
        del self._unread[: end + 2]
        return line

    async def _say(self, *lines: str) -> None:
        await self._stream.send_all("".join(f"{line}\r\n" for line in lines).encode())


def _request(host: str, content: bytes, recipients: list[str]) -> HostRequest:
    mail = email.message_from_bytes(content, policy=email.policy.default)
    text = mail.get_body(("plain", "html"))
    headers = tuple((name.lower(), str(value)) for name, value in mail.items())
    body = content if text is None else text.get_content().encode("utf-8", "replace")
    return HostRequest(host=host, method="MAIL", path="/" + ",".join(recipients), headers=headers, body=body)


def _reply(answer: HostAnswer, *, is_outage: bool) -> str:
    if answer.broken is not None:
        return {"cut": "25", "wrong": "<html>"}.get(answer.broken, "")
    if answer.status < 400:
        return "250 2.0.0 taken"
    return _REPLIES.get(answer.status) or ("421 4.3.2 out of service" if is_outage else "451 4.3.0 try again later")
