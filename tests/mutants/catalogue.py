"""The table of planted mistakes: ``mistakes/*.yaml`` by subject, and ``mistakes/strangers/*.yaml`` by area.

A row is a mistake that people really make, as an exact change of one file of the product::

    - name: half-of-the-slots-for-one
      file: actors/policies/slots.py
      mistake: A share is a half.
      change: |
        -KEYS_THAT_SHARE = 4
        +KEYS_THAT_SHARE = 2
      expected: fair-turns

``change`` has whole lines, as a patch does: ``-`` is taken out, ``+`` put in, and a line that stays begins with a
space. ``@@`` begins a change at another place; it also goes before a first line that stays.
"""

import re
from pathlib import Path
from typing import TypeVar

import msgspec

MISTAKES = Path(__file__).parent / "mistakes"

ANYTHING = "anything"
"""The expectation of the strangers' mistakes: their authors do not know what finds them."""


class DoesNotApply(ValueError):
    """The lines that a mutant changes are not in its file, or are there more than once."""


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A copy of the product with one mistake in it."""

    name: str
    """A few words with hyphens."""

    file: str
    """Where it is planted, from the project's root."""

    mistake: str
    """The mistake in a sentence: what its author has in mind, or has not."""

    change: str
    """The lines that are taken out and put in."""

    expected: str = ANYTHING
    """What is expected to find it: an invariant by its name; ``expectations``, those of a scenario; ``reopened``, a
    store on disk that has to say what one in memory does; ``others_go_on``, those that wait for a suspect; or
    ``tests``, which the hunt does not run."""

    seen: str = ""
    """What a user would see of a stranger's mistake."""

    world: str = ""
    """What has to come together for that."""

    def __post_init__(self) -> None:
        if "" in dict(self.changes() or [("", "")]):
            raise ValueError(f"{self.name}: wanted lines to look for, after '-' or ' ', got {self.change!r}")

    def changes(self) -> list[tuple[str, str]]:
        """Return the old and the new lines of each place.

        Raises:
            ValueError: a line has no sign.
        """
        pairs = []
        for place in filter(None, re.split(r"^@@\n", self.change, flags=re.MULTILINE)):
            lines = place.splitlines(keepends=True)
            if unsigned := [line for line in lines if line[0] not in "-+ \n"]:
                raise ValueError(f"{self.name}: wanted '-', '+' or ' ' before each line, got {unsigned[0]!r}")
            old = "".join(line[1:] or line for line in lines if line[0] != "+")
            new = "".join(line[1:] or line for line in lines if line[0] != "-")
            pairs.append((old, new))
        return pairs

    def planted(self, text: str) -> str:
        """Return the text of its file with the mistake in it.

        Raises:
            DoesNotApply: old lines are not there exactly once.
        """
        for old, new in self.changes():
            if (count := text.count(old)) != 1:
                raise DoesNotApply(f"{self.name}: wanted {old!r} once in {self.file}, got it {count} times")
            text = text.replace(old, new)
        return text

    def plant(self, root: Path) -> None:
        """Make the mistake in the copy of the project that is in this folder.

        Raises:
            DoesNotApply: old lines are not there exactly once.
        """
        path = root / self.file
        path.write_text(self.planted(path.read_text(encoding="utf-8")), encoding="utf-8")


Rows = TypeVar("Rows")


def read(path: Path, rows: type[Rows]) -> Rows:
    """Return the rows of a file.

    Raises:
        ValueError: a row lacks a key, has one that is not known, or its change is none.
    """
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=rows)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path.relative_to(MISTAKES)}: {error}") from None


BY_SUBJECT = {path.stem: read(path, tuple[Mutant, ...]) for path in sorted(MISTAKES.glob("*.yaml"))}
OF_TESTS = BY_SUBJECT.pop("tests-alone")
"""Those that the hunt leaves out when no names are given, as nothing that it runs gets to them."""

MUTANTS = tuple(mutant for mutants in BY_SUBJECT.values() for mutant in mutants)
STRANGERS = {path.stem: read(path, dict[str, tuple[Mutant, ...]]) for path in sorted(MISTAKES.glob("strangers/*.yaml"))}
"""The mistakes of authors who have not seen what is to find them: of each stranger by area."""
