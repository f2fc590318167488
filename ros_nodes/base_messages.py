# SPDX-License-Identifier: Apache-2.0
"""The part that all messages of a base share: its frames, and its pose from the robot's coordinates."""

from __future__ import annotations

from typing import Any

from metarl_robot.core.coordinates import BaseCoordinates
from metarl_robot.ros_nodes.frames import frames_of
from metarl_robot.ros_nodes.interface import DEFAULT, Part
from metarl_robot.ros_nodes.message_options import MessageOptions


class BaseMessages(Part):
    """Frames and coordinates of a base. The robot has `world_frame` and `base_frame`."""

    def __init__(self, robot: Any, options: MessageOptions = DEFAULT) -> None:
        super().__init__(robot, options)
        self._frames, self._base = frames_of(robot, options), BaseCoordinates(robot.coordinates)
