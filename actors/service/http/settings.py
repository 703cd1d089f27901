"""JSON over HTTP for preferences, suppressions, templates and the files of settings.

A table of suppressions is taken and given as text/csv (:mod:`actors.service.reloading.suppression_list`). A change may
give its reason, by ``?why=``. A change that cannot be used is answered by 422 and all its problems.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from itertools import islice
from typing import Any

import trio
from pydantic import Field
from starlette.responses import Response

from actors.domain.suppressions import Suppression, normal_address
from actors.domain.user_preferences import UserPreferences
from actors.errors import ConfigurationError, TemplateError
from actors.messages import NotificationChannel
from actors.service.http.bodies import Refusal, body_of, object_of
from actors.service.http.endpoints import INVALID, UNKNOWN, Call, Document, HttpEndpoints, as_json
from actors.service.operations.json import parts_of, time_text
from actors.service.reloading.live_settings import LiveSettings
from actors.service.reloading.watched_file import WatchedFile
from actors.settings.base import Settings, validated
from actors.settings.quantities import Text

TABLE_MAX = 16 * 2**20
"""How long a table may be, in bytes: some 200,000 suppressions."""

PAGE, PAGE_MAX = 100, 1_000

ENDPOINTS = HttpEndpoints(read=object_of)


class _NewSuppression(Settings):
    channel: NotificationChannel
    address: Text
    reason: Text


class _Preview(Settings):
    lang: str | None = None
    variables: dict[str, Any] = Field(default_factory=dict)


@ENDPOINTS("GET /api/preferences/{user:text}", "Say what a user has set.")
async def _get_preferences(call: Call) -> Document:
    preferences, user, channels = call.live.preferences, call.id, call.live.channels
    return {
        "user": user,
        "stored": _written(preferences.set_in_store(user)),
        "in_file": _written(preferences.set_in_file(user)),
        "in_force": {
            "channels": {channel: "on" if preferences.is_enabled(user, channel) else "off" for channel in channels},
            "quiet_hours": {
                channel: [
                    {"from": f"{hours.start:%H:%M:%S}", "to": f"{hours.end:%H:%M:%S}", "zone": hours.zone}
                    for hours in preferences.quiet_hours_of(user, channel)
                ]
                for channel in channels
            },
        },
    }


@ENDPOINTS("PUT /api/preferences/{user:text}", "Set what a user wants.", query=("why",))
async def _put_preferences(call: Call, body: UserPreferences) -> Document:
    await call.live.set_preferences(call.id, body, by=call.who.name, why=call.request.query_params.get("why"))
    return await _get_preferences(call)


@ENDPOINTS(
    "DELETE /api/preferences/{user:text}",
    "Remove what the store has of a user.",
    success=HTTPStatus.NO_CONTENT,
    codes=UNKNOWN,
    query=("why",),
)
async def _delete_preferences(call: Call) -> Response:
    if not await call.live.forget_preferences(call.id, by=call.who.name, why=call.request.query_params.get("why")):
        raise Refusal(HTTPStatus.NOT_FOUND, "the store has no preferences of this user")
    return as_json(await _get_preferences(call))


def _written(preferences: UserPreferences | None) -> Any:
    return None if preferences is None else json.loads(preferences.written())


def _normal_part(channel: NotificationChannel, part: str) -> str:
    """Return a part of an address in the form in which it is compared; of a URL, perhaps one without its end."""
    normal = normal_address(channel, part)
    return normal if part.endswith("/") else normal.removesuffix("/")


@ENDPOINTS(
    "GET /api/suppressions",
    "List suppressions.",
    query=("channel", "address", "source", "limit", "after"),
    codes=INVALID,
)
async def _list_suppressions(call: Call) -> Document:
    live, given = call.live, call.request.query_params
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
    return {
        "total": len(found),
        "suppressions": [_suppression(live, each) for each in page],
        "next": _cursor(page[-1]) if page and has_more else None,
    }


@ENDPOINTS("GET /api/suppressions.csv", "Give all of them, as a table.")
async def _export_suppressions(call: Call) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="suppressions.csv"'}
    return Response(await call.live.export_suppressions(), media_type="text/csv", headers=headers)


@ENDPOINTS(
    "POST /api/suppressions",
    "Send nothing to an address; or, as text/csv, to those of a table.",
    success=HTTPStatus.CREATED,
    codes=INVALID | {200: "of a table"},
    body=_NewSuppression,
)
async def _add_suppressions(call: Call) -> Document | Response:
    if call.request.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/csv":
        try:
            too_long = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"wanted at most {TABLE_MAX:,} bytes")
            table = (await body_of(call.request, TABLE_MAX, too_long)).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Refusal(HTTPStatus.BAD_REQUEST, "wanted text in UTF-8") from None
        return as_json({"imported": await call.live.import_suppressions(table, by=call.who.name)})
    new = validated(_NewSuppression, await object_of(call.request))
    live = call.live
    return _suppression(live, await live.suppress(new.channel, new.address, reason=new.reason, by=call.who.name))


@ENDPOINTS(
    "DELETE /api/suppressions",
    "Lift the suppression of an address.",
    success=HTTPStatus.NO_CONTENT,
    query=("channel", "address", "why"),
    codes=INVALID | {404: "it is not suppressed", 409: "it is in a file"},
)
async def _delete_suppression(call: Call) -> Response | None:
    live, given = call.live, call.request.query_params
    channel, address = given.get("channel", ""), given.get("address", "")
    lifted = await live.lift(channel, address, by=call.who.name, why=given.get("why"))
    if live.suppressions.find(NotificationChannel(channel), address) is not None:
        problem = "it is in a file; edit that to change it"
        return as_json({"problems": [problem], "lifted": lifted}, HTTPStatus.CONFLICT)
    if not lifted:
        raise Refusal(HTTPStatus.NOT_FOUND, "this address is not suppressed")
    return None


def _suppression(live: LiveSettings, each: Suppression) -> Document:
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


@ENDPOINTS("GET /api/templates", "List templates, and what is wrong with them.")
async def _list_templates(call: Call) -> Document:
    live = call.live
    templates = [
        {"name": name, "languages": [each for each in languages if each is not None], "default": None in languages}
        for name, languages in live.templates.languages().items()
    ]
    return {"templates": templates, "directory": _file(live.files.get("templates"))}


@ENDPOINTS("POST /api/templates/{name:text}/preview", "Fill a template in.")
async def _preview(call: Call, body: _Preview) -> Document:
    try:
        made = call.live.preview(call.id, body.variables, language=body.lang)
    except TemplateError as error:
        raise ConfigurationError([str(error)]) from None
    return {"subject": made.subject, "message": made.message, "html": made.metadata.get("html", False)}


@ENDPOINTS("GET /api/settings-files", "List the files that are watched.")
async def _list_files(call: Call) -> Document:
    return {name: _file(watched) for name, watched in call.live.files.items()}


@ENDPOINTS("POST /api/settings-files/reload", "Read them now.")
async def _reload_files(call: Call) -> Document:
    await call.live.reload()
    return await _list_files(call)


def _file(watched: WatchedFile[Any] | None) -> Document | None:
    if watched is None:
        return None
    loaded_at, problems = time_text(watched.loaded_at), list(watched.problems)
    return {"path": str(watched.path), "loaded_at": loaded_at, "problems": problems}
