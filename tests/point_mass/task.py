# SPDX-License-Identifier: Apache-2.0
"""Tasks of a point mass: the ground and the sensors, their ranges, and the MuJoCo model that simulates them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.robot import Robot
from metarl_robot.sim.euclidean_model import compiled, indices
from metarl_robot.sim.task_data import TaskData

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PointMassTask(TaskData):
    """drag_n_s_m: of the ground. slope_rad: (2,) its rise along x and y. The rest: see euclidean_model.SensedTask."""

    drag_n_s_m: float = 0.0
    slope_rad: Array = (0.0, 0.0)  # type: ignore[assignment]
    motor_strength: Array = (1.0, 1.0)  # type: ignore[assignment]
    command_delay_s: float = 0.0
    sensor_delay_s: float = 0.0
    position_resolution: float = 0.0
    velocity_noise: float = 0.0


@dataclass(frozen=True)
class PointMassRanges:
    """Lowest and highest value of every condition."""

    drag_n_s_m: tuple[float, float] = (0.0, 4.0)
    slope_rad: tuple[float, float] = (-0.1, 0.1)
    motor_strength: tuple[float, float] = (0.9, 1.1)
    sensor_delay_s: tuple[float, float] = (0.0, 0.0)
    command_delay_s: tuple[float, float] = (0.0, 0.004)
    position_resolution: tuple[float, float] = (0.0, 1e-4)
    velocity_noise: tuple[float, float] = (0.001, 0.005)


TRAIN = PointMassRanges()


def draw_task(rng: np.random.Generator, ranges: PointMassRanges = TRAIN) -> PointMassTask:
    """Draw a random task."""
    vectors = {name: rng.uniform(*getattr(ranges, name), 2) for name in ("slope_rad", "motor_strength")}
    numbers = ("drag_n_s_m", "command_delay_s", "sensor_delay_s", "position_resolution", "velocity_noise")
    return PointMassTask(**vectors, **{name: rng.uniform(*getattr(ranges, name)) for name in numbers})


class PointMassModel:
    """See metarl_robot.sim.euclidean_model.TaskModel. The ground tilts, and the joints' damping is its drag."""

    def __init__(self, robot: Robot) -> None:
        self.model = compiled(robot.mj_spec())
        self.q, self.v, self.u = indices(robot, self.model)

    def fields(self, task: PointMassTask) -> dict[str, Array]:
        tilted, gains = self.model.body_quat.copy(), self.model.actuator_gainprm.copy()
        up_x, up_y = task.slope_rad
        tilted[self.model.body("ground").id] = rotation.exp(np.array([up_y, -up_x, 0.0]))
        gains[self.u, 0] = task.motor_strength
        damping = np.full_like(self.model.dof_damping, task.drag_n_s_m)
        return {"body_quat": tilted, "actuator_gainprm": gains, "dof_damping": damping}
