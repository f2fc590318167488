# SPDX-License-Identifier: Apache-2.0
"""Frames and markers of a running robot, for RViz and Foxglove.

    metarl launch arm scene:=true
    python -m metarl_robot.ros_nodes.scene --ros-args -p robot:=panda

    topic (as launched)    type                             from → to
    /tf                    tf2_msgs/TFMessage               scene: joints; the base in the world frame
    /tf_static             tf2_msgs/TFMessage               scene, latched: fixed links
    /scene/markers         visualization_msgs/MarkerArray   scene: see scene_markers.py

Frames are those of `robot_description`, at the stamp of the newest state. Joints that states do not measure, such as a
vehicle's wheels, are at 0. Where robot_state_publisher or a localiser publishes frames, say `frames:=false`.

Like the monitor, it wakes up a few times a second and reads only the newest message of each topic.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from threading import Event
from time import monotonic
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from pydantic import ConfigDict
from rclpy.node import Node
from visualization_msgs.msg import MarkerArray

from metarl_robot.core.coordinates import POSE, BaseCoordinates
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.core.urdf import urdf_of
from metarl_robot.core.urdf_frames import LinkFrames, Placed
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import time_message
from metarl_robot.ros_nodes.geometry import quaternion_message, vector_message
from metarl_robot.ros_nodes.managed import ROBOT_KIND
from metarl_robot.ros_nodes.message_options import ANY, FrameParameters, message_options
from metarl_robot.ros_nodes.messages.package import MessagesError
from metarl_robot.ros_nodes.messages.provide import provide
from metarl_robot.ros_nodes.parameters import Declarer, Parameters, fixed
from metarl_robot.ros_nodes.run_watcher import run_watcher
from metarl_robot.ros_nodes.scene_markers import SceneMarkers
from metarl_robot.ros_nodes.watcher import Watcher

Array = NDArray[np.float64]


class SceneParameters(FrameParameters):
    """Parameters of the scene."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    robot: str = fixed("panda", description="name of the robot, or the folder of its description")
    robot_kind: str = fixed("", description=ROBOT_KIND)
    frames: bool = fixed(True, description="publish /tf and /tf_static; false where another node does")
    rate_hz: float = fixed(20.0, ge=1.0, le=200.0, description="rate of frames and markers [1/s]")


def declared(parameters: Declarer) -> tuple[SceneParameters, Robot]:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(SceneParameters)
    return own, load_robot(own.robot, of_kind=own.robot_kind)


class RobotFrames:
    """The frames of a robot: names with a prefix.

    world: frame in which positions of the tracked point are.
    """

    def __init__(self, robot: Robot, prefix: str, world_frame: str) -> None:
        self._links, self._robot, self._prefix = LinkFrames(urdf_of(robot)), robot, prefix
        self._base = prefix + robot.base_frame
        self._pose = BaseCoordinates(robot.coordinates).pose if set(robot.coordinates.q) & set(POSE) else None
        own = getattr(robot, "world_frame", robot.base_frame)
        self.world = prefix + own if world_frame in ("", ANY) else world_frame

    @property
    def fixed(self) -> list[Placed]:
        """Frames that never move."""
        return [self._named(frame) for frame in self._links.fixed]

    def moving(self, q: Array) -> list[Placed]:
        """Frames that move, at q (nq,)."""
        if self._pose is None:
            positions = dict(zip(self._robot.channel_names, q.tolist(), strict=True))
            return [self._named(frame) for frame in self._links.moving(positions)]
        pose = self._pose(q)
        base = Placed(self.world, self._base, pose[:3], pose[3:])
        return [base, *(self._named(frame) for frame in self._links.moving({}))]

    def _named(self, frame: Placed) -> Placed:
        return frame._replace(parent=self._prefix + frame.parent, child=self._prefix + frame.child)


class Scene:
    """Publishes frames and markers of the newest moment."""

    def __init__(self, node: Watcher, robot: Robot, own: SceneParameters) -> None:
        prefix = message_options(own, node.get_namespace()).frame_prefix
        self._node, self._frames = node, RobotFrames(robot, prefix, own.world_frame)
        self._markers = SceneMarkers(self._frames.world, prefix, float(robot.mj_model.stat.extent))
        self._markers_out = node.create_publisher(MarkerArray, "~/markers", topics.COMMAND)
        self._send = self._open_frames() if own.frames else None
        self._shown_ns = -1

    def publish(self) -> None:
        """Publish the newest moment, once."""
        moment = self._node.moment()
        if moment is None or (stamp_ns := round(moment.time_s * NANOSECONDS)) == self._shown_ns:
            return
        self._shown_ns = stamp_ns
        if self._send is not None:
            self._send(self._frames.moving(moment.q), stamp_ns)
        self._markers_out.publish(self._markers.at(moment, stamp_ns))

    def _open_frames(self) -> Callable[[list[Placed], int], None] | None:
        """Publish the fixed frames; returns a function that publishes others. None: tf2_msgs cannot be built."""
        try:
            provide("tf2_msgs", self._node.get_logger().info)
        except MessagesError as error:
            self._node.get_logger().warning(f"no /tf: {error}")
            return None
        from tf2_msgs.msg import TFMessage

        fixed_out = self._node.create_publisher(TFMessage, topics.TF_STATIC, topics.LATCHED)
        fixed_out.publish(TFMessage(transforms=_transforms(self._frames.fixed, 0)))
        out = self._node.create_publisher(TFMessage, topics.TF, topics.REPORT)
        return lambda frames, stamp_ns: out.publish(TFMessage(transforms=_transforms(frames, stamp_ns)))


def _transforms(frames: list[Placed], stamp_ns: int) -> list[Any]:
    """Messages of frames."""
    made = []
    for frame in frames:
        message = TransformStamped(child_frame_id=frame.child)
        message.header.frame_id, message.header.stamp = frame.parent, time_message(stamp_ns)
        message.transform.translation = vector_message(frame.position_m)
        message.transform.rotation = quaternion_message(frame.attitude)
        made.append(message)
    return made


def show(stop: Event) -> None:
    """Publish until `stop`. Raises MetaRLError."""
    asking = Node("scene")
    own, robot = declared(Parameters(asking))
    asking.destroy_node()
    scene = Scene(Watcher(robot, "scene"), robot, own)
    while not stop.is_set():
        started_s = monotonic()
        scene.publish()
        stop.wait(max(0.0, 1.0 / own.rate_hz - (monotonic() - started_s)))


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the scene."""
    return run_watcher(show, sys.argv if args is None else args)


if __name__ == "__main__":
    raise SystemExit(main())
