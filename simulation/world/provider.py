"""A scenario's provider that answers requests of HTTP: its latency, queue, throttles and faults are the scenario's.

A request fares as an attempt in a simulation: :mod:`actors.faults.rules` decides its outcome when it begins. This
module decides how the outcome shows on the wire:

===================================== ============================================================
outcome                               answer
===================================== ============================================================
Sent                                  that of the host's `answer` function, or of its `shape`
Transient, throttled                  429, with Retry-After where the scenario gives one
Transient, no connection              refused
Transient of an outage                the host's `outage`
other Transient                       the host's `failure`
Permanent, DeadDestination,           the status of the host's `shape`, such as 422, 410 and 401
ChannelFault
Ambiguous                             the connection ends without an answer
none (a hang, a lost reply)           silence
===================================== ============================================================
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, assert_never

import msgspec
import trio

from actors.domain.attempts import TIMED_OUT, Attempt, Provider
from actors.errors import ConfigurationError
from actors.faults.conditions import NEVER_NS
from actors.faults.rules import OUTAGE
from actors.instants import NS_PER_S, ns
from actors.kernel.effects import Foreseen, Promise
from actors.messages import NotificationChannel, SendNotification
from actors.outcomes import Ambiguous, ChannelFault, DeadDestination, Outcome, Permanent, Sent, Transient
from actors.settings.faults import FaultConfig
from simulation.scenario.world import BEFORE_REQUEST, HostConfig

Headers: TypeAlias = Sequence[tuple[str, str]]


class HostRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the provider saw it."""

    host: str
    method: str
    path: str
    """With its query."""
    headers: Headers = ()
    """Names in lower case."""
    body: bytes = b""


class HostAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request, as a host's `answer` function returns it."""

    status: int = 200
    headers: Headers = ()
    body: bytes = b""
    broken: str | None = None
    """How the request goes wrong: `refused`, `unreachable`, `reset`, `closed` and `silence` have no answer, the body of
    `cut` ends early, and `wrong` is another answer than the client wants. None: all is well with it."""

    @property
    def shown(self) -> str:
        """The answer in a word, for tables: ``503``, ``reset``."""
        return str(self.status) if self.broken is None else self.broken


AnswerFunction: TypeAlias = Callable[[HostRequest], HostAnswer | Mapping[str, Any] | bytes | str]
"""Returns the answer to a request that goes well; a mapping is sent as JSON, text and bytes as the body of a 200."""

_JSON: Final = (("content-type", "application/json"),)


def _json(status: int, body: Any) -> HostAnswer:
    return HostAnswer(status=status, headers=_JSON, body=json.dumps(body).encode())


def _fcm(status: int, word: str) -> HostAnswer:
    error = {"code": status, "message": word, "status": word}
    details = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": word}]
    return _json(status, {"error": {**error, "details": details}})


_PLAIN: Final[Mapping[type, HostAnswer]] = {
    Sent: _json(200, {"ok": True}),
    Permanent: _json(422, {"error": "injected permanent failure"}),
    DeadDestination: _json(410, {"error": "injected dead destination"}),
    ChannelFault: _json(401, {"error": "injected channel fault"}),
}
_SHAPES: Final[Mapping[str, Mapping[type, HostAnswer]]] = {
    "json": _PLAIN,
    "webhook": {**_PLAIN, Sent: HostAnswer(status=204)},
    "webpush": {**_PLAIN, Sent: HostAnswer(status=201), Permanent: _json(413, {"error": "injected permanent failure"})},
    "twilio": {
        Sent: _json(201, {"sid": "SM" + "0" * 32, "status": "queued"}),
        Permanent: _json(400, {"code": 21617, "message": "injected permanent failure", "status": 400}),
        DeadDestination: _json(400, {"code": 21211, "message": "injected dead destination", "status": 400}),
        ChannelFault: _json(401, {"code": 20003, "message": "injected channel fault", "status": 401}),
    },
    "fcm": {
        Sent: _json(200, {"name": "projects/world/messages/0"}),
        Permanent: _fcm(400, "INVALID_ARGUMENT"),
        DeadDestination: _fcm(404, "UNREGISTERED"),
        ChannelFault: _fcm(401, "THIRD_PARTY_AUTH_ERROR"),
    },
}
_WRONG: Final = HostAnswer(
    headers=(("content-type", "text/html"),), body=b"<html><body>Please log in.</body></html>", broken="wrong"
)
SILENCE: Final = HostAnswer(broken="silence")


class VirtualProvider:
    """One provider of a scenario behind one host."""

    def __init__(
        self,
        provider: Provider,
        host: HostConfig,
        faults: Sequence[FaultConfig],
        now_ns: Callable[[], int],
        answer: AnswerFunction | None = None,
    ) -> None:
        """Put a provider behind a host.

        Args:
            provider: decides the fates; it serves one run.
            host: the host's settings of how outcomes show.
            faults: the faults of the scenario that hit it.
            now_ns: the clock, from 0 on.
            answer: in place of the answer of the host's shape.
        """
        self.host = host
        self._provider = provider
        self._now_ns = now_ns
        self._answer = answer
        self._closed_at = [
            (ns(fault.at), math.inf if fault.ends_at is None else ns(fault.ends_at))
            for fault in faults
            if fault.refused_rate or ((fault.outage or fault.flap) and host.outage in BEFORE_REQUEST)
        ]

    @property
    def closes_at_ns(self) -> list[int]:
        """The instants from which on connections may be refused."""
        return [begins_ns for begins_ns, _ in self._closed_at]

    @property
    def may_refuse(self) -> bool:
        return any(begins_ns <= self._now_ns() < ends_ns for begins_ns, ends_ns in self._closed_at)

    def begin(self, command: SendNotification, number: int) -> Fate:
        """Decide the fate of an attempt that begins now; `number` counts attempts from 1."""
        attempt = Attempt(command=command, number=number, charged=False, expires_at_ns=None)
        return Fate(self, self._provider.attempt(attempt, self._now_ns()), self._now_ns())

    def answer_to(self, outcome: Outcome | None, request: HostRequest) -> HostAnswer:
        shape = _SHAPES[self.host.shape]
        match outcome:
            case None:
                return SILENCE
            case Sent():
                return shape[Sent] if self._answer is None else as_answer(self._answer(request))
            case Transient(throttled=True):
                return HostAnswer(status=429, headers=_retry_after(outcome.retry_after))
            case Transient(connection=True):
                return HostAnswer(broken="refused")
            case Transient():
                failing = self.host.outage if outcome is OUTAGE else self.host.failure
                return self._failing(failing, request, outcome.retry_after)
            case Ambiguous():
                return HostAnswer(broken="closed")
            case Permanent() | DeadDestination() | ChannelFault():
                return shape[type(outcome)]
            case _:
                assert_never(outcome)

    def _failing(self, failing: int | str, request: HostRequest, retry_after: float | None) -> HostAnswer:
        if isinstance(failing, int):
            return HostAnswer(status=failing, headers=_retry_after(retry_after))
        if failing == "wrong":
            return _WRONG
        if failing == "cut":
            whole = self.answer_to(Sent(), request)
            return msgspec.structs.replace(whole, broken="cut", body=whole.body or b"{}")
        return HostAnswer(broken=failing)


class Fate:
    """The fate of one request, decided when it began."""

    def __init__(self, provider: VirtualProvider, effect: Any, began_ns: int) -> None:
        self._provider = provider
        self._effect = effect
        self.began_ns = began_ns
        self.outcome: Outcome | None = None
        """The provider's outcome, once it is known."""

    async def known(self) -> Outcome | None:
        """Wait for as long as the provider takes, and return its outcome; None: no answer ever comes."""
        effect = self._effect
        if isinstance(effect, Promise):
            self.outcome = await effect()
        else:
            assert isinstance(effect, Foreseen)
            lasts_ns = effect.delay_ns + self.began_ns - self._provider._now_ns()
            if effect.delay_ns >= NEVER_NS or effect.result is TIMED_OUT:
                return None
            await trio.sleep(max(0, lasts_ns) / NS_PER_S)
            self.outcome = effect.result
        return self.outcome

    async def answer(self, request: HostRequest) -> HostAnswer:
        return self._provider.answer_to(await self.known(), request)

    @property
    def is_refused(self) -> bool:
        """Whether no connection is opened: known at once for an outcome that is foreseen."""
        outcome = self._effect.result if isinstance(self._effect, Foreseen) else None
        if not isinstance(outcome, Transient) or outcome.throttled:
            return False
        return outcome.connection or (outcome is OUTAGE and self._provider.host.outage in BEFORE_REQUEST)


def _retry_after(seconds: float | None) -> Headers:
    return () if seconds is None else (("retry-after", str(math.ceil(seconds))),)


def as_answer(given: Any) -> HostAnswer:
    """Return the answer that a function of the user means.

    Raises:
        ConfigurationError: it is none.
    """
    if isinstance(given, HostAnswer):
        return given
    if isinstance(given, Mapping):
        return _json(200, given)
    if isinstance(given, str | bytes):
        return HostAnswer(body=given.encode() if isinstance(given, str) else given)
    wanted = "a HostAnswer, a mapping, text or bytes of the host's answer function"
    raise ConfigurationError([f"answer: wanted {wanted}, got {given!r:.100}"])


def command_of(request: HostRequest, channel: NotificationChannel, notification_id: str) -> SendNotification:
    """Return the command that stands for a request: its recipient is the URL, so faults of a `host` meet it."""
    recipient = f"https://{request.host}{request.path}"
    return SendNotification(notification_id=notification_id, channel=channel, recipient=recipient, message="")
