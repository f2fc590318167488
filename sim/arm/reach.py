# SPDX-License-Identifier: Apache-2.0
"""Family `<robot>-reach`: an arm under unknown conditions follows motions, under the law of `meta_policy`.

A task is a draw of the training suites: payload, friction, motor strength, cable, latency and noise of the sensors
(sim/arm/task.py). Each episode draws a motion anew and begins somewhere in it, with the correction at zero: so it
begins with the full unknown force, as after a pick-up. Observation, reward and effort: robots/arm/policy_law.py, from
measured states only. 2 s, in steps of PERIOD_S.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import Env, spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Setpoints
from metarl_robot.learning.policies.family import Family
from metarl_robot.robots.arm.meta_policy import FAMILY, WEIGHTS
from metarl_robot.robots.arm.policy_law import PERIOD_S, PolicyLaw
from metarl_robot.sim.arm.batch import BatchPlant
from metarl_robot.sim.arm.task import Task, draw_task
from metarl_robot.sim.effort_limits import limited
from metarl_robot.trajectories.euclidean import random_tracking
from metarl_robot.trajectories.shifted import Shifted

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

HORIZON = 100
_LATEST_START_S = 3.0
_AFTER_END_S = 1.0


class Reaches(VectorEnv[Array, Array, Any]):
    """Many arms, one for each task, stepped by mujoco.batch."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, robot: Robot, law: PolicyLaw, tasks: Sequence[Task]) -> None:
        self._robot, self._law, self._tasks = robot, law, list(tasks)
        self._substeps = max(1, round(PERIOD_S / robot.control_period_s))
        self.num_envs = len(self._tasks)
        self.single_observation_space, self.single_action_space = spaces_of(law)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._steps = 0

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._targets = self._motions(self.np_random)
        seeds = self.np_random.integers(2**31, size=self.num_envs).tolist()
        self._plant = BatchPlant(self._robot, self._tasks, seeds)
        first = self._target(0)
        self._measured = self._plant.reset(first.q, first.v)
        self._correction = np.zeros_like(first.q)
        self._effort: Array | None = None
        self._steps = 0
        return self._observations(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Flags, Flags, dict[str, Any]]:
        never = np.zeros(self.num_envs, dtype=bool)
        if self._steps >= HORIZON:
            return self.reset()[0], np.zeros(self.num_envs), never, never, {}
        actions = np.clip(np.asarray(actions, dtype=float), -1.0, 1.0)
        for k in range(self._steps * self._substeps, (self._steps + 1) * self._substeps):
            self._correction = self._law.moved(self._correction, actions, self._robot.control_period_s)
            wanted = self._law.effort(self._measured, self._target(k), self._correction)
            self._effort = limited(self._robot, wanted, self._effort)
            self._measured = self._plant.step(self._effort)
        self._steps += 1
        rewards = self._law.reward(self._measured, self._now(), actions)
        return self._observations(), rewards, never, never | (self._steps >= HORIZON), {}

    def _motions(self, rng: np.random.Generator) -> Setpoints:
        """Random motions at all control steps: (steps + 1, N, n) each."""
        times = np.arange(HORIZON * self._substeps + 1, dtype=np.float64) * self._robot.control_period_s
        length_s = float(times[-1]) + _LATEST_START_S + _AFTER_END_S
        samples = []
        for _ in self._tasks:
            start_s = rng.uniform(0.0, _LATEST_START_S)
            samples.append(Shifted(random_tracking(self._robot, rng, length_s), -start_s).sample(times))
        return Setpoints(*(np.stack([getattr(sample, name) for sample in samples], axis=1) for name in ("q", "v", "a")))

    def _target(self, k: int) -> Setpoints:
        return Setpoints(self._targets.q[k], self._targets.v[k], self._targets.a[k])

    def _now(self) -> Setpoints:
        return self._target(self._steps * self._substeps)

    def _observations(self) -> Array:
        return self._law.observe(self._measured, self._now(), self._correction).astype(np.float32)


class Reach(Env[Array, Array]):
    """One arm."""

    def __init__(self, robot: Robot, law: PolicyLaw, task: Task) -> None:
        self._one = Reaches(robot, law, [task])
        self.observation_space, self.action_space = spaces_of(law)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        return self._one.reset(seed=seed)[0][0], {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        seen, rewards, ended, late, _ = self._one.step(action[None])
        return seen[0], float(rewards[0]), bool(ended[0]), bool(late[0]), {}


class ReachFamily(Family):
    """Arms of one robot under different conditions."""

    horizon, scored = HORIZON, (40, 2)

    def __init__(self, robot: Robot) -> None:
        self._robot, self._law = robot, PolicyLaw(robot)
        self.name = f"{robot.name}-{FAMILY}"
        path = robot.folder / WEIGHTS
        self.weights = {"rl2": path} if path.is_file() else {}
        self.facts = {"robot_sha256": _hash(robot)}

    @property
    def argument(self) -> str:
        return f"{self._robot.argument}-{FAMILY}"

    def sample_task(self, rng: np.random.Generator) -> Task:
        """Draw physical conditions."""
        return draw_task(self._robot, rng)

    def env(self, task: Task) -> Reach:
        """An arm under these conditions."""
        return Reach(self._robot, self._law, task)

    def vector_env(self, tasks: Sequence[Task]) -> Reaches:
        """Arms under these conditions."""
        return Reaches(self._robot, self._law, tasks)


def spaces_of(law: PolicyLaw) -> tuple[Any, Any]:
    """Spaces of observations and actions."""
    return (
        spaces.Box(-np.inf, np.inf, (law.observations,), np.float32),
        spaces.Box(-1.0, 1.0, (law.actions,), np.float32),
    )


def _hash(robot: Robot) -> str:
    """SHA-256 of the robot's description and model."""
    content = b"".join((robot.folder / name).read_bytes() for name in ("robot.yaml", robot.description.model))
    return hashlib.sha256(content).hexdigest()
