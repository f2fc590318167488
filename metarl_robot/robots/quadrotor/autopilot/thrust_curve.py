# SPDX-License-Identifier: Apache-2.0
"""The curve from an autopilot's normalised thrust to force, learned in flight.

An autopilot takes thrust as a number s from 0 to 1. The force behind it depends on motors, propellers, the autopilot's
own thrust model and the battery; a wrong gain is a steady height error. With F_max the greatest collective thrust of
the robot's description and m its mass, the specific force f_z along body z [m/s²] that the accelerometer measures is

    m f_z / F_max = c₁ s + c₂ s² + noise

A Kalman filter estimates (c₁, c₂). Each is a process that returns to its start value within `MEMORY_S`
(Ornstein-Uhlenbeck), so that the part of the curve that a steady flight does not excite stays bounded, while a sagging
battery is followed. The noise stands for vibration, air drag and gusts; its density is chosen so that the settled
filter has the time constant `FOLLOW_S`, much slower than a controller's adapter: of a payload, the adapter reacts
first. The filter's own start is faster.

The commanded force F is divided by the nominal mass: s solves c₁ s + c₂ s² = F / F_max. The vehicle then has the
specific force F / m that the command would give the nominal robot, for any weight. PX4's hover thrust estimator
(MulticopterHoverThrustEstimator) measures the same way, with one coefficient.

The thrust that acts follows the commanded one with the motors' lag; s is low-passed with it before it is compared.
"""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.thrust_polynomial import ThrustPolynomial
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor

Array = NDArray[np.float64]

START_STD, SHAPE_STD = 0.25, 0.5
"""Standard deviations at the start: of c₁ + c₂, and of c₂ - c₁ (0: halfway between linear and quadratic)."""
MEMORY_S = 120.0
FOLLOW_S = 2.0
LOWEST_SHARE, HIGHEST_SHARE = 0.35, 2.5
"""Bounds of the force at s = 1 over F_max."""
LOWEST_HOVER, HIGHEST_HOVER = 0.1, 0.95
"""Bounds of the hover thrust."""
LEAST_THRUST = 0.15
"""Nothing is learned at a smaller acting thrust: the ground may carry the vehicle, and the curve is flat there."""
LONGEST_STEP_S = 0.05
"""A longer time between two measurements counts as this much."""


class ThrustCurve:
    """See the module's docstring.

    Arguments:
        robot: the quadrotor.
        hover_thrust: normalised thrust of a hover, such as PX4's MPC_THR_HOVER, to start from; None: the robot's
            limits, with a curve halfway between linear and quadratic.

    Raises:
        SignalError: hover_thrust is not within [LOWEST_HOVER, HIGHEST_HOVER].
    """

    def __init__(self, robot: Quadrotor, hover_thrust: float | None = None) -> None:
        self._full_n = robot.collective(robot.effort_limit)
        self._mass_kg = robot.mass_kg
        self._weight_share = robot.mass_kg * GRAVITY_M_S2 / self._full_n
        self._lag_s = max(robot.motor_time_s)
        scale = 1.0
        if hover_thrust is not None:
            if not LOWEST_HOVER <= hover_thrust <= HIGHEST_HOVER:
                raise SignalError(
                    f"hover_thrust is {hover_thrust}; must be between {LOWEST_HOVER} and {HIGHEST_HOVER}, as "
                    "MPC_THR_HOVER of PX4 or MOT_THST_HOVER of ArduPilot"
                )
            scale = self._weight_share / (0.5 * (hover_thrust + hover_thrust**2))
        self._start = scale * np.array([0.5, 0.5])
        both, one = START_STD**2 / 4.0, SHAPE_STD**2 / 4.0
        self._start_covariance = np.array([[both + one, both - one], [both - one, both + one]])
        self._noise_s = FOLLOW_S**2 * 2.0 * START_STD**2 / MEMORY_S
        self.reset()

    def reset(self) -> None:
        """Return to the start values."""
        self._curve, self._covariance = self._start.copy(), self._start_covariance.copy()
        self._acting: float | None = None

    @property
    def coefficients(self) -> tuple[float, float]:
        """c₁ and c₂."""
        return float(self._curve[0]), float(self._curve[1])

    @property
    def _polynomial(self) -> ThrustPolynomial:
        return ThrustPolynomial(0.0, *self.coefficients)

    @property
    def hover_thrust(self) -> float:
        """Normalised thrust that gives the specific force of a hover, 9.81 m/s²."""
        return self.normalised(self._weight_share * self._full_n)

    @property
    def hover_std(self) -> float:
        """Standard deviation of the hover thrust."""
        s = self.hover_thrust
        regressor = np.array([s, s * s])
        slope = max(self._curve[0] + 2.0 * self._curve[1] * s, 1e-3)
        return sqrt(max(float(regressor @ self._covariance @ regressor), 0.0)) / float(slope)

    def normalised(self, collective_n: float) -> float:
        """Normalised thrust in [0, 1] for a collective thrust [N] of the nominal robot."""
        return min(float(self._polynomial.inverse(collective_n / self._full_n)), 1.0)

    def collective_n(self, thrust: float) -> float:
        """Collective thrust [N] of the nominal robot at a normalised thrust in [0, 1]."""
        return self._full_n * float(self._polynomial.thrust(thrust))

    def observe(self, thrust: float, force_m_s2: float, dt_s: float, flying: bool) -> None:
        """Take one measurement.

        Arguments:
            thrust: normalised thrust commanded since the last one, in [0, 1].
            force_m_s2: specific force along body z (FLU: + at rest) since the last one [m/s²].
            dt_s: time since the last one [s].
            flying: False on the ground, which carries a part of the weight: nothing is learned.
        """
        dt_s = min(dt_s, LONGEST_STEP_S)
        if not (np.isfinite(thrust) and np.isfinite(force_m_s2) and dt_s > 0.0):
            return
        thrust = min(max(thrust, 0.0), 1.0)
        if self._acting is None:
            self._acting = thrust
        self._acting += (1.0 - exp(-dt_s / self._lag_s)) * (thrust - self._acting)
        self._predict(dt_s)
        if flying and self._acting >= LEAST_THRUST:
            self._correct(self._acting, self._mass_kg * force_m_s2 / self._full_n, dt_s)

    def pause(self) -> None:
        """Forget the acting thrust: the next one is not a continuation."""
        self._acting = None

    def _predict(self, dt_s: float) -> None:
        keep = exp(-dt_s / MEMORY_S)
        self._curve = self._start + keep * (self._curve - self._start)
        self._covariance = self._start_covariance + keep * keep * (self._covariance - self._start_covariance)

    def _correct(self, thrust: float, measured: float, dt_s: float) -> None:
        regressor = np.array([thrust, thrust * thrust])
        spread = self._covariance @ regressor
        gain = spread / (float(regressor @ spread) + self._noise_s / dt_s)
        self._curve = self._bounded(self._curve + gain * (measured - float(regressor @ self._curve)))
        covariance = self._covariance - np.outer(gain, spread)
        self._covariance = 0.5 * (covariance + covariance.T)

    def _bounded(self, curve: Array) -> Array:
        """A curve that rises, within the bounds of full thrust and hover thrust."""
        curve = np.maximum(curve, 0.0)
        full = float(curve.sum())
        if full < 1e-9:
            return self._start * LOWEST_SHARE
        curve = curve * (min(max(full, LOWEST_SHARE), HIGHEST_SHARE) / full)
        for hover, sign in ((LOWEST_HOVER, 1.0), (HIGHEST_HOVER, -1.0)):
            share = float(curve[0] * hover + curve[1] * hover**2)
            if sign * (share - self._weight_share) > 0.0:
                curve = curve * (self._weight_share / share)
        return curve
