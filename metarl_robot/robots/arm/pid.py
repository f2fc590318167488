# SPDX-License-Identifier: Apache-2.0
"""Joint PID with gravity compensation: the usual controller of arms.

    τ = g(q) + M̄ (k_p e + k_d ė + k_i ∫e dt),    e = q_ref - q

M̄ is diagonal: the joints' inertias averaged over the workspace, scaled so that no eigenvalue of M(q)⁻¹ M̄ exceeds 1
there. In every pose, one set of gains then gives this bandwidth in the lightest direction of motion and less in
heavier ones. Scaling each joint by its own inertia would make the light, coupled wrist unstable. The integrator stops
where the effort saturates (conditional integration).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metarl_robot.control.base import ControllerSpec
from metarl_robot.control.effort_limits import EffortLimiter
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Command, Reference, State
from metarl_robot.robots.arm.dynamics import ArmDynamics

Array = NDArray[np.float64]

POSES = 500
"""Number of poses that sample the workspace."""
FOLLOWING = 0.2
"""Share of the difference to the acting effort that the integral takes over per step."""


class PIDConfig(BaseModel):
    """Gains in acceleration units, the same for all joints."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kp: float = Field(1600.0, ge=0.0, le=5000.0, description="position gain [1/s^2]")
    kd: float = Field(80.0, ge=0.0, le=500.0, description="velocity gain [1/s]")
    ki: float = Field(4000.0, ge=0.0, le=50000.0, description="integral gain [1/s^3]")


class PID:
    """Joint PID controller."""

    def __init__(self, robot: Robot, config: PIDConfig) -> None:
        self._robot, self._config = robot, config
        self._dynamics = ArmDynamics(robot)
        self._inertia = self._safe_inertia()
        self._limiter = EffortLimiter(robot)
        self.reset()

    def reset(self) -> None:
        self._integral = np.zeros(self._robot.dof)
        self._wanted = np.zeros(self._robot.dof)
        self._limiter.reset()

    def follow(self, effort: Array) -> None:
        """Move the integral towards an acting effort (n,), by a share of its difference to the wanted effort.

        See BumplessTransfer.
        """
        if self._config.ki > 0.0:
            self._integral = self._integral + FOLLOWING * (effort - self._wanted) / (self._config.ki * self._inertia)

    def step(self, time: float, state: State, reference: Reference) -> Command:
        self._limiter.at(time)
        target = reference.sample(np.array([time]))
        error = target.q[0] - state.q
        integral = self._integral + error * self._limiter.step_s
        feedback = self._config.kp * error + self._config.kd * (target.v[0] - state.v) + self._config.ki * integral
        gravity = self._dynamics.bias(state.q, np.zeros(self._robot.dof))
        wanted = self._wanted = gravity + self._inertia * feedback
        effort = self._limiter.apply(wanted)
        self._integral = np.where(effort == wanted, integral, self._integral)
        return Command(effort)

    def _safe_inertia(self) -> Array:
        """Inertia M̄ (n,)."""
        rng = np.random.default_rng(0)
        poses = rng.uniform(self._robot.position_lower, self._robot.position_upper, (POSES, self._robot.dof))
        masses = self._dynamics.momenta(poses, np.zeros_like(poses))[0]
        typical = np.diagonal(masses, axis1=1, axis2=2).mean(axis=0)
        fastest = np.linalg.eigvals(np.linalg.inv(masses) * typical).real.max()
        return np.asarray(typical / fastest, dtype=np.float64)


SPEC = ControllerSpec(PIDConfig, lambda robot, config, checkpoint, oracle: PID(robot, config))
