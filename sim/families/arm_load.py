# SPDX-License-Identifier: Apache-2.0
"""Panda whose hand is to reach a point, under a payload (arm-mass) or a force (arm-force) that it does not observe.

    τ = g(q) - D q̇ + τ_max a      r = -|p - p_goal| - 0.005 |a|²

After the 7-joint arm of Nagabandi et al. (2019) and its code (github.com/iclavera/learning_to_adapt): rewards and
observations (q, q̇, p - p_goal) are theirs, the robot is this project's models/panda. g holds the weight of the arm
without its load. τ_max is SHARE of the effort limits, and D = τ_max / velocity limit. The goal is the hand's place at a
random posture about home. Payloads of 0 … 2 kg and forces up to 15 N in any direction are for training, 2 … 3 kg and
15 … 20 N are held out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any

import mujoco
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from mujoco.batch import Batch
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.learning.grbal.environment import AdaptationFamily
from metarl_robot.robots.payload import payload_site
from metarl_robot.sim.families.single import Single, threads_for

Array = NDArray[np.float64]

HORIZON, STEP_S = 100, 0.05
SHARE = 0.35
_PHYSICS_S = 0.005
_SPREAD_RAD = 0.5
_START_RAD, _START_RAD_S = 0.1, 0.1
_CONTROL_COST = 0.005
_RADIUS_M = 0.05
_BODY = "load"
_TRAINED_KG, _HEAVIEST_KG = 2.0, 3.0
_TRAINED_N, _STRONGEST_N = 15.0, 20.0


class LoadedArms(VectorEnv[Array, Array, Any]):
    """Many arms.

    loads: (N, 4) of each: mass [kg] and force [N; world] on the hand.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, loads: Array) -> None:
        robot, model = _panda()
        self._home, self._n, self.num_envs = robot.home, robot.dof, len(loads)
        self._batch = Batch(model, nsim=len(loads), nthread=threads_for(len(loads)))
        names = ("qpos", "qvel", "ctrl", "xfrc_applied", "site_xpos")
        self._q, self._v, self._control, self._forces, self._places = (self._batch.bind(name) for name in names)
        self._range = SHARE * robot.effort_limit
        self._body, self._site = model.body(_BODY).id, model.site(payload_site(robot)).id
        self.single_observation_space = Box(-np.inf, np.inf, (2 * self._n + 3,), np.float64)
        self.single_action_space = Box(-1.0, 1.0, (self._n,), np.float64)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._goals = np.zeros((len(loads), 3))
        self._steps = 0
        self.switch(loads)

    def switch(self, loads: Array) -> None:
        """Change the loads (N, 4); motions go on."""
        self._loads = np.asarray(loads, dtype=np.float64)
        mass, inertia = (self._batch.expand(name) for name in ("body_mass", "body_inertia"))
        mass[:, self._body] = self._loads[:, 0]
        inertia[:, self._body] = 0.4 * _RADIUS_M**2 * self._loads[:, :1]
        self._batch.set_const()
        self._forces[:, self._body, :3] = self._loads[:, 1:]

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._batch.reset()
        self._q[:] = self._home + self.np_random.uniform(-_SPREAD_RAD, _SPREAD_RAD, self._q.shape)
        self._batch.forward()
        self._goals = self._places[:, self._site].copy()
        self._q[:] = self._home + self.np_random.uniform(-_START_RAD, _START_RAD, self._q.shape)
        self._v[:] = self.np_random.uniform(-_START_RAD_S, _START_RAD_S, self._v.shape)
        self._forces[:, self._body, :3] = self._loads[:, 1:]
        self._batch.forward()
        self._steps = 0
        return self._observations(), {}

    def step(self, actions: Array) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        never = np.zeros(self.num_envs, dtype=bool)
        if self._steps >= HORIZON:
            return self.reset()[0], np.zeros(self.num_envs), never, never, {}
        self._control[:] = self._range * np.clip(actions, -1.0, 1.0)
        self._batch.step(nstep=round(STEP_S / _PHYSICS_S), stage=int(mujoco.mjtStage.mjSTAGE_POS))
        self._steps += 1
        seen = self._observations()
        return seen, rewards(seen, np.asarray(actions)), never, never | (self._steps >= HORIZON), {}

    def _observations(self) -> Array:
        return np.concatenate([self._q, self._v, self._places[:, self._site] - self._goals], axis=-1)


class ArmLoadFamily(AdaptationFamily):
    """Pandas under loads; a task is the load (4,): mass [kg] and force [N; world]."""

    horizon, step_s = HORIZON, STEP_S

    def sample_task(self, rng: np.random.Generator) -> Array:
        """Draw a load of training."""
        return self.training_task(rng)

    @abstractmethod
    def training_task(self, rng: np.random.Generator) -> Array: ...

    def planned_rewards(self, observations: Array, actions: Array, following: Array) -> Array:
        return rewards(following, actions)

    def env(self, task: Array) -> Single:
        """The arm under this load."""
        return Single(self.vector_env([task]))

    def vector_env(self, tasks: Sequence[Array]) -> LoadedArms:
        """Arms under these loads."""
        return LoadedArms(np.stack(tasks))


class ArmMassFamily(ArmLoadFamily):
    """Pandas with payloads."""

    name = "arm-mass"

    def training_task(self, rng: np.random.Generator) -> Array:
        return np.array([rng.uniform(0.0, _TRAINED_KG), 0.0, 0.0, 0.0])

    def held_out_task(self, rng: np.random.Generator) -> Array:
        return np.array([rng.uniform(_TRAINED_KG, _HEAVIEST_KG), 0.0, 0.0, 0.0])


class ArmForceFamily(ArmLoadFamily):
    """Pandas under a constant force on the hand."""

    name = "arm-force"

    def training_task(self, rng: np.random.Generator) -> Array:
        return _force(rng, 0.0, _TRAINED_N)

    def held_out_task(self, rng: np.random.Generator) -> Array:
        return _force(rng, _TRAINED_N, _STRONGEST_N)


def rewards(observations: Array, actions: Array) -> Array:
    """Rewards (…) of observations (…, n) after actions (…, nu)."""
    return np.asarray(-np.linalg.norm(observations[..., -3:], axis=-1) - _CONTROL_COST * np.square(actions).sum(-1))


def _force(rng: np.random.Generator, least_n: float, most_n: float) -> Array:
    """A load without mass whose force has a uniform direction."""
    direction = rng.standard_normal(3)
    return np.concatenate([[0.0], rng.uniform(least_n, most_n) * direction / np.linalg.norm(direction)])


@cache
def _panda() -> tuple[Robot, mujoco.MjModel]:
    """The robot, and its model with compensated weight, damped joints and a body for the load, without contacts."""
    robot = load_robot("panda")
    spec = robot.mj_spec()
    for body in spec.bodies:
        body.gravcomp = 1.0
    site = spec.site(payload_site(robot))
    load = site.parent.add_body(name=_BODY, pos=site.pos, quat=site.quat)
    load.explicitinertial, load.mass, load.ipos, load.inertia = True, 1.0, (0.0, 0.0, 0.0), (0.001, 0.001, 0.001)
    spec.option.timestep, spec.option.integrator = _PHYSICS_S, mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
    model = spec.compile()
    model.dof_damping[:] += SHARE * robot.effort_limit / robot.velocity_limit
    return robot, model


MASS, FORCE = ArmMassFamily(), ArmForceFamily()
