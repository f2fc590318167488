# SPDX-License-Identifier: Apache-2.0
"""Time shift of a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Constraint, Reference, Setpoints, constraints_of

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shifted:
    """Another reference that starts at start_s instead of 0."""

    reference: Reference
    start_s: float

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        return self.reference.sample(times - self.start_s)

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        return constraints_of(self.reference)
