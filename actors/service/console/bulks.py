"""Retrying or discarding all dead letters that fit a filter: the dry run, the progress, and the results."""

from __future__ import annotations

from collections.abc import Container
from typing import get_args

from starlette.exceptions import HTTPException
from starlette.responses import Response

from actors.channel_names import EVERY_CHANNEL
from actors.pipeline.orders import Served
from actors.service.console.asked import Asked, read_asked, said_of
from actors.service.console.breaker_words import retried
from actors.service.console.gate import Visit
from actors.service.console.letters import Done, done_of, served_of
from actors.service.console.rendering import now_of, redirect, render
from actors.service.operations.bulk import RATE_MAX_PER_S, Action, Bulk, DryRun
from actors.service.operations.queries import worked_out

GROUPS_SHOWN = 10
USUAL_RATE_PER_S = "10"

_DONE = {
    "started": Done("It has begun."),
    "cancelled": Done("It is cancelled: what was left stays in the queue."),
    "over": Done("It had finished already.", "care"),
}


async def new_page(visit: Visit) -> Response:
    action, asked = _action(visit.query.get("action", "")), _sound(read_asked(visit.query, now_of(visit.request)))
    return await _dry_run(visit, action, asked, served_of(visit.query), {}, {})


async def start(visit: Visit) -> Response:
    form = visit.form
    action, served = _action(form.get("action", "")), served_of(form)
    asked = _sound(read_asked(form, now_of(visit.request)))
    texts = {"rate": visit.said("rate"), "why": visit.said("why")}
    rate_per_s = _rate(texts["rate"])
    problems = {}
    if rate_per_s is None:
        problems["rate"] = f"Wanted a number of more than 0 and at most {RATE_MAX_PER_S:,.0f}."
    if action == "discard" and not texts["why"]:
        problems["why"] = "Say why, for the audit trail."
    if rate_per_s is None or problems:
        return await _dry_run(visit, action, asked, served, texts, problems)
    bulk = visit.letters.start_bulk(
        action,
        asked.filter,
        by=visit.who.name,
        why=texts["why"] or None,
        rate_per_s=rate_per_s,
        served=served,
        found=await visit.letters.find(asked.filter),
    )
    return redirect(f"/bulks/{bulk.id}", done="started")


async def cancel(visit: Visit) -> Response:
    bulk = _bulk(visit, visit.form.get("id", ""))
    return redirect(f"/bulks/{bulk.id}", done="cancelled" if bulk.cancel(visit.who.name) else "over")


async def bulk_page(visit: Visit) -> Response:
    bulk = _bulk(visit, visit.request.path_params["id"])
    left_s = (bulk.total - bulk.handled) / bulk.rate_per_s if bulk.state == "running" else None
    progress = {"handled": bulk.handled, "share": bulk.handled / bulk.total if bulk.total else 1.0, "left_s": left_s}
    is_retry = bulk.action == "retry" and (bulk.state == "running" or bulk.under_way > 0)
    channels = EVERY_CHANNEL if bulk.filter.channel is None else {bulk.filter.channel}
    return render(
        visit,
        "bulk_run.html",
        bulk=bulk,
        said=said_of(bulk.filter),
        progress=progress,
        result=_result(bulk),
        kept_back=_kept_back(visit, channels) if is_retry else [],
        done=done_of(visit, _DONE),
    )


def _result(bulk: Bulk) -> tuple[str, str]:
    if bulk.action == "discard":
        return "", ""
    counts = {"delivered": bulk.delivered, "still under way": bulk.under_way, "dead again": bulk.dead_again}
    counts |= {"suppressed or cancelled": bulk.not_wanted}
    said = [f"{count:,} {'are' if count != 1 else 'is'} {what}" for what, count in counts.items() if count]
    tone = "bad" if bulk.dead_again else "fine" if bulk.delivered == bulk.done == bulk.total else "care"
    return f"Of {bulk.done:,} retried, {', '.join(said)}." if said else "", tone


def _kept_back(visit: Visit, channels: Container[str]) -> list[str]:
    service = visit.service
    return retried(service.breakers.now(service.notifier.pipeline), channels)


async def bulks_page(visit: Visit) -> Response:
    return render(visit, "bulks.html", bulks=list(reversed(visit.letters.bulks())))


async def _dry_run(
    visit: Visit, action: Action, asked: Asked, served: Served, texts: dict[str, str], problems: dict[str, str]
) -> Response:
    bounded = asked.up_to(now_of(visit.request))
    letters = visit.letters
    found = await letters.find(bounded.filter)
    dry: DryRun = await worked_out(found, lambda: letters.dry_run(bounded.filter, action, served=served, found=found))
    return render(
        visit,
        "bulk.html",
        status_code=422 if problems else 200,
        verb=action,
        asked=asked,
        bounded=bounded,
        until=bounded.filter.until,
        said=said_of(asked.filter),
        dry=dry,
        served=served,
        kept_back=_kept_back(visit, {letter.channel for letter in found}) if action == "retry" else [],
        groups=dry.groups[:GROUPS_SHOWN],
        groups_left=max(0, len(dry.groups) - GROUPS_SHOWN),
        texts={"rate": USUAL_RATE_PER_S, "why": ""} | texts,
        problems={"rate": "", "why": ""} | problems,
    )


def _action(text: str) -> Action:
    action = next((action for action in get_args(Action) if action == text), None)
    if action is None:
        raise HTTPException(400, "Wanted retry or discard as what to do.")
    chosen: Action = action
    return chosen


def _sound(asked: Asked) -> Asked:
    if not asked.is_sound:
        raise HTTPException(400, " ".join(f"{name}: {text}" for name, text in asked.problems.items() if text))
    return asked


def _rate(text: str) -> float | None:
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if 0 < rate <= RATE_MAX_PER_S else None


def _bulk(visit: Visit, bulk_id: str) -> Bulk:
    bulk = visit.letters.bulk(bulk_id)
    if bulk is None:
        raise HTTPException(404, "There is no such bulk run; perhaps the service has been restarted since.")
    return bulk
