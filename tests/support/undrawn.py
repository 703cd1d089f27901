"""Results that are saved without their pictures, which take a second each: for tests of the other files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock


class _Undrawn:
    """Stands for the picture of a run at which no one looks."""

    def savefig(self, path: Path) -> None:
        path.touch()


@contextmanager
def undrawn(words: bool = False) -> Iterator[None]:
    """Save results with an empty picture and an empty report, or with one of words without figures."""
    overview = mock.patch("simulation.reporting.plots.overview", return_value=_Undrawn())
    figures = mock.patch("simulation.reporting.html.page.figures", return_value=[])
    report = mock.patch("simulation.reporting.html.report", return_value="")
    with overview, figures if words else report:
        yield
