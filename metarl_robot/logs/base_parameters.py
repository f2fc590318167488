# SPDX-License-Identifier: Apache-2.0
"""Base inertial parameters: the combinations of the links' parameters and armatures that any motion can show.

A QR factorisation with column pivoting of the regressor at random states (Gautier 1991) picks independent columns and
writes each other column as their combination, so that with x = (x_1, x_2) the robot shows x_1 + K x_2 alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

from metarl_robot.core.mjcf_robot import MjcfRobot
from metarl_robot.dynamics.link_regressor import LinkRegressor
from metarl_robot.logs.balance_rows import Layout

Array = NDArray[np.float64]

OF_LINK = ("m", "m cx", "m cy", "m cz", "Ixx", "Iyy", "Izz", "Ixy", "Ixz", "Iyz")
_STATES, _SEED, _RANK, _SMALL = 60, 0, 1e-8, 1e-6


@dataclass(frozen=True, eq=False)
class BaseParameters:
    """matrix: (r, p) combinations of x (balance_rows.py). names: of each, by its terms."""

    matrix: Array
    names: tuple[str, ...]


def base_parameters(robot: MjcfRobot, regressor: LinkRegressor, layout: Layout) -> BaseParameters:
    """The base parameters of a robot."""
    columns = [*range(10 * layout.links), *range(layout.of("armature").start, layout.of("armature").stop)]
    named = [f"{link.name} {name}" for link in regressor.links for name in OF_LINK]
    named += [f"armature {name}" for name in robot.channel_names]
    _, upper, pivot = qr(_observed(robot, regressor), mode="economic", pivoting=True)
    size = np.abs(np.diagonal(upper))
    rank = int(np.sum(size > _RANK * size[0]))
    shares = solve_triangular(upper[:rank, :rank], upper[:rank, rank:])
    matrix = np.zeros((rank, layout.size))
    names: list[str] = []
    for i in np.argsort(pivot[:rank]):
        row = np.zeros(len(columns))
        row[pivot[i]], row[pivot[rank:]] = 1.0, np.where(np.abs(shares[i]) > _SMALL, shares[i], 0.0)
        matrix[len(names), columns] = row
        names.append(_name(named, row, int(pivot[i])))
    return BaseParameters(matrix, tuple(names))


def _observed(robot: MjcfRobot, regressor: LinkRegressor) -> Array:
    """Columns of momentum and force at random states (2 n N, 10 L + n), rows of one unit size."""
    rng, n = np.random.default_rng(_SEED), robot.dof
    lower, upper = np.maximum(robot.position_lower, -np.pi), np.minimum(robot.position_upper, np.pi)
    q = rng.uniform(lower, upper, (_STATES, n))
    v = rng.uniform(-1.0, 1.0, (_STATES, n)) * robot.velocity_limit
    by_momentum, by_beta = regressor(q, v)
    rotors = np.zeros((_STATES, n, n))
    rotors[:, np.arange(n), np.arange(n)] = v
    momentum = np.concatenate([by_momentum, rotors], axis=2)
    force = np.concatenate([by_beta, np.zeros_like(rotors)], axis=2)
    return np.concatenate([each.reshape(_STATES * n, -1) for each in (momentum, force)])


def _name(named: list[str], row: Array, leading: int) -> str:
    terms = [named[leading]]
    for i in np.flatnonzero(row):
        if i != leading:
            terms.append(f"{'+' if row[i] > 0.0 else '-'} {abs(row[i]):.4g} {named[i]}")
    return " ".join(terms)
