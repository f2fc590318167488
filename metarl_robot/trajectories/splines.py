# SPDX-License-Identifier: Apache-2.0
"""Piecewise polynomials of degree <= 5 with analytic derivatives, through timed points.

On segment k, with s = t - t_k, q(s) = sum_i c_ki s^i. The cubic meets position and velocity at both ends, the quintic
also the acceleration. For their coefficients see Siciliano, Sciavicco, Villani, Oriolo, "Robotics: Modelling,
Planning and Control", 2009, section 4.2. A quintic at rest at both ends is the minimum-jerk motion (Flash and Hogan,
J. Neurosci. 1985).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.signals import Setpoints
from metarl_robot.trajectories.polynomials import Polynomials

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Hold:
    """Hold the position q (n,) [rad]."""

    q: Array

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        q, v, a = np.zeros((3, len(times), len(self.q)))
        q[:] = self.q
        return Setpoints(q, v, a)


@dataclass(frozen=True, eq=False)
class Spline:
    """Piecewise polynomial, constant before its first knot and after its last.

    knots: (K + 1,) increasing [s].
    coefficients: (K, 6, n), power i of the time since the segment's start, in rad/s^i.
    """

    knots: Array
    coefficients: Array

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        return Setpoints(*self.path.derivatives(times, 2))

    @cached_property
    def path(self) -> Polynomials:
        """The spline as Polynomials, for derivatives of any order."""
        lengths = np.diff(self.knots)[:, None, None]
        return Polynomials(self.knots, self.coefficients * lengths ** np.arange(6)[:, None])


def from_points(
    times: ArrayLike, positions: ArrayLike, velocities: ArrayLike | None = None, accelerations: ArrayLike | None = None
) -> Spline:
    """The trajectory of a ROS JointTrajectory message.

    It passes through points at times (K,) [s] with positions (K, n) [rad]. A segment is a quintic if both its ends
    have velocities and accelerations (K, n), else a cubic. A row of NaN means not given. Missing velocities are those
    of a monotone (PCHIP) interpolation, zero at both ends: with positions alone the motion never leaves the points'
    range.

    Raises:
        SignalError: times do not increase, sizes differ, a value is not finite, or accelerations come without
        velocities.
    """
    t, q = np.asarray(times, float), np.asarray(positions, float)
    _check_points(t, q, velocities, accelerations)
    if len(t) == 1:
        return Spline(np.array([t[0], t[0] + 1.0]), _constant(q[0])[None])
    v, a = _given(q, velocities), _given(q, accelerations)
    unknown = np.isnan(v)
    v = np.where(unknown, _monotone_velocities(t, q), v)
    h, a = np.diff(t)[:, None], np.where(unknown, np.nan, a)
    cubic = _cubic(h, q, v)
    if np.isnan(a).all():
        return Spline(t, cubic)
    quintic = _quintic(h, q, v, a)
    return Spline(t, np.where(np.isnan(quintic).any(axis=(1, 2), keepdims=True), cubic, quintic))


def _given(q: Array, values: ArrayLike | None) -> Array:
    return np.full_like(q, np.nan) if values is None else np.asarray(values, float)


def _check_points(t: Array, q: Array, velocities: ArrayLike | None, accelerations: ArrayLike | None) -> None:
    if t.ndim != 1 or len(t) == 0 or q.ndim != 2 or len(q) != len(t):
        raise SignalError(
            f"trajectory: needs times (K,) and positions (K, n) with K >= 1; given shapes {t.shape} and {q.shape}"
        )
    check_times(t)
    if accelerations is not None and velocities is None:
        raise SignalError(
            "trajectory: accelerations were given without velocities; give both, velocities alone, or neither"
        )
    for name, values in (("positions", q), ("velocities", velocities), ("accelerations", accelerations)):
        if values is None:
            continue
        values = np.asarray(values, float)
        if values.shape != q.shape:
            raise SignalError(f"trajectory: {name} have shape {values.shape}; positions have {q.shape}")
        missing = np.isnan(values).all(axis=1) & (name != "positions")
        if not np.all(np.isfinite(values[~missing])):
            raise SignalError(f"trajectory: {name} hold a value that is not finite")


def check_times(t: Array) -> None:
    """Check that times (K,) [s] increase strictly, as joint_trajectory_controller demands.

    Raises:
        SignalError: names the two points.
    """
    if not np.all(np.isfinite(t)):
        raise SignalError("trajectory: times must be finite")
    late = np.flatnonzero(np.diff(t) <= 0.0)
    if len(late):
        k = int(late[0])
        since = t - t[0]
        raise SignalError(
            "trajectory: times must increase strictly from point to point, as joint_trajectory_controller demands; "
            f"points {k} and {k + 1} are at {since[k]:.6g} s and {since[k + 1]:.6g} s: drop one of them, or time the "
            "trajectory (time_from_start)"
        )


def _constant(q: Array) -> Array:
    coefficients = np.zeros((6, len(q)))
    coefficients[0] = q
    return coefficients


def _cubic(h: Array, q: Array, v: Array) -> Array:
    step = (q[1:] - q[:-1]) / h
    c2 = (3 * step - 2 * v[:-1] - v[1:]) / h
    c3 = (v[:-1] + v[1:] - 2 * step) / h**2
    zero = np.zeros_like(c2)
    return np.stack([q[:-1], v[:-1], c2, c3, zero, zero], axis=1)


def _quintic(h: Array, q: Array, v: Array, a: Array) -> Array:
    dq = (q[1:] - q[:-1]) / h
    c3 = (20 * dq - 8 * v[1:] - 12 * v[:-1] - (3 * a[:-1] - a[1:]) * h) / (2 * h**2)
    c4 = (-30 * dq + 14 * v[1:] + 16 * v[:-1] + (3 * a[:-1] - 2 * a[1:]) * h) / (2 * h**3)
    c5 = (12 * dq - 6 * (v[1:] + v[:-1]) + (a[1:] - a[:-1]) * h) / (2 * h**4)
    return np.stack([q[:-1], v[:-1], a[:-1] / 2, c3, c4, c5], axis=1)


def _monotone_velocities(t: Array, q: Array) -> Array:
    """Velocities from the weighted harmonic mean of the slopes beside a point.

    Fritsch and Butland, SIAM J. Sci. Stat. Comput. 1984.
    """
    v = np.zeros_like(q)
    if len(t) < 3:
        return v
    h = np.diff(t)[:, None]
    slope = np.diff(q, axis=0) / h
    left, right, w_left, w_right = slope[:-1], slope[1:], 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    same = left * right > 0.0
    safe_left, safe_right = np.where(same, left, 1.0), np.where(same, right, 1.0)
    v[1:-1] = np.where(same, (w_left + w_right) / (w_left / safe_left + w_right / safe_right), 0.0)
    return v
