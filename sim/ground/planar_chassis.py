# SPDX-License-Identifier: Apache-2.0
"""A vehicle that slides and turns on a plane; its tyres (tyres.py) act on it as a generalised force."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.ground.description import Ground
from metarl_robot.sim.ground.chassis import add_payload, put_load
from metarl_robot.sim.ground.task import GroundTask
from metarl_robot.sim.ground.tyres import Tyres, ground_of
from metarl_robot.sim.physics_time import velocity_age

Array = NDArray[np.float64]


class PlanarChassis:
    """See metarl_robot.sim.ground.chassis.Chassis."""

    overturned = False

    def __init__(self, robot: Ground, physics_dt_s: float) -> None:
        spec = robot.mj_spec()
        spec.option.timestep = physics_dt_s
        spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        add_payload(spec, robot.base_frame)
        self._age = velocity_age(physics_dt_s)
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._tyres = Tyres(robot, physics_dt_s)

    @property
    def wheel_speeds(self) -> Array:
        return self._tyres.speeds

    def install(self, task: GroundTask) -> None:
        put_load(self._model, task)

    def reset(self, q: Array, v: Array) -> None:
        mujoco.mj_resetData(self._model, self._data)
        self._data.qpos[:], self._data.qvel[:] = q + self._age * v, v
        self._tyres.reset(float(np.cos(q[2]) * v[0] + np.sin(q[2]) * v[1]))

    def move(self, effort: Array, place: GroundTask) -> None:
        self._data.qfrc_applied[:] = self._tyres.force(*self.state(), effort, ground_of(place))
        mujoco.mj_step(self._model, self._data)

    def state(self) -> tuple[Array, Array]:
        v = self._data.qvel.copy()
        return self._data.qpos - self._age * v, v
