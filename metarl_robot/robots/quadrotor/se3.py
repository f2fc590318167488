# SPDX-License-Identifier: Apache-2.0
"""Geometric tracking control on SE(3) with integrals.

Lee, Leok, McClamroch, CDC 2010; integrals: Goodarzi, Lee, Lee, ECC 2013. R is the attitude, R_d the attitude that
points body z along the wanted thrust (position_loop.py), W_d and W_d' are the reference's rates:

    e_R = ½ (R_dᵀ R - Rᵀ R_d)^∨,    e_W = W - Rᵀ R_d W_d
    torque = J (-k_R e_R - k_W e_W - k_I ∫ (e_W + c e_R) dt) + W × J W - J (W × Rᵀ R_d W_d - Rᵀ R_d W_d')

The collective thrust is the projection of the wanted thrust on body z. The law is valid for nearly every attitude,
including upside down. Commands overshoot to shorten the motors' lag (motor_lead.py). Gains are fractions of 1 / T,
with T the remaining lag of delays and motors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from metarl_robot.control.base import ControllerSpec
from metarl_robot.core import rotation
from metarl_robot.robots.quadrotor.cascade import Cascade, CascadeConfig, TurningIntegral
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.flatness import attitude
from metarl_robot.robots.quadrotor.position_loop import Target
from metarl_robot.robots.quadrotor.state_consistency import ConsistentState

Array = NDArray[np.float64]


MOST_YAW_RAD = 0.5
"""Largest heading error that R_d contains: in a larger one, e_R mixes heading, which has little torque, with tilt."""


class SE3Config(CascadeConfig):
    """Gains in units of 1 / lag, the same for every size of robot.

    In the papers' terms: k_x / m = position × velocity, k_v / m = velocity, k_R / J = attitude × rate, k_W / J = rate.
    """

    position_integral: float = Field(
        0.04, ge=0.0, le=1.0, description="integral of velocity and position error [1/lag]; 0: Lee 2010"
    )
    attitude_integral: float = Field(
        0.1, ge=0.0, le=1.0, description="integral of rate and attitude error [1/lag]; 0: Lee 2010"
    )


class SE3(Cascade):
    """See the module's docstring."""

    def __init__(self, robot: Quadrotor, config: SE3Config) -> None:
        super().__init__(robot, config, config.position_integral)
        gain = config.attitude_integral / self._lag
        self._integral = TurningIntegral(robot, self._rotors, gain, self._rate_gain)
        self.reset()

    def reset(self) -> None:
        super().reset()
        self._integral.reset()

    def _torque(self, q: Array, rate: Array, target: Target) -> Array:
        heading = float(rotation.yaw(q))
        off = (target.yaw - heading + np.pi) % (2.0 * np.pi) - np.pi
        heading += float(np.clip(off, -MOST_YAW_RAD, MOST_YAW_RAD))
        r, wanted = rotation.to_matrix(q), rotation.to_matrix(attitude(target.thrust, np.array(heading)))
        skewed = wanted.T @ r
        e_attitude = 0.5 * np.array(
            [skewed[2, 1] - skewed[1, 2], skewed[0, 2] - skewed[2, 0], skewed[1, 0] - skewed[0, 1]]
        )
        to_body = r.T @ rotation.to_matrix(target.attitude)
        ahead, change = to_body @ target.rate, to_body @ target.rate_change
        error = rate - ahead + self._attitude_gain * e_attitude
        inertia = self._robot.inertia
        feedback = -self._rate_gain * (error + self._integral.add(error))
        return np.asarray(
            inertia @ (feedback - rotation.cross(rate, ahead) + change) + rotation.cross(rate, inertia @ rate)
        )


SPEC = ControllerSpec(SE3Config, lambda robot, config, checkpoint, oracle: ConsistentState(SE3(robot, config)))
