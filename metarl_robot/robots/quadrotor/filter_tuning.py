# SPDX-License-Identifier: Apache-2.0
"""Noise levels of a quadrotor's momentum filter."""

from __future__ import annotations

import numpy as np

from metarl_robot.adaptation.filter_tuning import FilterTuning
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.scale import FlightScale

POSITION_NOISE = (0.001, 0.002)
"""Standard deviations of the measured position [m] and attitude [rad]."""
VELOCITY_NOISE = (0.02, 0.01)
"""Initial standard deviations of the measured velocity [m/s] and body rates [rad/s]; both are then estimated online."""
FORCE_NOISE_M_S2 = 0.3
"""Standard deviation of the accelerometer's mean over a control period, vibration included."""
INITIAL_DRIFT = 0.05
"""Standard deviation of the slow disturbance at the start and after a detected change.

Force is a fraction of the weight, torque a fraction of the torque of one rotor at hover.
"""


def filter_tuning(robot: Quadrotor, dynamics: QuadrotorDynamics, tuning: AdapterTuning) -> FilterTuning:
    """Noise levels of force [N; world] and torque [Nm; body].

    The accelerometer measures the force with the density r = m σ_a √dt. A disturbance that drifts at a rate s is then
    followed with the bandwidth ω = s / r. The torque is only observed through the body rates: ω = √(s / r) with r = J
    σ_ω √dt (adaptation/euclidean_tuning.py).
    """
    period, bandwidth = robot.control_period_s, tuning.observer_bandwidth_rad_s
    force = bandwidth * robot.mass_kg * FORCE_NOISE_M_S2 * np.sqrt(period)
    torque = bandwidth**2 * np.diag(robot.inertia) * VELOCITY_NOISE[1] * np.sqrt(period)
    scale = FlightScale(robot).force
    return FilterTuning(
        period_s=period,
        position_noise=np.repeat(POSITION_NOISE, 3),
        velocity_noise=VELOCITY_NOISE,
        noise_groups=(3, 3),
        drift=np.concatenate([np.full(3, force), torque]),
        drift_initial=INITIAL_DRIFT * scale,
        model_error=tuning.model_error * scale,
        force_noise=FORCE_NOISE_M_S2,
        forgetting_s=tuning.forgetting_s,
        change_detection=tuning.change_detection,
        noise_online=True,
    )
