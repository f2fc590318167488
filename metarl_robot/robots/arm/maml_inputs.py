# SPDX-License-Identifier: Apache-2.0
"""Inputs of an arm's MAML network (adaptation/maml.py).

    x = (sin q, cos q, v / v_max, tanh(v / v_s), a / a_s, ID(q, v, a) / τ_max, Y_m(q, v, a) m_rated / τ_max)

The last two are the nominal effort and the effort of a point mass at the payload site.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.adapter_spec import AdapterSpec
from metarl_robot.adaptation.factory import maml_adapter
from metarl_robot.core.robot import Robot
from metarl_robot.dynamics.rigid_body import N_INERTIAL
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.features.friction import COULOMB_VELOCITY_RAD_S

Array = NDArray[np.float64]

ACCELERATION_SCALE_RAD_S2 = 10.0


class ArmNetworkInputs:
    """Computes the network's inputs x and their Jacobian."""

    def __init__(self, robot: Robot, dynamics: ArmDynamics) -> None:
        self._dynamics, self._velocity_limit, self._effort_limit = dynamics, robot.velocity_limit, robot.effort_limit
        self._payload = np.zeros(N_INERTIAL)
        self._payload[0] = robot.description.payload.rated_mass_kg
        self.size = 7 * robot.dof

    def encode(self, q: Array, v: Array, a: Array) -> Array:
        """Inputs x (N, 7n) of states (N, n)."""
        if len(q) == self._dynamics.knots:
            nominal = self._dynamics.efforts(q, v, a).copy()
            load = self._dynamics.attached_efforts(q, v, a, self._payload)
        else:
            nominal = self._dynamics.inverse_dynamics(q, v, a)
            load = self._dynamics.attached_regressors(q, v, a) @ self._payload
        friction = np.tanh(v / COULOMB_VELOCITY_RAD_S)
        parts = [np.sin(q), np.cos(q), v / self._velocity_limit, friction, a / ACCELERATION_SCALE_RAD_S2]
        return np.concatenate([*parts, nominal / self._effort_limit, load / self._effort_limit], axis=1)

    def jacobian(self, q: Array, v: Array, a: Array) -> Array:
        """Derivatives ∂x/∂(q, v, a) (knots, 7n, 3n), at exactly as many states as the dynamics has knots."""
        n = q.shape[1]
        joints = np.arange(n)
        jacobian = np.zeros((len(q), 7 * n, 3 * n))
        jacobian[:, joints, joints] = np.cos(q)
        jacobian[:, n + joints, joints] = -np.sin(q)
        jacobian[:, 2 * n + joints, n + joints] = 1.0 / self._velocity_limit
        jacobian[:, 3 * n + joints, n + joints] = (
            1.0 - np.tanh(v / COULOMB_VELOCITY_RAD_S) ** 2
        ) / COULOMB_VELOCITY_RAD_S
        jacobian[:, 4 * n + joints, 2 * n + joints] = 1.0 / ACCELERATION_SCALE_RAD_S2
        jacobian[:, 5 * n : 6 * n] = self._dynamics.efforts_jacobian(q, v, a) / self._effort_limit[:, None]
        jacobian[:, 6 * n :] = self._dynamics.attached_jacobian(q, v, a, self._payload) / self._effort_limit[:, None]
        return jacobian


MAML = AdapterSpec(
    lambda robot, dynamics, tuning, checkpoint: maml_adapter(
        robot, dynamics, ArmNetworkInputs(robot, dynamics), tuning, checkpoint
    ),
    weights="maml",
    learner="metarl_robot.sim.learners:train_maml",
)
