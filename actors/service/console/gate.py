"""The gate of the console: it checks who may see a page or send a form.

A form counts only if it comes from a page of this console: it carries a token that belongs to the session, and the
browser says that it comes from this site (`Sec-Fetch-Site`, or `Origin` where the connection is not encrypted; as in
OWASP's *Cross-Site Request Forgery Prevention* and in Go's ``http.CrossOriginProtection``). The session's cookie is not
sent from other sites anyway (``SameSite=Strict``); any one of the three would do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from actors.channel_names import NotificationChannel, in_order
from actors.service.http.access import Access, Principal, Role
from actors.service.http.bodies import body_of
from actors.service.http.endpoints import Call

FORM_TOKEN = "form_token"
"""The name of the field that shows that a form is of this session."""

FORM_BYTES_MAX = 4 * 2**20
"""The longest form of an operator: the longest message that is accepted fits, with every character written as three."""

SMALL_FORM_BYTES_MAX = 2**14
"""The longest form of a stranger: it signs in."""

_FIELDS_MAX = 50


@dataclass(frozen=True)
class Visit(Call):
    """One authorised request to the console."""

    form: Mapping[str, str] = field(default_factory=dict)
    """The fields of the form, by name; empty for a request of a page."""

    def said(self, name: str) -> str:
        return self.form.get(name, "").strip()

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query_params

    @property
    def channels(self) -> list[NotificationChannel]:
        """The four channels, and the service's other ones."""
        return in_order([*NotificationChannel, *self.service.notifier.pipeline.wiring.stages])

    @property
    def may_act(self) -> bool:
        return self.who.may(Role.OPERATOR)

    @property
    def form_token(self) -> str:
        """The token that every form of this page must carry; empty without a session."""
        access: Access = self.service.access
        return access.form_token(self.request) or ""


Answer: TypeAlias = Callable[[Visit], Awaitable[Response]]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def allow(request: Request, role: Role) -> Principal:
    """Return who asks, as :func:`~actors.service.http.access.require` does, but with words for people."""
    access: Access = request.app.service.access
    principal = access.who(request)
    if principal is None:
        refusal = access.refusal(request)
        if refusal.status_code == 401:
            refusal.detail = "You are not signed in, or your session has ended."
        raise refusal
    if not principal.may(role):
        raise HTTPException(
            403, f"This needs the role {role}; {principal.name} is signed in with the role {principal.role}."
        )
    return principal


async def read_form(request: Request, bytes_max: int = FORM_BYTES_MAX) -> dict[str, str]:
    """Return the fields of a form; of several with one name the last. Make all checks that need no body before. Raise
    HTTPException: 413 when the body is too long, 415 when it is no form, 400 when it cannot be read."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise HTTPException(415, "This is not a form of the console.")
    too_long = HTTPException(413, f"This form may have {bytes_max // 2**10:,} KiB at the most.")
    body = await body_of(request, bytes_max, too_long)
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict")
    except ValueError:
        raise HTTPException(400, "The form cannot be read.") from None
    return {name: value.replace("\r\n", "\n") for name, value in fields}


def check_same_site(request: Request) -> None:
    """Let only forms pass that a browser has sent from a page of this site; other forms are answered by 403."""
    fetch_site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin", "")
    host = request.headers.get("host")
    if fetch_site == "same-origin" or (fetch_site is None and (netloc := _netloc(origin)) and netloc == host):
        return
    text = f"The form was sent from {origin} to {host}. A proxy in between has to pass on the Host header as it came."
    if fetch_site is not None:
        text = "The form was sent from another site."
    elif not origin:
        text = "The form came without an Origin, which browsers send. Programs use /api and a token."
    raise HTTPException(403, text)


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # as of http://[
        return ""


def check_form_token(request: Request, form: Mapping[str, str]) -> None:
    """Let only forms pass that were made for this session; other forms are answered by 403."""
    access: Access = request.app.service.access
    if not access.is_form_token(request, form.get(FORM_TOKEN, "")):
        raise HTTPException(403, "The form is of another session. Load its page again, and send it once more.")


def sign_in_first(request: Request) -> Response:
    """Redirect a visitor who is not signed in to the sign-in page, which leads back to the page they wanted."""
    query = request.scope["query_string"].decode("ascii", "replace")
    wanted = request.scope["path"] + (f"?{query}" if query else "")
    return RedirectResponse(f"/console/sign-in?next={quote(wanted)}", 303)
