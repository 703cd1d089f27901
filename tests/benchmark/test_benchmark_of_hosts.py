"""The benchmark of the hosts runs."""

import decorators
import hosts
import live
import pytest


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@pytest.mark.parametrize("side", hosts.SIDES)
def test_each_side_has_all_of_it_accepted(side, store, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "WARM_UP", 20)
    assert hosts.SIDES[side](30, store, tmp_path)["seconds"] > 0


def test_the_decorators_are_compared(capsys):
    decorators.compare(calls=2, rounds=1)
    assert capsys.readouterr().out.count("costs") == 3 + 1 + 1
