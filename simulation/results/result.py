"""The result of a run: its summary and its tables. `simulation.reporting` shows and saves it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from actors.instants import NS_PER_S
from actors.messages import NotificationChannel
from simulation.results.formatting import line_of_run
from simulation.results.recorder import Recorder
from simulation.results.reproduce import Origin
from simulation.results.sheet import run_as_html
from simulation.scenario import Scenario
from simulation.scenario.metrics import VERSION, WINDOWS

if TYPE_CHECKING:
    import pandas as pd

SUMMARY_FILE, SCENARIO_FILE, REPORT_FILE = "summary.json", "scenario.yaml", "report.html"
TABLES = ("notifications", "attempts", "deferrals", "breaker", "dlq", "series")
UPSTREAM_TABLE = "upstream_requests"
"""A further table, where a provider asks an upstream."""
INTERRUPTED_TABLE = "interrupted"
"""Likewise, where a request was interrupted."""


class RunResult(ABC):
    """A run that has ended, in memory or saved: its scenario, its summary and its tables.

    Times in tables are seconds from the start. All but `breaker`, `dlq` and `series` are empty with
    ``record: aggregates``.
    """

    scenario: Scenario
    summary: dict[str, Any]
    """The metrics of the run, as a plain dict that is also the JSON document."""

    def __repr__(self) -> str:
        return line_of_run(self._kind, self.summary)

    def _repr_html_(self) -> str:
        return run_as_html(self._kind, self.summary)

    _kind: ClassVar[str]

    @abstractmethod
    def _table(self, name: str) -> pd.DataFrame: ...

    @property
    def holds(self) -> bool:
        """Whether no expectation of the scenario fails; one of a share of runs is undecided by a single one."""
        return all(expectation["holds"] is not False for expectation in self.summary["expectations"])

    @cached_property
    def notifications(self) -> pd.DataFrame:
        """One row a notification.

        `entry` is the entry of the workload that it is from, `priority` its class; older files have no `entry`. Rows
        with the same `request` are one notification and its fallbacks. Delivery time is `finished_at_s` less
        `waited_since_s`, where `outcome` is sent.
        """
        return self._table("notifications")

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row a request that was wanted.

        `channel` is the one that has delivered it, or has taken it over last; `time_s` is its delivery time, infinite
        where it was never delivered. It is counted from `notifications`, and is in no file.
        """
        from simulation.results.tables import requests_of

        return requests_of(self.notifications, self.attempts)

    @cached_property
    def attempts(self) -> pd.DataFrame:
        """One row an attempt.

        `provider` is the one that was asked: ``primary``, or another name of the channel's `failover`; null where it
        was refused on our side, and none was; in older files also where the channel has only one.
        """
        return self._table("attempts")

    @cached_property
    def upstream_requests(self) -> pd.DataFrame:
        """One row a request of a provider to its upstream; there is no such file where none has an upstream."""
        return self._table(UPSTREAM_TABLE)

    @cached_property
    def interrupted(self) -> pd.DataFrame:
        """One row a request to a provider whose answer no one took; empty in older files, too.

        `delivered` is whether its provider delivered it all the same.
        """
        return self._table(INTERRUPTED_TABLE)

    @cached_property
    def deferrals(self) -> pd.DataFrame:
        """One row a wait for a limiter, an open breaker or quiet hours."""
        return self._table("deferrals")

    @cached_property
    def breaker(self) -> pd.DataFrame:
        """One row a transition of a breaker; `channel` is the breaker's name, ``email`` or ``email/backup``.

        `host` is null where there is one breaker for all hosts of recipients.
        """
        return self._table("breaker")

    @cached_property
    def dlq(self) -> pd.DataFrame:
        """One row a dead letter; the first 10,000 with ``record: aggregates``, which does not know when one left."""
        return self._table("dlq")

    @cached_property
    def series(self) -> pd.DataFrame:
        """One row a bucket of time: arrivals, sent, failed, in flight, DLQ size, the state of each breaker, and how
        many wait at each provider whose queue has a bound."""
        return self._table("series")


class Result(RunResult):
    """The result of one run."""

    _kind = "Result"

    def __init__(
        self,
        scenario: Scenario,
        runtime: str,
        recorder: Recorder,
        simulated_ns: int,
        checked: Sequence[str] = (),
        origin: Origin | None = None,
    ) -> None:
        self.scenario = scenario
        self.origin = origin or Origin()
        """The inputs with which the run was started; the report shows how to run it again."""
        self.checked = tuple(checked)
        """The names of the invariants that were checked, beside the one that always is: that nothing is lost."""
        self._recorder = recorder
        self._simulated_ns = simulated_ns
        self.summary = self._summary(runtime)

    def _summary(self, runtime: str) -> dict[str, Any]:
        recorder, simulated_ns = self._recorder, self._simulated_ns
        digest = recorder.digest()
        breakers = {str(name): metrics.summary(simulated_ns) for name, metrics in recorder.breaker_metrics.items()}
        metrics = recorder.ledger.summary(simulated_ns)
        told_apart = {group: metrics.pop(group) for group in ("workload", "classes", "channels")}
        summary: dict[str, Any] = {
            "version": VERSION,
            "scenario": self.scenario.name,
            "seed": self.scenario.seed,
            "runtime": runtime,
            "simulated_s": simulated_ns / NS_PER_S,
            **metrics,
            "peaks": recorder.peaks.summary(),
            "breaker": breakers,
            **({"nodes": nodes} if (nodes := recorder.node_metrics.summary()) else {}),
            "faults": recorder.backlogs.end(simulated_ns),
            "workload": told_apart["workload"],
            "classes": told_apart["classes"],
            "channels": {
                channel.value: {
                    **told_apart["channels"][channel.value],
                    "peaks": recorder.peaks.summary(channel),
                    "breaker": breakers[channel.value],
                    **recorder.queues.summary(channel, simulated_ns),
                    **self._providers(channel),
                }
                for channel in self.scenario.channels_used
            },
            **self._windows(),
            "worst": recorder.ledger.worst(),
        }
        at_work, in_flight = recorder.defaults, summary["in_flight"]
        channels = summary["channels"]
        summary["defaults"] = at_work.summary(breakers, channels, in_flight, simulated_ns) if at_work else []
        expectations = []
        for expectation in self.scenario.expect:
            value, holds = expectation.evaluate(summary)
            never = {"never": True} if expectation.is_never(summary) else {}
            expectations.append({"text": expectation.text, "value": value, "holds": holds, **never})
        return {**summary, "expectations": expectations, "digest": digest}

    def _windows(self) -> dict[str, Any]:
        recorder, transitions = self._recorder, self._recorder.series.transitions
        names = list(recorder.breaker_metrics)
        found = {
            window.window.name: window.summary(
                self._simulated_ns, names, transitions, are_shared=recorder.shares_breakers
            )
            for window in recorder.windows
        }
        return {WINDOWS: found} if found else {}

    def _providers(self, channel: NotificationChannel) -> dict[str, Any]:
        recorder = self._recorder
        found = {
            name: {
                **metrics,
                "peaks": recorder.peaks.of_provider(channel, name),
                **recorder.queues.summary(channel, self._simulated_ns, name),
            }
            for name, metrics in recorder.provider_metrics.summary(channel).items()
        }
        return {"providers": found} if found else {}

    @cached_property
    def warnings(self) -> list[str]:
        """Settings that cannot do what they say: ``channels.email.timeout: 100ms is shorter than …``."""
        from simulation.scenario.lint import lint_scenario

        return [str(finding) for finding in lint_scenario(self.scenario)]

    @property
    def history(self) -> Sequence[Any]:
        """Every recorded event, in order; with ``record: aggregates`` only the first dead letters.

        Of a run with more than 250,000 events the others are made again each time that they are read.
        """
        recorder = self._recorder
        return recorder.dead_letters if recorder.history is None else recorder.history

    def _table(self, name: str) -> pd.DataFrame:
        from simulation.results import tables

        recorder, scenario, history = self._recorder, self.scenario, self._recorder.history or ()
        match name:
            case "notifications":
                return tables.notifications_table(history, scenario)
            case "attempts":
                return tables.attempts_table(history, scenario)
            case "upstream_requests":
                return tables.upstream_requests_table(history, scenario)
            case "interrupted":
                return tables.interrupted_table(recorder.interrupted, scenario)
            case "deferrals":
                return tables.deferrals_table(history, scenario)
            case "breaker":
                return tables.transitions_table(recorder.series.transitions)
            case "dlq":
                return tables.dead_letters_table(self.history, scenario)
            case _:
                frame = recorder.series.frame(scenario.breakers, self._simulated_ns)
                return frame.assign(**dict(recorder.queues.columns(len(frame))))
