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
def undrawn() -> Iterator[None]:
    """Save results with an empty picture and an empty report."""
    overview = mock.patch("simulation.reporting.plots.overview", return_value=_Undrawn())
    report = mock.patch("simulation.reporting.save.report", return_value="")
    with overview, report:
        yield
