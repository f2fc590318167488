# SPDX-License-Identifier: Apache-2.0
"""Position of a robot's payload frame, and the robot's reach."""

from __future__ import annotations

from functools import lru_cache

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot
from metarl_robot.robots.payload import payload_site

Array = NDArray[np.float64]


def rotation_of(quaternion: Array) -> Array:
    """Rotation matrix (3, 3) of a unit quaternion wxyz."""
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quaternion, float))
    return matrix.reshape(3, 3)


@lru_cache(maxsize=16)
def outward_axis(robot: Robot) -> Array:
    """Unit vector (3,) in the payload frame that points away from the link of the payload site."""
    site = robot.mj_model.site(payload_site(robot))
    if not np.any(site.pos):
        return _frozen(np.array([0.0, 0.0, 1.0]))
    return _frozen(rotation_of(site.quat).T @ (site.pos / np.linalg.norm(site.pos)))


@lru_cache(maxsize=16)
def reach_m(robot: Robot) -> float:
    """Length of the stretched chain from the first joint to the payload site [m]."""
    model = robot.mj_model
    site = model.site(payload_site(robot))
    length, body = float(np.linalg.norm(site.pos)), int(site.bodyid[0])
    while model.body_weldid[model.body_parentid[body]] != 0:
        length += float(np.linalg.norm(model.body_pos[body]))
        body = int(model.body_parentid[body])
    return length


@lru_cache(maxsize=16)
def home_position(robot: Robot) -> Array:
    """Payload site (3,) in the world with the robot at home [m]."""
    return _frozen(end_effector_positions(robot, robot.home[None])[0])


def end_effector_positions(robot: Robot, q: Array) -> Array:
    """Payload site (N, 3) in the world for poses q (N, n) [m]."""
    return EndEffector(robot).positions(q)


class EndEffector:
    """Positions and Jacobians of the payload site; keeps its MuJoCo data for frequent calls."""

    def __init__(self, robot: Robot) -> None:
        self._model = robot.mj_model
        self._data = mujoco.MjData(self._model)
        self._site = self._model.site(payload_site(robot)).id

    def positions(self, q: Array) -> Array:
        """Positions (N, 3) in the world for poses q (N, n) [m]."""
        data, positions = self._data, np.empty((len(q), 3))
        for i, pose in enumerate(q):
            data.qpos[:] = pose
            mujoco.mj_kinematics(self._model, data)
            positions[i] = data.site_xpos[self._site]
        return positions

    def jacobian(self, q: Array) -> Array:
        """Jacobian (3, n) of the position by q (n,)."""
        found = np.zeros((3, self._model.nv))
        self._data.qpos[:] = q
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_jacSite(self._model, self._data, found, None, self._site)
        return found


def _frozen(array: Array) -> Array:
    """Make an array read-only, because the cache returns it again."""
    array.flags.writeable = False
    return array
