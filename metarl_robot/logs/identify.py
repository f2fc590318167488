# SPDX-License-Identifier: Apache-2.0
"""Nominal parameters of a robot from recordings: the most probable ones under a prior about the nominal model.

The coordinates z are those of bodies that can exist for each link (body_coordinates.py); armature, viscous and Coulomb
friction, which are not negative; motor strength, offset of the effort, and one delay. With x(z) the parameters as they
enter the momentum balance (balance_rows.py), z minimises

    Σ_rows w (Δ - Φ x(z))² / (1 + ε_j)² / (s_j² a_j) + Σ ((z - z_0) / σ)²

The error counts in units of the commanded effort: in those of the force, weaker motors with lighter links would always
fit better. s_j is the scatter of joint j, a_j the number of rows over which its errors are alike (their integrated
autocorrelation), and w are Cauchy's weights 1 / (1 + (error / 3 s_j)²), so that a push counts little. The inverse of
the Hessian is the covariance. A parameter that the motion does not show keeps its prior and the prior's standard
deviation. Where all motors have the same error, mass and motor strength are told apart by the prior alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.mjcf_robot import MjcfRobot
from metarl_robot.core.robot import named
from metarl_robot.dynamics.link_regressor import LinkRegressor, link_parameters
from metarl_robot.logs.balance_rows import MOST_CELLS, Balance, Layout, Rows
from metarl_robot.logs.body_coordinates import SIZE, STD, BodyCoordinates
from metarl_robot.logs.most_probable import Problem, Weigher, solve
from metarl_robot.logs.recording import LogError, Recording

Array = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

STRENGTH_STD, DELAY_STD_S = 0.1, 0.02
COULOMB_SHARE, OFFSET_SHARE = 0.05, 0.005
"""Standard deviations of friction and offset, as shares of the effort limit."""
VISCOUS_SHARE = 0.03
"""That of viscous friction at the velocity limit."""
ARMATURE_SHARE, OF_INERTIA = 0.5, 0.05
"""That of armature, as a share of the nominal one; where it is zero, of the joint's inertia at home."""
ROUNDS = 5
LEAST_ROWS = 30
"""Three seconds."""
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Fold:
    """Held-out data. name: the log, or the part of it. nominal, identified: (n,) root mean square missed force."""

    name: str
    nominal: Array
    identified: Array


@dataclass(frozen=True, eq=False)
class Identified:
    """z (p,) with covariance (p, p). shown: share (p,) of each coordinate's prior variance that the data took away.

    scatter: (n,) missed force that is left, root mean square in moving cells. alike: (n,) a_j. moving_s: (n,) time of
    motion that was used. folds: held-out data.
    """

    problem: Problem
    z: Array
    covariance: Array
    scatter: Array
    alike: Array
    moving_s: Array
    folds: tuple[Fold, ...]

    @property
    def x(self) -> Array:
        return self.problem.values(self.z)

    @property
    def x_covariance(self) -> Array:
        """Covariance (p, p) of x."""
        by_z = self.problem.jacobian(self.z)
        return np.asarray(by_z @ self.covariance @ by_z.T)

    @property
    def determined(self) -> float:
        """Number of parameters that the data determine: trace of 1 - (covariance / prior)."""
        return float(len(self.z) - np.sum(np.diagonal(self.covariance) / self.problem.std**2))

    def over_nominal(self, limit: Array) -> float:
        """Missed force on held-out data over the nominal model's: shares of the effort limit, mean over joints."""
        nominal, identified = (
            np.sqrt(np.mean([getattr(fold, name) ** 2 for fold in self.folds], axis=0)) / limit
            for name in ("nominal", "identified")
        )
        return float(identified.mean() / nominal.mean())


def identify(robot: MjcfRobot, recordings: Sequence[Recording], progress: Progress | None = None) -> Identified:
    """Identify a robot from recordings of one condition.

    Raises:
        LogError: too little motion.
        RobotError: a body's weight is carried by something else than the motors.
    """
    report = progress or (lambda phase, done, total: None)
    problem, balances = problem_of(robot), []
    for i, recording in enumerate(recordings):
        report("balance", i, len(recordings))
        balances.append(Balance(robot, problem.regressor, recording, MOST_CELLS // len(recordings)))
    report("balance", len(recordings), len(recordings))
    before = [balance.rows(problem.start[problem.layout.delay]) for balance in balances]
    _check_motion(robot, before)
    z, weigher = problem.start.copy(), Weigher(robot, problem.layout)
    for done in range(ROUNDS):
        report("fit", done, ROUNDS)
        rows = [balance.rows(z[problem.layout.delay]) for balance in balances]
        weigher.weigh(rows, problem.values(z))
        z, hessian = solve(problem, weigher.products(rows), z)
    report("fit", ROUNDS, ROUNDS)
    folds = tuple(_fold(problem, part, before, rows, weigher, z) for part in _parts(recordings, rows))
    moving_s = sum(each.used.sum(axis=0) * each.hop_s for each in rows)
    return Identified(problem, z, np.asarray(np.linalg.inv(hessian)), weigher.scatter, weigher.alike, moving_s, folds)


def problem_of(robot: MjcfRobot) -> Problem:
    """Prior of a robot's parameters."""
    regressor = LinkRegressor(robot)
    layout, model = Layout(len(regressor.links), robot.dof), robot.mj_model
    parts = [link_parameters(model, link) for link in regressor.links]
    armature, damping = (
        np.array(each, dtype=np.float64).reshape(robot.dof) for each in (model.dof_armature, model.dof_damping)
    )
    mass, _, _ = named(robot.dynamics)(robot).momenta(robot.home[None], np.zeros((1, robot.dof)))
    start, std, least = np.zeros(layout.size), np.ones(layout.size), np.full(layout.size, -np.inf)
    for i in range(layout.links):
        std[layout.link(i)] = STD
    own = np.where(armature > 0.0, ARMATURE_SHARE * armature, OF_INERTIA * np.diagonal(mass[0]))
    spread = {
        "armature": own,
        "viscous": np.hypot(VISCOUS_SHARE * robot.effort_limit / robot.velocity_limit, damping),
        "coulomb": COULOMB_SHARE * robot.effort_limit,
        "strength": np.full(robot.dof, STRENGTH_STD),
        "offset": OFFSET_SHARE * robot.effort_limit,
    }
    for name, values in spread.items():
        std[layout.of(name)] = values
    std[layout.delay] = DELAY_STD_S
    start[layout.of("coulomb")], start[layout.of("strength")] = robot.coulomb, robot.motor_strength - 1.0
    least[layout.of("armature")], least[layout.of("viscous")], least[layout.of("coulomb")] = -armature, -damping, 0.0
    nominal = np.concatenate([*parts, np.zeros(layout.size - SIZE * layout.links)])
    return Problem(robot, regressor, layout, tuple(BodyCoordinates(part) for part in parts), nominal, start, std, least)


def _check_motion(robot: MjcfRobot, rows: Sequence[Rows]) -> None:
    moving = sum(each.used.sum(axis=0) for each in rows)
    if moving.max() < LEAST_ROWS:
        longest = float(moving.max() * rows[0].hop_s)
        needed = float(LEAST_ROWS * rows[0].hop_s)
        raise LogError(
            f"no joint moves for {needed:.3g} s in these recordings; the longest motion lasts {longest:.3g} s; "
            "parameters show in motion only: record a motion of all joints"
        )


Part = tuple[str, list[NDArray[np.bool_]]]
"""A name, and for each log the cells (C,) that belong to it."""


def _parts(recordings: Sequence[Recording], rows: Sequence[Rows]) -> list[Part]:
    """Held-out parts: each log, or each fifth of a single one."""
    counts = [len(each.missed) for each in rows]
    if len(rows) > 1:
        return [
            (recording.source, [np.full(count, i == k) for k, count in enumerate(counts)])
            for i, recording in enumerate(recordings)
        ]
    fold = np.arange(counts[0]) * FOLDS // counts[0]
    return [(f"{recordings[0].source}, part {i + 1} of {FOLDS}", [fold == i]) for i in range(FOLDS)]


def _fold(
    problem: Problem, part: Part, before: Sequence[Rows], rows: Sequence[Rows], weigher: Weigher, z: Array
) -> Fold:
    """Fit without a part, and predict it."""
    name, held = part
    fitted, _ = solve(problem, weigher.products(rows, [~each for each in held]), z)
    missed = [
        _rms([each.left(problem.values(of))[at & each.usable] for each, at in zip(some, held, strict=True)])
        for some, of in ((before, problem.start), (rows, fitted))
    ]
    return Fold(name, *missed)


def _rms(parts: Sequence[Array]) -> Array:
    return np.asarray(np.sqrt(np.mean(np.concatenate(parts) ** 2, axis=0)))
