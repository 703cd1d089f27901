"""The scenario that is fitted to a log has the log's own metrics under the same policies."""

import pytest
from calibrated_logs import TROUBLES, compared


@pytest.mark.thorough
@pytest.mark.parametrize("trouble", TROUBLES[2:3], ids=lambda trouble: trouble.name)
def test_a_calibrated_scenario_meets_the_log(trouble):
    assert [each for each in compared(trouble, seeds=5, confidence=0.99) if not each.meets] == []


@pytest.mark.slow
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_every_calibrated_scenario_meets_its_log(trouble):
    assert [each for each in compared(trouble) if not each.meets] == []
