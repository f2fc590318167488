# SPDX-License-Identifier: Apache-2.0
"""Computed torque (Luh, Walker, Paul 1980): feedback linearisation with the nominal model.

τ = M(q) (q̈_ref + k_d ė + k_p e) + h(q, q̇)
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.control.base import ControllerSpec
from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Command, Reference, State
from metarl_robot.robots.arm.dynamics import ArmDynamics


class ComputedTorqueConfig(BaseModel):
    """Gains in acceleration units, the same for all joints."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kp: float = Field(900.0, ge=0.0, le=5000.0, description="position gain [1/s^2]")
    kd: float = Field(60.0, ge=0.0, le=500.0, description="velocity gain [1/s]")


class ComputedTorque:
    """Computed-torque controller."""

    def __init__(self, robot: Robot, config: ComputedTorqueConfig) -> None:
        self._config = config
        self._dynamics = ArmDynamics(robot)
        self._limiter = EffortLimiter(robot)

    def reset(self) -> None:
        self._limiter.reset()

    def step(self, time: float, state: State, reference: Reference) -> Command:
        self._limiter.at(time)
        target = reference.sample(np.array([time]))
        acceleration = (
            target.a[0] + self._config.kp * (target.q[0] - state.q) + self._config.kd * (target.v[0] - state.v)
        )
        effort = self._limiter.apply(self._dynamics.inverse_dynamics(state.q, state.v, acceleration))
        return Command(effort)


SPEC = ControllerSpec(ComputedTorqueConfig, lambda robot, config, checkpoint, oracle: ComputedTorque(robot, config))
