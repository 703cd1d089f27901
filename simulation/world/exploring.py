"""Many small cases of a service: seeds vary arrivals, faults and the order of tasks; a failing one is cut down.

A process imports the service once, and forks for each case. A case is a scenario of its own: written to a file it is
run again by ``retrylab run FILE --service module:main --check``, with the same hashes.

Every case is checked for these, whatever the service:

=============== ======================================================================================================
escape          the service left its world
crash           its main function raised, or a call raised an error of its code, such as AssertionError or KeyError, or
                the RuntimeError of a library that it uses wrongly
lost            a call returned, and a request that it made for its arrival was given up; or none that names the arrival
                and changes something was made, as one is for a lone arrival when nothing fails
blocked         a call slept after a failure with a `trio.Lock` for which others wait
piled up        four values or more waited in a memory channel without a bound, the first for five seconds or more
repeated        a request that the provider may have taken was sent again without the same `Idempotency-Key`
never ends      a call had not ended long after the last fault
not repeatable  another process, with other hashes and addresses, sent other requests (:mod:`simulation.world.second`)
expectation     an expectation of the file does not hold (only on demand: a small case in bad weather may break any)
=============== ======================================================================================================
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple, TypeVar

from actors.errors import RetrylabError
from actors.formatting import counted
from actors.settings.quantities import write_duration
from simulation.engine.schedules import minimal
from simulation.scenario import Scenario
from simulation.scenario.loading import given, parse
from simulation.scenario.writing import as_data, write
from simulation.world.calls import Call
from simulation.world.escape import Escape
from simulation.world.provider import AnswerFunction
from simulation.world.run import Loaded, Main, ServiceResult, World, check, in_a_fork
from simulation.world.second import apart, by_names, first_difference
from simulation.world.threads import here, passing
from simulation.world.traffic import REPEATABLE, Row

_LASTS_S: Final = 30.0
_DRAIN_S: Final = 900.0
_ARRIVALS_MAX: Final = 12
_FAULTS_MAX: Final = 3
_LASTING_S: Final = (1, 3, 10, 20)
_WAYS: Final = (503, "refused", "reset", "closed", "silence")
_SHRINKS_MAX: Final = 150
_SMALL: Final = 10
"""A case with so many requests or more is not small: a later seed may bring a smaller one of the same kind."""

_LOOKS_ON: Final = 10

_KINDS: Final[Sequence[Callable[[Random], dict[str, Any]]]] = (
    lambda _: {"outage": True},
    lambda random: {"failure_rate": round(random.uniform(0.1, 0.9), 1)},
    lambda random: {"lost_reply_rate": round(random.uniform(0.1, 0.9), 1)},
    lambda random: {"refused_rate": round(random.uniform(0.1, 0.9), 1)},
    lambda random: {"latency_factor": random.choice([3, 10, 50])},
    lambda _: {"hang": True},
)
_UNSURE: Final = frozenset({"timed out", "closed", "cut", "wrong"})
"""Answers after which the provider may have taken a request."""

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""The methods of requests that may go to several hosts, of which one has to answer."""

R = TypeVar("R")

Case = dict[str, Any]
"""A scenario as a file has it."""


class Breach(NamedTuple):
    kind: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"


class FailingCase(NamedTuple):
    """A case that broke, as small as it became."""

    seed: int
    kind: str
    sentence: str
    requests: int
    """How many requests the providers saw in it."""
    file: str
    """The scenario, as YAML: `run` repeats the case with it."""


class Explored(NamedTuple):
    """The result of an exploration."""

    cases: int
    """How many cases were run."""
    failures: list[FailingCase]

    def __str__(self) -> str:
        if not self.failures:
            return f"{counted(self.cases, 'case')}: none broke"
        return "\n".join(
            f"seed {each.seed}: {each.kind}: {each.sentence} ({counted(each.requests, 'request')})"
            for each in self.failures
        )


def explore_service(
    main: Main,
    scenario: str | Path | Scenario,
    *,
    seeds: int = 200,
    first_seed: int = 0,
    keep_going: bool = False,
    expect: bool = False,
    processes: int = 3,
    sets: Sequence[str] = (),
    calls: Call | None = None,
    answers: Mapping[str, AnswerFunction] | None = None,
    code: bool = False,
) -> Explored:
    """Run a service in many small cases, and return those that broke, cut down.

    Args:
        main: as :func:`simulation.run_service` has it.
        scenario: each case has its hosts, channels and entries of the workload; the number of arrivals and the faults
            are drawn.
        seeds: how many cases, with the seeds `first_seed`, `first_seed` + 1 and so on.
        first_seed: the first of them.
        keep_going: whether to go on after a case that broke; then one of each kind is cut down.
        expect: whether the file's expectations have to hold in each case.
        processes: how many other processes repeat the first case, where none broke and `main` is a name.
        sets: ``path=value`` changes to the file.
        calls: as :func:`simulation.run_service` has it.
        answers: as :func:`simulation.run_service` has it.
        code: as :func:`simulation.run_service` has it.

    Raises:
        ConfigurationError: the scenario cannot be used, or names code and `code` is false.
    """
    scenario = given(scenario, sets, None)
    check(scenario, answers or {}, code=code)
    how = first_seed, seeds, keep_going
    if not isinstance(main, str):
        return in_a_fork(partial(_explored, scenario, expect, how, main, calls, answers or {}))
    named, _, *functions = by_names(main, calls, answers or {}, scenario)
    explored: Explored = apart(0, _explored, scenario, expect, how, named, *functions)
    if explored.failures or not processes:
        return explored
    file = write(drawn_case(scenario, first_seed))
    options: dict[str, Any] = {"calls": calls, "answers": answers, "code": code}
    difference = first_difference(main, parse(file), processes=processes, **options)
    if difference is not None:
        explored.failures.append(FailingCase(first_seed, "not repeatable", str(difference), difference.number, file))
    return explored


def _explored(
    scenario: Scenario, expect: bool, how: tuple[int, int, bool], main: Main, calls: Any, answers: Mapping[str, Any]
) -> Explored:
    return _Exploring(scenario, expect).run(main, calls, answers, *how)


class _Exploring:
    def __init__(self, scenario: Scenario, expect: bool) -> None:
        self._base = scenario
        self._expect = expect
        self._world = World(scenario)
        self._service: Loaded
        self._lone: Lone

    def run(
        self, main: Main, calls: Any, answers: Mapping[str, Any], first_seed: int, seeds: int, keep_going: bool
    ) -> Explored:
        found: dict[str, FailingCase] = {}
        tried, ends = 0, first_seed + seeds
        with self._world.hooks():
            self._service = self._world.loaded(main, calls, answers)
            self._lone = lone_arrivals(self._base, lambda lone: self._apart(lambda: self._executed(lone)))
            while (seed := first_seed + tried) < ends:
                case = drawn_case(self._base, seed)
                breach, requests = self._try(case)
                tried += 1
                known = None if breach is None else found.get(breach.kind)
                if breach is None or (known is not None and known.requests < _SMALL):
                    continue
                smallest = self._smallest(seed, case, breach, requests)
                if known is None or smallest.requests < known.requests:
                    found[breach.kind] = smallest
                if not keep_going:
                    ends = (
                        seed + 1
                        if smallest.requests < _SMALL
                        else min(ends, min(each.seed for each in found.values()) + _LOOKS_ON)
                    )
        return Explored(tried, list(found.values()))

    def _apart(self, run: Callable[[], R]) -> R:
        with passing():
            return in_a_fork(run)

    def _executed(self, scenario: Scenario) -> ServiceResult:
        here.is_passing = False  # the fork was retrylab's own; from here on it is the service's process
        return self._world.execute(self._service, scenario, ())

    def _try(self, case: Case) -> tuple[Breach | None, int]:
        """Run a case in a process of its own; return its breach, and its number of requests."""
        return self._apart(partial(self._tried, case))

    def _tried(self, case: Case) -> tuple[Breach | None, int]:
        try:
            result = self._executed(parse(write(case)))
        except Escape as escape:
            return Breach("escape", str(escape)), len(self._world.rows)
        except RetrylabError as error:
            return Breach("crash", str(error).partition("\n")[0]), len(self._world.rows)
        return next(breaches(result, expect=self._expect, lone=self._lone), None), len(result.rows)

    def _smallest(self, seed: int, case: Case, breach: Breach, requests: int) -> FailingCase:
        """Leave out faults and arrivals one after the other, for as long as the same kind of breach remains; shorten
        faults, let them hang and let arrivals come at once where that leaves fewer requests."""
        runs = 0

        def still(*, with_fewer: bool = False, **changed: Any) -> bool:
            nonlocal runs, requests, case, breach
            runs += 1
            if runs > _SHRINKS_MAX:
                return False
            found, count = self._try(case | changed)
            if found is None or found.kind != breach.kind or (with_fewer and count >= requests):
                return False
            case, breach, requests = case | changed, found, count
            return True

        def with_times(number: int, times: Sequence[str], **how: bool) -> bool:
            entry = case["workload"][number] | {"arrivals": {"times": times}}
            workload = [*case["workload"][:number], entry, *case["workload"][number + 1 :]]
            return bool(times) and still(workload=workload, **how)

        before: Case = {}
        while before != case and runs < _SHRINKS_MAX:
            before = case
            minimal(case["faults"], lambda kept: still(faults=kept))
            for number, entry in enumerate(case["workload"]):
                times = minimal(entry.get("arrivals", {}).get("times", ()), partial(with_times, number))
                if len(set(times)) > 1:
                    with_times(number, [times[0]] * len(times), with_fewer=True)
            minimal(case["workload"], lambda kept: bool(kept) and still(workload=kept))
            for number, fault in enumerate(case["faults"]):
                hangs = {"hang": True} | {key: fault[key] for key in ("channel", "at", "for")}
                for simpler in (*({**fault, "for": f"{for_s}s"} for for_s in _LASTING_S), hangs):
                    faults = [*case["faults"][:number], simpler, *case["faults"][number + 1 :]]
                    if simpler != fault and still(with_fewer=True, faults=faults):
                        break
        comment = f"Broke: {breach.kind}: {breach.sentence}"
        return FailingCase(seed, breach.kind, breach.sentence, requests, write(case, comment))


def drawn_case(scenario: Scenario, seed: int) -> Case:
    """Return a small case of a scenario: some arrivals within half a minute, and faults of its hosts' channels."""
    random = Random(f"{seed}/case")
    case = as_data(scenario)
    case.update(seed=seed, duration=write_duration(_LASTS_S), drain=write_duration(_DRAIN_S), faults=[])
    for entry in case["workload"]:
        if "clients" not in entry:
            entry["arrivals"] = {"times": _times(random)}
            for key in ("at", "for"):
                entry.pop(key, None)
    hosts = [host for host in case["world"].values() if isinstance(host, dict) and "channel" in host]
    for host in hosts:
        host.update(outage=random.choice(_WAYS), failure=random.choice(_WAYS))
    channels = sorted({str(host.channel) for host in scenario.world.values() if host.channel is not None})
    for _ in range(random.randint(0, _FAULTS_MAX)):
        begins = random.choice([0, random.randint(0, 25)])
        window = {"at": f"{begins}s", "for": f"{random.choice(_LASTING_S)}s"}
        case["faults"].append({"channel": random.choice(channels), **window, **random.choice(_KINDS)(random)})
    return case


def _times(random: Random) -> list[str]:
    gap = random.choice([0.0, 0.05, 0.5, 3.0])
    times, at = [], 0.0
    for _ in range(random.randint(1, _ARRIVALS_MAX)):
        at += random.choice([0.0, random.expovariate(1 / gap)]) if gap else 0.0
        times.append(write_duration(round(min(at, _LASTS_S - 1), 3)))
    return times


class Lone(NamedTuple):
    """The requests of an arrival that is alone when nothing fails."""

    delivered: Set[str]
    """The channels whose arrivals are delivered by a request that names them."""
    reads: Set[str]
    """The hosts that are read alone."""


def lone_arrivals(scenario: Scenario, run: Callable[[Scenario], ServiceResult]) -> Lone:
    """Run one arrival of each entry of the workload alone, with no faults."""
    found, others, reads = set[str](), set[str](), set[str]()
    for entry in as_data(scenario)["workload"]:
        if "clients" in entry:
            continue
        entry = {key: value for key, value in entry.items() if key not in ("at", "for")}
        lone = as_data(scenario) | {"workload": [entry | {"arrivals": {"times": ["0s"]}}], "faults": []}
        lone |= {"duration": write_duration(_LASTS_S), "drain": write_duration(_DRAIN_S)}
        try:
            result = run(parse(write(lone)))
        except (Escape, RetrylabError):
            continue
        (found if result.delivered else others).add(entry["channel"])
        reads |= read_in(result)
    return Lone(found - others, reads)


def read_in(result: ServiceResult) -> Set[str]:
    """Return the hosts whose requests are all reads."""
    changed = {row.host for row in result.rows if row.method not in _READS and row.method != "CONNECT"}
    return {row.host for row in result.rows if row.method in _READS} - changed


def unsent(result: ServiceResult) -> list[str]:
    """Return the arrivals whose call has returned, and for which no request was answered with success."""
    sent = {row.notification for row in result.rows if row.answer.startswith("2")} | result.delivered
    return [arrival for arrival, error in result.calls.items() if error is None and arrival not in sent]


def breaches(result: ServiceResult, *, expect: bool, lone: Lone) -> Iterator[Breach]:
    for arrival in unsent(result):
        if arrival.rsplit("-", 2)[0] in lone.delivered and not any(row.notification == arrival for row in result.rows):
            alone = "one is for an arrival that is alone when nothing fails"
            yield Breach("lost", f"{arrival}: its call returned, and no request for it was made; {alone}")
    yield from (Breach("blocked", sentence) for sentence in result.blocked)
    yield from (Breach("piled up", sentence) for sentence in result.piled_up)
    calls = result.calls
    never = sorted(arrival for arrival in result.arrivals if arrival not in calls)
    if never:
        where = f"; {result.waiting[0]}" if result.waiting else ""
        yield Breach("never ends", f"the call of {never[0]} had not ended at the end of the run{where}")
    by_notification: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in result.rows:
        by_notification[row.notification, row.host].append(row)
    yield from (Breach("crash", f"the call of {arrival} raised {error}") for arrival, error in result.bugs.items())
    raised = any(calls.values())
    sent = {row.notification for row in result.rows if row.answer.startswith("2")}
    reads = read_in(result) | lone.reads
    owners = {row.notification: result.made_for.get(row.notification, row.notification) for row in result.rows}
    read_for = {owners[row.notification] for row in result.rows if row.answer.startswith("2")}
    may_be_given_up = not raised and not never and any(arrival not in sent for arrival in result.arrivals)
    for (notification, host), rows in by_notification.items():
        owner = owners[notification]
        is_its_own = owner in calls
        returned = calls[owner] is None if is_its_own else may_be_given_up
        is_known = is_its_own or any(row.method != "CONNECT" for row in rows)  # and no connection for another request
        is_read_elsewhere = host in reads and owner in read_for
        if returned and is_known and not is_read_elsewhere and not any(row.answer.startswith("2") for row in rows):
            yield Breach("lost", f"{notification}: {host} answered {rows[-1].answer}, and the call returned")
        for before, after in pairwise(row for row in rows if row.method != "CONNECT"):
            keys = before.idempotency_key, after.idempotency_key
            if before.answer in _UNSURE and before.method not in REPEATABLE and (not keys[0] or keys[0] != keys[1]):
                sentence = f"{notification}: {before.method} {host}{before.path} {before.answer} may have been taken"
                yield Breach("repeated", f"{sentence}, and was sent again without the same Idempotency-Key")
    if expect:
        for each in result.summary["expectations"]:
            if each["holds"] is False:
                yield Breach("expectation", f"{each['text']}: {each['value']}")
