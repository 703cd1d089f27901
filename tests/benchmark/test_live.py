"""The benchmark of the live pipeline runs, and on each side everything it sends arrives."""

import live
import pytest


@pytest.mark.parametrize("side", ["memory", "sqlite", "webhook", "bare"])
def test_each_side_sends_all_of_it(side, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "WARM_UP", 20)
    figures = live.measure(side, 30, tmp_path)  # which raises if any is missing
    assert figures["seconds"] > 0
    assert figures["cpu_seconds"] > 0
