"""What the guides say of tests: its code is one that passes, and its picture is what pytest prints."""

import functools
import importlib
import re

import pytest
from documents import ROOT, text_of

from simulation.testing import scenario_items

# Now, since pytester forgets what is imported only inside it, and some of it cannot be imported twice.
for needed in (
    "simulation.reporting.expectation_report",
    "simulation.testing.testkit",
):
    importlib.import_module(needed)


def test_the_test_of_an_actor_passes_on_both_clocks(pytester: pytest.Pytester) -> None:
    section = text_of("testing").partition("## Tests of your own actors")[2]
    (code,) = re.findall(r"^```python\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    pytester.makepyfile(code)
    result = pytester.runpytest_inprocess("-v", "-p", "no:cacheprovider", "--strict-markers", "-W", "error")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*an_hour[[]simulated[]] PASSED*", "*an_hour[[]live[]] PASSED*"])


def test_the_failure_shown_is_what_pytest_prints(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    unchecked = functools.partial(scenario_items.run, runtime="simpy")  # says the same, sooner
    monkeypatch.setattr(scenario_items, "run", lambda scenario, *, seed, **_: unchecked(scenario, seed=seed))
    text = text_of("scenarios")
    (shown,) = re.findall(r"^```text\n(delivery_time_s\.p99 <= 60 .*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    text = (ROOT / "scenarios" / "provider-outage.yaml").read_text(encoding="utf-8")
    folder = pytester.mkdir("scenarios")
    file = folder / "provider-outage.yaml"
    file.write_text(text.replace("delivery_time_s.p99 <= 240", "delivery_time_s.p99 <= 60"), encoding="utf-8")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "scenarios")
    result.assert_outcomes(passed=9, failed=1)
    start = result.outlines.index("delivery_time_s.p99 <= 60 does not hold")
    lines = shown.splitlines()
    assert result.outlines[start : start + len(lines)] == lines
