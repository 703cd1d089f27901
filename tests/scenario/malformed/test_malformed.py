"""Each malformed scenario here has beside it everything that is to be said about it, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.errors import ConfigurationError
from simulation import scenario

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("[0-9]*.yaml"))


def test_the_corpus_is_there() -> None:
    assert len(FILES) >= 45
    assert {file.stem for file in HERE.glob("*.expected")} == {file.stem for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_all_its_problems_are_reported(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    with pytest.raises(ConfigurationError) as refusal:
        scenario.load(file.name)
    assert "\n".join(refusal.value.problems) == file.with_suffix(".expected").read_text().rstrip("\n")
