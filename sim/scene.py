# SPDX-License-Identifier: Apache-2.0
"""A robot rendered off-screen by MuJoCo: floor, light, a body on a stand, and the magnified tracking error.

The robot picks the body up. Nothing is simulated here: poses come from a recorded run. MuJoCo reads MUJOCO_GL (osmesa,
egl) on import; set it before.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.sim.appearance import paint
from metarl_robot.sim.demo import Carried
from metarl_robot.sim.renderer import offscreen
from metarl_robot.sim.surroundings import furnish

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

MAGNIFICATION = 20.0
"""Length of the drawn bar over the true error."""
_BODY_SIDE_M = 0.1
_BODY, _STAND = (0.95, 0.62, 0.13, 1.0), (0.55, 0.58, 0.63, 1.0)
_TARGET, _ERROR = (0.10, 0.62, 0.45, 1.0), (0.85, 0.15, 0.10, 1.0)


class Pose(NamedTuple):
    """One image: q (n,) [rad]; target (3,) of the carrying site [m; world]; whether the body is carried."""

    q: Array
    target: Array
    carried: bool


class Scene:
    """Draws a robot's poses.

    Arguments:
        robot: the robot.
        waiting: (n,) pose at which the body is picked up; it stands there until then.
        carried: the body.
        span_m: greatest distance of the site from the base, for the camera.
        size: (width, height) of an image [pixels].

    Raises:
        MissingPackageError: MuJoCo cannot draw off-screen on this machine.
    """

    def __init__(self, robot: Robot, waiting: Array, carried: Carried, span_m: float, size: tuple[int, int]) -> None:
        self._carried = carried
        nominal = robot.mj_model
        data = mujoco.MjData(nominal)
        data.qpos[:] = waiting
        mujoco.mj_kinematics(nominal, data)
        place, turn = _carried_pose(nominal, data, carried)
        self._model = _model(robot, place, size)
        self._data = mujoco.MjData(self._model)
        self._place, self._turn = place, turn
        self._camera = _camera(span_m)
        self._renderer = offscreen(self._model, size)

    def draw(self, pose: Pose) -> Image:
        """Draw an image (height, width, 3)."""
        model, data = self._model, self._data
        data.qpos[: len(pose.q)] = pose.q
        mujoco.mj_kinematics(model, data)
        carried = _carried_pose(model, data, self._carried)
        data.mocap_pos[0], data.mocap_quat[0] = carried if pose.carried else (self._place, self._turn)
        model.geom("shown_stand").rgba[3] = 0.0 if pose.carried else 1.0
        mujoco.mj_forward(model, data)
        self._renderer.update_scene(data, self._camera)
        here = data.site(self._carried.site).xpos
        self._ball(pose.target, _TARGET)
        self._bar(pose.target, pose.target + MAGNIFICATION * (here - pose.target))
        image: Image = self._renderer.render().copy()
        return image

    def close(self) -> None:
        """Release the drawing context."""
        self._renderer.close()

    def _ball(self, centre: Array, colour: tuple[float, ...]) -> None:
        geom = self._next()
        mujoco.mjv_initGeom(
            geom,
            mujoco.mjtGeom.mjGEOM_SPHERE,
            np.full(3, 0.025),
            centre,
            np.eye(3).ravel(),
            np.array(colour, np.float32),
        )

    def _bar(self, start: Array, end: Array) -> None:
        geom, capsule = self._next(), mujoco.mjtGeom.mjGEOM_CAPSULE
        mujoco.mjv_initGeom(geom, capsule, np.ones(3), np.zeros(3), np.eye(3).ravel(), np.array(_ERROR, np.float32))
        mujoco.mjv_connector(geom, capsule, 0.012, start, end)

    def _next(self) -> Any:
        scene = self._renderer.scene
        scene.ngeom += 1
        return scene.geoms[scene.ngeom - 1]


def _carried_pose(model: mujoco.MjModel, data: mujoco.MjData, carried: Carried) -> tuple[Array, Array]:
    """Centre (3,) [m; world] and quaternion wxyz of the body on its site."""
    site, turn = data.site(carried.site), np.empty(4)
    mujoco.mju_mat2Quat(turn, site.xmat)
    return site.xpos + site.xmat.reshape(3, 3) @ carried.centre_m, turn


def _model(robot: Robot, place: Array, size: tuple[int, int]) -> mujoco.MjModel:
    """The coloured robot with floor, sky, light, a stand below `place`, and the carried body."""
    spec = robot.mj_spec()
    paint(spec)
    furnish(spec, size)
    _add_stand(spec, place)
    return spec.compile()


def _add_stand(spec: Any, place: Array) -> None:
    """The body to carry, on a stand."""
    kinds, plain = mujoco.mjtGeom, {"contype": 0, "conaffinity": 0}
    world, top = spec.worldbody, max(place[2] - 0.6 * _BODY_SIDE_M, 0.02)
    world.add_geom(
        name="shown_stand",
        type=kinds.mjGEOM_CYLINDER,
        size=[0.02, top / 2, 0],
        pos=[*place[:2], top / 2],
        rgba=_STAND,
        **plain,
    )
    body = world.add_body(name="shown_body", mocap=True)
    body.add_geom(type=kinds.mjGEOM_BOX, size=[_BODY_SIDE_M / 2] * 3, rgba=_BODY, **plain)


def _camera(span_m: float) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    camera.lookat = np.array([0.28, 0.0, 0.48]) * span_m
    camera.distance, camera.azimuth, camera.elevation = 1.75 * span_m, 60.0, -15.0
    return camera
