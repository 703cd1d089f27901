"""A program that calls a notifier, and what is checked of it.

Every answer is compared with the recording of the run and with what the notifier says otherwise at that moment. The run
is checked by all invariants; and in lock-step with the reference model where the store is in memory and providers
refuse nothing at the door.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import trio
from answered import Answers, Disagreement, demand
from called_parts import HUNG_S, Asked, clock_for_tests, no_bobs, pass_time
from drawn_calls import WRONG_EDITS, Call, Program
from recorded import ENDS, Book
from trio.testing import wait_all_tasks_blocked

from actors import Notifier
from actors.errors import (
    ConfigurationError,
    EditRefused,
    IdempotencyConflict,
    InvalidRecipient,
    InvariantBreach,
    LetterServed,
    NotifierClosed,
    Overloaded,
    StoreError,
    UnknownChannel,
    WrongType,
)
from actors.faults.build import enforced_quotas, unreliable_providers
from actors.instants import ns
from actors.kernel import live
from actors.kernel.futures import Future
from actors.kernel.live import LiveSystem
from actors.kernel.randomness import RandomStreams
from actors.messages import (
    BreakerTransitioned,
    DuplicateIgnored,
    NotificationRedriven,
    NotificationRequested,
    SendNotification,
)
from actors.pipeline.preferences import Preferences
from actors.pipeline.subscribers import BUILT_IN_SUBSCRIBERS
from actors.service.operations.breakers import BreakerWatch
from actors.service.operations.dead_letters import DeadLetters, Filter
from actors.settings.channel import NotifierConfig
from actors.storage.lossy import LossyStore
from actors.storage.memory import MemoryStore
from actors.storage.sqlite.store import SqliteStore
from simulation.invariants import KNOWN, Checker, Context
from simulation.running.contents import preferences_of, templates_of
from simulation.running.service import Process
from simulation.running.system_faults import InjectedCrash
from simulation.verification.checking import world_of
from simulation.verification.laws.base import breaker_of

DRAIN_S = 5.0
"""For how long one drains that is left so."""
ON_DISK_S = 30.0
"""Longer than a change takes on a disk, however the clock for tests jumps meanwhile."""
BY, WHY = "ann", "asked for"
NO_ANSWER = object()
"""What a call comes to whose caller is cancelled, or whose notifier is closed."""
ANNOUNCED = (NotificationRequested, NotificationRedriven, *ENDS)


class _Left(Exception):
    """The block of the notifier is left by this."""


class Callers:
    """One program, and what is checked of it."""

    def __init__(self, program: Program, path: Path) -> None:
        self.program = program
        self._path = path
        scenario = program.scenario
        self.book = Book()
        self.answers = Answers(program, self.book, lambda name: self._letters.letter(name))
        self.announced: list[Any] = []
        self.calls_made = 0
        self._chosen: dict[tuple[str, str], bool] = {}
        self._preferences = preferences_of(scenario) or Preferences()
        self._streams = RandomStreams(scenario.seed)
        channels = {each: scenario.channel_config(each) for each in program.channels}
        self._config = NotifierConfig(
            channels=channels,
            accounts=scenario.accounts,
            remember_ids=scenario.remember_ids,
            max_pending=scenario.max_pending,
            dead_letters=scenario.dead_letters,
            drain=DRAIN_S,
        )
        world = world_of(scenario)
        world.channels, world.has_callers, world.chosen = channels, True, self._chosen
        if program.is_choosy:
            world.recipient_problem = no_bobs
        self._is_compared = not program.is_on_disk
        self._pipeline: Any = None
        self._checker = Checker(
            [law for law in KNOWN.values() if law.name != "reference-model" or self._is_compared],
            Context(
                channels=channels,
                faults=scenario.faults,
                preferences=self._preferences,
                remember_ids_ns=ns(scenario.remember_ids),
                max_pending=scenario.max_pending,
                dead_letters=scenario.dead_letters,
                commit_latency_ns=ns(ON_DISK_S if program.is_on_disk else scenario.commit_latency),
                world=world if self._is_compared else None,
                in_flight_now=lambda: len(self.book.open) if self._pipeline is None else self._pipeline.in_flight,
                pipeline=lambda: self._pipeline,
            ),
            record=self._record,
        )
        self._providers = self._new_providers()
        self._keep: Callable[[Any], None] = lambda event: None
        self._watch = BreakerWatch()
        self._overrides: dict[tuple[str, str], str] = {}
        self._is_left = self._is_over = False
        self._started_at: float | None = None
        self._letters: DeadLetters
        self.notifier: Notifier

    def _new_providers(self) -> Any:
        scenario, accounts = self.program.scenario, enforced_quotas(self.program.scenario.accounts)
        observed = self._checker.observed(
            {
                channel: unreliable_providers(channel, own, scenario.faults, self._streams, accounts=accounts)
                for channel, own in self._config.channels.items()
            }
        )
        return {
            channel: {name: Asked(each, self.answers.asked_ns, self.program.is_choosy) for name, each in named.items()}
            for channel, named in observed.items()
        }

    # ── the run ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Carry the program out.

        Raises:
            Disagreement: an answer is not as it should be.
            InvariantBreach: the run breaks an invariant.
        """
        program, scenario = self.program, self.program.scenario
        remember = ns(scenario.remember_ids)
        store: Any = MemoryStore(remember_ids_ns=remember)
        if scenario.commit_latency:
            store = LossyStore(commit_delay_ns=ns(scenario.commit_latency), remember_ids_ns=remember)
        ends = [(program.ends_at, program.leaves)]
        if program.reopens_at is not None:
            ends.insert(0, (program.reopens_at, "error"))
        self._began_at = trio.current_time()
        try:
            with trio.move_on_after(HUNG_S) as hung, mock.patch.object(live, "LiveSystem", partial(_System, self)):
                async with trio.open_nursery() as callers:
                    self._callers = callers
                    for at, leaves in ends:
                        if program.is_on_disk:
                            async with SqliteStore.open(self._path) as own, trio.open_nursery() as nursery:
                                nursery.start_soon(pass_time, own)
                                await self._be_open(own, at, leaves)
                                nursery.cancel_scope.cancel()
                            self._check_what_is_kept(own)
                        else:
                            await self._be_open(store, at, leaves)
                            self._check_what_is_kept(store)
                    clock_for_tests().autojump_threshold = 0  # for calls that come when all is over
        except BaseExceptionGroup as group:
            raise self._first_of(group) from group
        demand(not hung.cancelled_caught, "a caller waits for ever")
        self._check()
        self.answers.at_end()
        if program.leaves == "quiet":
            self._checker.end(self.notifier.system.now_ns)

    async def _be_open(self, store: Any, ends_at: float, leaves: str) -> None:
        """Have a notifier over a store until an instant, and leave it in a way."""
        self._store = store
        if self.program.is_on_disk and self._pipeline is not None:
            self._providers = self._new_providers()
        options: dict[str, Any] = {"providers": self._providers, "store": store, "preferences": self._preferences}
        lock_step = self._checker.lock_step
        with trio.CancelScope() as scope, suppress(_Left):
            async with Notifier.open(
                self._config,
                templates=templates_of(self.program.scenario),
                notify=(lambda text: None) if lock_step is None else lock_step.on_alert,
                on_event=self._watch.record,
                seed=self.program.seed,
                **options,
            ) as notifier:
                self._begin(notifier)
                await trio.sleep_until(self._began_at + ends_at)
                await wait_all_tasks_blocked()
                while self.program.is_on_disk and notifier.pipeline.wiring.commits.under_way:
                    await wait_all_tasks_blocked()  # what is written and not recorded would be unknown to the checks
                if leaves == "quiet":
                    await self._end_quietly(notifier)
                self._is_left = True
                if leaves == "error":
                    raise _Left
                if leaves == "cancelled":
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
        self._is_over = True

    def _begin(self, notifier: Notifier) -> None:
        is_first = self._pipeline is None
        self.notifier, self._pipeline = notifier, notifier.pipeline
        self._overrides.clear()
        self._is_left = self._is_over = False
        for kind in ANNOUNCED:
            notifier.bus.subscribe(kind)(self.announced.append)
        if is_first:
            self._letters = _Letters(self, notifier)
            for call in self.program.calls:
                self._callers.start_soon(self._call_at_its_time, call)
        else:
            self._letters.use(notifier, self._callers)
            expected = set(self.book.open)
            demand(notifier.in_flight == len(expected), f"{notifier.in_flight} are resumed, not {sorted(expected)}")

    async def _end_quietly(self, notifier: Notifier) -> None:
        for channel in self.program.channels:
            self.comes()
            await notifier.operate_breaker(channel, "close")
        is_quiet = await notifier.wait_until_quiet()
        demand(is_quiet, "it is not quiet, and has no time-out")
        demand(not self.book.open, f"it is quiet, and in flight are {sorted(self.book.open)}")

    def comes(self) -> None:
        """Take note that a caller does something now."""
        lock_step = self._checker.lock_step
        if lock_step is not None and not self._is_over:
            lock_step.on_call(self.notifier.system)

    def record(self, keep: Callable[[Any], None], event: Any) -> None:
        """Record an event of the present notifier, and check it."""
        self._keep = keep
        try:
            self._checker.record(event)
        except InvariantBreach:
            self._callers.cancel_scope.cancel()

    def _record(self, event: Any) -> None:
        self.book.record(event)
        if type(event) is NotificationRequested:
            self.answers.commands.pop(event.notification_id, None)
        self._keep(event)

    def has_started(self, system: Any) -> None:
        """Have a system go on where the one before it was; that was as a crash of the process."""
        if self._started_at is None:
            self._started_at, self._system = system._started_at, system
            return
        system._started_at = self._started_at
        system.now_ns, system._new_urn = system._wall_ns(), self._system._new_urn
        self._system = system
        lock_step = self._checker.lock_step
        if lock_step is not None:
            number = len(self.program.scenario.faults) - 1
            lock_step.note(lock_step.model.turn, "inject", number, None, system.now_ns, True)
        process = Process(system, self._store, lambda store, node: self._pipeline)
        process.pipeline = self._pipeline
        process.record_death(InjectedCrash("injected crash of the process"))

    # ── the calls ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _call_at_its_time(self, call: Call) -> None:
        await trio.sleep_until(self._began_at + call.at)
        if self._checker.breach is not None:
            return
        self.calls_made += 1
        try:
            await getattr(self, f"_{call.what.replace(' ', '_')}")(call, *call.arguments)
            self._check()
        except (Disagreement, InvariantBreach):
            raise
        except Exception as error:
            raise Disagreement(f"{call}: {error!r}") from error

    async def _ask(self, call: Call, make: Callable[[], Awaitable[Any]]) -> Any:
        """Return what a call comes to: its answer, its error, or that nobody waits for one."""
        notifier, is_over = self.notifier, self._is_over
        self.comes()
        with trio.CancelScope() as scope:
            if call.patience is not None:
                scope.deadline = trio.current_time() + call.patience
            try:
                answer = await make()
            except Exception as error:
                if isinstance(error, (NotifierClosed, StoreError)):
                    demand(self._is_left or notifier is not self.notifier, f"{call}: {error!r}, and it is open")
                    return NO_ANSWER
                demand(not is_over, f"{call}: {error!r}, and it is closed")
                return error
            demand(not is_over, f"{call}: {answer!r}, and it is closed")
            return answer
        return NO_ANSWER

    async def _send(self, call: Call, command: SendNotification) -> None:
        place, name = len(self.book.events), command.notification_id
        with self.answers.sends(name):
            answer = await self._ask(call, lambda: self.notifier.send(command))
        self._is_answered(command, answer, place)

    def _is_answered(self, command: SendNotification, answer: Any, place: int) -> None:
        match answer:
            case IdempotencyConflict():
                self.answers.in_conflict(command, answer.differs, place)
            case Overloaded() | UnknownChannel() | InvalidRecipient():
                self.answers.refused(command, answer, self.program.channels)
            case Exception():
                raise answer
            case _ if answer is NO_ANSWER:
                self.answers.unheard[command.notification_id, "accepted"] += 1
                self.answers.commands.pop(command.notification_id, None)
            case _:
                self.answers.accepted(command, answer, place)

    _send_again = _send_another = _send

    async def _send_all(self, call: Call, *commands: SendNotification) -> None:
        async with trio.open_nursery() as nursery:
            for command in commands:
                nursery.start_soon(self._send, call, command)

    async def _publish(self, call: Call, event: Any) -> None:
        answer = await self._ask(call, lambda: self.notifier.publish(event))
        if isinstance(answer, Overloaded):
            demand(self.program.scenario.max_pending is not None, f"{answer!r}, and there is no bound")
        elif answer is not NO_ANSWER:
            demand(answer is None, f"{call}: {answer!r}")
            for command in (subscriber(event) for subscriber in BUILT_IN_SUBSCRIBERS[type(event)]):
                name = command.notification_id
                is_accepted = name in self.book.states or self.book.since(0, name, DuplicateIgnored)
                is_served = command.channel in self.program.channels and not self.program.is_choosy
                demand(is_accepted or not is_served, f"{call}: {command} is not accepted")

    async def _submit(self, call: Call, event: Any) -> None:
        place = len(self.book.events)
        answer = await self._ask(call, lambda: self.notifier.bus.submit(event))
        if isinstance(answer, Overloaded) or answer is NO_ANSWER:
            return
        if isinstance(answer, Exception):
            raise answer
        for command, outcome in answer:
            demand(not isinstance(outcome, Overloaded), f"{command} follows from {event}: {outcome!r}")
            self.answers.commands.pop(command.notification_id, None)  # that of an earlier event may have been taken
            self.answers.unheard[command.notification_id, "accepted"] += 1_000
            self._is_answered(command, outcome, place)

    async def _cancel(self, call: Call, name: str) -> None:
        place = len(self.book.events)
        answer = await self._ask(call, lambda: self.notifier.cancel(name))
        if answer is not NO_ANSWER:
            self.answers.cancelled(name, answer, place)

    async def _cancel_by(self, call: Call, name: str) -> None:
        place = len(self.book.events)
        answer = await self._ask(call, lambda: self._letters.cancel(name, by=BY, why=WHY))
        if answer is not NO_ANSWER:
            self.answers.cancelled(name, answer, place)
            trail = await self._letters.audit(notification_id=name)
            demand(not answer or any((each.action, each.by) == ("cancel", BY) for each in trail), f"{name}: {trail}")

    async def _retry(self, call: Call, name: str, edit: Any, served: Any) -> None:
        place = len(self.book.events)
        answer = await self._ask(call, lambda: self._letters.retry(name, by=BY, why=WHY, edit=edit, served=served))
        if isinstance(answer, (LetterServed, EditRefused)):
            self.answers.not_redriven(name, answer, place, edit, WRONG_EDITS)
        elif answer is not NO_ANSWER:
            demand(answer is False or edit not in WRONG_EDITS, f"{call}: {answer}")
            self.answers.redriven(name, answer, place, BY, WHY)

    async def _discard(self, call: Call, name: str) -> None:
        place = len(self.book.events)
        answer = await self._ask(call, lambda: self._letters.discard(name, by=BY, why=WHY))
        if answer is not NO_ANSWER:
            self.answers.discarded(name, answer, place, BY, WHY)

    async def _retry_all(self, call: Call, action: str, served: Any) -> None:
        if self._is_over:
            return
        names = [each.notification_id for each in self._letters.list(limit=5).letters]
        async with trio.open_nursery() as nursery:
            for name in [*names, *names[:1]]:
                if action == "retry":
                    nursery.start_soon(self._retry, call, name, None, served)
                else:
                    nursery.start_soon(self._discard, call, name)

    async def _bulk(self, call: Call, action: Any, served: Any) -> None:
        if self._is_over:
            return
        self.comes()
        bulk = self._letters.start_bulk(action, Filter(), by=BY, why=WHY, rate_per_s=5, served=served)
        total, left_out = bulk.total, bulk.left_out
        demand(total == len(self.notifier.dead_letter_queue), f"{bulk}")
        demand(self._letters.bulk(bulk.id) is bulk, f"{bulk} is not known by its id")
        await trio.sleep(total / 5 + 1.0)
        demand(bulk.handled <= total and bulk.left_out >= left_out, f"{bulk}")
        if bulk.state == "finished":
            demand(bulk.handled == total, f"{bulk}")

    async def _erase(self, call: Call, user: str) -> None:
        if self._is_over:
            return
        place = len(self.book.events)
        theirs = {(each.notification_id, each.moved_at) for each in self._letters_of(user)}
        answer = await self._ask(call, lambda: self._letters.erase(user, by=BY, why=WHY))
        if answer is NO_ANSWER:
            return
        left = theirs & {(each.notification_id, each.moved_at) for each in self._letters_of(user)}
        demand(not left, f"{call} has left {left}")
        for name in self.book.open:
            history = self.book.histories[name]
            is_theirs = history[0].user_id == user and history[-1] not in self.book.events[place:]
            is_going_on = self.book.is_with_a_provider(name, self.answers.asked_ns)
            demand(not is_theirs or is_going_on, f"{call}: {name} waits still")
        since = self.book.events[place:]
        cancelled = sum(getattr(each, "reason", None) == "cancelled" for each in since)
        discarded = sum(getattr(each, "reason", None) == "erased" for each in since)
        demand(answer.cancelled <= cancelled and answer.discarded <= discarded, f"{call}: {answer}")

    def _letters_of(self, user: str) -> list[Any]:
        return [each for each in self.notifier.dead_letter_queue if each.command.user == user]

    async def _operate(self, call: Call, channel: Any, override: Any, provider: str | None) -> None:
        if self.program.leaves == "quiet" and call.at >= self.program.ends_at:
            return  # else it might never be quiet
        place = len(self.book.events)
        answer = await self._ask(call, lambda: self.notifier.operate_breaker(channel, override, provider))
        names = [*self._config.channels[channel].by_provider()] if provider is None else [provider]
        if answer is NO_ANSWER:
            for each in names:
                self._overrides.pop((channel, each), None)
        else:
            own = [each for each in self.book.events[place:] if isinstance(each, BreakerTransitioned)]
            demand(answer in (True, False), f"{call}: {answer!r}")
            is_new = any(self._overrides.get((channel, each)) != override for each in names)  # also for hosts to come
            demand(answer is False or own or is_new, f"{call} has changed something, and nothing is recorded")
            self._overrides |= {(channel, each): override for each in names}
            at_once = [each for each in self.program.calls if (each.what, each.at) == (call.what, call.at)]
            if provider is not None and len(at_once) == 1:
                ours = breaker_of(channel, provider)
                of_channel = [each for each in own if each.breaker.partition("/")[0] == channel]
                others = [each for each in of_channel if each.cause == override and each.breaker != ours]
                demand(not others, f"{call} has changed others: {others}")

    async def _prefer(self, call: Call, user: str, channel: Any, is_wanted: bool) -> None:
        self.comes()
        self._preferences.set_channel(user, channel, is_wanted)
        self._chosen[user, channel] = is_wanted

    async def _state(self, call: Call, name: str) -> None:
        if not self._is_over:
            with self._may_be_left():
                await self.answers.look_at(self.notifier, self._letters, name)

    async def _look(self, call: Call, pick: int) -> None:
        for _ in range(20):
            if self._is_over or not self.notifier.system._ready:
                break
            await trio.lowlevel.checkpoint()
        if not self._is_over and not self.notifier.system._ready:
            with self._may_be_left():
                await self.answers.look(self.notifier, self._letters, self._watch, pick)

    @contextmanager
    def _may_be_left(self) -> Iterator[None]:
        """Bear with a store that is closed meanwhile."""
        try:
            yield
        except StoreError:
            demand(self._is_left, "the store is closed, and its notifier is open")

    async def _wait(self, call: Call, how: str, timeout: float) -> None:
        if self._is_over:
            return
        is_quiet = await getattr(self.notifier, how)(timeout)
        demand(is_quiet is (not self.notifier.pipeline.is_busy), f"{call}: {is_quiet}")

    async def _wrong(self, call: Call, pick: int) -> None:
        notifier, letters = self.notifier, self._letters
        channel = self.program.channels[0]
        not_one: Any = "not one"
        ways: list[tuple[type[Exception], Callable[[], Any]]] = [
            (WrongType, lambda: notifier.cancel(7)),  # type: ignore[arg-type]
            (WrongType, lambda: notifier.send(not_one)),
            (WrongType, lambda: notifier.publish(not_one)),
            (WrongType, lambda: notifier.state(None)),  # type: ignore[arg-type]
            (UnknownChannel, lambda: notifier.operate_breaker("fax", "close")),
            (ConfigurationError, lambda: notifier.operate_breaker(channel, not_one)),
            (ConfigurationError, lambda: notifier.operate_breaker(channel, "close", "nobody")),
            (WrongType, lambda: notifier.wait_until_quiet(not_one)),
            (ConfigurationError, lambda: notifier.drain(-1)),
            (ValueError, lambda: letters.retry("n0", by=None, served=not_one)),
            (ValueError, lambda: letters.start_bulk("retry", Filter(), by=None, why=None, rate_per_s=0)),
        ]
        error, way = ways[pick % len(ways)]
        try:
            await way()
        except error:
            return
        raise Disagreement(f"{call}: way {pick % len(ways)} has not raised {error.__name__}")

    # ── at all times ────────────────────────────────────────────────────────────────────────────────────────────

    def _check(self) -> None:
        if self._checker.breach is not None:
            raise self._checker.breach

    def _check_what_is_kept(self, store: Any) -> None:
        """Compare what a store has when its notifier has ended, and who was told of what."""
        unsure = {*self._pipeline.wiring.commits.under_way}
        kept = {*store.open_ids()} - unsure
        demand(kept == {*self.book.open} - unsure, f"kept as open: {sorted(kept)}, recorded: {sorted(self.book.open)}")
        expected = [each for each in self.book.events if type(each) in ANNOUNCED]
        told = self.announced
        if self.program.leaves == "quiet" and self.program.reopens_at is None:
            demand(told == expected, f"told: {told}\nrecorded: {expected}")
        for each in told:
            demand(told.count(each) <= expected.count(each), f"told more often than it is recorded: {each}")

    def _first_of(self, group: BaseExceptionGroup[BaseException]) -> BaseException:
        if self._checker.breach is not None:
            return self._checker.breach
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = next(
                (each for each in error.exceptions if not isinstance(each, trio.Cancelled)), error.exceptions[0]
            )
        return error


class _Letters(DeadLetters):
    """Has it known when it orders something."""

    def __init__(self, callers: Callers, notifier: Notifier) -> None:
        super().__init__(notifier, callers._callers)
        self._of = callers

    def _ask(self, order: Callable[[Future[bool]], Any]) -> Future[bool]:
        def ordered(answer: Future[bool]) -> Any:
            self._of.comes()
            return order(answer)

        return super()._ask(ordered)


class _System(LiveSystem):
    """One whose run is checked, and that begins where the scenario does."""

    def __init__(self, callers: Callers, *, seed: int, record: Callable[[Any], None]) -> None:
        checker = callers._checker
        super().__init__(
            seed=seed,
            start=callers.program.scenario.start,
            record=partial(callers.record, record),
            interceptors=checker.interceptors,
        )
        checker.watch(self)
        self._of = callers

    async def __aenter__(self) -> LiveSystem:
        await super().__aenter__()
        self._of.has_started(self)
        return self
