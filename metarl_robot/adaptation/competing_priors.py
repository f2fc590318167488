# SPDX-License-Identifier: Apache-2.0
"""Priors that compete in a regression (cell_regression.py): how far does this machine differ from those of training?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_tuning import Prior

Array = NDArray[np.float64]


class _Width(NamedTuple):
    """unfamiliar: which prior. heavy, motor: factors of standard deviations. offset: share of the effort limit."""

    unfamiliar: bool
    heavy: float
    motor: float
    offset: float


NEARLY_EXACT, OTHER_LINKS, SMALL, LARGE = 0.05, 4.0, 5e-4, 1e-2
"""Width of motor strength, over that of the prior, where motors are nearly exact and where links are not as described,
which looks like other motors; small and large offsets."""
WIDTHS = (
    _Width(False, 1.0, 1.0, SMALL),
    _Width(False, 1.0, NEARLY_EXACT, SMALL),
    _Width(True, 1.0, 1.0, SMALL),
    _Width(True, 1.0, NEARLY_EXACT, SMALL),
    _Width(True, 1.0, 1.0, LARGE),
    _Width(True, 3.0, NEARLY_EXACT, SMALL),
    _Width(True, 3.0, NEARLY_EXACT, LARGE),
    _Width(True, 3.0, OTHER_LINKS, LARGE),
)


def competing_priors(
    trained: Prior, unfamiliar: Prior, heavy_tailed: NDArray[np.bool_], effort_limit: Array, strengths: bool = True
) -> tuple[Prior, ...]:
    """Priors of (z, ε, o) in every combination of WIDTHS, each once.

    Arguments:
        trained, unfamiliar: of (z, ε), (k + n,), on a machine like those of the training and on one unlike them.
        heavy_tailed: (k + n,) entries that often lie far outside.
        effort_limit: (n,) [Nm], or largest generalised force.
        strengths: whether there is ε; else it is (z, o).
    """
    size = len(trained.mean)
    motors = np.arange(size) >= size - (len(effort_limit) if strengths else 0)
    exact = np.where(motors, unfamiliar.mean, trained.mean)
    made: list[Prior] = []
    for width in WIDTHS:
        prior = unfamiliar if width.unfamiliar else trained
        prior = prior if width.motor == 1.0 else Prior(np.where(width.unfamiliar, prior.mean, exact), prior.covariance)
        widened = _widened(
            prior,
            np.where(heavy_tailed, width.heavy, 1.0) * np.where(motors, width.motor, 1.0),
            width.offset * effort_limit,
        )
        if not any(_same(widened, each) for each in made):
            made.append(widened)
    return tuple(made)


def _same(prior: Prior, other: Prior) -> bool:
    return bool(np.array_equal(prior.mean, other.mean) and np.array_equal(prior.covariance, other.covariance))


def _widened(prior: Prior, factor: Array, offset: Array) -> Prior:
    """With standard deviations times a factor (k + s,), and those of the offsets (n,)."""
    n, size = len(offset), len(prior.mean)
    covariance = np.zeros((size + n, size + n))
    covariance[:size, :size] = prior.covariance * factor * factor[:, None]
    covariance[range(size, size + n), range(size, size + n)] = offset**2
    return Prior(np.concatenate([prior.mean, np.zeros(n)]), covariance)
