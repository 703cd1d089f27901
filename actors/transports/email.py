"""Email over SMTP.

=============================================== =============== ====================================================
the server                                      outcome         because
=============================================== =============== ====================================================
2yz to the end of the mail                      Sent            it has taken the mail (RFC 5321, 4.2.5)
4yz to any command, 421 among them              Transient       it says: later (RFC 5321, 4.2.1)
no connection, lost before the end of the mail  Transient       without its end a mail is no mail (RFC 5321, 4.1.1.4)
no connection free within `connect_timeout`     UNSENT          it is ours that are busy: no attempt, and no failure
a reply that is none, before the end            Transient       the same
5yz with 5.1.1, 5.1.2, 5.1.3 or 5.1.6, to RCPT  DeadDestination no such mailbox, no such host, no such form of
or at the end of the mail                                       address, moved without an address (RFC 3463, 3.2)
5yz with 5.1.10, or 556, at the same places     DeadDestination its domain takes no mail (RFC 7505, RFC 7504)
530, 534, 535, 538 to any command               ChannelFault    it wants a login, or another one (RFC 4954, 6)
5yz with 5.1.7, 5.1.8, 5.7.1 or 5.7.27 to MAIL  ChannelFault    it does not take our sender, who is that of every
                                                                mail (RFC 3463, 3.2; RFC 6409, 6.1; RFC 7505, 4.2)
5yz to the connection, EHLO, STARTTLS or AUTH   ChannelFault    no mail was spoken of: it is about us (RFC 5321,
                                                                3.1; RFC 7504: 521; RFC 3207, 4; RFC 4954, 4)
4yz to AUTH, 432 and 454 among them             Transient       it says: later (RFC 4954, 6)
504 or 534 to AUTH, and another mechanism is    (that one's)    not with this one (RFC 4954, 4 and 6)
there
no STARTTLS, no AUTH, a certificate that does   ChannelFault    no mail goes out in the clear, or to another server
not verify
other 5yz                                       Permanent       it does not take this mail; 550 without an enhanced
                                                                code among them, which may be a matter of policy
a control character in subject or recipient     Permanent       refused here: it could begin a header or a command
a recipient that is no mailbox, or several      Permanent       refused here
an address outside ASCII, and no SMTPUTF8       Permanent       it cannot be said to this server (RFC 6531, 3.2)
lost after the end of the mail, or a reply that Ambiguous       it may have taken the mail, or not (RFC 5321, 4.5.3.2)
is none
=============================================== =============== ====================================================

A refusal counts when its reply has come, also when the server hangs up behind it. User names and passwords go out in
UTF-8 (RFC 4616). An internationalised domain needs nothing of the server; it goes out as its A-labels. An attempt that
is cancelled cuts its connection: a mail that the server has not taken by then, it never takes.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import trio

from actors.domain.attempts import UNSENT, Attempt, Unsent
from actors.errors import ConfigurationError
from actors.messages import SendNotification
from actors.outcomes import Outcome, Permanent
from actors.settings.base import validated
from actors.settings.transports import SmtpConfig
from actors.transports.mail import Unsendable, mail_of, parse_mailbox
from actors.transports.smtp_connections import Flight, SmtpPool
from actors.transports.transport import Transport, connection_patience_s, tls_context


class EmailProvider(Transport):
    """Hands mails to a mail server.

    The message is plain text, or HTML with ``html: True`` in the metadata, as an HTML template has it; then ``text`` in
    the metadata may give the plain text part. The Message-ID follows from the notification's id and stays the same over
    attempts.
    """

    def __init__(self, config: SmtpConfig | Mapping[str, Any], *, clock: Callable[[], float] = time.time) -> None:
        config = validated(SmtpConfig, config)
        try:
            self._sender = parse_mailbox(config.sender)
        except Unsendable as error:
            raise ConfigurationError([f"sender: wanted a mailbox, got {config.sender!r} ({error})"]) from None
        self._pool = SmtpPool(config, tls_context(config.ca_file))
        self._connections_max = config.connections
        # trio asks no more of a limiter than that it has these two methods.
        self._slots = cast("trio.CapacityLimiter", _Slots(config.connections, config.connect_timeout))
        self._clock = clock

    @property
    def connections_max(self) -> int:
        return self._connections_max

    def recipient_problem(self, command: SendNotification) -> str | None:
        try:
            parse_mailbox(command.recipient)
        except Unsendable as error:
            return f"{error}; wanted one such as ann@example.com"
        return None

    def attempt(self, attempt: Attempt, now_ns: int) -> Callable[[], Awaitable[Outcome | Unsent]]:

        async def send() -> Outcome | Unsent:
            flight = Flight()
            try:
                return await trio.to_thread.run_sync(
                    self._deliver, attempt, flight, abandon_on_cancel=True, limiter=self._slots
                )
            except trio.TooSlowError:
                return UNSENT
            except trio.Cancelled:
                flight.leave()
                raise

        return send

    def _deliver(self, attempt: Attempt, flight: Flight) -> Outcome:
        try:
            mail = mail_of(attempt.command, self._sender, self._clock(), key=attempt.idempotency_key)
        except Unsendable as error:
            is_its_content = self.recipient_problem(attempt.command) is None
            return Permanent(reason=str(error), unwritten=is_its_content)
        return self._pool.deliver(mail, flight)

    async def aclose(self) -> None:
        self._pool.close()
        await trio.lowlevel.checkpoint()


class _Slots:
    """So many threads at once; a caller that gets none in time gets :exc:`trio.TooSlowError`.

    A cancelled attempt's thread has its slot until it ends, so there never are more connections than slots.
    """

    def __init__(self, count: int, patience: float) -> None:
        self._limiter = trio.CapacityLimiter(count)
        self._patience = patience

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        with trio.fail_after(connection_patience_s(self._patience)):
            await self._limiter.acquire_on_behalf_of(borrower)

    def release_on_behalf_of(self, borrower: object) -> None:
        self._limiter.release_on_behalf_of(borrower)
