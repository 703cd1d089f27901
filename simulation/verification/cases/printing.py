"""The report of a validation: for a terminal, for a README, and as a plain document."""

from __future__ import annotations

from collections import Counter
from textwrap import wrap
from typing import Any

from simulation.verification.cases.case import Case
from simulation.verification.cases.procedure import CaseResult, Measured, Validation
from simulation.verification.cases.quantities import Verdict

WIDTH = 120

_SIGN = {Verdict.HOLDS: "holds", Verdict.DIFFERS: "DIFFERS", Verdict.TOO_WIDE: "TOO WIDE"}


def text(validation: Validation) -> str:
    return "\n\n".join([*map(case_text, validation.results), summary(validation)])


def case_text(result: CaseResult) -> str:
    """Return the report of one case: what it is, and a line for each quantity."""
    case = result.case
    about = [*wrap(case.model, WIDTH - 2), case.source, *([case.url] if case.url else [])]
    lines = [f"{case.name}  {case.title}", *(f"  {line}" for line in about)]
    rows = [
        (
            each.experiment.name,
            each.quantity.name,
            each.finding.expected,
            each.finding.measured,
            f"n={each.finding.replications:,}",
            _SIGN[each.finding.verdict],
        )
        for each in result.measured
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    before = ""
    for row in rows:
        shown = ("" if row[0] == before else row[0], *row[1:])
        before = row[0]
        cells = "  ".join(cell.ljust(width) for cell, width in zip(shown, widths, strict=True))
        lines.append(f"  {cells}".rstrip())
    return "\n".join(lines)


def summary(validation: Validation) -> str:
    """Return the last lines: how many hold, and how they were tested."""
    tested = (
        "± and … are the 99.9% interval over n independent replications; each quantity is tested at "
        f"{validation.alpha:.1g}, so that by chance alone one of them is wrong in one validation of a thousand"
    )
    return "\n".join([validation.headline, *wrap(tested, WIDTH)])


def listing(cases: list[Case]) -> str:
    width = max(len(case.name) for case in cases)
    return "\n".join(f"{case.name.ljust(width)}  {case.title} ({case.source})" for case in cases)


def markdown(validation: Validation, rows: int | None = None) -> str:
    """Return a table: a row a quantity, or so many of each case, from different experiments where there are several."""
    lines = ["| case | parameters | quantity | expected | measured, 99.9% | n | |", "|---|---|---|---|---|---|---|"]
    for result in validation.results:
        case = result.case
        shown = (
            f"**{case.name}** {case.title} ([{case.source}]({case.url}))"
            if case.url
            else (f"**{case.name}** {case.title} ({case.source})")
        )
        for each in _some(result, rows):
            cells = (
                shown,
                each.experiment.name,
                each.quantity.name,
                each.finding.expected,
                each.finding.measured,
                f"{each.finding.replications:,}",
                each.finding.verdict.value,
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
            shown = ""
    return "\n".join(lines)


def _some(result: CaseResult, rows: int | None) -> list[Measured]:
    if rows is None:
        return list(result.measured)
    places: Counter[str] = Counter()
    ranked = []
    for number, each in enumerate(result.measured):
        ranked.append((places[each.experiment.name], number, each))
        places[each.experiment.name] += 1
    chosen = sorted(ranked, key=lambda entry: entry[:2])[:rows]
    return [each for _, _, each in sorted(chosen, key=lambda entry: entry[1])]


def document(validation: Validation) -> dict[str, Any]:
    return {
        "holds": validation.holds,
        "seed": validation.seed,
        "full": validation.full,
        "alpha": validation.alpha,
        "left_out": validation.left_out,
        "cases": [
            {
                "name": result.case.name,
                "title": result.case.title,
                "source": result.case.source,
                "url": result.case.url,
                "model": result.case.model,
                "verdict": result.verdict.value,
                "quantities": [_quantity(each) for each in result.measured],
            }
            for result in validation.results
        ],
    }


def _quantity(each: Measured) -> dict[str, Any]:
    finding = each.finding
    target = getattr(each.quantity, "target", None)
    return {
        "experiment": each.experiment.name,
        "quantity": each.quantity.name,
        "because": each.quantity.because,
        "expected": target if target is not None else finding.expected,
        "measured": finding.value,
        "interval_99_9": finding.interval,
        "within": getattr(each.quantity, "within", None),
        "replications": finding.replications,
        "verdict": finding.verdict.value,
    }


def listing_document(cases: list[Case]) -> list[dict[str, Any]]:
    """Return what :func:`listing` says, and what each case is a model of and tries, as a plain list."""
    return [
        {
            "name": case.name,
            "title": case.title,
            "source": case.source,
            "url": case.url,
            "model": case.model,
            "experiments": [experiment.name for experiment in case.experiments],
        }
        for case in cases
    ]
