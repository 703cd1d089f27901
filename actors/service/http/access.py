"""Access: identifies callers and their rights, by tokens in a header or the console's session in a cookie.

A session is a text that anyone may read and only the service can write: name, end, a random part, and an HMAC-SHA256
over these whose key is derived from the token shown at the sign-in. So the service stores no sessions; a session
outlives a restart, holds at every node that has the same tokens, and ends when its token is taken away.

Signing out ends the session: this process remembers ended sessions for as long as they would have lasted. Another node,
or this one after a restart, does not know of the end. The browser has deleted its cookie by then; to make a copy of the
cookie worthless everywhere, replace the token.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from actors.service.http.guesses import Guesses, Network, Proxies
from actors.service.tokens import Role as Role, TokenConfig as TokenConfig

logger = logging.getLogger("retrylab.service")

SESSION_COOKIE = "retrylab_session"

SESSION_PATH = "/console"
"""Where a session counts. Nothing else takes one, so nothing else needs tokens against forged forms."""

SESSION_S = 8 * 3600
"""How long a session lasts, in seconds: a shift."""

_ALLOWED = {
    Role.INGEST: frozenset({Role.INGEST}),
    Role.READER: frozenset({Role.READER}),
    Role.OPERATOR: frozenset(Role),
}


ENDED_MAX = 1_000
"""Sessions of a token that have been ended and are remembered one by one."""


@dataclass(frozen=True)
class Principal:
    name: str
    role: Role

    def may(self, role: Role) -> bool:
        return role in _ALLOWED[self.role]


class EndedSessions:
    """The sessions that were ended before their time. Only the bearers of tokens can make the list grow.

    If a token has more ended sessions than are remembered, all its sessions up to the oldest forgotten one are over.
    """

    def __init__(self) -> None:
        self._ends_s: dict[bytes, dict[str, int]] = {}
        """By token and signature, when a session would have ended."""
        self._over_until_s: dict[bytes, int] = {}
        """By token, the end of the latest session that is over with all before it."""

    def add(self, token: bytes, signature: str, end_s: int, now_s: float) -> None:
        kept = {key: end for key, end in self._ends_s.get(token, {}).items() if end > now_s}
        kept[signature] = end_s
        if len(kept) > ENDED_MAX:
            oldest = min(kept, key=kept.__getitem__)
            self._over_until_s[token] = kept.pop(oldest)
        self._ends_s[token] = kept

    def has(self, token: bytes, signature: str, end_s: int) -> bool:
        return signature in self._ends_s.get(token, ()) or end_s <= self._over_until_s.get(token, 0)


class Access:
    """Knows the bearers of tokens; when the tokens of a service change it gets a new object with the same memory."""

    def __init__(
        self,
        tokens: Sequence[TokenConfig],
        *,
        ended: EndedSessions | None = None,
        guesses: Guesses | None = None,
        proxies: Proxies | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know these tokens, and what an earlier one remembers.

        `clock` gives seconds since 1970, for the end of sessions; `timer` seconds that never go back, for the limit of
        guesses.
        """
        self._bearers = [(token.secret.reveal().encode(), Principal(token.name, token.role)) for token in tokens]
        self._ended = EndedSessions() if ended is None else ended
        self._guesses = Guesses() if guesses is None else guesses
        self._proxies = Proxies() if proxies is None else proxies
        self._clock = clock
        self._timer = timer

    def with_settings(self, tokens: Sequence[TokenConfig], trusted_proxies: Sequence[Network]) -> Access:
        """Return an object with these tokens and proxies that shares this object's memory."""
        proxies = self._proxies if self._proxies.networks == tuple(trusted_proxies) else Proxies(trusted_proxies)
        return Access(
            tokens, ended=self._ended, guesses=self._guesses, proxies=proxies, clock=self._clock, timer=self._timer
        )

    def who(self, request: HTTPConnection) -> Principal | None:
        """Return who asks, by the token in the header or else by the session in the cookie; None: unknown, or too many
        tokens have been tried from there.

        Counts nothing: :meth:`refusal` does.
        """
        token = _token_of(request)
        if token is not None:
            found = self._look(request, token)
            return None if found is None else found[1]
        if "authorization" in request.headers or not request.scope["path"].startswith(SESSION_PATH):
            return None
        found = self._session(request.cookies.get(SESSION_COOKIE, ""))
        return None if found is None else found[1]

    def refusal(self, request: HTTPConnection, token: str | None = None) -> HTTPException:
        """Return the answer to an unknown caller, and count the token that was tried (the header's when None)."""
        token = _token_of(request) if token is None else token
        if token is not None:
            address, now = self._address_of(request), self._timer()
            wait = self._guesses.wait(address, token, now)
            if wait > 0:
                text = "too many unknown tokens came from this address"
                return HTTPException(429, text, {"Retry-After": str(math.ceil(wait))})
            if self._guesses.was_wrong(address, now):
                fields = {"address": address}
                logger.warning(
                    "too many unknown tokens from an address: others are refused for a while", extra={"fields": fields}
                )
        return HTTPException(401, "wanted a known token", {"WWW-Authenticate": "Bearer"})

    def begin_session(self, request: HTTPConnection, token: str) -> tuple[Principal, str] | None:
        found = self._look(request, token)
        if found is None:
            return None
        secret, principal = found
        name = urlsafe_b64encode(principal.name.encode()).decode()
        content = f"{name}.{int(self._clock()) + SESSION_S}.{secrets.token_urlsafe(12)}"
        return principal, f"{content}.{_signature(secret, 'session', content)}"

    def end_session(self, request: HTTPConnection) -> None:
        session = request.cookies.get(SESSION_COOKIE, "")
        found = self._session(session)
        if found is not None:
            content, _, signature = session.rpartition(".")
            self._ended.add(found[0], signature, _end_of(content), self._clock())

    def form_token(self, request: HTTPConnection) -> str | None:
        """Return what every form of this session has to carry, so that no other site can send one; None: no session.

        It changes with each sign-in.
        """
        session = request.cookies.get(SESSION_COOKIE, "")
        found = self._session(session)
        return None if found is None else _signature(found[0], "form", session)

    def is_form_token(self, request: HTTPConnection, given: str) -> bool:
        wanted = self.form_token(request)
        return wanted is not None and hmac.compare_digest(wanted.encode(), given.encode())

    def _look(self, request: HTTPConnection, token: str) -> tuple[bytes, Principal] | None:
        address = self._address_of(request)
        if self._guesses.wait(address, token, self._timer()) > 0:
            return None
        found = self._find(token)
        if found is not None:
            self._guesses.was_right(address, token)
        return found

    def _address_of(self, request: HTTPConnection) -> str:
        peer = request.client.host if request.client else ""
        return self._proxies.address_of(peer, ",".join(request.headers.getlist("x-forwarded-for")))

    def _find(self, token: str) -> tuple[bytes, Principal] | None:
        given = token.encode(errors="replace")
        found = None
        for secret, principal in self._bearers:  # all, so that the time does not tell which one it is
            if hmac.compare_digest(secret, given):
                found = secret, principal
        return found

    def _session(self, session: str) -> tuple[bytes, Principal] | None:
        content, _, signature = session.rpartition(".")
        for secret, principal in self._bearers:
            if hmac.compare_digest(_signature(secret, "session", content).encode(), signature.encode()):
                end_s = _end_of(content)
                is_theirs = _name_of(content) == principal.name  # tokens may be given another name
                is_over = self._clock() >= end_s or self._ended.has(secret, signature, end_s)
                return (secret, principal) if is_theirs and not is_over else None
        return None


def _name_of(content: str) -> str:
    return urlsafe_b64decode(content.split(".")[0]).decode()


def _end_of(content: str) -> int:
    return int(content.split(".")[1])


def _token_of(request: HTTPConnection) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _signature(secret: bytes, purpose: str, content: str) -> str:
    key = hmac.digest(secret, f"retrylab {purpose}".encode(), hashlib.sha256)
    return hmac.new(key, content.encode(), hashlib.sha256).hexdigest()


def require(request: HTTPConnection, *roles: Role) -> Principal:
    """Return the caller, if one of these roles' rights is theirs; raise HTTPException: 401 when the caller is unknown,
    429 when too many unknown tokens have been tried from their address, 403 when they lack the right."""
    access: Access = request.app.service.access
    principal = access.who(request)
    if principal is None:
        raise access.refusal(request)
    if not any(principal.may(role) for role in roles):
        raise HTTPException(403, f"wanted the role {' or '.join(roles)}, got {principal.role}")
    return principal
