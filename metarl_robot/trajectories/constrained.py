# SPDX-License-Identifier: Apache-2.0
"""References with constraints on the motion along them: obstacles, the edges of a course."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.signals import Constraint, Reference, Setpoints, constraints_of

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Constrained:
    """Another reference, with constraints."""

    motion: Reference
    constraints: tuple[Constraint, ...]

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        return self.motion.sample(times)


def constrained(motion: Reference, constraints: Iterable[Constraint]) -> Reference:
    """The reference with these constraints beside its own; the reference itself if they add none."""
    own = constraints_of(motion)
    together = tuple(dict.fromkeys((*own, *constraints)))
    return motion if len(together) == len(own) else Constrained(motion, together)
