# SPDX-License-Identifier: Apache-2.0
"""A vehicle that stands on its wheels: MuJoCo's contacts with Coulomb friction instead of a tyre model.

It pitches, rolls, lifts wheels and overturns. A wheel hardly slips until its friction is used up, so that the task's
`stiffness_scale` has no effect; forces build up in about 0.1 s. Each wheel has the friction at its own place. Steered
wheels turn about one centre (Ackermann); the drives' torques act between wheel and body; rolling resistance is dry
friction of the axles.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.sim.ground.chassis import put_load
from metarl_robot.sim.ground.contact_model import contact_model, wheel_name
from metarl_robot.sim.ground.task import GroundTask, PatchedTask
from metarl_robot.sim.physics_time import velocity_age

Array = NDArray[np.float64]

_UPRIGHT = 0.5
"""Least cosine of the body's tilt, 60 degrees, before it counts as overturned."""


class ContactChassis:
    """See metarl_robot.sim.ground.chassis.Chassis. seed: of the bumps."""

    def __init__(self, robot: Ground, physics_dt_s: float, bump_height_m: float = 0.0, seed: int = 0) -> None:
        self._robot, self._age = robot, velocity_age(physics_dt_s)
        self._model = model = contact_model(robot, physics_dt_s, bump_height_m, seed)
        self._data = mujoco.MjData(model)
        self._bodies = np.array([model.body(wheel_name(i)).id for i in range(len(robot.track.positions))])
        self._axles = model.body_dofadr[self._bodies]
        self._right = robot.track.positions[:, 1] < 0.0
        steered, x = robot.track.steered, robot.track.positions[:, 0]
        self._steered = self._bodies[steered]
        self._ahead, self._left = x[steered] - x[~steered].min(), robot.track.positions[steered, 1]
        self._yaw = 0.0

    @property
    def wheel_speeds(self) -> Array:
        return np.asarray(self._data.qvel[self._axles])

    @property
    def overturned(self) -> bool:
        return bool(_up(self._data.qpos[3:7])[2] < _UPRIGHT)

    def install(self, task: GroundTask) -> None:
        self._task = task
        put_load(self._model, task)
        weight = GRAVITY_M_S2 * np.array([self._robot.mass_kg + task.payload_mass_kg,
                                          *task.payload_mass_kg * task.payload_position_m[:2]])  # fmt: skip
        load = np.maximum(self._robot.track.load_share @ weight, 0.0)
        self._model.dof_frictionloss[self._axles] = task.rolling_resistance * load * self._robot.wheel_radius_m
        self._lay()

    def _lay(self) -> None:
        """Give each wheel the friction at its place."""
        places = self._data.xpos[self._bodies, :2]
        friction = self._task.friction_at(places, self._right)
        self._model.pair_friction[:, :2] = np.tile(friction, self._model.npair // len(friction))[:, None]

    def reset(self, q: Array, v: Array) -> None:
        model, data = self._model, self._data
        mujoco.mj_resetData(model, data)
        at = q + self._age * v
        half = 0.5 * at[2]
        data.qpos[:7] = *at[:2], 0.0, np.cos(half), 0.0, 0.0, np.sin(half)
        data.qvel[:2], data.qvel[5], self._yaw = v[:2], v[2], at[2]
        forward = np.cos(q[2]) * v[0] + np.sin(q[2]) * v[1] - v[2] * self._robot.track.positions[:, 1]
        data.qvel[self._axles] = forward / self._robot.wheel_radius_m
        mujoco.mj_fwdPosition(model, data)
        data.qpos[2] = -data.contact.dist.min(initial=0.0)  # no wheel begins below the ground
        self._lay()

    def move(self, effort: Array, place: GroundTask) -> None:
        data = self._data
        if self._robot.is_steered:
            self._steer(effort[0])
        if isinstance(self._task, PatchedTask):
            self._lay()
        data.qfrc_applied[self._axles] = self._robot.track.torque_share @ effort
        mujoco.mj_step(self._model, data)
        yaw = _yaw(data.qpos[3:7])
        self._yaw = yaw + 2.0 * np.pi * np.round((self._yaw - yaw) / (2.0 * np.pi))

    def _steer(self, angle: float) -> None:
        """Turn the steered wheels to the angle [rad] of a wheel in the middle, about one centre."""
        half = 0.5 * np.arctan2(self._ahead * np.sin(angle), self._ahead * np.cos(angle) - self._left * np.sin(angle))
        self._model.body_quat[self._steered, 0] = np.cos(half)
        self._model.body_quat[self._steered, 3] = np.sin(half)

    def state(self) -> tuple[Array, Array]:
        data = self._data
        v = np.array([*data.qvel[:2], _up(data.qpos[3:7]) @ data.qvel[3:6]])
        return np.array([*data.qpos[:2], self._yaw]) - self._age * v, v


def _yaw(wxyz: Array) -> float:
    w, x, y, z = wxyz
    return float(np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)))


def _up(wxyz: Array) -> Array:
    """The world's z axis (3,) in the body's directions."""
    w, x, y, z = wxyz
    return np.array([2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)])
