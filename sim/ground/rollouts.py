# SPDX-License-Identifier: Apache-2.0
"""Training rollouts of ground vehicles: random courses under pure pursuit with random gains, and dithered commands.

Each begins on its course, at its speed. The reference uses a random share of the task's friction, up to all of it, so
that the data contain slip.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Reference, State
from metarl_robot.robots.ground import courses
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.path_reference import driven
from metarl_robot.robots.ground.pure_pursuit import PurePursuit, PurePursuitConfig
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.suites import TRAIN, GroundRanges, draw_task
from metarl_robot.sim.ground.task import GroundTask
from metarl_robot.sim.kinds import RolloutArrays

Array = NDArray[np.float64]

_COURSES = (courses.oval, courses.circle, courses.figure_eight, courses.slalom, courses.lane_change)
_GRIP_SHARE = (0.3, 1.0)
_START_ERROR = (0.1, 0.1, 0.05, 0.2, 0.05, 0.2)  # m, m, rad, m/s, m/s, rad/s about the reference
_AHEAD_S = (0.15, 0.5)
_SPEED_GAIN = (1.0, 8.0)
_DITHER = (0.15, 0.25)
"""Standard deviation of the dither of steering and torques, share of the limit."""
_DITHER_MEMORY_S = 0.15
_FASTEST = 1.3  # of the limits of speed and yaw rate


class GroundRollouts:
    """See metarl_robot.sim.kinds.RolloutMaker."""

    def __init__(self, robot: Ground) -> None:
        self._robot = robot

    def draw_task(self, rng: np.random.Generator, ranges: GroundRanges | None) -> GroundTask:
        return draw_task(self._robot, rng, ranges or TRAIN)

    def simulate(
        self, tasks: list[GroundTask], rng: np.random.Generator, steps: int, threads: int
    ) -> tuple[RolloutArrays, NDArray[np.bool_]]:
        robot = self._robot
        sizes = {"q": (1, 3), "v": (1, 3), "q_measured": (1, 3), "v_measured": (1, 3)}
        sizes |= {"effort": (0, robot.nu), "acting": (0, robot.nu)}
        arrays = {name: np.empty((len(tasks), steps + more, size), np.float32) for name, (more, size) in sizes.items()}
        valid = np.zeros(len(tasks), bool)
        for index, (task, draws) in enumerate(zip(tasks, rng.spawn(len(tasks)), strict=True)):
            valid[index] = self._drive(task, draws, {name: array[index] for name, array in arrays.items()}, steps)
        return arrays, valid

    def _drive(self, task: GroundTask, rng: np.random.Generator, log: dict[str, Any], steps: int) -> bool:
        """Log one rollout; returns whether it stayed within the limits."""
        robot, period = self._robot, self._robot.control_period_s
        reference, start_s = self._motion(task, rng, steps * period)
        config = PurePursuitConfig(ahead_s=rng.uniform(*_AHEAD_S), speed=rng.uniform(*_SPEED_GAIN))
        law, plant = PurePursuit(robot, config), GroundPlant(robot, task, int(rng.integers(2**31)))
        begin = reference.sample(np.array([start_s]))
        error = np.array(_START_ERROR) * rng.standard_normal(6)
        measured = plant.reset(begin.q[0] + error[:3], begin.v[0] + error[3:])
        dither = self._dither(rng, steps)
        for k in range(steps + 1):
            for name, state in (("", plant.truth), ("_measured", measured)):
                log[f"q{name}"][k], log[f"v{name}"][k] = state.q, state.v
            if k == steps:
                break
            wish = law.step(start_s + k * period, State(measured.q, measured.v), reference).effort + dither[k]
            effort = np.clip(wish, robot.effort_lower, robot.effort_limit)
            measured = plant.step(effort, period)
            log["effort"][k], log["acting"][k] = effort, plant.mean_actuators
        fast = np.hypot(log["v"][:, 0], log["v"][:, 1]) > _FASTEST * robot.velocity_limit[0]
        return not (plant.spins or fast.any() or (np.abs(log["v"][:, 2]) > _FASTEST * robot.velocity_limit[2]).any())

    def _motion(self, task: GroundTask, rng: np.random.Generator, duration_s: float) -> tuple[Reference, float]:
        """A reference and the time at which the rollout begins."""
        choice = int(rng.integers(2 * len(_COURSES)))
        path = _COURSES[choice](self._robot) if choice < len(_COURSES) else courses.raceway(self._robot, rng)
        reference = driven(self._robot, path, rng.uniform(*_GRIP_SHARE) * task.friction)
        return reference, float(rng.uniform(0.0, max(reference.lap_s - (0.0 if path.closed else duration_s), 0.0)))

    def _dither(self, rng: np.random.Generator, steps: int) -> Array:
        """Commands (S, nu) with a short memory."""
        robot, keep = self._robot, np.exp(-self._robot.control_period_s / _DITHER_MEMORY_S)
        share = np.array(_DITHER) if robot.is_steered else np.full(robot.nu, _DITHER[1])
        noise, made = rng.standard_normal((steps, robot.nu)), np.zeros((steps, robot.nu))
        for k in range(1, steps):
            made[k] = keep * made[k - 1] + np.sqrt(1.0 - keep**2) * noise[k]
        return np.asarray(made * share * robot.effort_limit)
