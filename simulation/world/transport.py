"""A transport for clients of httpx and httpx2 that answers as a provider of a scenario does, without any network.

::

    transport = simulation.ScenarioTransport("scenarios/provider-outage.yaml", "email")
    async with httpx2.AsyncClient(transport=transport) as client:
        await client.post("https://api.example.com/send", json={"to": "ann@example.com"})

Under trio's `MockClock` an hour takes no time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import trio

from actors.errors import ConfigurationError
from actors.faults.build import enforced_quotas, faults_of, unreliable_providers
from actors.instants import NS_PER_S
from actors.kernel.randomness import RandomStreams
from actors.messages import NotificationChannel
from actors.settings.base import validated
from actors.settings.channel import PRIMARY
from simulation.scenario import Scenario
from simulation.scenario.loading import given
from simulation.scenario.world import HostConfig
from simulation.world.provider import AnswerFunction, Fate, HostAnswer, HostRequest, VirtualProvider, command_of

_ERRORS = {
    "refused": ("ConnectError", "[Errno 111] Connection refused"),
    "unreachable": ("ConnectError", "[Errno 113] No route to host"),
    "reset": ("ReadError", "[Errno 104] Connection reset by peer"),
    "closed": ("RemoteProtocolError", "Server disconnected without sending a response."),
}
_CUT = "peer closed connection without sending complete message body (incomplete chunked read)"


class SeenRequest(NamedTuple):
    """A request that the provider saw, and its outcome."""

    at_s: float
    """When it came, in seconds from the transport's first request on."""
    host: str
    method: str
    path: str
    answer: str
    """The status, or in a word how it went wrong; ``timed out`` where the client stopped waiting."""


class ScenarioTransport:
    """Answers the requests of an `AsyncClient` as a provider of a scenario would; for clients that run under trio.

    It has the latency, capacity, queue, throttles and faults of the scenario, from the first request on; the client's
    own retries meet each of them. It has state, so it serves one run, of one client or several.
    """

    def __init__(
        self,
        scenario: str | Path | Scenario,
        channel: str | None = None,
        *,
        provider: str = PRIMARY,
        outage: int | str = 503,
        failure: int | str = 503,
        answer: AnswerFunction | None = None,
        seed: int | None = None,
        sets: Sequence[str] = (),
    ) -> None:
        """Make a transport.

        Args:
            scenario: a file, or a scenario that has been loaded; its `provider` settings and its `faults` count.
            channel: the channel whose provider answers; may be left out where the scenario uses only one.
            provider: which one of it, where it has a `failover`.
            outage: how an outage shows: a status of HTTP, ``refused``, ``unreachable``, ``reset``, ``closed``,
                ``silence``, ``cut`` or ``wrong``.
            failure: how any other transient failure shows.
            answer: returns the answer to a request that goes well; 200 and ``{"ok": true}`` when None.
            seed: in place of the scenario's own.
            sets: ``path=value`` changes to the file, as ``--set`` on the command line.

        Raises:
            ConfigurationError: the scenario, the channel or the words cannot be used.
        """
        self._scenario = given(scenario, sets, seed)
        used = self._scenario.channels_used
        if channel is None and len(used) != 1:
            raise ConfigurationError([f"channel: wanted one of {', '.join(used)}, as there are several, got none"])
        if channel is not None and channel not in used:
            raise ConfigurationError(
                [f"channel: wanted one that the scenario uses ({', '.join(used)}), got {channel!r}"]
            )
        self._channel = used[0] if channel is None else NotificationChannel(channel)
        names = self._scenario.providers_used[self._channel]
        if provider not in names:
            raise ConfigurationError([f"provider: wanted one of {', '.join(names)}, got {provider!r}"])
        self._host = validated(
            HostConfig, {"channel": self._channel, "provider": provider, "outage": outage, "failure": failure}
        )
        self._answer = answer
        self._provider: VirtualProvider | None = None
        self._clock = TrioClock()
        self.seen: list[SeenRequest] = []
        """The requests so far, in the order in which they ended."""

    def _begun(self) -> VirtualProvider:
        if self._provider is None:
            scenario, channel, host = self._scenario, self._channel, self._host
            self._clock.begin()
            provider = unreliable_providers(
                channel,
                scenario.channel_config(channel),
                scenario.faults,
                RandomStreams(scenario.seed),
                accounts=enforced_quotas(scenario.accounts),
            )[host.provider]
            provider.on_wired(self._clock)  # type: ignore[arg-type]  # a clock is all that providers need
            faults = faults_of(scenario.faults, channel, host.provider)
            self._provider = VirtualProvider(provider, host, faults, lambda: self._clock.now_ns, self._answer)
        return self._provider

    async def handle_async_request(self, request: Any) -> Any:
        """HostAnswer a request of httpx or httpx2, or raise that library's error."""
        library = importlib.import_module(type(request).__module__.partition(".")[0])
        patience = request.extensions.get("timeout", {})
        seen = HostRequest(
            host=request.url.host,
            method=request.method,
            path=request.url.raw_path.decode("ascii"),
            headers=tuple(
                (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.raw
            ),
            body=await request.aread(),
        )
        provider = self._begun()
        fate = provider.begin(command_of(seen, self._channel, str(len(self.seen))), 1)
        answer = await self._in_time(library, request, fate, seen, patience)
        if answer.broken in _ERRORS:
            error, text = _ERRORS[answer.broken]
            raise getattr(library, error)(text, request=request)
        content = answer.body
        if answer.broken == "cut":
            return library.Response(answer.status, headers=list(answer.headers), stream=_cut(library, request, content))
        return library.Response(answer.status, headers=list(answer.headers), content=content)

    async def _in_time(self, library: Any, request: Any, fate: Fate, seen: HostRequest, patience: Any) -> HostAnswer:
        limit = patience.get("connect" if fate.is_refused else "read")
        shown = "timed out"
        try:
            with trio.move_on_after(float("inf") if limit is None else limit):
                answer = await fate.answer(seen)
                if answer.broken == "silence":
                    await trio.sleep_forever()
                shown = answer.shown
                return answer
        finally:
            at_s = fate.began_ns / NS_PER_S
            self.seen.append(SeenRequest(at_s, seen.host, seen.method, seen.path, shown))
        raise (library.ConnectTimeout if fate.is_refused else library.ReadTimeout)("", request=request)

    async def aclose(self) -> None:
        """Close nothing: there is no connection."""

    async def __aenter__(self) -> ScenarioTransport:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _cut(library: Any, request: Any, body: bytes) -> Any:
    class Cut(library.AsyncByteStream):  # type: ignore[misc]
        async def __aiter__(self) -> Any:
            yield body[:-1]
            raise library.RemoteProtocolError(_CUT, request=request)

    return Cut()


class TrioClock:
    """The clock of providers that are part of no pipeline, in nanoseconds from :meth:`begin` on."""

    epoch_ns = 0

    def begin(self) -> None:
        self._started_at = trio.current_time()

    @property
    def now_ns(self) -> int:
        return round((trio.current_time() - self._started_at) * NS_PER_S)

    def call_at(self, instant_ns: int, function: Callable[[], object]) -> trio.CancelScope:
        """Call a function at an instant; to cancel the scope keeps it from being called."""
        scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(partial(self._call, scope, instant_ns, function))
        return scope

    async def _call(self, scope: trio.CancelScope, instant_ns: int, function: Callable[[], object]) -> None:
        with scope:
            await trio.sleep_until(self._started_at + instant_ns / NS_PER_S)
            function()

    def record(self, event: object) -> None:
        """Keep no history."""
