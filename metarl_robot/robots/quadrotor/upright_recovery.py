# SPDX-License-Identifier: Apache-2.0
"""Recovery of a quadrotor that is upside down or nearly so: first turn it upright, then stop the fall.

All controllers and the fallback law use it. It takes over beyond `BEGIN_TILT_RAD`, where linearised plans and position
loops do not work. It hands back when the quadrotor is upright, turns slowly, and has stopped falling or cannot reduce
its fall any further.

Only the direction of body z is controlled; heading is free (reduced attitude; Brescianini, D'Andrea, "Tilt-prioritized
quadrocopter attitude control", IEEE TCST 2018). φ is the rotation vector from body z, at the attitude predicted one lag
T ahead, to the wanted direction. Because of the prediction, a rotating quadrotor continues in the same direction:

    ω_r = φ/|φ| min(k_a |φ|, √(2 α |φ|), ω_max),      torque = J k_w (ω_r - ω) + ω × J ω

α is an angular deceleration that the rotors can always produce. The wanted direction is up, tilted against the
horizontal velocity. Thrust is used only as far as it lifts (`thrust_for_lift`): upside down it is the least that gives
the torque.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.signals import Reference, State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor

Array = NDArray[np.float64]

BEGIN_TILT_RAD = math.radians(90.0)
BEGIN_COSINE = math.cos(BEGIN_TILT_RAD)
END_TILT_RAD = math.radians(25.0)
END_RATE = 0.3
"""Share of the limits of the body rates."""
END_FALL_M_S = 0.5
STOPPED_S = 0.2
"""A fall that has not slowed down for this time cannot be reduced any further."""
TURN_GAIN, RATE_GAIN, YAW_SHARE = 0.28, 0.6, 0.3
"""k_a and k_w [1/T]; the yaw rate is only damped, with this share of k_w."""
BRAKING_SHARE = 0.35
"""α: share of the angular acceleration at the largest torque."""
LIFT_GAIN, LEAST_LIFT = 0.5, 0.3
"""Gain of the vertical velocity [1/T]; smallest lift, share of the weight: without thrust it cannot be steered."""
LEAN_RAD, LEAN_GAIN_HZ = 0.3, 1.0
UPRIGHT = 0.5
"""Cosine of the tilt up to which thrust compensates the tilt."""


class Wrench(NamedTuple):
    """Collective thrust [N] and torque (3,) [Nm; body]."""

    collective: float
    torque: Array


class UprightRecovery:
    """See the module's docstring. lag_s: T, of motors and delays together."""

    def __init__(self, robot: Quadrotor, lag_s: float) -> None:
        self._robot, self._lag_s = robot, lag_s
        self._rate_gain = RATE_GAIN / lag_s * np.array([1.0, 1.0, YAW_SHARE])
        reach = np.abs(robot.allocation[1:3]) @ (robot.effort_limit - robot.effort_lower) / 2.0
        self._braking = BRAKING_SHARE * float(np.min(reach / np.diag(robot.inertia)[:2]))
        self._fastest = float(robot.velocity_limit[3:5].min())
        self.reset()

    def reset(self) -> None:
        self.active = False
        self._slowest_m_s, self._slowest_since_s = np.inf, 0.0

    def along(self, time: float, state: State, reference: Reference, mass_kg: float | None = None) -> Wrench | None:
        """As `wrench`, towards the velocity of a reference."""
        if not self._may_act(state):
            return None
        velocity = reference.sample(np.array([time])).v[0, :3]
        return self.wrench(time, state, np.where(np.isfinite(velocity), velocity, 0.0), mass_kg)

    def wrench(self, time: float, state: State, velocity: Array, mass_kg: float | None = None) -> Wrench | None:
        """Thrust and torque while the quadrotor must be recovered, else None.

        velocity: (3,) wanted after the recovery [m/s; world]. mass_kg: of the quadrotor, if it is estimated.
        """
        if not (self._may_act(state) and self._goes_on(time, state, float(velocity[2]))):
            return None
        return self._towards(state, velocity, self._robot.mass_kg if mass_kg is None else mass_kg)

    def _may_act(self, state: State) -> bool:
        return self.active or rotation.upright(state.q[3:]) < BEGIN_COSINE

    def _goes_on(self, time: float, state: State, wanted_m_s: float) -> bool:
        """Whether the recovery begins or continues now."""
        tilt = float(rotation.tilt(state.q[3:]))
        turning = float(np.abs(state.v[3:5]).max()) > END_RATE * self._fastest
        upright = tilt < END_TILT_RAD and not turning
        fall_m_s = min(wanted_m_s, 0.0) - float(state.v[2])
        if not (self.active and upright):
            self._slowest_m_s = np.inf
        if fall_m_s < self._slowest_m_s:
            self._slowest_m_s, self._slowest_since_s = fall_m_s, time
        stopped = fall_m_s < END_FALL_M_S or time - self._slowest_since_s > STOPPED_S
        self.active = not (upright and stopped)
        return self.active

    def _towards(self, state: State, velocity: Array, mass_kg: float) -> Wrench:
        """Thrust and torque that turn it upright and bring it to a velocity (3,) [m/s; world]."""
        rate, upright = state.v[3:], rotation.upright(state.q[3:])
        lift = GRAVITY_M_S2 + LIFT_GAIN / self._lag_s * float(velocity[2] - state.v[2])
        collective = mass_kg * max(lift, LEAST_LIFT * GRAVITY_M_S2) * thrust_for_lift(upright)
        ahead = rotation.integrate(state.q[3:], rate, self._lag_s)
        turn = turn_to(ahead, _leaning(velocity[:2] - state.v[:2]))
        inertia = self._robot.inertia
        torque = inertia @ (self._rate_gain * (self._paced(turn) - rate)) + rotation.cross(rate, inertia @ rate)
        return Wrench(min(collective, self._robot.collective(self._robot.effort_limit)), torque)

    def _paced(self, turn: Array) -> Array:
        """Wanted body rates ω_r (3,) for a remaining turn φ (3,)."""
        angle = math.sqrt(turn @ turn)
        pace = min(TURN_GAIN / self._lag_s * angle, math.sqrt(2.0 * self._braking * angle), self._fastest)
        return turn * (pace / max(angle, 1e-9))


def thrust_for_lift(upright: float) -> float:
    """Ratio of thrust to vertical force at a cosine of the tilt: 1 / upright up to a limit, then falling to zero.

    Beyond the limit, thrust would mostly push sideways; upside down, it would push down.
    """
    return 1.0 / upright if upright > UPRIGHT else max(upright, 0.0) / UPRIGHT**2


def lift_share(attitude: Array) -> float:
    """Share of a thrust along body z that lifts at an attitude (4,); zero where it pushes down."""
    return max(rotation.upright(attitude), 0.0)


def turn_to(attitude: Array, direction: Array) -> Array:
    """Rotation vector (3,) [rad; body] from body z to a direction [world]; about x for opposite directions."""
    wanted = rotation.rotate_back(attitude, direction / np.linalg.norm(direction))
    axis = np.array([-wanted[1], wanted[0], 0.0])
    sine = float(np.hypot(axis[0], axis[1]))
    if sine < 1e-6:
        return np.array([0.0 if wanted[2] > 0.0 else np.pi, 0.0, 0.0])
    return axis * (np.arctan2(sine, wanted[2]) / sine)


def _leaning(slower: Array) -> Array:
    """Direction (3,) of body z that changes the horizontal velocity by (2,) [m/s]."""
    lean = LEAN_GAIN_HZ / GRAVITY_M_S2 * slower
    return np.append(lean * min(1.0, math.tan(LEAN_RAD) / max(float(np.linalg.norm(lean)), 1e-9)), 1.0)
