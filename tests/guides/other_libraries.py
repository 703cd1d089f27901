"""The guide's tables of the words of other libraries: ``python tests/guides/other_libraries.py`` writes them."""

from itertools import groupby
from pathlib import Path

import yaml

from actors.settings.library_table import spelling_of, words
from actors.settings.meanings import FIRST_COUNTS, NO_NAMES, Word, WordPlace, grown
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
    here, note = example_of(row)
    tree = grown({}, {row.key: yaml.safe_load(here), **also_of(row)}) if row.key and here else {}
    said = [FIRST_COUNTS] * ("N+1" in row.value) + [note] * bool(note)
    what = WordPlace("channel").offered(tree) if tree else f"`{row.key}`" if row.key else f"leave it out: {said.pop()}"
    return f"| `{there}` | {'; '.join([what, *said])} |\n".replace("||", r"\|\|")


def _spelt(row: Word) -> str:
    """Return a word as its library spells it."""
    spelling = spelling_of(row.peer)
    if spelling == "snake_case" or row.word != row.word.lower():
        return row.word
    parts = row.word.split("_")
    first = parts[0].capitalize() if spelling == "PascalCase" else parts[0]
    return first + "".join(part.capitalize() for part in parts[1:])


if __name__ == "__main__":
    GUIDE.write_text(page(), encoding="utf-8")
