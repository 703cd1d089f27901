"""The message sequence chart of one notification: lifelines from left to right, messages from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from markupsafe import Markup

from actors.formatting import counted
from actors.instants import NS_PER_S
from simulation.reporting.html.drawing import element
from simulation.reporting.html.messages import DEAD_LETTERS, Message, Parts
from simulation.reporting.html.words import clock, plain_duration
from simulation.reporting.plots.text import POINTS_PER_INCH, cut, drawable, wrap

HEAD, TAIL = 13, 9
"""The messages at the beginning and at the end that are drawn, where there are more than both together."""

# All in CSS pixels.
GUTTER, LANE, MARGIN = 80, 98, 44
TOP, LINE, ROW, REST, LEFT_OUT, BOTTOM = 50, 14, 30, 20, 40, 16
ARROW, TEXT, PIXELS_PER_INCH = 7, 12, 96


class _Layout:
    def __init__(self, parts: Parts) -> None:
        self.x = {key: GUTTER + MARGIN + LANE * number for number, key in enumerate(parts.names)}
        self.width = GUTTER + 2 * MARGIN + LANE * (len(parts.names) - 1)
        self.names = parts.names


def sequence_chart(messages: Sequence[Message], parts: Parts, label_id: str, list_id: str) -> Markup:
    """Return the chart as SVG. Its text alternative is the list of steps, which stands beside it.

    Args:
        messages: in order of time.
        parts: the lifelines.
        label_id: the id of the title of the chart.
        list_id: the id of the list with the chart's contents in words.
    """
    layout = _Layout(parts)
    drawn: list[Markup] = []
    y = float(TOP)
    if len(messages) > HEAD + TAIL + 1:
        head, middle, tail = messages[:HEAD], messages[HEAD:-TAIL], messages[-TAIL:]
        y = _draw_messages(drawn, layout, head, y)
        drawn.extend(_left_out(layout, y, middle, tail[0].at_ns - head[-1].at_ns))
        y = _draw_messages(drawn, layout, tail, y + LEFT_OUT)
    else:
        y = _draw_messages(drawn, layout, messages, y)
    height = y + BOTTOM
    title = f"Messages between {', '.join(parts.names.values())}"
    return element(
        "svg",
        element("title", f"{title}: {counted(len(messages), 'message')}, in the order of time", id=label_id),
        *_lifelines(layout, height),
        *drawn,
        class_="sequence",
        role="img",
        aria_labelledby=label_id,
        aria_describedby=list_id,
        viewBox=f"0 0 {layout.width} {height:.0f}",
        width=layout.width,
        height=round(height),
    )


def _lifelines(layout: _Layout, height: float) -> Iterator[Markup]:
    for key, name in layout.names.items():
        x = layout.x[key]
        yield element("line", x1=x, x2=x, y1=TOP, y2=height - BOTTOM / 2, class_="lifeline")
        for number, line in enumerate(reversed(_heading(name))):
            yield element("text", line, x=x, y=TOP - 8 - LINE * number, class_="part", text_anchor="middle")


def _heading(name: str) -> list[str]:
    """Return the name of a part in two lines at most: one that is too long by its beginning and its end, as it is the
    end in which names mostly differ."""
    room, size = (LANE - 8) / PIXELS_PER_INCH, TEXT / PIXELS_PER_INCH * POINTS_PER_INCH
    lines = wrap(name, room, size, 2, "bold")
    if "".join(lines).replace(" ", "") == drawable(name).replace(" ", ""):
        return lines
    shown = drawable(name)
    return [cut(shown, room, size, "bold"), cut(shown[::-1], room, size, "bold")[::-1]]


def _draw_messages(drawn: list[Markup], layout: _Layout, messages: Sequence[Message], y: float) -> float:
    """Append the drawings of messages from `y` on, and return where they end."""
    shown_ns = None
    for number, message in enumerate(messages):
        y += ROW
        if message.at_ns != shown_ns:
            at = clock(message.at_ns)
            drawn.append(element("text", at, x=GUTTER - 4, y=y + 4, class_="time", text_anchor="end"))
            shown_ns = message.at_ns
        rest_ns = messages[number + 1].at_ns - message.at_ns if number + 1 < len(messages) else 0
        if message.then is not None and rest_ns:
            drawn.append(_rest(layout, message, y, rest_ns))
            drawn.append(_message(layout, message, y))
            y += REST
        else:
            drawn.append(_message(layout, message, y))
    return y


def _rest(layout: _Layout, message: Message, y: float, rest_ns: int) -> Markup:
    assert message.then is not None
    part, spent = message.then
    x = layout.x[part]
    to_left = part == DEAD_LETTERS
    return element(
        "g",
        element("line", x1=x, x2=x, y1=y, y2=y + REST + ROW, class_="rest"),
        element(
            "text",
            plain_duration(rest_ns / NS_PER_S),
            x=x - 10 if to_left else x + 10,
            y=y + REST + 2,
            class_="lasting",
            text_anchor="end" if to_left else "start",
        ),
        class_=f"spent-{spent.name.lower().replace('_', '-')}",
    )


def _message(layout: _Layout, message: Message, y: float) -> Markup:
    xs = [layout.x[part] for part in message.path]
    class_ = " ".join(["message", message.kind, "answer" if message.answers else ""]).strip()
    if len(xs) == 1:
        own = element("path", d=f"M{xs[0] - 5} {y - 5:.0f}h10v10h-10z", class_="own")
        return element("g", own, _text(layout, message.text, xs[0] + 6, y + 10), class_=class_)
    hops = [_hop(start, end, y) for start, end in pairwise(xs)]
    return element("g", *hops, _text(layout, message.text, min(xs), y), class_=class_)


def _hop(start: int, end: int, y: float) -> Markup:
    back = -ARROW if end > start else ARROW
    return element(
        "g",
        element("line", x1=start, x2=end, y1=y, y2=y, class_="way"),
        element("path", d=f"M{end} {y:.0f}l{back} -4v8z", class_="tip"),
    )


def _text(layout: _Layout, text: str, x: float, y: float) -> Markup:
    room = layout.width - x - 12
    return element("text", _fitting(text, room, TEXT), x=x + 8, y=y - 5, class_="said")


def _left_out(layout: _Layout, y: float, left_out: Sequence[Message], over_ns: int) -> Iterator[Markup]:
    said = f"{counted(len(left_out), 'message')} left out here, over {plain_duration(over_ns / NS_PER_S)}"
    middle = y + LEFT_OUT / 2 + 8
    yield element("rect", x=0, y=middle - 12, width=layout.width, height=24, class_="gap")
    yield element("text", said, x=layout.width / 2, y=middle + 4, class_="cut", text_anchor="middle")


def _fitting(text: str, room: float, size: float) -> str:
    """Return as much of a text as has room; measured in a wide font, as the reader's is not known."""
    return cut(drawable(text), room / PIXELS_PER_INCH, size / PIXELS_PER_INCH * POINTS_PER_INCH)
