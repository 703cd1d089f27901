"""A notifier with dead letters in it, by itself or with the service's application before it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx2
import served
import trio
from served import ANN as ANN, OTTO as OTTO, SHOP as SHOP

from actors import Notifier
from actors.domain.attempts import Attempt, Provider
from actors.domain.endpoints import Endpoint
from actors.domain.store import Store
from actors.endpoints import EndpointMark, EndpointState
from actors.kernel.effects import Foreseen
from actors.messages import BreakerTransitioned, NotificationChannel, SendNotification
from actors.outcomes import DeadDestination, Outcome, Permanent, Sent, Transient
from actors.service.app import make_app
from actors.service.http.access import Access, TokenConfig
from actors.service.operations.breakers import BreakerWatch
from actors.service.operations.dead_letters import DeadLetters

EMAIL, SMS = NotificationChannel.EMAIL, NotificationChannel.SMS
TOKENS = tuple(TokenConfig.model_validate(each) for each in served.TOKENS)


def command(notification_id: str = "n", **fields: Any) -> SendNotification:
    """Return a command to send an email; every field has a default."""
    given = {"channel": EMAIL, "recipient": "ann@example.org", "message": "Hello"}
    return SendNotification(notification_id=notification_id, **{**given, **fields})


HOOK = "https://example.com/hook"


def fail_endpoint(store: Store, address: str = HOOK, state: str = "disabled") -> None:
    """Have a store know of an endpoint of webhooks that has failed since the first of March."""
    since_ns = 1_772_323_200 * 10**9
    mark = EndpointMark(state=EndpointState(state), since_ns=since_ns, until_ns=since_ns + 10 * 86_400 * 10**9)
    of = {"channel": NotificationChannel.WEBHOOK, "address": address, "reason": "HTTP 503"}
    endpoint = Endpoint(**of, mark=mark, marked_ns=since_ns + 5 * 86_400 * 10**9)
    store.endpoints.set(endpoint.key, endpoint)


class Provided(Provider):
    """Fails with what its message asks for (``bad: why``, ``gone: why``, ``down: why``), and takes everything else."""

    def __init__(self) -> None:
        self.taken: list[Attempt] = []

    def attempt(self, attempt: Attempt, now_ns: int) -> Foreseen:
        kind, _, reason = attempt.command.message.partition(": ")
        outcomes: dict[str, Outcome] = {
            "bad": Permanent(reason=reason, answer=f"550 {reason}"),
            "gone": DeadDestination(reason=reason),
            "down": Transient(reason=reason),
        }
        outcome = outcomes.get(kind, Sent())
        if type(outcome) is Sent:
            self.taken.append(attempt)
        return Foreseen(0, outcome)

    @property
    def ids(self) -> list[str]:
        return [attempt.command.notification_id for attempt in self.taken]


class Desk:
    """A notifier with what is dead in it, and the operator who works with it."""

    def __init__(self, notifier: Notifier, letters: DeadLetters, provider: Provided) -> None:
        self.notifier = notifier
        self.letters = letters
        self.provider = provider

    async def die(self, *commands: SendNotification, pace: float = 1) -> None:
        """Have each be dead-lettered, so many seconds after the other."""
        for each in commands:
            await self.notifier.send(each)
            await self.notifier.wait_until_quiet()
            await trio.sleep(pace)

    def ids(self, *args: Any, **kwargs: Any) -> list[str]:
        return [letter.notification_id for letter in self.letters.list(*args, **kwargs).letters]


@asynccontextmanager
async def desk(store: Store | None = None, provider: Provided | None = None, **config: Any) -> AsyncGenerator[Desk]:
    """Open a notifier with these settings, and an operator who works with its dead letters."""
    provider = provider if provider is not None else Provided()
    async with Notifier.open(config, providers=provider, store=store) as notifier, trio.open_nursery() as nursery:
        yield Desk(notifier, DeadLetters(notifier, nursery), provider)


def app_of(at: Desk, watch: BreakerWatch | None = None) -> Any:
    """Return the service's application over a desk."""
    app = make_app()
    app.service = SimpleNamespace(
        notifier=at.notifier,
        dead_letters=at.letters,
        access=Access(TOKENS),
        config=SimpleNamespace(notifier=None),
        store=at.notifier.pipeline.store,
        breakers=watch if watch is not None else BreakerWatch(),
        status=SimpleNamespace(draining=False),
    )
    return app


class Client:
    def __init__(self, at: Desk, client: httpx2.AsyncClient) -> None:
        self.at = at
        self._client = client

    async def get(self, path: str, token: str | None = ANN, **query: Any) -> tuple[int, Any]:
        """Ask, and return the status and what the answer says."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        answer = await self._client.get(path, params=query, headers=headers)
        return answer.status_code, answer.json()

    async def post(self, path: str, content: Any = None, token: str | None = OTTO) -> tuple[int, Any]:
        """Order something, and return the status and what the answer says."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        how = {"content": content} if isinstance(content, bytes) else {} if content is None else {"json": content}
        answer = await self._client.post(path, headers=headers, **how)
        return answer.status_code, answer.json()


@asynccontextmanager
async def asked(**config: Any) -> AsyncGenerator[Client]:
    """Open a desk with these settings, and the API before it."""
    watch = BreakerWatch()
    async with desk(**config) as at:
        at.notifier.bus.subscribe(BreakerTransitioned)(watch.record)
        transport = httpx2.ASGITransport(app=app_of(at, watch))
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            yield Client(at, client)
