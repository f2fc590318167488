# SPDX-License-Identifier: Apache-2.0
"""From a flat trajectory of a quadrotor (position and heading over time) to its full state and accelerations.

A quadrotor without air drag is differentially flat (Mellinger, Kumar, ICRA 2011). With position p(t) and heading
psi(t):

    f = p'' + g e_z = c z_b            body z is the direction of f, c the thrust per mass
    j = p''' = c' z_b + c (w x z_b)    gives the roll and pitch rates
    s = p''''                          gives their derivatives in the same way

Heading is the direction of body x in the horizontal plane: x_b is perpendicular to y_c = (-sin psi, cos psi, 0), which
gives the yaw rate and its derivative (Faessler, Franchi, Scaramuzza, RA-L 2018, appendix, without drag). The quaternion
is composed of heading, pitch and roll, so it is a continuous function of time wherever psi is: no sign flips, no
unwinding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from threading import get_ident
from typing import Any, NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.knots import AnyNumber
from metarl_robot.core.signals import Setpoints
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2

Array = NDArray[np.float64]

# Lower bound of the thrust per mass [m/s^2] and of the cosine of the roll. Free fall has no thrust direction, and a
# roll of 90 deg no heading.
_LEAST = 1e-6


class FlatPoints(NamedTuple):
    """Flat outputs at N times.

    Position (N, 3) [m; world] and four derivatives, heading (N,) [rad] and two derivatives.
    """

    position: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    snap: Array
    yaw: Array
    yaw_rate: Array
    yaw_acceleration: Array


class FlatTrajectory:
    """A reference defined by its flat outputs; subclasses implement `derivatives`."""

    def derivatives(self, times: Array) -> Array:
        """Return (5, N, 4): x, y, z [m; world] and heading [rad], and four derivatives, at times (N,) [s]."""
        raise NotImplementedError

    def flat(self, times: Array) -> FlatPoints:
        """Flat outputs at times (N,) [s]."""
        derivatives = self.derivatives(times)
        return FlatPoints(*derivatives[..., :3], *derivatives[:3, :, 3])

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]: pose, velocity and acceleration of a quadrotor."""
        by_knot = self.derivatives(times).transpose(1, 0, 2).reshape(len(times), 20)
        return Setpoints(*_compiled(get_ident())(by_knot))


def attitude(force: Array, yaw: Array) -> Array:
    """Quaternions (..., 4) with body z along force (..., 3) [world] and heading yaw (...) [rad]."""
    return np.stack(_attitude(np, (force[..., 0], force[..., 1], force[..., 2]), yaw), axis=-1)


@cache
def _compiled(_thread: int) -> AnyNumber:
    """Compile the map from flat outputs to setpoints, one instance for each thread."""
    flat = ca.SX.sym("flat", 20)
    derivatives = [ca.vertsplit(flat[k : k + 4]) for k in range(0, 20, 4)]
    position, velocity, acceleration, jerk, snap = (outputs[:3] for outputs in derivatives)
    yaw = [outputs[3] for outputs in derivatives[:3]]
    motion = _motion(acceleration, jerk, snap, yaw)
    results = [
        ca.vertcat(*linear, *angular)
        for linear, angular in zip((position, velocity, acceleration), motion, strict=True)
    ]
    return AnyNumber(ca.Function("flat", [flat], results))


def _attitude(xp: Any, force: Sequence[Any], yaw: Any) -> tuple[Any, Any, Any, Any]:
    """Return w, x, y, z of `attitude`. Components are arrays (xp = numpy) or expressions (xp = casadi)."""
    cosine, sine = xp.cos(yaw), xp.sin(yaw)
    x, y, z = cosine * force[0] + sine * force[1], cosine * force[1] - sine * force[0], force[2]
    half_pitch, half_roll = 0.5 * xp.arctan2(x, z), 0.5 * xp.arctan2(-y, xp.sqrt(x * x + z * z))
    cp, sp, cr, sr = xp.cos(half_pitch), xp.sin(half_pitch), xp.cos(half_roll), xp.sin(half_roll)
    w, x, y, z = cp * cr, cp * sr, sp * cr, -sp * sr
    cosine, sine = xp.cos(0.5 * yaw), xp.sin(0.5 * yaw)
    return cosine * w - sine * z, cosine * x - sine * y, cosine * y + sine * x, cosine * z + sine * w


def _motion(
    acceleration: list[ca.SX], jerk: list[ca.SX], snap: list[ca.SX], yaw: list[ca.SX]
) -> tuple[Sequence[ca.SX], ...]:
    """Quaternion, body rates [rad/s] and their derivatives [rad/s^2], from the components of flat outputs."""
    heading, dyaw, ddyaw = yaw
    force = [acceleration[0], acceleration[1], acceleration[2] + GRAVITY_M_S2]
    thrust = ca.fmax(ca.sqrt(_dot(force, force)), _LEAST)
    w, x, y, z = q = _attitude(ca, force, heading)
    axes = (  # of the body, in the world
        (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
        (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
        (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
    )
    jerk, snap = [_dot(jerk, axis) for axis in axes], [_dot(snap, axis) for axis in axes]
    # projections of x_c on x_b, y_b, z_b; and of y_c
    x_on_x, x_on_y, x_on_z = (ca.cos(heading) * axis[0] + ca.sin(heading) * axis[1] for axis in axes)
    _, y_on_y, y_on_z = (ca.cos(heading) * axis[1] - ca.sin(heading) * axis[0] for axis in axes)

    wx, wy = -jerk[1] / thrust, jerk[0] / thrust
    level = ca.fmax(y_on_y, _LEAST)  # cosine of the roll
    wz = (dyaw * x_on_x + wy * y_on_z) / level

    dwx = -(snap[1] + 2 * jerk[2] * wx) / thrust + wy * wz
    dwy = (snap[0] - 2 * jerk[2] * wy) / thrust - wx * wz
    dlevel = wx * y_on_z - dyaw * x_on_y
    change = ddyaw * x_on_x + dyaw * (wz * x_on_y - wy * x_on_z) + dwy * y_on_z - wy * (wx * level + dyaw * x_on_z)
    dwz = (change - wz * dlevel) / level
    return q, (wx, wy, wz), (dwx, dwy, dwz)


def _dot(a: Sequence[ca.SX], b: Sequence[ca.SX]) -> ca.SX:
    return sum(x * y for x, y in zip(a, b, strict=True))
