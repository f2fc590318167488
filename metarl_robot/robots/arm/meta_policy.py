# SPDX-License-Identifier: Apache-2.0
"""A trained policy as a controller: computed torque with a correction that the policy moves (policy_law.py).

`metarl train-policy <robot>-reach` trains it. The policy acts by its mean, without exploration noise. A recurrent one
(`rl2`) adapts by its state; others are fixed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.control.base import ControllerSpec
from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.control.policy_file import read_policy
from metarl_robot.control.policy_network import PolicyNetwork, network_of
from metarl_robot.core.errors import CheckpointError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Command, Reference, Setpoints, State
from metarl_robot.robots.arm.policy_law import PERIOD_S, PolicyLaw

Array = NDArray[np.float64]

FAMILY = "reach"
WEIGHTS = "policy.safetensors"
FOLLOWING = 0.2
"""Share of the difference to the acting effort that the correction takes over per step."""
_EARLY = 0.1  # fraction of a control period by which a state may come early


class MetaPolicyConfig(BaseModel):
    """Configuration of meta_policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(
        1.0, ge=0.0, le=1.0, description="share of the policy's correction that acts; 0: computed torque alone"
    )


class MetaPolicy:
    """Controller with a trained policy."""

    def __init__(self, robot: Robot, network: PolicyNetwork, law: PolicyLaw, config: MetaPolicyConfig) -> None:
        self._network, self._law, self._share = network, law, config.share
        self._limiter = EffortLimiter(robot)
        self._next_s: float | None = None
        self._early_s = _EARLY * robot.control_period_s
        self._shape, self._home = (1, robot.dof), robot.home
        self.reset()

    def reset(self) -> None:
        self._network.reset(1)
        self._limiter.reset()
        self._action, self._correction, self._wanted = (np.zeros(self._shape) for _ in range(3))
        self._q, self._next_s = self._home, None

    def follow(self, effort: Array) -> None:
        """Move the correction towards an acting effort (n,), by a share of its difference; see BumplessTransfer."""
        if self._share > 0.0:
            change = self._law.following(self._q, effort - self._wanted[0]) / self._share
            self._correction = self._law.moved(self._correction + FOLLOWING * change, self._action, 0.0)

    def step(self, time: float, state: State, reference: Reference) -> Command:
        self._limiter.at(time)
        target = reference.sample(np.array([time]))
        measured = State(state.q[None], state.v[None])
        if self._next_s is None or time >= self._next_s - self._early_s:
            self._decide(measured, target)
            self._next_s = time + PERIOD_S
        self._q = state.q
        self._correction = self._law.moved(self._correction, self._action, self._limiter.step_s)
        self._wanted = self._law.effort(measured, target, self._share * self._correction)
        return Command(self._limiter.apply(self._wanted[0]))

    def _decide(self, state: State, target: Setpoints) -> None:
        """Choose the action of the next PERIOD_S."""
        first = self._next_s is None
        reward = np.zeros(1) if first else self._law.reward(state, target, self._action)
        seen = self._law.observe(state, target, self._correction)
        self._action = np.clip(self._network.act(seen, reward, np.array([float(first)])), -1.0, 1.0).astype(float)
        self._network.acted(self._action)


def _build(robot: Robot, config: MetaPolicyConfig, checkpoint: Path | None, oracle: object) -> MetaPolicy:
    law = PolicyLaw(robot)
    return MetaPolicy(robot, _network(robot, law, checkpoint), law, config)


def _network(robot: Robot, law: PolicyLaw, checkpoint: Path | None) -> PolicyNetwork:
    """The policy of a file, or the robot's own. Raises CheckpointError."""
    path = checkpoint or robot.folder / WEIGHTS
    family = f"{robot.name}-{FAMILY}"
    command = f"metarl train-policy {robot.argument}-{FAMILY} --algo rl2"
    if checkpoint is None and not path.is_file():
        raise CheckpointError(
            f"robot '{robot.name}' has no policy: {path} does not exist; train one with: {command} "
            "(docs/howto/train_policy.md), and copy its two files there, or give its path as the checkpoint"
        )
    found = read_policy(path, family, f"{robot.argument}-{FAMILY}")
    sizes = found.record.observations, found.record.actions
    if sizes != (law.observations, law.actions):
        given = f"a policy with {sizes[0]} observations and {sizes[1]} actions"
        needed = f"'{robot.name}' needs {law.observations} and {law.actions}"
        raise CheckpointError(f"{path}: {given}; {needed}: train one with: {command}")
    return network_of(found.record.algo, found.tensors)


SPEC = ControllerSpec(MetaPolicyConfig, _build, own_weights=WEIGHTS)
