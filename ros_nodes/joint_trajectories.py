# SPDX-License-Identifier: Apache-2.0
"""References and plans of joints as trajectory_msgs/JointTrajectory, as a part of an interface.

    topic (as launched)              type                             from → to
    /mpc/joint_trajectory            trajectory_msgs/JointTrajectory  reference → mpc
    /mpc/plan                        trajectory_msgs/JointTrajectory  mpc: the controller's plan

Joints are matched by name, never by index. A message that does not fit raises SignalError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from metarl_robot.core.errors import SignalError, shown
from metarl_robot.core.signals import Plan
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.ros_nodes.convert import doubles, duration_message, nanoseconds, time_message
from metarl_robot.ros_nodes.interface import JointRules, Part, ReferencePoints
from metarl_robot.trajectories.flat_outputs import Outputs

Array = NDArray[np.float64]

EXACTLY = JointRules()


class JointTrajectories(Part):
    """References and plans of a robot whose flat outputs are its joints."""

    plan_type = reference_type = JointTrajectory
    reference_topic = "mpc/joint_trajectory"
    follows_goals = True

    def plan(self, stamp_ns: int, plan: Plan) -> JointTrajectory:
        return plan_message(self._names, stamp_ns, plan)

    def read_plan(self, message: JointTrajectory) -> Array:
        return np.array([point.positions for point in message.points], dtype=np.float64)

    def references(
        self, rules: Callable[[], JointRules] = JointRules
    ) -> tuple[tuple[Any, str, Callable[[Any], ReferencePoints]], ...]:
        return ((JointTrajectory, self.reference_topic, lambda message: self._read_reference(message, rules())),)

    def _read_reference(self, message: JointTrajectory, rules: JointRules) -> ReferencePoints:
        since_ns, points = trajectory_arrays(message, self._names, rules)
        missing = [name for name in self._names if name not in message.joint_names]
        extra = [name for name in message.joint_names if name not in self._names]
        remarks = (
            *([f"joints {missing} hold"] if missing else ()),
            *([f"joints {extra} are ignored"] if extra else ()),
        )
        return ReferencePoints(nanoseconds(message.header.stamp), since_ns, points, remarks)

    def reference(self, stamp_ns: int, since_s: Array, points: Outputs) -> JointTrajectory:
        return trajectory_message(self._names, stamp_ns, since_s, points)


def trajectory_arrays(
    message: JointTrajectory, joint_names: Sequence[str], rules: JointRules = EXACTLY
) -> tuple[NDArray[np.int64], Outputs]:
    """Convert a trajectory to (times since its start (K,) [ns], its points), in the robot's order.

    Times are whole nanoseconds, so that one instant is the same number in two messages with different stamps.

    Velocities and accelerations are None if no point has them. Rows are NaN for points without them. The positions of
    a missing joint are a column of NaN.

    Raises:
        SignalError: other joints than the rules allow, or a point with the wrong number of values.
    """
    names, expected = list(message.joint_names), list(joint_names)
    _check_joints(names, expected, rules)
    if not message.points:
        raise SignalError("reference: no points")
    order = [names.index(joint) if joint in names else -1 for joint in expected]
    times = np.array([nanoseconds(point.time_from_start) for point in message.points], dtype=np.int64)
    positions = _point_values(message.points, "positions", len(names), optional=False)
    if positions is None:
        raise SignalError("reference: its points have no positions")
    rates = (
        _point_values(message.points, field, len(names), optional=True) for field in ("velocities", "accelerations")
    )
    velocities, accelerations = (None if values is None else _in_order(values, order, 0.0) for values in rates)
    return times, Outputs(_in_order(positions, order, np.nan), velocities, accelerations)


def _check_joints(names: list[str], expected: list[str], rules: JointRules) -> None:
    missing, extra = set(expected) - set(names), set(names) - set(expected)
    if (
        missing == set(expected)
        or (missing and not rules.partial)
        or (extra and not rules.extra)
        or len(set(names)) != len(names)
    ):
        remedies = [
            *(["for some of them, allow_partial_joints_goal lets the others hold"] if missing else ()),
            *(["others are ignored with ignore_extra_joints"] if extra else ()),
        ]
        hint = "".join(f"; {remedy}" for remedy in remedies)
        raise SignalError(f"reference: joints are {shown(names, 400)}; they must be {expected}, in any order{hint}")


def _point_values(points: Sequence[JointTrajectoryPoint], field: str, count: int, optional: bool) -> Array | None:
    lists = [getattr(point, field) for point in points]
    if not any(len(values) for values in lists):
        return None
    for number, values in enumerate(lists):
        if len(values) != count and not (optional and len(values) == 0):
            raise SignalError(f"reference: point {number} has {len(values)} {field}; the robot has {count} joints")
    table = np.array([values if len(values) else [np.nan] * count for values in lists], dtype=np.float64)
    for broken in np.flatnonzero(~np.isfinite(table).all(axis=1)).tolist():
        if len(lists[broken]):
            raise SignalError(f"reference: point {broken}: {field} hold a value that is not finite")
    return table


def _in_order(values: Array, order: list[int], missing: float) -> Array:
    """Columns in the robot's order.

    Columns of missing joints (-1) are filled with `missing`.
    """
    picked = values[:, order]
    picked[:, np.array(order) < 0] = missing
    return picked


def end_ns(message: JointTrajectory) -> int | None:
    """The time of a trajectory's last point [ns]; None if it begins on arrival (stamp 0) or has no points."""
    begin_ns = nanoseconds(message.header.stamp)
    return begin_ns + nanoseconds(message.points[-1].time_from_start) if begin_ns and message.points else None


def trajectory_message(names: Sequence[str], stamp_ns: int, times: Array, points: Outputs) -> JointTrajectory:
    """Points at `times` (K,) [s after the stamp] as a trajectory message."""
    message = JointTrajectory(joint_names=list(names))
    message.header.stamp = time_message(stamp_ns)
    for k, time in enumerate(times):
        point = JointTrajectoryPoint(
            positions=doubles(points.positions[k]), time_from_start=duration_message(float(time))
        )
        for field, values in (("velocities", points.velocities), ("accelerations", points.accelerations)):
            if values is not None:
                setattr(point, field, doubles(values[k]))
        message.points.append(point)
    return message


def plan_message(names: Sequence[str], stamp_ns: int, plan: Plan) -> JointTrajectory:
    """A controller's plan as a message; times relative to the stamp, efforts where the plan has them."""
    message = JointTrajectory(joint_names=list(names))
    message.header.stamp = time_message(stamp_ns)
    start = stamp_ns / NANOSECONDS
    for k, time in enumerate(plan.times):
        point = JointTrajectoryPoint(positions=doubles(plan.q[k]), velocities=doubles(plan.v[k]))
        if k < len(plan.effort):
            point.effort = doubles(plan.effort[k])
        point.time_from_start = duration_message(max(0.0, float(time) - start))
        message.points.append(point)
    return message
