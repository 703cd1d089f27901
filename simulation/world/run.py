"""Run a trio service as it is in a world, with the clock, names, sockets and providers of a scenario.

::

    result = simulation.run_service("shop.app:main", "outage.yaml", code=True)
    print(result.summary["sent_fraction"], result.traffic)

Each run has a process of its own, in which everything is replaced before the service is imported.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import trio

from actors.errors import RetrylabError
from actors.faults.build import enforced_quotas, faults_of, unreliable_providers
from actors.faults.provider import SimulatedProvider
from actors.formatting import counted
from actors.instants import NS_PER_S, since_1970_ns
from actors.kernel.live import LiveSystem
from actors.messages import NotificationChannel
from actors.settings.file import located, refusal
from simulation.results.reproduce import SERVICE, Origin
from simulation.results.result import Result
from simulation.running.contents import channels_of
from simulation.running.own_code import NOT_IMPORTED, file_of
from simulation.running.runner import RunPlan, recorder_of
from simulation.running.workload import Clients, Source
from simulation.scenario import ClosedWorkload, EventWorkload, Scenario
from simulation.scenario.identity import id_prefix
from simulation.scenario.loading import given
from simulation.world.calls import Call, Calls, awaited, by_http, imported, names_of_code, takes_arrivals
from simulation.world.clock import (
    REAL_CLOCKS,
    REAL_URANDOM,
    START_S,
    collector_off,
    local_time_is_utc,
    reseed,
    seeded_entropy,
    seeded_scheduler,
    stepping_clock,
    virtual_clock,
)
from simulation.world.escape import Escape, ServiceFailed, failure_of
from simulation.world.host import Host
from simulation.world.network import Authority, Names, Network, written
from simulation.world.patching import keepers_of, packages_of
from simulation.world.provider import AnswerFunction, VirtualProvider
from simulation.world.refusals import refusals, watchdog
from simulation.world.sockets import origin
from simulation.world.threads import RunEnded, Threads
from simulation.world.traffic import Row, Traffic
from simulation.world.waiting import Waiting, deadlocked_in, memory_channels, sleeps_with_locks, waiting_in

if TYPE_CHECKING:
    import pandas as pd

_COLLECTS_EVERY_NS = 60 * NS_PER_S

R = TypeVar("R")
Main: TypeAlias = str | Callable[..., Any]

_SHOWN = 5
"""Requests of no arrival that are shown, by host and path; the others are a number."""

_GRACE_S = 60
"""Seconds that a cancelled service has to clean up, and then its threads to end."""


class ServiceResult(Result):
    """The result of a service in a world: as of any run, as its providers saw it.

    An arrival that calls the service is a notification on the channel of its entry. It is sent when a provider has
    answered a request of it with success, and dead-lettered when its call ends without any.
    """

    rows: Sequence[Row] = ()
    errors: Mapping[str, int]
    """The exceptions that calls of arrivals have raised, by their names."""
    arrivals: Sequence[str]
    """The ids of arrivals that called the service."""
    calls: Mapping[str, str | None]
    """By arrival, the exception that its call has raised, None where it returned; one that never ended is not here."""
    bugs: Mapping[str, str]
    """By arrival, the error of the code that its call has raised, whatever its provider did."""
    waiting: Sequence[Waiting] = ()
    """Where threads are in a deadlock, and where tasks still waited when the run was cut at `duration` + `drain`."""
    made_for: Mapping[str, str]
    """The arrivals of notifications that are made for a further channel, or after the first was sent."""
    delivered: Set[str] = frozenset()
    """The arrivals that are named in requests which changed something, and were answered with success."""
    blocked: Sequence[str] = ()
    """The first call that slept after a failure with a lock for which others waited, in a sentence."""
    piled_up: Sequence[str] = ()
    """Where values had last piled up in a memory channel without a bound, in a sentence."""
    kept: Sequence[str] = ()
    """Functions and classes that had kept a real clock or entropy before the hooks stood, and do not follow the run."""

    @property
    def traffic(self) -> pd.DataFrame:
        """One row a request as its provider saw it, in the order in which they ended."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(Row._fields))

    @property
    def lines(self) -> list[str]:
        """The requests that providers saw, and the errors of calls, in lines for people."""
        seen: dict[str, Counter[str]] = {}
        for row in self.rows:
            seen.setdefault(written(row.host, self.scenario.world) or row.host, Counter())[row.answer] += 1
        hosts = [
            f"{host} saw {answers.total():,} requests: {', '.join(f'{n:,} × {a}' for a, n in sorted(answers.items()))}"
            for host, answers in seen.items()
        ]
        beside = Counter(
            f"{row.method} {row.host}{row.path}" for row in self.rows if row.notification.startswith("background-")
        )
        most = Counter(dict(sorted(beside.items()))).most_common(_SHOWN)
        others = beside.total() - sum(count for _, count in most)
        lines = {
            "requests of no arrival:": [*most, *([("others", others)] if others else [])],
            "calls of the service raised": [(name, count) for name, count in sorted(self.errors.items())],
        }
        return hosts + [
            f"{what} {', '.join(f'{count:,} × {name}' for name, count in counts)}"
            for what, counts in lines.items()
            if counts
        ]

    @property
    def findings(self) -> list[str]:
        """Waits that nothing would ever end, and clocks that do not follow the clock of the run."""
        kept = [f"{name} was imported before the run and keeps a real clock or entropy" for name in self.kept]
        return [str(each) for each in self.waiting if each.is_finding] + kept


def run_service(
    main: Main,
    scenario: str | Path | Scenario,
    *,
    seed: int | None = None,
    sets: Sequence[str] = (),
    calls: Call | None = None,
    answers: Mapping[str, AnswerFunction] | None = None,
    code: bool = False,
) -> ServiceResult:
    """Run a service in the world of a scenario, in a process of its own, and return its result.

    Args:
        main: an async function, or ``module:name`` of one, which is imported in the world. One that takes an argument
            is called for each arrival, with an :class:`Arrival`; any other is started once.
        scenario: a file, or a scenario that has been loaded; its `world` names the hosts.
        seed: in place of the scenario's own.
        sets: ``path=value`` changes to the file, as ``--set`` on the command line.
        calls: the function for arrivals whose entry has no `calls`, where it is not `main`.
        answers: by host, functions that answer requests which go well, in place of the file's `answer`.
        code: whether the functions that the scenario's file names are imported.

    Raises:
        ConfigurationError: the scenario cannot be used, or names code and `code` is false.
        Escape: the service left its world, whether it noticed that or not.
        ServiceFailed: the service raised; the message has the line, and the lines that led there.
        ValueError: it is called in a run of trio.
    """
    if trio.lowlevel.in_trio_run():
        raise ValueError("run_service: wanted a caller outside of trio, since the service is run by trio.run")
    origin = Origin(
        None if isinstance(scenario, Scenario) else Path(scenario),
        tuple(sets),
        tuple(name for name, value in (("calls", calls), ("answers", answers)) if value),
        service=main if isinstance(main, str) else None,
        code=code,
    )
    scenario = given(scenario, sets, seed)
    check(scenario, answers or {}, code=code)
    run = partial(run_here, main, scenario, calls, dict(answers or {}))
    result = in_a_fork(run) if hasattr(os, "fork") else run()
    result.origin = origin if origin.service else origin._replace(only_in_python=("main", *origin.only_in_python))
    return result


def check(scenario: Scenario, answers: Mapping[str, Any], *, code: bool = False) -> None:
    """Check that a service can be run in a scenario.

    Raises:
        ConfigurationError: it cannot, or names code and `code` is false.
    """
    problems: list[tuple[tuple[str | int, ...], str]] = [
        (("world",), f"wanted a host {host!r} to answer for, got none")
        for host in answers
        if host not in scenario.world
    ]
    if not scenario.world:
        problems.append(
            (("world",), "wanted the hosts that the service calls, such as {api.example.com: payments}, got none")
        )
    if not code:
        problems += [(path, f"{name} {NOT_IMPORTED}") for path, name in names_of_code(scenario).items()]
    for number, entry in enumerate(scenario.workload):
        if isinstance(entry, EventWorkload):
            wanted = f"wanted a channel, whose arrivals call the service, got {entry.event}"
            problems.append((("workload", number, "event"), wanted))
    _refuse(scenario, problems)


def _refuse(scenario: Scenario, problems: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
    """Raise a ConfigurationError with each problem at its place in the scenario's file, if there are any."""
    if placed := [located(file_of(scenario), *problem) for problem in problems]:
        raise refusal(placed)


def in_a_fork(run: Callable[[], R]) -> R:
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads: the child is on its own, and uses none
        child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            written = outcome_of(run)
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(written)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(0)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            written = pipe.read()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.waitpid(child, 0)
    if not written:
        raise ServiceFailed("the process of the service ended without a result")
    value = pickle.loads(written)
    if isinstance(value, BaseException):
        raise value
    result: R = value
    return result


def outcome_of(run: Callable[[], Any]) -> bytes:
    """Run, and return the result or the error, pickled; an error that another process may not know as its traceback.

    Some libraries (tblib, which Dask loads) have every error pickled with its traceback and causes, however deep: an
    error is handed on without them.
    """
    try:
        return pickle.dumps(run())
    except (Escape, RetrylabError) as error:
        handed_on: BaseException = error.with_traceback(None)
        error.__cause__ = error.__context__ = None
    except BaseException:
        handed_on = ServiceFailed(traceback.format_exc())
    return pickle.dumps(handed_on)


def run_here(
    main: Main, scenario: Scenario, calls: Call | str | None, answers: Mapping[str, AnswerFunction | str]
) -> ServiceResult:
    return World(scenario).run(main, calls, answers)


class Loaded(NamedTuple):
    main: Callable[..., Any]
    calls: Mapping[str, Call | str]
    answers: Mapping[str, AnswerFunction]


class World:
    """The world of one run."""

    def __init__(self, scenario: Scenario) -> None:
        self.escapes: list[Escape] = []
        """The escapes so far; any fails the run."""
        self.scenario = scenario
        self.clock = stepping_clock()
        self._authority = Authority()
        self._plan: RunPlan
        self.threads: Threads
        """Set by the hooks."""
        self._done: trio.Event
        self._main_is_over = False
        self._failed_ns = 0
        """When the main function raised."""
        self._waiting: list[Waiting] = []
        self._blocked: list[str] = []
        self._piled_up: list[str] = []

    @property
    def rows(self) -> Sequence[Row]:
        return self._traffic.rows

    def now_ns(self) -> int:
        return round((self.clock.current_time() - START_S) * NS_PER_S)

    def run(
        self, main: Main, calls: Call | str | None, given_answers: Mapping[str, AnswerFunction | str]
    ) -> ServiceResult:
        kept = keepers_of([*REAL_CLOCKS.values(), REAL_URANDOM])
        with self.hooks():
            service = self.loaded(main, calls, given_answers)
            return self.execute(service, self.scenario, kept)

    def loaded(self, main: Main, calls: Call | str | None, given_answers: Mapping[str, AnswerFunction | str]) -> Loaded:
        """Import a service; its random draws meanwhile are the same with every seed."""
        function = imported(main) if isinstance(main, str) else main
        by_file = {host: config.answer for host, config in self.scenario.world.items() if config.answer is not None}
        answers = {
            host: imported(each, self.scenario, "world", host, "answer") if isinstance(each, str) else each
            for host, each in {**by_file, **given_answers}.items()
        }
        return Loaded(function, self._calls(function, calls), answers)

    def execute(self, service: Loaded, scenario: Scenario, kept: Sequence[str]) -> ServiceResult:
        """Run a service that has been loaded, in a scenario with the same hosts and entries of the workload; once."""
        self.scenario = scenario
        self._plan = RunPlan(scenario, recorder_of(scenario, _channels_of_hosts(scenario), is_in_order=False))
        recorder = self._plan.recorder
        recorder.defaults = None  # those are the pipeline's, which is not here
        start_ns = since_1970_ns(scenario.start)
        self._traffic = Traffic(
            self.now_ns,
            start_ns,
            recorder.record,
            _entries_by_channel(scenario),
            recorder.peaks.interrupt if service.calls else None,
        )
        self._main_is_over = takes_arrivals(service.main)
        reseed(scenario.seed)
        with seeded_scheduler(scenario.seed), watchdog(self.threads), sleeps_with_locks(self._slept):
            gc.freeze()  # so that collections look at what the run makes alone
            try:
                trio.run(self._run, *service, clock=self.clock)
            except BaseException as error:
                if not self.escapes:
                    raise failure_of(self._traffic.failure or error, self._failed_ns or self.now_ns()) from None
            finally:
                gc.unfreeze()
        if self.escapes:
            raise self.escapes[0]
        result = ServiceResult(scenario, SERVICE, self._plan.recorder, self._ran_ns, (), Origin())
        result.summary["digest"] = self._traffic.digest()
        result.rows, result.errors = self._traffic.rows, dict(self._called.errors)
        result.calls, result.arrivals = self._called.ended, self._called.started
        result.made_for, result.bugs = self._traffic.made_for, self._called.bugs
        result.delivered, result.blocked = frozenset(self._traffic.delivered), self._blocked
        result.piled_up = self._piled_up[-1:]
        functions: list[Any] = [service.main, *filter(callable, service.calls.values()), *service.answers.values()]
        imported_by = packages_of(functions) if kept else set()
        result.waiting = self._waiting
        result.kept = [name for name in kept if name.partition(".")[0] in imported_by]
        return result

    @contextmanager
    def hooks(self) -> Iterator[None]:
        start = self.scenario.start.timestamp()
        with ExitStack() as hooks:
            hooks.enter_context(self._authority.trusted())
            hooks.enter_context(local_time_is_utc())
            hooks.enter_context(virtual_clock(self.clock, start))
            hooks.enter_context(seeded_entropy(0))
            hooks.enter_context(refusals(self))
            hooks.enter_context(memory_channels(lambda sentence: self._piled_up.append(sentence)))
            hooks.enter_context(collector_off())
            yield

    async def _run(
        self, main: Callable[..., Any], calls: Mapping[str, Call | str], answers: Mapping[str, AnswerFunction]
    ) -> None:
        scenario, plan, traffic = self.scenario, self._plan, self._traffic
        recorder = plan.recorder
        self._done = trio.Event()
        async with LiveSystem(**plan.system_options()) as system, trio.open_nursery() as hosts:
            recorder.stop = self._done.set
            recorder.in_flight_now = lambda: traffic.in_flight
            names = Names(self, scenario.world)
            make = partial(self._host, system, self._providers(system), answers)
            network = Network(self, hosts, make, names)
            trio.socket.set_custom_socket_factory(network)
            trio.socket.set_custom_hostname_resolver(names)
            async with _service_nursery() as service:
                connect = network.connect_to_service
                functions = {
                    key: by_http(call, connect) if isinstance(call, str) else call for key, call in calls.items()
                }
                self._called = Calls(service, functions, self._over)
                if not takes_arrivals(main):
                    service.start_soon(self._main, main, name="main")
                if calls:
                    self._spawn_arrivals(system)
                    system.call_at(scenario.arrivals_end_ns, self._look)
                service.start_soon(self._end, service, hosts, name="the end of the run")
                self._collect(system)
            traffic.end()
            self._ran_ns = self.now_ns()
            hosts.cancel_scope.cancel()
        recorder.end()

    def _collect(self, system: LiveSystem) -> None:
        """Collect garbage at fixed instants: a finalizer that runs elsewhere would make two runs differ.

        Only every tenth time are objects looked at again that were in use the time before.
        """
        if times := self.now_ns() // _COLLECTS_EVERY_NS:
            gc.collect(1 if times % 10 else 2)
        system.call_at(self.now_ns() + _COLLECTS_EVERY_NS, partial(self._collect, system))

    def _slept(self, where: str, for_s: float, waiters: int) -> None:
        arrival = origin.get()
        made_for = self._traffic.made_for
        latest = next(
            (row for row in reversed(self.rows) if arrival in (row.notification, made_for.get(row.notification))), None
        )
        if not self._blocked and latest is not None and not latest.answer.startswith("2"):
            what = f"{arrival}: the call slept {for_s:g} s after {latest.answer}"
            self._blocked.append(f"{where}: {what} with a lock for which {counted(waiters, 'task')} waited")

    async def _main(self, main: Callable[[], Any]) -> None:
        try:
            await awaited(main)
        except BaseException:
            self._failed_ns = self.now_ns()
            raise
        self._main_is_over = True
        self._look()

    def _over(self, arrival: str, raised: BaseException | None) -> None:
        self._traffic.over(arrival, has_failed=raised is not None)
        self._look()

    def _look(self) -> None:
        has_calls = self._called.has_calls
        if self._called.open or (has_calls and self.now_ns() < self.scenario.arrivals_end_ns):
            return
        if self._main_is_over or (has_calls and not self._traffic.in_flight):
            self._done.set()

    async def _end(self, service: trio.Nursery, hosts: trio.Nursery) -> None:
        horizon = START_S + self._plan.end_ns / NS_PER_S
        with trio.move_on_at(horizon) as scope:
            await self._done.wait()
        self._waiting = deadlocked_in(self.threads)
        if scope.cancelled_caught:
            self._waiting += waiting_in(service)
        service.cancel_scope.cancel()
        hosts.start_soon(self._insist, service)

    async def _insist(self, service: trio.Nursery) -> None:
        await trio.sleep(_GRACE_S)
        self.threads.end()
        await trio.sleep(_GRACE_S)
        first = waiting_in(service)[0]
        sentence = f"in {first.function} the service still runs {2 * _GRACE_S} s after it was cancelled"
        escape = Escape(first.file, first.line, sentence)
        self.escapes.append(escape)

        def stop() -> float:
            raise escape

        self.clock.current_time = stop  # type: ignore[method-assign]  # trio asks for the time between any two tasks, so this ends the run

    # ── what there is in the world ──────────────────────────────────────────────────────────────────────────────

    def _providers(self, system: LiveSystem) -> dict[tuple[NotificationChannel, str], SimulatedProvider]:
        scenario, accounts = self.scenario, enforced_quotas(self.scenario.accounts)
        channels = channels_of(scenario)
        by_channel = {
            channel: unreliable_providers(channel, config, scenario.faults, system.streams, (), accounts)
            for channel, config in channels.items()
        }
        self._plan.recorder.queues.watch(by_channel)
        for by_name in by_channel.values():
            for provider in by_name.values():
                provider.on_wired(system)
        return {(channel, name): each for channel, by_name in by_channel.items() for name, each in by_name.items()}

    def _host(
        self,
        system: LiveSystem,
        providers: Mapping[tuple[NotificationChannel, str], SimulatedProvider],
        answers: Mapping[str, AnswerFunction],
        kind: type[Host],
        name: str,
    ) -> Host:
        host = written(name, self.scenario.world)
        assert host is not None
        config = self.scenario.world[host]
        provider = None
        if config.channel is not None:
            faults = faults_of(self.scenario.faults, config.channel, config.provider)
            simulated = providers[config.channel, config.provider]
            provider = VirtualProvider(simulated, config, faults, self.now_ns, answers.get(host))
        made = kind(name, config, provider, self._traffic, self._authority.context_of)
        for at_ns in () if provider is None else provider.closes_at_ns:
            if at_ns > self.now_ns():
                system.call_at(at_ns, made.reset_idle)
        return made

    def _calls(self, main: Callable[..., Any], given_calls: Call | str | None) -> dict[str, Call | str]:
        """Return the calls of arrivals, by the beginning of their ids: a function, or a request to a port."""
        usual = given_calls or (main if takes_arrivals(main) else None)
        found: dict[str, Call | str] = {}
        without: list[int] = []
        for number, entry in enumerate(self.scenario.workload):
            assert not isinstance(entry, EventWorkload)
            call: Call | str | None = entry.calls or usual
            if call is None:
                without.append(number)
                continue
            if isinstance(call, str) and " " not in call:
                call = imported(call, self.scenario, "workload", number, "calls")
            found[id_prefix(number, entry.channel)] = call
        if found and without:
            text = "wanted what its arrivals call, as other entries have it, got none"
            _refuse(self.scenario, [(("workload", number, "calls"), text) for number in without])
        return found

    def _spawn_arrivals(self, system: LiveSystem) -> None:
        def send(command: Any) -> None:
            self._traffic.arrive(command)
            self._called.start(command)

        for number, entry in enumerate(self.scenario.workload):
            if isinstance(entry, ClosedWorkload):
                clients = system.spawn(Clients, number, self.scenario, entry, send, _never, _never)
                self._traffic.ended_by.append(clients.tell)
            else:
                system.spawn(Source, number, self.scenario, entry, send, _never, _never)


@asynccontextmanager
async def _service_nursery() -> AsyncIterator[trio.Nursery]:
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except* RunEnded:
        pass


def _never(*_: object) -> None:
    """Refuse nothing: a service takes every arrival."""


def _channels_of_hosts(scenario: Scenario) -> tuple[NotificationChannel, ...]:
    return tuple({host.channel: None for host in scenario.world.values() if host.channel is not None})


def _entries_by_channel(scenario: Scenario) -> dict[NotificationChannel, int]:
    """Return the entry of the workload that requests of no arrival count for, by channel: the first of that channel."""
    found = dict.fromkeys(_channels_of_hosts(scenario), 0)
    for number, entry in reversed(list(enumerate(scenario.workload))):
        found.update(dict.fromkeys(entry.channels, number))
    return found
