"""The pytest plugin: scenario files are tests, and fixtures for tests of your own actors.

``pytest scenarios/`` collects the scenarios there: a test for the run of each, and one for each of its expectations.
A YAML file is taken for a scenario when one of these is so; any other is left alone:

- it was named on the command line, ``pytest outage.yaml``, and no other plugin takes it for a test of its own;
- it has the keys `workload`, `duration` and `expect` at its top;
- it has `workload` at its top, and the hint for editors that names ``scenario.schema.json``.

With patterns in the option `retrylab_scenarios` of pytest's configuration, such as ``scenarios/*.yaml``, the scenarios
are the files that match one of them, with any contents, and the files named on the command line.

This module is imported whenever pytest starts, in every project of an environment that retrylab is installed in. So
heavy modules are imported when needed, and nothing of `simulation` or `actors` before: a project with a folder of such
a name has its tests import its own folder. There, and without the extra `simulate`, the plugin stands aside.

PYTEST_DONT_REWRITE: it asserts nothing, and pytest would warn where it runs inside another pytest.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Generator, Iterator
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from simulation.engine.system import SimulatedSystem
    from simulation.testing.testkit import ActorKit, Recorded, SteppedLiveSystem
    from simulation.world.run import ServiceResult

SCENARIOS = "retrylab_scenarios"
REPLICATES = "retrylab_replicates"
CHECK = "retrylab_check"
SEED_MARKER = "retrylab_seed"
BYTES_MAX = 4 * 2**20
"""A longer file is no scenario."""

_TOP_KEYS = re.compile(rb"^(workload|duration|expect)[ \t]*:", re.MULTILINE)
_HINT = re.compile(rb"^#[ \t]*yaml-language-server:.*\bscenario\.schema\.json\b", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("retrylab", "scenarios of retrylab")
    group.addoption(
        "--retrylab-seeds",
        metavar="N",
        type=_at_least_1,
        default=1,
        help="run each scenario file with N seeds, its own and those after it (default: 1)",
    )
    group.addoption(
        "--retrylab-replicates",
        metavar="N",
        type=_at_least_1,
        default=None,
        help="run each scenario file that has expectations 'in: 99%% of runs' with up to N seeds, until these are "
        f"decided; undecided ones are skipped (default: {REPLICATES} of the configuration, or 1)",
    )
    group.addoption(
        "--retrylab-runtime",
        choices=("simpy", "trio"),
        default="simpy",
        help="the clock to run scenarios on: SimPy's, or trio's MockClock (default: simpy)",
    )
    group.addoption(
        "--retrylab-check",
        action="store_true",
        help="check all invariants that apply, as retrylab run --check does; a run then takes 6 to 9 times as long "
        f"(default: {CHECK} of the configuration, or no)",
    )
    group.addoption(
        "--retrylab-code", action="store_true", help="import the own actors that scenarios name, when they are run"
    )
    parser.addini(
        SCENARIOS,
        "patterns of the files that are scenarios, relative to the root, such as scenarios/*.yaml "
        "(default: files that look like one)",
        type="args",
        default=[],
    )
    parser.addini(
        REPLICATES, "how many seeds expectations 'in: 99% of runs' may take, as --retrylab-replicates", default="1"
    )
    parser.addini(CHECK, "whether to check all invariants, as --retrylab-check", type="bool", default=False)


def _at_least_1(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number of at least 1, got {text!r}")
    return int(text)


_OURS = {"simulation": "testing/scenario_items.py", "actors": "kernel/system.py"}
"""A file by which retrylab's package is known from another of that name, wherever it is."""


def stands_aside() -> str | None:
    """Return why the plugin does nothing here, or None, without importing packages with retrylab's names."""
    for name, file in _OURS.items():
        try:
            spec = find_spec(name)
        except ValueError:  # it has been put among the modules by hand
            return f"{name} is another package"
        folders = [] if spec is None else list(spec.submodule_search_locations or [])
        if not any(Path(folder, file).is_file() for folder in folders):
            return f"{name} is {folders[0] if folders else spec and spec.origin}"
    return None if find_spec("simpy") else "the extra simulate is not installed: pip install 'retrylab[simulate]'"


def pytest_report_header() -> str | None:
    reason = stands_aside()
    return f"retrylab: stands aside, {reason}" if reason else None


def pytest_configure(config: pytest.Config) -> None:
    """Make the plugin's markers known, and check its configuration."""
    if config.getoption("--retrylab-replicates") is None:
        try:
            config.option.retrylab_replicates = _at_least_1(config.getini(REPLICATES))
        except argparse.ArgumentTypeError as error:
            raise pytest.UsageError(f"{REPLICATES}: {error}") from None
    config.option.retrylab_check = config.getoption("--retrylab-check") or config.getini(CHECK)
    config.addinivalue_line("markers", "retrylab_scenario: a test made from a scenario file")
    config.addinivalue_line(
        "markers",
        f"{SEED_MARKER}(seed): the seed of simulated_system, live_system and actor_kit in this test (default: 0)",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    collectors = yield
    if file_path.suffix in (".yaml", ".yml") and _is_scenario(file_path, parent, bool(collectors)):
        if stands_aside():
            return collectors
        from simulation.testing.scenario_items import ScenarioFile

        collectors.append(ScenarioFile.from_parent(parent, path=file_path))
    return collectors


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the effects of settings that scenarios do not name, also where all expectations hold."""
    told = [
        f"{report.nodeid.partition('::')[0]}: {text}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, text in report.user_properties
        if name == "retrylab_default"
    ]
    if told:
        terminalreporter.section("what defaults did", sep="-")
        for line in dict.fromkeys(told):
            terminalreporter.line(line)


def _is_scenario(path: Path, parent: pytest.Collector, is_of_another: bool) -> bool:
    if parent.session.isinitpath(path) and not is_of_another:
        return True
    patterns = parent.config.getini(SCENARIOS)
    if patterns:
        try:
            relative = path.relative_to(parent.config.rootpath).as_posix()
        except ValueError:
            return False
        return any(fnmatch(relative, pattern) for pattern in patterns)
    return looks_like_a_scenario(path)


def looks_like_a_scenario(path: Path) -> bool:
    """Tell whether a file is a scenario by its look; see the text of this module."""
    try:
        if path.stat().st_size > BYTES_MAX:
            return False
        content = path.read_bytes()
    except OSError:
        return False
    keys = set(_TOP_KEYS.findall(content))
    return len(keys) == 3 or (b"workload" in keys and _HINT.search(content) is not None)


# ── fixtures ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def _here() -> None:
    if reason := stands_aside():
        raise pytest.UsageError(f"the fixtures of retrylab: {reason}")


@pytest.fixture
def recorder(_here: None) -> Recorded:
    """The events that the systems of this test record: a list, in order, with `of(*types)` and `times(*types)`."""
    from simulation.testing.testkit import Recorded

    return Recorded()


@pytest.fixture
def simulated_system(request: pytest.FixtureRequest, recorder: Recorded) -> Iterator[SimulatedSystem]:
    """A system in simulated time, which records into `recorder`; closed in the end."""
    from simulation.engine.system import SimulatedSystem

    with SimulatedSystem(seed=_seed(request), record=recorder.record) as system:
        yield system


@pytest.fixture
def live_system(request: pytest.FixtureRequest, recorder: Recorded) -> Iterator[SteppedLiveSystem]:
    """A live system on trio's `MockClock`, which records into `recorder`; for a test that is no coroutine.

    Its time moves by `advance(seconds)`, by `run()`, and as far as a blocking `ask` needs.
    """
    from simulation.testing.testkit import SteppedLiveSystem

    system = SteppedLiveSystem(seed=_seed(request), record=recorder.record)
    yield system
    system.close()


@pytest.fixture(params=("simulated", "live"))
def actor_kit(_here: None, request: pytest.FixtureRequest) -> Iterator[Callable[..., ActorKit[Any]]]:
    """Make kits, ``actor_kit(MyActor, …)``, on one clock and, in another run of the same test, on the other."""
    from simulation.testing.testkit import ActorKit

    seed = _seed(request)
    kits: list[ActorKit[Any]] = []

    def make(actor_class: Any, *args: Any, **kwargs: Any) -> ActorKit[Any]:
        kits.append(ActorKit(actor_class, *args, **{"clock": request.param, "seed": seed, **kwargs}))
        return kits[-1]

    yield make
    for kit in kits:
        kit.close()


@pytest.fixture
def retrylab_world(_here: None) -> Callable[..., ServiceResult]:
    """Run a trio service in the world of a scenario, ``retrylab_world(main, scenario)``, and return the result.

    It has the arguments of :func:`simulation.run_service`. A service that leaves its world fails the test by file and
    line. A service that is named, ``module:main``, runs in `processes` others too, three by default, with other seeds
    for hashes: the test fails by the first request that differs there.
    """
    from simulation.world.run import run_service
    from simulation.world.second import first_difference

    def run(main: Any, scenario: Any, *, processes: int = 3, **options: Any) -> ServiceResult:
        result = run_service(main, scenario, **options)
        has_names = isinstance(main, str) and not any(options.get(name) for name in ("calls", "answers"))
        difference = (
            first_difference(main, scenario, processes=processes, **options) if has_names and processes else None
        )
        if difference is not None:
            pytest.fail(str(difference), pytrace=False)
        return result

    return run


def _seed(request: pytest.FixtureRequest) -> int:
    marker = request.node.get_closest_marker(SEED_MARKER)
    if marker is None:
        return 0
    if len(marker.args) != 1 or marker.kwargs or type(marker.args[0]) is not int:
        raise pytest.UsageError(f"{request.node.nodeid}: wanted @pytest.mark.{SEED_MARKER}(a whole number)")
    return marker.args[0]
