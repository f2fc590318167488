# SPDX-License-Identifier: Apache-2.0
"""The wrench at an arm's hand that causes given joint torques: τ = Jᵀ w (Khatib 1987).

With fewer than six joints, or near a singular pose, several wrenches cause the same torques. The result is the smallest
of them, with 1 Nm weighed as 10 N: for a planar arm, a force without a moment where possible. Directions with almost no
effect on the joints are left out. A force elsewhere along the arm gives the wrench at the hand with the same joint
torques.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.robots.arm.dynamics import ArmDynamics

Array = NDArray[np.float64]

MOMENT_ARM_M = 0.1
"""A moment is weighed like a force at this distance."""
HARDLY_FELT = 0.05
"""Share of the largest singular value of the Jacobian below which a direction is left out."""


def hand_wrench(dynamics: ArmDynamics, q: Array, torque: Array) -> Array:
    """Wrench (6,) on the hand [N, Nm]: force and moment about the payload site, in the axes of the site.

    Arguments:
        dynamics: of the arm.
        q: (n,) position [rad].
        torque: (n,) external joint torques [Nm], as ExternalForce.force.
    """
    weights = np.repeat([1.0, MOMENT_ARM_M], 3)
    felt = (weights[:, None] * dynamics.site_jacobian(q)).T
    wrench = weights * (np.linalg.pinv(felt, rcond=HARDLY_FELT) @ torque)
    _, site_to_base = dynamics.forward_kinematics(q)
    return np.concatenate([site_to_base.T @ wrench[:3], site_to_base.T @ wrench[3:]])
