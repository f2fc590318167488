# SPDX-License-Identifier: Apache-2.0
"""How a policy controls an arm: it moves a bounded correction of computed torque; for N arms at once.

    τ = M(q) (q̈_ref + k_d ė + k_p e + c) + h(q, q̇),   ċ = ACCELERATION_RATE a,   |a| ≤ 1, |c| ≤ LARGEST_CORRECTION

The policy chooses a every PERIOD_S. Training and the robot share this law. Why the rate of a joint acceleration:
- Untrained, the arm already tracks as computed torque does; the worst correction is a bounded displacement.
- The mass matrix gives each joint the same scale: an unknown force d displaces it by about M⁻¹ d / k_p.
- Efforts do not jump, and the noise of exploration is integrated: the gate accepts every command.
- A constant unknown force needs a = 0 once it is compensated, so that smooth motion costs nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Setpoints, State
from metarl_robot.robots.arm.dynamics import ArmDynamics

Array = NDArray[np.float64]

PERIOD_S = 0.02
LARGEST_CORRECTION = 60.0
"""[rad/s²]: that of an error of 0.07 rad."""
ACCELERATION_RATE = 200.0
"""[rad/s³]"""

_KP, _KD = 900.0, 60.0
"""Gains of computed torque [1/s², 1/s]."""
_ERROR, _ERROR_RATE, _ACCELERATION = 0.01, 0.2, 5.0
"""Units of the observed errors [rad, rad/s] and of the reference's acceleration [rad/s²]."""
_MOST_UNITS = 5.0
_WORST_ERROR = 10.0
_SMOOTHNESS = 0.02
"""Cost of the mean square action; that of a mean error of 1 unit is 1."""
_SHARES = 6


class PolicyLaw:
    """Observation, reward and effort of N arms. Slides count in metres where hinges count in radians.

    observations, actions: sizes. Not to be shared between threads.
    """

    def __init__(self, robot: Robot) -> None:
        self._dynamics = ArmDynamics(robot)
        self._velocity_limit = robot.velocity_limit
        self._middle = 0.5 * (robot.position_upper + robot.position_lower)
        self._half = 0.5 * (robot.position_upper - robot.position_lower)
        self.observations, self.actions = _SHARES * robot.dof, robot.dof

    def observe(self, state: State, target: Setpoints, correction: Array) -> Array:
        """Observations (N, 6n) of measured states, the reference there and the corrections, (N, n) each."""
        parts = (
            (target.q - state.q) / _ERROR,
            (target.v - state.v) / _ERROR_RATE,
            state.v / self._velocity_limit,
            (state.q - self._middle) / self._half,
            target.a / _ACCELERATION,
            correction / LARGEST_CORRECTION,
        )
        return np.clip(np.concatenate(parts, axis=1), -_MOST_UNITS, _MOST_UNITS)

    def reward(self, state: State, target: Setpoints, actions: Array) -> Array:
        """Reward (N,) of the actions that led to these states: less the mean error and the mean square action."""
        error = np.minimum(np.abs(target.q - state.q) / _ERROR, _WORST_ERROR)
        return np.asarray(-error.mean(axis=1) - _SMOOTHNESS * np.square(actions).mean(axis=1))

    def moved(self, correction: Array, actions: Array, step_s: float) -> Array:
        """Corrections (N, n) after step_s under actions within ±1."""
        moved = correction + ACCELERATION_RATE * step_s * actions
        return np.clip(moved, -LARGEST_CORRECTION, LARGEST_CORRECTION)

    def effort(self, state: State, target: Setpoints, correction: Array) -> Array:
        """Efforts (N, n), before limits."""
        feedback = _KP * (target.q - state.q) + _KD * (target.v - state.v)
        return self._dynamics.inverse_dynamics(state.q, state.v, target.a + feedback + correction)

    def following(self, q: Array, effort: Array) -> Array:
        """Change of the correction (n,) at a position (n,) that changes the effort by `effort` (n,)."""
        return np.asarray(np.linalg.solve(self._dynamics.mass_matrix(q), effort))
