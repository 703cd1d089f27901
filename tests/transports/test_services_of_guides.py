"""The services that guides show, run as they are: a burst of emails, one dead mailbox, and a restart in the middle.

Of what guides show, only where it goes is exchanged: ports and hosts, the database of several nodes for a file, and
`connect_timeout`, so that more wait for a connection than that in a short time.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml
from documents import blocks
from effort import sliced
from smtp_servers import mail_server
from test_bursts_from_guides import SlowScript

from actors import Metrics, Notifier, OrderPlaced, SqliteStore, UserRegistered
from actors.messages import (
    BreakerTransitioned,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationSent,
)
from actors.service.config import load
from actors.service.serve import Server

TAKES = 0.1
"""Seconds that a mail takes."""

PATIENCE = 0.5
"""Seconds that the provider waits for one of its connections."""

DEAD = "dead@example.com"

Service = tuple[Notifier, Callable[[int, str], Any]]
"""A notifier, and what gives an event that leads to one email to an address."""


def order(number: int, address: str) -> OrderPlaced:
    return OrderPlaced(
        order_id=str(number),
        user_id="ann",
        customer_email=address,
        customer_phone="",
        total_amount=9.5,
        placed_at=datetime.now(UTC),
    )


def user(number: int, address: str) -> UserRegistered:
    return UserRegistered(user_id=str(number), email=address, name="Ann", registered_at=datetime.now(UTC))


# ── the services ────────────────────────────────────────────────────────────────────────────────────────────────


def module_of(name: str, port: int) -> dict[str, Any]:
    """Return what is in the Python file that a guide shows, with the mail server at this port."""
    code = blocks(name, "python")[0].partition("\ntrio.run(main")[0]
    module: dict[str, Any] = {"__name__": __name__}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", "postgresql://nobody@localhost/none")  # its store is another one here
        exec(compile(code, f"{name}.md", "exec"), module)
    module["SMTP"] |= {"port": port, "connect_timeout": PATIENCE}
    return module


@asynccontextmanager
async def trio_service(port: int) -> AsyncIterator[Service]:
    module = module_of("trio-example", port)
    Path("templates").mkdir(exist_ok=True)
    Path("templates/reset.txt").write_text(blocks("trio-example", "text")[0])
    Path("preferences.yaml").write_text(blocks("trio-example", "yaml")[0])
    async with module["open_notifier"](Metrics()) as notifier:
        yield notifier, lambda number, address: module["PasswordForgotten"](str(number), "ann", address, "https://a/")


@asynccontextmanager
async def asgi_application(port: int) -> AsyncIterator[Service]:
    async with module_of("asgi", port)["lifespan"](None) as state:
        yield state["notifier"], order


@asynccontextmanager
async def one_of_several_nodes(port: int) -> AsyncIterator[Service]:
    module = module_of("several-nodes", port)
    async with (
        SqliteStore.open("node.db") as store,
        module["EmailProvider"](module["SMTP"]) as email,
        Notifier.open(module["SETTINGS"], providers={"email": email}, store=store) as notifier,
    ):
        yield notifier, order


def file_of(name: str, changes: Callable[[dict[str, Any]], None]) -> Path:
    """Write a file of settings that the guide to `retrylab serve` shows, changed."""
    shown = blocks("service-process", "yaml")
    settings = yaml.safe_load({"service.yaml": shown[0], "production.yaml": shown[-1]}[name])
    settings["tokens"] = [{"name": "shop", "role": "ingest", "secret": "shop-0123456789abcdef"}]
    settings |= {"store": {"sqlite": "notifications.db"}, "listen": "127.0.0.1:0"}
    changes(settings)
    path = Path(name)
    path.write_text(yaml.safe_dump(settings))
    return path


@asynccontextmanager
async def a_process_of_its_own(port: int) -> AsyncIterator[Service]:
    def changes(settings: dict[str, Any]) -> None:
        settings["transports"]["email"]["smtp"] |= {"port": port, "connect_timeout": "500ms"}

    path = file_of("service.yaml", changes)
    async with Server.open(path, load(path)) as server:
        yield server.notifier, order


def for_production(settings: dict[str, Any]) -> None:
    """Have no other files, and secrets that stand here."""
    for key in ("preferences", "templates", "suppressions"):
        del settings[key]
    settings["transports"]["sms"]["twilio"]["auth_token"] = "0123456789abcdef"
    settings["transports"]["webhook"]["standard_webhooks"]["signing_keys"] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    email = settings["transports"]["email"]
    for smtp in (email["smtp"], email["failover"]["backup"]["smtp"]):
        smtp |= {"host": "127.0.0.1", "security": "none", "connect_timeout": "500ms"}
        smtp.pop("username", None)
        smtp.pop("password", None)


@asynccontextmanager
async def in_production(port: int) -> AsyncIterator[Service]:
    def changes(settings: dict[str, Any]) -> None:
        for_production(settings)
        email = settings["transports"]["email"]
        for smtp in (email["smtp"], email["failover"]["backup"]["smtp"]):
            smtp["port"] = port

    path = file_of("production.yaml", changes)
    async with Server.open(path, load(path)) as server:
        yield server.notifier, user


SERVICES = [trio_service, asgi_application, one_of_several_nodes, a_process_of_its_own, in_production]


# ── emails ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Heard:
    """What the notifiers of a test have recorded."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def of(self, *kinds: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Heard:
    """What every notifier records that is opened, wherever; files are written to a folder of the test's."""
    monkeypatch.chdir(tmp_path)
    found, opened = Heard(), Notifier.open

    @asynccontextmanager
    async def open_heard(*arguments: Any, on_event: Any = None, **more: Any) -> AsyncIterator[Notifier]:
        def hear(event: Any) -> None:
            found.events.append(event)
            if on_event is not None:
                on_event(event)

        async with opened(*arguments, on_event=hear, **more) as notifier:
            yield notifier

    monkeypatch.setattr(Notifier, "open", staticmethod(open_heard))
    return found


class Mails(SlowScript):
    """Knows of one mailbox that it is not there any more."""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        if address == DEAD:
            return "550 5.1.1 no such user"
        return await super().handle_RCPT(server, session, envelope, address, options)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.01)


@pytest.mark.parametrize("service", sliced(SERVICES, 6))
async def test_a_burst_of_emails_with_one_dead_mailbox(service, heard):
    size = 40
    assert size * TAKES / 4 > 1.5 * PATIENCE
    with mail_server(Mails(TAKES)) as server:
        async with service(server.port) as (notifier, event_of):
            for number in range(size):
                notifier.publish(event_of(number, f"u{number}@example.com"))
            await notifier.publish(event_of(size, DEAD))
            await until(lambda: notifier.in_flight == 0)
        assert sorted(server.script.recipients) == sorted(f"u{number}@example.com" for number in range(size))
        assert server.script.most_at_once == (8 if service is in_production else 4)
    assert [failed.kind for failed in heard.of(NotificationFailed)] == ["DeadDestination"]
    assert heard.of(BreakerTransitioned) == []
    assert {sent.attempt for sent in heard.of(NotificationSent)} == {1}


@pytest.mark.parametrize("service", sliced(SERVICES, 6))
async def test_a_restart_in_the_middle_of_a_backlog(service, heard):
    """What was at the server as it was cut off comes twice, and nothing else does; nothing is lost, and none fails."""
    size = 24
    with mail_server(Mails(TAKES)) as server:
        mails = server.script.recipients
        with trio.CancelScope() as scope:
            async with service(server.port) as (notifier, event_of):
                for number in range(size):
                    await notifier.publish(event_of(number, f"u{number}@example.com"))
                await until(lambda: len(mails) >= 8)
                scope.cancel()
                await trio.sleep_forever()
        assert len(mails) < size
        async with service(server.port) as (notifier, _):
            await until(lambda: notifier.in_flight == 0)
        assert set(mails) == {f"u{number}@example.com" for number in range(size)}
        assert len(mails) - size <= (8 if service is in_production else 4)
    assert heard.of(NotificationFailed, NotificationMovedToDeadLetter, BreakerTransitioned) == []
