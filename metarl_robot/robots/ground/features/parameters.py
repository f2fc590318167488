# SPDX-License-Identifier: Apache-2.0
"""Feature groups of a ground vehicle: each is a part of the physical parameters p (dynamics.py).

`value` excludes the parameters, because plans contain them in their own dynamics. Forces are not linear in them: the
filter linearises about its estimate (extended Kalman filter).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Series, Xi
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import ACTUATORS, LOAD, N_PARAMETERS, SLOPE, SURFACE, parameter_names

Array = NDArray[np.float64]

LOWER = np.array([-2.5, -1.5, -0.2, 0.0, -np.inf, -np.inf, 0.0, -0.6, -0.6, -0.15, -0.7])
UPPER = np.array([1.0, 2.5, 0.5, np.inf, np.inf, np.inf, np.inf, 0.6, 0.6, 0.15, 1.0])
"""Bounds of the parameters used for control; with skid steering the last two are the strengths of both sides."""


class ParameterFeatures(BaseGroup):
    """The parameters p of one group. sudden, removable: see FeatureGroup."""

    in_dynamics = bounded = True

    def __init__(self, robot: Ground, part: slice, sudden: bool = False, removable: bool = False) -> None:
        super().__init__(robot.dof, parameter_names(robot)[part], robot.nu)
        self.pools = self.names
        self.sudden, self.removable = sudden, removable
        self._part = part
        lower = LOWER if robot.is_steered else np.append(LOWER[:-2], [-0.7, -0.7])
        self._lower, self._upper = lower[part], UPPER[part]
        if part == LOAD:
            arm = robot.wheelbase_m
            self.scale = robot.mass_kg * np.array([1.0, arm, arm, arm * arm])

    def impulse(self, interval: Interval) -> Array:
        return interval.balance.attached_impulse[:, self._part]

    def impulses(self, series: Series) -> Array:
        raise NotImplementedError("a ground vehicle's prior is fitted to tasks, not to forces (sim/ground/learner.py)")

    def attached(self, z: Array) -> Array:
        p = np.zeros(N_PARAMETERS)
        p[self._part] = z
        return p

    def existing(self, z: Array) -> Array:
        return np.clip(z, self._lower, self._upper)

    def design(self, xi: Xi) -> Array:
        return np.zeros((len(xi.v), self._dof, len(self.names)))

    def value(self, xi: Xi, z: Array) -> Array:
        return np.zeros(self._dof)


FRICTION, FRICTION_STD, STIFFNESS = 0.72, 0.28, (-0.12, 0.2)
ROLLING, ROLLING_STD = 0.035, 0.0144
LOAD_STD, SLOPE_STD = (0.23, 0.07, 0.045, 0.037), 0.046
STRENGTH, STEERING_STD_RAD = (-0.05, 0.087), 0.0173
"""Prior without trained weights: as drawn in simulation (sim/ground/suites.py: TRAIN).

Geometric mean of the friction, standard deviation of its logarithm; mean and standard deviation of the logarithm of the
stiffness over the description's; of the rolling resistance; root mean square of the load's parameters in units of
`scale`, of a slope's tangent and of the steering's offset; mean and standard deviation of motor strength beyond 1.
"""


def _surface_prior(robot: Ground) -> dict[str, tuple[float, float]]:
    friction = float(np.log(FRICTION / robot.friction)), FRICTION_STD
    return _named(robot, SURFACE, friction, STIFFNESS, (ROLLING - robot.rolling, ROLLING_STD))


def _load_prior(robot: Ground) -> dict[str, tuple[float, float]]:
    return _named(robot, LOAD, *((0.0, std) for std in LOAD_STD))


def _slope_prior(robot: Ground) -> dict[str, tuple[float, float]]:
    return _named(robot, SLOPE, (0.0, SLOPE_STD), (0.0, SLOPE_STD))


def _actuators_prior(robot: Ground) -> dict[str, tuple[float, float]]:
    return _named(robot, ACTUATORS, (0.0, STEERING_STD_RAD) if robot.is_steered else STRENGTH, STRENGTH)


def _named(robot: Ground, part: slice, *values: tuple[float, float]) -> dict[str, tuple[float, float]]:
    return dict(zip(parameter_names(robot)[part], values, strict=True))


def _surface(robot: Ground, task: Any) -> Array:
    ratio = np.log([task.mean_friction / robot.friction, task.stiffness_scale])
    return np.append(ratio, task.rolling_resistance - robot.rolling)


def _load(robot: Ground, task: Any) -> Array:
    mass, (x, y, _) = task.payload_mass_kg, task.payload_position_m
    return np.array([mass, mass * x, mass * y, mass * (x * x + y * y)])


def _actuators(robot: Ground, task: Any) -> Array:
    error = task.motor_strength - 1.0
    return np.array([task.steering_offset_rad if robot.is_steered else error, error])


SURFACE_SPEC = FeatureSpec(
    lambda robot, dynamics, weights: ParameterFeatures(robot, SURFACE, sudden=True),
    _surface,
    described_prior=_surface_prior,
)
LOAD_SPEC = FeatureSpec(
    lambda robot, dynamics, weights: ParameterFeatures(robot, LOAD, sudden=True, removable=True),
    _load,
    described_prior=_load_prior,
)
SLOPE_SPEC = FeatureSpec(
    lambda robot, dynamics, weights: ParameterFeatures(robot, SLOPE, sudden=True),
    lambda robot, task: np.tan(task.slope_rad),
    described_prior=_slope_prior,
)
ACTUATORS_SPEC = FeatureSpec(
    lambda robot, dynamics, weights: ParameterFeatures(robot, ACTUATORS), _actuators, described_prior=_actuators_prior
)
