"""An explanation as a piece of HTML, for a notebook."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from simulation.experiments.explaining.parts import ChannelExplained, Sentence
from simulation.experiments.explaining.picture import picture
from simulation.experiments.explaining.words import LEGEND, Grid, grids, said_text
from simulation.reporting.plots.canvas import in_words, picture_bytes


def page(name: str, channels: Sequence[ChannelExplained]) -> str:
    """Return the HTML: text and tables of each channel, and one picture.

    Args:
        name: the scenario's.
        channels: of it.
    """
    figure = picture(name, channels)
    image = base64.b64encode(picture_bytes(figure, "png")).decode()
    parts = []
    for channel in channels:
        first, *others = grids(channel)
        parts += [
            f"<h3>{escape(name)}: {escape(channel.channel)}</h3>",
            _grid(first),
            _said(channel.in_words),
            *map(_grid, others),
            "<p><b>The breaker, and what it costs</b></p>",
            _said((*channel.breaker, *channel.cost)),
        ]
    alt = escape(in_words(figure), quote=True)
    return (
        f"<div>{''.join(parts)}<p><small>{escape(LEGEND)}</small></p>"
        f'<img style="max-width:100%" alt="{alt}" src="data:image/png;base64,{image}"></div>'
    )


def _said(said: Sequence[Sentence]) -> str:
    return f"<p>{' '.join(escape(said_text(each)) for each in said)}</p>" if said else ""


def _grid(grid: Grid) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in grid.headings)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in grid.rows)
    note = f"<p><small>{escape(grid.note)}</small></p>" if grid.note else ""
    return f"<p><b>{escape(grid.title)}</b></p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"
