# SPDX-License-Identifier: Apache-2.0
"""Full-state setpoints: the motion to which a command leads, a short time ahead.

An autopilot that takes positions, velocities and accelerations corrects deviations from them by gains of its own. A
controller that plans anew from each state corrects them already, and a setpoint far ahead of the vehicle would be
corrected twice. A setpoint is therefore the state in the middle of the time in which it acts: `lead_s` after the state
that it answers. The autopilot's gains then act on disturbances until the next setpoint comes, and on the last one if
none comes.

The specific force is that of the command: along body z, F / m of the nominal robot (thrust_curve.py). It is not the
acceleration that is planned with a learned payload or wind: the autopilot adds only gravity, and knows of neither.

With p, v, R, w the state, t the lead, T the time constant of the attitude's control and w_c the commanded rates:

    R' = R exp(t w + (w_c - w) t² / 2T),    a = R' e_z f - g e_z,    v' = v + t a,    p' = p + t v + t² a / 2
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2

Array = NDArray[np.float64]


class Motion(NamedTuple):
    """A full-state setpoint: position [m], velocity [m/s], acceleration [m/s²] (3,) in the world (ENU), attitude wxyz
    (4,) [FLU→ENU], body rates (3,) [rad/s; FLU].
    """

    position: Array
    velocity: Array
    acceleration: Array
    q: Array
    rates: Array


def motion_ahead(state: State, force_m_s2: float, rates: Array, lead_s: float, loop_s: float) -> Motion:
    """The motion `lead_s` after a state.

    Arguments:
        force_m_s2: commanded specific force along body z.
        rates: commanded body rates (3,) [rad/s; FLU].
        loop_s: T above.
    """
    rate = state.v[3:]
    turned = lead_s * rate + (rates - rate) * min(0.5 * lead_s**2 / loop_s, lead_s)
    q = rotation.normalise(rotation.multiply(state.q[3:], rotation.exp(turned)))
    acceleration = force_m_s2 * rotation.to_matrix(q)[:, 2] - np.array([0.0, 0.0, GRAVITY_M_S2])
    velocity = state.v[:3] + lead_s * acceleration
    position = state.q[:3] + lead_s * (state.v[:3] + 0.5 * lead_s * acceleration)
    return Motion(position, velocity, acceleration, q, rates)
