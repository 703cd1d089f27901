"""The commands ``retrylab dlq …``: the dead letter queue of a running service, at the shell."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

import typer
from typer.core import TyperGroup

from actors.formatting import counted
from simulation.commands.shared import Exit, json_option, option, path_option, print_document

if TYPE_CHECKING:
    from simulation.commands.dlq_source import Source

POLL_S = 0.5
"""How often a bulk run under way is asked how far it is."""


class _Letters(TyperGroup):
    """The commands. Their options may stand before a command as well as behind it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._with_options_behind(ctx, args))

    def _with_options_behind(self, ctx: Any, args: list[str]) -> list[str]:
        commands = [self.get_command(ctx, name) for name in self.list_commands(ctx)]
        takes_value = {
            name: not getattr(option, "is_flag", False)
            for command in commands
            if command is not None
            for option in command.params
            if option.param_type_name == "option"
            for name in (*option.opts, *option.secondary_opts)
        }
        at = 0
        while at < len(args) and (name := args[at].partition("=")[0]) in takes_value:
            at += 2 if takes_value[name] and name == args[at] else 1
        return [*args[at : at + 1], *args[:at], *args[at + 1 :]] if at < len(args) else args


dlq = typer.Typer(
    cls=_Letters,
    no_args_is_help=True,
    help="Look at dead letters, try them again, discard them. The options of a command may stand before it, too. "
    "Exit code 0: done; 1: there was no such letter; 2: bad input, or no service that answers.",
)


Served = Literal["exclude", "include"]
"""Whether a retry takes served dead letters too."""

By = Literal["reason", "channel", "recipient"]
"""The keys to group by."""

Action = Literal["retry", "discard"]
"""The bulk actions."""

_CAME = {"delivered": "delivered", "under_way": "under way", "dead_again": "dead again", "not_wanted": "not wanted"}
"""The words for the dead letters that a bulk run retries, by the counts of the API."""


def _came(run: Mapping[str, Any]) -> str:
    return ", ".join(f"{run[name]:,} {words}" for name, words in _CAME.items() if run.get(name))


_Url = Annotated[str | None, option("Where the service is.", "--url", envvar="RETRYLAB_URL")]
_Token = Annotated[
    Path | None,
    path_option(
        "FILE",
        "A file with the token to show; else it is in the environment, as RETRYLAB_TOKEN.",
        "--token-file",
        envvar="RETRYLAB_TOKEN_FILE",
    ),
]
_Store = Annotated[
    str | None, option("Read this file of a store, whether or not a service runs.", "--store", metavar="sqlite:PATH")
]
_NoStore = Annotated[str | None, option("A file is only looked at.", "--store", hidden=True)]
"""Taken so that a service is asked for, and not said that there is no such option."""

_Json = Annotated[bool, json_option("")]
_Why = Annotated[str | None, option("The reason, for the audit trail.", "--why", metavar="TEXT")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="The notification's id.", show_default=False)]

_Reason = Annotated[str | None, option("Part of the reason.", "--reason", metavar="TEXT")]
_ReasonIs = Annotated[str | None, option("The whole reason.", "--reason-is", metavar="TEXT")]
_Channel = Annotated[str | None, option("A channel by its name.", "--channel")]
_Recipient = Annotated[str | None, option("Part of the address.", "--recipient", metavar="TEXT")]
_User = Annotated[str | None, option("Whose it is.", "--user", metavar="USER")]
_IdPrefix = Annotated[str | None, option("The start of the id.", "--id", metavar="TEXT")]
_Since = Annotated[
    str | None, option("Dead-lettered since 2026-03-01T14:30Z, or since so long ago: 2h.", "--since", metavar="TIME")
]
_Until = Annotated[str | None, option("Dead-lettered before.", "--until", metavar="TIME")]
_ServedToo = Annotated[
    Served,
    typer.Option(
        "--served",
        help="Whether to take those too that are served: whose fallback was delivered or is under way, so that a retry "
        "reaches people twice.",
    ),
]
_Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")]


@dlq.command("list")
def list_letters(
    reason: _Reason = None,
    reason_is: _ReasonIs = None,
    channel: _Channel = None,
    recipient: _Recipient = None,
    user: _User = None,
    id_prefix: _IdPrefix = None,
    since: _Since = None,
    until: _Until = None,
    limit: _Limit = 50,
    after: Annotated[
        str | None, option("Print the page after this; each page prints the value to give.", "--after", metavar="TEXT")
    ] = None,
    newest: Annotated[bool, typer.Option("--newest", help="The newest first.")] = False,
    as_json: _Json = False,
    url: _Url = None,
    token_file: _Token = None,
    store: _Store = None,
) -> None:
    """Print dead letters, oldest first."""
    filter = _filter(reason, reason_is, channel, recipient, user, id_prefix, since, until)
    with _asking(url, token_file, store) as source:
        page = source.get("dead-letters", **filter, limit=limit, after=after, order="newest" if newest else "oldest")
    _print(as_json, page, lambda tables: tables.print_letters(page["dead_letters"], page["next"]))


@dlq.command()
def groups(
    by: Annotated[By, typer.Option("--by", help="What to group by.")] = "reason",
    reason: _Reason = None,
    reason_is: _ReasonIs = None,
    channel: _Channel = None,
    recipient: _Recipient = None,
    user: _User = None,
    id_prefix: _IdPrefix = None,
    since: _Since = None,
    until: _Until = None,
    as_json: _Json = False,
    url: _Url = None,
    token_file: _Token = None,
    store: _Store = None,
) -> None:
    """Print how many dead letters there are of each kind, most first."""
    filter = _filter(reason, reason_is, channel, recipient, user, id_prefix, since, until)
    with _asking(url, token_file, store) as source:
        found = source.get("dead-letters/groups", **filter, by=by)
    _print(as_json, found, lambda tables: tables.print_groups(by, found["groups"]))


@dlq.command()
def show(
    notification_id: _Id, as_json: _Json = False, url: _Url = None, token_file: _Token = None, store: _Store = None
) -> None:
    """Print everything known about one notification: every attempt, with the provider's answer."""
    with _asking(url, token_file, store) as source:
        shown = source.get(f"notifications/{_part(notification_id)}")
    _print(as_json, shown, lambda tables: tables.print_notification(shown))


@dlq.command()
def retry(
    notification_id: _Id,
    edits: Annotated[
        list[str] | None,
        option(
            "Change this first: recipient, subject, message, priority, expires_after (seconds) or metadata (a JSON "
            "object). May be given several times.",
            "--edit",
            metavar="FIELD=VALUE",
        ),
    ] = None,
    why: _Why = None,
    served: _ServedToo = "exclude",
    as_json: _Json = False,
    url: _Url = None,
    token_file: _Token = None,
    store: _NoStore = None,
) -> None:
    """Try one again with a fresh set of attempts, edited or as it is."""
    order = {"why": why, "edit": _edit(edits or []) or None, "served": _if_included(served)}
    with _asking(url, token_file, store) as source:
        done = source.post(f"dead-letters/{_part(notification_id)}/retry", order)
    if not _printed_as_json(as_json, done):
        typer.echo(f"{notification_id!r} is being tried again")


@dlq.command()
def discard(
    notification_id: _Id,
    why: Annotated[str, option("The reason, for the audit trail.", "--why", metavar="TEXT")],
    as_json: _Json = False,
    url: _Url = None,
    token_file: _Token = None,
    store: _NoStore = None,
) -> None:
    """Remove one for good."""
    with _asking(url, token_file, store) as source:
        done = source.post(f"dead-letters/{_part(notification_id)}/discard", {"why": why})
    if not _printed_as_json(as_json, done):
        typer.echo(f"{notification_id!r} is discarded")


@dlq.command()
def erase(
    user: Annotated[str, typer.Argument(help="Whose data.", show_default=False)],
    why: _Why = None,
    as_json: _Json = False,
    url: _Url = None,
    token_file: _Token = None,
    store: _NoStore = None,
) -> None:
    """Erase all data of a user: waiting notifications, dead letters, histories, preferences."""
    with _asking(url, token_file, store) as source:
        done = source.post(f"users/{_part(user)}/erase", {"why": why})
    if not _printed_as_json(as_json, done):
        letters, histories = (
            counted(done["discarded"], "dead letter"),
            counted(done["histories"], "history", "histories"),
        )
        preferences = "the preferences" if done["preferences"] else "no preferences"
        typer.echo(f"erased: {letters}, {done['cancelled']:,} that waited, {histories}, {preferences}")
        if done["in_flight"]:
            typer.echo(f"on their way: {done['in_flight']}; erase again when they have ended")


@dlq.command()
def endpoints(
    everything: Annotated[
        bool, typer.Option("--all", help="Those too of which every attempt fails, and which are not disabled.")
    ] = False,
    limit: _Limit = 50,
    as_json: _Json = False,
    url: _Url = None,
    token_file: _Token = None,
    store: _Store = None,
) -> None:
    """Print endpoints that are disabled."""
    with _asking(url, token_file, store) as source:
        found = source.get("endpoints", state=None if everything else "disabled", limit=limit)
    _print(as_json, found, lambda tables: tables.print_endpoints(found["endpoints"], found["total"], everything))


@dlq.command()
def enable(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Of the endpoint.", show_default=False)],
    channel: Annotated[str, typer.Option("--channel", help="Its channel.")] = "webhook",
    why: _Why = None,
    as_json: _Json = False,
    url: _Url = None,
    token_file: _Token = None,
    store: _NoStore = None,
) -> None:
    """Send to a disabled endpoint again; its dead letters stay until they are retried."""
    with _asking(url, token_file, store) as source:
        done = source.post("endpoints/enable", {"channel": channel, "address": address, "why": why})
    if not _printed_as_json(as_json, done):
        typer.echo(f"{address!r} is enabled")


@dlq.command()
def bulk(
    action: Annotated[Action, typer.Argument(help="What to do.", show_default=False)],
    reason: _Reason = None,
    reason_is: _ReasonIs = None,
    channel: _Channel = None,
    recipient: _Recipient = None,
    user: _User = None,
    id_prefix: _IdPrefix = None,
    since: _Since = None,
    until: _Until = None,
    rate: Annotated[str, typer.Option("--rate", metavar="RATE", help="The rate at most.")] = "10/s",
    why: _Why = None,
    served: _ServedToo = "exclude",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what it would do.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has ended.")] = True,
    as_json: _Json = False,
    url: _Url = None,
    token_file: _Token = None,
    store: _NoStore = None,
) -> None:
    """Retry or discard the letters that fit a filter, or all without one. It first says what it would do, and asks.

    A retry leaves out served letters, and says how many.

    Exit code 1: there were none, or some failed.
    """
    filter = _filter(reason, reason_is, channel, recipient, user, id_prefix, since, until)
    asks = not yes and not dry_run
    if asks and not (sys.stdin.isatty() and sys.stdout.isatty() and not as_json):
        _refuse("wanted --yes or --dry-run where there is no terminal to ask on")
    if action == "discard" and why is None and not dry_run:
        _refuse("--why: wanted the reason of a discard, got nothing")
    if action == "discard" and served == "include":
        _refuse("--served: wanted it only with retry; a discard takes served letters too")
    order: dict[str, Any] = {"action": action, "filter": filter, "rate": rate, "why": why}
    order["served"] = _if_included(served)
    with _asking(url, token_file, store) as source:
        if dry_run or asks:
            dry = source.post("dead-letters/bulk", order | {"dry_run": True})
            order["filter"] = dry["filter"]  # only the letters shown, and none that come before the answer
            _print(as_json, dry, lambda tables: tables.print_dry_run(action, dry))
            if dry_run:
                return
            if not dry["count"]:
                raise typer.Exit(1)
            if not typer.confirm(f"{action} them?"):
                raise typer.Exit(1)
        run = source.post("dead-letters/bulk", order)
        if wait:
            run = _wait_for(source, run, quiet=as_json)
    if not _printed_as_json(as_json, run):
        done, skipped, failed = f"{run['done']:,} of {run['total']:,} done", run["skipped"], run["failed"]
        gone = f", {skipped:,} were no longer dead letters" if skipped else ""
        left_out = f", {run['left_out']:,} left out as served" if run.get("left_out") else ""
        wrong = f", {failed:,} failed" if failed else ""
        came = f", {came}" if (came := _came(run)) else ""
        typer.echo(f"bulk {action} {run['bulk']}: {run['state']}, {done}{gone}{left_out}{wrong}{came}")
    if wait and (run["failed"] or run["state"] == "cancelled" or not run["total"]):
        raise typer.Exit(1)


@dlq.command()
def bulks(as_json: _Json = False, url: _Url = None, token_file: _Token = None, store: _NoStore = None) -> None:
    """Print the bulk runs of the service, newest first."""
    with _asking(url, token_file, store) as source:
        runs = source.get("bulks")
    _print(as_json, runs, lambda tables: tables.print_bulks(runs["bulks"], _came))


@dlq.command()
def cancel(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The bulk run's name.", show_default=False)],
    as_json: _Json = False,
    url: _Url = None,
    token_file: _Token = None,
    store: _NoStore = None,
) -> None:
    """End a bulk run before its time; the letters that it has not reached stay as they are."""
    with _asking(url, token_file, store) as source:
        cancelled = source.post(f"bulks/{_part(run)}/cancel", {})
    if not _printed_as_json(as_json, cancelled):
        typer.echo(f"{run}: cancelled, {cancelled['done']:,} of {cancelled['total']:,} done")


@dlq.command()
def audit(
    notification_id: Annotated[str | None, option("Only what was done to this.", "--id", metavar="ID")] = None,
    limit: _Limit = 50,
    as_json: _Json = False,
    url: _Url = None,
    token_file: _Token = None,
    store: _Store = None,
) -> None:
    """Print who did what, when and why, newest first."""
    with _asking(url, token_file, store) as source:
        trail = source.get("audit", id=notification_id, limit=limit)
    _print(as_json, trail, lambda tables: tables.print_audit(trail["audit"]))


# ── what they share ─────────────────────────────────────────────────────────────────────────────────────────────────


def _filter(*given: str | None) -> dict[str, str]:
    names = ("reason", "reason_is", "channel", "recipient", "user", "id", "since", "until")
    return {name: value for name, value in zip(names, given, strict=True) if value is not None}


def _if_included(served: Served) -> Served | None:
    """Return the argument for the service; None: the default, as services of an earlier release do not know it."""
    return None if served == "exclude" else served


def _part(text: str) -> str:
    """Return a text as one part of a path; httpx would take `..` for a step back."""
    return quote(text, safe="").replace(".", "%2E")


def _edit(edits: list[str]) -> dict[str, Any]:
    edit: dict[str, Any] = {}
    for each in edits:
        field, equals, text = each.partition("=")
        if not equals:
            _refuse(f"--edit: wanted FIELD=VALUE, got {each!r}")
        edit[field] = _read(field, text)
    return edit


def _read(field: str, text: str) -> Any:
    """Return the value of a field as the service wants it; an invalid one stays text, and the service reports it."""
    reads: dict[str, Callable[[str], Any]] = {"metadata": json.loads, "expires_after": json.loads}
    try:
        return reads.get(field, str)(text)
    except (ValueError, RecursionError):
        return text


@contextmanager
def _asking(url: str | None, token_file: Path | None, store: str | None) -> Iterator[Source]:
    import os

    from simulation.commands.dlq_source import CannotAsk, NotDone, source

    try:
        with source(url, os.environ.get("RETRYLAB_TOKEN"), token_file, store) as asked:
            yield asked
    except CannotAsk as error:
        for line in error.args:
            _say(line)
        raise typer.Exit(Exit.BAD_INPUT) from None
    except NotDone as error:
        _say(str(error))
        raise typer.Exit(Exit.DOES_NOT_HOLD) from None


def _wait_for(source: Source, run: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    from simulation.reporting.terminal import watch_runs

    try:
        with watch_runs("dead letters", quiet=quiet) as progress:
            while run["state"] == "running":
                if progress is not None:
                    progress(run["done"] + run["skipped"] + run.get("left_out", 0) + run["failed"], run["total"])
                time.sleep(POLL_S)
                run = source.get(f"bulks/{_part(run['bulk'])}")
    except KeyboardInterrupt:
        _say(f"it goes on in the service; to cancel it: retrylab dlq cancel {run['bulk']}")
        raise typer.Exit(Exit.INTERRUPTED) from None
    return run


def _print(as_json: bool, document: Any, as_table: Callable[[ModuleType], None]) -> None:
    if not _printed_as_json(as_json, document):
        from simulation.commands import dlq_tables

        as_table(dlq_tables)


def _printed_as_json(as_json: bool, document: Any) -> bool:
    if as_json:
        print_document(document)
    return as_json


def _refuse(text: str) -> None:
    _say(text)
    raise typer.Exit(Exit.BAD_INPUT)


def _say(text: str) -> None:
    from actors.settings.yaml_tree import printable

    typer.echo(printable(text), err=True)
