# SPDX-License-Identifier: Apache-2.0
"""The shapes of a robot for pictures: geoms without mass and contact, meshes as STL files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import mujoco
import numpy as np
from numpy.typing import NDArray

_SHAPES = ("plane", "sphere", "capsule", "ellipsoid", "cylinder", "box", "mesh")
_TYPES = {int(getattr(mujoco.mjtGeom, f"mjGEOM_{name.upper()}")): name for name in _SHAPES}
_MESH = int(mujoco.mjtGeom.mjGEOM_MESH)
_MOST_FACES = 200_000  # that MuJoCo reads from an STL file
_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])


class Pictures:
    """Shapes of a compiled model. Of a body with shapes that touch nothing, these are drawn, else all of them."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model

    @cached_property
    def meshes(self) -> Mapping[str, bytes]:
        """Meshes in use: name → content of its STL file."""
        drawn = {int(self._model.geom_dataid[g]) for b in range(self._model.nbody) for g in self._drawn(b)}
        return {f"mesh{i}": self._stl(i) for i in sorted(drawn) if i >= 0}

    def geoms(self, body: int) -> Iterator[str]:
        """The elements <geom> of a body."""
        model = self._model
        for geom in self._drawn(body):
            kind = _TYPES[int(model.geom_type[geom])]
            shape = (
                f'mesh="mesh{int(model.geom_dataid[geom])}"' if kind == "mesh" else f'size="{_row(_size(model, geom))}"'
            )
            pose = f'pos="{_row(model.geom_pos[geom])}" quat="{_row(model.geom_quat[geom])}"'
            yield f'<geom type="{kind}" {shape} {pose} rgba="{_row(self._colour(geom))}" {_ONLY_SEEN}/>'

    def _drawn(self, body: int) -> list[int]:
        model = self._model
        first, count = int(model.body_geomadr[body]), int(model.body_geomnum[body])
        known = [g for g in range(first, first + count) if int(model.geom_type[g]) in _TYPES and self._fits(g)]
        seen = [g for g in known if not model.geom_contype[g] and not model.geom_conaffinity[g]]
        return seen or known

    def _fits(self, geom: int) -> bool:
        mesh = int(self._model.geom_dataid[geom])
        return int(self._model.geom_type[geom]) != _MESH or int(self._model.mesh_facenum[mesh]) <= _MOST_FACES

    def _colour(self, geom: int) -> NDArray[np.float32]:
        material = int(self._model.geom_matid[geom])
        colour: NDArray[np.float32] = self._model.geom_rgba[geom] if material < 0 else self._model.mat_rgba[material]
        return colour

    def _stl(self, mesh: int) -> bytes:
        """A mesh in MuJoCo's frame of it, as a binary STL file."""
        model = self._model
        first, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
        vertices = np.asarray(model.mesh_vert[first : first + count])
        start, number = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
        facets = np.zeros(number, _FACET)
        facets["corners"] = vertices[np.asarray(model.mesh_face[start : start + number])]
        return bytes(80) + np.uint32(number).tobytes() + facets.tobytes()


_ONLY_SEEN = 'contype="0" conaffinity="0" mass="0" group="2"'
_SIZES = {"plane": 3, "sphere": 1, "capsule": 2, "ellipsoid": 3, "cylinder": 2, "box": 3}


def _size(model: mujoco.MjModel, geom: int) -> NDArray[np.float64]:
    size: NDArray[np.float64] = model.geom_size[geom][: _SIZES[_TYPES[int(model.geom_type[geom])]]]
    return size


def _row(values: NDArray[np.float64] | NDArray[np.float32]) -> str:
    return " ".join(f"{float(value):.9g}" for value in values)
