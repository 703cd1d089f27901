"""Redrives without an operator (`redrive`): when a breaker closes, what died of its provider is tried again, paced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from actors.messages import DeadLetterMessage
from actors.settings.redrive import RedriveConfig
from simulation.verification.model.addresses import host_of
from simulation.verification.model.breakers import REFUSING
from simulation.verification.model.channel import Way
from simulation.verification.model.instants import ns
from simulation.verification.model.letters import LOOKED_AT_MAX, Letters, Redrive
from simulation.verification.model.notifications import CUT, EXPIRED, RETRY_TIME_UP
from simulation.verification.model.process import Process

BREAKER_CLOSED = "the circuit breaker has closed"
_KINDS = {"ChannelFault": "channel_fault", "Transient": "outage", "Ambiguous": "outage"}


@dataclass
class _Channel:
    way: Way
    config: RedriveConfig
    due: dict[str, list[str]] = field(default_factory=dict)
    """By host, whose turn it is to come; hosts take turns."""
    next_ns: int = 0


class Redriving:
    """The redrives of the dead letter queue when a breaker has closed, or its actor starts."""

    def __init__(
        self, process: Process, letters: Letters, ways: Mapping[str, Way], redrive: Callable[..., None]
    ) -> None:
        self.process = process
        self.letters = letters
        self.redrive = redrive
        configs = ((channel, way, way.config.redrive) for channel, way in ways.items())
        self.channels = {channel: _Channel(way, config) for channel, way, config in configs if config is not None}

    def start(self) -> None:
        self.letters.begin()
        for state in self.channels.values():
            state.due, state.next_ns = {}, 0
        self.all_closed()

    def all_closed(self) -> None:
        """ "A start counts as a closing, as breakers begin closed", and so does the end of another node."""
        for channel, state in self.channels.items():
            state.due.update(self._by_host(state))
            self.look(channel)

    def breaker_closed(self, channel: str, host: str) -> None:
        """Let the letters there are now have their turns, the oldest first."""
        state = self.channels[channel]
        if host in (names := self._by_host(state)):
            state.due[host] = names[host]
        self.look(channel)

    def _by_host(self, state: _Channel) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, letter in self.letters.told.items():
            if letter.command.channel == state.way.channel and self._is_meant(state, letter):
                found.setdefault(self._host(state.way, letter), []).append(name)
        return found

    @staticmethod
    def _host(way: Way, letter: DeadLetterMessage) -> str:
        return host_of(letter.command.recipient) if way.is_per_host else ""

    @staticmethod
    def _is_meant(state: _Channel, letter: DeadLetterMessage) -> bool:
        """Tell whether a letter died of its provider, and has redrives left."""
        if not letter.history or letter.failure_reason == EXPIRED or letter.history[-1].throttled:
            return False
        latest = letter.history[-1]
        has_died_of_it = letter.failure_reason in (latest.given_up, RETRY_TIME_UP, CUT.reason)
        is_meant = has_died_of_it and _KINDS.get(latest.kind) in state.config.reasons
        return is_meant and letter.redriven_without_operator < state.config.at_most

    def look(self, channel: str) -> None:
        """Redrive the one whose turn it is, if its provider can be reached, and at no more than the rate."""
        process, state = self.process, self.channels[channel]
        config, now_ns = state.config, process.now_ns
        for _ in range(LOOKED_AT_MAX):
            name = self._next(state, channel)
            if name is None:
                break
            if not self.letters.is_one(name) or self.letters.is_served(name):
                continue
            letter = self.letters.letter(name)
            age_ns = process.epoch_ns + now_ns - letter.epoch_ns - letter.moved_at_ns
            if age_ns > ns(config.max_age) or process.store.is_unreachable(letter.command):
                continue
            host = self._host(state.way, letter)
            if all(lane.breaker(host).state in REFUSING for lane in state.way.lanes):
                state.due.pop(host, None)
                continue
            state.next_ns = now_ns + ns(1 / config.rate.per_second)
            process.follow("handler", "", self.redrive, Redrive(self.letters.take(name), without_operator=True))
        process.wake("redrive", channel, max(state.next_ns, now_ns) if state.due else None)

    def _next(self, state: _Channel, channel: str) -> str | None:
        while state.due and state.next_ns <= self.process.now_ns:
            host = next(iter(state.due))
            name, *rest = state.due.pop(host)
            if rest:
                state.due[host] = rest
            letter = self.letters.told.get(name)
            if letter is None or self._host(state.way, letter) != host:
                continue  # it has been redriven, and has another recipient if it is a letter again
            if self._is_meant(state, letter):
                return name
        return None
