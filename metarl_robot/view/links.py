# SPDX-License-Identifier: Apache-2.0
"""The bodies of a MuJoCo model as a tree of frames with meshes.

viser sends each value of each node as a message of its own, which takes processor time. In a tree, a body behind a
hinge needs one message a frame, its attitude; a body that has not moved relative to its parent needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np
import viser
from mjviser.conversions import group_geoms_by_visual_compat, is_fixed_body, merge_geoms, merge_sites
from numpy.typing import NDArray

Array = NDArray[np.float64]

_GROUPS = 3  # MuJoCo's groups 0 to 2 are for display
_LEAST_TURN = 1e-4  # of a quaternion's components
_LEAST_MOVE = 1e-4  # times the extent of the model; a pixel is several times more
_LIGHT = 0.8
_STILL: Any = {"cast_shadow": False, "receive_shadow": 0.2}


class Links:
    """Draws the bodies of a model below /robot. Planes are left out: the page has a floor."""

    def __init__(self, server: viser.ViserServer, model: mujoco.MjModel) -> None:
        server.scene.configure_environment_map(environment_intensity=_LIGHT)
        self._parents = model.body_parentid
        self._least_move_m = _LEAST_MOVE * float(model.stat.extent)
        self._frames = [server.scene.add_frame("/robot", show_axes=False)]
        for body in range(1, model.nbody):
            name = f"{self._frames[self._parents[body]].name}/{body}"
            self._frames.append(server.scene.add_frame(name, show_axes=False))
            for number, mesh in enumerate(_meshes(model, body)):
                options = _STILL if is_fixed_body(model, body) else {}
                server.scene.add_mesh_trimesh(f"{name}/mesh{number}", mesh, **options)
        self._places, self._turns = np.zeros((model.nbody, 3)), np.tile([1.0, 0.0, 0.0, 0.0], (model.nbody, 1))

    def show(self, data: mujoco.MjData) -> None:
        """Move the bodies to their poses in `data`."""
        places, turns = self._relative(data)
        moved = np.abs(places - self._places).max(axis=1) > self._least_move_m
        turned = np.abs(turns - self._turns).max(axis=1) > _LEAST_TURN
        for body in np.flatnonzero(moved):
            self._frames[body].position = self._places[body] = places[body]
        for body in np.flatnonzero(turned):
            self._frames[body].wxyz = self._turns[body] = turns[body]

    def _relative(self, data: mujoco.MjData) -> tuple[Array, Array]:
        """Positions (nbody, 3) [m] and attitudes wxyz (nbody, 4) of bodies in the frames of their parents."""
        places, turns = np.zeros_like(self._places), np.tile([1.0, 0.0, 0.0, 0.0], (len(self._places), 1))
        place, turn = np.empty(3), np.empty(4)
        for body, parent in enumerate(self._parents[1:], start=1):
            mujoco.mju_negPose(place, turn, data.xpos[parent], data.xquat[parent])
            mujoco.mju_mulPose(places[body], turns[body], place, turn, data.xpos[body], data.xquat[body])
        return places, turns


def _meshes(model: mujoco.MjModel, body: int) -> Iterator[Any]:
    """Meshes of a body's geoms and sites, in its frame."""
    geoms = [g for g in np.flatnonzero(model.geom_bodyid == body).tolist() if _is_drawn(model, g)]
    for together in group_geoms_by_visual_compat(model, geoms):
        yield merge_geoms(model, together)
    sites = np.flatnonzero((model.site_bodyid == body) & (model.site_group < _GROUPS)).tolist()
    if sites:
        yield merge_sites(model, sites)


def _is_drawn(model: mujoco.MjModel, geom: int) -> bool:
    opaque, shown = model.geom_rgba[geom, 3] > 0.0, model.geom_group[geom] < _GROUPS
    return bool(opaque and shown and model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_PLANE)
