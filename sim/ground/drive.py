# SPDX-License-Identifier: Apache-2.0
"""Family `<car>-drive`: a car follows a path among obstacles under unknown conditions.

A task is a draw of the training suites (friction, load, slope, motor strength, steering offset, latency and noise of
the sensors: sim/ground/suites.py), a stretch of a random course, and a random layout of obstacles on it. The line that
is followed is the detour that controllers plan around these obstacles (robots/ground/route.py), as fast as a share of
the friction allows. Episodes of 2.5 s begin on the line at its speed, with small errors. Observation, reward and effort
are those of robots/ground/drive_law.py, from measured states only. A car that touches an obstacle or leaves the line by
LEFT_WIDTHS ends its episode at the cost of FAILURE; one that does not succeeds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.signals import Setpoints, State
from metarl_robot.learning.policies.family import Family
from metarl_robot.robots.ground import courses
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.drive_law import PERIOD_S, POINTS, DriveLaw
from metarl_robot.robots.ground.nearby import SPACING_S
from metarl_robot.robots.ground.obstacles import Obstacles, clearance
from metarl_robot.robots.ground.path import Path
from metarl_robot.robots.ground.path_reference import driven
from metarl_robot.robots.ground.route import Route, RouteConfig
from metarl_robot.sim.effort_limits import limited
from metarl_robot.sim.families.single import Single
from metarl_robot.sim.ground import layouts
from metarl_robot.sim.ground.batch import GroundBatch
from metarl_robot.sim.ground.suites import GRIP_SHARE, draw_task
from metarl_robot.sim.ground.task import GroundTask

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

FAMILY = "drive"
HORIZON = 125
FAILURE = 50.0
LEFT_WIDTHS = 4.0
_AHEAD_S = HORIZON * PERIOD_S + 1.0
_START_ERROR = (0.03, 0.03, 0.03, 0.1, 0.03, 0.1)  # m, m, rad, m/s, m/s, rad/s
_REACH = np.arange(-5, 25)
"""Points of the line, from the last nearest one, among which the next is searched."""
_MOST_DRAWS = 50
_ROUNDING_S = 1e-6
"""A reference stands still before its start."""


class Drive(NamedTuple):
    """A task. line: (T, 3) points, SPACING_S apart, that the car follows; obstacles: (K, 3) x, y, radius [m]."""

    conditions: GroundTask
    line: Setpoints
    obstacles: Array


class Drives(VectorEnv[Array, Array, Any]):
    """Many cars, one for each task, stepped by mujoco.batch."""

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, robot: Ground, law: DriveLaw, tasks: Sequence[Drive]) -> None:
        self._robot, self._law, self._tasks = robot, law, list(tasks)
        self._obstacles = [Obstacles(task.obstacles) for task in tasks]
        self._lines = Setpoints(*(np.stack([getattr(task.line, name) for task in tasks]) for name in ("q", "v", "a")))
        self._substeps = max(1, round(PERIOD_S / robot.control_period_s))
        self._left_m = LEFT_WIDTHS * float(robot.description.size_m[1])
        self.num_envs = len(self._tasks)
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (law.observations,), np.float32)
        self.single_action_space = spaces.Box(-1.0, 1.0, (law.actions,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        seeds = self.np_random.integers(2**31, size=self.num_envs).tolist()
        self._plant = GroundBatch(self._robot, [task.conditions for task in self._tasks], seeds)
        error = np.array(_START_ERROR) * self.np_random.standard_normal((self.num_envs, 6))
        self._measured = self._plant.reset(self._lines.q[:, 0] + error[:, :3], self._lines.v[:, 0] + error[:, 3:])
        self._at = np.zeros(self.num_envs, dtype=int)
        self._correction = np.zeros((self.num_envs, self._law.actions))
        self._effort: Array | None = None
        self._steps, self._over = 0, np.zeros(self.num_envs, dtype=bool)
        return self._observations(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Flags, Flags, dict[str, Any]]:
        actions = np.clip(np.asarray(actions, dtype=float), -1.0, 1.0)
        for _ in range(self._substeps):
            self._correction = self._law.moved(self._correction, actions, self._robot.control_period_s)
            wanted = self._law.effort(self._measured, self._line(), self._correction)
            self._effort = limited(self._robot, wanted, self._effort)
            self._measured = self._plant.step(self._effort)
        self._steps += 1
        failed = self._failed() & ~self._over
        rewards = np.where(self._over, 0.0, self._law.reward(self._measured, self._line(), actions))
        self._over = self._over | failed
        late = np.full(self.num_envs, self._steps >= HORIZON)
        success = late & ~self._over
        return self._observations(), rewards - FAILURE * failed, self._over.copy(), late, {"success": success}

    def _line(self) -> Setpoints:
        """The lines (N, POINTS, 3) from the points nearest to the measured positions on."""
        rows, last = np.arange(self.num_envs)[:, None], self._lines.q.shape[1] - 1
        near = np.clip(self._at[:, None] + _REACH, 0, last)
        away = np.square(self._lines.q[rows, near, :2] - self._measured.q[:, None, :2]).sum(axis=2)
        self._at = near[rows[:, 0], away.argmin(axis=1)]
        points = np.minimum(self._at[:, None] + np.arange(POINTS), last)
        return Setpoints(*(getattr(self._lines, name)[rows, points] for name in ("q", "v", "a")))

    def _failed(self) -> Flags:
        """Whether each car touches an obstacle or has left its line."""
        q = self._plant.truth.q
        touching = [
            clearance(self._robot, discs, pose[None])[0] <= 0.0 for discs, pose in zip(self._obstacles, q, strict=True)
        ]
        return np.array(touching) | (np.abs(self._law.aside_m(State(q, q), self._line())) > self._left_m)

    def _observations(self) -> Array:
        return self._law.observe(self._measured, self._line(), self._correction).astype(np.float32)


class DriveFamily(Family):
    """Cars of one description under different conditions among different obstacles."""

    horizon, scored, tells_success = HORIZON, (40, 2), True

    def __init__(self, robot: Ground) -> None:
        self._robot, self._law = robot, DriveLaw(robot)
        self.name = f"{robot.name}-{FAMILY}"
        self.facts = {"robot_sha256": hashlib.sha256((robot.folder / "robot.yaml").read_bytes()).hexdigest()}

    @property
    def argument(self) -> str:
        return f"{self._robot.argument}-{FAMILY}"

    def sample_task(self, rng: np.random.Generator) -> Drive:
        """Draw conditions, a course and obstacles; a start from which the planned line is free."""
        robot, conditions = self._robot, draw_task(self._robot, rng)
        for _ in range(_MOST_DRAWS):
            path = courses.raceway(robot, rng)
            discs = layouts.passable(robot, path, rng)
            friction = min(conditions.friction, robot.friction)
            line = _line_around(robot, path, discs, friction, rng)
            if line is not None:
                return Drive(conditions, line, discs)
        raise MetaRLError(f"task family '{self.name}': no free line among obstacles in {_MOST_DRAWS} draws")

    def env(self, task: Drive) -> Single:
        """A car under these conditions."""
        return Single(self.vector_env([task]))

    def vector_env(self, tasks: Sequence[Drive]) -> Drives:
        """Cars under these conditions."""
        return Drives(self._robot, self._law, tasks)


def _line_around(
    robot: Ground, path: Path, discs: Array, friction: float, rng: np.random.Generator
) -> Setpoints | None:
    """The line (T, 3) that a controller plans around obstacles from a random place of a course on; None: not free."""
    reference = driven(robot, path, GRIP_SHARE * friction)
    start_s = rng.uniform(reference.lap_s, 2.0 * reference.lap_s)
    begin, route = reference.sample(np.array([start_s])), Route(robot, RouteConfig())
    route.observe(discs)
    route.friction = friction
    found = route.nearest(reference, start_s, begin.q[0], float(np.hypot(*begin.v[0, :2])), _AHEAD_S)
    if found is None:
        return None
    times = found.time_s + _ROUNDING_S + SPACING_S * np.arange(round(_AHEAD_S / SPACING_S), dtype=np.float64)
    line = found.reference.sample(times)
    free = clearance(robot, Obstacles(discs), line.q).min() > 0.0
    return line if free and np.hypot(line.v[:, 0], line.v[:, 1])[:HORIZON].min() > 0.0 else None
