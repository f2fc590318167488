# SPDX-License-Identifier: Apache-2.0
"""Accelerations of the last predictions: a guess of the next velocity, and a smoothed one for regressors."""

from __future__ import annotations

from math import exp

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.stream.smooth import smooth

Array = NDArray[np.float64]

ACCELERATION_MEMORY_S = 0.02
"""Smoothing of the acceleration that predicts the next velocity."""
REGRESSOR_MEMORY_S = 0.2
"""Smoothing of the acceleration, without lag on ramps, at which regressors are evaluated: those of an unfamiliar
machine, and of any machine where efforts are measured and their noise has not acted.

An error of v_0 is also contained in the latest accelerations. With 0.02, inertias would be overestimated (errors in
variables): on a recording, a rotor inertia of -0.1 kg m² was estimated as 0 ± 0.01. With efforts measured with a noise
of 0.1 Nm, rotor inertia, payload and motor strengths rose together for a minute, a payload of 1.2 kg to 1.6 kg. On a
fast training arm, 0.2 increases the tracking error.
"""


class RecentAcceleration:
    """latest: (n,) smoothed over ACCELERATION_MEMORY_S."""

    def __init__(self, dof: int, compiled: bool) -> None:
        self._dof, self._compiled = dof, compiled
        self.restart()

    def restart(self) -> None:
        """Forget the past: the present state does not follow from it."""
        self.latest = self._last = np.zeros(self._dof)
        self._smooth = smooth(self.latest, REGRESSOR_MEMORY_S, self._compiled)

    @property
    def smooth(self) -> Array:
        """(n,) smoothed over REGRESSOR_MEMORY_S, from the samples for which `keep` was called."""
        return self._smooth.level

    def predicted(self, acceleration: Array, dt: float) -> None:
        """Process the acceleration (n,) of a prediction."""
        self._last = acceleration
        self.latest = self.latest + (1.0 - exp(-dt / ACCELERATION_MEMORY_S)) * (acceleration - self.latest)

    def keep(self, dt: float) -> None:
        """Use the last prediction's acceleration for regressors."""
        self._smooth.update(self._last, dt)
