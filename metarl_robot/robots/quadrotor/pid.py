# SPDX-License-Identifier: Apache-2.0
"""The cascaded loops of a flight stack: position P, velocity PI, attitude P, body rates PI with a lead.

Position and velocity: position_loop.py. Attitude and rates (the structure of PX4 and ArduPilot), with e_q from
attitude.py:

    w_c = k_a e_q + w_r,    e = w_c - w,    torque = J k_r (e + k_i ∫e dt)

In a flight stack the derivative term of the rate loop compensates the motors' lag. Here the last stage does so
(motor_lead.py), also for the collective thrust. Gains are fractions of 1 / T, with T the remaining lag of
delays and motors (motor_lead.py: pace).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from metarl_robot.control.base import ControllerSpec
from metarl_robot.core import rotation
from metarl_robot.robots.quadrotor.attitude import tilt_and_yaw_error
from metarl_robot.robots.quadrotor.cascade import Cascade, CascadeConfig, TurningIntegral
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.flatness import attitude
from metarl_robot.robots.quadrotor.motor_lead import pace
from metarl_robot.robots.quadrotor.position_loop import Target
from metarl_robot.robots.quadrotor.state_consistency import ConsistentState

Array = NDArray[np.float64]


class FlightPIDConfig(CascadeConfig):
    """Gains in units of 1 / lag, the same for every size of robot."""

    velocity_integral: float = Field(0.04, ge=0.0, le=1.0, description="integral of the velocity error [1/lag]")
    rate_integral: float = Field(0.1, ge=0.0, le=1.0, description="integral of the rate error [1/lag]")


class FlightPID(Cascade):
    """See the module's docstring."""

    def __init__(self, robot: Quadrotor, config: FlightPIDConfig) -> None:
        _, lag = pace(robot, config.latency_s, config.motor_share)
        super().__init__(robot, config, config.velocity_integral, lag / config.rate + config.latency_s)
        self._integral = TurningIntegral(robot, self._rotors, config.rate_integral / lag, self._rate_gain)
        self.reset()

    def reset(self) -> None:
        super().reset()
        self._integral.reset()

    def _torque(self, q: Array, rate: Array, target: Target) -> Array:
        error = self._rates(q, target) - rate
        return np.asarray(self._robot.inertia @ (self._rate_gain * (error + self._integral.add(error))))

    def _rates(self, q: Array, target: Target) -> Array:
        """Wanted body rates w_c (3,)."""
        error = tilt_and_yaw_error(q, attitude(target.thrust, np.array(target.yaw)))
        ahead = rotation.rotate_back(q, rotation.rotate(target.attitude, target.rate))
        limit = self._robot.velocity_limit[3:]
        return np.clip(self._attitude_gain * error + ahead, -limit, limit)


SPEC = ControllerSpec(
    FlightPIDConfig, lambda robot, config, checkpoint, oracle: ConsistentState(FlightPID(robot, config))
)
