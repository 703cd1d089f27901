"""Retrying or discarding all dead letters that fit a filter: what it would do, its progress, and what was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from actors.pipeline.orders import Served
from actors.service.console.asked import Asked, read_asked, said_of
from actors.service.console.gate import Visit
from actors.service.console.letters import Done, done_of, served_of
from actors.service.console.rendering import address, now_of, render
from actors.service.operations.bulk import RATE_MAX_PER_S, Action, Bulk, DryRun
from actors.service.operations.dead_letters import DeadLetters
from actors.service.operations.queries import worked_out

GROUPS_SHOWN = 10
USUAL_RATE_PER_S = "10"

_DONE = {
    "started": Done("It has begun."),
    "cancelled": Done("It is cancelled: what was left stays in the queue."),
    "over": Done("It had finished already.", "care"),
}


async def new_page(visit: Visit) -> Response:
    """Show what it would do, and ask for confirmation."""
    action, asked = _action(visit.query.get("action", "")), _sound(read_asked(visit.query))
    return await _dry_run(visit, action, asked, served_of(visit.query), {}, {})


async def start(visit: Visit) -> Response:
    """Begin it."""
    form = visit.form
    action, asked, served = _action(form.get("action", "")), _sound(read_asked(form)), served_of(form)
    texts = {"rate": form.get("rate", "").strip(), "why": form.get("why", "").strip()}
    rate_per_s = _rate(texts["rate"])
    problems = {}
    if rate_per_s is None:
        problems["rate"] = f"Wanted a number of more than 0 and at most {RATE_MAX_PER_S:,.0f}."
    if action == "discard" and not texts["why"]:
        problems["why"] = "Say why, for the audit trail."
    if rate_per_s is None or problems:
        return await _dry_run(visit, action, asked, served, texts, problems)
    letters = _dead_letters(visit)
    bulk = letters.start_bulk(
        action,
        asked.filter,
        by=visit.who.name,
        why=texts["why"] or None,
        rate_per_s=rate_per_s,
        served=served,
        found=await letters.find(asked.filter),
    )
    return RedirectResponse(address(f"/bulks/{bulk.id}", done="started"), 303)


async def cancel(visit: Visit) -> Response:
    """End one before it is done."""
    bulk = _bulk(visit, visit.form.get("id", ""))
    done = bulk.cancel(visit.who.name)
    return RedirectResponse(address(f"/bulks/{bulk.id}", done="cancelled" if done else "over"), 303)


async def bulk_page(visit: Visit) -> Response:
    """Show how far one has come."""
    bulk = _bulk(visit, visit.request.path_params["id"])
    return render(
        visit,
        "bulk_run.html",
        bulk=bulk,
        said=said_of(bulk.filter),
        progress=_progress(bulk),
        done=done_of(visit, _DONE),
    )


async def bulks_page(visit: Visit) -> Response:
    """Show all there were."""
    return render(visit, "bulks.html", bulks=list(reversed(_dead_letters(visit).bulks())))


@dataclass(frozen=True)
class _Progress:
    handled: int
    share: float
    left_s: float | None


def _progress(bulk: Bulk) -> _Progress:
    handled = bulk.handled
    left_s = (bulk.total - handled) / bulk.rate_per_s if bulk.state == "running" else None
    return _Progress(handled, handled / bulk.total if bulk.total else 1.0, left_s)


async def _dry_run(
    visit: Visit, action: Action, asked: Asked, served: Served, texts: dict[str, str], problems: dict[str, str]
) -> Response:
    bounded = asked.up_to(now_of(visit.request))
    letters = _dead_letters(visit)
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
    """Return a filter that can be read completely: a partial one would match too many.

    Raises:
        HTTPException: 400 when a part of it cannot be read.
    """
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
    bulk = _dead_letters(visit).bulk(bulk_id)
    if bulk is None:
        raise HTTPException(404, "There is no such bulk run; perhaps the service has been restarted since.")
    return bulk


def _dead_letters(visit: Visit) -> DeadLetters:
    letters: DeadLetters = visit.request.app.state.service.dead_letters
    return letters
