"""Signing in with a token, and out again."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from actors.service.console.gate import SMALL_FORM_BYTES_MAX, check_form_token, check_same_site, read_form
from actors.service.console.rendering import refusal, render_outside
from actors.service.http.access import SESSION_COOKIE, SESSION_PATH, SESSION_S, Access, Role


async def sign_in_page(request: Request) -> Response:
    return render_outside(
        request,
        "sign_in.html",
        next=_page_to_go_to(request.query_params.get("next", "")),
        problem=None,
        signed_out="out" in request.query_params,
    )


async def sign_in(request: Request) -> Response:
    try:
        check_same_site(request)
        form = await read_form(request, SMALL_FORM_BYTES_MAX)
    except HTTPException as refused:
        return refusal(request, refused)
    access: Access = request.app.service.access
    token = form.get("token", "").strip()
    wanted = _page_to_go_to(form.get("next", ""))
    begun = access.begin_session(request, token)
    if begun is None:
        answered = access.refusal(request, token)
        if answered.status_code == 429:
            return refusal(request, answered)
        return _again(request, wanted, "No one has this token.")
    principal, session = begun
    if not principal.may(Role.READER):
        problem = f"This is the token of {principal.name}, which may {principal.role} and see nothing here."
        return _again(request, wanted, problem)
    access.end_session(request)  # the session before, whose cookie is replaced
    answer = RedirectResponse(wanted, 303)
    answer.set_cookie(
        SESSION_COOKIE,
        session,
        max_age=SESSION_S,
        path=SESSION_PATH,
        secure=_is_encrypted(request),
        httponly=True,
        samesite="strict",
    )
    return answer


def _again(request: Request, wanted: str, problem: str) -> Response:
    return render_outside(request, "sign_in.html", status_code=403, next=wanted, problem=problem, signed_out=False)


async def sign_out(request: Request) -> Response:
    """End a session, here and in the browser: its cookie is deleted, and no copy of the cookie works any more."""
    access: Access = request.app.service.access
    try:
        check_same_site(request)
        if access.form_token(request) is None:
            check_form_token(request, {})
        check_form_token(request, await read_form(request, SMALL_FORM_BYTES_MAX))
    except HTTPException as refused:
        return refusal(request, refused)
    access.end_session(request)
    answer = RedirectResponse("/console/sign-in?out", 303)
    answer.delete_cookie(
        SESSION_COOKIE, path=SESSION_PATH, secure=_is_encrypted(request), httponly=True, samesite="strict"
    )
    return answer


def _is_encrypted(request: Request) -> bool:
    """Tell whether the browser's own connection is encrypted; a proxy in between may say so."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")


def _page_to_go_to(wanted: str) -> str:
    is_page = wanted.startswith(("/console/", "/console?")) and wanted.isprintable() and "\\" not in wanted
    return wanted if is_page and not wanted.startswith("/console/sign-") else "/console"
