# SPDX-License-Identifier: Apache-2.0
"""Where the payload's site is on the flange in whose frame a driver takes loads."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import RobotError, UnknownNameError
from metarl_robot.robots.arm.description import Arm
from metarl_robot.robots.arm.tool_load import Pose
from metarl_robot.robots.payload import payload_site

Array = NDArray[np.float64]


def payload_pose(robot: Arm, flange: str) -> Pose:
    """Pose of the payload's site in the frame of the flange.

    flange: a site or a body of the MJCF that is rigidly connected to the payload's site; empty: that site itself.

    Raises:
        UnknownNameError: neither a site nor a body has this name.
        RobotError: joints move one against the other.
    """
    model = robot.mj_model
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    site = data.site(payload_site(robot))
    body, rotation, position = _frame(model, data, flange or payload_site(robot))
    if model.body_weldid[body] != model.body_weldid[model.site_bodyid[site.id]]:
        raise RobotError(f"flange: '{flange}' is not on the link of the payload's site '{payload_site(robot)}'")
    return Pose(rotation.T @ site.xmat.reshape(3, 3), rotation.T @ (site.xpos - position))


def _frame(model: mujoco.MjModel, data: mujoco.MjData, name: str) -> tuple[int, Array, Array]:
    """Body, rotation and position of a site or body."""
    sites = [model.site(i).name for i in range(model.nsite)]
    bodies = [model.body(i).name for i in range(model.nbody)]
    if name in sites:
        site = data.site(name)
        return int(model.site_bodyid[site.id]), site.xmat.reshape(3, 3), site.xpos
    if name not in bodies:
        raise UnknownNameError("flange", name, [*sites, *bodies])
    body = data.body(name)
    return int(body.id), body.xmat.reshape(3, 3), body.xpos
