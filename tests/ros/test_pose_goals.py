# SPDX-License-Identifier: Apache-2.0
"""An arm's tool goes to poses that are published, over the real graph; others are refused with their reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.arm.inverse_kinematics import InverseKinematics, ToolPose
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.arm.pose_goals import GOAL
from metarl_robot.ros_nodes.geometry import quaternion_message, set_point

ROBOT = load_robot("panda")
TOOL = InverseKinematics(ROBOT)


class Arm:
    """A simulated arm, and a publisher of poses."""

    def __init__(self, session: Any) -> None:
        self.session, self.probe = session, session.probe
        self.said: list[DiagnosticStatus] = []
        self.states: list[JointState] = []
        self.probe.listen(DiagnosticStatus, "pose_goals/status", self.said.append, topics.EVENTS)
        self.probe.listen(JointState, "joint_states", self.states.append)
        self._out = self.probe.node.create_publisher(PoseStamped, GOAL, topics.REFERENCE_QOS)
        self.probe.wait_state("passing")
        self.probe.wait(lambda: self._out.get_subscription_count() > 0, "pose_goals")
        self.probe.wait(
            lambda: self.answer(self.message(TOOL.pose(ROBOT.home))).level == DiagnosticStatus.OK, "setpoint"
        )

    def message(self, pose: ToolPose, frame: str = "panda_link0") -> PoseStamped:
        made = PoseStamped()
        made.header.frame_id = frame
        set_point(made.pose.position, pose.position_m)
        made.pose.orientation = quaternion_message(np.zeros(4) if pose.attitude is None else pose.attitude)
        return made

    def answer(self, message: PoseStamped) -> DiagnosticStatus:
        heard = len(self.said)
        self._out.publish(message)
        self.probe.wait(lambda: len(self.said) > heard, "a verdict")
        return self.said[-1]

    @property
    def tool(self) -> ToolPose:
        message = self.states[-1]
        return TOOL.pose(np.array([message.position[list(message.name).index(name)] for name in ROBOT.channel_names]))

    def arrives(self, pose: ToolPose) -> None:
        def near() -> bool:
            tool = self.tool
            turned = pose.attitude is None or np.linalg.norm(rotation.error(tool.attitude, pose.attitude)) < 2e-3
            return bool(turned and np.linalg.norm(tool.position_m - pose.position_m) < 1e-3)

        self.probe.wait(near, "the tool at its pose")


@pytest.fixture(scope="module")
def arm(start: Callable) -> Iterator[Arm]:
    made = Arm(start("arm", reference="poses", lockstep="true"))
    yield made
    made.session.finish()


def test_the_tool_goes_to_a_pose_and_to_the_next_one_on_its_way(arm: Arm) -> None:
    here = TOOL.pose(ROBOT.home)
    turned = rotation.multiply(rotation.exp(np.array([0.2, 0.0, 0.4])), here.attitude)
    first = ToolPose(here.position_m + [0.05, 0.15, -0.1], turned)
    assert "sent: a motion of" in arm.answer(arm.message(first)).message
    arm.arrives(first)
    arm.answer(arm.message(here))
    second = ToolPose(here.position_m + [0.0, -0.2, 0.0], None)
    assert arm.answer(arm.message(second)).level == DiagnosticStatus.OK
    arm.arrives(second)


@pytest.mark.parametrize(
    ("position", "attitude", "frame", "why"),
    [
        ([3.0, 0.0, 0.5], None, "panda_link0", "does not reach this pose within the joints' limits: nearest found"),
        ([0.4, 0.0, 0.5], None, "map", "frame_id is 'map'; must be 'panda_link0'"),
        ([np.nan, 0.0, 0.5], None, "panda_link0", "not finite"),
        ([0.4, 0.0, 0.5], [1.0, 1.0, 0.0, 0.0], "panda_link0", "norm 1.414"),
    ],
    ids=["too far", "frame", "nan", "norm"],
)
def test_another_pose_is_refused_with_the_reason(
    arm: Arm, position: list[float], attitude: list[float] | None, frame: str, why: str
) -> None:
    pose = ToolPose(np.array(position), None if attitude is None else np.array(attitude))
    verdict = arm.answer(arm.message(pose, frame))
    assert verdict.level == DiagnosticStatus.ERROR and why in verdict.message
