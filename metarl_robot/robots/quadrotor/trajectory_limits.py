# SPDX-License-Identifier: Apache-2.0
"""Check that a quadrotor's reference is within the limits of the nominal robot."""

from __future__ import annotations

from functools import cache, lru_cache
from threading import get_ident
from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.knots import AnyNumber
from metarl_robot.core.errors import SignalError
from metarl_robot.core.signals import Reference, Setpoints
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.robots.quadrotor.flatness import FlatTrajectory
from metarl_robot.robots.quadrotor.trajectories import Paced

Array = NDArray[np.float64]

_TOLERANCE = 1e-6  # relative: a flight may touch a limit exactly
_QUATERNION_TOLERANCE = 1e-3
_SLOWER = 0.9
_LOOKS = 4  # every fourth sample: the first subset usually shows that a pace is too fast


class _Limits(NamedTuple):
    """Limits of the quantities of `_needs`, n + 5 with n rotors.

    lower, upper: (n + 5,). rest: (n + 5,) values in hover, from which usage is measured.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    allowed: tuple[str, ...]
    lower: Array
    upper: Array
    rest: Array

    def usage(self, needs: Array) -> Array:
        """Usage (N, n + 5) as shares of the limits."""
        return np.maximum(
            (needs - self.rest) / (self.upper - self.rest), (self.rest - needs) / (self.rest - self.lower)
        )


@lru_cache(maxsize=16)
def _limits(robot: Quadrotor, thrust_share: float) -> _Limits:
    lower, upper, turning = robot.effort_lower, robot.effort_limit * thrust_share, robot.velocity_limit[3:]
    most = np.array([robot.tilt_limit_rad, robot.velocity_limit[0], *turning])
    thrusts = (f"[{low:.4g}, {high:.4g}] N" for low, high in zip(lower, upper, strict=True))
    return _Limits(
        (
            *(f"thrust of '{name}'" for name in robot.channel_names),
            "tilt",
            "speed",
            *(f"rate about body {axis}" for axis in "xyz"),
        ),
        (*("N",) * robot.nu, "rad", "m/s", "rad/s", "rad/s", "rad/s"),
        (
            *thrusts,
            f"up to {most[0]:.4g} rad",
            f"up to {most[1]:.4g} m/s",
            *(f"up to ±{bound:.4g} rad/s" for bound in turning),
        ),
        np.concatenate([lower, -most]),
        np.concatenate([upper, most]),
        np.concatenate([np.full(robot.nu, robot.mass_kg * GRAVITY_M_S2 / robot.nu), np.zeros(5)]),
    )


def _needs(robot: Quadrotor, points: Setpoints) -> Array:
    """Quantities (N, n + 5) that the nominal robot needs to follow setpoints exactly.

    Rotor thrusts [N], tilt [rad], speed [m/s], body rates [rad/s].
    """
    (needs,) = _compiled_needs(get_ident(), robot.nu)(
        np.concatenate([points.q, points.v, points.a], axis=1), _parameters(robot)
    )
    return needs


@lru_cache(maxsize=16)
def _parameters(robot: Quadrotor) -> Array:
    """Parameters of `_compiled_needs`."""
    return np.concatenate([[robot.mass_kg], robot.inertia.ravel(), robot.mixing.T.ravel()])


@cache
def _compiled_needs(_thread: int, rotors: int) -> AnyNumber:
    """Compile `_needs`, one instance for each thread.

    Parameters: mass, inertia and the mixing, by columns.
    """
    q, v, a = ca.SX.sym("q", 7), ca.SX.sym("v", 6), ca.SX.sym("a", 6)
    mass, inertia, inverse = ca.SX.sym("mass"), ca.SX.sym("inertia", 3, 3), ca.SX.sym("inverse", rotors, 4)
    w, x, y, z = ca.vertsplit(q[3:])
    up = ca.vertcat(2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y))
    collective = mass * ca.norm_2(a[:3] + ca.DM([0.0, 0.0, GRAVITY_M_S2]))
    torque = inertia @ a[3:] + ca.cross(v[3:], inertia @ v[3:])
    thrusts = inverse @ ca.vertcat(collective, torque)
    needs = ca.vertcat(thrusts, ca.atan2(ca.norm_2(up[:2]), up[2]), ca.norm_2(v[:3]), v[3:])
    return AnyNumber(ca.Function("needs", [ca.vertcat(q, v, a), ca.veccat(mass, inertia, inverse)], [needs]))


def check_flight(
    robot: Quadrotor,
    reference: Reference,
    start_s: float,
    duration_s: float,
    thrust_share: float = 1.0,
    rate_hz: float = 200.0,
) -> None:
    """Refuse a reference that the nominal robot cannot fly from start_s to start_s + duration_s.

    The reference is sampled at rate_hz. thrust_share: share of the thrust limit that it may need; the rest is a reserve
    for disturbances and model errors.

    Raises:
        SignalError: wrong sizes, a value that is not finite, or a thrust, tilt, rate or speed beyond its limit. The
            message names the quantity, its value, the time and the limit.
    """
    times = start_s + np.linspace(0.0, duration_s, max(2, int(np.ceil(duration_s * rate_hz)) + 1))
    points = reference.sample(times)
    _check_numbers(robot, points, len(times))
    needs, limits = _needs(robot, points), _limits(robot, thrust_share)
    share = limits.usage(needs)
    k, worst = np.unravel_index(int(np.argmax(share)), share.shape)
    if share[k, worst] > 1.0 + _TOLERANCE:
        raise SignalError(
            f"reference: {limits.names[worst]} reaches {needs[k, worst]:.4g} {limits.units[worst]} at {times[k]:.3f} "
            f"s; {robot.name} allows {limits.allowed[worst]}"
        )


def usage(
    robot: Quadrotor, reference: Reference, start_s: float, duration_s: float, thrust_share: float = 1.0
) -> float:
    """Return the greatest share of a limit that a reference needs; `check_flight` accepts up to 1."""
    return _greatest_use(robot, reference, start_s + _moments(duration_s), thrust_share)


def _moments(duration_s: float) -> Array:
    """Times from 0 to duration_s, at most 10 ms apart."""
    return np.linspace(0.0, duration_s, max(2, int(np.ceil(duration_s * 100.0)) + 1))


def _greatest_use(robot: Quadrotor, reference: Reference, times: Array, thrust_share: float) -> float:
    needs = _needs(robot, reference.sample(times))
    return float(_limits(robot, thrust_share).usage(np.array([needs.min(axis=0), needs.max(axis=0)])).max())


def _check_numbers(robot: Quadrotor, points: Setpoints, count: int) -> None:
    for what, values, size in (
        ("pose", points.q, robot.nq),
        ("velocity", points.v, robot.dof),
        ("acceleration", points.a, robot.dof),
    ):
        if values.shape != (count, size):
            raise SignalError(f"reference: {what} has shape {values.shape}; {robot.name} needs ({count}, {size})")
        if not np.all(np.isfinite(values)):
            raise SignalError(f"reference: {what} holds a value that is not finite")
    norm = np.linalg.norm(points.q[:, 3:], axis=1)
    if np.any(np.abs(norm - 1.0) > _QUATERNION_TOLERANCE):
        worst = float(norm[np.argmax(np.abs(norm - 1.0))])
        raise SignalError(f"reference: a quaternion of norm {worst:.4f}; allowed: 1 ± {_QUATERNION_TOLERANCE}")


def slowed(
    robot: Quadrotor, trajectory: FlatTrajectory, duration_s: float, thrust_share: float = 1.0
) -> FlatTrajectory:
    """Return the trajectory, slowed until the nominal robot can fly it in [0, duration_s] within thrust_share."""
    flown, pace, times = trajectory, 1.0, _moments(duration_s)
    looks = [times[k::_LOOKS] for k in range(min(_LOOKS, len(times)))]
    while any(_greatest_use(robot, flown, look, thrust_share) > 1.0 for look in looks):
        pace *= _SLOWER
        flown = Paced(trajectory, pace)
    return flown
