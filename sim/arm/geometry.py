# SPDX-License-Identifier: Apache-2.0
"""Where a robot's payload frame lies, and how far the robot reaches."""

from __future__ import annotations

from functools import lru_cache

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]


def rotation_of(quaternion: Array) -> Array:
    """(3, 3) of a unit quaternion wxyz."""
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quaternion, float))
    return matrix.reshape(3, 3)


@lru_cache(maxsize=16)
def outward_axis(robot: Robot) -> Array:
    """(3,) unit vector in the payload frame that points away from the link it sits on."""
    site = robot.mj_model.site(robot.payload_site)
    if not np.any(site.pos):
        return _frozen(np.array([0.0, 0.0, 1.0]))
    return _frozen(rotation_of(site.quat).T @ (site.pos / np.linalg.norm(site.pos)))


@lru_cache(maxsize=16)
def reach_m(robot: Robot) -> float:
    """Length of the stretched chain from the first joint to the payload site."""
    model = robot.mj_model
    site = model.site(robot.payload_site)
    length, body = float(np.linalg.norm(site.pos)), int(site.bodyid[0])
    while model.body_weldid[model.body_parentid[body]] != 0:
        length += float(np.linalg.norm(model.body_pos[body]))
        body = int(model.body_parentid[body])
    return length


@lru_cache(maxsize=16)
def home_position(robot: Robot) -> Array:
    """(3,) payload site in the world when the robot is at home [m]."""
    return _frozen(end_effector_positions(robot, robot.home[None])[0])


def end_effector_positions(robot: Robot, q: Array) -> Array:
    """(N, 3) payload site in the world for poses q (N, n) [m]."""
    return EndEffector(robot).positions(q)


class EndEffector:
    """Where the payload site is, for who asks often: what MuJoCo computes in is made once."""

    def __init__(self, robot: Robot) -> None:
        self._model = robot.mj_model
        self._data = mujoco.MjData(self._model)
        self._site = self._model.site(robot.payload_site).id

    def positions(self, q: Array) -> Array:
        """(N, 3) in the world for poses q (N, n) [m]."""
        data, positions = self._data, np.empty((len(q), 3))
        for i, pose in enumerate(q):
            data.qpos[:] = pose
            mujoco.mj_kinematics(self._model, data)
            positions[i] = data.site_xpos[self._site]
        return positions


def _frozen(array: Array) -> Array:
    """Read-only: it is handed out again."""
    array.flags.writeable = False
    return array
