"""How instants, durations and numbers are written for people."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from markupsafe import Markup

from actors.channel_names import EveryChannel
from actors.formatting import plain_number
from actors.settings.faults import Change, FaultConfig

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def sentence(problem: str) -> str:
    return f"{problem[:1].upper()}{problem[1:]}."


def percent(share: float) -> str:
    """Return a share between 0 and 1 as a percentage; less than the whole is never called 100%."""
    if 0.995 <= share < 1:
        return f"{math.floor(share * 10_000) / 100:.2f}%"
    return "<1%" if 0 < share < 0.01 else f"{share * 100:.0f}%"


def duration(seconds: float) -> str:
    """Return how long something takes, to two or three significant digits: ``3 min 12 s``, ``1.25 s``, ``80 ms``."""
    if seconds < 0:
        return f"−{duration(-seconds)}"
    if float(f"{seconds * 1000:.3g}") < 1000:
        return f"{seconds * 1000:.3g} ms" if seconds else "0 s"
    if seconds < 10:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for (size, name), (next_size, next_name) in zip(_UNITS, (*_UNITS[1:], (0, "")), strict=True):
        if whole >= size:
            count, rest = divmod(whole, size)
            further = rest // next_size if next_size else 0
            return f"{count} {name} {further} {next_name}" if further else f"{count} {name}"
    raise AssertionError("ten seconds are at least one second")


def ago(instant: datetime, now: datetime) -> str:
    """Return how long ago an instant was, or how soon it comes: ``3 min ago``, ``in 20 s``."""
    seconds = (now - instant).total_seconds()
    whole = _coarse(abs(seconds))
    if whole == "0 s":
        return "now"
    return f"{whole} ago" if seconds > 0 else f"in {whole}"


def _coarse(seconds: float) -> str:
    for size, name in _UNITS:
        if round(seconds) >= size:
            return f"{round(seconds) // size} {name}"
    return "0 s"


def clock(instant: datetime, now: datetime, *, precise: bool = False) -> Markup:
    """Return an instant in UTC as a ``time`` element: the time of day, with the date where that is not today's."""
    instant = instant.astimezone(UTC)
    text = f"{instant:%H:%M:%S}"
    if precise:
        text += f".{instant.microsecond // 1000:03d}"
    if instant.date() != now.date():
        date = f"{instant.day} {instant:%b}" if instant.year == now.year else f"{instant.day} {instant:%b %Y}"
        text = f"{date}, {text}"
    return Markup('<time datetime="{}">{}</time>').format(instant.isoformat(timespec="milliseconds"), text)


def fault(config: FaultConfig) -> str:
    """Describe a fault: ``email: failure rate 60%, for 3 min``."""
    where = "all channels" if isinstance(config.channel, EveryChannel) else ", ".join(config.channel)
    if config.provider is not None:
        where += f"/{config.provider}"
    if config.host is not None:
        where += f" at {', '.join(config.host)}"
    said = []
    for key in sorted(config.injects):
        value = getattr(config, key)
        name = key.replace("_", " ")
        if isinstance(value, Change):
            say = percent if key.endswith("_rate") else plain_number
            name += f" from {say(value.from_)} to {say(value.to)} over {duration(value.over)}"
        elif key.endswith("_rate"):
            name += f" {percent(value)}"
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            name += f" {plain_number(value, 6)}"
        said.append(name)
    if config.at:
        said.append(f"from {duration(config.at)} after it was set")
    if config.for_ is not None:
        said.append(f"for {duration(config.for_)}")
    return f"{where}: {', '.join(said)}"
