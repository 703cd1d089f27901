"""The tests that pytest makes of a scenario file: one for its run, and one for each of its expectations."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

from actors.errors import ConfigurationError, InvariantBreach
from simulation.results.reproduce import shell_command
from simulation.running.deciding import decide, decision_text
from simulation.running.memory import left
from simulation.running.own_code import import_from
from simulation.running.runner import run
from simulation.scenario import Expectation, Scenario, load
from simulation.scenario.limits import WantedLimit, wanted_limits
from simulation.scenario.run_size import size_of, warning_of
from simulation.scenario.world import NO_SERVICE

if TYPE_CHECKING:
    from simulation.results.result import Result

RUNS = "runs"
"""The name of the test that a scenario runs, and that the invariants checked hold."""


DEFAULT = "retrylab_default"
"""The property of a test with the effect of a setting that the scenario does not name; the plugin shows them."""


class NoResult(NamedTuple):
    headline: str
    """In a few words."""
    text: str


class DoesNotHold(Exception):
    def __init__(self, headline: str, text: str) -> None:
        super().__init__(headline, text)
        self.headline = headline
        """In a few words, for the list at the end."""
        self.text = text


class Crash(NamedTuple):
    """Where pytest looks for the words for its list at the end."""

    message: str


class Shown:
    """A failure as text, in the form that pytest wants: its first line in red, the rest as it is."""

    def __init__(self, failure: DoesNotHold) -> None:
        self.text = failure.text
        self.reprcrash = Crash(failure.headline)

    def __str__(self) -> str:
        return self.text

    def toterminal(self, tw: Any) -> None:
        first, _, rest = self.text.partition("\n")
        tw.line(first, red=True, bold=True)
        tw.line(rest)


class ScenarioFile(pytest.File):
    """A scenario file. Its tests share a run for each seed."""

    _seed: int | None = None
    _outcome: Result | NoResult | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """Yield its tests; a file that cannot be used is an error, with all its problems."""
        code = self.config.getoption("--retrylab-code")
        if code:
            import_from(str(self.config.invocation_params.dir))  # as `retrylab run` does
        try:
            self.scenario: Scenario = load(self.path).with_code(code)
        except ConfigurationError as error:
            shown = self.shown_path
            problems = [problem.replace(str(self.path), shown, 1) for problem in error.problems]
            raise self.CollectError("\n".join(problems)) from None
        count = self.config.getoption("--retrylab-seeds")
        # The same text twice is the same test.
        expectations = list({expectation.text: expectation for expectation in self.scenario.expect}.values())
        of_each_run = [expectation for expectation in expectations if expectation.share is None]
        of_many_runs = [expectation for expectation in expectations if expectation.share is not None]
        for seed in range(self.scenario.seed, self.scenario.seed + count):
            suffix = f"[seed {seed}]" if count > 1 else ""
            yield RunItem.from_parent(self, name=RUNS + suffix, seed=seed)
            for expectation in of_each_run:
                yield ExpectationItem.from_parent(
                    self, name=expectation.text + suffix, seed=seed, expectation=expectation
                )
            for expectation in of_many_runs if seed == self.scenario.seed else ():
                yield ShareItem.from_parent(self, name=expectation.text, seed=seed, expectation=expectation)
        for limit in wanted_limits(self.scenario.limits):
            yield LimitItem.from_parent(self, name=limit.text, seed=self.scenario.seed, limit=limit)

    @property
    def shown_path(self) -> str:
        """The file as the user would write it: relative to where pytest was started."""
        start = self.config.invocation_params.dir
        return str(self.path.relative_to(start)) if self.path.is_relative_to(start) else str(self.path)

    @property
    def invariants(self) -> Literal["default", "all"]:
        return "all" if self.config.getoption("--retrylab-check") else "default"

    def outcome(self, seed: int) -> Result | NoResult:
        """Return the result of the run with a seed, or why there is none. The last one is kept."""
        if self._outcome is None or seed != self._seed:
            self._seed = seed
            try:
                self._say_size()
                runtime = self.config.getoption("--retrylab-runtime")
                self._outcome = run(self.scenario, seed=seed, runtime=runtime, invariants=self.invariants)
            except (InvariantBreach, ConfigurationError) as error:
                self._outcome = _without_result(error)
        return self._outcome

    def _say_size(self) -> None:
        """Print the expected size of a large run before it; pytest shows logs only where a test fails."""
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        said = [warning_of(size_of(self.scenario), left), NO_SERVICE if self.scenario.is_for_service else None]
        for text in filter(None, said):
            if terminal is not None:
                terminal.write_line(f"{self.shown_path}: {text}")

    def decided(self, seed: int, replicates: int) -> Result | NoResult:
        """Return the result of the run with a seed, with the decisions of up to `replicates` runs from this one on."""
        outcome = self.outcome(seed)
        if not isinstance(outcome, NoResult) and replicates > 1 and "replicates" not in outcome.summary:
            try:
                decide(outcome, replicates, invariants=self.invariants)
            except (InvariantBreach, ConfigurationError) as error:
                return _without_result(error)
        return outcome

    def teardown(self) -> None:
        self._outcome = None


def _without_result(error: InvariantBreach | ConfigurationError) -> NoResult:
    if isinstance(error, ConfigurationError):
        return NoResult("cannot be run so", f"the scenario cannot be run so\n{error}")
    # Without the command that it brings: that is for a caller who runs the scenario from Python.
    report = InvariantBreach(error.message, error.invariant, error.at_ns, error.seed, error.history)
    return NoResult("an invariant broke", f"an invariant broke, which is a bug\n{report}")


class ScenarioItem(pytest.Item):
    parent: ScenarioFile

    obj = None
    """No function, as of pytest's doctest items; pytest-trio in its `trio_mode` looks at it in every test."""

    def __init__(self, *, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.add_marker("retrylab_scenario")

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"{self.path.name}: {self.name}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **kwargs: Any) -> Any:
        """Show a failure of the scenario as itself, and any other with its traceback."""
        if isinstance(excinfo.value, DoesNotHold):
            return Shown(excinfo.value)
        return super().repr_failure(excinfo, *args, **kwargs)

    def again(self, *, broken: bool = False) -> str:
        """Return the commands that run it again: with all metrics and a picture, or up to the breach; and as a test."""
        path, runtime = self.parent.shown_path, self.config.getoption("--retrylab-runtime")
        code = bool(self.parent.scenario.actors)
        look = shell_command(path, self.seed, runtime=runtime, check=broken, code=code)
        look += "" if broken else " --out report"
        test = ["pytest", f"{path}::{self.name}"]
        if runtime != "simpy":
            test += ["--retrylab-runtime", runtime]
        if self.parent.invariants == "all":
            test.append("--retrylab-check")
        if code:
            test.append("--retrylab-code")
        count = self.config.getoption("--retrylab-seeds")
        if count > 1:
            test += ["--retrylab-seeds", str(count)]
        return f"look closer  {look}\nrun again    {shlex.join(test)}"

    def look_closer(self, command: str, *options: object) -> str:
        code = ["--code"] if self.parent.scenario.actors else []
        words = ["retrylab", command, self.parent.shown_path, *options, *code]
        return f"look closer  {shlex.join(map(str, words))}"


class RunItem(ScenarioItem):
    """The run itself: that it comes to its end, and that the invariants checked hold on the way."""

    def runtest(self) -> None:
        outcome = self.parent.outcome(self.seed)
        if isinstance(outcome, NoResult):
            raise DoesNotHold(outcome.headline, f"{outcome.text}\n\n{self.again(broken=True)}")
        self.user_properties += [(DEFAULT, each["text"]) for each in outcome.summary["defaults"]]


class ExpectationItem(ScenarioItem):
    def __init__(self, *, expectation: Expectation, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.expectation = expectation

    def runtest(self) -> None:
        outcome = self.parent.outcome(self.seed)
        if isinstance(outcome, NoResult):
            runs = self.nodeid.replace(f"::{self.expectation.text}", f"::{RUNS}")
            raise DoesNotHold("no metric", f"no metric: {outcome.headline}, see {runs}\n\n{self.again(broken=True)}")
        value, holds = self.expectation.evaluate(outcome.summary)
        if not holds:
            from simulation.reporting.expectation_report import defaults_in_scope, failure_text
            from simulation.reporting.expectations import verdict

            defaults = [line for text in defaults_in_scope(outcome, self.expectation) for line in (text, "")]
            raise DoesNotHold(
                verdict(self.expectation, outcome, value),
                "\n".join([*failure_text(outcome, self.expectation, value), "", *defaults, self.again()]),
            )


class LimitItem(ScenarioItem):
    """A limit that the scenario must withstand with most of a few seeds."""

    def __init__(self, *, limit: WantedLimit, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def runtest(self) -> None:
        from simulation.experiments.limits.limits import ask

        look = self.look_closer("limits", "--of", self.limit.kind, "--on", self.limit.on)
        try:
            holds, why = ask(self.parent.scenario, self.limit)
        except ConfigurationError as error:
            without = _without_result(error)
            raise DoesNotHold(without.headline, f"{without.text}\n\n{look}") from None
        if not holds:
            raise DoesNotHold(why, f"{self.name} does not hold\n{why}\n\n{look}")


class ShareItem(ExpectationItem):
    """One expectation of a share of runs: decided by the runs from the file's own seed on, or skipped."""

    def runtest(self) -> None:
        replicates = self.config.getoption("--retrylab-replicates")
        outcome = self.parent.decided(self.seed, replicates)
        if isinstance(outcome, NoResult):
            raise DoesNotHold(outcome.headline, f"{outcome.text}\n\n{self.again(broken=True)}")
        place = outcome.scenario.expect.index(self.expectation)
        entry = outcome.summary["expectations"][place]
        shown = decision_text(self.expectation, entry, "--retrylab-replicates")
        if entry["holds"] is None:
            pytest.skip(f"{self.name}: {shown if 'runs' not in entry else f'undecided, {shown}'}")
        if not entry["holds"]:
            look = self.look_closer("run", "--replicates", replicates)
            raise DoesNotHold(shown, f"{self.name} does not hold\n{shown}\n\n{look}")
