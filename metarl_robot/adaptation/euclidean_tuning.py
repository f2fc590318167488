# SPDX-License-Identifier: Apache-2.0
"""Noise levels of the momentum filter of a robot with a vector as position, such as an arm's joints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_tuning import FilterTuning
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.robot import Robot
from metarl_robot.dynamics.protocols import JointDynamics

STICTION_FACTOR = 10.0
"""Increase of the model error where a joint may stick."""
POSITION_NOISE = 3e-5
"""Standard deviation of encoder quantisation [rad, m]: a resolution of 1e-4 rad has 2.9e-5."""
BANDWIDTH_SHARE = 2.4
"""Largest bandwidth of the disturbance observer [rad/s], times the period of the samples."""
INITIAL_DRIFT = 0.002
"""Standard deviation of the slow disturbance, as a share of the effort limit.

It applies at the start and after a detected change.
"""

USUAL_FORCE = 0.0016
"""Unit of the unexplained force that scales reported standard deviations, as a share of the effort limit."""
EARLIER_EFFORT = 1.0
"""Standard deviation of the effort before the first command takes effect, as a share of the effort limit.

Another controller may have held the robot then, with a payload that the first command does not hold.
"""
SETTLING_S = 3.0
"""A joint's friction and motor, and a payload, are constant but for changes that are detected."""


def force_limit(robot: Robot, dynamics: JointDynamics) -> NDArray[np.float64]:
    """Largest generalised force (n,) of the actuators at home."""
    return np.abs(dynamics.input_map(robot.home)) @ robot.effort_limit


def filter_tuning(robot: Robot, dynamics: JointDynamics, tuning: AdapterTuning) -> FilterTuning:
    """Noise levels per coordinate.

    A Kalman filter on momentum and disturbance, with momentum noise of density r = M σ_v √dt and a random walk of the
    disturbance at a rate s, has in steady state the natural frequency ω = √(s / r). Hence s = ω² M σ_v √dt.
    """
    limit = force_limit(robot, dynamics)
    inertia = np.diag(dynamics.mass_matrix(robot.home))
    bandwidth = min(tuning.observer_bandwidth_rad_s, BANDWIDTH_SHARE / robot.control_period_s)
    momentum_noise = inertia * tuning.velocity_noise_rad_s * np.sqrt(robot.control_period_s)
    return FilterTuning(
        period_s=robot.control_period_s,
        position_noise=np.full(robot.dof, POSITION_NOISE),
        velocity_noise=(tuning.velocity_noise_rad_s,),
        noise_groups=(robot.dof,),
        drift=bandwidth**2 * momentum_noise,
        drift_initial=INITIAL_DRIFT * limit,
        model_error=tuning.model_error * limit,
        stiction_factor=STICTION_FACTOR,
        forgetting_s=tuning.forgetting_s,
        change_detection=tuning.change_detection,
        noise_online=True,
        usual_force=USUAL_FORCE * limit,
        settling_s=SETTLING_S,
        stops=_stops(robot),
        earlier_effort_std=EARLIER_EFFORT * robot.effort_limit,
        own_period_s=robot.own_period_s,
    )


def _stops(robot: Robot) -> NDArray[np.float64]:
    """Least and largest position (2, n); a joint that turns without end has no stop."""
    endless = np.zeros(robot.dof, dtype=bool) if robot.endless is None else robot.endless
    return np.stack([np.where(endless, -np.inf, robot.position_lower), np.where(endless, np.inf, robot.position_upper)])
