# SPDX-License-Identifier: Apache-2.0
"""Quadratic programme of the arm's MPC in error coordinates, and its exact solution.

With the acceleration as input, a(t) = a_ref(t) + u_k on each interval, every joint's error e = (q - q_ref, v - v_ref)
obeys the same double integrator exactly, for any reference:

    e_{k+1} = A e_k + B u_k,    cost Σ e_kᵀ Q e_k + r u_k²  + e_Nᵀ P e_N,    P from the discrete Riccati equation

Without active limits the minimiser is the linear-quadratic regulator u_k = -K (A - B K)^k e_0. It needs no solver,
and one check of the limits proves it optimal. With limits C δ ≤ b on the change δ of the inputs from that candidate,

    min ½ δᵀ H δ + ½ ρ |s|²   s.t.  C δ - s ≤ b      dual:  min_{λ ≥ 0} ½ λᵀ (C H⁻¹ Cᵀ + ρ⁻¹ I) λ + bᵀ λ

is solved over the rows found violated so far, by non-negative least squares (Lawson, Hanson 1974). Rows are added
until no new one is violated. They are scaled to accelerations, so that one ρ serves torques, velocities and
positions. If they cannot all be met, those that yield (torques, which the limiter clips anyway) get a smaller ρ:
otherwise the other joints would move violently to help a joint without enough torque.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_are
from scipy.optimize import nnls

Array = NDArray[np.float64]

MAX_ROUNDS = 6
SLACK_WEIGHT = 1e4
"""Cost ρ of a violated limit relative to tracking, both in accelerations [rad/s²]."""
YIELDING_WEIGHT = 1e2
"""Cost of a violated limit that yields, where not all limits can be met."""
SLACK_TOLERANCE = 0.05
"""A limit counts as met within this much acceleration [rad/s²]."""


class Rows(NamedTuple):
    """Linear limits C δ ≤ b: coefficients (m, N, n) over knots and joints, bounds (m,).

    yields: (m,) limits that yield to the others where they cannot all be met.
    """

    coefficients: Array
    bounds: Array
    yields: NDArray[np.bool_]

    def joined(self, other: Rows) -> Rows:
        """Concatenate these rows and others."""
        return Rows(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))


class TrackingQP:
    """Condensed matrices for n identical double integrators over N steps.

    gram: (3N + 3, 3N + 3), B H⁻¹ Bᵀ with B the map from inputs to positions, velocities and accelerations at all knots;
    that at the last is zero.

    Arguments:
        horizon: N.
        step_s: knot spacing [s].
        bandwidth: natural frequency of the unconstrained closed loop [rad/s].
        damping: its damping ratio.
    """

    def __init__(self, horizon: int, step_s: float, bandwidth: float, damping: float) -> None:
        a = np.array([[1.0, step_s], [0.0, 1.0]])
        b = np.array([[0.5 * step_s**2], [step_s]])
        state_weight = np.diag([bandwidth**4, max(4.0 * damping**2 - 2.0, 0.0) * bandwidth**2]) * step_s
        input_weight = np.array([[step_s]])
        terminal = solve_discrete_are(a, b, state_weight, input_weight)
        gain = np.linalg.solve(input_weight + b.T @ terminal @ b, b.T @ terminal @ a)
        self._inputs, self._errors = _closed_loop(a, b, gain, horizon)
        self.position_map, self.velocity_map = _response(a, b, horizon)
        weights = np.stack([state_weight] * (horizon - 1) + [terminal])
        response = np.stack([self.position_map[1:], self.velocity_map[1:]], axis=1)
        hessian = np.einsum("kxi,kxy,kyj->ij", response, weights, response) + step_s * np.eye(horizon)
        self._inverse_hessian = np.linalg.inv(hessian)
        by_inputs = np.concatenate([self.position_map, self.velocity_map, np.eye(horizon + 1, horizon)])
        self.gram: Array = by_inputs @ self._inverse_hessian @ by_inputs.T

    def candidate(self, error: Array) -> tuple[Array, Array]:
        """The unconstrained minimiser for error (2, n): inputs u (N, n) and errors (N + 1, 2, n)."""
        return self._inputs @ error, self._errors @ error

    def constrain(self, violated: Callable[[Array | None], Rows]) -> tuple[Array | None, bool]:
        """Find the change δ (N, n) of the candidate with the least cost that respects the limits.

        Arguments:
            violated: maps δ to the rows that it violates and that were not returned before; None: for the candidate
                itself.

        Returns:
            δ, and whether every limit is met to within `SLACK_TOLERANCE`. δ is None if the solver failed.
        """
        rows = violated(None)
        change = np.zeros(rows.coefficients.shape[1:])
        if not len(rows.bounds):
            return change, True
        weight = SLACK_WEIGHT
        for _ in range(MAX_ROUNDS):
            try:
                change, slack = self._solve(rows, weight)
                if weight == SLACK_WEIGHT and slack > SLACK_TOLERANCE:
                    weight = YIELDING_WEIGHT
                    change, _ = self._solve(rows, weight)
            except (RuntimeError, ValueError, np.linalg.LinAlgError):
                return None, False
            new = violated(change)
            if not len(new.bounds):
                return change, weight == SLACK_WEIGHT
            rows = rows.joined(new)
        return change, False

    def _solve(self, rows: Rows, yielding_weight: float) -> tuple[Array, float]:
        """Solution δ and the largest slack."""
        m = len(rows.bounds)
        weighted = self._inverse_hessian @ rows.coefficients
        softness = 1.0 / np.where(rows.yields, yielding_weight, SLACK_WEIGHT)
        dual = rows.coefficients.reshape(m, -1) @ weighted.reshape(m, -1).T + np.diag(softness)
        factor = np.linalg.cholesky(dual)
        multipliers, _ = nnls(factor.T, np.linalg.solve(factor, -rows.bounds), maxiter=30 * m)
        change = -(multipliers @ weighted.reshape(m, -1)).reshape(weighted.shape[1:])
        return change, float((softness * multipliers).max())


def _closed_loop(a: Array, b: Array, gain: Array, horizon: int) -> tuple[Array, Array]:
    """Maps from e_0 to inputs (N, 2) and to errors (N + 1, 2, 2)."""
    errors = [np.eye(2)]
    for _ in range(horizon):
        errors.append((a - b @ gain) @ errors[-1])
    stacked = np.stack(errors)
    return np.concatenate([-gain @ e for e in stacked[:-1]]), stacked


def _response(a: Array, b: Array, horizon: int) -> tuple[Array, Array]:
    """Position and velocity at knots 0 … N caused by inputs 0 … N-1: two (N + 1, N) matrices."""
    maps = np.zeros((2, horizon + 1, horizon))
    for j in range(horizon):
        column = b[:, 0]
        for k in range(j + 1, horizon + 1):
            maps[:, k, j] = column
            column = a @ column
    return maps[0], maps[1]
