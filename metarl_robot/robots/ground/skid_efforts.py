# SPDX-License-Identifier: Apache-2.0
"""Torques of a skid-steered vehicle's sides for a motion without sideways velocity: inverse of the nominal dynamics.

A turn drags every wheel sideways. The tyres' resisting torque R is much larger than the inertia's, and decreases as the
drive forces use the grip (friction ellipse, tyre.py). With a drive force ∓D on the sides at a lever h, D = d c and
the grip c of one side,

    2 h d c = N + R sqrt(1 - d²),    d = (e + d_0 sqrt(1 + d_0² - e²)) / (1 + d_0²),
    e = N / (2 h c),    d_0 = R / (2 h c)

N is the yaw inertia's torque; R is that of free wheels.
"""

from __future__ import annotations

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.knots import Knots, compile_knots
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.dynamics import N_PARAMETERS, tyre_wrench

Array = NDArray[np.float64]


class SkidEfforts:
    """Efforts at `count` motions at once."""

    def __init__(self, robot: Ground, count: int = 1) -> None:
        self._robot = robot
        self._efforts = compile_knots({"skid_efforts": Knots(_efforts(robot), count)})["skid_efforts"]

    def __call__(self, motion: Array) -> Array:
        """Efforts (count, 2) [Nm] by speed, yaw rate and their rates (count, 4) [m/s, rad/s, m/s², rad/s²]."""
        efforts = np.asarray(self._efforts(motion)[0])
        return np.clip(efforts, self._robot.effort_lower, self._robot.effort_limit)


def _efforts(robot: Ground) -> ca.Function:
    motion = ca.SX.sym("motion", 4)
    speed, rate, acceleration, turning = ca.vertsplit(motion)
    still = tyre_wrench(robot, ca.vertcat(speed, 0.0, rate), ca.SX.zeros(robot.nu), ca.SX.zeros(N_PARAMETERS))
    left, right = robot.track.positions[:, 1] @ robot.track.torque_share
    moment = (left - right) * 0.5 * robot.friction * robot.mass_kg * GRAVITY_M_S2
    inertial, resisting = robot.yaw_inertia * turning / moment, -still[2] / moment
    root = ca.sqrt(ca.fmax(1.0 + resisting**2 - inertial**2, 0.0))
    share = (inertial + resisting * root) / (1.0 + resisting**2)
    along, torque = (robot.mass_kg + robot.rolling_mass_kg) * acceleration - still[0], share * moment
    right_force = (torque + left * along) / (left - right)
    efforts = robot.wheel_radius_m * ca.vertcat(along - right_force, right_force)
    return ca.Function("skid_efforts", [motion], [ca.densify(efforts)])
