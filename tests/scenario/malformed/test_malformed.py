"""Of each malformed scenario everything is said that stands beside it, word for word."""

import pytest
from each_row import over_each
from malformed_scenarios import MALFORMED

from actors.errors import ConfigurationError
from simulation import scenario


def test_the_corpus_is_there():
    assert len({each.name for each in MALFORMED}) == len(MALFORMED) >= 68


@over_each(MALFORMED)
def test_all_its_problems_are_reported(each, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = each.written(tmp_path)
    with pytest.raises(ConfigurationError) as refusal:
        scenario.load(path.name)
    assert [*refusal.value.problems] == [f"{path.name}:{problem}" for problem in each.problems.splitlines()]
