"""The benchmark of accepting over HTTP runs, and each side accepts everything it is posted."""

import ingest
import pytest
from effort import sliced


@pytest.mark.integration
@pytest.mark.parametrize("side", sliced(ingest.SIDES, 4, 1))
def test_each_side_accepts_all_of_it(side, tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, "NOTIFICATIONS", {1_000: 1_000})
    figures = ingest.measure(side, 1_000, False, tmp_path)  # which raises if any is refused
    assert figures["seconds"] > 0
