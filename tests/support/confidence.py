"""Whether the mean of independent replicates is what a formula says, with a bound on false alarms."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

from simulation.results.statistics import student_t


def check_mean(samples: Sequence[float], truth: float, *, within: float) -> None:
    """Check that the 99.9% confidence interval of a mean holds the truth, and is narrow enough to say something.

    Args:
        samples: one number of each replicate.
        truth: what their mean should be.
        within: how wide half the interval may be, as a share of the truth.
    """
    half_width = student_t(0.9995, len(samples) - 1) * stdev(samples) / sqrt(len(samples))
    assert abs(fmean(samples) - truth) <= half_width, f"{fmean(samples)} ± {half_width} is not {truth}"
    assert half_width <= within * truth, f"± {half_width} is too wide to say anything about {truth}"
