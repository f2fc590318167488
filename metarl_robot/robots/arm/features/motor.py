# SPDX-License-Identifier: Apache-2.0
"""Feature group of motor strength: Δ = ε τ, strength 1 + ε per joint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Xi
from metarl_robot.robots.arm.description import Arm

Array = NDArray[np.float64]

DESCRIBED_STD = 0.115
"""Standard deviation without trained weights: as drawn in simulation, uniform within ±20 %."""
UNFAMILIAR = 0.5
"""Standard deviation on machines unlike the training machines, as a share of that in training."""

MOST = 0.3
"""Largest |ε|: half more than in training. The loop gain follows 1 / (1 + ε)."""


def motor_names(dof: int) -> tuple[str, ...]:
    """Names of the coefficients, (dof,)."""
    return tuple(f"motor_{i + 1}_strength_error" for i in range(dof))


class MotorFeatures(BaseGroup):
    """Motor strength 1 + ε per joint."""

    limits = (-MOST, MOST)

    def __init__(self, dof: int) -> None:
        super().__init__(dof, motor_names(dof))
        self._impulse = np.zeros((dof, dof))
        self._diagonal = self._impulse.reshape(-1)[:: dof + 1]

    def design(self, xi: Xi) -> Array:
        n, count = self._dof, len(xi.effort)
        phi = np.zeros((count, n * n))
        phi[:, :: n + 1] = xi.effort
        return phi.reshape(count, n, n)

    def impulse(self, interval: Interval) -> Array:
        np.multiply(interval.effort, interval.dt, out=self._diagonal)
        return self._impulse

    def value(self, xi: Xi, z: Array) -> Array:
        return xi.effort * z

    def effort_gain(self, z: Array) -> Array:
        return z


def _stated_mean(robot: Arm) -> Array | None:
    return None if robot.description.effects is None else robot.motor_strength - 1.0


SPEC = FeatureSpec(
    build=lambda robot, dynamics, checkpoint: MotorFeatures(robot.dof),
    unfamiliar_std=lambda robot, std: UNFAMILIAR * std,
    stated_mean=_stated_mean,
    truth=lambda robot, task: task.motor_strength - 1.0,
    described_prior=lambda robot: dict.fromkeys(motor_names(robot.dof), (0.0, DESCRIBED_STD)),
)
