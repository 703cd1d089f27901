"""How durations, instants and shares are written on the page: short, with the exact value in a title."""

from __future__ import annotations

import math
from decimal import Decimal

from markupsafe import Markup, escape

from actors.formatting import instant_text
from actors.instants import NS_PER_S
from simulation.results.formatting import NOTHING, duration_text
from simulation.sheets import Cell, Kind, cell_text

LONG = 120
"""More characters of a user's text are not shown in a table or in a sentence."""


def count(value: float) -> str:
    return f"{value:,.0f}"


def shortened(text: str) -> str:
    """Return a user's text, or its beginning and an ellipsis where it is long."""
    return text if len(text) <= LONG else f"{text[:LONG].rstrip()}…"


def quoted(text: str) -> str | Markup:
    """Return a user's text, shortened, with all of it in a title then."""
    short = shortened(text)
    return text if short == text else _titled(short, text)


def exact_seconds(nanoseconds: int) -> str:
    """Return a number of nanoseconds in seconds, with all digits: ``181.402 s``."""
    return f"{(Decimal(nanoseconds) / NS_PER_S).normalize():,f} s"


def duration(seconds: float | None) -> Markup:
    """Return a duration in a unit that suits it; where that is rounded, in seconds in its title."""
    if seconds is None:
        return Markup(NOTHING)
    text, exact = plain_duration(seconds), exact_seconds(round(seconds * NS_PER_S))
    return Markup("{}").format(text) if text.replace("\N{NO-BREAK SPACE}", " ") == exact else _titled(text, exact)


def plain_duration(seconds: float) -> str:
    return duration_text(seconds).replace(" ", "\N{NO-BREAK SPACE}")


def instant(nanoseconds: int) -> Markup:
    """Return an instant of the run, as a clock that was started with it shows it; to the nanosecond in its title."""
    return _titled(clock(nanoseconds), exact_seconds(nanoseconds))


def clock(nanoseconds: int) -> str:
    """Return an instant of the run to the millisecond: ``2:05.250``, ``1:02:05.250``, ``3 d 1:02:05.250``."""
    return instant_text(nanoseconds / NS_PER_S, 3)


def cell(value: Cell, kind: Kind) -> str | Markup:
    """Return a cell of a sheet; where it is a time, with the exact one in its title."""
    if isinstance(value, (int, float)) and math.isfinite(value):
        if kind is Kind.DURATION:
            return duration(value)
        if kind is Kind.INSTANT:
            return instant(round(value * NS_PER_S))
    return value if isinstance(value, Markup) else cell_text(value, kind)


def _titled(text: str, exact: str) -> Markup:
    return Markup(f'<span title="{escape(exact)}">{escape(text)}</span>')
