"""The page: its contents, put into its template."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from markupsafe import Markup

from simulation.reporting.facts import facts
from simulation.reporting.html.expectations import expectation_results, overall
from simulation.reporting.html.figures import figures
from simulation.reporting.html.happenings import broken, happenings
from simulation.reporting.html.letters import letters, linked
from simulation.reporting.html.notifications import worst_notifications
from simulation.reporting.html.rendering import environment
from simulation.reporting.html.reproduce import reproduction
from simulation.reporting.html.tables import tables, tiles
from simulation.reporting.html.worst import RULES
from simulation.reporting.plots.bounds import has_bars
from simulation.scenario.writing import write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulation.results.result import Result


def report(result: Result, *, overview: Figure | None = None) -> str:
    """Return the report of a run as one page of HTML, without network or script.

    Args:
        result: of the run.
        overview: the figure of :func:`simulation.reporting.plots.overview`, where it has been drawn already.
    """
    found, broke = expectation_results(result), broken(result)
    worst = worst_notifications(result, broke)
    keys = {each.notification_id: each.key for each in worst}
    page = (
        environment()
        .get_template("report.html")
        .render(
            css=Markup(files(__package__).joinpath("report.css").read_text(encoding="utf-8")),
            scenario=result.scenario,
            summary=result.summary,
            overall=overall(found),
            expectations=found,
            limits=[f"{name} {bound}" for name, bound in result.scenario.limits.items()],
            warnings=_warnings(result),
            tiles=tiles(result),
            facts=facts(result),
            tables=tables(result),
            broken=[
                (each, [linked(one, keys) for one in each.breach.ids]) for each in broke if each.breach is not None
            ],
            bars=has_bars(result),
            happenings=happenings(result, broke),
            letters=letters(result, keys),
            figures=figures(result, overview, keys),
            worst=worst,
            rules=RULES,
            keeps_rows=result.scenario.record == "full",
            yaml=write(result.scenario),
            reproduction=reproduction(result),
        )
    )
    # What UTF-8 cannot hold is half a character, out of an escape in a file.
    return page.encode("utf-8", "replace").decode("utf-8")


def _warnings(result: Result) -> list[str]:
    if not result.warnings or result.origin.file is None:
        return result.warnings
    from simulation.scenario.lint import lint_scenario, located

    return located(lint_scenario(result.scenario), result.origin.file, result.origin.sets)
