# SPDX-License-Identifier: Apache-2.0
"""The load that a robot's driver compensates, as geometry_msgs/InertiaStamped in the frame of the payload's site."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import InertiaStamped
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.tool_load import BEYOND_RATING, REACH_M, Load, load_of, parameters_of
from metarl_robot.robots.payload import payload_site
from metarl_robot.ros_nodes.convert import time_message
from metarl_robot.ros_nodes.geometry import vector_message, xyz

Array = NDArray[np.float64]


def load_message(frame: str, stamp_ns: int, parameters: Array) -> InertiaStamped:
    """A load with these parameters (10,) as a message."""
    load, message = load_of(parameters), InertiaStamped()
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), frame
    inertia = message.inertia
    inertia.m, inertia.com = load.mass_kg, vector_message(load.com_m)
    (inertia.ixx, inertia.ixy, inertia.ixz), (_, inertia.iyy, inertia.iyz), (_, _, inertia.izz) = (
        load.inertia_kg_m2.tolist()
    )
    return message


def read_load(message: InertiaStamped, robot: Robot, prefix: str) -> Array:
    """The parameters (10,) of a load.

    Raises SignalError for another frame, numbers that are not finite, and a load beyond the rating or the tool's reach.
    """
    frame = prefix + payload_site(robot)
    if message.header.frame_id.lstrip("/") != frame.lstrip("/"):
        raise SignalError(f"load: frame_id is '{message.header.frame_id[:100]}'; must be '{frame}'")
    i = message.inertia
    inertia = np.array([[i.ixx, i.ixy, i.ixz], [i.ixy, i.iyy, i.iyz], [i.ixz, i.iyz, i.izz]])
    load = Load(float(i.m), xyz(i.com), inertia)
    most_kg = BEYOND_RATING * robot.description.payload.rated_mass_kg
    if not np.isfinite([load.mass_kg, *load.com_m, *inertia.ravel()]).all():
        raise SignalError("load: holds a number that is not finite")
    if not 0.0 <= load.mass_kg <= most_kg or np.linalg.norm(load.com_m) > REACH_M:
        given = f"{load.mass_kg:.3g} kg with its centre of mass at {load.com_m.tolist()} m"
        raise SignalError(f"load: {given}; allowed: 0 to {most_kg:.3g} kg, within {REACH_M:g} m")
    return parameters_of(load)
