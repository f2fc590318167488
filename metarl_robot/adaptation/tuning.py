# SPDX-License-Identifier: Apache-2.0
"""Settings of an adapter that users may tune, for every kind of robot."""

from __future__ import annotations

from dataclasses import dataclass

START_S = 0.1
"""`start_s` of learned adapters in controllers; an observer alone acts at once.

The first samples contain little information, and the prior's mean is that of the training robots (batteries at 90 %,
for example). A start from rest is then no worse than with the nominal model where that is correct, and no worse than
with a disturbance observer where it is not.
"""


@dataclass(frozen=True)
class AdapterTuning:
    """Settings of an adapter; per-joint noise levels follow from them and the mass matrix at home.

    observer_bandwidth_rad_s: of the slow disturbance's observer, at the assumed velocity noise.
    velocity_noise_rad_s: standard deviation of the measured velocity, before it is estimated.
    model_error: standard deviation of the fast disturbance, as a share of the effort limit.
    forgetting_s, change_detection, missed_force_bandwidth_rad_s, start_s, latency_s: see FilterTuning.
    """

    observer_bandwidth_rad_s: float
    velocity_noise_rad_s: float = 0.005
    model_error: float = 0.0
    forgetting_s: float = 60.0
    change_detection: float = 0.0
    missed_force_bandwidth_rad_s: float = 0.0
    start_s: float = 0.0
    latency_s: float | None = None
