# SPDX-License-Identifier: Apache-2.0
"""Feature group of joint friction: Δ = -c tanh(v / v_s) - b v, Coulomb and viscous, per joint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Xi
from metarl_robot.robots.arm.description import Arm

Array = NDArray[np.float64]

COULOMB_VELOCITY_RAD_S = 0.02
CHANGE, CHANGE_S = 20.0, 12.0
"""Largest change of Coulomb and viscous friction, as multiples of the scale of errors (0.2 % of an effort limit)."""
LEAST = 5.0
"""Error of the present friction, in the same scale."""
UNFAMILIAR_SHARE = 0.02
"""Friction of machines unlike the training machines, as a share of the effort limit; a UR10e has 6 %."""
MOVING_RAD_S = 0.1
"""A joint slower than this may be at rest."""
AT_REST = 10.0
"""Static friction of a joint at rest, in the same scale, or twice the estimated Coulomb friction if that is larger.

At rest, friction may have any value between Coulomb friction of both signs. While other joints move, a change of
friction may have brought this joint to rest.
"""


def friction_names(dof: int) -> tuple[str, ...]:
    """Names of the coefficients, (2 dof,)."""
    coulomb = tuple(f"coulomb_{i + 1}_nm" for i in range(dof))
    return coulomb + tuple(f"viscous_{i + 1}_nm_s" for i in range(dof))


class FrictionFeatures(BaseGroup):
    """Coulomb friction, smoothed by tanh(v / v_s), and viscous friction, per joint."""

    sudden = heavy_tailed = True

    def __init__(self, dof: int) -> None:
        super().__init__(dof, friction_names(dof))
        self.pools = ("coulomb",) * dof + ("viscous",) * dof
        self._impulse = np.zeros((dof, 2 * dof))
        self._coulomb, self._viscous = (self._impulse.reshape(-1)[start :: 2 * dof + 1] for start in (0, dof))

    def unexplained(self, force: Array, xi: Xi, z: Array, scale: Array) -> Array:
        """Part of a force that neither a change of friction nor, at rest, static friction explains.

        Rising friction acts against the motion; falling friction removes at most the present friction.
        """
        v = np.abs(xi.v[0])
        moving = np.tanh(v / MOVING_RAD_S)
        among_moving = scale * CHANGE * np.tanh(v.max() / (3.0 * MOVING_RAD_S))
        at_rest = np.maximum(np.maximum(AT_REST * scale, among_moving), 2.0 * z[: self._dof])
        against = moving * scale * (CHANGE + CHANGE_S * v) + (1.0 - moving) * at_rest
        present = np.maximum(z[: self._dof], 0.0) + np.maximum(z[self._dof :], 0.0) * v
        along = np.minimum(moving * (present + LEAST * scale) + (1.0 - moving) * at_rest, against)
        lower, upper = np.where(xi.v[0] >= 0.0, [-against, along], [-along, against])
        return np.asarray(force - np.clip(force, lower, upper))

    def design(self, xi: Xi) -> Array:
        n, count = self._dof, len(xi.v)
        phi = np.zeros((count, 2 * n * n))
        phi[:, :: 2 * n + 1] = -np.tanh(xi.v / COULOMB_VELOCITY_RAD_S)
        phi[:, n :: 2 * n + 1] = -xi.v
        return phi.reshape(count, n, 2 * n)

    def impulse(self, interval: Interval) -> Array:
        v = interval.balance.v_mean
        np.multiply(np.tanh(v / COULOMB_VELOCITY_RAD_S), -interval.dt, out=self._coulomb)
        np.multiply(v, -interval.dt, out=self._viscous)
        return self._impulse

    def value(self, xi: Xi, z: Array) -> Array:
        return -z[: self._dof] * np.tanh(xi.v / COULOMB_VELOCITY_RAD_S) - z[self._dof :] * xi.v

    def jacobian(self, xi: Xi, z: Array) -> Array:
        n, joints = self._dof, np.arange(self._dof)
        slope = (1.0 - np.tanh(xi.v / COULOMB_VELOCITY_RAD_S) ** 2) / COULOMB_VELOCITY_RAD_S
        jacobian = np.zeros((len(xi.v), n, 3 * n))
        jacobian[:, joints, n + joints] = -z[:n] * slope - z[n:]
        return jacobian


def _unfamiliar_std(robot: Arm, std: Array) -> Array:
    """Friction of real arms, as a share of the effort limit; the nominal damping may be missing."""
    coulomb = UNFAMILIAR_SHARE * robot.effort_limit
    damping = np.array(robot.mj_model.dof_damping, dtype=np.float64).reshape(robot.dof)
    return np.concatenate([coulomb, np.hypot(coulomb / robot.velocity_limit, damping)])


def _stated_mean(robot: Arm) -> Array | None:
    """Coulomb friction of robot.yaml; viscous friction is the damping of robot.xml."""
    return None if robot.description.effects is None else np.concatenate([robot.coulomb, np.zeros(robot.dof)])


COULOMB_SHARE, VISCOUS_SHARE_S = (0.01, 0.006), (0.006, 0.0035)
"""Prior without trained weights: mean and standard deviation as shares of the effort limit, as drawn in simulation."""


def _described_prior(robot: Arm) -> dict[str, tuple[float, float]]:
    shares = [COULOMB_SHARE] * robot.dof + [VISCOUS_SHARE_S] * robot.dof
    limits = np.tile(robot.effort_limit, 2).tolist()
    both = zip(friction_names(robot.dof), shares, limits, strict=True)
    return {name: (mean * limit, std * limit) for name, (mean, std), limit in both}


SPEC = FeatureSpec(
    described_prior=_described_prior,
    build=lambda robot, dynamics, checkpoint: FrictionFeatures(robot.dof),
    truth=lambda robot, task: np.concatenate([task.coulomb_nm, task.viscous_nm_s]),
    unfamiliar_std=_unfamiliar_std,
    stated_mean=_stated_mean,
    inertial=True,
)
