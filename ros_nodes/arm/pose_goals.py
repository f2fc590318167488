# SPDX-License-Identifier: Apache-2.0
"""Moves an arm's tool to poses: a pose becomes joint positions, and those a trajectory for the mpc node.

    metarl launch arm reference:=poses
    ros2 topic pub --once /goal_pose geometry_msgs/PoseStamped ...

    topic (as launched)       type                             from → to
    /goal_pose                geometry_msgs/PoseStamped        user → pose_goals: pose of the payload site in base_frame
    /mpc/setpoint             sensor_msgs/JointState           mpc → pose_goals: the search starts there
    /mpc/joint_trajectory     trajectory_msgs/JointTrajectory  pose_goals → mpc: one point, at rest
    /pose_goals/status        diagnostic_msgs/DiagnosticStatus pose_goals, latched, the last ten: whether a pose is
                              reached, and why not

A new pose replaces the present one, from the present motion on. The tool's path is that of joints that all start and
stop together; bodies are not checked for collisions. A quaternion of zeros means any attitude. The search runs in this
process, so that it delays no controller.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from pydantic import Field
from sensor_msgs.msg import JointState

from metarl_robot.core import rotation
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.robots.arm.inverse_kinematics import InverseKinematics, ToolPose
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.arm.interface import JointInterface
from metarl_robot.ros_nodes.convert import status_message
from metarl_robot.ros_nodes.frames import Frame
from metarl_robot.ros_nodes.geometry import wxyz, xyz
from metarl_robot.ros_nodes.managed import ROBOT_KIND, ManagedNode, NodeParameters
from metarl_robot.ros_nodes.message_options import FrameParameters, message_options
from metarl_robot.ros_nodes.parameters import Declarer, OnChange, fixed
from metarl_robot.ros_nodes.reference_status import reference_id
from metarl_robot.ros_nodes.runtime import run
from metarl_robot.safety.input_validation import NORM_TOLERANCE
from metarl_robot.trajectories.flat_outputs import Outputs

Array = NDArray[np.float64]

GOAL = "goal_pose"
_PEAK = 15.0 / 8.0  # peak velocity of a minimum-jerk motion, over its mean
_SHORTEST_S = 0.5


class PoseGoalParameters(NodeParameters, FrameParameters):
    """Parameters of the node."""

    robot: str = fixed("panda", description="name of the robot, or the folder of its description")
    robot_kind: str = fixed("", description=ROBOT_KIND)
    speed: float = Field(0.3, ge=0.01, le=0.9, description="share of the velocity limits that a motion uses")
    limit_scale: float = fixed(
        1.0, ge=0.05, le=1.0, description="first tests: share of the limits that may be used; a factor of the speed"
    )


def declared(parameters: Declarer, on_own: OnChange = None) -> tuple[PoseGoalParameters, Robot]:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(PoseGoalParameters, on_change=on_own)
    return own, load_robot(own.robot, of_kind=own.robot_kind)


class PoseGoals(ManagedNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("pose_goals")
        self._own, self._robot = declared(self.parameters, self._on_parameters)
        self.start(self._own.autostart)

    def configure(self) -> None:
        options = message_options(self._own, self.get_namespace())
        self._interface = JointInterface(self._robot, options)
        self._base = Frame(options.frame_prefix + self._robot.base_frame, "frame_prefix")
        self._kinematics = InverseKinematics(self._robot)
        self._setpoint: JointState | None = None
        self._out = self.create_lifecycle_publisher(
            self._interface.reference_type, self._interface.reference_topic, topics.REFERENCE_QOS
        )
        self._status_out = self.create_publisher(DiagnosticStatus, "~/status", topics.EVENTS)
        self._inputs = (
            self.create_subscription(PoseStamped, GOAL, self._on_goal, topics.REFERENCE_QOS),
            self.create_subscription(JointState, topics.SETPOINT, self._on_setpoint, topics.STATE_IN),
        )

    def cleanup(self) -> None:
        for each in self._inputs:
            self.destroy_subscription(each)
        self.destroy_lifecycle_publisher(self._out)
        self.destroy_publisher(self._status_out)

    def _on_parameters(self, new: PoseGoalParameters) -> None:
        self._own = new

    def _on_setpoint(self, message: JointState) -> None:
        self._setpoint = message

    def _on_goal(self, message: PoseStamped) -> None:
        try:
            self._move(message)
        except SignalError as error:
            self.get_logger().warning(f"pose refused: {error}")
            self._say(message, DiagnosticStatus.ERROR, f"refused: {error}")

    def _move(self, message: PoseStamped) -> None:
        """Send the trajectory to a pose. Raises SignalError."""
        if not self.active or self._setpoint is None:
            raise SignalError("there is no setpoint yet: does the mpc node run, and are there states?")
        pose = self._read(message)
        _, here, _ = self._interface.read_setpoint(self._setpoint)
        q = self._kinematics.solve(pose, here)
        speed = self._own.speed * self._own.limit_scale * self._robot.velocity_limit
        duration_s = max(_SHORTEST_S, float(np.max(_PEAK * np.abs(q - here) / speed)))
        rest = np.zeros((1, len(q)))
        self._out.publish(self._interface.reference(0, np.array([duration_s]), Outputs(q[None], rest, rest)))
        self._say(
            message,
            DiagnosticStatus.OK,
            f"sent: a motion of {duration_s:.1f} s; /mpc/reference_status says whether it is followed",
        )

    def _read(self, message: PoseStamped) -> ToolPose:
        self._base.check("pose", "frame_id", message.header.frame_id)
        position, attitude = xyz(message.pose.position), wxyz(message.pose.orientation)
        if not (np.isfinite(position).all() and np.isfinite(attitude).all()):
            raise SignalError("pose: holds a value that is not finite")
        if not attitude.any():
            return ToolPose(position, None)
        norm = float(np.linalg.norm(attitude))
        if abs(norm - 1.0) > NORM_TOLERANCE:
            said = f"allowed: 1 ± {NORM_TOLERANCE}, and 0 for any attitude"
            raise SignalError(f"pose: its orientation has the norm {norm:.4g}; {said}")
        return ToolPose(position, rotation.normalise(attitude))

    def _say(self, message: PoseStamped, level: bytes, text: str) -> None:
        """Publish the verdict on a pose."""
        self._status_out.publish(status_message("pose_goals", level, text, {"id": reference_id(message)}))


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the node."""
    return run(PoseGoals, args)


if __name__ == "__main__":
    raise SystemExit(main())
