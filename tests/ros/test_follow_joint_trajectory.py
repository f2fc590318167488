# SPDX-License-Identifier: Apache-2.0
"""The action ~/follow_joint_trajectory over the real graph, against the simulated plant: the cases that the
documentation of joint_trajectory_controller names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.action import ActionClient
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from metarl_robot.core.robot import load_robot
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.arm.interface import JointInterface
from metarl_robot.ros_nodes.convert import duration_message, nanoseconds
from metarl_robot.ros_nodes.joint_trajectories import trajectory_message
from metarl_robot.ros_nodes.messages.package import MessagesError
from metarl_robot.ros_nodes.messages.provide import provide
from metarl_robot.trajectories.flat_outputs import Outputs

ROBOT = load_robot("planar2")
HOME = np.asarray(ROBOT.home)
SUCCEEDED, CANCELED, ABORTED = 4, 5, 6  # action_msgs/msg/GoalStatus


@pytest.fixture(scope="module")
def messages() -> Any:
    try:
        provide("control_msgs")
    except MessagesError as error:
        pytest.skip(f"control_msgs: {error}")
    import control_msgs.action
    import control_msgs.msg

    return control_msgs


class Arm:
    """A simulated arm and a client of its action."""

    def __init__(self, session: Any, messages: Any) -> None:
        self.session, self.probe = session, session.probe
        self.goal_type, self.limit_type = messages.action.FollowJointTrajectory, messages.msg.JointTolerance
        self.client = ActionClient(self.probe.node, self.goal_type, "mpc/follow_joint_trajectory")
        self.setpoints: list[JointState] = []
        self.verdicts: list[DiagnosticStatus] = []
        self.feedback: list[Any] = []
        self.probe.listen(JointState, topics.SETPOINT, self.setpoints.append)
        self.probe.listen(DiagnosticStatus, topics.REFERENCE_STATUS, self.verdicts.append, topics.EVENTS)
        self.topic = self.probe.node.create_publisher(
            JointTrajectory, JointInterface.reference_topic, topics.REFERENCE_QOS
        )

    def ready(self) -> None:
        self.probe.wait_state("passing")
        assert self.client.wait_for_server(180.0)
        self.probe.wait(lambda: bool(self.setpoints) and self.topic.get_subscription_count() > 0, "the controller")

    def goal(self, q: np.ndarray, seconds: float = 1.0, stamp_s: float = 0.0, **fields: Any) -> Any:
        """A goal that ends at q, at rest."""
        goal = self.goal_type.Goal(**fields)
        rest = np.zeros((1, len(q)))
        names = ROBOT.channel_names[: len(q)]
        goal.trajectory = trajectory_message(
            names, round(stamp_s * 1e9), np.array([seconds]), Outputs(q[None], rest, rest)
        )
        return goal

    def tolerance(self, position: float = 0.0, velocity: float = 0.0, name: str = "shoulder") -> Any:
        return self.limit_type(name=name, position=position, velocity=velocity)

    def send(self, goal: Any) -> Any:
        """The accepted goal's handle."""
        self.feedback.clear()
        heard = self.feedback.append
        return self.answer(lambda: self.client.send_goal_async(goal, lambda message: heard(message.feedback)), "goal")

    def answer(self, request: Callable[[], Any], what: str) -> Any:
        """The answer to a request that the probe's own thread sends (in another one, rclpy's client can miss it)."""
        sent = self.probe._executor.create_task(request)
        self.probe.wait(lambda: sent.done() and sent.result().done(), f"an answer to the {what}")
        return sent.result().result()

    def result(self, handle: Any) -> tuple[int, int, str]:
        """(status, error code, text) of a goal, once it has ended."""
        assert handle.accepted, self.verdicts[-1:]
        answer = self.answer(handle.get_result_async, "request of a result")
        return answer.status, answer.result.error_code, answer.result.error_string

    def refusal(self, goal: Any) -> str:
        """The reason that the node's log gives for a rejected goal."""
        heard = len(self.session.lines)

        def reasons() -> list[str]:
            return [line for line in self.session.lines[heard:] if "rejected" in line or "refused" in line]

        assert not self.send(goal).accepted
        self.probe.wait(lambda: bool(reasons()), "a reason")
        return reasons()[0]

    def now_s(self) -> float:
        """The node's time, of its answer to a goal: topics may reach a busy test seconds later."""
        handle = self.send(self.goal(HOME, 0.1))
        assert self.result(handle)[0] == SUCCEEDED
        return nanoseconds(handle.stamp) * 1e-9

    @property
    def setpoint(self) -> np.ndarray:
        return np.array(self.setpoints[-1].position)

    def wait_until_still(self, target: np.ndarray | None = None) -> np.ndarray:
        """The setpoint, once it no longer changes (and is at the target)."""

        def still() -> bool:
            recent = [np.array(message.position) for message in self.setpoints[-100:]]
            if len(recent) < 100 or np.ptp(recent, axis=0).max() > 1e-9:
                return False
            return target is None or np.allclose(recent[-1], target, atol=1e-6)

        self.probe.wait(still, "a setpoint at rest")
        return self.setpoint


@pytest.fixture(scope="module")
def running(start: Callable[..., Any], messages: Any) -> Arm:
    arm = Arm(start(robot="planar2", controller="computed_torque", lockstep="true", reference="none"), messages)
    arm.ready()
    return arm


@pytest.fixture
def arm(running: Arm) -> Iterator[Arm]:
    """The arm at home."""
    assert running.result(running.send(running.goal(HOME, 2.0)))[0] == SUCCEEDED
    running.setpoints.clear()
    yield running


def test_a_goal_is_reached_with_feedback_on_the_way(arm: Arm) -> None:
    target = HOME + [0.3, -0.2]
    near = [arm.tolerance(0.02, name=name) for name in ROBOT.channel_names]
    goal = arm.goal(target, 5.0, goal_tolerance=near)
    assert arm.result(arm.send(goal)) == (SUCCEEDED, 0, "Goal successfully reached!")
    arm.probe.wait(lambda: bool(arm.feedback), "feedback")
    arm.wait_until_still(target)
    message = arm.feedback[-1]
    assert tuple(message.joint_names) == ROBOT.channel_names
    assert np.allclose(np.subtract(message.desired.positions, message.actual.positions), message.error.positions)
    assert 0.0 <= message.desired.time_from_start.sec + 1e-9 * message.desired.time_from_start.nanosec <= 6.0


def test_one_point_is_reached_at_its_time_and_the_goal_does_not_succeed_before(arm: Arm) -> None:
    """It once succeeded at the point's time, before the arm began to move."""
    target = HOME + [0.5, 0.0]
    near = [arm.tolerance(0.005, name=name) for name in ROBOT.channel_names]
    assert arm.result(arm.send(arm.goal(target, 1.0, goal_tolerance=near, path_tolerance=near)))[0] == SUCCEEDED
    arm.probe.wait(lambda: bool(arm.feedback), "feedback")
    ways = np.array([message.desired.positions[0] for message in arm.feedback]) - HOME[0]
    since = [
        message.desired.time_from_start.sec + 1e-9 * message.desired.time_from_start.nanosec for message in arm.feedback
    ]
    assert np.allclose(ways, 0.5 * np.polyval([6.0, -15.0, 10.0, 0.0, 0.0, 0.0], since), atol=0.01)


def test_joints_may_come_in_any_order(arm: Arm) -> None:
    target = HOME + [0.2, 0.1]
    goal = arm.goal(target[::-1])
    goal.trajectory.joint_names = list(ROBOT.channel_names[::-1])
    assert arm.result(arm.send(goal))[0] == SUCCEEDED
    arm.wait_until_still(target)


def test_partial_joints_are_refused(arm: Arm) -> None:
    assert "they must be ['shoulder', 'elbow']" in arm.refusal(arm.goal(HOME[:1] + 0.1))
    assert np.allclose(arm.wait_until_still(), HOME, atol=1e-6)


def test_partial_joints_are_accepted_where_allowed_and_the_others_hold(arm: Arm) -> None:
    assert arm.probe.set_parameter("mpc", "allow_partial_joints_goal", True).successful
    try:
        assert arm.result(arm.send(arm.goal(HOME[:1] + 0.1)))[0] == SUCCEEDED
        arm.wait_until_still(HOME + [0.1, 0.0])
    finally:
        arm.probe.set_parameter("mpc", "allow_partial_joints_goal", False)


def test_a_trajectory_that_ended_in_the_past_is_refused(arm: Arm) -> None:
    assert "it ended at" in arm.refusal(arm.goal(HOME + 0.1, 1.0, stamp_s=arm.now_s() - 1.5))


def test_past_points_are_skipped(arm: Arm) -> None:
    """Of a trajectory that began earlier only the rest is followed, at its own times: a quintic between its points."""
    begin_s = arm.now_s() - 1.0
    first_s, last_s, points = 0.5, 15.0, np.stack([HOME + [-0.8, 0.0], HOME + [0.3, 0.0]])
    rest, stamp_ns = np.zeros_like(points), round(begin_s * 1e9)
    goal = arm.goal_type.Goal()
    goal.trajectory = trajectory_message(
        ROBOT.channel_names, stamp_ns, np.array([first_s, last_s]), Outputs(points, rest, rest)
    )
    assert arm.result(arm.send(goal))[0] == SUCCEEDED
    arm.wait_until_still(points[-1])
    heard = list(arm.setpoints)
    since = np.array([nanoseconds(message.header.stamp) - stamp_ns for message in heard]) * 1e-9
    late = (since > 0.6 * last_s) & (since <= last_s)  # the arm has blended into it
    s = (since[late] - first_s) / (last_s - first_s)
    expected = points[0] + (10 * s**3 - 15 * s**4 + 6 * s**5)[:, None] * (points[1] - points[0])
    followed = np.array([message.position for message in heard])[late]
    assert len(followed) > 100
    assert np.abs(followed - expected).max() < 1e-6


def test_a_trajectory_may_begin_in_the_future(arm: Arm) -> None:
    begins_s, target = arm.now_s() + 20.0, HOME + 0.1
    arm.wait_until_still(HOME)
    arm.setpoints.clear()
    assert arm.result(arm.send(arm.goal(target, 1.0, stamp_s=begins_s)))[0] == SUCCEEDED
    arm.wait_until_still(target)
    early = [each.position for each in list(arm.setpoints) if nanoseconds(each.header.stamp) < begins_s * 1e9]
    assert early and np.allclose(early, HOME, atol=1e-6)


def test_a_path_tolerance_that_is_exceeded_aborts_the_goal_and_the_arm_holds(arm: Arm) -> None:
    target = HOME + [1.0, 0.0]
    status, code, text = arm.result(arm.send(arm.goal(target, 1.0, path_tolerance=[arm.tolerance(1e-7)])))
    assert (status, code) == (ABORTED, -4)
    assert text.startswith("Aborted due to path tolerance violation: joint 'shoulder': position error")
    assert arm.wait_until_still()[0] < HOME[0] + 0.9


def test_a_wide_path_tolerance_is_kept(arm: Arm) -> None:
    goal = arm.goal(HOME + [0.5, 0.0], 1.0, path_tolerance=[arm.tolerance(0.5), arm.tolerance(0.5, name="elbow")])
    assert arm.result(arm.send(goal))[0] == SUCCEEDED


def test_an_unreached_goal_tolerance_aborts_after_the_time_tolerance(arm: Arm) -> None:
    tolerances = {"goal_tolerance": [arm.tolerance(1e-9, 1e-9)], "goal_time_tolerance": duration_message(0.5)}
    status, code, text = arm.result(arm.send(arm.goal(HOME + 0.1, 1.0, **tolerances)))
    assert (status, code) == (ABORTED, -5)
    assert text.startswith("Aborted due to goal_time_tolerance exceeding by 0.5")


def test_default_tolerances_are_parameters(arm: Arm) -> None:
    assert arm.probe.set_parameter("mpc", "constraints.trajectory", 1e-7).successful
    try:
        assert arm.result(arm.send(arm.goal(HOME + [0.5, 0.0])))[1] == -4
        free = [arm.tolerance(-1.0), arm.tolerance(-1.0, name="elbow")]
        assert arm.result(arm.send(arm.goal(HOME, 1.0, path_tolerance=free)))[0] == SUCCEEDED
    finally:
        arm.probe.set_parameter("mpc", "constraints.trajectory", 0.0)


def test_cancelled_the_arm_comes_to_rest_before_the_target(arm: Arm) -> None:
    target = HOME + [1.0, 0.0]
    handle = arm.send(arm.goal(target, 50.0))
    assert handle.accepted, arm.session.lines[-5:]
    arm.probe.wait(lambda: bool(arm.feedback), "motion")
    assert len(arm.answer(handle.cancel_goal_async, "cancellation").goals_canceling) == 1
    assert arm.result(handle) == (CANCELED, 0, "")
    assert arm.wait_until_still()[0] < target[0] - 0.05


def test_a_new_goal_replaces_the_present_one(arm: Arm) -> None:
    first = arm.send(arm.goal(HOME + [1.0, 0.0], 50.0))
    second = arm.send(arm.goal(HOME + [0.0, 0.2]))
    assert arm.result(first) == (ABORTED, -1, "Current goal cancelled due to new incoming action.")
    assert arm.result(second)[0] == SUCCEEDED
    arm.wait_until_still(HOME + [0.0, 0.2])


def test_a_rejected_goal_leaves_the_present_one(arm: Arm) -> None:
    first = arm.send(arm.goal(HOME + [0.2, 0.0], 3.0))
    assert not arm.send(arm.goal(HOME + [99.0, 0.0])).accepted
    assert arm.result(first)[0] == SUCCEEDED


def test_a_trajectory_on_the_topic_ends_the_goal(arm: Arm) -> None:
    handle = arm.send(arm.goal(HOME + [1.0, 0.0], 50.0))
    arm.topic.publish(arm.goal(HOME + [0.1, 0.1]).trajectory)
    status, code, text = arm.result(handle)
    assert (status, code) == (ABORTED, -1)
    assert "a new trajectory on mpc/joint_trajectory" in text
    arm.wait_until_still(HOME + [0.1, 0.1])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda arm, goal: goal.goal_tolerance.append(arm.tolerance(-0.5)), "allowed: above 0, 0 (the default) and -1"),
        (lambda arm, goal: goal.path_tolerance.append(arm.tolerance(0.1, name="nose")), "joint 'nose'"),
        (lambda arm, goal: goal.trajectory.points.clear(), "no points"),
        (lambda arm, goal: goal.trajectory.points[0].velocities.__setitem__(1, 0.3), "joint elbow is not zero"),
        (lambda arm, goal: goal.trajectory.points[0].positions.__setitem__(0, 9.0), "reaches 9.0000 rad"),
        (lambda arm, goal: goal.trajectory.points.append(goal.trajectory.points[0]), "times"),
    ],
)
def test_a_goal_that_cannot_be_followed_is_rejected_with_the_reason(
    arm: Arm, change: Callable[[Arm, Any], Any], why: str
) -> None:
    goal = arm.goal(HOME + 0.1)
    change(arm, goal)
    assert why in arm.refusal(goal)


def test_an_emergency_stop_ends_the_goal_and_the_next_is_rejected_until_the_gate_is_rearmed(arm: Arm) -> None:
    handle = arm.send(arm.goal(HOME + [1.0, 0.0], 50.0))
    arm.probe.wait(lambda: bool(arm.feedback), "motion")
    assert arm.probe.trigger("gate/estop").success
    assert arm.result(handle) == (ABORTED, -1, "Current goal cancelled: the gate holds the robot.")
    assert "the gate holds the robot" in arm.refusal(arm.goal(HOME))
    arm.probe.wait(lambda: arm.probe.trigger("gate/rearm").success, "a gate that can be armed")
    arm.probe.wait_state("passing")
    arm.probe.wait(lambda: arm.send(arm.goal(HOME)).accepted, "a goal that is accepted again")


def test_without_a_compiler_the_node_runs_without_the_action(
    start: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    session = start(robot="planar2", controller="computed_torque", lockstep="true", reference="tracking")
    session.probe.wait_state("passing")
    session.probe.wait(lambda: session.said("no action ~/follow_joint_trajectory: no gcc"), "the reason")
    assert sum("no action ~/follow_joint_trajectory" in line for line in session.lines) == 1
    session.finish()
