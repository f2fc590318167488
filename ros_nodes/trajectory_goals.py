# SPDX-License-Identifier: Apache-2.0
"""Action server ~/follow_joint_trajectory (control_msgs/action/FollowJointTrajectory) of the mpc node.

MoveIt and other clients of joint_trajectory_controller drive the robot through it. Its rules are those of that
controller (ros2_controllers, Jazzy):

- A goal that cannot be followed is rejected; ~/reference_status and the log give the reason.
- A new goal, or a trajectory on the reference topic, ends the present goal. Its status is then ABORTED, because an
  action's goal can be CANCELED only on its client's request.
- Path and goal tolerances: trajectories/goal_tolerances.py. A goal that fails or is cancelled leaves the robot at
  rest. After a success the robot stays at the last point.
- Feedback comes at 20 Hz.

The goal is judged in the control step, at each state; no coroutine waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from control_msgs.action import FollowJointTrajectory
from numpy.typing import NDArray
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from metarl_robot.core.errors import SignalError
from metarl_robot.core.signals import Reference, Setpoints, State
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.ros_nodes.convert import doubles, duration_message, nanoseconds, stamp_of, time_message
from metarl_robot.ros_nodes.guarded import RCLError
from metarl_robot.ros_nodes.managed import ManagedNode
from metarl_robot.trajectories.goal_tolerances import (
    GoalCheck,
    GoalCode,
    GoalTolerances,
    JointLimit,
    Outcome,
)
from metarl_robot.trajectories.reference_manager import Taken

Array = NDArray[np.float64]
ACTION = "~/follow_joint_trajectory"
FEEDBACK_PERIOD_S = 0.05
_MOVES = 1e-6  # a slower last point is at rest [rad/s, m/s]


class GoalHooks(NamedTuple):
    """Functions of the node.

    follow: takes a trajectory as the reference; None if it is refused, which the node reports. hold: brakes to rest.
    defaults: tolerances.
    """

    follow: Callable[[JointTrajectory], Taken | None]
    hold: Callable[[], None]
    defaults: Callable[[], GoalTolerances]


class _Server(ActionServer):
    """An action server whose goals end by `finish` instead of by the return of a callback."""

    def notify_execute(self, goal_handle: Any, execute_callback: Any) -> None:
        """Called when a goal begins to execute: nothing to run."""

    def finish(self, goal_handle: Any, result: Any) -> None:
        """Send the result of a goal in a terminal state."""
        super().notify_execute(goal_handle, lambda _: result)


class _Running(NamedTuple):
    """The goal that is followed, and the reference's first time [s]."""

    handle: Any
    check: GoalCheck
    begins_s: float


class TrajectoryGoals:
    """The action server and its goal, of which there is at most one."""

    def __init__(self, node: ManagedNode, names: tuple[str, ...], hooks: GoalHooks) -> None:
        self._node, self._names, self._hooks = node, names, hooks
        self._offered: tuple[GoalCheck, float] | None = None
        self._running: _Running | None = None
        self._feedback: FollowJointTrajectory.Feedback | None = None
        self._server = _Server(
            node,
            FollowJointTrajectory,
            ACTION,
            lambda handle: FollowJointTrajectory.Result(),
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
        )
        self._timer = node.every(FEEDBACK_PERIOD_S, self._on_timer)

    def destroy(self) -> None:
        """Abort the goal and end the server."""
        self.stop("Current goal cancelled during deactivate transition.")
        self._node.destroy_timer(self._timer)
        self._server.destroy()

    def judge(self, time_s: float, state: State, reference: Reference) -> None:
        """Compare a state with the reference at its time, and end the goal if it is over."""
        running = self._running
        if running is None or running.handle.is_cancel_requested:
            return
        desired = reference.sample(np.array([time_s]))
        position, velocity = desired.q[0] - state.q, desired.v[0] - state.v
        self._feedback = self._feedback_message(time_s, running.begins_s, state, desired)
        outcome = running.check.judge(time_s, position, velocity)
        if outcome is None:
            return
        if outcome.code is not GoalCode.SUCCESSFUL:
            self._hooks.hold()
        self._end(outcome)

    def stop(self, why: str) -> None:
        """Abort the goal, if there is one: something else commands the robot now."""
        if self._running is not None:
            self._end(Outcome(GoalCode.INVALID_GOAL, why))

    def _on_goal(self, goal: FollowJointTrajectory.Goal) -> GoalResponse:
        try:
            tolerances = self._tolerances(goal)
            _check_goal(goal)
            taken = self._hooks.follow(goal.trajectory)
        except SignalError as error:
            self._node.get_logger().warning(f"goal rejected: {error}")
            return GoalResponse.REJECT
        except Exception as error:
            self._node.fault(ACTION, error)
            return GoalResponse.REJECT
        if taken is None:
            return GoalResponse.REJECT
        self._offered = GoalCheck(self._names, tolerances, taken.ends_s), taken.begins_s
        return GoalResponse.ACCEPT

    def _on_accepted(self, handle: Any) -> None:
        self.stop("Current goal cancelled due to new incoming action.")
        if self._offered is not None:
            self._running, self._offered = _Running(handle, *self._offered), None
        handle.execute()

    def _on_cancel(self, handle: Any) -> CancelResponse:
        if self._running is None or handle != self._running.handle:
            return CancelResponse.REJECT
        self._node.get_logger().info("goal cancelled: the robot comes to rest")
        self._hooks.hold()
        return CancelResponse.ACCEPT

    def _on_timer(self) -> None:
        """Publish feedback; end a goal whose cancellation was accepted since."""
        if self._running is None:
            return
        handle = self._running.handle
        if handle.is_cancel_requested:
            self._end(Outcome(GoalCode.SUCCESSFUL, ""))
        elif self._feedback is not None:
            handle.publish_feedback(self._feedback)

    def _end(self, outcome: Outcome) -> None:
        running, self._running, self._feedback = self._running, None, None
        if running is None:
            return
        try:
            if running.handle.is_cancel_requested:
                running.handle.canceled()
            elif outcome.code is GoalCode.SUCCESSFUL:
                running.handle.succeed()
            else:
                running.handle.abort()
        except RCLError as error:  # its client or its time has gone
            self._node.refuse(f"goal ends: {error}")
        self._node.get_logger().info(f"goal ends: {outcome.text or 'cancelled'}")
        result = FollowJointTrajectory.Result(error_code=int(outcome.code), error_string=outcome.text)
        self._server.finish(running.handle, result)

    def _tolerances(self, goal: FollowJointTrajectory.Goal) -> GoalTolerances:
        """The defaults, changed by a goal. Raises SignalError."""
        defaults = self._hooks.defaults()
        path = defaults.path.changed(self._names, _limits(goal.path_tolerance), "path_tolerance")
        reached = defaults.goal.changed(self._names, _limits(goal.goal_tolerance), "goal_tolerance")
        given_s = nanoseconds(goal.goal_time_tolerance) / NANOSECONDS
        return GoalTolerances(path, reached, defaults.time_s).with_time(given_s)

    def _feedback_message(
        self, time_s: float, begins_s: float, state: State, desired: Setpoints
    ) -> FollowJointTrajectory.Feedback:
        since = duration_message(max(time_s - begins_s, 0.0))
        message = FollowJointTrajectory.Feedback(joint_names=list(self._names))
        message.header.stamp = time_message(stamp_of(time_s))
        q, v = desired.q[0], desired.v[0]
        message.desired = JointTrajectoryPoint(
            positions=doubles(q), velocities=doubles(v), accelerations=doubles(desired.a[0]), time_from_start=since
        )
        message.actual = _point(state.q, state.v, since)
        message.error = _point(q - state.q, v - state.v, since)
        return message


def _point(q: Array, v: Array, since: Any) -> JointTrajectoryPoint:
    return JointTrajectoryPoint(positions=doubles(q), velocities=doubles(v), time_from_start=since)


def _limits(given: Any) -> list[JointLimit]:
    return [JointLimit(each.name, each.position, each.velocity) for each in given]


def _check_goal(goal: FollowJointTrajectory.Goal) -> None:
    """Raise SignalError for what a trajectory on a topic may be and a goal may not."""
    multi = goal.multi_dof_trajectory.points or goal.component_path_tolerance or goal.component_goal_tolerance
    if multi:
        raise SignalError(
            "joints with several degrees of freedom (multi_dof_trajectory, component_*) are not supported"
        )
    last = goal.trajectory.points[-1].velocities if goal.trajectory.points else ()
    moving = [name for name, speed in zip(goal.trajectory.joint_names, last, strict=False) if abs(speed) > _MOVES]
    if moving:
        raise SignalError(f"Velocity of last trajectory point of joint {moving[0]} is not zero")
