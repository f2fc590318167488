# SPDX-License-Identifier: Apache-2.0
"""What a user may tune about an adapter, whatever the robot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AdapterTuning:
    """What a user may tune; per-joint noise levels follow from it and the mass matrix at home.

    observer_bandwidth_rad_s: of the observer of the slow disturbance, at the assumed velocity noise.
    velocity_noise_rad_s: standard deviation of the measured velocity, before it is estimated.
    model_error: standard deviation of the fast disturbance, as a share of the effort limit.
    forgetting_s, surprise: see FilterTuning.
    """

    observer_bandwidth_rad_s: float
    velocity_noise_rad_s: float = 0.005
    model_error: float = 0.0
    forgetting_s: float = 60.0
    surprise: float = 0.0
