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
    x_b, y_b, z_b = r[..., 0], r[..., 1], r[..., 2]
    sine, cosine, zero = np.sin(flat.yaw), np.cos(flat.yaw), np.zeros_like(flat.yaw)
    x_c, y_c = np.stack([cosine, sine, zero], axis=1), np.stack([-sine, cosine, zero], axis=1)
    dyaw, ddyaw = flat.yaw_rate, flat.yaw_acceleration

    dthrust = _dot(z_b, flat.jerk)
    wx, wy = -_dot(y_b, flat.jerk) / thrust, _dot(x_b, flat.jerk) / thrust
    level = np.maximum(_dot(y_b, y_c), _LEAST)  # cosine of the roll
    wz = (dyaw * _dot(x_b, x_c) + wy * _dot(z_b, y_c)) / level

    dwx = -(_dot(y_b, flat.snap) + 2 * dthrust * wx) / thrust + wy * wz
    dwy = (_dot(x_b, flat.snap) - 2 * dthrust * wy) / thrust - wx * wz
    dlevel = wx * _dot(z_b, y_c) - dyaw * _dot(y_b, x_c)
    change = (
        ddyaw * _dot(x_b, x_c)
        + dyaw * (wz * _dot(y_b, x_c) - wy * _dot(z_b, x_c))
        + dwy * _dot(z_b, y_c)
        - wy * (wx * level + dyaw * _dot(z_b, x_c))
    )
    dwz = (change - wz * dlevel) / level
    return np.stack([wx, wy, wz], axis=1), np.stack([dwx, dwy, dwz], axis=1)


def _dot(a: Array, b: Array) -> Array:
    return np.asarray((a * b).sum(-1))
