"""The server of studio: its pages, and the requests of the pages, on the loopback interface."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import msgspec
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from actors.errors import ConfigurationError, WorkerLost
from actors.service.http.bodies import body_of
from actors.service.http_server import HttpServer
from actors.settings.yaml_tree import CHARACTERS_MAX
from simulation.studio.checking import check
from simulation.studio.completing import completions
from simulation.studio.folder import Folder, Refused, packed, unpacked
from simulation.studio.guard import Guard
from simulation.studio.knobs import described
from simulation.studio.pool import Workers
from simulation.studio.rendering import rendered
from simulation.studio.saved import read_as
from simulation.studio.splicing import CannotEdit, with_entry, without_entry

WORKERS = 3
"""So that a page can run and compare at the same time, and another one too; one is idle for most of the time."""

BODY_BYTES_MAX = 8 * CHARACTERS_MAX
"""Two texts, with every character as long as JSON and UTF-8 have it."""

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
_CONSOLE = {"console.css", "icon.svg"}
"""The files of the service's console that are shown unchanged."""


async def serve(folder: Folder, port: int, announce: Callable[[str], None], *, workers: int = WORKERS) -> None:
    """Serve studio until it is cancelled.

    Args:
        folder: the folder with the scenarios.
        port: the port of the loopback interface; 0: a free one.
        announce: called with the address and its token, as soon as it can be opened.
        workers: processes that run scenarios.

    Raises:
        OSError: the port is not available.
    """
    async with trio.open_nursery() as nursery:
        late = _Late()
        server = HttpServer(late)
        [url] = await server.listen(f"127.0.0.1:{port}", nursery)
        pool = await trio.to_thread.run_sync(Workers, workers)
        try:
            late.app = guard = Guard(application(folder, pool), int(url.rpartition(":")[2]))
            announce(f"{url}/?token={guard.token}")
            await trio.to_thread.run_sync(described)  # else the first page would wait for it
            await trio.sleep_forever()
        finally:
            nursery.cancel_scope.cancel()
            pool.end()


class _Late:
    """An application that is there as soon as the port is known that it has to know."""

    app: Guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def application(folder: Folder, pool: Workers) -> Starlette:
    studio = _Studio(folder, pool)
    return Starlette(
        routes=[
            Route("/", studio.gallery),
            Route("/edit", studio.page),
            Route("/static/{name}", static),
            Route("/file", studio.file),
            Route("/check", studio.check, methods=["POST"]),
            Route("/complete", studio.complete, methods=["POST"]),
            Route("/fault", studio.fault, methods=["POST"]),
            Route("/link", link, methods=["POST"]),
            Route("/save", studio.save, methods=["POST"]),
            Route("/ask", studio.ask, methods=["POST"]),
        ],
        exception_handlers={
            HTTPException: _refused,
            Refused: _refused,
            ConfigurationError: _refused,
            CannotEdit: _refused,
        },
    )


class _Studio:
    def __init__(self, folder: Folder, pool: Workers) -> None:
        self._folder = folder
        self._pool = pool

    async def gallery(self, _: Request) -> Response:
        if self._folder.only is not None:
            return RedirectResponse(f"/edit?file={self._folder.only}", 303)
        found = await trio.to_thread.run_sync(self._folder.overview)
        return HTMLResponse(rendered("gallery.html", scenarios=found, folder=self._folder.path.resolve().name))

    async def page(self, _: Request) -> Response:
        return HTMLResponse(_file_of("edit.html"))

    async def file(self, request: Request) -> Response:
        name = request.query_params.get("file", "")
        return JSONResponse(await trio.to_thread.run_sync(self._folder.read, name))

    async def check(self, request: Request) -> Response:
        asked = await _body(request, "file", "text")
        path = str(self._folder.file(asked["file"]))
        return JSONResponse(await trio.to_thread.run_sync(check_of, asked["text"], path))

    async def complete(self, request: Request) -> Response:
        asked = await _body(request, "before", "after")
        return JSONResponse(await trio.to_thread.run_sync(completions, asked["before"], asked["after"]))

    async def fault(self, request: Request) -> Response:
        asked = await _body(request, "text")
        text, entry, number = asked["text"], asked["entry"], asked["number"]
        if entry is not None:
            changed = await trio.to_thread.run_sync(with_entry, text, "faults", entry)
        elif number is not None:
            changed = await trio.to_thread.run_sync(without_entry, text, "faults", number)
        else:
            raise Refused("wanted an entry or a number")
        return JSONResponse({"text": changed})

    async def save(self, request: Request) -> Response:
        asked = await _body(request, "file", "text")
        try:
            written = await trio.to_thread.run_sync(self._folder.write, asked["file"], asked["text"], asked["version"])
        except OSError as error:
            raise Refused(f"{asked['file']}: {error.strerror}") from None
        return JSONResponse(written)

    async def ask(self, request: Request) -> Response:
        asked = await _body(request, "do", "file", "text")
        if asked["do"] not in _ASKED:
            raise Refused(f"wanted one of {', '.join(_ASKED)}")
        what = _with(asked, "do", *_ASKED[asked["do"]]) | ({"anyway": True} if asked["anyway"] else {})
        what |= {"filename": str(self._folder.file(asked["file"]))}
        return _Lines(self._pool, what)


def check_of(text: str, path: str) -> dict[str, Any]:
    """Return the answer to a text, whose data files may be in a trace."""
    with read_as(path) as filename:
        return check(text, filename)


_ASKED: Mapping[str, tuple[str, ...]] = {
    "run": ("text",),
    "notifications": ("text", "from_s", "to_s", "kind", "place"),
    "compare": ("text", "pinned", "replicates"),
    "rank": ("text", "metric"),
    "search": ("text", "metric", "channel"),
    "report": ("text",),
}
"""The kinds of work, each with its arguments."""


class _Body(msgspec.Struct):
    """The body of a page's request; None: the field was left out."""

    do: str | None = None
    file: str | None = None
    text: str | None = None
    code: str | None = None
    before: str | None = None
    after: str | None = None
    entry: str | None = None
    number: int | None = None
    version: str | None = None
    pinned: str | None = None
    replicates: int | None = None
    metric: str | None = None
    channel: str | None = None
    kind: str | None = None
    place: str | None = None
    from_s: float | None = None
    to_s: float | None = None
    anyway: bool = False
    """Whether to do it though it takes long."""


class _Lines(Response):
    """The lines of a worker, a JSON document each; when the client leaves it is cancelled."""

    def __init__(self, pool: Workers, what: Mapping[str, Any]) -> None:
        super().__init__(media_type="application/x-ndjson")
        del self.headers["content-length"]
        self._pool = pool
        self._what = what

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_gone, receive, nursery.cancel_scope)
            await self._answer(send)
            nursery.cancel_scope.cancel()

    async def _answer(self, send: Send) -> None:
        async def line(text: bytes) -> None:
            await send({"type": "http.response.body", "body": text + b"\n", "more_body": True})

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with self._pool.asked(self._what) as answer:
                async for text in answer:
                    await line(text)
        except WorkerLost as lost:
            await line(json.dumps({"type": "failed", "text": f"{lost} Another one has taken its place."}).encode())
        await send({"type": "http.response.body", "body": b""})

    @staticmethod
    async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()


async def _body(request: Request, *wanted: str) -> dict[str, Any]:
    too_long = HTTPException(400, "The text is too long.")
    try:
        found = msgspec.json.decode(await body_of(request, BODY_BYTES_MAX, too_long), type=_Body)
    except msgspec.ValidationError as error:
        raise Refused(f"wanted {', '.join(wanted)}: {error}") from None
    except (msgspec.DecodeError, RecursionError):
        raise Refused("wanted JSON") from None
    asked = msgspec.structs.asdict(found)
    _with(asked, *wanted)
    return asked


def _with(asked: Mapping[str, Any], *wanted: str) -> dict[str, Any]:
    if any(asked[key] is None for key in wanted):
        raise Refused(f"wanted {', '.join(wanted)}")
    return {key: asked[key] for key in wanted}


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    text = error.problems[0] if isinstance(error, ConfigurationError) else str(error)
    return JSONResponse({"detail": text}, 400)


async def link(request: Request) -> Response:
    asked = await _body(request)
    if asked["text"] is not None:
        return JSONResponse({"code": packed(asked["text"])})
    if asked["code"] is not None:
        return JSONResponse({"text": unpacked(asked["code"])})
    raise Refused("wanted a text or a code")


async def static(request: Request) -> Response:
    name = request.path_params["name"]
    suffix = f".{name.rpartition('.')[2]}"
    if suffix not in _TYPES or name not in _STATIC:
        raise HTTPException(404, "There is no such file.")
    return Response(_file_of(name), media_type=_TYPES[suffix])


def _file_of(name: str) -> str:
    if name in _CONSOLE:
        return files("actors.service").joinpath("console", name).read_text(encoding="utf-8")
    return files(__package__).joinpath("static", name).read_text(encoding="utf-8")


_STATIC = _CONSOLE | {each.name for each in files(__package__).joinpath("static").iterdir()}
