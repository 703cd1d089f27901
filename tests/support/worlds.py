"""The pipeline on either clock, for tests: one scenario function, two clocks, equal histories."""

import heapq
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import trio

from actors.domain.attempts import Attempt, Provider
from actors.domain.store import Store
from actors.errors import InvariantBreach
from actors.instants import ns
from actors.kernel.actor import Actor, Supervision, handles
from actors.kernel.effects import Effect, Foreseen
from actors.kernel.futures import Future
from actors.kernel.system import ActorSystem
from actors.messages import (
    DeadLetterMessage,
    NotificationChannel,
    NotificationFailed,
    NotificationMovedToDeadLetter,
    NotificationRedriven,
    NotificationRequested,
    NotificationSent,
    NotificationSuppressed,
    OrderPlaced,
    SendNotification,
)
from actors.notifier import Pipeline
from actors.outcomes import Outcome, Sent
from actors.pipeline.preferences import Preferences
from actors.pipeline.templates import Templates
from actors.settings.channel import KEEP_ALL_LETTERS, ChannelConfig, DeadLettersConfig
from actors.storage.memory import MemoryStore
from simulation.testing import testkit
from simulation.testing.testkit.clocks import Clock, compare

START = datetime(2026, 1, 1, tzinfo=UTC)
EMAIL, SMS = NotificationChannel.EMAIL, NotificationChannel.SMS
PUSH, WEBHOOK = NotificationChannel.PUSH, NotificationChannel.WEBHOOK
OK = Sent()
PLACED = OrderPlaced(
    order_id="7",
    user_id="ann",
    customer_email="ann@example.org",
    customer_phone="+4670",
    total_amount=Decimal("12.50"),
    placed_at=START,
)


def email(notification_id: str = "n", **fields: Any) -> SendNotification:
    """Return a command to send an email; every field has a default."""
    given = {"channel": EMAIL, "recipient": "ann@example.org", "subject": "Hi", "message": "Hello"}
    return SendNotification(notification_id=notification_id, **{**given, **fields})


class Try(msgspec.Struct, frozen=True):
    """One attempt, as its provider saw it."""

    at_ns: int
    notification_id: str
    user: str
    number: int
    command: SendNotification

    @property
    def at(self) -> float:
        """Seconds since the start."""
        return self.at_ns / 1e9


class Recommended(msgspec.Struct, frozen=True):
    """An event that the system knows nothing of."""

    user_id: str


class Transport(Provider):
    """A transport that does real I/O: an async function with each attempt."""

    def __init__(self, deliver: Callable[[Attempt], Awaitable[Any]]) -> None:
        self._deliver = deliver
        self.started: list[float] = []

    def attempt(self, attempt: Attempt, now_ns: int) -> Callable[[], Awaitable[Outcome]]:
        async def deliver() -> Outcome:
            self.started.append(now_ns / 1e9)
            return await self._deliver(attempt)

        return deliver


class Scripted(Provider):
    """Gives the outcomes of a list one after the other and then succeeds; or what a function of the try says."""

    def __init__(
        self,
        outcomes: Iterable[Outcome] | Callable[[Try], Any] = (),
        latency: float | Callable[[Try], float] = 0.0,
    ) -> None:
        if callable(outcomes):
            self._next = outcomes
        else:
            left = iter(outcomes)
            self._next = lambda _: next(left, OK)
        self._latency = latency
        self.tries: list[Try] = []
        self.attempts: list[Attempt] = []
        self.sent: list[SendNotification] = []
        """What it has answered with success."""

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        command = attempt.command
        this = Try(now_ns, command.notification_id, command.user, attempt.number, command)
        self.tries.append(this)
        self.attempts.append(attempt)
        outcome = self._next(this)
        if isinstance(outcome, Sent):
            self.sent.append(command)
        return Foreseen(ns(self._latency(this) if callable(self._latency) else self._latency), outcome)

    @property
    def times(self) -> list[float]:
        """When the attempts started, in seconds."""
        return [each.at for each in self.tries]

    @property
    def ids(self) -> list[str]:
        """The notifications of the attempts, in order."""
        return [each.notification_id for each in self.tries]


class Sleeping(Provider):
    """A transport with real I/O: sleeps on trio's clock, and gives the outcomes of a list and then succeeds."""

    def __init__(self, seconds: float = 0.0, outcomes: Iterable[Outcome | Exception] = ()) -> None:
        self._seconds = seconds
        self._outcomes = iter(outcomes)
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.ids: list[str] = []

    def attempt(self, attempt: Attempt, now_ns: int) -> Effect:
        outcome = next(self._outcomes, OK)

        async def deliver() -> Outcome:
            self.begun.append(trio.current_time())
            self.ids.append(attempt.command.notification_id)
            await trio.sleep(self._seconds)
            self.ended.append(trio.current_time())
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return deliver


class _Do(msgspec.Struct, frozen=True):
    function: Callable[[], Any]


class _Script(Actor):
    """Does what a scenario wants done, at its time, between the other messages."""

    supervision = Supervision(max_restarts=0, then="escalate")

    @handles(_Do)
    def on_do(self, message: _Do) -> None:
        message.function()


CHANGE_OF_IN_FLIGHT = {
    NotificationRequested: 1,
    NotificationRedriven: 1,
    NotificationSent: -1,
    NotificationSuppressed: -1,
    NotificationMovedToDeadLetter: -1,
}


class History(testkit.Recorded):
    """The recorded events. With each it checks that accepted = sent + dead-lettered + suppressed + in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.in_flight = 0
        self.pipeline: Pipeline | None = None

    def record(self, event: Any) -> None:
        self.append(event)
        change = CHANGE_OF_IN_FLIGHT.get(type(event), 0)
        self.in_flight += change
        if change and self.pipeline is not None and self.in_flight != self.pipeline.in_flight:
            raise InvariantBreach(f"{self.in_flight} in flight by the history, {self.pipeline.in_flight} after {event}")


class World:
    """A pipeline on some system, its providers, and the history of what happened."""

    def __init__(self, system: ActorSystem, history: History) -> None:
        self.system = system
        self.history = history
        self.notes: list[Any] = []
        """What a scenario wants to compare between the clocks, beside the history."""
        self._script = system.spawn(_Script)

    def open(
        self,
        provider: Provider | Mapping[NotificationChannel, Provider] | None = None,
        *,
        store: Store | None = None,
        preferences: Preferences | None = None,
        templates: Templates | None = None,
        notify: Callable[[str], Any] | None = None,
        log: bool = False,
        dead_letters: DeadLettersConfig = KEEP_ALL_LETTERS,
        max_pending: int | None = None,
        **channels: Mapping[str, Any],
    ) -> Pipeline:
        """Start the pipeline; settings by the channels' names; email with its defaults when none is given."""
        configs = {
            NotificationChannel(name): ChannelConfig.model_validate(settings)
            for name, settings in (channels or {"email": {}}).items()
        }
        self.provider = provider if provider is not None else Scripted()
        self.store = store if store is not None else MemoryStore()
        self.alerts: list[str] = []
        self.pipeline = Pipeline(
            self.system,
            configs,
            self.provider if isinstance(self.provider, Mapping) else dict.fromkeys(configs, self.provider),
            store=self.store,
            preferences=preferences,
            templates=templates,
            notify=notify if notify is not None else self.alerts.append,
            log=log,
            dead_letters=dead_letters,
            max_pending=max_pending,
        )
        # What a store brings from an earlier run is in flight before this one's first event.
        self.history.in_flight = self.pipeline.in_flight
        self.history.pipeline = self.pipeline
        return self.pipeline

    def at(self, seconds: float, function: Callable[..., Any], *args: Any) -> None:
        """Have ``function(*args)`` called at an instant of the run."""
        script = self._script.actor
        self.system.set_timer(ns(seconds), script, _Do(lambda: function(*args)))

    def send(self, *commands: SendNotification, at: float = 0.0) -> None:
        """Send commands at an instant, and note the outcome of their acceptance."""
        self.at(at, lambda: [self.note_answer(self.pipeline.bus.send(command)) for command in commands])

    def ask(self, ref: Any, message: Any, *, at: float | None = None) -> None:
        """Ask an actor, now or at an instant, and note the answer."""
        if at is None:
            self.note_answer(ref.ask(message, block=False))
        else:
            self.at(at, self.ask, ref, message)

    def note_answer(self, future: Awaitable[Any]) -> None:
        """Note the answer, or the class of the error, when it is there."""
        assert isinstance(future, Future)

        def note() -> None:
            try:
                self.notes.append(future.get(timeout=0))
            except Exception as error:
                self.notes.append(type(error).__name__)

        future.when_done(note)

    def events(self, *kinds: type) -> list[Any]:
        """Return the recorded events of these types, in order."""
        return [event for event in self.history if isinstance(event, kinds)]

    def times(self, *kinds: type) -> list[float]:
        """Return when events of these types were recorded, in seconds."""
        return [event.at_ns / 1e9 for event in self.events(*kinds)]

    def sent_ids(self) -> list[str]:
        return [event.notification_id for event in self.events(NotificationSent)]

    @property
    def letters(self) -> list[DeadLetterMessage]:
        return self.pipeline.dead_letters

    @property
    def reasons(self) -> list[str]:
        """Why the dead letters are in the queue."""
        return [letter.failure_reason for letter in self.letters]

    @property
    def failures(self) -> list[NotificationFailed]:
        return self.events(NotificationFailed)


Scenario = Callable[[World], Any]


def run_on(
    clock: Clock, scenario: Scenario, *, until: float = 86_400.0, seed: int = 0, start: datetime = START
) -> World:
    history = History()

    def program(system: ActorSystem) -> World:
        world = World(system, history)
        scenario(world)
        return world

    return testkit.run_on(clock, program, until=until, seed=seed, start=start, history=history).returned


def simulate(scenario: Scenario, **run: Any) -> World:
    """Run a scenario on SimPy's clock."""
    return run_on("simulated", scenario, **run)


def run_on_trio(scenario: Scenario, **run: Any) -> World:
    """Run a scenario on trio's mock clock."""
    return run_on("live", scenario, **run)


def on_both_clocks(scenario: Scenario, **run: Any) -> World:
    """Run a scenario on both clocks, check that all that happened is the same, and return the simulated world."""
    simulated, live = simulate(scenario, **run), run_on_trio(scenario, **run)
    compare("event", simulated.history, live.history)
    compare("note", simulated.notes, live.notes)
    check_conservation(simulated)
    return simulated


def check_conservation(world: World) -> None:
    """Check that accepted = sent + dead-lettered + suppressed + in flight, by the history and by the pipeline."""
    assert world.history.in_flight == world.pipeline.in_flight


def most_in_a_window(times_ns: Sequence[int], width_ns: int) -> int:
    """Return the most instants in any window ``(t - width, t]``."""
    window: list[int] = []
    most = 0
    for instant_ns in sorted(times_ns):
        heapq.heappush(window, instant_ns)
        while window[0] <= instant_ns - width_ns:
            heapq.heappop(window)
        most = max(most, len(window))
    return most
