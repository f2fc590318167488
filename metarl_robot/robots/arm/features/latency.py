# SPDX-License-Identifier: Apache-2.0
"""Feature group of the commands' latency: Δ = (τ_{k-1} - τ_k) c_1 + (τ_{k-2} - τ_k) c_2.

Exact for delays of up to two control periods. Training accounts for it; online, the filter learns the latency by itself
(adaptation/stream/command_history.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Xi
from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]


class LatencyFeatures(BaseGroup):
    """Latency of up to two control periods: shares of the effort still set by the two older commands."""

    nuisance = True

    def __init__(self, dof: int) -> None:
        super().__init__(dof, ("latency_one_period_share", "latency_two_periods_share"))

    def design(self, xi: Xi) -> Array:
        return np.moveaxis(xi.past_effort - xi.effort, 0, 2)

    def value(self, xi: Xi, z: Array) -> Array:
        return np.asarray(np.einsum("mkn,m->kn", xi.past_effort - xi.effort, z))


def _shares(robot: Robot, task: Any) -> Array:
    """A delay of f <= 1 periods is a share f of the last command; a longer one also has one of the command before."""
    late = (task.command_delay_s + task.sensor_delay_s) / robot.control_period_s
    return np.array([late, 0.0]) if late <= 1.0 else np.array([2.0 - late, late - 1.0])


SPEC = FeatureSpec(build=lambda robot, dynamics, checkpoint: LatencyFeatures(robot.dof), truth=_shares)
