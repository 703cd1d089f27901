"""What ``import simulation`` gives: every name is there as often as it is asked for, and costs nothing until it is."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration


def printed(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.thorough
def test_every_name_is_the_same_the_second_time():
    # The first time imports modules, each of which becomes an attribute of its package: in the place of the name.
    code = "import json, simulation as s; print(json.dumps([n for n in dir(s) if getattr(s, n) is not getattr(s, n)]))"
    assert printed(code) == []


@pytest.mark.thorough
def test_modules_for_users_are_there_without_an_import_of_their_own():
    code = (
        "import json, simulation; print(json.dumps([simulation.plots.throughput.__name__, "
        "simulation.testkit.both_clocks.__name__, 'conservation' in simulation.invariants.KNOWN, "
        "simulation.validation.Case.__name__, 'plots' in dir(simulation)]))"
    )
    assert printed(code) == ["throughput", "both_clocks", True, "Case", True]


def test_what_takes_long_to_import_is_not_imported_by_the_package_and_the_command():
    code = (
        "import json, sys, simulation, simulation.commands.cli; dir(simulation); "
        "print(json.dumps([n for n in ('matplotlib', 'pandas', 'scipy', 'hypothesis') if n in sys.modules]))"
    )
    assert printed(code) == []
