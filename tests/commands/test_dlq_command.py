"""The commands ``retrylab dlq …`` against a service on loopback, and against the file of a store."""

import json
import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from console_command import app
from desks import ANN, HOOK, OTTO, SHOP, SMS, Desk, app_of, command, desk, fail_endpoint
from effort import sliced
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from typer.testing import CliRunner

from actors.channel_names import A_CHANNEL_NAME
from actors.service.http_server import HttpServer
from actors.storage.sqlite.store import SqliteStore

LETTERS = (
    command("a", message="bad: mailbox full", metadata={"lang": "sv"}, subject="Hi"),
    command("b/sms", message="bad: [red]no\x1b[31m such user", channel=SMS, recipient="+4670"),
    command("c", message="bad: mailbox full"),
)


class Shell:
    """An operator at a shell whose environment names the service, and a token."""

    def __init__(self, at: Desk, url: str) -> None:
        self.at = at
        self.url = url

    async def run(self, *words: str, token: str | None = OTTO, url: str | None = None, code: int = 0) -> Any:
        """Run ``retrylab dlq`` with these words, and check its exit code and that it shows no traceback."""
        environment = {"RETRYLAB_URL": self.url if url is None else url, "RETRYLAB_TOKEN": token}
        result = await trio.to_thread.run_sync(partial(invoke, *words, env=environment))
        assert result.exit_code == code, result.output
        return result

    async def document(self, *words: str) -> Any:
        """Return the JSON that a command prints."""
        return json.loads((await self.run(*words, "--json")).stdout)


def invoke(*words: str, env: dict[str, str | None] | None = None) -> Any:
    """Run ``retrylab dlq`` with these words."""
    result = CliRunner().invoke(app, ["dlq", *words], env={"RETRYLAB_URL": None, "RETRYLAB_TOKEN": None, **(env or {})})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@asynccontextmanager
async def served(application: Any) -> AsyncGenerator[str]:
    async with trio.open_nursery() as nursery:
        server = HttpServer(application)
        (url,) = await server.listen("127.0.0.1:0", nursery)
        yield url
        await server.stop()


@asynccontextmanager
async def shell(*letters: Any) -> AsyncGenerator[Shell]:
    """Open a service on loopback in which these are dead letters."""
    async with desk() as at, served(app_of(at)) as url:
        await at.die(*letters, pace=0)
        yield Shell(at, url)


async def test_a_list_groups_and_one_are_shown():
    async with shell(*LETTERS) as at:
        listed = (await at.run("list")).stdout
        assert [line.split()[0] for line in listed.splitlines()] == ["id", "a", "b/sms", "c"]
        assert "[red]no\\x1b[31m such user" in listed  # for people, and not for their terminal
        newest = (await at.run("list", "--newest", "--channel", "email")).stdout
        assert [line.split()[0] for line in newest.splitlines()] == ["id", "c", "a"]
        page = (await at.run("list", "--limit", "1")).stdout
        after = page.splitlines()[-1].removeprefix("more: --after ")
        assert (await at.run("list", "--limit", "1", "--after", after)).stdout.splitlines()[1].split()[0] == "b/sms"
        groups = (await at.run("groups")).stdout.splitlines()
        assert groups[1].split()[:3] == ["2", "mailbox", "full"]
        assert "no dead letters" in (await at.run("list", "--reason", "nothing of the sort")).stdout
        shown = (await at.run("show", "a")).stdout
        assert "a  dead letter" in shown
        assert "answer: 550 mailbox full" in shown
        assert (await at.document("list", "--id", "b/"))["dead_letters"][0]["id"] == "b/sms"
        assert [each["id"] for each in (await at.document("list", "--user", "+4670"))["dead_letters"]] == ["b/sms"]
        assert (await at.document("show", "b/sms"))["command"]["recipient"] == "+4670"
        assert [each["count"] for each in (await at.document("groups", "--by", "channel"))["groups"]] == [2, 1]


async def test_an_attempt_that_was_refused_here_has_no_answer_of_its_own():
    breaker = {"failure_threshold": 1, "when_open": "fail"}
    channels = {"email": {"retry": {"max_attempts": 1}, "circuit_breaker": breaker}}
    async with desk(channels=channels) as at, served(app_of(at)) as url:
        await at.die(command("a", message="down: HTTP 503"), command("b"), pace=0)
        shown = (await Shell(at, url).run("show", "b")).stdout
        assert "refused on our side; the provider's latest failure: HTTP 503" in shown
        assert " answer: " not in shown


async def test_ids_that_look_like_a_path_are_shown_and_retried():
    ids = ("groups", "..", "a/retry", "a/../b", "%2F")
    async with shell(*(command(each, message="bad: mailbox full") for each in ids)) as at:
        for each in ids:
            assert (await at.document("show", each))["id"] == each
            assert (await at.document("retry", each))["id"] == each


async def test_one_is_retried_with_edits_and_one_discarded_and_the_audit_says_by_whom():
    async with shell(*LETTERS) as at:
        edits = ["recipient=bob@example.org", "message=Hello", 'metadata={"lang": "en"}', "expires_after=60"]
        options = [word for edit in edits for word in ("--edit", edit)]
        assert (await at.run("retry", "a", *options, "--why", "typo")).stdout == "'a' is being tried again\n"
        await at.at.notifier.wait_until_quiet()
        (attempt,) = at.at.provider.taken
        sent = attempt.command
        assert (sent.recipient, sent.message, dict(sent.metadata), sent.expires_after) == (
            "bob@example.org", "Hello", {"lang": "en"}, 60,
        )  # fmt: skip
        again = await at.run("retry", "a", code=1)
        assert again.stderr == "wanted a dead letter, got a notification that was sent\n"
        assert (await at.run("show", "unknown", code=1)).stdout == ""
        await at.run("discard", "c", "--why", "test data")
        trail = await at.document("audit")
        assert [(each["by"], each["action"], each["why"]) for each in trail["audit"]] == [
            ("otto", "discard", "test data"),
            ("otto", "retry", "typo"),
        ]
        printed = (await at.run("audit", "--id", "a")).stdout
        assert "typo; edited recipient, message, metadata, expires_after" in printed
        assert "accepted as ann@example.org" in (await at.run("show", "a")).stdout


async def test_many_are_tried_dry_then_retried_and_waited_for():
    async with shell(*LETTERS) as at:
        dry = (await at.run("bulk", "discard", "--reason", "mailbox", "--dry-run")).stdout
        assert "would discard 2 dead letters" in dry
        assert "such as a, c" in dry
        assert "wanted --yes or --dry-run" in (await at.run("bulk", "discard", "--why", "old", code=2)).stderr
        assert at.at.ids() == ["a", "b/sms", "c"]
        assert "--why: wanted the reason" in (await at.run("bulk", "discard", "--yes", code=2)).stderr
        done = await at.run("bulk", "discard", "--reason", "mailbox", "--why", "old", "--yes", "--rate", "100/s")
        assert done.stdout.rstrip().endswith("finished, 2 of 2 done")
        assert at.at.ids() == ["b/sms"]
        run = await at.document("bulk", "retry", "--yes", "--no-wait", "--rate", "1/h")
        assert (run["total"], run["state"]) == (1, "running")
        (_, latest, *_) = (await at.run("bulks")).stdout.splitlines()
        assert latest.split()[0] == run["bulk"]
        none = await at.run("bulk", "retry", "--reason", "nothing", "--yes", code=1)
        assert "0 of 0 done" in none.stdout


async def test_a_run_is_cancelled():
    async with shell(*(command(f"n{number}", message="bad: x") for number in range(5))) as at:
        run = await at.document("bulk", "discard", "--why", "old", "--yes", "--no-wait", "--rate", "1/h")
        while at.at.letters.bulk(run["bulk"]).done == 0:
            await trio.sleep(0.01)
        assert (await at.run("cancel", run["bulk"])).stdout == f"{run['bulk']}: cancelled, 1 of 5 done\n"
        assert (await at.run("cancel", run["bulk"], code=1)).stderr == "it is cancelled already\n"
        assert at.at.ids() == ["n1", "n2", "n3", "n4"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "--channel", "Fax", "--since", "soon"], [
            f"channel: wanted {A_CHANNEL_NAME}, got 'Fax'",
            "since: wanted a time such as 2026-03-01T14:30Z, or how long ago such as 2h, got 'soon'"]),
        (["list", "--after", "x"], ["after: wanted the `next` of a page, got 'x'"]),
        (["retry", "a", "--edit", "recipient"], ["--edit: wanted FIELD=VALUE, got 'recipient'"]),
        (["retry", "a", "--edit", "recipient=", "--edit", "metadata={"], [
            "edit.recipient: wanted an address, got ''",
            "edit.metadata: wanted a mapping with text for keys, got '{'"]),
        (["retry", "a", "--edit", "expires_after=soon"], [
            "edit.expires_after: wanted seconds of at least 0, or null, got 'soon'"]),
        (["bulk", "retry", "--yes", "--rate", "fast"], [
            "rate: wanted a rate such as 10/s, of at most 10,000/s, got 'fast'"]),
    ],
)  # fmt: skip
async def test_bad_input_is_told_in_plain_words_and_nothing_happens(words, said):
    async with shell(LETTERS[0]) as at:
        assert (await at.run(*words, code=2)).stderr.splitlines() == said
        assert at.at.ids() == ["a"]


async def test_who_may_not_is_told_why(tmp_path):
    async with shell(LETTERS[0]) as at:
        hint = "; put one into RETRYLAB_TOKEN, or a file for --token-file\n"
        wrong = await at.run("list", token="wrong", code=2)
        assert wrong.stderr == f"{at.url}: the service does not know this token{hint}"
        none = await at.run("list", token=None, code=2)
        assert none.stderr == f"{at.url}: the service wants a token{hint}"
        assert (await at.run("list", token=SHOP, code=2)).stderr.endswith("wanted the role reader, got ingest\n")
        assert (await at.run("retry", "a", token=ANN, code=2)).stderr.endswith("wanted the role operator, got reader\n")
        assert "visible ASCII" in (await at.run("list", token="tökén", code=2)).stderr
        (tmp_path / "token").write_text(f"{ANN}\n")
        await at.run("list", "--token-file", str(tmp_path / "token"), token="wrong")
        missing = await at.run("list", "--token-file", str(tmp_path / "absent"), code=2)
        assert missing.stderr == f"--token-file {tmp_path / 'absent'}: No such file or directory\n"


def test_a_service_that_is_not_there_is_told_as_such():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    result = invoke("list", "--url", f"http://127.0.0.1:{port}")
    assert (result.exit_code, result.stderr) == (2, f"http://127.0.0.1:{port}: cannot be reached: Connection refused\n")


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://localhost", "http://", "http://[::1", "http://a b", "http://x:y"]
)
def test_what_is_no_url_is_refused(url):
    result = invoke("list", "--url", url)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_no_url_at_all_is_refused():
    assert invoke("list").stderr == (
        "--url: wanted the URL of a running service, here or in RETRYLAB_URL, or --store sqlite:PATH, got neither\n"
    )


async def test_someone_elses_server_is_told_from_ours():
    async def hello(_: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async with served(Starlette(routes=[Route("/{path:path}", hello)])) as url:
        result = await trio.to_thread.run_sync(partial(invoke, "list", "--url", url))
    assert (result.exit_code, result.stderr) == (2, f"{url}: answered 200 and no JSON: is it a service of retrylab?\n")


async def test_endpoints_that_are_disabled_are_printed_and_enabled():
    async with shell() as at:
        store = at.at.notifier.pipeline.store
        assert (await at.run("endpoints")).stdout == "no endpoint is disabled\n"
        fail_endpoint(store)
        fail_endpoint(store, "https://example.org/other", "failing")
        assert [each["address"] for each in (await at.document("endpoints"))["endpoints"]] == [HOOK]
        printed = (await at.run("endpoints", "--all", "--limit", "1")).stdout
        assert "2026-03-06" in printed
        assert "and 1 more" in printed
        assert (await at.run("enable", HOOK, "--why", "it is back")).stdout == f"{HOOK!r} is enabled\n"
        assert "no endpoint" in (await at.run("enable", HOOK, code=1)).stderr
        assert (
            "channel: wanted the name of a channel" in (await at.run("enable", HOOK, "--channel", "Fax", code=2)).stderr
        )
        trail = (await at.run("audit")).stdout
        assert HOOK in trail
        assert "enable endpoint" in trail


# ── a store's file ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_open", sliced([False, True], 4), ids=["closed", "open"])
async def test_a_store_is_looked_into_whether_or_not_it_is_open(is_open, tmp_path):
    path = tmp_path / "store.db"

    async def look() -> None:
        run = partial(invoke, env={})
        where = ("--store", f"sqlite:{path}")
        listed = await trio.to_thread.run_sync(partial(run, "list", *where))
        assert [line.split()[0] for line in listed.stdout.splitlines()] == ["id", "b/sms", "c"]
        newest = await trio.to_thread.run_sync(partial(run, "list", "--newest", "--reason", "mailbox", *where))
        assert [line.split()[0] for line in newest.stdout.splitlines()] == ["id", "c"]
        shown = await trio.to_thread.run_sync(partial(run, "show", "b/sms", "--json", *where))
        assert (json.loads(shown.stdout)["state"], len(json.loads(shown.stdout)["events"])) == ("dead letter", 3)
        assert (await trio.to_thread.run_sync(partial(run, "show", "groups", *where))).exit_code == 1  # no such id
        sent = await trio.to_thread.run_sync(partial(run, "show", "a", "--json", *where))
        assert json.loads(sent.stdout)["state"] == "sent"
        groups = await trio.to_thread.run_sync(partial(run, "groups", "--json", *where))
        assert len(json.loads(groups.stdout)["groups"]) == 2
        audit = await trio.to_thread.run_sync(partial(run, "audit", "--json", *where))
        assert [each["by"] for each in json.loads(audit.stdout)["audit"]] == ["ann"]
        unknown = await trio.to_thread.run_sync(partial(run, "show", "x", *where))
        assert unknown.exit_code == 1
        assert beside() == there

    def beside() -> set[str]:
        return {each.name for each in tmp_path.iterdir()}

    async with SqliteStore.open(path) as store, desk(store) as at:
        await at.die(*LETTERS, pace=0)
        assert await at.letters.retry("a", by="ann", edit={"message": "Hello"})
        await at.notifier.wait_until_quiet()
        await at.letters.audit()  # behind all that was handed over
        if is_open:
            there = beside()
            await look()
    if not is_open:
        before, there = path.read_bytes(), beside()
        await look()
        assert path.read_bytes() == before


@pytest.mark.parametrize("order", sliced([(), ("--newest",)], 4), ids=["oldest", "newest"])
async def test_a_store_is_gone_through_page_by_page_and_says_that_there_is_more(order, tmp_path):
    path = tmp_path / "store.db"
    async with SqliteStore.open(path) as store, desk(store) as at:
        await at.die(*(command(f"n{number}", message="bad: full") for number in range(5)))
    words = ("list", "--store", f"sqlite:{path}", *order)
    ids: list[str] = []
    after: tuple[str, ...] = ()
    for size in (2, 2, 1):
        page = json.loads(invoke(*words, "--limit", "2", *after, "--json").stdout)
        assert len(page["dead_letters"]) == size
        ids += [letter["id"] for letter in page["dead_letters"]]
        shown = invoke(*words, "--limit", "2", *after).stdout.splitlines()
        assert [line.split()[0] for line in shown if line.startswith("n")] == ids[-size:]
        if page["next"] is not None:
            after = ("--after", page["next"])
            assert shown[-1] == f"more: --after {page['next']}"
    assert page["next"] is None
    assert not shown[-1].startswith("more")
    assert sorted(ids, reverse=bool(order)) == ids == list(dict.fromkeys(ids))
    refused = invoke(*words, "--after", "x")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == "--after: wanted the value that a page prints, got 'x'\n"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("postgres:x", "--store: wanted sqlite: and the path of a file, got 'postgres:x'"),
        ("sqlite:", "--store: wanted sqlite: and the path of a file, got 'sqlite:'"),
        ("sqlite:absent.db", "cannot be opened: there is no such file"),
        ("sqlite:text.db", "cannot be read: file is not a database (SQLITE_NOTADB)"),
        ("sqlite:empty.db", "cannot be read: it is empty"),
    ],
)
def test_what_is_no_store_is_refused(where, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.db").write_text("hello " * 1000)
    Path("empty.db").touch()
    result = invoke("list", "--store", where)
    assert result.exit_code == 2
    assert result.stderr.rstrip().endswith(said)


async def _store_with_two_letters(path: Path) -> None:
    async with SqliteStore.open(path) as store, desk(store) as at:
        await at.die(*(command(f"n-{number}", message="bad: full") for number in range(2)), pace=0)


@pytest.fixture(scope="module")
def store_file(tmp_path_factory) -> str:
    """A store with the dead letters n-0 and n-1, as ``--store`` takes it."""
    path = tmp_path_factory.mktemp("store") / "store.db"
    trio.run(_store_with_two_letters, path)
    return f"sqlite:{path}"


def test_of_a_file_too_the_endpoints_are_printed_and_none_can_be_enabled(store_file):
    assert json.loads(invoke("endpoints", "--store", store_file, "--json").stdout) == {"total": 0, "endpoints": []}
    assert invoke("enable", HOOK, "--store", store_file).exit_code == 2


def test_options_may_stand_before_the_command(store_file):
    store = store_file
    listed = json.loads(invoke("list", "--store", store, "--json").stdout)
    assert [letter["id"] for letter in listed["dead_letters"]] == ["n-0", "n-1"]
    for words in (
        ("--store", store, "list", "--json"),
        ("--json", "--store", store, "list"),
        (f"--store={store}", "--json", "list"),
        ("--json", "list", "--store", store),
    ):
        assert json.loads(invoke(*words).stdout) == listed, words
    found = json.loads(invoke("--limit", "1", "--json", "--store", store, "list", "--newest").stdout)
    assert [letter["id"] for letter in found["dead_letters"]] == ["n-1"]
    # The last one counts, as everywhere.
    assert invoke("--store", "sqlite:nowhere", "list", "--store", store).exit_code == 0
    # A value is no command, whatever it says.
    assert json.loads(invoke("--id", "show", "--store", store, "--json", "list").stdout)["dead_letters"] == []


def test_an_option_that_no_command_has_or_that_this_one_has_not_is_refused_at_any_place():
    assert "No such option: --stor" in invoke("--stor", "x", "list").stderr
    assert "No such option: --newest" in invoke("--newest", "groups").stderr
    assert "--store" in invoke("--store").stderr
    assert invoke("--help").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [("retry", "a"), ("discard", "a", "--why", "x"), ("bulk", "retry", "--yes"), ("bulks",), ("cancel", "a")],
)
def test_the_file_of_a_store_is_not_changed_and_a_service_is_asked_for(store_file, words):
    for given in (("--store", store_file, *words), (*words, "--store", store_file)):
        result = invoke(*given)
        assert result.exit_code == 2
        assert result.stderr == "--store: a file is only looked at; wanted the --url of a running service\n"


@asynccontextmanager
async def shell_with_a_served_one() -> AsyncGenerator[Shell]:
    """Open a service in which `a`, whose fallback was sent, and `b` are dead letters."""
    channels = {"email": {"fallback": {"channel": "sms"}}, "sms": {}}
    async with desk(channels=channels) as at, served(app_of(at)) as url:
        await at.die(command("a", message="bad: x", addresses={SMS: "+4670"}), command("b", message="bad: x"), pace=0)
        await at.letters.retry("a/sms", by="ann", edit={"message": "Hello"})
        await at.notifier.wait_until_quiet()
        yield Shell(at, url)


async def test_served_ones_are_marked_and_left_out_unless_told_so():
    async with shell_with_a_served_one() as at:
        listed = (await at.run("list")).stdout.splitlines()
        assert [line.split()[-1] == "served" for line in listed] == [True, True, False]
        assert "a  dead letter, served" in (await at.run("show", "a")).stdout
        refused = await at.run("retry", "a", code=1)
        assert "'a' is served: its fallback" in refused.stderr
        dry = (await at.run("bulk", "retry", "--dry-run")).stdout
        assert "would retry 1 dead letter, and leave out 1 that is served" in dry
        assert "left out as served" not in (await at.run("bulk", "discard", "--dry-run")).stdout
        assert (await at.run("bulk", "discard", "--why", "x", "--yes", "--served", "include", code=2)).stderr == (
            "--served: wanted it only with retry; a discard takes served letters too\n"
        )
        done = (await at.run("bulk", "retry", "--yes")).stdout
        assert re.search("finished, 1 of 2 done, 1 left out as served, 1 (under way|delivered|dead again)\n", done)
        (run,) = (await at.run("bulks")).stdout.splitlines()[1:]
        assert run.split()[3:8] == ["2", "1", "0", "1", "0"]
        assert re.search("  1 (under way|delivered|dead again)  ", run)
        assert (await at.run("retry", "a", "--served", "include")).stdout == "'a' is being tried again\n"


async def test_the_file_of_a_store_says_so_too(tmp_path):
    path = tmp_path / "store.db"
    async with SqliteStore.open(path) as store:
        channels = {"email": {"fallback": {"channel": "sms"}}, "sms": {}}
        async with desk(store, channels=channels) as at:
            await at.die(command("a", message="bad: x", addresses={SMS: "+4670"}), pace=0)
            await at.notifier.wait_until_quiet()
            assert await at.letters.retry("a/sms", by="ann", edit={"message": "Hello"})
            await at.notifier.wait_until_quiet()
    listed = json.loads((await trio.to_thread.run_sync(invoke, "list", "--store", f"sqlite:{path}", "--json")).stdout)
    assert [(letter["id"], letter["served"]) for letter in listed["dead_letters"]] == [("a", True)]
    shown = (await trio.to_thread.run_sync(invoke, "show", "a", "--store", f"sqlite:{path}")).stdout
    assert "a  dead letter, served" in shown


async def test_what_is_kept_of_a_user_is_erased_and_the_command_says_how_much():
    async with shell(*LETTERS) as at:
        user = at.at.letters.letter("b/sms").command.user
        theirs = [each for each in at.at.ids() if at.at.letters.letter(each).command.user == user]
        said = (await at.run("erase", user, "--why", "asked for by letter")).stdout
        assert said == f"erased: {len(theirs)} dead letter, 0 that waited, 0 histories, no preferences\n"
        assert not set(at.at.ids()) & set(theirs)
        again = await at.document("erase", user)
        assert again == {"cancelled": 0, "discarded": 0, "histories": 0, "preferences": False, "in_flight": 0}
