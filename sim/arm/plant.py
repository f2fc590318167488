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
from metarl_robot.sim.arm.obstacle import contact_force_n
from metarl_robot.sim.arm.task import Task
from metarl_robot.sim.euclidean_plant import EuclideanPlant
from metarl_robot.sim.physics_time import PHYSICS_DT_S
from metarl_robot.sim.sensor_errors import SensorErrors

Array = NDArray[np.float64]


class ArmPlant(EuclideanPlant):
    """An arm in MuJoCo.

    peak_contact_n: largest contact force since the reset.

    A rigid payload takes over the tool's velocity when attached; a swinging one starts hanging at rest.
    """

    _layout: Layout

    def __init__(
        self, robot: Robot, task: Task, seed: int | Sequence[int] = 0, physics_dt_s: float = PHYSICS_DT_S
    ) -> None:
        self._layouts: dict[tuple[bool, bool], Layout] = {}
        super().__init__(robot, task, seed, physics_dt_s)

    def model_of(self, task: Task) -> Layout:
        if len(task.coulomb_nm) != self.robot.dof:
            raise SignalError(f"task: has {len(task.coulomb_nm)} joints; {self.robot.name} has {self.robot.dof}")
        key = task.swing, task.obstacle is not None
        if key not in self._layouts:
            self._layouts[key] = compile_model(self.robot, task.swing, self._dt, obstacle=key[1])
        return self._layouts[key]

    def step_law(self, task: Task) -> JointLaws | None:
        return joint_laws([task])

    def sensor_errors(self, task: Task) -> SensorErrors | None:
        return task.sensor_errors

    def started(self, before: Any) -> None:
        if before is None:
            self.peak_contact_n = 0.0
        self._data.xfrc_applied[self._layout.payload_body, :3] = 0.0 if self._task.push_n is None else self._task.push_n
        if self._task.obstacle is not None:
            self._task.obstacle.place(self._layout.model, self._data, 0.0 if before is None else self.time)
        if self._task.swing and (before is None or not before.swing):
            hang(self._layout, self._data)

    def stepped(self) -> None:
        if self._task.obstacle is not None:
            self.peak_contact_n = max(self.peak_contact_n, contact_force_n(self._layout.model, self._data))
            self._task.obstacle.place(self._layout.model, self._data, self.time)

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
