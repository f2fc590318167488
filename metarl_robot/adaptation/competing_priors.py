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
    trained: Prior, unfamiliar: Prior, heavy_tailed: NDArray[np.bool_], effort_limit: Array
) -> tuple[Prior, ...]:
    """Priors of (z, ε, o) in every combination of WIDTHS.

    Arguments:
        trained, unfamiliar: of (z, ε), (k + n,), on a machine like those of the training and on one unlike them.
        heavy_tailed: (k + n,) entries that often lie far outside.
        effort_limit: (n,) [Nm].
    """
    n, size = len(effort_limit), len(trained.mean)
    exact = np.where(np.arange(size) >= size - n, unfamiliar.mean, trained.mean)
    made = []
    for width in WIDTHS:
        prior = unfamiliar if width.unfamiliar else trained
        prior = prior if width.motor == 1.0 else Prior(np.where(width.unfamiliar, prior.mean, exact), prior.covariance)
        made.append(_widened(prior, width, heavy_tailed, effort_limit))
    return tuple(made)


def _widened(prior: Prior, width: _Width, heavy_tailed: NDArray[np.bool_], effort_limit: Array) -> Prior:
    n, size = len(effort_limit), len(prior.mean)
    motors = np.arange(size) >= size - n
    factor = np.where(heavy_tailed, width.heavy, 1.0) * np.where(motors, width.motor, 1.0)
    covariance = np.zeros((size + n, size + n))
    covariance[:size, :size] = prior.covariance * factor * factor[:, None]
    covariance[range(size, size + n), range(size, size + n)] = (width.offset * effort_limit) ** 2
    return Prior(np.concatenate([prior.mean, np.zeros(n)]), covariance)
