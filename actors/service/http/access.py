"""Who asks, and what they may do: tokens in a header, or the console's session in a cookie.

A session is a text that anyone may read and only the service can write: name, end, a random part, and an HMAC-SHA256
over them whose key is derived from the token that was shown at the sign-in. So it needs no place of its own to be kept
in, outlives a restart, holds at every node that has the same tokens, and ends when its token is taken away.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from actors.service.tokens import Role as Role, TokenConfig as TokenConfig

SESSION_COOKIE = "retrylab_session"
"""The name of the cookie that holds a session."""

SESSION_PATH = "/console"
"""Where a session counts. Nothing else takes one, so nothing else needs tokens against forged forms."""

SESSION_S = 8 * 3600
"""How long a session lasts, in seconds: a shift."""

_ALLOWED = {
    Role.INGEST: frozenset({Role.INGEST}),
    Role.READER: frozenset({Role.READER}),
    Role.OPERATOR: frozenset(Role),
}


@dataclass(frozen=True)
class Principal:
    """Who asks."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Tell whether they may do what `role` may."""
        return role in _ALLOWED[self.role]


class Access:
    """Knows the bearers of tokens. Nothing in it changes; a service whose tokens change has another one."""

    def __init__(self, tokens: Sequence[TokenConfig], *, clock: Callable[[], float] = time.time) -> None:
        """Know these tokens.

        Args:
            tokens: all there are.
            clock: gives seconds since 1970, for the end of sessions.
        """
        self._bearers = [(token.secret.reveal().encode(), Principal(token.name, token.role)) for token in tokens]
        self._clock = clock

    def who(self, request: HTTPConnection) -> Principal | None:
        """Return who asks, by the token in the header or else by the session in the cookie; None: unknown."""
        authorization = request.headers.get("authorization")
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            return self.bearer(token.strip()) if scheme.lower() == "bearer" else None
        if not request.url.path.startswith(SESSION_PATH):
            return None
        found = self._session(request.cookies.get(SESSION_COOKIE, ""))
        return None if found is None else found[1]

    def bearer(self, token: str) -> Principal | None:
        """Return whose token this is; None: no one's. How long that takes says nothing about the tokens there are."""
        found = self._find(token)
        return None if found is None else found[1]

    def begin_session(self, token: str) -> str | None:
        """Return the session that signing in with `token` begins, for the cookie; None: it is no one's token."""
        found = self._find(token)
        if found is None:
            return None
        secret, principal = found
        name = urlsafe_b64encode(principal.name.encode()).decode()
        content = f"{name}.{int(self._clock()) + SESSION_S}.{secrets.token_urlsafe(12)}"
        return f"{content}.{_signature(secret, 'session', content)}"

    def form_token(self, request: HTTPConnection) -> str | None:
        """Return what every form of this session has to carry, so that no other site can send one; None: no session.

        It changes with each sign-in.
        """
        session = request.cookies.get(SESSION_COOKIE, "")
        found = self._session(session)
        return None if found is None else _signature(found[0], "form", session)

    def is_form_token(self, request: HTTPConnection, given: str) -> bool:
        """Tell whether a form that carries `given` was made for the session of this request."""
        wanted = self.form_token(request)
        return wanted is not None and hmac.compare_digest(wanted.encode(), given.encode())

    def _find(self, token: str) -> tuple[bytes, Principal] | None:
        given = token.encode(errors="replace")
        found = None
        for secret, principal in self._bearers:  # all of them, whichever it is
            if hmac.compare_digest(secret, given):
                found = secret, principal
        return found

    def _session(self, session: str) -> tuple[bytes, Principal] | None:
        content, _, signature = session.rpartition(".")
        for secret, principal in self._bearers:
            if hmac.compare_digest(_signature(secret, "session", content).encode(), signature.encode()):
                name, end_s, _ = content.split(".")
                is_theirs = urlsafe_b64decode(name).decode() == principal.name  # tokens may be given another name
                return (secret, principal) if is_theirs and self._clock() < int(end_s) else None
        return None


def _signature(secret: bytes, purpose: str, content: str) -> str:
    key = hmac.digest(secret, f"retrylab {purpose}".encode(), hashlib.sha256)
    return hmac.new(key, content.encode(), hashlib.sha256).hexdigest()


def require(request: HTTPConnection, role: Role) -> Principal:
    """Return who asks, if they may do what `role` may.

    Raises:
        HTTPException: 401 when they are unknown, 403 when they may not.
    """
    access: Access = request.app.state.service.access
    principal = access.who(request)
    if principal is None:
        raise HTTPException(401, "wanted a known token", {"WWW-Authenticate": "Bearer"})
    if not principal.may(role):
        raise HTTPException(403, f"wanted the role {role}, got {principal.role}")
    return principal
