# SPDX-License-Identifier: Apache-2.0
"""From position to thrust: the outer loop that controllers of quadrotors share.

With the time constant T of everything below (motors, delays: `lag_s`), each loop is slower than the next inner one by
the same factor, as the damping optimum has it (Kessler 1960), so that one set of dimensionless gains serves every size
of robot:

    v_c = v_r + s(e_p),    a_c = a_r + k_v (v_c - v) + i,    i' = k_i k_v (v_c - v)

each gain `vertical` times as high along world z, where nothing has to turn first; s is the gain k_p near the goal, and
farther off the speed from which a bounded deceleration still stops there. The thrust asked for, per nominal mass, is
a_c + g e_z, kept within what thrust and tilt can give: its vertical part first, but for a share. Where it cannot be
given, the integral stops. Accelerations and attitudes of the reference are taken ahead of time, by what it takes until
they act.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import Reference, State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor

Array = NDArray[np.float64]

THRUST_SHARE = 0.9
"""Of the greatest collective thrust, what the position loop may ask for; the rest is left for turning."""
LEAST_LIFT = 0.3
"""Of its weight, the least vertical thrust that it asks for: a quadrotor without thrust cannot be steered."""
SIDE_SHARE = 0.4
"""Of the thrust, what is kept for sideways motion before lift takes all; it costs a twelfth of the lift."""
BRAKING_SHARE = 0.5
"""Of the acceleration that the tilt limit allows, what an approach from far away counts on."""
INTEGRAL_M_S2 = 6.0
"""Bound of the integral, each axis."""


@dataclass(frozen=True)
class Gains:
    """k_p, k_v, k_i [1/s], horizontal, and `vertical`; ahead_s: from a command to its effect, thrust and turning
    included.
    """

    position: float
    velocity: float
    integral: float
    vertical: float
    ahead_s: float


@dataclass(frozen=True)
class Target:
    """What the loop asks for: thrust per mass (3,) [m/s^2; world], heading [rad], and the reference's turning, in its
    own body axes.

    attitude: (4,). rate, rate_change: (3,) [rad/s, rad/s^2].
    """

    thrust: Array
    yaw: float
    attitude: Array
    rate: Array
    rate_change: Array


class PositionLoop:
    """See the module's docstring."""

    def __init__(self, robot: Quadrotor, gains: Gains) -> None:
        self._gains, self._period = gains, robot.control_period_s
        axes = np.array([1.0, 1.0, gains.vertical])
        self._velocity_gain, self._integral_gain = gains.velocity * axes, gains.integral * axes
        self._greatest = THRUST_SHARE * float(robot.effort_limit.sum()) / robot.mass_kg
        self._slope = float(np.tan(robot.tilt_limit_rad))
        self._braking = BRAKING_SHARE * GRAVITY_M_S2 * min(1.0, self._slope)
        self._speed = float(robot.velocity_limit[0])
        self.reset()

    def reset(self) -> None:
        self._integral = np.zeros(3)

    def step(self, time: float, state: State, reference: Reference, push: Array | None = None) -> Target | None:
        """What to aim at; None where the reference is not finite. push: (3,) known acceleration from outside [m/s^2;
        world].
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
        feasible = self._feasible(thrust)
        free = np.abs(feasible - thrust) < 1e-9
        self._integral = np.where(free, self._integral + self._integral_gain * error * self._period, self._integral)
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

    def _feasible(self, thrust: Array) -> Array:
        """What can be given of it, vertical part first."""
        wanted = float(np.hypot(thrust[0], thrust[1]))
        kept = min(wanted, SIDE_SHARE * self._greatest)
        lift = float(np.clip(thrust[2], LEAST_LIFT * GRAVITY_M_S2, np.sqrt(self._greatest**2 - kept**2)))
        side = min(self._slope * lift, float(np.sqrt(self._greatest**2 - lift**2)))
        share = 1.0 if wanted <= side else side / wanted
        return np.array([thrust[0] * share, thrust[1] * share, lift])
