"""What a mutant is: a mistake that people really make, as an exact change of one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class DoesNotApply(ValueError):
    """The text that a mutant changes is not in its file, or is there more than once."""


@dataclass(frozen=True)
class Mutant:
    """A copy of the product with one mistake in it."""

    name: str
    """A few words with hyphens."""

    file: str
    """Where it is planted, from the project's root."""

    mistake: str
    """The mistake in a sentence: what its author has in mind, or has not."""

    changes: tuple[tuple[str, str], ...]
    """Old text and new text; the old one is in the file exactly once."""

    expected: str
    """What is expected to find it: an invariant by its name; ``expectations``, those of a scenario; ``reopened``, a
    store on disk that has to say what one in memory does; or ``others_go_on``, those that wait for a suspect."""

    def planted(self, text: str) -> str:
        """Return the text of its file with the mistake in it.

        Raises:
            DoesNotApply: an old text is not there exactly once.
        """
        for old, new in self.changes:
            if (count := text.count(old)) != 1:
                raise DoesNotApply(f"{self.name}: wanted {old!r} once in {self.file}, got it {count} times")
            text = text.replace(old, new)
        return text

    def plant(self, root: Path) -> None:
        """Make the mistake in the copy of the project that is in this folder.

        Raises:
            DoesNotApply: an old text is not there exactly once.
        """
        path = root / self.file
        path.write_text(self.planted(path.read_text(encoding="utf-8")), encoding="utf-8")


def mutant(name: str, file: str, mistake: str, *changes: tuple[str, str], expected: str) -> Mutant:
    """Return a mutant, with its changes one after the other."""
    return Mutant(name, file, mistake, changes, expected)
