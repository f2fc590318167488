# SPDX-License-Identifier: Apache-2.0
"""Oracle of an arm: an adapter with known payload, friction, motors, cable, links and ripple; see sim/oracle.py.

A disturbance observer estimates the remainder (stiction, latency, friction that depends on load or falls with
velocity), as in the learning controllers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.factory import filter_tuning
from metarl_robot.adaptation.feature_spec import feature_groups, true_contexts
from metarl_robot.adaptation.features import BaseGroup, FeatureMap, Xi
from metarl_robot.adaptation.filter_tuning import Prior
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.arm.model import Layout, compile_model
from metarl_robot.sim.arm.model_errors import joint_laws
from metarl_robot.sim.arm.task import Cable, Task, nominal_task
from metarl_robot.sim.euclidean_model import install
from metarl_robot.sim.oracle import OracleAdapter

Array = NDArray[np.float64]

_STEP_RAD = 1e-6


_KNOWN = ("payload", "friction", "motor")
"""Feature groups with known coefficients."""


class KnownForce(BaseGroup):
    """A known force Δ(q, v, a) (n,) as one feature with coefficient 1."""

    def __init__(self, dof: int, name: str) -> None:
        super().__init__(dof, (name,))

    def design(self, xi: Xi) -> Array:
        return np.stack([self._force(*point) for point in zip(xi.q, xi.v, xi.a, strict=True)])[:, :, None]

    def value(self, xi: Xi, z: Array) -> Array:
        return self.design(xi)[:, :, 0] * z[0]

    def jacobian(self, xi: Xi, z: Array) -> Array:
        n = xi.q.shape[1]
        jacobian = np.zeros((len(xi.q), n, 3 * n))
        for k, point in enumerate(np.concatenate([xi.q, xi.v, xi.a], axis=1)):
            here = self._force(*np.split(point, 3))
            for j, step in enumerate(_STEP_RAD * np.eye(3 * n)):
                jacobian[k, :, j] = (self._force(*np.split(point + step, 3)) - here) / _STEP_RAD * z[0]
        return jacobian

    def _force(self, q: Array, v: Array, a: Array) -> Array:
        raise NotImplementedError


class CableFeature(KnownForce):
    """The known cable: Δ = J_pointᵀ f(q)."""

    def __init__(self, dynamics: ArmDynamics, cable: Cable) -> None:
        super().__init__(dynamics.dof, "cable")
        self._dynamics, self._cable = dynamics, cable

    def _force(self, q: Array, v: Array, a: Array) -> Array:
        site, rotation = self._dynamics.forward_kinematics(q)
        jacobian = self._dynamics.site_jacobian(q)
        lever = rotation @ self._cable.point_m
        pull = self._cable.anchor_m - (site + lever)
        length = float(np.linalg.norm(pull))
        force = self._cable.tension(length) * pull / max(length, 1e-9)
        return jacobian[:3].T @ force + jacobian[3:].T @ np.cross(lever, force)


class ModelErrorFeature(KnownForce):
    """The known links and ripple: Δ = ID_nominal(q, v, a) - ID_true(q, v, a) + ripple(q)."""

    def __init__(self, robot: Robot, task: Task) -> None:
        super().__init__(robot.dof, "model_error")
        self._nominal, self._true = compile_model(robot), compile_model(robot)
        undisturbed = nominal_task(robot)
        install(self._nominal, undisturbed, mujoco.MjData(self._nominal.model))
        install(self._true, replace(undisturbed, links=task.links), mujoco.MjData(self._true.model))
        self._data = [mujoco.MjData(layout.model) for layout in (self._nominal, self._true)]
        self._laws = joint_laws([task])

    def _force(self, q: Array, v: Array, a: Array) -> Array:
        nominal, true = (
            _inverse(layout, data, q, v, a)
            for layout, data in zip((self._nominal, self._true), self._data, strict=True)
        )
        return nominal - true + (0.0 if self._laws is None else self._laws.force(q[None])[0])


def _inverse(layout: Layout, data: mujoco.MjData, q: Array, v: Array, a: Array) -> Array:
    data.qpos[layout.q], data.qvel[layout.v], data.qacc[layout.v] = q, v, a
    mujoco.mj_inverse(layout.model, data)
    return data.qfrc_inverse[layout.v].copy()


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
    if task.links is not None or task.ripple is not None:
        groups, context = (*groups, ModelErrorFeature(robot, task)), np.append(context, 1.0)
    return FeatureMap(dynamics, groups), Prior(context, np.zeros((len(context), len(context))))
