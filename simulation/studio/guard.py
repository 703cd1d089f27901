"""Access to studio: only the browser that was given its address, and no page of another site.

The address has a token, which is good once: it is exchanged for a cookie that other sites cannot send along
(``SameSite=Strict``) and scripts cannot read. A name that leads to the loopback interface without being one of its own
(DNS rebinding) is refused by the ``Host`` header, a page of another site by ``Origin`` and ``Sec-Fetch-Site``.
"""

from __future__ import annotations

import secrets
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.service.http import safe_headers
from actors.service.http.safe_headers import SafeHeaders

HEADERS = safe_headers.HEADERS | {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """Middleware that lets only requests through that come from studio's own pages in the browser that was let in."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.token = secrets.token_urlsafe(24)
        """The token in the address, good once."""
        self._app = app
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self._cookie = f"retrylab_studio_{port}"  # browsers send cookies to all ports of a host
        self._session = secrets.token_urlsafe(24)
        self._is_spent = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it; there is nothing but HTTP here."""
        if scope["type"] != "http":
            raise RuntimeError(f"wanted HTTP, got {scope['type']}")
        answer = self._refusal(Request(scope)) or self._let_in(Request(scope))
        await SafeHeaders(self._app if answer is None else answer, HEADERS)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        headers = request.headers
        if headers.getlist("host") != [headers.get("host")] or headers.get("host") not in self._hosts:
            return PlainTextResponse("This is not a name of studio.", 421)
        if self._is_foreign(headers, changes=request.method not in ("GET", "HEAD")):
            return PlainTextResponse("This was asked by a page of another site.", 403)
        return None

    def _is_foreign(self, headers: Headers, *, changes: bool) -> bool:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None:
            return origin not in {f"http://{host}" for host in self._hosts}
        return changes or site not in (None, "same-origin", "none")

    def _let_in(self, request: Request) -> Response | None:
        """Return the answer to a client without the cookie, or with the address once more; None for all others."""
        is_in = secrets.compare_digest(request.cookies.get(self._cookie, "").encode(), self._session.encode())
        query = dict(parse_qsl(request.url.query, keep_blank_values=True))
        token = query.pop("token", None)
        if not is_in and (token is None or self._is_spent or not self._is_token(token)):
            return PlainTextResponse(
                "Open studio by the address that it prints; each is good for one browser. "
                "For another one stop it, and start it again.",
                403,
            )
        if token is None:
            return None
        answer = RedirectResponse(f"{request.url.path}?{urlencode(query)}" if query else request.url.path, 303)
        if not is_in:
            self._is_spent = True
            answer.set_cookie(self._cookie, self._session, path="/", httponly=True, samesite="strict")
        return answer

    def _is_token(self, token: str) -> bool:
        return secrets.compare_digest(token.encode(), self.token.encode())
