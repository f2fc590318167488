# SPDX-License-Identifier: Apache-2.0
"""An obstacle that an arm's tool touches: a face that is fixed, or approaches and retreats.

The robots' own geoms do not collide. A model with an obstacle has two that do: a sphere at the payload site, and the
obstacle's box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.sim.task_fields import finite_vector

Array = NDArray[np.float64]

TIP_M = 0.03
"""Radius of the sphere at the tool."""
COMES_S, STAYS_S = 1.0, 1.0
_SIZE_M = (2.0, 2.0, 0.05)
_COLLIDES = {"contype": 4, "conaffinity": 4}


@dataclass(frozen=True, eq=False)
class Obstacle:
    """A plane face.

    point_m: (3,) on the face [m; world]. normal: (3,) out of it, towards the tool. travel_m: distance that it moves
    along the normal, within COMES_S from comes_s on; it stays for STAYS_S and goes back.
    """

    point_m: Array
    normal: Array
    travel_m: float = 0.0
    comes_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("point_m", "normal"):
            object.__setattr__(self, name, finite_vector(f"obstacle {name}", getattr(self, name), 3))

    def place(self, model: mujoco.MjModel, data: mujoco.MjData, time_s: float) -> None:
        """Move the box to its place at a time."""
        rotation = np.zeros(4)
        mujoco.mju_quatZ2Vec(rotation, self.normal)
        data.mocap_quat[0] = rotation
        data.mocap_pos[0] = self.point_m + (self._travelled_m(time_s) - _SIZE_M[2]) * self.normal

    def _travelled_m(self, time_s: float) -> float:
        since_s = time_s - self.comes_s
        share = np.clip(min(since_s, 2.0 * COMES_S + STAYS_S - since_s) / COMES_S, 0.0, 1.0)
        return float(self.travel_m * smooth_step(share))


def smooth_step(share: Array | float) -> Array | float:
    """Minimum-jerk profile: share of the distance, by share of the time."""
    return share**3 * (10.0 - 15.0 * share + 6.0 * share**2)


def add_obstacle(spec: Any, site: Any) -> None:
    """Add the tool's sphere at a site, and the box."""
    site.parent.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[TIP_M, 0, 0], pos=site.pos, mass=0.0, **_COLLIDES)
    body = spec.worldbody.add_body(name="obstacle", mocap=True, pos=[0.0, 0.0, -10.0])
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=list(_SIZE_M), **_COLLIDES)


def contact_force_n(model: mujoco.MjModel, data: mujoco.MjData) -> float:
    """Sum of the contacts' normal forces [N]."""
    wrench, total = np.zeros(6), 0.0
    for contact in range(data.ncon):
        mujoco.mj_contactForce(model, data, contact, wrench)
        total += float(wrench[0])
    return total
