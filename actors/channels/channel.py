"""The channel: asks its provider to deliver, with a time limit."""

from __future__ import annotations

from actors.actor import Actor, handles
from actors.config import ChannelConfig
from actors.effects import Performed
from actors.errors import PermanentError, TransientError
from actors.instants import ns
from actors.outcomes import Ambiguous, Permanent, Transient
from actors.pipeline.attempts import TIMED_OUT, Admitted, Provider, Stages


class Channel(Actor):
    """Makes the attempts that the circuit breaker admits, and brings it their outcomes."""

    def __init__(self, provider: Provider, config: ChannelConfig, stages: Stages) -> None:
        super().__init__()
        self._attempt = provider.attempt
        self._timeout_ns = ns(config.timeout)
        self._stages = stages

    def on_start(self) -> None:
        assert self._stages.circuit_breaker is not None
        self._to_breaker = self._stages.circuit_breaker.tell

    @handles(Admitted)
    def on_admitted(self, admitted: Admitted) -> None:
        system = self.system
        effect = self._attempt(admitted.attempt, system.now_ns)
        system.perform(self, effect, admitted, self._timeout_ns, TIMED_OUT)

    @handles(Performed)
    def on_performed(self, performed: Performed) -> None:
        if isinstance(performed.result, Exception):
            performed = Performed(
                request=performed.request,
                result=outcome_of(performed.result),
                started_ns=performed.started_ns,
                ended_ns=performed.ended_ns,
            )
        self._to_breaker(performed)


def outcome_of(error: Exception) -> Transient | Permanent | Ambiguous:
    """Return the outcome of an attempt whose transport raised; one that it does not know may have been sent."""
    match error:
        case TransientError():
            return Transient(reason=error.reason, retry_after=error.retry_after)
        case PermanentError():
            return Permanent(reason=error.reason)
        case _:
            return Ambiguous(reason=f"{type(error).__name__}: {error}")
