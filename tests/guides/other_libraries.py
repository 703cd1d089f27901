"""The guide's tables of the words of other libraries: ``python tests/guides/other_libraries.py`` writes them."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from actors.settings.library_table import spelling_of, words
from actors.settings.meanings import NO_NAMES, Word, WordPlace, remark, with_also
from actors.settings.other_libraries import also_of, example_of

GUIDE = Path(__file__).parents[2] / "notebooks" / "guides" / "other-libraries.md"
_BEGINS = "<!-- The tables are written by tests/guides/other_libraries.py. -->\n"


def page() -> str:
    """Return the guide as it should be: its text as it is, and the tables of now."""
    text = GUIDE.read_text(encoding="utf-8").partition(_BEGINS)[0]
    shown = [row for row in words() if row.peer not in NO_NAMES and row.at != "expect"]
    tables = []
    for library, rows in groupby(sorted(shown, key=lambda row: _order(shown, row)), lambda row: row.peer):
        tables.append(f"\n## {library}\n\n| there | here |\n|---|---|\n" + "".join(map(_line, rows)))
    return text + _BEGINS + "".join(tables)


def _order(shown: list[Word], row: Word) -> int:
    return [each.peer for each in shown].index(row.peer)


def _line(row: Word) -> str:
    there = f"{_spelt(row)}: {row.example}" if row.example else _spelt(row)
    here = example_of(row)[0]
    note = example_of(row)[1]
    also = with_also(also_of(row), row, WordPlace("channel"))
    what = f"`{row.key}{f': {here}' if here else ''}`{also}{remark(row, note)}" if row.key else f"leave it out: {note}"
    return f"| `{there}` | {what} |\n".replace("||", r"\|\|")


def _spelt(row: Word) -> str:
    """Return a word as its library spells it."""
    spelling = spelling_of(row.peer)
    if spelling == "snake_case":
        return row.word
    parts = row.word.split("_")
    first = parts[0].capitalize() if spelling == "PascalCase" else parts[0]
    return first + "".join(part.capitalize() for part in parts[1:])


if __name__ == "__main__":
    GUIDE.write_text(page(), encoding="utf-8")
