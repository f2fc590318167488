# SPDX-License-Identifier: Apache-2.0
"""Noise levels of the momentum filter: as tuned, or estimated online from the stream of samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_tuning import FilterTuning
from metarl_robot.adaptation.stream.effort_noise import effort_noise
from metarl_robot.adaptation.stream.noise_levels import noise_levels
from metarl_robot.core.signals import State
from metarl_robot.dynamics.protocols import Dynamics

Array = NDArray[np.float64]


class NoiseModel:
    """Noise levels at the present sample.

    variance: (2n + 3,) of measured q, v and specific force. common: (2n + 3,) standard deviation of the noise that all
    share, because the stamp jitters. model_error: (n,) variance of the fast disturbance. differences: whether measured
    velocities are differences of the positions.
    """

    def __init__(self, tuning: FilterTuning, dynamics: Dynamics, compiled: bool) -> None:
        self._dynamics, self._online = dynamics, tuning.noise_online
        self._levels = noise_levels(tuning, compiled)
        self._efforts = effort_noise(tuning.model_error, dynamics.nu, compiled)
        self._still, self.differences = np.zeros(dynamics.dof), False
        self._last_q: Array | None = None
        self.variance, self.common = self._levels.variance, self._levels.common
        self.model_error = self._efforts.error

    def start(self, state: State) -> None:
        """Continue from a state to which no motion leads."""
        self._last_q = state.q

    def update(self, state: State, acceleration: Array, dt: float) -> None:
        """Estimate the sensors' noise. acceleration: (n,) about that of the motion."""
        if not self._online or self._last_q is None:
            self._levels.velocity_only(state.v, dt)
            return
        moved = self._dynamics.expected(self._last_q, self._still, state.q)[1]
        self._last_q = state.q
        self.differences = self._levels.update(moved, state.v, acceleration, dt)

    def learn(self, white: Array, response: Array, dt: float) -> None:
        """Estimate the efforts' noise and the model error; arguments as for CommandHistory.learn."""
        if self._online:
            self._efforts.update(white, response, dt)

    def of_effort(self, std: Array) -> Array:
        """Standard deviation (nu,) of the effort that acted: `std` of its latency, and its noise."""
        return np.sqrt(std**2 + self._efforts.white) if self._online else std
