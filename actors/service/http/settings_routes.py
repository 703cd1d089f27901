"""JSON over HTTP for preferences, suppressions and templates. Readers may look, operators may change and preview.

::

    GET    /api/preferences/{user}          what is set in the store and in the file, and what holds
    PUT    /api/preferences/{user}          {"channels": {"sms": "off"}, "quiet_hours": {"from": …, "to": …, "zone": …}}
    DELETE /api/preferences/{user}          what the store has of a user
    GET    /api/suppressions                ?channel= &address= &source= &limit= &after=
    GET    /api/suppressions.csv            all of them, as a table
    POST   /api/suppressions                {"channel": …, "address": …, "reason": …}; or a table, as text/csv
    DELETE /api/suppressions                ?channel= &address=
    GET    /api/templates                   names, languages, when they were read, what is wrong with a file
    POST   /api/templates/{name}/preview    {"lang": "de", "variables": {"name": "Ann"}}
    GET    /api/settings-files              each file that is watched, when it was read, what is wrong with it
    POST   /api/settings-files/reload       read them now

A change may say why, by `?why=`. What cannot be used is answered by 422 and all that is wrong with it:
``{"problems": ["channels.sms: wanted on or off, got 'maybe'"]}``.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from itertools import islice
from typing import Any, TypeAlias

import trio
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from actors.domain.suppressions import Suppression, normal_address
from actors.domain.user_preferences import UserPreferences
from actors.errors import ConfigurationError, TemplateError
from actors.messages import NotificationChannel
from actors.service.http.access import Role, require
from actors.service.http.bodies import (
    BODY_MAX,
    NO_TEXT,
    SETTINGS_VALUES_MAX,
    body_of,
    has_half_a_character,
    problem_of_shape,
)
from actors.service.http.paths import IdRoute
from actors.service.operations.json import parts_of, time_text
from actors.service.reloading.live_settings import LiveSettings
from actors.service.reloading.watched_file import WatchedFile
from actors.settings.base import Settings, validated
from actors.settings.quantities import Text

TABLE_MAX = 16 * 2**20
"""How long a table may be, in bytes: some 200,000 suppressions."""

PAGE, PAGE_MAX = 100, 1_000

_Answer: TypeAlias = Callable[[Request], Awaitable[Response]]


class _NewSuppression(Settings):
    channel: NotificationChannel
    address: Text
    reason: Text


class _Preview(Settings):
    lang: str | None = None
    variables: dict[str, Any] = Field(default_factory=dict)


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        IdRoute("/api/preferences/{user:text}", _get_preferences, method="GET"),
        IdRoute("/api/preferences/{user:text}", _put_preferences, method="PUT"),
        IdRoute("/api/preferences/{user:text}", _delete_preferences, method="DELETE"),
        Route("/api/suppressions", _list_suppressions, methods=["GET"]),
        Route("/api/suppressions.csv", _export_suppressions, methods=["GET"]),
        Route("/api/suppressions", _add_suppressions, methods=["POST"]),
        Route("/api/suppressions", _delete_suppression, methods=["DELETE"]),
        Route("/api/templates", _list_templates, methods=["GET"]),
        IdRoute("/api/templates/{name:text}/preview", _preview, method="POST"),
        Route("/api/settings-files", _list_files, methods=["GET"]),
        Route("/api/settings-files/reload", _reload_files, methods=["POST"]),
    ]


def _telling_problems(answer: _Answer) -> _Answer:
    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except ConfigurationError as error:
            return JSONResponse({"problems": error.problems}, HTTPStatus.UNPROCESSABLE_ENTITY)
        except _Unreadable as error:
            return JSONResponse({"problems": [str(error)]}, error.status)

    return answered


class _Unreadable(Exception):
    """A body is too long, or not what it says it is."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


# ── preferences ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _get_preferences(request: Request) -> Response:
    require(request, Role.READER)
    return JSONResponse(_preferences_of(_live(request), request.path_params["user"]))


@_telling_problems
async def _put_preferences(request: Request) -> Response:
    who = require(request, Role.OPERATOR)
    preferences = validated(UserPreferences, await _json(request))
    live, user = _live(request), request.path_params["user"]  # after the body: it may have come to another pipeline
    await live.set_preferences(user, preferences, by=who.name, why=request.query_params.get("why"))
    return JSONResponse(_preferences_of(live, user))


@_telling_problems
async def _delete_preferences(request: Request) -> Response:
    who = require(request, Role.OPERATOR)
    live, user = _live(request), request.path_params["user"]
    if not await live.forget_preferences(user, by=who.name, why=request.query_params.get("why")):
        return _not_found("the store has no preferences of this user")
    return JSONResponse(_preferences_of(live, user))


def _preferences_of(live: LiveSettings, user: str) -> dict[str, Any]:
    preferences = live.preferences
    return {
        "user": user,
        "stored": _written(preferences.set_in_store(user)),
        "in_file": _written(preferences.set_in_file(user)),
        "in_force": {
            "channels": {
                channel: "on" if preferences.is_enabled(user, channel) else "off" for channel in NotificationChannel
            },
            "quiet_hours": {
                channel: [
                    {"from": f"{hours.start:%H:%M:%S}", "to": f"{hours.end:%H:%M:%S}", "zone": hours.zone}
                    for hours in preferences.quiet_hours_of(user, channel)
                ]
                for channel in NotificationChannel
            },
        },
    }


def _written(preferences: UserPreferences | None) -> Any:
    return None if preferences is None else json.loads(preferences.written())


# ── suppressions ────────────────────────────────────────────────────────────────────────────────────────────────────


def _normal_part(channel: NotificationChannel, part: str) -> str:
    """Return a part of an address in the form in which it is compared; of a URL, perhaps one without its end."""
    normal = normal_address(channel, part)
    return normal if part.endswith("/") else normal.removesuffix("/")


@_telling_problems
async def _list_suppressions(request: Request) -> Response:
    require(request, Role.READER)
    live, given = _live(request), request.query_params
    channel, source, address = given.get("channel"), given.get("source"), given.get("address", "")
    known = live.suppressions.copy()

    def fitting() -> list[Suppression]:
        return sorted(
            (
                each
                for each in known
                if channel in (None, each.channel)
                and source in (None, each.source)
                and _normal_part(each.channel, address) in each.address
            ),
            key=lambda each: each.key,
        )

    found = await trio.to_thread.run_sync(fitting)  # there may be hundreds of thousands
    after = given.get("after")
    start = sum(_cursor(each) <= after for each in found) if after is not None else 0
    page = list(islice(found, start, start + _limit(given.get("limit"))))
    has_more = start + len(page) < len(found)
    return JSONResponse(
        {
            "total": len(found),
            "suppressions": [_suppression(live, each) for each in page],
            "next": _cursor(page[-1]) if page and has_more else None,
        }
    )


async def _export_suppressions(request: Request) -> Response:
    require(request, Role.READER)
    return Response(
        await _live(request).export_suppressions(),
        media_type="text/csv",
        headers={"Content-Disposition": 'attachment; filename="suppressions.csv"'},
    )


@_telling_problems
async def _add_suppressions(request: Request) -> Response:
    who = require(request, Role.OPERATOR)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/csv":
        try:
            table = (await _body(request, TABLE_MAX)).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise _Unreadable(HTTPStatus.BAD_REQUEST, "wanted text in UTF-8") from None
        return JSONResponse({"imported": await _live(request).import_suppressions(table, by=who.name)})
    new = validated(_NewSuppression, await _json(request))
    live = _live(request)
    made = await live.suppress(new.channel, new.address, reason=new.reason, by=who.name)
    return JSONResponse(_suppression(live, made), HTTPStatus.CREATED)


@_telling_problems
async def _delete_suppression(request: Request) -> Response:
    who = require(request, Role.OPERATOR)
    live, given = _live(request), request.query_params
    channel, address = given.get("channel", ""), given.get("address", "")
    lifted = await live.lift(channel, address, by=who.name, why=given.get("why"))
    left = live.suppressions.find(NotificationChannel(channel), address)
    if left is not None:
        problem = "it is in a file; edit that to change it"
        return JSONResponse({"problems": [problem], "lifted": lifted}, HTTPStatus.CONFLICT)
    return Response(status_code=HTTPStatus.NO_CONTENT) if lifted else _not_found("this address is not suppressed")


def _suppression(live: LiveSettings, each: Suppression) -> dict[str, Any]:
    names = ("channel", "address", "reason", "source", "since", "by")
    return parts_of(each, *names) | {"removable": live.suppressions.stored_at(each.key) is not None}


def _cursor(each: Suppression) -> str:
    return f"{each.channel}/{each.address}"


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= PAGE_MAX):
        raise ConfigurationError([f"limit: wanted a whole number from 1 to {PAGE_MAX:,}, got {text[:60]!r}"])
    return int(text)


# ── templates and files ─────────────────────────────────────────────────────────────────────────────────────────────


async def _list_templates(request: Request) -> Response:
    require(request, Role.READER)
    live = _live(request)
    templates = [
        {"name": name, "languages": [each for each in languages if each is not None], "default": None in languages}
        for name, languages in live.templates.languages().items()
    ]
    return JSONResponse({"templates": templates, "directory": _file(live.files.get("templates"))})


@_telling_problems
async def _preview(request: Request) -> Response:
    require(request, Role.OPERATOR)
    asked = validated(_Preview, await _json(request))
    try:
        made = _live(request).preview(request.path_params["name"], asked.variables, language=asked.lang)
    except TemplateError as error:
        raise ConfigurationError([str(error)]) from None
    return JSONResponse({"subject": made.subject, "message": made.message, "html": made.metadata.get("html", False)})


async def _list_files(request: Request) -> Response:
    require(request, Role.READER)
    return JSONResponse({name: _file(watched) for name, watched in _live(request).files.items()})


async def _reload_files(request: Request) -> Response:
    require(request, Role.OPERATOR)
    await _live(request).reload()
    return await _list_files(request)


def _file(watched: WatchedFile[Any] | None) -> dict[str, Any] | None:
    if watched is None:
        return None
    return {
        "path": str(watched.path),
        "loaded_at": time_text(watched.loaded_at),
        "problems": list(watched.problems),
    }


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _live(request: Request) -> LiveSettings:
    live: LiveSettings = request.app.state.service.live_settings
    return live


def _not_found(why: str) -> Response:
    return JSONResponse({"problems": [why]}, HTTPStatus.NOT_FOUND)


async def _json(request: Request) -> dict[str, Any]:
    body = await _body(request, BODY_MAX)
    try:
        content = json.loads(body)
        if (problem := problem_of_shape(content, SETTINGS_VALUES_MAX)) is not None:
            raise ValueError(problem)
        if has_half_a_character(content):  # which could not be answered, nor kept
            raise ValueError(NO_TEXT)
    except (ValueError, RecursionError) as error:
        raise _Unreadable(HTTPStatus.BAD_REQUEST, f"wanted JSON: {error}") from None
    if not isinstance(content, dict):
        raise _Unreadable(HTTPStatus.UNPROCESSABLE_ENTITY, "wanted an object")
    return content


async def _body(request: Request, at_most: int) -> bytes:
    too_long = _Unreadable(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"wanted at most {at_most:,} bytes")
    return await body_of(request, at_most, too_long)
