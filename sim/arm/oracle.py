# SPDX-License-Identifier: Apache-2.0
"""Oracle of an arm: an adapter with known payload, friction, motor strength and cable; see metarl_robot.sim.oracle.

A disturbance observer estimates the remainder (stiction, latency), as in the learning controllers.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.factory import filter_tuning
from metarl_robot.adaptation.feature_spec import feature_groups, true_contexts
from metarl_robot.adaptation.features import BaseGroup, FeatureMap, Xi
from metarl_robot.adaptation.momentum_filter import Prior
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.arm.task import Cable, Task, nominal_task
from metarl_robot.sim.oracle import OracleAdapter

Array = NDArray[np.float64]

_STEP_RAD = 1e-6


_KNOWN = ("payload", "friction", "motor")
"""Feature groups with known coefficients."""


class CableFeature(BaseGroup):
    """The known cable as one feature with coefficient 1: Δ = J_pointᵀ f(q)."""

    def __init__(self, dynamics: ArmDynamics, cable: Cable) -> None:
        super().__init__(dynamics.dof, ("cable",))
        self._dynamics, self._cable = dynamics, cable

    def design(self, xi: Xi) -> Array:
        return np.stack([self._effort(q) for q in xi.q])[:, :, None]

    def value(self, xi: Xi, z: Array) -> Array:
        return self.design(xi)[:, :, 0] * z[0]

    def jacobian(self, xi: Xi, z: Array) -> Array:
        n = xi.q.shape[1]
        jacobian = np.zeros((len(xi.q), n, 3 * n))
        for k, q in enumerate(xi.q):
            here = self._effort(q)
            for j in range(n):
                jacobian[k, :, j] = (self._effort(q + _STEP_RAD * np.eye(n)[j]) - here) / _STEP_RAD * z[0]
        return jacobian

    def _effort(self, q: Array) -> Array:
        site, rotation = self._dynamics.forward_kinematics(q)
        jacobian = self._dynamics.site_jacobian(q)
        lever = rotation @ self._cable.point_m
        pull = self._cable.anchor_m - (site + lever)
        length = float(np.linalg.norm(pull))
        force = self._cable.tension(length) * pull / max(length, 1e-9)
        return jacobian[:3].T @ force + jacobian[3:].T @ np.cross(lever, force)


def make_oracle(robot: Robot, dynamics: ArmDynamics, tuning: AdapterTuning) -> OracleAdapter:
    """Make an oracle of the nominal task; the factory of `oracle_mpc`."""
    return OracleAdapter(
        dynamics, partial(_known, robot, dynamics), nominal_task(robot), filter_tuning(robot, dynamics, tuning)
    )


def _known(robot: Robot, dynamics: ArmDynamics, task: Task) -> tuple[FeatureMap, Prior]:
    groups = feature_groups(robot, dynamics, _KNOWN)
    context = true_contexts(robot, [task], _KNOWN, groups)[0]
    if task.cable is not None:
        groups, context = (*groups, CableFeature(dynamics, task.cable)), np.append(context, 1.0)
    return FeatureMap(dynamics, groups), Prior(context, np.zeros((len(context), len(context))))
