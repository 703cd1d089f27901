"""How the service is: ``GET /healthz``, ``/healthz/live`` and ``/healthz/ready``, and its metrics: ``GET /metrics``.

They need no token, and say nothing of any notification or user. ``/healthz/live`` is 200 for as long as the process
answers; ``/healthz/ready`` and ``/healthz`` are 200 while it takes events, and 503 when it is shutting down, has not
reached its database for as long as its lease, or cannot write to its store for now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from actors.notifier import Pipeline
from actors.service.http.endpoints import Call, Document, HttpEndpoints, as_json

ENDPOINTS = HttpEndpoints()


@dataclass
class Status:
    started_at: datetime
    draining: bool = False
    retry_after_s: int = 1
    """When a refused caller may try again: at what may have taken its place."""
    settings_read_at: datetime | None = None
    """When the settings that hold were read."""
    settings_problems: tuple[str, ...] = ()
    """The problems of the settings that were read last and are not used."""

    def drains(self, for_s: float = 1) -> None:
        self.draining, self.retry_after_s = True, max(1, round(for_s))

    def uses_settings(self, read_at: datetime) -> None:
        self.settings_read_at, self.settings_problems = read_at, ()

    def refuses_settings(self, problems: Sequence[str]) -> None:
        self.settings_problems = tuple(problems)


@ENDPOINTS("GET /healthz", "Say how it is, for people.", roles=(), codes={503: "it is not well"})
async def _health(call: Call) -> Response:
    service = call.service
    status: Status = service.status
    is_ready, said = _readiness(service)
    answer = {
        "status": said,
        "live": True,
        "ready": is_ready,
        "started_at": status.started_at.isoformat(),
        "settings": {
            "read_at": None if status.settings_read_at is None else status.settings_read_at.isoformat(),
            "problems_of_the_last_reading": len(status.settings_problems),
        },
        "store": service.config.store_kind,
        "in_flight": service.notifier.in_flight,
        "pending": _pending(service),
        "breakers": _breakers_of(service.notifier.pipeline),
        "faults": [
            {
                "channels": [channel for channel in service.config.notifier.channels if channel in fault.channel],
                "provider": fault.provider,
                "injects": sorted(fault.injects),
            }
            for fault in service.config.faults
        ],
    }
    return as_json(answer, 200 if is_ready else 503)


def _pending(service: Any) -> dict[str, Any]:
    at_providers = sum(stages.in_flight for stages in service.notifier.pipeline.wiring.stages.values())
    in_flight = service.notifier.in_flight
    return {
        "at_providers": at_providers,
        "waiting": max(0, in_flight - at_providers),  # a hedge is at a provider as well
        "at_most": service.config.max_pending,
        "overloaded": service.overload.is_on,
    }


@ENDPOINTS("GET /healthz/live", "Say that it lives.", roles=())
async def _live(_call: Call) -> Document:
    return {"live": True}


@ENDPOINTS(
    "GET /healthz/ready",
    "Say whether it takes anything.",
    roles=(),
    codes={503: "not now, such as while it shuts down"},
)
async def _ready(call: Call) -> Response:
    is_ready, _ = _readiness(call.service)
    return as_json({"ready": is_ready}, 200 if is_ready else 503)


def _readiness(service: Any) -> tuple[bool, str]:
    store = service.notifier.pipeline.store
    if service.status.draining:
        return False, "draining"
    if store.is_busy:
        return False, "waiting for the store"
    if store.lease_holds is not None and not store.lease_holds():
        return False, "without a lease"
    return True, "ready"


@ENDPOINTS("GET /metrics", "Give the metrics, for Prometheus.", roles=())
async def _metrics(call: Call) -> Response:
    service = call.service
    if service.config.store_kind == "postgres":
        service.metrics.look_at(service.notifier.pipeline)
    service.metrics.count_disabled(service.notifier.pipeline)
    files = service.live_settings.files.values()
    service.metrics.set_files_refused(sum(bool(watched.problems) for watched in files))
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _breakers_of(pipeline: Pipeline) -> list[dict[str, Any]]:
    breakers: list[dict[str, Any]] = []
    for channel, stages in pipeline.wiring.stages.items():
        for lane in stages.lanes:
            breaker: dict[str, Any] = {"channel": channel.value, "provider": lane.provider_name}
            if lane.breaker is None:
                breaker["hosts"] = Counter(str(own.state) for _, own in lane.breakers)
            else:
                breaker["state"] = str(lane.breaker.state)
            breakers.append(breaker)
    return breakers
