# SPDX-License-Identifier: Apache-2.0
"""The wind as a quantity of a flight. No adapter estimates it separately, because drag and wind act together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.quantities import Estimate, Quantity
from metarl_robot.core.signals import Context

Array = NDArray[np.float64]

_STEP_M_S = 0.5
"""Change between two states above which the wind has changed; gusts change less."""


class WindReport:
    """Velocity of the air at the robot [m/s; world]."""

    name = "wind"
    quantities = tuple(Quantity(f"wind_{axis}", "m_s", f"wind {axis}", "m/s", decimals=2) for axis in "xyz")

    def estimate(self, context: Context) -> Estimate | None:
        return None

    def change(self, before: Array, after: Array) -> str:
        return f"wind {np.linalg.norm(after):.1f} m/s" if np.linalg.norm(after - before) > _STEP_M_S else ""


WIND = WindReport()
