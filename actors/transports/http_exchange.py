"""One request over HTTP, and the outcome when it did not go well.

==================================== =============== ==============================================================
the request                          outcome         because
==================================== =============== ==============================================================
answered                             (an answer)     its status counts, also where its body is cut off or slow
answered with 4xx but 429, its body  Transient,      where only the body says what it means (`errors_in_body`); it is
cut off or slow                      or an answer    refused, so that nothing was done (RFC 9110, 15.5)
no URL, or no header that there is   Permanent       nothing can be sent
to an address that is not allowed    Permanent       refused here, and nothing was said
no connection free within            UNSENT          it is ours that are busy: no attempt, and no failure
`connect_timeout`
no connection opened within that     Transient       nothing was said
a certificate that does not verify   ChannelFault,   nothing was said; Transient where the server is a recipient's
                                     or Transient    (RFC 9110, 4.3.4)
lost before the answer, or one that  Ambiguous       it may have been handled (RFC 9110, 9.2.2)
is none
==================================== =============== ==============================================================

What failed before a connection stood was not sent; once it stood, that is not known. Redirects are not followed, no
proxy is taken from the environment, no cookie is kept, and of an answer only a bounded part is read. A notification's
id is any text; :func:`header_value` writes it in the characters that a header may hold.
"""

from __future__ import annotations

import json
import re
import ssl
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import trio

from actors.domain.attempts import UNSENT, Attempt, Unsent
from actors.errors import described
from actors.instants import NS_PER_S
from actors.optional_dependencies import needs
from actors.outcomes import Ambiguous, ChannelFault, Outcome, Permanent, Transient
from actors.settings.quantities import LONGEST_S
from actors.transports.http_connections import CheckedNetwork, HostShares, check_behind
from actors.transports.transport import ANSWER_LENGTH_MAX, Transport, connection_patience_s, tls_context

with needs("live"):
    import httpcore2
    import httpx2

if TYPE_CHECKING:
    from actors.settings.transports import HttpSettings

BODY_SIZE_MAX = 64 * 1024
"""Bytes of an answer that are read; the rest is left, and the connection closed."""

BODY_PATIENCE = 2.0
"""Seconds that the body of an answer may take, or half of the remaining time limit, if that is less. The status has
come by then: were the body waited for to the end of the limit, a message that was taken would count as timed out, and
be sent again."""


class Failed(Exception):
    """There is no answer; the outcome says what that means."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class NoConnectionFree(Exception):
    """All of our own connections were busy for so long that nothing was sent: no attempt, and no failure."""


class TargetRefused(Exception):
    """An address that requests must not go to."""


class HttpAnswer(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    """The headers of the answer, by name in lower case."""
    body: bytes
    """The first BODY_SIZE_MAX bytes of the body."""
    at: float
    """When it came, in seconds since 1970."""
    cut_off: bool = False
    """Whether its body did not come to an end, or not in time. The status counts all the same."""

    @property
    def text(self) -> str:
        """The answer as it is kept with an outcome."""
        return f"{self.status} {self.body[: 4 * ANSWER_LENGTH_MAX].decode('utf-8', 'replace')}"[
            :ANSWER_LENGTH_MAX
        ].strip()

    @property
    def json(self) -> dict[str, Any]:
        """The object that the body is in JSON; empty when it is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def retry_after(self) -> float | None:
        """Seconds that it asks to wait, at least 0; None when it does not say, or not intelligibly."""
        return retry_after(self.headers.get("retry-after"), self.headers.get("date"), self.at)


def retry_after(value: str | None, date: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After header (RFC 9110, 10.2.3) asks to wait, at least 0, or None.

    Args:
        value: The header: seconds, or a date.
        date: The Date of the same answer: by this clock a date is meant.
        now: Seconds since 1970 by ours, for an answer without a Date.
    """
    if value is None:
        return None
    if re.fullmatch(r"\d+", value.strip(), re.ASCII):
        return min(float(value), LONGEST_S)
    then = _seconds(value)
    if then is None:
        return None
    said_at = None if date is None else _seconds(date)
    return min(max(0.0, then - (now if said_at is None else said_at)), LONGEST_S)


def _seconds(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


class HttpExchange:
    """Makes requests, over connections that are kept for the next one.

    Args:
        config: How many connections, and for how long.
        clock: The time in seconds since 1970.
        network: Who connects; anywhere when None.
        is_ours: Whether there is one server, of our provider: then a certificate that does not verify is a fault of the
            channel, and all connections may go there. Else of one recipient, who takes none of the others' connections.
        errors_in_body: Whether only the body says what an error of 4xx means, but for a 429. With its body cut off it
            is no answer then: a failure that may pass, since nothing was done. One of 5xx may have done something.

    Raises:
        ConfigurationError: the certificates to trust cannot be read.
    """

    def __init__(
        self,
        config: HttpSettings,
        clock: Callable[[], float],
        *,
        network: httpcore2.AsyncNetworkBackend | None = None,
        is_ours: bool = True,
        errors_in_body: bool = True,
    ) -> None:
        self._shares = None if is_ours else HostShares(config.connections)
        connections = config.connections if self._shares is None else self._shares.total
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls_context(config.ca_file),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=config.idle_max,
            network_backend=CheckedNetwork(httpcore2.TrioBackend() if network is None else network),
        )
        self.connections_max = config.connections
        """How many requests there may be at once."""
        self._connect_timeout = config.connect_timeout
        self._clock = clock
        self._is_ours = is_ours
        self._errors_in_body = errors_in_body

    async def post(self, url: str, headers: Mapping[str, str], content: bytes) -> HttpAnswer:
        """Return the answer to a POST.

        Raises:
            Failed: there is none.
            NoConnectionFree: it was not sent.
        """
        patience_s = self._connect_timeout
        try:
            request = httpx2.Request(
                "POST", url, headers={"user-agent": "retrylab", "accept": "*/*", **headers}, content=content
            )
            target = request.url
            if not target.host:
                raise httpx2.InvalidURL("no host in it")
            assembled = httpcore2.Request(
                method="POST",
                url=httpcore2.URL(
                    scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
                ),
                headers=request.headers.raw,
                content=content,
                extensions={"timeout": {"connect": patience_s, "pool": connection_patience_s(patience_s)}},
            )
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise Failed(Permanent(reason="not a URL", answer=str(error))) from None
        if self._shares is None:
            return await self._answer(assembled)
        with trio.move_on_after(connection_patience_s(patience_s)) as patience:
            await self._shares.acquire(assembled.url.host)
        if patience.cancelled_caught:
            raise NoConnectionFree
        try:
            return await self._answer(assembled)
        finally:
            self._shares.release(assembled.url.host)

    async def _answer(self, request: httpcore2.Request) -> HttpAnswer:
        try:
            response = await self._pool.handle_async_request(request)
        except TargetRefused as error:
            raise Failed(Permanent(reason="target address not allowed", answer=str(error))) from None
        except httpcore2.PoolTimeout:
            raise NoConnectionFree from None
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
            raise Failed(self._unconnected(error)) from None
        except httpcore2.UnsupportedProtocol as error:
            raise Failed(Permanent(reason="not a URL", answer=str(error))) from None
        except httpcore2.LocalProtocolError as error:
            refused = Permanent(reason="no request that could be sent", answer=str(error), unwritten=True)
            raise Failed(refused) from None
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError) as error:
            raise Failed(Ambiguous(reason="connection lost before the answer", answer=_described(error))) from None
        headers_received = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        body, cut_off = await self._body(response)
        answer = HttpAnswer(response.status, headers_received, body, self._clock(), cut_off is not None)
        is_unread = cut_off is not None and 400 <= response.status < 500 and response.status != 429
        if is_unread and self._errors_in_body:
            raise Failed(Transient(reason="answer cut off", answer=cut_off, retry_after=answer.retry_after))
        return answer

    async def _body(self, response: httpcore2.Response) -> tuple[bytes, str | None]:
        """Return the body of an answer, and why that is not all of it, where it did not come to an end."""
        body = bytearray()
        cut_off: str | None = None
        left = trio.current_effective_deadline() - trio.current_time()
        patience_s = max(0.0, min(BODY_PATIENCE, left / 2))
        try:
            with trio.move_on_after(patience_s) as patience:
                async with aclosing(response.aiter_stream()) as parts:
                    async for part in parts:
                        body += part
                        if len(body) >= BODY_SIZE_MAX:
                            break
            if patience.cancelled_caught:
                cut_off = f"no end of it within {patience_s:.2g} s"
            elif len(body) < BODY_SIZE_MAX:
                check_behind(response)
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError) as error:
            cut_off = _described(error)
        finally:
            await response.aclose()
        return bytes(body[:BODY_SIZE_MAX]), cut_off

    def _unconnected(self, error: Exception) -> Outcome:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                reason, answer = "certificate of the server does not verify", cause.verify_message
                if self._is_ours:
                    return ChannelFault(reason=reason, answer=answer)
                return Transient(reason=reason, answer=answer, connection=True)
            cause = cause.__cause__ or cause.__context__
        return Transient(reason="no connection", answer=_described(error), connection=True)

    async def aclose(self) -> None:
        await self._pool.aclose()


class HttpTransport(Transport):
    """A transport that makes requests; each kind says which, and reads the answers."""

    _http: HttpExchange

    @property
    def connections_max(self) -> int:
        return self._http.connections_max

    def attempt(self, attempt: Attempt, now_ns: int) -> Callable[[], Awaitable[Outcome | Unsent]]:
        until_ns = attempt.wanted_until_ns
        wanted_for = None if until_ns is None else max(0, until_ns - now_ns) / NS_PER_S

        async def send() -> Outcome | Unsent:
            try:
                return await self._send(attempt, wanted_for)
            except Failed as failed:
                return failed.outcome
            except NoConnectionFree:
                return UNSENT

        return send

    @abstractmethod
    async def _send(self, attempt: Attempt, wanted_for: float | None) -> Outcome:
        """Send it; return the outcome by the answer, or raise Failed. `wanted_for` are the seconds until its
        notification expires; None: it never does."""

    async def aclose(self) -> None:
        await self._http.aclose()


def _described(error: Exception) -> str:
    return described(error)[:ANSWER_LENGTH_MAX]


_KEPT = "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


def header_value(text: str) -> str:
    """Return `text` with everything percent-encoded that is no visible ASCII, and the % itself: no two are the same."""
    return quote(text, safe=_KEPT, errors="surrogatepass")
