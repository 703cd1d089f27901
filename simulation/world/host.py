"""A host of a world, whatever it speaks: it lets connections in, and has its provider work on what comes over them."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import trio

from actors.outcomes import Outcome, Sent, Transient
from simulation.scenario.world import HostConfig
from simulation.world.provider import Fate, HostAnswer, HostRequest, VirtualProvider
from simulation.world.sockets import WorldSocket, looked_up_for, whose
from simulation.world.traffic import Seen, Traffic


class Work(NamedTuple):
    """What a provider has made of a request."""

    seen: Seen
    fate: Fate
    answer: HostAnswer
    outcome: Outcome | None
    """Of the attempt: a function of the user's may have refused what the provider would have taken."""


class Host(ABC):
    gone: ClassVar[tuple[type[Exception], ...]]
    """What a session raises if its client has gone, or says what is not of the protocol."""

    status_word: ClassVar[str]
    """What stands before the status of an answer where that is the reason of a failure."""

    def __init__(
        self,
        name: str,
        config: HostConfig,
        provider: VirtualProvider | None,
        traffic: Traffic,
        tls: Callable[[str, HostConfig], ssl.SSLContext],
    ) -> None:
        """Make a host; `provider` is None for one that is never there, `tls` gives its context."""
        self.name = name
        self.config = config
        self.refusal = "refused"
        """How the latest connection was refused."""
        self.provider = provider
        self._traffic = traffic
        self._tls = tls
        self._fates: list[Fate] = []
        """The fate of the request for which a connection is being opened."""
        self.idle: dict[WorldSocket, None] = {}
        """Connections over which no request is under way."""

    @property
    def tls_context(self) -> ssl.SSLContext:
        return self._tls(self.name, self.config)

    async def lets_in(self) -> bool:
        """Wait for the answer to a new connection; return False if it is refused."""
        if self.provider is None or not self.provider.may_refuse:
            return True
        seen = self._traffic.begin(
            self.config, HostRequest(host=self.name, method="CONNECT", path=""), looked_up_for.get() or whose()
        )
        fate = self.provider.begin(seen.command, seen.number)
        if not fate.is_refused:
            self._traffic.forget(seen)
            self._fates.append(fate)
            return True
        try:
            outcome = await fate.known()
        except trio.Cancelled:
            seen.lost()
            raise
        self.refusal = self.provider.answer_to(outcome, seen.request).broken or "refused"
        seen.end(self.refusal, outcome)
        return False

    def reset_idle(self) -> None:
        for sock in list(self.idle):
            sock.reset()

    async def serve(self, sock: WorldSocket) -> None:
        fate = self._fates.pop() if self._fates else None
        self.idle[sock] = None
        try:
            await self._session(sock, fate)
        except self.gone:
            pass
        except Exception as error:
            self._traffic.failure = error
            raise
        finally:
            self.idle.pop(sock, None)
            sock.close()

    @abstractmethod
    async def _session(self, sock: WorldSocket, fate: Fate | None) -> None:
        """Speak the protocol over a connection; `fate` is of its first request, where that is decided already."""

    async def work_on(self, request: HostRequest, sock: WorldSocket, fate: Fate | None) -> Work | None:
        """Have the provider work on a request, which is not idle meanwhile; None: no answer comes, and the client has
        gone."""
        assert self.provider is not None
        assert sock.rx is not None
        began_ns = None if fate is None else fate.began_ns
        seen = self._traffic.begin(self.config, request, sock.rx.origin, began_ns=began_ns)
        if fate is None:
            fate = self.provider.begin(seen.command, seen.number)
        sock.rx.when_ended = seen.lost
        self.idle.pop(sock, None)
        answer = await fate.answer(request)
        if answer.broken == "silence":
            while not sock.rx.ended:
                await sock.rx.readers.park()
            return None
        sock.rx.when_ended = None
        outcome = fate.outcome
        if isinstance(outcome, Sent) and answer.status >= 400:
            outcome = Transient(reason=f"{self.status_word} {answer.status}")
        return Work(seen, fate, answer, outcome)
