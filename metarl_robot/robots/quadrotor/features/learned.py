# SPDX-License-Identifier: Apache-2.0
"""Feature group of the meta-trained basis functions φ_θ: K functions of force and torque."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.compiled_network import checkpoint_network
from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Xi
from metarl_robot.adaptation.network import Network, learned_names
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.scale import FlightScale

Array = NDArray[np.float64]


class FlightNetworkFeatures(BaseGroup):
    """Learned basis functions, in units of the quadrotor's scale."""

    def __init__(self, network: Network, robot: Quadrotor) -> None:
        super().__init__(robot.dof, learned_names(network, robot.dof), robot.nu)
        self._network, self._flight_scale = network, FlightScale(robot)
        self._force = self._flight_scale.force[:, None]

    def design(self, xi: Xi) -> Array:
        outputs = self._network.outputs(self._flight_scale.encode(xi.q, xi.v))
        return self._force * outputs.reshape(-1, self._dof, len(self.names))

    def impulse(self, interval: Interval) -> Array:
        inputs = self._flight_scale.encode_one(interval.balance.q_mean, interval.balance.v_mean)
        return interval.dt * self._force * self._network.outputs(inputs[None]).reshape(self._dof, -1)

    def value(self, xi: Xi, z: Array) -> Array:
        scale = self._flight_scale
        return scale.force * self._network.contracted(scale.encode(xi.q, xi.v), z)


SPEC = FeatureSpec(
    build=lambda robot, dynamics, checkpoint: FlightNetworkFeatures(checkpoint_network(checkpoint), robot)
)
