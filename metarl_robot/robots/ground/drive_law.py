# SPDX-License-Identifier: Apache-2.0
"""How a policy drives a car: it moves bounded corrections of a path-following law; for N cars at once.

    κ = κ_ref(t + LEAD_S) - e_y / ℓ² - 2 e_ψ / ℓ + κ_max SHARE c_1      δ = atan(l κ)
    a = a_ref + k_v (v_ref - v) + a_max SHARE c_2                       T = m r a
    ċ = CORRECTION_RATE u,   |u| ≤ 1, |c| ≤ 1

e_y is the offset to the left of the line's nearest point, e_ψ the angle from the line's direction to the velocity's,
ℓ a length that grows with the speed, l the wheelbase, κ_max and a_max those of the largest steering angle and torque.
Without slip the offset decays critically damped over the distance ℓ. The policy chooses u every PERIOD_S. As for arms
(robots/arm/policy_law.py): untrained, the car already follows the line, commands do not jump, and a constant unknown,
such as a bent steering, needs u = 0 once it is compensated. The law does not recover from a spin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.signals import Setpoints, State
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.nearby import SPACING_S

Array = NDArray[np.float64]

PERIOD_S = 0.02
POINTS = 21
"""Points of the line, SPACING_S apart, of which the first is nearest to the car."""
LEAD_S = 0.1
SHARE = 0.3
CORRECTION_RATE = 5.0
"""[1/s]"""

_LENGTH_S, _LEAST_LENGTH_WHEELBASES = 0.15, 1.5
_SPEED_GAIN = 4.0
_LEAST_SPEED_M_S = 1.0
"""Slower cars count as this fast in the direction of the velocity, which noise would turn. On slower parts of the line
corrections act in proportion to its speed: where the car is to stand, it stands."""
_PREVIEW = (0, 10, 20)
_ASIDE_WIDTHS, _HEADING_RAD, _SPEED_SHARE, _SIDEWAYS_SHARE = 0.3, 0.1, 0.07, 0.1
"""Units of the errors, and of sideways speed: widths of the car, shares of its speed limit."""
_MOST_UNITS, _WORST_ERROR = 5.0, 10.0
_SPEED_WEIGHT, _SMOOTHNESS = 0.3, 0.02
"""Costs of a speed error of a unit and of the mean square action; an offset of a unit costs 1."""


class DriveLaw:
    """Observation, reward and effort of N cars with a steered axle.

    observations, actions: sizes. Raises MetaRLError for a skid-steered vehicle.
    """

    observations, actions = 7 + 2 * len(_PREVIEW), 2

    def __init__(self, robot: Ground) -> None:
        if not robot.is_steered:
            raise MetaRLError(f"robot '{robot.name}' is skid-steered; the policy's law needs a steered axle")
        self._wheelbase_m, self._torque_per_m_s2 = robot.wheelbase_m, robot.mass_kg * robot.wheel_radius_m
        self._limit_m_s, self._turning = float(robot.velocity_limit[0]), float(robot.velocity_limit[2])
        self._aside_m = _ASIDE_WIDTHS * float(robot.description.size_m[1])
        sharpest = np.tan(robot.effort_limit[0]) / robot.wheelbase_m
        self._most = SHARE * np.array([sharpest, robot.effort_limit[1] / self._torque_per_m_s2])

    def observe(self, state: State, line: Setpoints, correction: Array) -> Array:
        """Observations (N, observations) of states (N, 3), their lines (N, POINTS, 3) and corrections (N, 2)."""
        aside, heading, slower = self._errors(state, line)
        forward, sideways = _body(state)
        speeds = np.hypot(line.v[:, _PREVIEW, 0], line.v[:, _PREVIEW, 1])
        parts = (
            aside, heading, slower,
            forward / self._limit_m_s,
            sideways / (_SIDEWAYS_SHARE * self._limit_m_s),
            *(line.v[:, _PREVIEW, 2] / self._turning).T,
            *(speeds / self._limit_m_s).T,
            *correction.T,
        )  # fmt: skip
        return np.clip(np.stack(parts, axis=1), -_MOST_UNITS, _MOST_UNITS)

    def reward(self, state: State, line: Setpoints, actions: Array) -> Array:
        """Reward (N,) of the actions (N, 2) that led to these states."""
        aside, _, slower = (np.minimum(np.abs(error), _WORST_ERROR) for error in self._errors(state, line))
        return np.asarray(-aside - _SPEED_WEIGHT * slower - _SMOOTHNESS * np.square(actions).mean(axis=1))

    def moved(self, correction: Array, actions: Array, step_s: float) -> Array:
        """Corrections (N, 2) after step_s under actions within ±1."""
        return np.clip(correction + CORRECTION_RATE * step_s * actions, -1.0, 1.0)

    def effort(self, state: State, line: Setpoints, correction: Array) -> Array:
        """Efforts (N, 2), before limits."""
        aside, heading, _ = self._errors(state, line)
        forward, _ = _body(state)
        length = np.maximum(_LENGTH_S * np.abs(forward), _LEAST_LENGTH_WHEELBASES * self._wheelbase_m)
        ahead = line.v[:, round(LEAD_S / SPACING_S)]
        bend = ahead[:, 2] / np.maximum(np.hypot(ahead[:, 0], ahead[:, 1]), 0.1)
        yaw, wanted = line.q[:, 0, 2], np.hypot(line.v[:, 0, 0], line.v[:, 0, 1])
        more = self._most * correction * np.minimum(wanted / _LEAST_SPEED_M_S, 1.0)[:, None]
        feedback = self._aside_m * aside / length**2 + 2.0 * _HEADING_RAD * heading / length
        along = np.cos(yaw) * line.a[:, 0, 0] + np.sin(yaw) * line.a[:, 0, 1]
        acceleration = along + _SPEED_GAIN * (wanted - forward) + more[:, 1]
        steering = np.arctan(self._wheelbase_m * (bend - feedback + more[:, 0]))
        return np.stack([steering, self._torque_per_m_s2 * acceleration], axis=1)

    def aside_m(self, state: State, line: Setpoints) -> Array:
        """Offsets (N,) [m] to the left of the line."""
        return self._aside_m * self._errors(state, line)[0]

    def _errors(self, state: State, line: Setpoints) -> tuple[Array, Array, Array]:
        """Offset to the left, error of the course angle and lack of speed (N,), in their units."""
        yaw, away = line.q[:, 0, 2], state.q[:, :2] - line.q[:, 0, :2]
        aside = np.cos(yaw) * away[:, 1] - np.sin(yaw) * away[:, 0]
        forward, sideways = _body(state)
        course = state.q[:, 2] + np.arctan2(sideways, np.maximum(forward, _LEAST_SPEED_M_S))
        turned = (course - yaw + np.pi) % (2.0 * np.pi) - np.pi
        lack = np.hypot(line.v[:, 0, 0], line.v[:, 0, 1]) - forward
        return aside / self._aside_m, turned / _HEADING_RAD, lack / (_SPEED_SHARE * self._limit_m_s)


def _body(state: State) -> tuple[Array, Array]:
    """Forward and sideways speeds (N,) [m/s]."""
    c, s = np.cos(state.q[:, 2]), np.sin(state.q[:, 2])
    return c * state.v[:, 0] + s * state.v[:, 1], c * state.v[:, 1] - s * state.v[:, 0]
