"""Retrylab against theory and published results: the cases behind ``retrylab validate``, and how to try others.

::

    import simulation
    from simulation.validation import text

    print(text(simulation.validate()))                            # all cases, quickly
    print(text(simulation.validate(["mm-c", "pipeline"], full=True, workers=2)))

Each module of :mod:`simulation.verification.cases.families` is a family of cases. Its ``CASES`` is the table of them,
with the parameters of each experiment; a function makes the experiment, and computes the targets by the formula of the
source.

For what a quick validation (``full=False``) makes of `within`, and what :attr:`Experiment.full_only` leaves out, see
:func:`validate`; for what is in ``result.summary`` see the output of ``retrylab run --json``.

And a case of yours is a scenario (or anything else that uses the public API), what is measured in one run of it,
and what that should be::

    from simulation.validation import Case, Experiment, Mean, scenario, text

    def measured(result):
        return {"retries for each": result.summary["retries"] / result.summary["accepted"]}

    described = '''
    duration: 200s
    workload: [{channel: sms, arrivals: {poisson: 10/s}}]
    channels: {sms: {circuit_breaker: {enabled: false}, provider: {failure_rate: 20%}, retry: {max_attempts: 2}}}
    '''
    experiment = Experiment(
        name="p=0.2 N=2",
        replicate=scenario(described, measured),
        quantities=[Mean(name="retries for each", target=0.2, within=0.01)],
    )
    case = Case(name="one-retry", title="One retry", source="by hand", model="…", experiments=[experiment])
    print(text(simulation.validate([case])))
"""

from simulation.verification.cases.case import Case, Experiment, scenario
from simulation.verification.cases.printing import document, markdown, text
from simulation.verification.cases.procedure import CaseResult, Measured, Validation, validate
from simulation.verification.cases.quantities import (
    AtMost,
    Between,
    Exactly,
    Finding,
    Follows,
    Frequencies,
    Mean,
    Quantity,
    Spread,
    Variance,
    Verdict,
)

__all__ = [
    "AtMost",
    "Between",
    "Case",
    "CaseResult",
    "Exactly",
    "Experiment",
    "Finding",
    "Follows",
    "Frequencies",
    "Mean",
    "Measured",
    "Quantity",
    "Spread",
    "Validation",
    "Variance",
    "Verdict",
    "document",
    "markdown",
    "scenario",
    "text",
    "validate",
]
