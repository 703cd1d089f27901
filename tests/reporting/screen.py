"""As much of a terminal as is needed to see what is left on it."""

import re

_PIECE = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """Understands what moves the cursor up, erases a line, and hides the cursor; breaks lines that become too long."""

    def __init__(self, width: int, height: int = 1000) -> None:
        self.width = width
        self.height = height
        self.rows = [""]
        self.cursor_is_seen = True
        self._row = 0
        self._column = 0

    def feed(self, text: str) -> None:
        for match in _PIECE.finditer(text):
            argument, command, control, plain = match.groups()
            if plain is not None:
                self._write(plain)
            elif control == "\r":
                self._column = 0
            elif control == "\n":
                self._row, self._column = self._row + 1, 0
                self.rows += [""] * (self._row + 1 - len(self.rows))
            elif command == "A":
                top = max(0, len(self.rows) - self.height)  # what is above has been scrolled out of reach
                self._row = max(top, self._row - int(argument or 1))
            elif (argument, command) == ("2", "K"):
                self.rows[self._row] = ""
            elif argument == "?25":
                self.cursor_is_seen = command == "h"
            else:
                assert command == "m", match.group()

    def _write(self, text: str) -> None:
        row = self.rows[self._row].ljust(self._column)
        assert self._column + len(text) <= self.width, f"{text!r} is too long for {self.width} columns"
        self.rows[self._row] = row[: self._column] + text + row[self._column + len(text) :]
        self._column += len(text)

    def resize(self, width: int) -> None:
        """Break the lines that are too long now, as terminals do."""
        broken: list[str] = []
        for number, row in enumerate(self.rows):
            broken += [row[start : start + width] for start in range(0, max(len(row), 1), width)]
            if number == self._row:
                row_of_cursor = len(broken) - 1
        self.width, self.rows, self._row = width, broken, row_of_cursor
        self._column = min(self._column, width)

    @property
    def text(self) -> str:
        """What is to be seen, without blanks at the ends."""
        return "\n".join(row.rstrip() for row in self.rows).rstrip()
