"""The observed information: how sharply a likelihood is peaked, and so how well its parameters are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from simulation.fitting.log import Floats

Likelihood: TypeAlias = Callable[[Floats], float]
"""The logarithm of a likelihood, of parameters without bounds."""


def covariance_at(likelihood: Likelihood, theta: Floats, steps: Floats | None = None) -> Floats | None:
    """Return the inverse of the observed information, by central differences; None where it is not at a maximum.

    Args:
        likelihood: Its logarithm.
        theta: Where it has its maximum.
        steps: Some tenths of the standard errors, if they are known about.
    """
    size = len(theta)
    steps = np.full(size, 1e-3) if steps is None else steps
    scale = _curvature_steps(likelihood, theta, steps)
    hessian = np.empty((size, size))
    middle = likelihood(theta)
    for i in range(size):
        for j in range(i, size):
            e_i, e_j = np.eye(size)[i] * scale[i], np.eye(size)[j] * scale[j]
            if i == j:
                value = likelihood(theta + e_i) - 2.0 * middle + likelihood(theta - e_i)
            else:
                value = (
                    likelihood(theta + e_i + e_j)
                    - likelihood(theta + e_i - e_j)
                    - likelihood(theta - e_i + e_j)
                    + likelihood(theta - e_i - e_j)
                ) / 4.0
            hessian[i, j] = hessian[j, i] = value / (scale[i] * scale[j])
    try:
        covariance: Floats = np.asarray(np.linalg.inv(-hessian), dtype=np.float64)
    except np.linalg.LinAlgError:
        return None
    return covariance if np.all(np.isfinite(covariance)) and np.all(np.diag(covariance) > 0) else None


def _curvature_steps(likelihood: Likelihood, theta: Floats, steps: Floats) -> Floats:
    """Return steps that are some tenth of a standard error: the likelihood then changes by more than it is rounded."""
    middle = likelihood(theta)
    scaled = steps.copy()
    for i in range(len(theta)):
        step = np.zeros(len(theta))
        for _ in range(60):
            step[i] = scaled[i]
            fall = middle - 0.5 * (likelihood(theta + step) + likelihood(theta - step))
            if fall > 0.02:
                scaled[i] /= 2.0
            elif fall < 0.001:
                scaled[i] *= 2.0
            else:
                break
    return scaled
