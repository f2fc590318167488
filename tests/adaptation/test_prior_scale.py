# SPDX-License-Identifier: Apache-2.0
"""A prior that is too narrow is widened as if it had been wider from the start."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_algebra import Belief
from metarl_robot.adaptation.prior_scale import DOUBLED_S, PriorScale

Array = NDArray[np.float64]

MEAN, COVARIANCE = np.array([1.0, 0.0, 0.0]), np.diag([0.25, 4.0, 1.0])
HEAVY = np.array([True, False, False])


def _posterior(covariance: Array, rows: Array, y: Array) -> tuple[Array, Array]:
    """Mean and covariance after measurements y = rows z + n, n ~ N(0, 1)."""
    information = np.linalg.inv(covariance) + rows.T @ rows
    return np.linalg.solve(information, np.linalg.solve(covariance, MEAN) + rows.T @ y), np.linalg.inv(information)


def _belief(mean: Array, covariance: Array) -> Belief:
    belief = Belief(np.zeros(0), 3)
    belief.mean[:], belief.covariance[:] = mean, covariance
    return belief


def test_it_gives_the_posterior_of_the_wider_prior() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20, 3))
    y = rows @ np.array([12.0, 1.0, -0.5]) + rng.standard_normal(20)
    belief, scale = _belief(*_posterior(COVARIANCE, rows, y)), PriorScale(MEAN, COVARIANCE, HEAVY, 0)
    while not scale.fits(belief.mean):
        scale.widen([belief], DOUBLED_S)
    mean, covariance = _posterior(scale.covariance, rows, y)
    assert scale.widenings > 1 and scale.covariance[0, 0] > 10.0 * COVARIANCE[0, 0]
    assert np.allclose(belief.mean, mean) and np.allclose(belief.covariance, covariance)


def test_estimates_within_the_prior_change_nothing() -> None:
    scale = PriorScale(MEAN, COVARIANCE, HEAVY, 0)
    assert scale.fits(np.array([1.9, 10.0, -7.0]))
    assert not scale.fits(np.array([2.1, 0.0, 0.0])) and not scale.fits(np.array([1.0, 17.0, 0.0]))


def test_widening_takes_time_and_has_a_bound() -> None:
    scale, belief = PriorScale(MEAN, COVARIANCE, HEAVY, 0), _belief(np.array([1.0, 0.0, 30.0]), 0.01 * COVARIANCE)
    scale.widen([belief], 0.5 * DOUBLED_S)
    assert scale.covariance[2, 2] == pytest.approx(2.0)
    for _ in range(100):
        belief.mean[2] = 31.9
        scale.widen([belief], DOUBLED_S)
    assert scale.covariance[2, 2] == pytest.approx((31.9 / 8.0) ** 2)
    assert not scale.diverged(belief.mean) and scale.diverged(np.array([0.0, 0.0, 33.0]))


def test_an_estimate_that_is_not_finite_has_diverged() -> None:
    assert PriorScale(MEAN, COVARIANCE, HEAVY, 0).diverged(np.array([1.0, np.nan, 0.0]))
