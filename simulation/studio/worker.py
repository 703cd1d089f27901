"""A worker process of studio: it runs scenarios, and sends the data of the plots line by line.

It keeps the last run, for the notifications behind a point of a curve. A run that it does not have is run again: the
same text gives the same history.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from actors.errors import ConfigurationError, InvariantBreach, RunCancelled
from actors.instants import NS_PER_S
from simulation.reporting.facts import defaults_at_work
from simulation.reporting.fault_windows import windows
from simulation.results.formatting import quantile_text
from simulation.results.result import Result
from simulation.running.downtimes import downtimes
from simulation.running.memory import left
from simulation.running.process_pool import begin_quietly
from simulation.scenario import Scenario, parse
from simulation.scenario.run_size import size_of_runs, warning_of
from simulation.studio.checking import problem_of
from simulation.studio.panels import about, shown_at
from simulation.studio.rendering import rendered
from simulation.studio.saved import digest_kept, read_as
from simulation.studio.series import Series

SAME = " This is the run that was saved."
OTHER = " This is not the run that was saved: retrylab, or a file that the scenario refers to, has changed since."

Send: TypeAlias = Callable[[dict[str, Any]], None]
Asked: TypeAlias = Callable[[], bool]

FRAME_S = 0.05
"""Seconds of the processor's time between frames, at least: on a busy machine no more of them go into drawing."""

KEPT_MAX = 150_000
"""The most notifications of a run whose rows are kept: they take some 3 KB each."""

EVENTS_MAX = 50
"""The most occurrences of a repeated fault that can be jumped to."""

BREAKERS_MAX = 500
"""Breakers that are sent, those of each node included: no page shows all nodes of a large fleet."""

RANKED_RUNS = 40
"""About how many runs are made to rank settings."""

WARM_AFTER_S = 0.5
"""After so many seconds idle, a worker imports the modules that only the end of a run needs."""


def main(connection: Connection) -> None:
    """Serve requests on a connection, one after the other, until it is closed.

    A request is a mapping with `do` and its arguments. The answer is lines of JSON, and an empty one at the end. Any
    message that arrives during a request cancels it; by convention that is None.
    """
    begin_quietly(None, ())
    worker = Worker(lambda document: connection.send_bytes(msgspec.json.encode(document)), connection.poll)
    with suppress(EOFError, OSError):  # the server has gone
        if not connection.poll(WARM_AFTER_S):
            _warm()
        while True:
            asked = connection.recv()
            if asked is None:  # it came when all had been done
                continue
            worker.do(asked)
            connection.send_bytes(b"")


def _warm() -> None:
    import simulation.reporting.expectation_report
    import simulation.reporting.html.happenings
    import simulation.results.tables  # noqa: F401


class _Large(Exception):
    """The request takes hours or gigabytes; the text says how much."""


class Worker:
    def __init__(self, send: Send, is_cancelled: Asked) -> None:
        self._send = send
        self._is_cancelled = is_cancelled
        self._path = ""
        """The path of the file in question, which may be a trace and so not be where its scenario was."""
        self._last: tuple[tuple[str, str], Result] | None = None
        self._anyway = False
        """Whether long work is wanted all the same."""

    def do(self, asked: Mapping[str, Any]) -> None:
        kinds: dict[str, Callable[..., None]] = {
            "run": self._run,
            "notifications": self._notifications,
            "compare": self._compare,
            "rank": self._rank,
            "search": self._search,
            "report": self._report,
        }
        arguments = {key: value for key, value in asked.items() if key not in ("do", "anyway")}
        self._anyway = asked.get("anyway", False)
        self._path = filename = asked["filename"]
        try:
            with read_as(filename) as filename:
                kinds[asked["do"]](**{**arguments, "filename": filename})
        except ConfigurationError as error:
            self._send({"type": "problems", "problems": [problem_of(each, filename) for each in error.problems]})
        except _Large as large:
            self._send({"type": "large", "text": f"It would take long: {large}."})
        except RunCancelled:
            self._send({"type": "cancelled"})
        except InvariantBreach as breach:
            self._send({"type": "failed", "text": f"An invariant broke, which is a bug: {breach}"})
        except MemoryError:
            self._last = None
            self._send({"type": "failed", "text": "There is not enough memory for this run."})

    def _run(self, text: str, filename: str) -> None:
        scenario, keeps = _loaded(text, filename)
        self._check_size([scenario])
        series = Series(scenario)
        self._send({"type": "begin", **_outline(scenario)})
        due_s = time.process_time()

        def draw(events: Any) -> None:
            nonlocal due_s
            series.fold(events)
            if time.process_time() >= due_s:
                self._send(series.frame())
                due_s = time.process_time() + FRAME_S

        result = self._result(scenario, text, filename, on_events=draw)
        end_s = result.summary["simulated_s"]
        series.interrupt(result._recorder.interrupted_ns)
        self._send(series.frame(end_ns=round(end_s * NS_PER_S)))
        self._send({"type": "done", "end_s": end_s, **_shown(result, digest_kept(Path(self._path), text))})
        if keeps:
            self._send({"type": "breaches", **_breaches(result)})

    def _result(self, scenario: Scenario, text: str, filename: str, **how: Any) -> Result:
        from simulation.running.runner import run

        self._last = None  # two are not held at once
        result = run(scenario, cancelled=self._is_cancelled, **how)
        self._last = (text, filename), result
        return result

    def _check_size(self, scenarios: Sequence[Scenario], runs: int = 1) -> None:
        text = warning_of(size_of_runs(scenarios, runs, 1), left)
        if text is not None and not self._anyway:
            raise _Large(text)

    def _result_of(self, text: str, filename: str) -> Result:
        """Return the last run; run the text once more if the last run is of another text."""
        if self._last is None or self._last[0] != (text, filename):
            scenario, _ = _loaded(text, filename)
            self._check_size([scenario])
            self._send({"type": "again"})
            return self._result(scenario, text, filename)
        return self._last[1]

    def _notifications(self, text: str, filename: str, from_s: float, to_s: float, kind: str, place: str) -> None:
        from simulation.studio.behind import behind

        result = self._result_of(text, filename)
        page = rendered("notifications.html", **behind(result, from_s, to_s, kind, place))
        self._send({"type": "notifications", "html": page})

    def _compare(self, text: str, pinned: str, filename: str, replicates: int) -> None:
        from simulation.studio.comparing import compare

        self._check_size([_loaded(each, filename)[0] for each in (pinned, text)], replicates)
        for document in compare([pinned, text], filename, replicates, self._is_cancelled):
            self._send({"type": "comparison", "html": rendered("comparison.html", **document)})

    def _rank(self, text: str, filename: str, metric: str) -> None:
        from simulation.studio.ranking import rank

        self._check_size([_loaded(text, filename)[0]], RANKED_RUNS)
        for document in rank(text, filename, metric, self._is_cancelled):
            self._send({"type": "ranking", "html": rendered("ranking.html", **document)})

    def _search(self, text: str, filename: str, metric: str, channel: str) -> None:
        from simulation.studio.searching import REPLICATES, TRIALS, search

        def tell(document: dict[str, Any]) -> None:
            self._send({"type": "search", "html": rendered("search.html", **document), "tuned": document["tuned"]})

        self._check_size([_loaded(text, filename)[0]], TRIALS * REPLICATES)
        search(text, filename, metric, channel, tell, self._is_cancelled)

    def _report(self, text: str, filename: str) -> None:
        from simulation.reporting.html import report

        self._send({"type": "report", "html": report(self._result_of(text, filename))})


def _loaded(text: str, filename: str) -> tuple[Scenario, bool]:
    """Return the scenario of a text, and whether its rows are kept: the rows of a large one would not fit."""
    from simulation.scenario.expected_arrivals import expected_notifications

    scenario = parse(text, filename)
    keeps = sum(expected_notifications(scenario, entry) for entry in scenario.workload) <= KEPT_MAX
    return scenario.model_copy(update={"record": "full" if keeps else "aggregates"}), keeps


def _outline(scenario: Scenario) -> dict[str, Any]:
    duration_s = scenario.arrivals_end_ns / NS_PER_S
    latest_s = (scenario.activity_end_ns + scenario.drain_ns) / NS_PER_S
    shown = windows(scenario, latest_s)
    return {
        "duration_s": duration_s,
        "latest_s": latest_s,
        "channels": [channel.value for channel in scenario.channels_used],
        "about": {channel.value: about(scenario, channel) for channel in scenario.channels_used},
        "downs": {str(node): spans for node, spans in downtimes(scenario, latest_s).items()},
        "breakers": {str(name): str(state) for name, state in islice(scenario.breakers.items(), BREAKERS_MAX)},
        "faults": [{"text": each.text, "spans": each.spans, "dips": each.dips} for each in shown],
        "expectations": [shown_at(each) for each in scenario.expect],
        "events": [
            {"at": at, "kind": "fault", "text": f"{window.text}: {word}"}
            for window in shown
            for start, stop in window.spans[:EVENTS_MAX]
            for at, word in ((start, "begins"), (stop, "ends"))
            if not window.quiet and at < latest_s
        ],
        "list": _listed([{"tone": "off", "state": "…", "text": each.text} for each in scenario.expect]),
    }


def _notes(result: Result) -> list[tuple[str, str, str]]:
    """Return the notes of `retrylab run` beside the expectations, each behind its tone and a word for it."""
    warnings, defaults = result.warnings, defaults_at_work(result.summary)
    return [*(("care", "warning", each) for each in warnings), *(("off", "default", each) for each in defaults)]


def _listed(expectations: Sequence[Mapping[str, Any]], notes: Sequence[tuple[str, str, str]] = ()) -> str:
    ordered = sorted(expectations, key=lambda each: each["tone"] != "bad")
    return rendered(
        "expectations.html", expectations=[{"value": "", "breach": None, **each} for each in ordered], notes=notes
    )


def _shown(result: Result, digest: str | None) -> dict[str, Any]:
    found = result.summary
    median, most = (quantile_text(found, name) for name in ("p50", "p99"))
    amplification = found["retry_amplification"]
    pending = f"; {found['in_flight']:,} still in flight" if found["in_flight"] else ""
    same = "" if digest is None else SAME if digest == found["digest"] else OTHER
    return {
        "holds": [each["holds"] for each in found["expectations"]],
        "list": _listed(_held(result), _notes(result)),
        "figures": (
            f"{found['delivered']:,} of {found['offered']:,} delivered{pending}; "
            f"delivery time: median {median}, 99% {most}; "
            f"{found['dead_lettered']:,} dead-lettered; "
            f"{'nothing tried' if amplification is None else _tried(amplification)}.{same}"
        ),
    }


def _tried(amplification: float) -> str:
    many = f"{amplification:.3g}"
    return f"{many} attempt{'' if many == '1' else 's'} for each notification that was tried"


_STATES = {None: ("off", "undecided by one run"), True: ("fine", "holds"), False: ("bad", "breaks")}


def _held(result: Result) -> list[dict[str, Any]]:
    from simulation.reporting.expectations import in_words

    return [
        {
            "text": each.text,
            **dict(zip(("tone", "state"), _STATES[each.holds], strict=True)),
            "value": f"{each.words}",
        }
        for each in in_words(result)
    ]


def _breaches(result: Result) -> dict[str, Any]:
    from simulation.reporting.html.happenings import broken

    found, held = broken(result), _held(result)
    for each in found:
        held[each.number]["breach"] = each.breach
    return {
        "breaches": [{"number": each.number, "spans": each.breach.spans} for each in found if each.breach is not None],
        "events": [
            {"at": each.breach.spans[0][0], "kind": "breach", "text": f"{each.text} breaks: {each.breach.text}"}
            for each in found
            if each.breach is not None and each.breach.spans
        ],
        "list": _listed(held, _notes(result)),
    }
