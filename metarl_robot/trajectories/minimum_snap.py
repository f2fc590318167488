# SPDX-License-Identifier: Apache-2.0
"""Piecewise polynomials of degree 7 through points with minimum snap (Mellinger, Kumar, ICRA 2011).

On each segment the polynomial is given by value and three derivatives at both ends, d, in units of the segment's time
h. The coefficients are c = B d. The cost, the integral of the squared fourth derivative, is h^-7 d' H d, with
constant B and H. Values given at the knots are fixed; the others minimise the total cost, by a block-tridiagonal
linear system (Richter, Bry, Roy, ISRR 2013). At a knot with only the value fixed, six derivatives are continuous.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solveh_banded

from metarl_robot.core.errors import SignalError
from metarl_robot.trajectories.polynomials import Polynomials, falling

Array = NDArray[np.float64]

_SIZE = 8  # coefficients of a segment
_ENDS = 4  # value, velocity, acceleration, jerk at a knot


def _hermite() -> tuple[Array, Array]:
    """Constant matrices B (8, 8) and H (8, 8)."""
    powers = np.arange(_SIZE)
    start = np.array([falling(powers, k) * (powers == k) for k in range(_ENDS)])
    end = np.array([falling(powers, k) for k in range(_ENDS)])
    coefficients = np.linalg.inv(np.concatenate([start, end]))
    fourth = falling(powers, 4)
    total = powers[:, None] + powers[None, :] - 7
    cost = np.where(np.minimum.outer(powers, powers) >= 4, np.outer(fourth, fourth) / np.maximum(total, 1), 0.0)
    return coefficients, coefficients.T @ cost @ coefficients


_B, _H = _hermite()


def minimum_snap(
    times: ArrayLike, values: ArrayLike, velocities: ArrayLike | None = None, accelerations: ArrayLike | None = None
) -> Polynomials:
    """The polynomials of minimum snap through values (K, n) at times (K,) [s].

    Given velocities and accelerations (K, n) are met at every point. If not given, they are zero at both ends and
    free in between. The jerk is zero at both ends. With one point the result stands still there.

    Raises:
        SignalError: times do not increase, sizes differ, or a value is not finite.
    """
    t, p = np.asarray(times, float), np.asarray(values, float)
    given = {1: velocities, 2: accelerations}
    _check(t, p, given)
    if len(t) == 1:
        t, p = np.array([t[0], t[0] + 1.0]), np.repeat(p, 2, axis=0)
        given = {1: None, 2: None}
    fixed = np.zeros((len(t), _ENDS), bool)
    fixed[:, 0] = fixed[0] = fixed[-1] = True
    ends = np.zeros((len(t), _ENDS, p.shape[1]))
    ends[:, 0] = p
    for order, derivative in given.items():
        if derivative is not None:
            fixed[:, order] = True
            ends[:, order] = derivative
    h = np.diff(t)
    mean = h.mean()
    scale = (mean ** np.arange(_ENDS))[:, None]  # of the unknowns, so that the system is well conditioned
    ends = _solve(h / mean, ends * scale, fixed) / scale
    return Polynomials(t, _coefficients(h, ends))


def _check(t: Array, p: Array, given: dict[int, ArrayLike | None]) -> None:
    if t.ndim != 1 or len(t) == 0 or p.ndim != 2 or len(p) != len(t):
        raise SignalError(
            f"trajectory: needs times (K,) and points (K, n) with K >= 1; given shapes {t.shape} and {p.shape}"
        )
    if not np.all(np.isfinite(t)) or np.any(np.diff(t) <= 0.0):
        raise SignalError(
            f"trajectory: times must be finite and increase from point to point; given {np.round(t, 6).tolist()}"
        )
    for name, values in (("points", p), ("velocities", given[1]), ("accelerations", given[2])):
        if values is None:
            continue
        values = np.asarray(values, float)
        if values.shape != p.shape:
            raise SignalError(f"trajectory: {name} have shape {values.shape}; points have {p.shape}")
        if not np.all(np.isfinite(values)):
            raise SignalError(f"trajectory: {name} hold a value that is not finite")


def _segment_ends(h: Array) -> Array:
    """Factors (K, 8) from value, velocity, acceleration and jerk at both ends to units of the segment's time."""
    factors = h[:, None] ** np.arange(_ENDS)
    return np.concatenate([factors, factors], axis=1)


def _at_both_ends(values: Array) -> Array:
    """Arrays (K, 8, ...) of the segments from those (K + 1, 4, ...) of the knots."""
    return np.concatenate([values[:-1], values[1:]], axis=1)


def _solve(h: Array, ends: Array, fixed: NDArray[np.bool_]) -> Array:
    """Set the free entries of `ends` (K + 1, 4, n) to the optimum. fixed: (K + 1, 4)."""
    factors = _segment_ends(h)
    blocks = h[:, None, None] ** -7.0 * _H * factors[:, :, None] * factors[:, None, :]  # (K, 8, 8)
    known, free = np.where(fixed[..., None], ends, 0.0), _at_both_ends(np.where(fixed, 0.0, 1.0))
    pull = blocks @ _at_both_ends(known)
    right = np.zeros_like(ends)
    right[:-1] -= pull[:, :_ENDS]
    right[1:] -= pull[:, _ENDS:]
    blocks = blocks * free[:, :, None] * free[:, None, :]
    band = np.zeros((2 * _ENDS, *fixed.shape))  # lower form: band[i - j, j]
    for j in range(2 * _ENDS):
        knots = slice(None, -1) if j < _ENDS else slice(1, None)
        band[: 2 * _ENDS - j, knots, j % _ENDS] += blocks[:, j:, j].T
    band[0] += fixed
    right[fixed] = ends[fixed]
    band, right = band.reshape(len(band), -1), right.reshape(fixed.size, -1)
    return np.asarray(solveh_banded(band, right, lower=True, check_finite=False)).reshape(ends.shape)


def _coefficients(h: Array, ends: Array) -> Array:
    """Coefficients (K, 8, n) from the values at the knots (K + 1, 4, n)."""
    both = _at_both_ends(ends) * _segment_ends(h)[..., None]
    return np.asarray(np.einsum("ij,kjn->kin", _B, both))
