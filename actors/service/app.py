"""The web application of the service: all its routes, and what their handlers find in its ``service``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from actors.domain.store import Store
from actors.errors import NotifierClosed, StoreError, StoreFailed, Unstorable
from actors.notifier import Notifier
from actors.service import console
from actors.service.config import ServiceConfig
from actors.service.http.access import Access
from actors.service.http.bodies import not_now
from actors.service.http.endpoints import routes_of
from actors.service.http.health import Status
from actors.service.http.openapi import ENDPOINTS
from actors.service.observability.metrics import Metrics
from actors.service.observability.overload import OverloadLog
from actors.service.operations.breakers import BreakerWatch
from actors.service.operations.dead_letters import DeadLetters
from actors.service.operations.delivery_reports import DeliveryReports
from actors.service.own_events import OwnEvents
from actors.service.reloading.live_settings import LiveSettings


@dataclass(frozen=True)
class Service:
    """The running parts of the service. Each reading of the settings makes a new one."""

    notifier: Notifier
    dead_letters: DeadLetters
    access: Access
    config: ServiceConfig
    store: Store
    live_settings: LiveSettings
    own_events: OwnEvents
    metrics: Metrics
    reports: DeliveryReports
    overload: OverloadLog
    breakers: BreakerWatch
    status: Status


class Application(Starlette):
    service: Service

    def use(self, service: Service) -> None:
        self.service = service


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
