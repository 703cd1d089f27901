"""Mail servers for tests: aiosmtpd that answers by a script, and one that says byte by byte what its script says."""

import asyncio
import contextlib
import socket
import ssl
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import SMTP, AuthResult

DROP = "drop"
"""In place of a reply: the connection is gone."""

HANG = "hang"
"""In place of a reply: there is none."""


class Script:
    """What the server answers: by command, one reply after the other, and then its own ones."""

    def __init__(self, **replies: str | Sequence[str]) -> None:
        self.replies = {verb: [said] if isinstance(said, str) else list(said) for verb, said in replies.items()}
        self.mails: list[EmailMessage] = []
        self.contents: list[bytes] = []
        self.options: list[list[str]] = []
        self.recipients: list[str] = []
        self.said: dict[str, int] = defaultdict(int)
        self.hangs = threading.Event()
        """Set while a client waits for a reply that does not come."""
        self.lost = threading.Event()
        """Set when a client was lost that waited so."""

    async def _reply(self, verb: str, server: SMTP, usual: str) -> str:
        self.said[verb] += 1
        replies = self.replies.get(verb)
        reply = replies.pop(0) if replies else usual
        if reply == DROP:
            server.transport.abort()
            await asyncio.sleep(3600)
        if reply == HANG:
            self.hangs.set()
            try:
                await asyncio.sleep(3600)
            finally:
                self.lost.set()
        return reply

    async def handle_MAIL(self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        reply = await self._reply("MAIL", server, "250 OK")
        if reply.startswith("250"):
            envelope.mail_from = address
            self.options.append(options)
        return reply

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        reply = await self._reply("RCPT", server, "250 OK")
        if reply.startswith("25"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_RSET(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        return await self._reply("RSET", server, "250 OK")

    async def handle_QUIT(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        return await self._reply("QUIT", server, "221 Bye")

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        replies = self.replies.get("DATA")
        if not (replies and replies[0].startswith(("4", "5"))):
            self.recipients += envelope.rcpt_tos
            self.contents.append(envelope.original_content)
            self.mails.append(message_from_bytes(envelope.original_content, policy=policy.default))
        return await self._reply("DATA", server, "250 2.0.0 taken")

    async def handle_exception(self, error: Exception) -> str:
        return "451 4.3.0 the script has failed"


class Running:
    """A server under way."""

    def __init__(self, port: int, script: Script, sessions: list[Any]) -> None:
        self.port = port
        self.script = script
        self.sessions = sessions
        """One for each connection that was made."""
        self.logins: list[tuple[bytes, bytes]] = []
        """User names and passwords that have come."""
        self.lines: list[str] = []
        """What has come, where the server reads nothing but lines."""

    def settings(self, **more: Any) -> dict[str, Any]:
        """Return what a provider needs to know to send to it."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "security": "none",
            "sender": "Shop <shop@example.com>",
            "local_hostname": "client.test",
            **more,
        }


@contextlib.contextmanager
def mail_server(
    script: Script | None = None,
    *,
    starttls: ssl.SSLContext | None = None,
    implicit: ssl.SSLContext | None = None,
    password: str | None = None,
    smtputf8: bool = True,
    port: int = 0,
    without: Sequence[str] = (),
) -> Iterator[Running]:
    """Run a mail server on loopback, in a thread; it logs in without the mechanisms `without`."""
    script = script or Script()
    sessions: list[Any] = []
    logins: list[tuple[bytes, bytes]] = []

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        logins.append((data.login, data.password))
        good = getattr(data, "password", b"") == (password or "").encode()
        return AuthResult(success=good, handled=False)

    class Listener(Controller):
        def factory(self) -> SMTP:
            class Counting(SMTP):
                def connection_made(self, transport: Any) -> None:
                    if not self._tls_handshake_okay or self.session is None:
                        sessions.append(transport)
                    super().connection_made(transport)

            return Counting(
                script,
                hostname="mail.test",
                tls_context=starttls,
                enable_SMTPUTF8=smtputf8,
                auth_required=password is not None,
                auth_require_tls=True,
                auth_exclude_mechanism=without,
                authenticator=authenticate if password is not None else None,
                loop=self.loop,
            )

    with socket.socket() as free:
        free.bind(("127.0.0.1", port))
        port = free.getsockname()[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        controller = Listener(script, hostname="127.0.0.1", port=port, ssl_context=implicit)
        controller.start()
    sessions.clear()  # it has tried whether it listens
    try:
        running = Running(port, script, sessions)
        running.logins = logins
        yield running
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            controller.stop()


@contextlib.contextmanager
def raw_server(*turns: bytes | None, closes: bool = True, tls: ssl.SSLContext | None = None) -> Iterator[Running]:
    """Run a server for one connection that says each of `turns` after a line has come; the first without waiting."""
    listener = socket.create_server(("127.0.0.1", 0))
    running = Running(listener.getsockname()[1], Script(), [])

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as lines:
                for number, turn in enumerate(turns):
                    if number:
                        line = lines.readline()
                        if not line:
                            break
                        running.lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                    if turn is not None:
                        connection.sendall(turn)
                if not closes:
                    while lines.readline():
                        pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield running
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
