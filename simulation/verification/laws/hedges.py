"""Hedging: no more copies of an attempt than there may be, none before its time, and one outcome of them all."""

from __future__ import annotations

import math
from typing import NamedTuple

from actors.formatting import seconds_text
from actors.instants import ns, wait_ns
from actors.messages import ActorFailed, NotificationChannel, NotificationFailed, NotificationSent
from actors.outcomes import Ambiguous, Outcome, Transient
from actors.pipeline.blocked import BREAKER_OPEN, BULKHEAD_FULL, THROTTLED_HERE
from actors.policies.hedging import MOST_SENDS
from actors.settings.adaptive import HedgingConfig
from simulation.verification.laws.base import Context, Invariant, Objection, observes
from simulation.verification.laws.lifecycles import ON_THE_WAY, PROCESS, cut_ns
from simulation.verification.laws.observations import AttemptMade


class _Answer(NamedTuple):
    """The outcome of one send, to the sender: at the timeout of the whole attempt at the latest."""

    sent_ns: int
    at_ns: int
    outcome: Outcome | None
    """None: none by the timeout."""

    @property
    def kind(self) -> str:
        return Ambiguous.__name__ if self.outcome is None else type(self.outcome).__name__

    @property
    def wants_s(self) -> float | None:
        """After how long its provider wants another one, in seconds."""
        return self.outcome.retry_after if isinstance(self.outcome, Transient) else None

    @property
    def decides(self) -> bool:
        """Whether no other copy can do better."""
        return self.outcome is not None and not isinstance(self.outcome, (Transient, Ambiguous))


class _Flight:
    def __init__(self, made: AttemptMade, timeout_ns: int) -> None:
        self.attempt = made.attempt
        self.node = made.node
        self.deadline_ns = made.at_ns + timeout_ns
        self.sends: list[AttemptMade] = []
        self.gets_more = True
        """Whether the channel has not crashed since, or another stage, after which it gets no more copies."""

    @property
    def is_known(self) -> bool:
        """Whether the outcome of each send is known, or will be when it has come."""
        return all(made.outcome is not None or made.is_promised for made in self.sends)

    def answers(self) -> list[_Answer]:
        """Return the outcome of each send, as far as it is known now."""
        return [self._answer(made) for made in self.sends]

    def _answer(self, made: AttemptMade) -> _Answer:
        answered = made.answered and made.ends_at_ns <= self.deadline_ns
        at_ns = made.ends_at_ns if answered else self.deadline_ns
        return _Answer(made.at_ns, at_ns, made.outcome if answered else None)


class Hedges(Invariant):
    """An attempt is sent as often as the `hedging` of its provider allows, the first time included; a copy goes a
    `delay` after the one before, or at the instant at which one has failed and the wait that came with that has
    passed, but not when one has decided or the attempt has timed out; and the outcome is the first that decides, or
    else the latest failure, an ambiguous one before others, which is not there before a copy that is still to go.

    After a crash the same holds of each attempt that was sent in place of another. Where messages come twice, or
    overtake each other, only the number of copies is looked at.
    """

    name = "hedges"
    settings = ("hedging",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._configs: dict[tuple[NotificationChannel, str], HedgingConfig] = {}
        self._timeouts_ns: dict[tuple[NotificationChannel, str], int] = {}
        self._most = dict.fromkeys(context.channels, 1)
        for key, config in context.providers.items():
            if config.hedging is not None:
                self._configs[key] = config.hedging
                self._timeouts_ns[key] = ns(config.timeout)
                self._most[key[0]] = max(self._most[key[0]], config.hedging.max_attempts)
        self._flights: dict[str, list[_Flight]] = {}
        """By notification: those whose outcome is not there, several where one was sent anew."""
        self._looks_on = not context.mixes_messages_up

    @observes(ActorFailed)
    def on_crash(self, event: ActorFailed) -> None:
        if event.actor in ON_THE_WAY:
            for flights in self._flights.values():
                if event.actor == PROCESS:
                    flights[:] = [each for each in flights if each.node != event.node]
                for flight in flights:
                    flight.gets_more &= flight.node != event.node

    @observes(AttemptMade)
    def on_attempt(self, made: AttemptMade) -> Objection:
        key = made.channel, made.provider
        config = self._configs.get(key)
        if config is None or not self._looks_on:
            return None
        flights = self._flights.setdefault(made.notification_id, [])
        flight = next((each for each in flights if each.attempt is made.attempt), None)
        if flight is None:
            timeout_ns, deadline = self._timeouts_ns[key], self.context.channels[made.channel].deadline
            if deadline is not None:
                lifecycle = self.context.lifecycles.get(made.notification_id)
                timeout_ns = min(timeout_ns, cut_ns(lifecycle, deadline, made.at_ns) - made.at_ns)
            flight = _Flight(made, timeout_ns)
            flights.append(flight)
        wrong = _wrong_time(config, flight, made.at_ns) if flight.sends else None
        flight.sends.append(made)
        if len(flight.sends) > config.max_attempts:
            wrong = f"of at most {config.max_attempts} sends"
        if wrong is None:
            return None
        return f"send {len(flight.sends)} of an attempt of {made.notification_id} is {wrong}"

    @observes(NotificationSent, NotificationFailed)
    def on_outcome(self, event: NotificationSent | NotificationFailed) -> Objection:
        flights = self._flights.pop(event.notification_id, ())
        begun = [each for each in flights if each.sends[0].at_ns == event.started_ns]
        flight = begun[0] if len(begun) == 1 else None  # else it was sent anew at the same instant
        most = self._most[event.channel]
        if 1 + event.hedges > most:
            return f"an attempt of {event.notification_id} was sent {1 + event.hedges} times, of at most {most}"
        kind = "Sent" if isinstance(event, NotificationSent) else event.kind
        is_refused = isinstance(event, NotificationFailed) and event.reason in (
            BREAKER_OPEN,
            BULKHEAD_FULL,
            THROTTLED_HERE,
        )
        if flight is None or not flight.is_known or is_refused or not self._looks_on:
            return None
        if 1 + event.hedges != len(flight.sends):
            return f"an attempt of {event.notification_id} was sent {len(flight.sends)} times, not {1 + event.hedges}"
        config = self._configs.get((event.channel, flight.sends[0].provider))
        if config is not None and (planned_ns := _planned_ns(config, flight)) is not None and event.at_ns < planned_ns:
            copy = f"a copy of it is still to go at {seconds_text(planned_ns)}"
            return f"an attempt of {event.notification_id} has failed, and {copy}"
        kinds = _outcomes(flight.answers())
        if kind in kinds:
            return None
        return f"the outcome of {event.notification_id} is recorded as {kind}, and is {' or '.join(sorted(kinds))}"


def _wrong_time(config: HedgingConfig, flight: _Flight, now_ns: int) -> str | None:
    if now_ns >= flight.deadline_ns:
        return f"after its timeout at {seconds_text(flight.deadline_ns)}"
    answers = flight.answers()
    if (decided := min((each.at_ns for each in answers if each.decides), default=now_ns)) < now_ns:
        return f"after one has decided at {seconds_text(decided)}"
    failures = [each for each in answers if each.at_ns <= now_ns]
    if not failures and now_ns < (due_ns := answers[-1].sent_ns + wait_ns(config.delay)):
        return f"before {seconds_text(due_ns)}"
    latest_ns, wanted_ns = answers[-1].sent_ns, 0
    for failure in sorted(failures, key=lambda each: each.at_ns):
        wants_s = failure.wants_s
        until_ns = failure.at_ns if wants_s is None or wants_s < 0 else failure.at_ns + wait_ns(wants_s)
        if failure.at_ns < now_ns < until_ns:
            return f"before {seconds_text(until_ns)}, which the provider has asked for"
        wanted_ns = max(wanted_ns, until_ns)
        if wants_s is None and latest_ns < failure.at_ns < now_ns and wanted_ns == failure.at_ns:
            return f"later than {seconds_text(failure.at_ns)}, when another one had failed: it goes at once, or never"
    return None


def _planned_ns(config: HedgingConfig, flight: _Flight) -> int | None:
    """Return when another copy is to go of an attempt of which all have failed since the latest was sent, each with a
    wait; None: it was tried already and something spoke against it, or there is to be none."""
    answers = flight.answers()
    latest_ns = answers[-1].sent_ns
    if not flight.gets_more or len(answers) >= min(config.max_attempts, MOST_SENDS):
        return None
    planned_ns, wanted_ns = latest_ns + wait_ns(config.delay), latest_ns
    for failure in sorted(answers, key=lambda each: each.at_ns):
        if failure.at_ns < latest_ns:
            continue
        wants_s = failure.wants_s
        if failure.at_ns in (latest_ns, planned_ns) or failure.at_ns > planned_ns:
            return None
        if wants_s is None or not 0 < wants_s < math.inf:
            return None
        wanted_ns = planned_ns = max(wanted_ns, failure.at_ns + wait_ns(wants_s))
    return planned_ns if latest_ns < wanted_ns and planned_ns < flight.deadline_ns else None


def _outcomes(answers: list[_Answer]) -> set[str]:
    """Return what the outcome of an attempt may be: several where answers come at the same instant."""
    if deciding := [each for each in answers if each.decides]:
        first_ns = min(each.at_ns for each in deciding)
        return {each.kind for each in deciding if each.at_ns == first_ns}
    ambiguous = [each for each in answers if each.kind == Ambiguous.__name__]
    last_ns = max(each.at_ns for each in ambiguous or answers)
    return {each.kind for each in ambiguous or answers if each.at_ns == last_ns}
