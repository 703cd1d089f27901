"""The examples in the docstrings of the main functions give what they say."""

import doctest
from pathlib import Path

import pytest
from effort import sliced

import simulation

MAIN = ("run", "sweep", "compare", "tune", "explore", "fit", "predict", "explain", "whatif", "limits")


@pytest.mark.parametrize("name", sliced(MAIN, 18))
def test_the_example_gives_what_it_says(name, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    examples = doctest.DocTestFinder(recurse=False).find(
        getattr(simulation, name), name, globs={"simulation": simulation}
    )
    assert sum(len(each.examples) for each in examples) > 0
    said: list[str] = []
    for each in examples:
        doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(each, out=said.append)
    assert not said, "".join(said)
