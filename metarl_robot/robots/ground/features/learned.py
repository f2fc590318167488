# SPDX-License-Identifier: Apache-2.0
"""Feature group of the meta-trained basis functions of a ground vehicle: K functions of a planar force and a torque.

Inputs and outputs have body directions, so that the residual turns with the vehicle. Inputs are the twist, the efforts
that act and the slip angles of the axles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.compiled_network import checkpoint_network
from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Xi
from metarl_robot.adaptation.network import Network, learned_names
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.tyre import CREEP_M_S

Array = NDArray[np.float64]

_SLIP_RAD = 0.2
"""Scale of slip angles."""


def encode(robot: Ground, q: Array, v: Array, acting: Array) -> Array:
    """Network inputs (N, n_x) at positions and velocities (N, 3) and efforts that act (N, nu)."""
    c, s = np.cos(q[:, 2]), np.sin(q[:, 2])
    twist = np.stack([c * v[:, 0] + s * v[:, 1], c * v[:, 1] - s * v[:, 0], v[:, 2]], axis=1)
    x, y = robot.single_track.positions.T
    angle = acting[:, :1] * robot.single_track.steered if robot.is_steered else np.zeros((len(q), len(x)))
    forward, left = twist[:, :1] - twist[:, 2:] * y, twist[:, 1:2] + twist[:, 2:] * x
    across = np.cos(angle) * left - np.sin(angle) * forward
    along = np.cos(angle) * forward + np.sin(angle) * left
    slip = np.arctan2(across, np.sqrt(along**2 + CREEP_M_S**2)) / _SLIP_RAD
    return np.concatenate([twist / robot.velocity_limit, acting / robot.effort_limit, slip], axis=1)


class GroundNetworkFeatures(BaseGroup):
    """Learned basis functions φ_θ, turned to world directions."""

    def __init__(self, network: Network, robot: Ground) -> None:
        super().__init__(robot.dof, learned_names(network, robot.dof), robot.nu)
        self._network, self._robot = network, robot

    def design(self, xi: Xi) -> Array:
        outputs = self._network.outputs(encode(self._robot, xi.q, xi.v, xi.effort))
        return _to_world(xi.q[:, 2], outputs.reshape(-1, self._dof, len(self.names)))

    def impulse(self, interval: Interval) -> Array:
        balance = interval.balance
        outputs = self._network.outputs(
            encode(self._robot, balance.q_mean[None], balance.v_mean[None], interval.effort[None])
        )
        return interval.dt * _to_world(balance.q_mean[2:], outputs.reshape(1, self._dof, -1))[0]

    def value(self, xi: Xi, z: Array) -> Array:
        force = self._network.contracted(encode(self._robot, xi.q, xi.v, xi.effort), z)
        return _to_world(xi.q[:, 2], force[:, :, None])[:, :, 0]


def _to_world(yaw: Array, body: Array) -> Array:
    """Vectors (N, 3, k) with body directions, in world directions."""
    c, s = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    return np.stack([c * body[:, 0] - s * body[:, 1], s * body[:, 0] + c * body[:, 1], body[:, 2]], axis=1)


SPEC = FeatureSpec(
    build=lambda robot, dynamics, checkpoint: GroundNetworkFeatures(checkpoint_network(checkpoint), robot)
)
