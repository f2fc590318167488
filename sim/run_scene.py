# SPDX-License-Identifier: Apache-2.0
"""A recorded run of any robot rendered off-screen by MuJoCo: the robot, its reference and the way behind it.

Nothing is simulated here. MuJoCo reads MUJOCO_GL (osmesa, egl) on import; set it before.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.sim.appearance import paint
from metarl_robot.sim.renderer import offscreen
from metarl_robot.sim.surroundings import furnish

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_ACTUAL, _REFERENCE = (0.85, 0.15, 0.10, 1.0), (0.10, 0.62, 0.45, 1.0)
_DISTANCE = 1.6
"""Distance of the camera over the span of the motion."""


class Moment(NamedTuple):
    """One image: q (nq,); reference (3,) of the tracked point; its past and the robot's (K, 3), all [m; world]."""

    q: Array
    reference: Array
    past_reference: Array
    past: Array


class RunScene:
    """Draws the moments of runs.

    Arguments:
        robot: the robot; its q is the position of its MuJoCo model.
        motion: (K, nq) positions of the robot, and
        references: (L, 3) of its tracked point [m; world], which the camera must see.
        size: (width, height) of an image [pixels].

    Raises:
        MissingPackageError: MuJoCo cannot draw off-screen on this machine.
    """

    def __init__(self, robot: Robot, motion: Array, references: Array, size: tuple[int, int]) -> None:
        places = np.concatenate([references, _places(robot.mj_model, motion)])
        low, high = places.min(axis=0), places.max(axis=0)
        span_m = max(float(np.linalg.norm(high - low)), float(robot.mj_model.stat.extent))
        spec = robot.mj_spec()
        paint(spec)
        furnish(spec, size, floor_m=max(3.0, 3.0 * span_m + float(np.abs(places[:, :2]).max())))
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._thick_m = 0.004 * span_m
        self._camera = _camera(0.5 * (low + high), span_m)
        self._renderer = offscreen(self._model, size)

    def draw(self, moment: Moment) -> Image:
        """Draw an image (height, width, 3)."""
        self._data.qpos[: len(moment.q)] = moment.q
        mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, self._camera)
        self._ball(moment.reference)
        self._line(moment.past_reference, _REFERENCE)
        self._line(moment.past, _ACTUAL)
        image: Image = self._renderer.render().copy()
        return image

    def close(self) -> None:
        """Release the drawing context."""
        self._renderer.close()

    def _ball(self, centre: Array) -> None:
        size = np.full(3, 2.0 * self._thick_m)
        self._geom(mujoco.mjtGeom.mjGEOM_SPHERE, size, centre, _REFERENCE)

    def _line(self, points: Array, colour: tuple[float, ...]) -> None:
        """A line through points (K, 3)."""
        capsule = mujoco.mjtGeom.mjGEOM_CAPSULE
        for start, end in zip(points[:-1], points[1:], strict=True):
            if not np.array_equal(start, end):
                geom = self._geom(capsule, np.ones(3), np.zeros(3), colour)
                mujoco.mjv_connector(geom, capsule, self._thick_m, start, end)

    def _geom(self, kind: Any, size: Array, centre: Array, colour: tuple[float, ...]) -> Any:
        scene = self._renderer.scene
        scene.ngeom += 1
        geom = scene.geoms[scene.ngeom - 1]
        mujoco.mjv_initGeom(geom, kind, size, centre, np.eye(3).ravel(), np.array(colour, np.float32))
        return geom


def _places(model: mujoco.MjModel, motion: Array) -> Array:
    """Places of all bodies at positions (K, nq) of the robot: (K * bodies, 3) [m; world]."""
    data, places = mujoco.MjData(model), []
    for q in motion:
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        places.append(data.xpos[1:].copy())
    return np.concatenate(places)


def _camera(centre: Array, span_m: float) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    camera.lookat = centre
    camera.distance, camera.azimuth, camera.elevation = _DISTANCE * span_m, 60.0, -20.0
    return camera
