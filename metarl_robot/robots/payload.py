# SPDX-License-Identifier: Apache-2.0
"""The payload of a robot as part of its context, for every kind that carries one.

A context holds ten inertial parameters about the payload frame's origin, in which forces are linear: mass, mass times
centre of mass, inertia.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.quantities import Estimate, Quantity
from metarl_robot.core.signals import Context

Array = NDArray[np.float64]

MASS = "payload_mass_kg"
MOMENTS = tuple(f"payload_moment_{axis}_kg_m" for axis in "xyz")
INERTIAS = tuple(f"payload_inertia_{axes}_kg_m2" for axes in ("xx", "yy", "zz", "xy", "xz", "yz"))
PAYLOAD_NAMES = (MASS, *MOMENTS, *INERTIAS)
"""Context entries of the ten inertial parameters."""
PAYLOAD_POOLS = ("payload_mass", *("payload_moment",) * 3, *("payload_inertia",) * 6)
"""Pools of these entries (adaptation/features.py: FeatureGroup)."""

_LEAST_MASS_KG = 1e-3
"""Smallest mass with a meaningful centre of mass."""


class PayloadReport:
    """Mass [kg] and centre of mass [m; payload frame]. The centre is NaN where the mass is too small."""

    name = "payload"
    quantities = (
        Quantity("payload_mass", "kg", "mass", "kg", scored=True),
        *(Quantity(f"payload_com_{axis}", "m", f"centre of mass {axis}", "m", decimals=4) for axis in "xyz"),
    )

    def estimate(self, context: Context) -> Estimate | None:
        """Mass and centre; their covariance is neglected in the centre's standard deviation."""
        if MASS not in context.names:
            return None
        (mass, mass_std), nothing = context[MASS], (np.nan, np.nan)
        moment = np.array([context[name] if name in context.names else nothing for name in MOMENTS])
        divisor = mass if mass > _LEAST_MASS_KG else np.nan
        com = moment[:, 0] / divisor
        com_std = np.sqrt(moment[:, 1] ** 2 + (com * mass_std) ** 2) / divisor
        return Estimate(np.array([mass, *com]), np.array([mass_std, *com_std]))

    def change(self, before: Array, after: Array) -> str:
        if np.array_equal(before, after):
            return ""
        return "payload attached" if after[0] > before[0] else "payload dropped"


PAYLOAD = PayloadReport()
