# SPDX-License-Identifier: Apache-2.0
"""Colours of a robot's links and joints in pictures and in the view."""

from __future__ import annotations

from typing import Any

import mujoco

_LINKS = ((0.93, 0.94, 0.96, 1.0), (0.80, 0.83, 0.88, 1.0))
_JOINT = (0.28, 0.31, 0.36, 1.0)


def paint(spec: Any) -> None:
    """Give links and joints of a model their colours, and remove its floors and lights. spec: a mujoco.MjSpec."""
    links = [geom for geom in spec.geoms if geom.type != mujoco.mjtGeom.mjGEOM_PLANE]
    for i, geom in enumerate(links):
        geom.rgba = _LINKS[i % 2]
    for replaced in (*(geom for geom in spec.geoms if geom.type == mujoco.mjtGeom.mjGEOM_PLANE), *spec.lights):
        spec.delete(replaced)
    for joint in list(spec.joints):
        joint.parent.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[0.068, 0, 0],
            pos=joint.pos,
            rgba=_JOINT,
            mass=0,
            contype=0,
            conaffinity=0,
        )
