# SPDX-License-Identifier: Apache-2.0
"""Noise levels of a ground vehicle's momentum filter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_tuning import FilterTuning
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.dynamics import GroundDynamics

Array = NDArray[np.float64]

POSITION_NOISE = (0.003, 0.003, 0.002)
"""Standard deviations of the measured x, y [m] and yaw [rad]."""
VELOCITY_NOISE = (0.02, 0.01)
"""Initial standard deviations of the measured velocity [m/s] and yaw rate [rad/s]; both are then estimated online."""
BANDWIDTH_SHARE = 0.5
"""Largest bandwidth of the disturbance observer [rad/s], times the period of the samples.

An observer of 10 rad/s spun a car of 1.1 t with states at 10 Hz.
"""
INITIAL_DRIFT = 0.05
"""Standard deviation of the slow disturbance at the start and after a detected change, share of weight and torque."""
INERTIAL_POSITION_NOISE, INERTIAL_MODEL_ERROR = (0.05, 0.05, 0.02), 2.0
"""Of states of inertial odometry: standard deviations of x, y [m] and yaw [rad], and the factor of the model error.

Position and velocity come from one estimator, and their errors last for tenths of a second. The velocity's changes are
those that the IMU measures, and show the force; the position adds nothing to them, and corrections of the position
would count as force.
"""


def force_scale(robot: Ground) -> Array:
    """Weight [N], twice, and the torque [Nm] of half of it at the wheelbase, (3,)."""
    weight = robot.mass_kg * GRAVITY_M_S2
    return np.array([weight, weight, 0.5 * weight * robot.wheelbase_m])


def filter_tuning(robot: Ground, dynamics: GroundDynamics, tuning: AdapterTuning) -> FilterTuning:
    """Noise levels of force [N; world] and torque [Nm]; see adaptation/euclidean_tuning.py."""
    period = robot.control_period_s
    bandwidth = min(tuning.observer_bandwidth_rad_s, BANDWIDTH_SHARE / period)
    noise = np.repeat(VELOCITY_NOISE, (2, 1)) * np.diag(dynamics.mass_matrix(robot.home)) * np.sqrt(period)
    scale = force_scale(robot)
    return FilterTuning(
        period_s=period,
        position_noise=np.array(POSITION_NOISE),
        velocity_noise=VELOCITY_NOISE,
        noise_groups=(2, 1),
        drift=bandwidth**2 * noise,
        drift_initial=INITIAL_DRIFT * scale,
        model_error=tuning.model_error * scale,
        forgetting_s=tuning.forgetting_s,
        change_detection=tuning.change_detection,
        noise_online=True,
    )


def inertial(tuning: FilterTuning) -> FilterTuning:
    """The noise levels of states of inertial odometry."""
    return replace(
        tuning,
        position_noise=np.array(INERTIAL_POSITION_NOISE),
        model_error=INERTIAL_MODEL_ERROR * tuning.model_error,
    )
