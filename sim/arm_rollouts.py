"""Rollouts of arms for learning: half of them tracking, half of them excitation, under a detuned computed torque controller.

    command = ID_nominal(q_m, v_m, a_ref + kp (q_ref - q_m) + kd (v_ref - v_m)),    kp = w^2, kd = 2 d w

with the bandwidth w and the damping d drawn anew for each task, and q_m, v_m measured as on the plant: late, rounded, noisy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.arm import ArmDynamics
from metarl_robot.reference import Shifted, random_excitation, random_tracking
from metarl_robot.robot import Robot
from metarl_robot.signals import Reference
from metarl_robot.sim.batch import BatchPlant
from metarl_robot.sim.kinds import RolloutArrays
from metarl_robot.sim.task import TRAIN, Task, TaskRanges, draw_task

_BANDWIDTH_RAD_S = (10.0, 25.0)
_DAMPING = (0.6, 1.4)
_START_ERROR = (0.02, 0.05)  # rad, rad/s: standard deviation of the start about the reference
_LONGEST_START_S = 3.0  # a rollout starts up to this long after the motion did


class ArmRollouts:
    """See metarl_robot.sim.kinds.RolloutMaker."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._dynamics = ArmDynamics(robot)

    def draw_task(self, rng: np.random.Generator, ranges: TaskRanges | None) -> Task:
        return draw_task(self._robot, rng, ranges or TRAIN)

    def simulate(self, tasks: list[Task], rng: np.random.Generator, steps: int, threads: int) -> tuple[RolloutArrays, NDArray[np.bool_]]:
        robot = self._robot
        count, n, period = len(tasks), robot.dof, robot.control_period_s
        times = np.arange(steps + 1, dtype=np.float64) * period
        motions = [_motion(robot, rng, times[-1]).sample(times) for _ in tasks]
        q_ref, v_ref, a_ref = (np.array([getattr(motion, name) for motion in motions]) for name in ("q", "v", "a"))
        bandwidth, damping = rng.uniform(*_BANDWIDTH_RAD_S, (count, 1)), rng.uniform(*_DAMPING, (count, 1))
        start_q, start_v = (error * rng.standard_normal((count, n)) for error in _START_ERROR)
        margin = 0.01
        start = np.clip(q_ref[:, 0] + start_q, robot.position_lower + margin, robot.position_upper - margin)
        plant = BatchPlant(robot, tasks, rng.integers(2**31, size=count).tolist(), threads)
        names = ("q", "v", "q_measured", "v_measured", "effort")
        arrays = {name: np.empty((count, steps + (name != "effort"), n), np.float32) for name in names}
        measured = plant.reset(start, v_ref[:, 0] + start_v)
        for k in range(steps + 1):
            truth = plant.truth
            for name, values in zip(names[:4], (truth.q, truth.v, measured.q, measured.v), strict=True):
                arrays[name][:, k] = values
            if k == steps:
                break
            feedback = bandwidth**2 * (q_ref[:, k] - measured.q) + 2 * damping * bandwidth * (v_ref[:, k] - measured.v)
            effort = self._dynamics.inverse_dynamics(measured.q, measured.v, a_ref[:, k] + feedback)
            effort = np.clip(effort, -robot.effort_limit, robot.effort_limit)
            arrays["effort"][:, k] = effort
            measured = plant.step(effort)
        return arrays, _within_limits(robot, arrays)


def _within_limits(robot: Robot, arrays: RolloutArrays) -> NDArray[np.bool_]:
    q, v = arrays["q"], arrays["v"]
    inside = (q > robot.position_lower) & (q < robot.position_upper) & (np.abs(v) < robot.velocity_limit)
    return np.asarray(inside.all(axis=(1, 2)))


def _motion(robot: Robot, rng: np.random.Generator, duration_s: float) -> Reference:
    draw = random_tracking if rng.random() < 0.5 else random_excitation
    start = rng.uniform(0.0, _LONGEST_START_S)
    return Shifted(draw(robot, rng, duration_s + _LONGEST_START_S + 1.0), -start)
