"""Where the time of a notification went, as a strip from left to right, its attempts marked below."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from markupsafe import Markup

from actors.formatting import counted
from actors.instants import NS_PER_S
from actors.messages import NotificationFailed, NotificationSent
from simulation.reporting.html.course import Span, totals
from simulation.reporting.html.drawing import element
from simulation.reporting.html.messages import Spent
from simulation.reporting.html.words import plain_duration
from simulation.sheets import share_text

WIDTH, BAR, MARKS, EDGE = 480, 15, 12, 5
"""In CSS pixels; it is drawn as wide as there is room."""


def time_strip(spans: Sequence[Span], events: Sequence[Any], label_id: str) -> Markup:
    """Return the strip as SVG; its text alternative says how long each part took."""
    from_ns, to_ns = spans[0].from_ns, spans[-1].to_ns

    def x(at_ns: int) -> float:
        return EDGE + (WIDTH - 2 * EDGE) * (at_ns - from_ns) / (to_ns - from_ns)

    return element(
        "svg",
        element("title", _in_words(spans), id=label_id),
        *_bars(spans, x),
        *_marks(events, x, from_ns, to_ns),
        class_="strip",
        role="img",
        aria_labelledby=label_id,
        viewBox=f"0 0 {WIDTH} {BAR + MARKS}",
    )


def _bars(spans: Sequence[Span], x: Callable[[int], float]) -> Iterator[Markup]:
    last_x, drawn_spent = -1.0, None
    for span in spans:
        left, right = x(span.from_ns), x(span.to_ns)
        if right - left < 0.5 and left - last_x < 0.5 and drawn_spent is not None:
            continue
        last_x, drawn_spent = right, span.spent
        yield element(
            "rect",
            x=left,
            y=0,
            width=max(right - left, 0.8),
            height=BAR,
            class_=spent_class(span.spent),
        )


def spent_class(spent: Spent) -> str:
    return f"bar spent-{spent.name.lower().replace('_', '-')}"


def _marks(events: Sequence[Any], x: Callable[[int], float], from_ns: int, to_ns: int) -> Iterator[Markup]:
    taken: set[tuple[int, bool]] = set()
    y = BAR + MARKS / 2 + 1
    for event in events:
        if not isinstance(event, (NotificationSent, NotificationFailed)) or not from_ns <= event.at_ns <= to_ns:
            continue
        sent = isinstance(event, NotificationSent)
        at = x(event.at_ns)
        if (round(at), sent) in taken:
            continue
        taken.add((round(at), sent))
        if sent:
            yield element("circle", cx=at, cy=y, r=3.8, class_="mark fine")
        else:
            yield element("path", d=f"M{at - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6", class_="mark bad")


def _in_words(spans: Sequence[Span]) -> str:
    whole_ns = spans[-1].to_ns - spans[0].from_ns
    said = [
        f"{plain_duration(total_ns / NS_PER_S)} ({share_text(total_ns / whole_ns)}) {spent}"
        for spent, total_ns in totals(spans).items()
    ]
    return (
        f"Where the {plain_duration(whole_ns / NS_PER_S)} went, in {counted(len(spans), 'stretch', 'stretches')}: "
        + (", ".join(said))
    )
