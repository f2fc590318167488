# SPDX-License-Identifier: Apache-2.0
"""Noise levels of a ground vehicle's filter, with a common scale that is estimated online.

White noise shows in differences of samples (adaptation/stream). Odometry that lacks slip, corrections by a localiser,
and tyres unlike the model's are errors that last: they show in the whitened innovations w (m,), whose sum over SUM_S
then exceeds that of white noise. As in a regression with an unknown noise variance, all standard deviations (of the
sensors and of the model error) are multiplied by the `level` at which the sum's mean square is the usual one. Lasting
errors are then not taken for friction. Nor are they taken for changes: because they come in bursts, the whiteness test
divides the innovations by the level once more. At level 1 a change is detected as before, and before the level grows.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.filter_tuning import FilterTuning
from metarl_robot.adaptation.noise_model import NoiseModel
from metarl_robot.adaptation.stream.whiteness import Whiteness
from metarl_robot.core.signals import State
from metarl_robot.dynamics.protocols import Dynamics

Array = NDArray[np.float64]

SUM_S = 0.1
USUAL = 1.5
"""Mean square of a sum, over that of white noise, at which the level stays."""
GROWTH_S, DECAY_S = 0.2, 2.0
"""Times in which the level follows larger and smaller errors."""
LARGEST = 9.0
"""A sum counts at most as this multiple of its expected square."""
MOST = 30.0
"""Largest level."""


class LevelledAlarm:
    """A whiteness test of innovations over the level of their lasting errors. level: at present."""

    def __init__(self, test: Whiteness, level: Callable[[], float]) -> None:
        self._test, self._level = test, level

    def clear(self) -> None:
        self._test.clear()

    def fails(self, white: Array) -> bool:
        """See Whiteness."""
        return self._test.fails(white / self._level())


class LastingError(NoiseModel):
    """level: standard deviations over those of a NoiseModel, from 1 to `most`."""

    def __init__(self, tuning: FilterTuning, dynamics: Dynamics, compiled: bool, most: float = MOST) -> None:
        super().__init__(tuning, dynamics, compiled)
        self._most = most
        self._white: Array = self.variance  # of the sensors, without lasting errors
        self._least: Array = np.square(tuning.model_error)
        self.model_error = self._least.copy()
        self.level, self._sum = 1.0, np.zeros(len(self.variance))

    def update(self, state: State, acceleration: Array, dt: float) -> None:
        self.variance = self._white
        super().update(state, acceleration, dt)
        self.variance = self.level**2 * self._white

    def learn(self, white: Array, response: Array, dt: float) -> None:
        super().learn(white, response, dt)
        fade, size = exp(-dt / SUM_S), len(white)
        self._sum *= fade
        self._sum[:size] += white
        excess = min(float(self._sum @ self._sum) * (1.0 - fade**2) / size, LARGEST) - USUAL
        memory_s = GROWTH_S if excess > 0.0 else DECAY_S
        self.level = min(max(self.level * exp(0.5 * (1.0 - exp(-dt / memory_s)) * excess), 1.0), self._most)
        self.model_error = self.level**2 * self._least
