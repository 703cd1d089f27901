"""The calls of arrivals in a world: of a function of the service, or as a request to a port of its own."""

from __future__ import annotations

import inspect
import json
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec
import trio

from actors.errors import ConfigurationError, described, unwrapped
from actors.messages import SendNotification
from actors.optional_dependencies import needs
from actors.settings.file import located
from simulation.running import own_code
from simulation.world.escape import is_of_service
from simulation.world.sockets import WorldSocket, origin

with needs("world"):
    import h11

if TYPE_CHECKING:
    from simulation.scenario import Scenario


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """An arrival of the scenario's workload, as the function gets it that is called for each."""

    id: str
    """Of its own. A request that carries it, in a header, its path or its body, counts for this arrival."""
    number: int
    """Of its kind, from 0."""
    channel: str
    user: str
    """The name of the user; empty where the workload has no users."""


Call: TypeAlias = Callable[[Arrival], Awaitable[object]]

_BUGS: Final = (AssertionError, AttributeError, IndexError, KeyError, NameError, TypeError, UnboundLocalError)
"""Errors of the code that raises them, whatever its provider does."""


def imported(name: str, scenario: Scenario | None = None, *path: str | int) -> Any:
    """Return the function that ``module:name`` names; it stands at a path of the scenario's file.

    Raises:
        ConfigurationError: there is no such module or name.
    """
    try:
        found = own_code.imported(name)
        if not callable(found):
            raise ValueError(f"{found!r:.60}")
    except ValueError as error:
        text = f"{name}: wanted a function module:name, got {error}"
        problem = text if scenario is None else str(located(own_code.file_of(scenario), path, text))
        raise ConfigurationError([problem]) from error
    return found


def takes_arrivals(main: Callable[..., Any]) -> bool:
    """Tell whether a function has to be given an argument, and so is called for each arrival."""
    parameters = inspect.signature(main).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(each.default is inspect.Parameter.empty and each.kind in positional for each in parameters)


def names_of_code(scenario: Scenario) -> dict[tuple[str | int, ...], str]:
    calls = {
        ("workload", number, "calls"): getattr(each, "calls", None) for number, each in enumerate(scenario.workload)
    }
    answers = {("world", host, "answer"): config.answer for host, config in scenario.world.items()}
    return {path: name for path, name in (calls | answers).items() if name and " " not in name}


async def awaited(function: Callable[..., Any], *args: Any) -> None:
    """Call an async function of the service.

    Raises:
        ConfigurationError: it is no async function.
    """
    called = function(*args)
    if not inspect.isawaitable(called):
        name = getattr(function, "__qualname__", function)
        raise ConfigurationError([f"{name}: wanted an async function, got one that returned {called!r:.60}"])
    await called


class Calls:
    """Starts a call of the service for each arrival, and knows which have ended."""

    def __init__(
        self, nursery: trio.Nursery, calls: Mapping[str, Call], over: Callable[[str, BaseException | None], object]
    ) -> None:
        """Make calls in a nursery.

        Args:
            nursery: the nursery of the service.
            calls: the functions, by the beginning of the ids of an entry's arrivals.
            over: called at the end of each call, with the error it has raised.
        """
        self._nursery, self._calls, self._over = nursery, calls, over
        self.has_calls = bool(calls)
        self.open = 0
        """Calls that have not ended."""
        self.errors: Counter[str] = Counter()
        """The exceptions that calls have raised, by their names."""
        self.started: list[str] = []
        """The arrivals that called."""
        self.ended: dict[str, str | None] = {}
        """By arrival, the exception that its call has raised; None where it returned."""
        self.bugs: dict[str, str] = {}
        """By arrival, the error of the code that its call has raised."""

    def start(self, command: SendNotification) -> None:
        prefix, _, number = command.notification_id.rpartition("-")
        arrival = Arrival(
            id=command.notification_id, number=int(number), channel=str(command.channel), user=command.user
        )
        self.open += 1
        self.started.append(arrival.id)
        self._nursery.start_soon(self._call, self._calls[f"{prefix}-"], arrival, name=f"arrival {arrival.id}")

    async def _call(self, call: Call, arrival: Arrival) -> None:
        origin.set(arrival.id)
        raised: BaseException | None = None
        try:
            await awaited(call, arrival)
        except Exception as error:
            raised = unwrapped(error)
            self.errors[type(raised).__name__] += 1
            frames = [frame for frame, _ in traceback.walk_tb(raised.__traceback__)]  # none in a group, unless raised
            if type(raised) in _BUGS or (type(raised) is RuntimeError and frames and not is_of_service(frames[-1])):
                self.bugs[arrival.id] = described(raised)
        self.open -= 1
        self.ended[arrival.id] = None if raised is None else type(raised).__name__
        self._over(arrival.id, raised)


class CallFailed(Exception):
    """The service answered an arrival with a status that says it failed, or not at all."""


def by_http(target: str, connect: Callable[[int], Awaitable[WorldSocket]]) -> Call:
    """Return a call that sends a request to a port of the service, such as ``POST http://localhost:8080/orders``; the
    body is the arrival as JSON, and `Idempotency-Key` is its id."""
    method, _, url = target.partition(" ")
    parts = urlsplit(url)
    port = parts.port or 80
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    async def call(arrival: Arrival) -> None:
        body = json.dumps(msgspec.structs.asdict(arrival)).encode()
        headers = [
            ("host", f"localhost:{port}"),
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("idempotency-key", arrival.id),
            ("connection", "close"),
        ]
        with await connect(port) as sock:
            stream = trio.SocketStream(sock)
            client = h11.Connection(h11.CLIENT)
            request = client.send(h11.Request(method=method, target=path, headers=headers))
            await stream.send_all(request + client.send(h11.Data(data=body)) + client.send(h11.EndOfMessage()))
            while True:
                event = client.next_event()
                if event is h11.NEED_DATA:
                    client.receive_data(await stream.receive_some(65536))
                elif isinstance(event, h11.Response):
                    if event.status_code >= 400:
                        raise CallFailed(f"{target}: {event.status_code}")
                elif isinstance(event, h11.EndOfMessage):
                    return
                elif isinstance(event, h11.ConnectionClosed):
                    raise CallFailed(f"{target}: no answer")

    return call
