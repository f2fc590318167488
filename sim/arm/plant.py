# SPDX-License-Identifier: Apache-2.0
"""A simulated arm under one task: EuclideanPlant with a payload, which may swing, and a cable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.sim.arm.model import Layout, compile_model, hang
from metarl_robot.sim.arm.model_errors import JointLaws, joint_laws
from metarl_robot.sim.arm.task import Task
from metarl_robot.sim.euclidean_plant import EuclideanPlant
from metarl_robot.sim.physics_time import PHYSICS_DT_S
from metarl_robot.sim.sensor_errors import SensorErrors

Array = NDArray[np.float64]


class ArmPlant(EuclideanPlant):
    """An arm in MuJoCo.

    A rigid payload takes over the tool's velocity when attached; a swinging one starts hanging at rest.
    """

    _layout: Layout

    def __init__(
        self, robot: Robot, task: Task, seed: int | Sequence[int] = 0, physics_dt_s: float = PHYSICS_DT_S
    ) -> None:
        self._layouts: dict[bool, Layout] = {}
        super().__init__(robot, task, seed, physics_dt_s)

    def model_of(self, task: Task) -> Layout:
        if len(task.coulomb_nm) != self.robot.dof:
            raise SignalError(f"task: has {len(task.coulomb_nm)} joints; {self.robot.name} has {self.robot.dof}")
        if task.swing not in self._layouts:
            self._layouts[task.swing] = compile_model(self.robot, task.swing, self._dt)
        return self._layouts[task.swing]

    def step_law(self, task: Task) -> JointLaws | None:
        return joint_laws([task])

    def sensor_errors(self, task: Task) -> SensorErrors | None:
        return task.sensor_errors

    def started(self, before: Any) -> None:
        if self._task.swing and (before is None or not before.swing):
            hang(self._layout, self._data)

    @property
    def quantities(self) -> Array:
        """True values of the robot's reports: mass (1), centre of mass (3)."""
        return np.array([self._task.payload.mass_kg, *self._task.payload.com_m])

    @property
    def end_effector(self) -> Array:
        """Present true position (3,) of the payload site [m; world]."""
        self._refresh()
        mujoco.mj_kinematics(self._layout.model, self._scratch)
        return self._scratch.site_xpos[self._layout.payload_site].copy()

    @property
    def payload_position(self) -> Array:
        """Present centre of mass (3,) of the payload [m; world]."""
        self._refresh()
        mujoco.mj_kinematics(self._layout.model, self._scratch)
        return self._scratch.xipos[self._layout.payload_body].copy()
