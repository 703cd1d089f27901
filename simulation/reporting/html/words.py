"""How durations, instants and shares are written on the page: short, with the exact value in a title."""

from __future__ import annotations

from decimal import Decimal

from markupsafe import Markup, escape

from actors.instants import NS_PER_S
from simulation.results.formatting import NOTHING, duration_text

_DAY_S, _HOUR_S = 86_400, 3600

LONG = 120
"""More characters of a user's text are not shown in a table or in a sentence."""


def count(value: float) -> str:
    """Return a count with its thousands set apart."""
    return f"{value:,.0f}"


def shortened(text: str) -> str:
    """Return a user's text, or its beginning and an ellipsis where it is long."""
    return text if len(text) <= LONG else f"{text[:LONG].rstrip()}…"


def quoted(text: str) -> str | Markup:
    """Return a user's text, shortened, with all of it in a title then."""
    short = shortened(text)
    return text if short == text else _titled(short, text)


def percent(share: float | None) -> str:
    """Return a share in percent; less than all is never shown as 100%, nor more than none as 0%."""
    if share is None:
        return NOTHING
    if 0.9995 <= share < 1:
        return ">99.9%"
    return "<0.1%" if 0 < share < 0.0005 else f"{share * 100:.1f}".removesuffix(".0") + "%"


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
    """Return a duration without a title, for a drawing or an attribute."""
    return duration_text(seconds).replace(" ", "\N{NO-BREAK SPACE}")


def instant(nanoseconds: int) -> Markup:
    """Return an instant of the run, as a clock that was started with it shows it; to the nanosecond in its title."""
    return _titled(clock(nanoseconds), exact_seconds(nanoseconds))


def clock(nanoseconds: int) -> str:
    """Return an instant of the run to the millisecond: ``2:05.250``, ``1:02:05.250``, ``3 d 1:02:05.250``."""
    milliseconds = round(nanoseconds / 1_000_000)
    seconds, milliseconds = divmod(milliseconds, 1000)
    days, seconds = divmod(seconds, _DAY_S)
    hours, seconds = divmod(seconds, _HOUR_S)
    tail = f"{seconds % 60:02d}.{milliseconds:03d}"
    if days or hours:
        day = f"{days}\N{NO-BREAK SPACE}d\N{NO-BREAK SPACE}" if days else ""
        return f"{day}{hours}:{seconds // 60:02d}:{tail}"
    return f"{seconds // 60}:{tail}"


def _titled(text: str, exact: str) -> Markup:
    return Markup(f'<span title="{escape(exact)}">{escape(text)}</span>')
