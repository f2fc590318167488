# SPDX-License-Identifier: Apache-2.0
"""Feature group of the meta-trained basis functions φ_θ(q, v) of a robot with joints (network.py)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.compiled_network import checkpoint_network
from metarl_robot.adaptation.feature_spec import FeatureSpec
from metarl_robot.adaptation.features import BaseGroup, Interval, Xi
from metarl_robot.adaptation.network import Network, learned_names

Array = NDArray[np.float64]


class NetworkFeatures(BaseGroup):
    """φ_θ(q, v): K learned basis functions per joint."""

    def __init__(self, network: Network, velocity_limit: Array) -> None:
        super().__init__(len(velocity_limit), learned_names(network, len(velocity_limit)))
        self._network, self._velocity_limit = network, velocity_limit

    def design(self, xi: Xi) -> Array:
        return self._network.design(xi.q, xi.v, self._velocity_limit).reshape(-1, self._dof, len(self.names))

    def impulse(self, interval: Interval) -> Array:
        q, v = interval.balance.q_mean[None], interval.balance.v_mean[None]
        return interval.dt * self._network.design(q, v, self._velocity_limit).reshape(self._dof, -1)

    def value(self, xi: Xi, z: Array) -> Array:
        return self._network.value(xi.q, xi.v, self._velocity_limit, z)

    def jacobian(self, xi: Xi, z: Array) -> Array:
        return self.value_and_jacobian(xi, z)[1]

    def value_and_jacobian(self, xi: Xi, z: Array) -> tuple[Array, Array]:
        """Value and Jacobian together: the Jacobian needs the value's forward pass."""
        return self._network.value_and_jacobian(xi.q, xi.v, self._velocity_limit, z)


SPEC = FeatureSpec(
    build=lambda robot, dynamics, checkpoint: NetworkFeatures(checkpoint_network(checkpoint), robot.velocity_limit)
)
