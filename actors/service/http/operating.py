"""JSON over HTTP for other work of operators: breakers, disabled endpoints, the audit trail, and erasing users."""

from __future__ import annotations

from typing import ClassVar

from starlette.exceptions import HTTPException

from actors.endpoints import EndpointState
from actors.errors import UnknownChannel
from actors.messages import NotificationChannel
from actors.notifier import BreakerOverride
from actors.service.http.dead_letters import Limit
from actors.service.http.endpoints import Call, Document, HttpEndpoints
from actors.service.operations import json as documents
from actors.service.operations.queries import LOOKED_BACK_MAX, Filter
from actors.settings.base import Settings
from actors.settings.quantities import Text

ENDPOINTS = HttpEndpoints(exact=True)


class _BreakersQuery(Settings):
    channel: NotificationChannel | None = None
    limit: Limit = 100


class _BreakerOverride(Settings):
    order: BreakerOverride
    provider: Text | None = None
    why: Text | None = None


class _EndpointsQuery(Settings):
    channel: NotificationChannel | None = None
    state: EndpointState | None = None
    limit: Limit = 100


class _Enable(Settings):
    wanted_text: ClassVar[str] = 'an object such as {"channel": "webhook", "address": "https://example.com/hook"}'
    channel: NotificationChannel
    address: Text
    why: Text | None = None


class _AuditQuery(Settings):
    id: Text | None = None
    limit: Limit = 100


class _OfUserQuery(Settings):
    limit: Limit = 100


class _Erase(Settings):
    wanted_text: ClassVar[str] = 'an object such as {"why": "asked for by letter"}'
    why: Text | None = None


@ENDPOINTS("GET /api/breakers", "Give breakers, and their history.")
async def _list_breakers(call: Call, query: _BreakersQuery) -> Document:
    service = call.service
    now = service.breakers.now(service.notifier.pipeline, service.config.notifier)
    history = service.breakers.history(limit=query.limit, channel=query.channel)
    return {
        "breakers": [documents.of_breaker(each) for each in now if query.channel in (None, each.channel)],
        "history": [documents.of_event(each) for each in history],
    }


@ENDPOINTS(
    "POST /api/breakers/{channel}", "Override the breakers of a channel.", codes={404: "the channel is not configured"}
)
async def _override_breaker(call: Call, body: _BreakerOverride) -> Document:
    try:
        changed = await call.letters.operate_breaker(call.id, body.order, body.provider, by=call.who.name, why=body.why)
    except UnknownChannel as error:
        raise HTTPException(404, str(error)) from None
    return {"changed": changed}


@ENDPOINTS("GET /api/endpoints", "List endpoints of which every attempt fails; first those that are disabled for it.")
async def _list_endpoints(call: Call, query: _EndpointsQuery) -> Document:
    return documents.of_endpoints(call.letters.endpoints, query.limit, query.state, query.channel)


@ENDPOINTS(
    "POST /api/endpoints/enable", "Send to an endpoint again that is disabled.", codes={404: "it is not disabled"}
)
async def _enable_endpoint(call: Call, body: _Enable) -> Document:
    if not await call.letters.enable_endpoint(body.channel, body.address, by=call.who.name, why=body.why):
        raise HTTPException(404, f"no endpoint {body.address} of channel {body.channel} is disabled")
    return {"enabled": True}


@ENDPOINTS("GET /api/audit", "Say who did what.")
async def _audit(call: Call, query: _AuditQuery) -> Document:
    return {"audit": [documents.of_audit(entry) for entry in await call.letters.audit(query.limit, query.id)]}


@ENDPOINTS(
    "GET /api/users/{user:text}/notifications",
    f"List what is known of a user at this node, up to `limit`: what is in flight, then the latest of the last "
    f"{LOOKED_BACK_MAX:,} that ended here since the start; for dead letters, ask `/api/dead-letters`.",
)
async def _of_user(call: Call, query: _OfUserQuery) -> Document:
    known = call.letters.in_flight_or_ended(Filter(user=call.id))
    nodes = len(call.service.notifier.pipeline.store.living_nodes)
    shown = [documents.of_known(each) for each in known[: query.limit]]
    return {"notifications": shown, "count": len(known), "looked_back": LOOKED_BACK_MAX, "nodes": nodes}


@ENDPOINTS("POST /api/users/{user:text}/erase", "Erase what is kept of a user.")
async def _erase(call: Call, body: _Erase) -> Document:
    return (await call.letters.erase(call.id, by=call.who.name, why=body.why))._asdict()
