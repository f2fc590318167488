# SPDX-License-Identifier: Apache-2.0
"""A moment of a run as visualization_msgs/MarkerArray, for RViz and Foxglove.

namespace    marker                                                                        frame
plan         line through the planned positions of the tracked point                       world
reference    ball at the reference of that point                                           world
payload      ball of the estimated mass, at 2 kg per litre, at the tracked point           world
force        arrow of the external force, 1 cm per newton                                  the hand
estimates    text: estimates with their standard deviations, and why the gate holds        world
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from metarl_robot.ros_nodes.convert import time_message
from metarl_robot.ros_nodes.geometry import set_point
from metarl_robot.view.moment import FORCE_SCALE_M_N, Moment

Array = NDArray[np.float64]

_COLOURS = {
    "plan": (0.24, 0.43, 0.9, 1.0),
    "reference": (0.12, 0.59, 0.43, 1.0),
    "payload": (0.95, 0.62, 0.13, 0.6),
    "force": (0.9, 0.12, 0.47, 1.0),
    "estimates": (1.0, 1.0, 1.0, 1.0),
}


class SceneMarkers:
    """Makes the markers of one robot.

    Arguments:
        world_frame: frame of positions.
        prefix: of frames that the robot's files name.
        size_m: of the robot; lines, balls and letters are in proportion.
    """

    def __init__(self, world_frame: str, prefix: str, size_m: float) -> None:
        self._world, self._prefix, self._size = world_frame, prefix, size_m

    def at(self, moment: Moment, stamp_ns: int) -> MarkerArray:
        """All markers at a moment; those that have nothing to show are deleted."""
        drawn: dict[str, Callable[[Marker, Moment], bool]] = {
            "plan": self._plan,
            "reference": self._reference,
            "payload": self._payload,
            "force": self._force,
            "estimates": self._estimates,
        }
        markers = []
        for name, draw in drawn.items():
            marker = Marker(ns=name, color=_colour(name), frame_locked=name == "force")
            marker.header.frame_id, marker.header.stamp = self._world, time_message(stamp_ns)
            marker.pose.orientation.w = 1.0
            marker.action = Marker.ADD if draw(marker, moment) else Marker.DELETE
            markers.append(marker)
        return MarkerArray(markers=markers)

    def _plan(self, marker: Marker, moment: Moment) -> bool:
        if moment.plan_m is None or len(moment.plan_m) < 2:
            return False
        marker.type, marker.scale.x = Marker.LINE_STRIP, 0.008 * self._size
        marker.points = [_point(place) for place in moment.plan_m]
        return True

    def _reference(self, marker: Marker, moment: Moment) -> bool:
        return moment.position_reference_m is not None and _ball(
            marker, moment.position_reference_m, 0.015 * self._size
        )

    def _payload(self, marker: Marker, moment: Moment) -> bool:
        return moment.carried_radius_m > 0.0 and _ball(marker, moment.position_m, moment.carried_radius_m)

    def _force(self, marker: Marker, moment: Moment) -> bool:
        if moment.force is None or not moment.pushes:
            return False
        marker.type, marker.header.frame_id = Marker.ARROW, self._prefix + moment.force.site
        marker.points = [_point(np.zeros(3)), _point(FORCE_SCALE_M_N * moment.force.force_n)]
        marker.scale.x, marker.scale.y, marker.scale.z = 0.02, 0.05, 0.05  # shaft, head, length of the head
        return True

    def _estimates(self, marker: Marker, moment: Moment) -> bool:
        lines = [f"{name} {mean:.2f} ± {std:.2f} {unit}" for name, (mean, std, unit) in moment.estimates.items()]
        lines += [moment.held] if moment.held else []
        marker.type, marker.text, marker.scale.z = Marker.TEXT_VIEW_FACING, "\n".join(lines), 0.06 * self._size
        set_point(marker.pose.position, moment.position_m + [0.0, 0.0, 0.2 * self._size])
        return bool(lines)


def _ball(marker: Marker, place: Array, radius_m: float) -> bool:
    marker.type = Marker.SPHERE
    marker.scale.x = marker.scale.y = marker.scale.z = 2.0 * radius_m
    set_point(marker.pose.position, place)
    return True


def _point(place: Array) -> Point:
    point: Any = Point()
    set_point(point, place)
    return point


def _colour(name: str) -> ColorRGBA:
    red, green, blue, alpha = _COLOURS[name]
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)
