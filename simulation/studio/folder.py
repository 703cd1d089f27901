"""The folder that studio works in: its scenarios, the files that may be read and written, and texts in links."""

from __future__ import annotations

import base64
import hashlib
import zlib
from pathlib import Path
from typing import Any

from actors.errors import ConfigurationError
from actors.instants import NS_PER_S
from actors.settings.yaml_tree import CHARACTERS_MAX
from simulation.reporting.fault_windows import windows
from simulation.results.files import whole_file
from simulation.results.formatting import duration_text
from simulation.scenario import parse
from simulation.scenario.loading import text_at
from simulation.studio.checking import problem_of
from simulation.studio.saved import TRACES, digest_kept, read_as, saved_text

BYTES_MAX = 4 * CHARACTERS_MAX
"""Of a text in a link."""

FILES_MAX = 500
ENDINGS = (".yaml", ".yml")
"""The endings of files that can be written; traces can only be read."""


class Refused(Exception):
    """A file may not be read or written; the text says why."""


class Folder:
    """A folder of scenarios and traces, or a single one of its files."""

    def __init__(self, path: Path) -> None:
        """Work in a folder, or with the one file that is given.

        Raises:
            ConfigurationError: there is no such file or folder.
        """
        self.path = path if path.is_dir() else path.parent
        self.only = None if path.is_dir() else path.name
        if self.only is not None:
            saved_text(path)  # says why it cannot be read

    def names(self) -> list[str]:
        if self.only is not None:
            return [self.only]
        endings = (*ENDINGS, *TRACES)
        files = (path for path in self.path.rglob("*") if path.name.endswith(endings) and path.is_file())
        found = [path.relative_to(self.path) for path in files]
        shown = [path for path in found if not any(part.startswith(".") for part in path.parts)]
        return [str(path) for path in sorted(shown, key=lambda path: (len(path.parts), path))[:FILES_MAX]]

    def file(self, name: str, *, endings: tuple[str, ...] = (*ENDINGS, *TRACES)) -> Path:
        """Return the path of a scenario, or of a trace.

        Raises:
            Refused: it would be outside of the folder or hidden in it, or its name ends in another way.
        """
        path = self.path / name
        if not name or not name.isprintable() or not name.endswith(endings):
            raise Refused(f"{name!r}: wanted a name that ends in {endings[0]}")
        if name != self.only and any(part.startswith(".") for part in Path(name).parts):
            raise Refused(f"{name!r}: wanted a name that begins with no dot, nor any of its folders")
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise Refused(f"{name!r} is not in the folder that studio was opened with")
        return path

    def read(self, name: str) -> dict[str, str]:
        """Return the `text` of a scenario, and its `version`, to be given back when it is written.

        Raises:
            ConfigurationError: it cannot be read.
            Refused: it is none of this folder.
        """
        text = saved_text(self.file(name))
        return {"text": text, "version": _version(text)}

    def write(self, name: str, text: str, version: str | None) -> dict[str, str]:
        """Write a scenario, whole or not at all, and return its new `version`.

        Args:
            name: its path in the folder.
            text: the text of the file.
            version: the version that it replaces; None: a new file.

        Raises:
            OSError: it cannot be written.
            Refused: the path is outside of this folder, the file exists already, or it has changed meanwhile.
        """
        path = self.file(name, endings=ENDINGS)
        if any(
            each.is_symlink() for each in (path, *path.parents) if each.is_relative_to(self.path) and each != self.path
        ):
            raise Refused(f"{name!r}: wanted a file of the folder, got a link")
        if path.exists():
            if version is None:
                raise Refused(f"There is a {name} already. Save under another name.")
            try:
                there = _version(text_at(path))
            except ConfigurationError as error:
                raise Refused(error.problems[0]) from None
            if there != version:
                raise Refused(f"{name} has changed since it was opened here. Save under another name.")
        with whole_file(path) as file:
            file.write(text.encode())
        return {"version": _version(text)}

    def overview(self) -> list[dict[str, Any]]:
        """Return the entry of each file in the gallery: its `name`, `title`, first `sentence`, the `faults` with their
        spans as shares of the run, its `problem`, and whether a run of it `is_saved`. Files that are no scenarios are
        left out."""
        return [each for name in self.names() if (each := self._of(name)) is not None]

    def _of(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        try:
            text = saved_text(self.file(name))
            if "workload" not in text:
                return None
            with read_as(str(path)) as filename:
                scenario = parse(text, filename)
        except Refused:
            return None  # a link that leads out of the folder
        except ConfigurationError as error:
            return {"name": name, "title": name, "problem": problem_of(error.problems[0], str(path))}
        end_s = scenario.arrivals_end_ns / NS_PER_S
        sentence, full_stop, _ = " ".join(scenario.description.split()).partition(". ")
        return {
            "name": name,
            "title": scenario.name,
            "problem": None,
            "is_saved": digest_kept(path, text) is not None,
            "sentence": sentence + full_stop.strip(),
            "duration": duration_text(end_s),
            "channels": [channel.value for channel in scenario.channels_used],
            "faults": [
                {"text": window.text, "spans": [(start / end_s, stop / end_s) for start, stop in window.spans]}
                for window in windows(scenario, end_s)
                if not window.quiet
            ],
            "expectations": len(scenario.expect),
        }


def _version(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def packed(text: str) -> str:
    """Return a text in the letters, digits and marks that an address may have."""
    return base64.urlsafe_b64encode(zlib.compress(text.encode())).decode().rstrip("=")


def unpacked(code: str) -> str:
    """Return the text that was packed.

    Raises:
        Refused: it was not, or is longer than a scenario may be.
    """
    try:
        reader = zlib.decompressobj()
        text = reader.decompress(base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)), BYTES_MAX)
        if reader.eof:
            return text.decode()
    except (ValueError, zlib.error):
        pass
    raise Refused("The link is broken: its text cannot be read.")
