"""One column of numbers out of a CSV file, as people export it.

A scenario may name any file that its reader may read, and its author need not be the person who runs it. So no problem
shows any content of the file: it names the place, the wanted value, and the kind of value found.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from actors.formatting import counted
from actors.settings.quantities import Text, wanted
from actors.settings.whole_file import read_whole

BYTES_MAX = 64 * 2**20
"""The most bytes of a data file."""

COLUMNS_MAX = 10_000
"""The most columns of a row."""


def _resolve(file: str, info: ValidationInfo) -> str:
    return str(Path((info.context or {}).get("directory", ""), file).absolute())


DataFile = Annotated[Text, AfterValidator(_resolve)]
"""The path of a file; in a settings file it is relative to that file. Read, it is absolute."""


def read_numbers(path: Path, choose: Callable[[list[str]], int | None], what: str) -> list[tuple[int, float]]:
    """Return the finite numbers of one column, each with the number of its line in the file.

    Blank lines are passed over. The first line is the header, unless the file has a single column and starts with a
    number. `choose` picks the column's index from the header; where it returns None, the problem names `what`.

    Raises:
        PydanticCustomError: the file cannot be read or has no such numbers; names the wanted value and the place.
    """
    reader = csv.reader(bounded_lines(io.StringIO(_read.get()(path), newline="")))
    numbers: list[tuple[int, float]] = []
    column: int | None = None
    try:
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if column is None:
                if len(row) != 1 or _number(row[0]) is None:
                    column = choose([name.strip() for name in row])
                    if column is None:
                        raise wanted(f"{what} in {path.name}", f"a header of {counted(len(row), 'other column')}")
                    continue
                column = 0
            cell = row[column] if column < len(row) else ""
            value = _number(cell)
            if value is None:
                place = f"line {reader.line_num}, column {column + 1} of {path.name}"
                raise wanted(f"a number in {place}", "text" if cell.strip() else "nothing")
            numbers.append((reader.line_num, value))
    except csv.Error as error:
        raise wanted(f"a CSV file, {path.name} is none", f"line {reader.line_num + 1}: {error}") from None
    if not numbers:
        raise wanted(f"at least one number in {path.name}", "none")
    return numbers


def bounded_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a CSV file; a line of more than COLUMNS_MAX columns raises a csv.Error."""
    for line in lines:
        if line.count(",") >= COLUMNS_MAX:
            raise csv.Error(f"more than {COLUMNS_MAX:,} columns")
        yield line


def read_file(path: Path) -> str:
    """Return the text in a data file, or raise the problem: it cannot be read, is too long or not in UTF-8."""
    try:
        content = read_whole(path, BYTES_MAX)
    except FileNotFoundError:
        raise wanted("a CSV file that exists") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise wanted(f"a CSV file that can be read ({reason[:1].lower()}{reason[1:]})") from None
    if len(content) > BYTES_MAX:
        raise wanted(f"a CSV file of at most {BYTES_MAX >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise wanted("a CSV file in UTF-8") from None


_read: ContextVar[Callable[[Path], str]] = ContextVar("read", default=read_file)


@contextmanager
def reading_by(read: Callable[[Path], str]) -> Iterator[None]:
    """Inside the ``with`` block, have `read` give the text of data files, in place of :func:`read_file`."""
    token = _read.set(read)
    try:
        yield
    finally:
        _read.reset(token)


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
