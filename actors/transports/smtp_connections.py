"""Connections to a mail server, kept for the next mail, and used in threads since `smtplib` blocks.

A thread cannot be cancelled, so a caller that no longer wants its mail to be sent cuts the connection under it: the
thread wakes up at once, whatever it waited for, and throws the connection away.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import re
import smtplib
import socket
import ssl
import threading
import time
from typing import Final

from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.transports import SmtpConfig
from actors.transports.mail import Mail
from actors.transports.transport import ANSWER_LENGTH_MAX

LOGIN_CODES: Final = frozenset({530, 534, 535, 538})
"""Authentication required, or too weak, or failed, or only over TLS (RFC 4954)."""

DEAD_CODES: Final = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})
"""Bad mailbox, bad system, bad syntax of the destination, mailbox that has moved (RFC 3463), null MX (RFC 7505)."""

NO_MAIL_THERE: Final = 556
"""The domain of the recipient takes no mail (RFC 7504)."""

SENDER_CODES: Final = frozenset({"5.1.7", "5.1.8", "5.7.1", "5.7.27"})
"""Bad syntax, bad system of the sender, not authorized (RFC 3463), whose domain has a null MX (RFC 7505)."""

MECHANISMS: Final = ("PLAIN", "LOGIN", "CRAM-MD5")
"""Ways to log in, of which the first that the server offers is taken. Passwords only go over TLS; PLAIN and LOGIN show
the server the password itself, so that its no to one of them is a no to the password."""

MECHANISM_CODES: Final = frozenset({504, 534})
"""The server does not have this mechanism, or it is too weak (RFC 4954): another one may do."""

_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3}(?= |$)")


class Unreachable(Exception):
    """There is no connection to send over; nothing of a mail was said."""

    def __init__(self, outcome: Transient | ChannelFault) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class SmtpConnection:
    """One connection. One thread at a time may use it, and any thread may cut it."""

    def __init__(self, config: SmtpConfig, context: ssl.SSLContext) -> None:
        self._config = config
        self._context = context
        self._smtp = smtplib.SMTP(local_hostname=config.local_hostname, timeout=config.connect_timeout)
        self._lock = threading.Lock()
        self._is_cut = False
        self.is_usable = False
        self.mails_sent = 0
        self.idle_since = 0.0

    def open(self) -> None:
        """Connect, start TLS and log in, as the settings say; raise Unreachable where it could not be done."""
        config = self._config
        try:
            address = (config.host, config.port_used)
            self._adopt(socket.create_connection(address, timeout=config.connect_timeout))
            if config.security == "implicit":
                self._start_tls()
            _check(*self._smtp.getreply(), 220)
            _check(*self._smtp.ehlo(), 250)
            if config.security == "starttls":
                if not self._smtp.has_extn("starttls"):
                    raise Unreachable(ChannelFault(reason="the server offers no STARTTLS"))
                _check(*self._smtp.docmd("STARTTLS"), 220)
                self._start_tls()
                _check(*self._smtp.ehlo(), 250)  # an offer from before may have come from anyone
            if config.username is not None and config.password is not None:
                self._log_in(config.username, config.password.reveal())
            self._socket.settimeout(config.timeout)
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(
                ChannelFault(reason="certificate of the server does not verify", answer=error.verify_message)
            ) from None
        except smtplib.SMTPResponseException as error:  # a reply that is no reply
            raise Unreachable(Transient(reason="unintelligible reply", answer=_text(error.smtp_error))) from None
        except (OSError, smtplib.SMTPException) as error:  # also socket.gaierror and TimeoutError
            answer = f"{type(error).__name__}: {error}"
            raise Unreachable(Transient(reason="no connection", answer=answer, connection=True)) from None
        self.is_usable = True

    def _adopt(self, sock: socket.socket) -> None:
        with self._lock:
            if self._is_cut:
                sock.close()
                raise ConnectionAbortedError("cut")
            self._smtp.sock = sock
            self._smtp.file = None  # smtplib makes a new one; what came before TLS is gone

    @property
    def _socket(self) -> socket.socket:
        if self._smtp.sock is None:
            raise smtplib.SMTPServerDisconnected("connection lost")
        return self._smtp.sock

    def _start_tls(self) -> None:
        wrapped = self._context.wrap_socket(
            self._socket, server_hostname=self._config.host, do_handshake_on_connect=False
        )
        self._adopt(wrapped)
        wrapped.do_handshake()

    def _log_in(self, username: str, password: str) -> None:
        offered = self._smtp.esmtp_features.get("auth", "").upper().split()
        refusal: Transient | ChannelFault = ChannelFault(
            reason="login not possible", answer=f"AUTH {' '.join(offered)}"[:ANSWER_LENGTH_MAX]
        )
        try:
            # RFC 4616 has UTF-8; of the other two no text speaks of any encoding. The library has ASCII alone.
            name, secret = username.encode(), password.encode()
            for mechanism in MECHANISMS:
                if mechanism not in offered:
                    continue
                code, text = self._authenticate(mechanism, name, secret)
                if code in (235, 503):  # 503: this connection has logged in
                    return
                refusal = _outcome_before_mail(code, text)
                if code not in MECHANISM_CODES:
                    break  # with another one a wrong password would count twice, and a hang-up then hide this reply
        except ValueError:  # half a surrogate pair, a challenge that is none; its text would show what stands there
            refusal = ChannelFault(reason="login not possible", answer="user name, password or challenge not readable")
        raise Unreachable(refusal)

    def _authenticate(self, mechanism: str, name: bytes, secret: bytes) -> tuple[int, bytes]:
        """Say AUTH (RFC 4954), answer the questions of the server, and return its last reply."""
        smtp = self._smtp
        if mechanism == "CRAM-MD5":  # RFC 2195
            code, challenge = smtp.docmd("AUTH", mechanism)
            if code != 334:
                return code, challenge
            digest = hmac.new(secret, base64.b64decode(challenge, validate=True), "md5").hexdigest()
            return smtp.docmd(_base64(name + b" " + digest.encode()))
        first, second = (name, secret) if mechanism == "LOGIN" else (b"\0".join((b"", name, secret)),) * 2
        code, text = smtp.docmd("AUTH", f"{mechanism} {_base64(first)}")
        # Asked again, PLAIN says the same: some servers read nothing behind the mechanism's name.
        return smtp.docmd(_base64(second)) if code == 334 else (code, text)

    def reset(self) -> bool:
        """Make ready for another mail; tell whether the connection is still alive, with no reply that is unread."""
        try:
            if self._has_unread():  # it would be taken for the reply to RSET, and each later one for the next one's
                return False
            self._socket.settimeout(self._config.connect_timeout)
            code, _ = self._smtp.rset()
            self._socket.settimeout(self._config.timeout)
        except (OSError, smtplib.SMTPException):
            return False
        return code == 250

    def _has_unread(self) -> bool:
        self._socket.settimeout(0)
        try:
            return self._smtp.file is not None and bool(self._smtp.file.peek(1))
        except ssl.SSLWantReadError:
            return False

    def send(self, mail: Mail) -> Outcome:
        smtp = self._smtp
        options = ""
        if mail.needs_smtputf8:
            if not smtp.has_extn("smtputf8"):
                is_the_senders = not mail.recipient.needs_smtputf8
                return Permanent(reason="the server takes no internationalised address", unwritten=is_the_senders)
            options += " SMTPUTF8 BODY=8BITMIME"
        if smtp.has_extn("size"):
            options += f" SIZE={len(mail.content)}"
        smtp.command_encoding = "utf-8" if mail.needs_smtputf8 else "ascii"
        self.mails_sent += 1
        self.is_usable = False
        try:
            outcome = (
                self._command("MAIL", f"FROM:<{mail.sender.path}>{options}", 250)
                or self._command("RCPT", f"TO:<{mail.recipient.path}>", 250, 251, 252)
                or self._command("DATA", "", 354)
            )
            if outcome is not None:
                return outcome
            smtp.send(re.sub(rb"(?m)^\.", b"..", mail.content) + b".\r\n")
        except (OSError, smtplib.SMTPException) as error:
            return Transient(reason="connection lost before the end of the mail", answer=str(error))
        try:
            code, text = smtp.getreply()
        except (OSError, smtplib.SMTPException) as error:
            return Ambiguous(reason="connection lost after the end of the mail", answer=str(error))
        if 400 <= code < 600:
            return self._refusal(code, text, "")
        if not 200 <= code < 300:
            return Ambiguous(reason="unintelligible reply", answer=_answer(code, text))
        self.is_usable = self.mails_sent < self._config.mails_per_connection
        return Sent(answer=_answer(code, text))

    def _command(self, verb: str, arguments: str, *wanted: int) -> Outcome | None:
        code, text = self._smtp.docmd(verb, arguments)
        if code in wanted:
            return None
        return self._refusal(code, text, verb)

    def _refusal(self, code: int, text: bytes, verb: str) -> Outcome:
        self.is_usable = 400 <= code < 600 and code != 421 and self.mails_sent < self._config.mails_per_connection
        return outcome_of_reply(code, text, verb)

    def cut(self) -> None:
        """Have all work over this connection fail at once. From any thread."""
        with self._lock:
            self._is_cut = True
            if self._smtp.sock is not None:
                with contextlib.suppress(OSError):
                    # An SSLSocket's own method would take its TLS away from under the thread that uses it.
                    socket.socket.shutdown(self._smtp.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it, with a QUIT if the server is still there, and without waiting for an answer."""
        if self.is_usable:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self._smtp.putcmd("QUIT")
        self.is_usable = False
        with self._lock:
            self._smtp.close()


class Flight:
    """A mail on its way in a thread, which its caller may leave at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_left = False
        self._connection: SmtpConnection | None = None

    def board(self, connection: SmtpConnection) -> None:
        """Take this connection; raise Unreachable where no caller waits for the mail any more."""
        with self._lock:
            if self._is_left:
                raise Unreachable(Transient(reason="cancelled"))
            self._connection = connection

    def land(self) -> bool:
        """Let the connection go; tell whether it was not cut."""
        with self._lock:
            self._connection = None
            return not self._is_left

    def leave(self) -> None:
        with self._lock:
            self._is_left = True
            if self._connection is not None:
                self._connection.cut()


class SmtpPool:
    """Connections that wait for the next mail. How many are in use at once is up to the callers of :meth:`deliver`."""

    def __init__(self, config: SmtpConfig, context: ssl.SSLContext) -> None:
        self._config = config
        self._context = context
        self._lock = threading.Lock()
        self._idle: list[SmtpConnection] = []
        self._is_closed = False

    def deliver(self, mail: Mail, flight: Flight) -> Outcome:
        """Send a mail over an idle connection, or over a new one; blocks."""
        connection: SmtpConnection | None = None
        try:
            while (connection := self._take_idle()) is not None:
                flight.board(connection)
                if connection.reset():
                    return connection.send(mail)
                connection.is_usable = False
                connection.close()  # the server has closed it meanwhile
            connection = SmtpConnection(self._config, self._context)
            flight.board(connection)
            connection.open()
            return connection.send(mail)
        except Unreachable as error:
            return error.outcome
        finally:
            whole = flight.land()
            if connection is not None:
                self._give_back(connection, whole=whole)

    def _take_idle(self) -> SmtpConnection | None:
        oldest = time.monotonic() - self._config.idle_max
        with self._lock:
            connection = self._idle.pop() if self._idle else None
            stale = [other for other in self._idle if other.idle_since < oldest]
            self._idle = [other for other in self._idle if other.idle_since >= oldest]
        if connection is not None and connection.idle_since < oldest:
            stale.append(connection)
            connection = None
        for other in stale:
            other.close()
        return connection

    def _give_back(self, connection: SmtpConnection, *, whole: bool) -> None:
        connection.idle_since = time.monotonic()
        with self._lock:
            if whole and connection.is_usable and not self._is_closed:
                self._idle.append(connection)
                return
        connection.is_usable &= whole
        connection.close()

    def close(self) -> None:
        """Close idle connections, and from now on every other one when its mail is done."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def outcome_of_reply(code: int, text: bytes, verb: str) -> Outcome:
    """Return the outcome of a mail that was refused with this reply.

    Args:
        code: The three digits; anything else than 4yz and 5yz is no reply that could come here.
        text: The text behind the code, with its enhanced code where the server gives one (RFC 2034).
        verb: The command that it answers: MAIL, RCPT, DATA, or nothing for the end of the mail. RCPT and the end of the
            mail speak of the recipient, MAIL of the sender. Servers pass on at RCPT the words of other servers on this
            sender, so there they concern one recipient.
    """
    decoded = _text(text)
    found = _ENHANCED.match(decoded)
    enhanced = found[0] if found else ""
    answer = _answer(code, text)
    reason = f"SMTP {code} {enhanced}".rstrip()
    if code in LOGIN_CODES:
        return ChannelFault(reason=reason, answer=answer)
    if not 500 <= code < 600:
        return Transient(reason=reason if code >= 400 else "unintelligible reply", answer=answer)
    if verb == "MAIL" and enhanced in SENDER_CODES:
        return ChannelFault(reason=reason, answer=answer)
    if verb in ("RCPT", "") and (enhanced in DEAD_CODES or code == NO_MAIL_THERE):
        return DeadDestination(reason=reason, answer=answer)
    return Permanent(reason=reason, answer=answer)


def _check(code: int, text: bytes, wanted: int) -> None:
    if code != wanted:
        raise Unreachable(_outcome_before_mail(code, text))


def _outcome_before_mail(code: int, text: bytes | str) -> Transient | ChannelFault:
    answer = _answer(code, text)
    if 500 <= code < 600:
        return ChannelFault(reason=f"SMTP {code} before any mail", answer=answer)
    return Transient(reason=f"SMTP {code} before any mail" if code >= 400 else "unintelligible reply", answer=answer)


def _base64(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _answer(code: int, text: bytes | str) -> str:
    return f"{code} {_text(text)}"


def _text(text: bytes | str) -> str:
    decoded = text if isinstance(text, str) else text.decode("utf-8", "replace")
    return decoded[:ANSWER_LENGTH_MAX]
