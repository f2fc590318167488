# SPDX-License-Identifier: Apache-2.0
"""Noise levels of the momentum filter: as tuned, or estimated online from the stream of samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_tuning import FilterTuning
from metarl_robot.adaptation.stream.difference_velocities import DifferenceVelocities
from metarl_robot.adaptation.stream.effort_noise import effort_noise
from metarl_robot.adaptation.stream.sensor_noise import sensor_noise
from metarl_robot.adaptation.stream.velocity_noise import velocity_noise
from metarl_robot.core.signals import State
from metarl_robot.dynamics.protocols import Dynamics

Array = NDArray[np.float64]

UNMEASURED = 1e4
"""Variance [(rad/s)²] of a velocity that is not measured."""


class NoiseModel:
    """Noise levels at the present sample.

    variance: (2n + 3,) of measured q, v and specific force. common: (2n + 3,) standard deviation of the noise that all
    share, because the stamp jitters. model_error: (n,) variance of the fast disturbance. differences: whether measured
    velocities are differences of the positions.
    """

    def __init__(self, tuning: FilterTuning, dynamics: Dynamics, compiled: bool) -> None:
        self._n, self._dynamics, self._online = dynamics.dof, dynamics, tuning.noise_online
        self._group = np.repeat(np.arange(len(tuning.noise_groups)), tuning.noise_groups)
        self._q, self._v = slice(0, self._n), slice(self._n, 2 * self._n)
        self._velocity = velocity_noise(tuning.velocity_noise, self._group, compiled)
        self._sensors = sensor_noise(tuning.position_noise, compiled)
        self._differences = DifferenceVelocities(tuning.position_noise)
        self._efforts = effort_noise(tuning.model_error, dynamics.nu, compiled)
        self._still, self.differences = np.zeros(self._n), False
        self._last_q: Array | None = None
        force = np.full(3, tuning.force_noise**2)
        self.variance = np.concatenate([tuning.position_noise**2, self._velocity.variance[self._group], force])
        self.common = np.zeros(len(self.variance))
        self.model_error = self._efforts.error

    def start(self, state: State) -> None:
        """Continue from a state to which no motion leads."""
        self._last_q = state.q

    def update(self, state: State, acceleration: Array, dt: float) -> None:
        """Estimate the sensors' noise. acceleration: (n,) about that of the motion."""
        self._velocity.update(state.v, dt)
        self.variance[self._v] = white = self._velocity.variance.take(self._group)
        if self._online and self._last_q is not None:
            moved = self._dynamics.expected(self._last_q, self._still, state.q)[1]
            self._sensors.update(moved, state.v, white, dt)
            self._last_q = state.q
            self.variance[self._q] = self._sensors.position
            self.variance[self._v] += self._sensors.velocity
            self.differences = self._differences.found(moved, state.v, dt)
            if self.differences:
                self.variance[self._q], self.variance[self._v] = self._differences.position, UNMEASURED
            jitter = self._sensors.jitter**0.5
            self.common[self._q], self.common[self._v] = jitter * state.v, jitter * acceleration

    def learn(self, white: Array, response: Array, dt: float) -> None:
        """Estimate the efforts' noise and the model error; arguments as for CommandHistory.learn."""
        if self._online:
            self._efforts.update(white, response, dt)

    def of_effort(self, std: Array) -> Array:
        """Standard deviation (nu,) of the effort that acted: `std` of its latency, and its noise."""
        return np.sqrt(std**2 + self._efforts.white) if self._online else std
