# SPDX-License-Identifier: Apache-2.0
"""The estimate of a payload as geometry_msgs/InertiaStamped on ~/payload, inertia about its centre of mass."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import InertiaStamped

from metarl_robot.core.signals import Context
from metarl_robot.robots.payload import INERTIAS, MASS, MOMENTS, payload_site
from metarl_robot.ros_nodes.convert import time_message
from metarl_robot.ros_nodes.interface import ReportTopic

_LEAST_MASS_KG = 1e-3  # smallest mass with a meaningful centre of mass


def payload_message(robot: Any, stamp_ns: int, context: Context) -> InertiaStamped | None:
    """The payload in a context: mass, centre of mass, inertia about the centre of mass, in the payload frame's axes.

    The context holds moments about the frame's origin (mass times centre; inertia). None if it has no payload.
    """
    if MASS not in context.names:
        return None
    mass = context[MASS][0]
    moment = np.array([context[name][0] if name in context.names else 0.0 for name in MOMENTS])
    xx, yy, zz, xy, xz, yz = (context[name][0] if name in context.names else 0.0 for name in INERTIAS)
    com = moment / mass if mass > _LEAST_MASS_KG else np.zeros(3)
    about_origin = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    about_com = about_origin - mass * (com @ com * np.eye(3) - np.outer(com, com))
    message = InertiaStamped()
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), payload_site(robot)
    inertia = message.inertia
    inertia.m = mass
    inertia.com.x, inertia.com.y, inertia.com.z = (float(x) for x in com)
    inertia.ixx, inertia.ixy, inertia.ixz = (float(x) for x in about_com[0])
    inertia.iyy, inertia.iyz, inertia.izz = float(about_com[1, 1]), float(about_com[1, 2]), float(about_com[2, 2])
    return message


PAYLOAD_TOPIC = ReportTopic("payload", InertiaStamped, payload_message)
