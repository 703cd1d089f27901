"""The operator's console: pages for people under ``/console``, rendered here, that need no scripts.

With the token of a reader one sees everything; an operator may act besides. :mod:`actors.service.console.gate` keeps
everyone else out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from actors.service.console import breakers, bulks, letters, overview, sign_in
from actors.service.console.gate import Visit
from actors.service.console.rendering import action, page
from actors.service.http.access import SESSION_PATH, Role
from actors.service.http.safe_headers import SafeHeaders


def routes() -> list[BaseRoute]:
    pages = [
        Route("/sign-in", sign_in.sign_in_page),
        Route("/sign-in", sign_in.sign_in, methods=["POST"]),
        Route("/sign-out", sign_in.sign_out, methods=["POST"]),
        Route("/dead-letters", page(letters.list_page)),
        Route("/dead-letters/notification", page(letters.notification_page)),
        Route("/dead-letters/retry", action(letters.retry), methods=["POST"]),
        Route("/dead-letters/discard", action(letters.discard), methods=["POST"]),
        Route("/dead-letters/edit", page(letters.edit_page, Role.OPERATOR)),
        Route("/dead-letters/edit", action(letters.edit), methods=["POST"]),
        Route("/bulks", page(bulks.bulks_page)),
        Route("/bulks", action(bulks.start), methods=["POST"]),
        Route("/bulks/new", page(bulks.new_page, Role.OPERATOR)),
        Route("/bulks/cancel", action(bulks.cancel), methods=["POST"]),
        Route("/bulks/{id}", page(bulks.bulk_page)),
        Route("/breakers", page(breakers.breakers_page)),
        Route("/breakers", action(breakers.order), methods=["POST"]),
        Route("/breakers/enable", action(breakers.enable), methods=["POST"]),
        Route("/audit", page(overview.audit_page)),
        Route("/console.css", _file("console.css", "text/css")),
        Route("/icon.svg", _file("icon.svg", "image/svg+xml")),
        Route("/{path:path}", page(_nothing)),
    ]
    safe = [Middleware(SafeHeaders)]
    return [
        Route(SESSION_PATH, page(overview.overview_page), middleware=safe),
        Mount(SESSION_PATH, routes=pages, middleware=safe),
    ]


async def _nothing(_visit: Visit) -> Response:
    raise HTTPException(404, "There is no such page.")


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = files(__name__).joinpath(name).read_bytes()

    async def answer(_request: Request) -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "max-age=300"})

    return answer
