# SPDX-License-Identifier: Apache-2.0
"""Parts of an arm's adapters: feature groups, noise levels, and possible jumps of the context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import FeatureGroup
from metarl_robot.adaptation.momentum_filter import FilterTuning
from metarl_robot.adaptation.network import Network, NetworkFeatures
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.features import FrictionFeatures, LatencyFeatures, MotorFeatures, PayloadFeatures
from metarl_robot.robots.arm.maml_inputs import ArmNetworkInputs

STICTION_FACTOR = 10.0
"""Increase of the model error where a joint may stick."""
POSITION_NOISE_RAD = 3e-5
"""Standard deviation of encoder quantisation: a resolution of 1e-4 rad has 2.9e-5."""
INITIAL_DRIFT = 0.002
"""Standard deviation of the slow disturbance, as a share of the effort limit.

It applies at the start and after a detected change.
"""

SUDDEN = ((("payload_",), False), (("coulomb_", "viscous_"), False), (("payload_",), True))
"""Context entries that may jump together, and whether to zero.

A payload is picked up, friction steps, or a payload is removed.
"""


FEATURE_GROUPS = ("payload", "friction", "motor", "latency", "learned")
INERTIAL = ("payload", "friction")
"""Groups of the baseline without learned features: rigid-body payload and friction."""


def feature_group(robot: Robot, dynamics: ArmDynamics, group: str, network: Network | None) -> FeatureGroup | None:
    """Build one group; None if there is no such group, or no network for it."""
    if group == "payload":
        return PayloadFeatures(dynamics)
    if group == "friction":
        return FrictionFeatures(robot.dof)
    if group == "motor":
        return MotorFeatures(robot.dof)
    if group == "latency":
        return LatencyFeatures(robot.dof)
    return None if network is None or group != "learned" else NetworkFeatures(network, robot.velocity_limit)


def network_inputs(robot: Robot, dynamics: ArmDynamics) -> ArmNetworkInputs:
    """Inputs of MAML's network."""
    return ArmNetworkInputs(robot, dynamics)


def context_scale(robot: Robot, names: Sequence[str]) -> NDArray[np.float64]:
    """Units (n_z,) of the entries of a checkpoint's prior; an arm's are physical."""
    return np.ones(len(names))


def filter_tuning(robot: Robot, dynamics: ArmDynamics, tuning: AdapterTuning) -> FilterTuning:
    """Noise levels per joint.

    A Kalman filter on momentum and disturbance, with momentum noise of density r = M σ_v √dt and a random walk of the
    disturbance at a rate s, has in steady state the natural frequency ω = √(s / r). Hence s = ω² M σ_v √dt.
    """
    inertia = np.diag(dynamics.mass_matrix(robot.home))
    momentum_noise = inertia * tuning.velocity_noise_rad_s * np.sqrt(robot.control_period_s)
    return FilterTuning(
        period_s=robot.control_period_s,
        position_noise=np.full(robot.dof, POSITION_NOISE_RAD),
        velocity_noise=(tuning.velocity_noise_rad_s,),
        noise_groups=(robot.dof,),
        drift=tuning.observer_bandwidth_rad_s**2 * momentum_noise,
        drift_initial=INITIAL_DRIFT * robot.effort_limit,
        model_error=tuning.model_error * robot.effort_limit,
        stiction_factor=STICTION_FACTOR,
        forgetting_s=tuning.forgetting_s,
        surprise=tuning.surprise,
    )
