# SPDX-License-Identifier: Apache-2.0
"""The values that the page shows at one time of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.external_force import Contact

Array = NDArray[np.float64]

FORCE_SCALE_M_N = 0.01
"""Length of the arrow of a force, per newton."""
LEAST_FORCE_N = 0.5
"""Smallest force that is drawn."""
_MASS, _DENSITY_KG_M3 = "payload mass", 2000.0


class Force(NamedTuple):
    """An external force (3,) [N] in the axes of a site of the robot's model."""

    force_n: Array
    site: str


@dataclass(frozen=True)
class Moment:
    """None: not (yet) known.

    time_s: of the run. q, q_reference: (nq,). position_m, position_reference_m: (3,) of the tracked point [world].
    plan_m: (K, 3) planned positions of that point. force: on the hand.
    estimates: mean, standard deviation and unit of quantities, by name. error_m: distance from the reference.
    step_ms: duration of a controller step. missed_deadlines: count so far. status: of the controller. held: why the
    gate holds the robot; empty while it does not.
    """

    time_s: float
    q: Array
    position_m: Array
    q_reference: Array | None = None
    position_reference_m: Array | None = None
    plan_m: Array | None = None
    force: Force | None = None
    contact: Contact = Contact.NONE
    estimates: Mapping[str, tuple[float, float, str]] = field(default_factory=dict)
    error_m: float | None = None
    step_ms: float | None = None
    missed_deadlines: int | None = None
    status: str | None = None
    held: str | None = None

    @property
    def pushes(self) -> bool:
        """Whether the external force is large enough to be drawn."""
        return self.force is not None and bool(np.linalg.norm(self.force.force_n) >= LEAST_FORCE_N)

    @property
    def carried_radius_m(self) -> float:
        """Radius of a ball of the estimated payload's mass, at 2 kg per litre; 0 without a payload."""
        mass = self.estimates.get(_MASS, (0.0, 0.0, ""))[0]
        return float((0.75 * max(mass, 0.0) / (np.pi * _DENSITY_KG_M3)) ** (1.0 / 3.0))
