# SPDX-License-Identifier: Apache-2.0
"""Feature group of rotor inertia: Δ = -λ diag(I) v̇, I the nominal armature and λ its relative error, for all joints.

A torque measured on the link side does not accelerate the rotors (λ = -1). The momentum form
∫Δ dt = -λ I (v_1 - v_0) needs no acceleration, and λ I adds to M.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Series, Xi
from metarl_robot.robots.arm.description import Arm

Array = NDArray[np.float64]

PRIOR_STD, UNFAMILIAR_STD = 0.02, 0.5
"""Standard deviation of λ, and a wider one for machines unlike the training machines.

With 0.1 instead of 0.02, torque ripple was taken for rotor inertia, and tracking was 1.5 times worse.
"""

MOST_OF_INERTIA = 0.5
"""Largest λ I of a joint, as a share of its nominal inertia at home: the loop gain follows M + λ I.

Static and Stribeck friction of a machine unlike the training machines was taken for λ = 3 to 5, and the arm oscillated,
14 mm off.
"""


class ArmatureFeatures(BaseGroup):
    """Relative error of the nominal armature (n,) [kg m²], the same for all joints. most: largest error."""

    constant = True

    def __init__(self, armature: Array, most: float = inf) -> None:
        super().__init__(len(armature), ("armature_error",))
        self.limits = (-inf, most)
        self._armature, self._impulse = armature, np.zeros((len(armature), 1))

    def design(self, xi: Xi) -> Array:
        return (-self._armature * xi.a)[:, :, None]

    def impulse(self, interval: Interval) -> Array:
        self._impulse[:, 0] = self._armature * (interval.v_0 - interval.v_1)
        return self._impulse

    def impulses(self, series: Series) -> Array:
        return np.asarray((-self._armature * np.diff(series.v, axis=1)).reshape(-1, self._dof, 1))

    def inertia(self, z: Array) -> Array:
        return z[0] * self._armature

    def value(self, xi: Xi, z: Array) -> Array:
        return -z[0] * self._armature * xi.a

    def jacobian(self, xi: Xi, z: Array) -> Array:
        n, joints = self._dof, np.arange(self._dof)
        jacobian = np.zeros((len(xi.v), n, 3 * n))
        jacobian[:, joints, 2 * n + joints] = -z[0] * self._armature
        return jacobian


def _build(robot: Arm, dynamics: Any, checkpoint: Any) -> ArmatureFeatures:
    armature = np.array(robot.mj_model.dof_armature, dtype=np.float64).reshape(robot.dof)
    inertia = np.diagonal(dynamics.mass_matrix(robot.home))
    most = np.min(MOST_OF_INERTIA * inertia / np.maximum(armature, 1e-12))
    return ArmatureFeatures(armature, float(most))


SPEC = FeatureSpec(
    build=_build,
    prior_std=lambda robot, dynamics: np.array([PRIOR_STD]),
    unfamiliar_std=lambda robot, std: np.array([UNFAMILIAR_STD]),
    inertial=True,
)
