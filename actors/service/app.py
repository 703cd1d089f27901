"""The web application of the service: all its routes, and its answers to errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from actors.errors import NotifierClosed, StoreError, StoreFailed, Unstorable
from actors.service import console
from actors.service.http.bodies import not_now
from actors.service.http.endpoints import routes_of
from actors.service.http.openapi import ENDPOINTS


class Application(Starlette):
    service: Any
    """The server in which it runs, with the parts that hold now: each reading of the settings may change some."""


def make_app() -> Application:
    stopping = _always(lambda: not_now("the service is stopping"))
    return Application(
        routes=[*routes_of(ENDPOINTS), *console.routes()],
        exception_handlers={
            HTTPException: _refused,
            ClientDisconnect: _always(lambda: Response(status_code=400)),  # left in mid-body: it goes nowhere
            NotifierClosed: stopping,
            StoreFailed: stopping,
            Unstorable: _unstorable,
            StoreError: _always(lambda: not_now("the store cannot be used now")),
        },
    )


def _always(answer: Callable[[], Response]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answered(_request: Request, _error: Exception) -> Response:
        return answer()

    return answered


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


async def _unstorable(_request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)
