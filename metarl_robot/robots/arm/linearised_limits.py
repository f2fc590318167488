# SPDX-License-Identifier: Apache-2.0
"""Limits on torque, velocity and position of an arm's plan, linearised about the last plan.

They become rows on the change δ of the plan's inputs. The limited outputs y are (torque, velocity, position), (3, N +
1, n). The candidate changed by δ has y + Y_q δq + Y_v δv + Y_a δa. The slopes Y of the torque come from the inverse
dynamics; those of velocity and position are zero and one. Rows are divided by the acceleration equivalent of an
output's unit: M_jj for torques, 1/ω for velocities, 1/ω² for positions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.arm.tracking_qp import Rows, TrackingQP

Array = NDArray[np.float64]

TOLERANCE = 1e-3
"""A limit counts as violated beyond this much acceleration [rad/s²]."""


class Outputs(NamedTuple):
    """Limited outputs of the candidate, their limits, and the acceleration equivalent of their units.

    Each (3, N + 1, n).
    """

    values: Array
    lower: Array
    upper: Array
    worth: Array


class LinearisedLimits:
    """Limits of a candidate as rows of a quadratic programme.

    Arguments:
        qp: maps from inputs to position and velocity.
        outputs: of the candidate.
        by_motion: (N + 1, n, 3n) slopes of the torque by position, velocity and acceleration.
    """

    def __init__(self, qp: TrackingQP, outputs: Outputs, by_motion: Array) -> None:
        self._qp, self._outputs = qp, outputs
        knots, n = by_motion.shape[:2]
        others = np.zeros((2, knots, n, 3 * n))
        others[0, :, :, n : 2 * n] = others[1, :, :, :n] = np.eye(n)
        self._slopes = np.concatenate([by_motion[None], others])
        self._known = np.zeros((2, *outputs.values.shape), dtype=bool)
        self._known[:, 1:, 0] = True  # the inputs cannot change the present position and velocity

    def violated(self, change: Array | None) -> Rows:
        """Rows violated by the candidate changed by δ (N, n), without those of former calls.

        None: the candidate itself.
        """
        values, lower, upper, worth = self._outputs
        if change is not None:
            values = values + self._effect(change)
        beyond = np.stack([values - upper, lower - values]) > TOLERANCE * worth
        beyond &= ~self._known
        self._known |= beyond
        return self._rows(*np.nonzero(beyond))

    def _effect(self, change: Array) -> Array:
        """Change (3, N + 1, n) of the outputs."""
        q, v = self._qp.position_map @ change, self._qp.velocity_map @ change
        motion = np.concatenate([q, v, np.concatenate([change, np.zeros((1, change.shape[1]))])], axis=1)
        return np.stack([(self._slopes[0] @ motion[:, :, None])[:, :, 0], v, q])

    def _rows(
        self, side: NDArray[np.intp], kind: NDArray[np.intp], knot: NDArray[np.intp], joint: NDArray[np.intp]
    ) -> Rows:
        """One row for each (upper or lower, output, knot, joint), (m,) each."""
        count, (horizon, n) = len(knot), (self._qp.position_map.shape[1], self._outputs.values.shape[2])
        if not count:
            return Rows(np.zeros((0, horizon, n)), np.zeros(0), np.zeros(0, dtype=bool))
        values, lower, upper, worth = (array[kind, knot, joint] for array in self._outputs)
        by_q, by_v, by_a = self._slopes[kind, knot, joint].reshape(count, 3, 1, n).swapaxes(0, 1)
        coefficients = self._qp.position_map[knot][:, :, None] * by_q + self._qp.velocity_map[knot][:, :, None] * by_v
        early = np.flatnonzero(knot < horizon)
        coefficients[early, knot[early]] += by_a[early, 0]
        is_upper = side == 0
        sign = np.where(is_upper, 1.0, -1.0) / worth
        bounds = sign * (np.where(is_upper, upper, lower) - values)
        return Rows(sign[:, None, None] * coefficients, bounds, kind == 0)
