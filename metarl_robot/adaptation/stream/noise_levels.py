# SPDX-License-Identifier: Apache-2.0
"""Noise levels of all sensors at a sample: white noise, jitter of stamps, and velocities that measure nothing."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_tuning import FilterTuning
from metarl_robot.adaptation.stream.difference_velocities import CompiledDifferenceVelocities, DifferenceVelocities
from metarl_robot.adaptation.stream.library import POINTER, stream_library
from metarl_robot.adaptation.stream.sensor_noise import CompiledSensorNoise, SensorNoise
from metarl_robot.adaptation.stream.velocity_noise import CompiledVelocityNoise, VelocityNoise
from metarl_robot.compile.kernel import Kernel

Array = NDArray[np.float64]

UNMEASURED = 1e4
"""Variance [(rad/s)²] of a velocity that is not measured."""


def noise_levels(tuning: FilterTuning, compiled: bool = True) -> NoiseLevels:
    """Build NoiseLevels. compiled: in C if there is a compiler."""
    library = stream_library(compiled)
    return NoiseLevels(tuning) if library is None else CompiledNoiseLevels(tuning, library)


class NoiseLevels:
    """variance: (2n + 3,) of q, v and specific force. common: (2n + 3,) standard deviation of what they share."""

    def __init__(self, tuning: FilterTuning) -> None:
        self._n, self._group = (
            len(tuning.position_noise),
            np.repeat(range(len(tuning.noise_groups)), tuning.noise_groups),
        )
        self._q, self._v = slice(0, self._n), slice(self._n, 2 * self._n)
        self._velocity = VelocityNoise(tuning.velocity_noise, self._group)
        self._sensors = SensorNoise(tuning.position_noise)
        self._differences = DifferenceVelocities(tuning.position_noise)
        force = np.full(3, tuning.force_noise**2)
        self.variance = np.concatenate([tuning.position_noise**2, self._velocity.variance[self._group], force])
        self.common = np.zeros(len(self.variance))

    def velocity_only(self, v: Array, dt: float) -> None:
        """Process the velocity v (n,) of a sample; how far it is from the last one is not known."""
        self._velocity.update(v, dt)
        self.variance[self._v] = self._velocity.variance[self._group]

    def update(self, moved: Array, v: Array, acceleration: Array, dt: float) -> bool:
        """Process a sample, `moved` (n,) from the last; returns whether its velocities are differences of positions.

        acceleration: (n,) about that of the motion.
        """
        self.velocity_only(v, dt)
        self._sensors.update(moved, v, self.variance[self._v].copy(), dt)
        self.variance[self._q] = self._sensors.position
        self.variance[self._v] += self._sensors.velocity
        found = self._differences.found(moved, v, dt)
        if found:
            self.variance[self._q], self.variance[self._v] = self._differences.position, UNMEASURED
        jitter = self._sensors.jitter**0.5
        self.common[self._q], self.common[self._v] = jitter * v, jitter * acceleration
        return found


class CompiledNoiseLevels(NoiseLevels):
    """NoiseLevels in C (stream.c): one call for a sample."""

    def __init__(self, tuning: FilterTuning, library: Kernel) -> None:
        super().__init__(tuning)
        self._moved, self._velocities, self._acceleration = moved, v, acceleration = np.zeros((3, self._n))
        velocity = CompiledVelocityNoise(tuning.velocity_noise, self._group, library, v)
        sensors = CompiledSensorNoise(tuning.position_noise, library, (moved, v, self.variance[self._v]))
        differences = CompiledDifferenceVelocities(tuning.position_noise, library, (moved, v))
        self._velocity, self._sensors, self._differences = velocity, sensors, differences
        self._struct = library.struct(
            "Levels",
            n=self._n, unmeasured=UNMEASURED, velocity=velocity.struct, sensors=sensors.struct,
            differences=differences.struct, group=self._group, v=v, acceleration=acceleration,
            variance=self.variance, common=self.common,
        )  # fmt: skip
        self._self = ctypes.byref(self._struct)
        self._in_c = ctypes.CFUNCTYPE(ctypes.c_int, POINTER, ctypes.c_double)(("levels", library))

    def update(self, moved: Array, v: Array, acceleration: Array, dt: float) -> bool:
        self._moved[:], self._velocities[:], self._acceleration[:] = moved, v, acceleration
        return bool(self._in_c(self._self, dt))
