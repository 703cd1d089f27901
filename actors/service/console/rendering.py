"""Pages from their templates, with what every page shows, and the gate before each."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import jinja2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from actors.errors import NotifierClosed, StoreError
from actors.formatting import counted, plain_number
from actors.service.console import words
from actors.service.console.gate import (
    FORM_TOKEN,
    Answer,
    Endpoint,
    Visit,
    allow,
    check_form_token,
    check_same_site,
    read_form,
    sign_in_first,
)
from actors.service.http.access import Principal, Role
from actors.service.operations.queries import LATEST_FAILURE, underlying_reason

logger = logging.getLogger(__name__)

_TITLES = {
    400: "That cannot be read",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not here",
    413: "Too long",
    415: "That is no form",
    429: "Too many tries",
    503: "Not now",
}


def page(answer: Answer, role: Role = Role.READER) -> Endpoint:
    """Return the endpoint of a page for visitors who may do what `role` may; others are sent to sign in."""
    return _endpoint(answer, role, is_form=False)


def action(answer: Answer) -> Endpoint:
    return _endpoint(answer, Role.OPERATOR, is_form=True)


def _endpoint(answer: Answer, role: Role, *, is_form: bool) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            if not is_form:
                return await answer(Visit(request, allow(request, role)))
            check_same_site(request)
            who, form = allow(request, role), await read_form(request)
            check_form_token(request, form)
            return await answer(Visit(request, who, form))
        except HTTPException as refused:
            is_stranger = refused.status_code == 401 and not is_form
            return sign_in_first(request) if is_stranger else refusal(request, refused)
        except (NotifierClosed, StoreError) as error:
            logger.error("console: %s", error)
            text = "The service is stopping, or its store has failed. Nothing may have been done; look again."
            return refusal(request, HTTPException(503, text))

    return endpoint


def now_of(request: Request) -> datetime:
    present: datetime = request.app.service.notifier.system.present
    return present


def render(visit: Visit, template: str, *, status_code: int = 200, **context: Any) -> Response:
    context |= {"may_act": visit.may_act, "form_token": visit.form_token}
    return _page(visit.request, visit.who, template, status_code, context)


def refusal(request: Request, refused: HTTPException) -> Response:
    who: Principal | None = request.app.service.access.who(request)
    context = {
        "title": _TITLES.get(refused.status_code, "Refused"),
        "text": refused.detail,
        "form_token": "" if who is None else Visit(request, who).form_token,
    }
    answer = _page(request, who, "refusal.html", refused.status_code, context)
    if (wait := (refused.headers or {}).get("Retry-After")) is not None:
        answer.headers["Retry-After"] = wait
    return answer


def render_outside(request: Request, template: str, *, status_code: int = 200, **context: Any) -> Response:
    return _page(request, None, template, status_code, context)


def address(path: str, **query: str | int | None) -> str:
    """Return the address of a page of the console; parts of the query that are None or empty are left out."""
    said = urlencode({name: value for name, value in query.items() if value not in (None, "")})
    return f"/console{path}?{said}" if said else f"/console{path}"


def redirect(path: str, **query: str | int | None) -> Response:
    return RedirectResponse(address(path, **query), 303)


def _page(
    request: Request, who: Principal | None, template: str, status_code: int, context: Mapping[str, Any]
) -> Response:
    now, service = now_of(request), request.app.service
    text = _environment.get_template(template).render(
        who=who,
        here=request.scope["path"],
        now=now,
        FORM_TOKEN=FORM_TOKEN,
        clock=functools.partial(words.clock, now=now),
        ago=functools.partial(words.ago, now=now),
        faults=[] if who is None else [words.fault(fault) for fault in service.config.faults],
        status=service.status,
        **context,
    )
    return HTMLResponse(text, status_code)


_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("actors.service.console"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= {"number": plain_number, "percent": words.percent, "duration": words.duration}
_environment.globals |= {"address": address, "counted": counted}
_environment.globals |= {"LATEST_FAILURE": LATEST_FAILURE, "underlying_reason": underlying_reason}
