"""Which files are those of a library, by what is in them."""

from beside import tables
from each_row import over_each

from simulation.importing.source import KINDS, SourceFile

TABLES = tables(__file__)


@over_each([(*row, True) for row in TABLES["recognised"]] + [(*row, False) for row in TABLES["others"]])
def test_files_are_recognised(kind: str, name: str, text: str, expected: bool) -> None:
    assert KINDS[kind].recognises(SourceFile(name, text)) is expected
