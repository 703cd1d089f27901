"""A host of a world that takes mails: a provider of the scenario behind SMTP (RFC 5321), with STARTTLS and AUTH.

The fate of a mail is decided at its end, or when the connection is opened where that may be refused. Any user name and
password is right.

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

from __future__ import annotations

import email.message
import email.policy
import re
from typing import Final

import trio

from actors.faults.rules import OUTAGE
from simulation.world.host import Host
from simulation.world.provider import Fate, HostAnswer, HostRequest
from simulation.world.sockets import WorldSocket

_IMPLICIT_TLS_PORT: Final = 465
_LINE_MAX: Final = 4096
_CHALLENGES: Final = {"PLAIN": ("",), "LOGIN": ("VXNlcm5hbWU6", "UGFzc3dvcmQ6"), "CRAM-MD5": ("PHdvcmxkPg==",)}
"""What each mechanism asks for; a response that comes with the command answers the first."""

_OFFERS: Final = ("8BITMIME", "SMTPUTF8", "SIZE 36700160", "ENHANCEDSTATUSCODES", f"AUTH {' '.join(_CHALLENGES)}")

_REPLIES: Final = {
    401: "530 5.7.0 injected channel fault",
    410: "550 5.1.1 injected dead destination",
    422: "554 5.6.0 injected permanent failure",
    429: "450 4.7.1 too many mails",
}
"""Replies by the status that HTTP has for the same outcome."""


class SmtpHost(Host):
    """One mail server of a world."""

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
