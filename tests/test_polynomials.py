# SPDX-License-Identifier: Apache-2.0
"""Piecewise polynomials: their derivatives are numpy's, piece by piece, and outside they stand still."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial import Polynomial

from metarl_robot.trajectories.polynomials import Polynomials

KNOTS = np.array([-0.3, 0.4, 1.9, 2.0])
COEFFICIENTS = np.random.default_rng(0).normal(size=(3, 8, 2))
MADE = Polynomials(KNOTS, COEFFICIENTS)


def piecewise(time: float, order: int) -> np.ndarray:
    """(2,) one derivative of MADE."""
    k = min(int(np.searchsorted(KNOTS, time, side="right")) - 1, 2)
    h = KNOTS[k + 1] - KNOTS[k]
    return np.array([Polynomial(c).deriv(order)((time - KNOTS[k]) / h) for c in COEFFICIENTS[k].T]) / h**order


@pytest.mark.parametrize("highest", [0, 2, 4, 7])
def test_derivatives_are_those_of_each_piece(highest: int) -> None:
    times = np.concatenate([np.random.default_rng(1).uniform(-0.3, 2.0, 100), KNOTS])
    found = MADE.derivatives(times, highest)
    assert found.shape == (highest + 1, len(times), 2)
    for order in range(highest + 1):
        expected = np.array([piecewise(time, order) for time in times])
        np.testing.assert_allclose(found[order], expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


def test_outside_they_stand_where_they_begin_and_end() -> None:
    ends = MADE.derivatives(KNOTS[[0, -1]], 0)[0]
    found = MADE.derivatives(np.array([-1e9, -0.31, 2.0 + 1e-12, 1e9]), 4)
    assert np.allclose(found[0], ends[[0, 0, 1, 1]], atol=1e-12)
    assert not found[1:].any()


def test_given_times_in_any_order_each_is_its_own() -> None:
    times = np.random.default_rng(2).permutation(np.linspace(-1.0, 3.0, 50))
    assert np.array_equal(
        MADE.derivatives(times, 3), np.concatenate([MADE.derivatives(np.array([t]), 3) for t in times], axis=1)
    )
