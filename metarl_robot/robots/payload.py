# SPDX-License-Identifier: Apache-2.0
"""The payload of a robot as part of its context, for every kind that carries one.

A context holds ten inertial parameters about the payload frame's origin, in which forces are linear: mass, mass times
centre of mass, inertia.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from metarl_robot.core.errors import RobotError
from metarl_robot.core.quantities import Estimate, Quantity
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Context
from metarl_robot.core.validation import Label, between

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


RATED_PAYLOAD = Quantity("rated_payload", "kg", "payload", "kg")


class Payload(BaseModel):
    """Attachment site and rated mass of the payload, in a robot.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: Label
    rated_mass_kg: Annotated[float, between(1e-4, 1e4)]


def payload_site(robot: Robot) -> str:
    """MJCF site that carries the robot's payload; its frame is the payload's frame."""
    site: str = robot.description.payload.site
    return site


def check_payload_site(robot: Robot) -> None:
    """Check that the MJCF has the site, on a moving body. Raises RobotError."""
    model, site = robot.mj_model, payload_site(robot)
    sites = [model.site(i).name for i in range(model.nsite)]
    if site not in sites:
        raise RobotError(
            f"{robot.folder / 'robot.yaml'}: payload.site: '{site}' is not a site of the MJCF; allowed: {sites}"
        )
    body = int(model.site_bodyid[sites.index(site)])
    if not model.body_weldid[body]:
        said = f"site '{site}' is on the fixed base, where a payload would not move"
        raise RobotError(f"{robot.folder / 'robot.yaml'}: payload.site: {said}; choose one that joints move")


class PayloadReport:
    """Mass [kg] and centre of mass [m; payload frame]. The centre is NaN where the mass is too small."""

    name = "payload"
    quantities = (
        Quantity("payload_mass", "kg", "mass", "kg", scored=True),
        *(Quantity(f"payload_com_{axis}", "m", f"centre of mass {axis}", "m", decimals=4, span=0.15) for axis in "xyz"),
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
