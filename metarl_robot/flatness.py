"""From a flat trajectory of a quadrotor (position and heading over time) to its whole motion.

A quadrotor without air drag is differentially flat (Mellinger, Kumar, ICRA 2011). With position p(t) and heading psi(t):

    f = p'' + g e_z = c z_b            body z is the direction of f, c the thrust per mass
    j = p''' = c' z_b + c (w x z_b)    gives the roll and pitch rates
    s = p'''' gives their derivatives likewise

Heading is that of body x in the horizontal plane: x_b is perpendicular to y_c = (-sin psi, cos psi, 0), which gives the yaw
rate and its derivative (Faessler, Franchi, Scaramuzza, RA-L 2018, appendix, with no drag). The quaternion is composed of
heading, pitch and roll, so it is a continuous function of time wherever psi is: no jumps of sign, no unwinding.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot import rotation
from metarl_robot.quadrotor import GRAVITY_M_S2
from metarl_robot.signals import Setpoints

Array = NDArray[np.float64]

_LEAST = 1e-6  # of thrust per mass [m/s^2] and of the roll's cosine: there is no direction in free fall, no heading rolled by 90 deg


class FlatPoints(NamedTuple):
    """Flat outputs at N times: position (N, 3) [m; world] and four derivatives, heading (N,) [rad] and two derivatives."""

    position: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    snap: Array
    yaw: Array
    yaw_rate: Array
    yaw_acceleration: Array


class FlatTrajectory(Protocol):
    """A flat trajectory: a reference whose flat outputs are known too."""

    def flat(self, times: Array) -> FlatPoints:
        """Flat outputs at times (N,) [s]."""
        ...

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        ...


def setpoints(flat: FlatPoints) -> Setpoints:
    """Pose, velocity and acceleration of a quadrotor on a flat trajectory, as `Setpoints`."""
    force = flat.acceleration + np.array([0.0, 0.0, GRAVITY_M_S2])
    q = attitude(force, flat.yaw)
    thrust = np.maximum(np.sqrt((force * force).sum(-1)), _LEAST)
    rate, change = _rates(flat, rotation.to_matrix(q), thrust)
    return Setpoints(
        q=np.concatenate([flat.position, q], axis=1),
        v=np.concatenate([flat.velocity, rate], axis=1),
        a=np.concatenate([flat.acceleration, change], axis=1),
    )


def attitude(force: Array, yaw: Array) -> Array:
    """Quaternions (..., 4) with body z along force (..., 3) [world] and heading yaw (...) [rad]."""
    heading = rotation.from_yaw(yaw)
    along = rotation.rotate_back(heading, force)
    x, y, z = along[..., 0], along[..., 1], along[..., 2]
    half_pitch, half_roll = 0.5 * np.arctan2(x, z), 0.5 * np.arctan2(-y, np.sqrt(x * x + z * z))
    cp, sp, cr, sr = np.cos(half_pitch), np.sin(half_pitch), np.cos(half_roll), np.sin(half_roll)
    return rotation.multiply(heading, np.stack([cp * cr, cp * sr, sp * cr, -sp * sr], axis=-1))


def _rates(flat: FlatPoints, r: Array, thrust: Array) -> tuple[Array, Array]:
    """Body rates [rad/s] and their derivatives [rad/s^2], each (N, 3). r: (N, 3, 3) body to world; thrust: (N,) [m/s^2]."""
    sine, cosine, zero = np.sin(flat.yaw), np.cos(flat.yaw), np.zeros_like(flat.yaw)
    given = np.array([flat.jerk.T, flat.snap.T, (cosine, sine, zero), (-sine, cosine, zero)])  # (4, 3, N)
    by_body = r.transpose(0, 2, 1) @ given.transpose(2, 1, 0)  # (N, 3, 4) in body axes
    jerk, snap, (x_on_x, x_on_y, x_on_z), (_, y_on_y, y_on_z) = by_body.transpose(2, 1, 0)  # x_on_y: of x_c on y_b
    dyaw, ddyaw = flat.yaw_rate, flat.yaw_acceleration

    wx, wy = -jerk[1] / thrust, jerk[0] / thrust
    level = np.maximum(y_on_y, _LEAST)  # cosine of the roll
    wz = (dyaw * x_on_x + wy * y_on_z) / level

    dwx = -(snap[1] + 2 * jerk[2] * wx) / thrust + wy * wz
    dwy = (snap[0] - 2 * jerk[2] * wy) / thrust - wx * wz
    dlevel = wx * y_on_z - dyaw * x_on_y
    change = ddyaw * x_on_x + dyaw * (wz * x_on_y - wy * x_on_z) + dwy * y_on_z - wy * (wx * level + dyaw * x_on_z)
    dwz = (change - wz * dlevel) / level
    return np.array([wx, wy, wz]).T, np.array([dwx, dwy, dwz]).T
