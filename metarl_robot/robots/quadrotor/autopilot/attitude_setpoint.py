# SPDX-License-Identifier: Apache-2.0
"""Attitude setpoints from body rates, for an autopilot's attitude loop.

PX4's loop commands, near the setpoint, with q [body→world], the setpoint q_d and gains P (MC_ROLL_P, MC_PITCH_P,
MC_YAW_P; the weight of yaw does not change its gain),

    w_c = P e,     e = 2 Im(q⁻¹ q_d)

(Brescianini, Hehn, D'Andrea, "Nonlinear quadrocopter attitude control", 2013; src/modules/mc_att_control). The
setpoint of rates w_c is therefore the attitude

    q_d = q ⊗ (√(1 - |e|²/4), e/2),     e = P⁻¹ w_c, at most `MOST_RAD`

with q at the time at which the setpoint acts. It is made of the thrusts that passed the gate, as the rates are: the
autopilot's gain is undone, not added to ours. When setpoints stay away the vehicle comes to rest at q_d, where rates
would turn it further.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation

Array = NDArray[np.float64]

MOST_RAD = 1.0
"""Greatest |e|: the loop is linear in e up to about there, and the attitude stays near the present one."""


class AttitudeGains(NamedTuple):
    """P of tilt (roll and pitch) and of yaw [1/s]."""

    tilt: float
    yaw: float


def attitude_setpoint(q: Array, rate: Array, rates: Array, gains: AttitudeGains, age_s: float) -> Array:
    """The attitude wxyz (4,) [FLU→ENU] towards which the autopilot commands body rates.

    Arguments:
        q: measured attitude (4,); rate: measured body rates (3,) [rad/s; FLU], which have turned it further since.
        rates: commanded body rates (3,) [rad/s; FLU].
        age_s: time since the attitude was measured.
    """
    error = rates / np.array([gains.tilt, gains.tilt, gains.yaw])
    error = error * min(1.0, MOST_RAD / max(float(np.linalg.norm(error)), 1e-9))
    turn = np.array([np.sqrt(1.0 - 0.25 * float(error @ error)), *(0.5 * error)])
    return rotation.normalise(rotation.multiply(rotation.integrate(q, rate, age_s), turn))
