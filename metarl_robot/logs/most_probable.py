# SPDX-License-Identifier: Apache-2.0
"""The most probable parameters of a robot for given rows: weights of the rows, and a Gauss-Newton iteration in bounds.

See identify.py for the equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.mjcf_robot import MjcfRobot
from metarl_robot.dynamics.link_regressor import LinkRegressor
from metarl_robot.logs.balance_rows import Layout, Rows
from metarl_robot.logs.body_coordinates import BodyCoordinates

Array = NDArray[np.float64]

LEAST_SHARE = 1e-4
"""Scatter of a cell's force is at least this share of the effort limit."""
TOLERATED = 3.0
"""An error of as many times the scatter has half the weight."""
MOST_ALIKE = 40
"""Errors of at most so many cells are alike."""
_STEPS, _HALVINGS, _CLOSE = 30, 12, 1e-4


@dataclass(frozen=True, eq=False)
class Problem:
    """Prior and coordinates of one robot. start, std, least: (p,) z_0, σ, and lower bounds of z."""

    robot: MjcfRobot
    regressor: LinkRegressor
    layout: Layout
    bodies: tuple[BodyCoordinates, ...]
    nominal: Array
    start: Array
    std: Array
    least: Array

    def values(self, z: Array) -> Array:
        """Parameters x (p,): differences to the nominal model."""
        x = z.copy()
        for i, body in enumerate(self.bodies):
            at = self.layout.link(i)
            x[at] = body.parameters(z[at]) - self.nominal[at]
        return x

    def jacobian(self, z: Array) -> Array:
        """∂x/∂z (p, p)."""
        made = np.eye(len(z))
        for i, body in enumerate(self.bodies):
            at = self.layout.link(i)
            made[at, at] = body.jacobian(z[at])
        return made


class Weigher:
    """Weights of rows. scatter: (n,) s_j. alike: (n,) a_j."""

    def __init__(self, robot: MjcfRobot, layout: Layout) -> None:
        self._strength = layout.of("strength")
        self._least = LEAST_SHARE * robot.effort_limit
        self.scatter, self.alike = self._least.copy(), np.ones(robot.dof)
        self._weights: list[Array] = []

    def weigh(self, rows: Sequence[Rows], x: Array) -> None:
        """Weigh rows by what parameters x leave of them."""
        left = [each.left(x) / (1.0 + x[self._strength]) for each in rows]
        for j in range(len(self._least)):
            of = np.concatenate([part[each.used[:, j], j] for part, each in zip(left, rows, strict=True)])
            spread = 1.4826 * np.median(np.abs(of)) if len(of) else 0.0
            self.scatter[j] = max(spread, self._least[j])
        weights = [1.0 / (1.0 + (part / (TOLERATED * self.scatter)) ** 2) for part in left]
        for j in range(len(self._least)):
            series = [part[:, j] * np.sqrt(w[:, j]) for part, w in zip(left, weights, strict=True)]
            self.alike[j] = autocorrelation(series, [each.used[:, j] for each in rows])
        certain = 1.0 / (self.scatter**2 * self.alike)
        self._weights = [each.used * w * certain for each, w in zip(rows, weights, strict=True)]

    def products(self, rows: Sequence[Rows], chosen: Sequence[NDArray[np.bool_]] | None = None) -> Array:
        """Σ w [Δ, Φ]ᵀ [Δ, Φ] (n, 1 + p, 1 + p) of each joint, over all rows or the chosen ones (C,) of each log."""
        size, n = rows[0].phi.shape[2], len(self._least)
        made = np.zeros((n, 1 + size, 1 + size))
        for i, (each, weights) in enumerate(zip(rows, self._weights, strict=True)):
            for j in range(n):
                at = weights[:, j] > 0.0 if chosen is None else (weights[:, j] > 0.0) & chosen[i]
                both = np.column_stack([each.missed[at, j], each.phi[at, j]]) * np.sqrt(weights[at, j])[:, None]
                made[j] += both.T @ both
        return made


def autocorrelation(series: Sequence[Array], used: Sequence[NDArray[np.bool_]]) -> float:
    """Integrated autocorrelation 1 + 2 Σ ρ_k of errors, summed up to the first k where it is not positive.

    series: one for each log. used: which of its entries count.
    """
    kept = [np.where(u, s, 0.0) for s, u in zip(series, used, strict=True)]
    variance = sum(float(s @ s) for s in kept) / max(sum(int(u.sum()) for u in used), 1)
    total = 1.0
    for k in range(1, MOST_ALIKE):
        pairs = sum(int((u[k:] & u[:-k]).sum()) for u in used)
        product = sum(float(s[k:] @ s[:-k]) for s in kept)
        if not pairs or product <= 0.0:
            break
        total += 2.0 * product / (pairs * max(variance, 1e-300))
    return min(total, float(MOST_ALIKE))


def solve(problem: Problem, products: Array, z: Array) -> tuple[Array, Array]:
    """The most probable z (p,), from a first guess, and the Hessian (p, p) there.

    With c_j = (1, -x) / (1 + ε_j), the sum of squares of joint j is c_jᵀ (products_j) c_j.
    """
    precision = 1.0 / problem.std**2
    for _ in range(_STEPS):
        slope, hessian = _expansion(problem, products, z)
        slope, hessian = slope + precision * (z - problem.start), hessian + np.diag(precision)
        free = (z > problem.least) | (slope < 0.0)
        step, scale = np.zeros_like(z), problem.std[free]
        scaled = hessian[np.ix_(free, free)] * scale * scale[:, None]
        step[free] = -scale * np.linalg.solve(scaled, scale * slope[free])
        before = _cost(problem, products, z)
        for halving in range(_HALVINGS):
            moved = np.maximum(z + 0.5**halving * step, problem.least)
            if _cost(problem, products, moved) <= before:
                z = moved
                break
        if np.max(np.abs(step) / problem.std) < _CLOSE:
            break
    return z, hessian


def _coefficients(problem: Problem, z: Array) -> Array:
    """c_j (n, 1 + p)."""
    gain = 1.0 / (1.0 + z[problem.layout.of("strength")])
    return np.outer(gain, np.concatenate([[1.0], -problem.values(z)]))


def _cost(problem: Problem, products: Array, z: Array) -> float:
    c = _coefficients(problem, z)
    return float(
        0.5 * np.einsum("ja,jab,jb->", c, products, c) + 0.5 * np.sum(((z - problem.start) / problem.std) ** 2)
    )


def _expansion(problem: Problem, products: Array, z: Array) -> tuple[Array, Array]:
    """Slope (p,) and Gauss-Newton Hessian (p, p) of the sum of squares."""
    c, strength = _coefficients(problem, z), problem.layout.of("strength")
    by_z = np.concatenate([np.zeros((1, len(z))), -problem.jacobian(z)])
    slope, hessian = np.zeros_like(z), np.zeros((len(z), len(z)))
    for j in range(len(c)):
        gain = c[j, 0]
        by_j = gain * by_z
        by_j[:, strength.start + j] -= gain * c[j]
        product = products[j] @ by_j
        slope += c[j] @ product
        hessian += by_j.T @ product
    return slope, hessian
