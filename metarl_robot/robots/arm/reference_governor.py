# SPDX-License-Identifier: Apache-2.0
"""Reference governor of an arm: the nearest reference on which its efforts can hold the payload.

Where the efforts g(q) that hold the arm at rest exceed their limits u on the reference q_r, no controller can follow
it: a joint sags, perhaps into its stop, and returns late. The arm then follows q_r + δ, with the displacement that
solves

    min ½ |d|²    s.t.  |g(q_r + d)| <= s u,    |g(q_l + d)| <= (s - s_l) u,    q_r + d within its limits

(Gilbert, Kolmanovsky, Automatica 2002, with a displacement in place of a delay). q_l is the reference with the lagging
joints at their present positions: the other joints reduce their load until they have a spare effort s_l to rise. One
linearisation about the last d is solved in each step, for the worst knot of each joint. d moves at a limited rate, and
δ follows it through a critically damped filter, so that velocity and acceleration are known. Where the reference can be
held and no joint lags, d returns to zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Setpoints

Array = NDArray[np.float64]
OfPositions = Callable[[Array], Array]

HELD_SHARE = 0.92
"""Share s of the effort limits that holds the displaced reference. With s = 1, model errors made the arm sag."""
LIFTING_SHARE, LIFTED_RAD = 0.04, 0.1
"""(s_l, lag from which it applies in full); for a smaller lag it is proportionally smaller."""
LAGS_RAD = 0.02
"""A joint lags from this distance to its displaced reference on."""
RATE_SHARE = 0.5
"""Largest rate of d, as a share of the velocity limits."""
BRAKES_S = 0.4
"""A returning d brakes no faster than from the velocity limits to standstill within this time.

The efforts that hold the payload leave little to brake a joint that is lowered: without this, a shoulder fell through
its reference.
"""
BANDWIDTH_RAD_S = 15.0
"""Bandwidth of the filter from d to δ."""
SOFTNESS = 1e-4
"""Limits are softened: a violation by 1 % of an effort limit costs as much as a displacement by 1 rad."""
NEGLIGIBLE_RAD = 1e-6
"""A smaller displacement counts as zero."""


class ReferenceGovernor:
    """Governor of one robot's references.

    active: whether the reference is displaced.

    Arguments:
        robot: the robot.
        lower, upper: (n,) bounds of a displaced reference [rad].
        efforts: positions (N + 1, n) [rad] → efforts g that hold the arm there (N + 1, n).
        slopes: positions (N + 1, n) → ∂g/∂q (N + 1, n, n).
    """

    def __init__(self, robot: Robot, lower: Array, upper: Array, efforts: OfPositions, slopes: OfPositions) -> None:
        self._limit, self._rate = robot.effort_limit, RATE_SHARE * robot.velocity_limit
        self._brakes = robot.velocity_limit / BRAKES_S
        self._lower, self._upper, self._efforts_at, self._slopes_at = lower, upper, efforts, slopes
        self.reset()

    def reset(self) -> None:
        self._wanted, self._offset, self._velocity = np.zeros((3, len(self._limit)))  # d, δ and its velocity
        self.active = False

    def governed(self, target: Setpoints, q: Array, dt: float, ahead: Array) -> Setpoints:
        """The reference at N + 1 knots, displaced where it cannot be held.

        Arguments:
            target: the reference, from now on.
            q: (n,) positions now [rad].
            dt: time since the last call [s].
            ahead: (N + 1,) times of the knots from now on [s].
        """
        needed = self._efforts_at(target.q)
        if not self.active and not _exceeds(needed, self._limit):
            return target
        self.active = True
        lag = np.abs(target.q[0] + self._offset - q)
        lags = lag > LAGS_RAD
        positions = target.q + self._wanted
        positions[0, lags] = q[lags]
        efforts, slopes = self._efforts_at(positions), self._slopes_at(positions)
        slopes[0][:, lags] = 0.0  # such a joint does not follow d
        if not _exceeds(needed, HELD_SHARE * self._limit):
            free = slice(1 if lags.any() else 0, None)
            efforts[free], slopes[free] = 0.0, 0.0
        self._approach(self._nearest(target.q, efforts, slopes, lag), dt)
        return self._displaced(target, dt, ahead)

    def _nearest(self, q: Array, efforts: Array, slopes: Array, lag: Array) -> Array | None:
        """The d (n,) of the linearised programme; None if it cannot be solved.

        Rows with zero efforts and slopes do not limit. Those of the first knot are at q_l.
        """
        joints = np.arange(len(lag))
        worst = 1 + np.abs(efforts[1:]).argmax(axis=0)
        limit = np.tile(self._limit, 2)
        by_d = np.concatenate([slopes[worst, joints], slopes[0]]) / limit[:, None]
        used = np.concatenate([efforts[worst, joints], efforts[0]]) / limit - by_d @ self._wanted
        most = HELD_SHARE - LIFTING_SHARE * np.concatenate([0.0 * lag, np.minimum(lag / LIFTED_RAD, 1.0)])
        above, below = np.maximum([self._upper - q.max(axis=0), q.min(axis=0) - self._lower], 0.0)
        unit = np.eye(len(lag))
        rows = np.concatenate([by_d, -by_d, unit, -unit])
        return least(rows, np.concatenate([most - used, most + used, above, below]))

    def _approach(self, nearest: Array | None, dt: float) -> None:
        """Move d towards the nearest one."""
        if nearest is None:
            return
        change, rate = nearest - self._wanted, self._rate
        if nearest @ nearest < self._wanted @ self._wanted:
            rate = np.minimum(rate, np.sqrt(2.0 * self._brakes * np.abs(change)) + NEGLIGIBLE_RAD / dt)
        self._wanted = self._wanted + change / np.max(np.abs(change) / (rate * dt), initial=1.0)

    def _displaced(self, target: Setpoints, dt: float, ahead: Array) -> Setpoints:
        """The reference with δ, as it is dt after the last call and as it will be if d stays."""
        offset, velocity, acceleration = self._filtered(np.append(dt, dt + ahead))
        self._offset, self._velocity = offset[0], velocity[0]
        if max(np.abs(self._wanted).max(), np.abs(self._offset).max()) < NEGLIGIBLE_RAD:
            self.reset()
            return target
        return Setpoints(target.q + offset[1:], target.v + velocity[1:], target.a + acceleration[1:])

    def _filtered(self, times: Array) -> tuple[Array, Array, Array]:
        """δ, its velocity and acceleration (K, n) at times (K,) after the last call.

        They follow δ - d = (c_0 + c_1 t) exp(-ω t).
        """
        omega, t = BANDWIDTH_RAD_S, times[:, None]
        away = self._offset - self._wanted
        slope, decay = self._velocity + omega * away, np.exp(-omega * t)
        rest = (away + slope * t) * decay
        velocity = slope * decay - omega * rest
        return self._wanted + rest, velocity, -omega * (slope * decay + velocity)


def least(rows: Array, room: Array) -> Array | None:
    """The least d (n,) with C d <= b, softened, for rows C (m, n) and room b (m,); None if the solver fails.

    The dual is a non-negative least squares problem, as in tracking_qp.py.
    """
    try:
        factor = np.linalg.cholesky(rows @ rows.T + SOFTNESS * np.eye(len(room)))
        multipliers, _ = nnls(factor.T, np.linalg.solve(factor, -room), maxiter=30 * len(room))
    except (RuntimeError, ValueError, np.linalg.LinAlgError):
        return None
    d = -rows.T @ multipliers
    return d if np.isfinite(d).all() else None


def _exceeds(efforts: Array, limit: Array) -> bool:
    return bool(np.count_nonzero(np.abs(efforts) > limit))
