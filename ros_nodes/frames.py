# SPDX-License-Identifier: Apache-2.0
"""Frames of a base's messages: names, and the parameters that set them."""

from __future__ import annotations

from typing import Any, NamedTuple

from metarl_robot.ros_nodes.convert import UnusableError
from metarl_robot.ros_nodes.message_options import ANY, MessageOptions
from metarl_robot.safety.refusals import Rejection, shortened


class Frame(NamedTuple):
    """A frame's name, the parameter that sets it, and whether messages in any frame are accepted."""

    name: str
    parameter: str
    any_is_taken: bool = False

    def check(self, message: str, key: str, given: str) -> None:
        """Raise UnusableError if a message is in another frame."""
        if not self.any_is_taken and given.lstrip("/") != self.name.lstrip("/"):
            given = shortened(given, 100)
            remedy = f"if that is right, set {self.parameter}:={given or ANY}"
            raise UnusableError(Rejection.FRAME, f"{message}: {key} is '{given}'; must be '{self.name}'; {remedy}")


class Frames(NamedTuple):
    """The frames of a base's messages. odometry: of its poses; `world` without a localiser."""

    world: Frame
    base: Frame
    imu: Frame
    odometry: Frame


def frames_of(robot: Any, options: MessageOptions) -> Frames:
    """Frames from the options, by default those of robot.yaml with the options' prefix."""

    def frame(parameter: str, given: str, default: str) -> Frame:
        return Frame(default if given in ("", ANY) else given, parameter, given == ANY)

    base = frame("base_frame", options.base_frame, options.frame_prefix + robot.base_frame)
    world = frame("world_frame", options.world_frame, options.frame_prefix + robot.world_frame)
    localised = options.localiser_topic != "" or options.odometry_frame != ""
    odometry = frame("odometry_frame", options.odometry_frame, world.name) if localised else world
    return Frames(world, base, frame("imu_frame", options.imu_frame, base.name), odometry)
