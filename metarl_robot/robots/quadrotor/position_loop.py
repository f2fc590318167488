# SPDX-License-Identifier: Apache-2.0
"""From position error to thrust: the outer loop shared by the quadrotors' controllers.

With the time constant T of everything below (motors, delays: `lag_s`), each loop is slower than the next inner one by
the same factor, as in the damping optimum (Kessler 1960). One set of dimensionless gains therefore serves every size of
robot:

    v_c = v_r + s(e_p),    a_c = a_r + k_v (v_c - v) + i,    i' = k_i k_v (v_c - v)

Along world z each gain is `vertical` times as high, because the quadrotor need not tilt first. s is the gain k_p near
the goal; farther away it is the speed from which a bounded deceleration still stops at the goal. The wanted thrust per
nominal mass is a_c + g e_z, limited by thrust and tilt. Its vertical part has priority, except for a reserved share.
Where a limit is active, the integral stops. Accelerations and attitudes of the reference are sampled ahead by the time
that they take to act.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import Reference, State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor

Array = NDArray[np.float64]

LEAST_LIFT = 0.3
"""Least vertical thrust, share of the weight: a quadrotor without thrust cannot be steered."""
SIDE_SHARE = 0.4
"""Share of the thrust reserved for horizontal motion; it costs a twelfth of the lift."""
FALLING_M_S = 0.5
"""In a fall this much faster than the reference, no thrust is reserved for horizontal motion."""
BRAKING_SHARE = 0.5
"""Deceleration of an approach from far away, share of the acceleration that the tilt limit allows."""
INTEGRAL_M_S2 = 6.0
"""Bound of the integral on each axis."""


@dataclass(frozen=True)
class Gains:
    """Gains k_p, k_v, k_i [1/s], horizontal, and the factor `vertical`.

    ahead_s: time from a command to its effect, thrust and turning included.
    """

    position: float
    velocity: float
    integral: float
    vertical: float
    ahead_s: float


@dataclass(frozen=True)
class Target:
    """The loop's output: thrust per mass (3,) [m/s^2; world], heading [rad], and the reference's rotation.

    attitude: (4,). rate, rate_change: (3,) [rad/s, rad/s^2], in the reference's body axes.
    """

    thrust: Array
    yaw: float
    attitude: Array
    rate: Array
    rate_change: Array


class PositionLoop:
    """See the module's docstring."""

    def __init__(self, robot: Quadrotor, gains: Gains) -> None:
        self._gains = gains
        axes = np.array([1.0, 1.0, gains.vertical])
        self._velocity_gain, self._integral_gain = gains.velocity * axes, gains.integral * axes
        self._greatest = robot.collective(robot.effort_limit) / robot.mass_kg
        self._slope = float(np.tan(robot.tilt_limit_rad))
        self._braking = BRAKING_SHARE * GRAVITY_M_S2 * min(1.0, self._slope)
        self._speed = float(robot.velocity_limit[0])
        self.reset()

    def reset(self) -> None:
        self._integral = np.zeros(3)

    def step(
        self, time: float, state: State, reference: Reference, dt: float, push: Array | None = None
    ) -> Target | None:
        """Return the target; None for a reference that is not finite.

        dt: time since the last step [s]. push: (3,) known external acceleration [m/s^2; world].
        """
        points = reference.sample(np.array([time, time + self._gains.ahead_s]))
        if not all(np.all(np.isfinite(values)) for values in (points.q, points.v, points.a)):
            return None
        off = points.q[0, :3] - state.q[:3]
        gain = self._gains.position
        wanted = points.v[0, :3] + np.append(
            self._approach(off[:2], gain), self._approach(off[2:], gain * self._gains.vertical)
        )
        error = self._velocity_gain * (wanted - state.v[:3])
        thrust = points.a[1, :3] + error + self._integral - (0.0 if push is None else push)
        thrust[2] += GRAVITY_M_S2
        feasible = self._feasible(thrust, min(float(points.v[0, 2]), 0.0) - float(state.v[2]))
        free = np.abs(feasible - thrust) < 1e-9
        self._integral = np.where(free, self._integral + self._integral_gain * error * dt, self._integral)
        self._integral = np.clip(self._integral, -INTEGRAL_M_S2, INTEGRAL_M_S2)
        attitude = points.q[1, 3:]
        return Target(feasible, float(rotation.yaw(attitude)), attitude, points.v[1, 3:], points.a[1, 3:])

    def _approach(self, error: Array, gain: float) -> Array:
        """Velocity (n,) towards a goal at `error` (n,)."""
        distance = float(np.linalg.norm(error))
        near = self._braking / gain**2
        if distance <= near:
            return gain * error
        speed = np.sqrt(2.0 * self._braking * (distance - 0.5 * near))
        return error * (min(speed, self._speed) / distance)

    def _feasible(self, thrust: Array, falling_m_s: float) -> Array:
        """Limit the thrust to the feasible set, vertical part first; the horizontal share fades in a fall."""
        wanted = float(np.hypot(thrust[0], thrust[1]))
        share = SIDE_SHARE * min(max(1.0 - falling_m_s / FALLING_M_S, 0.0), 1.0)
        kept = min(wanted, share * self._greatest)
        lift = float(np.clip(thrust[2], LEAST_LIFT * GRAVITY_M_S2, np.sqrt(self._greatest**2 - kept**2)))
        side = min(self._slope * lift, float(np.sqrt(self._greatest**2 - lift**2)))
        share = 1.0 if wanted <= side else side / wanted
        return np.array([thrust[0] * share, thrust[1] * share, lift])
