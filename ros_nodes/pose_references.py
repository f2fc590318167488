# SPDX-License-Identifier: Apache-2.0
"""References and plans of a base as poses in the world, as a part of an interface.

topic (as launched)              type                             from → to
/mpc/reference                   trajectory_msgs/MultiDOFJointTrajectory  reference → mpc: position and yaw, in
                                 `odom`
/mpc/reference_path              nav_msgs/Path                    → mpc: the same; the poses' stamps are its times
/mpc/plan                        nav_msgs/Path                    mpc: the controller's plan
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, Transform, Twist
from nav_msgs.msg import Path
from numpy.typing import NDArray
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from metarl_robot.core import rotation
from metarl_robot.core.errors import SignalError
from metarl_robot.core.signals import Plan
from metarl_robot.ros_nodes.base_messages import BaseMessages
from metarl_robot.ros_nodes.convert import duration_message, listed, nanoseconds, stamp_of, time_message
from metarl_robot.ros_nodes.geometry import quaternion_message, set_point, vector_message, wxyz, xyz
from metarl_robot.ros_nodes.interface import JointRules, ReferencePoints
from metarl_robot.safety.input_validation import NORM_TOLERANCE
from metarl_robot.trajectories.flat_outputs import Outputs

Array = NDArray[np.float64]

_OUTPUTS = 4  # x, y, z, yaw


class PoseReferences(BaseMessages):
    """References and plans of a base.

    output_columns: the robot's flat outputs, as columns of (x, y, z [m; world], yaw [rad]).
    """

    output_columns: tuple[int, ...] = (0, 1, 2, 3)
    plan_type = Path
    reference_type = MultiDOFJointTrajectory
    reference_topic = "mpc/reference"
    path_topic = "mpc/reference_path"

    def plan(self, stamp_ns: int, plan: Plan) -> Path:
        message = Path()
        world = self._frames.world.name
        message.header.stamp, message.header.frame_id = time_message(stamp_ns), world
        for time, q in zip(plan.times, map(self._base.pose, plan.q), strict=True):
            pose = PoseStamped()
            pose.header.stamp, pose.header.frame_id = time_message(stamp_of(float(time))), world
            set_point(pose.pose.position, q[:3])
            pose.pose.orientation = quaternion_message(q[3:])
            message.poses.append(pose)
        return message

    def read_plan(self, message: Path) -> Array:
        poses = (pose.pose for pose in message.poses)
        return np.array([self._base.q(np.array([*xyz(p.position), *wxyz(p.orientation)])) for p in poses])

    def references(
        self, rules: Callable[[], JointRules] = JointRules
    ) -> tuple[tuple[Any, str, Callable[[Any], ReferencePoints]], ...]:
        return (
            (MultiDOFJointTrajectory, self.reference_topic, self._read_trajectory),
            (Path, self.path_topic, self._read_path),
        )

    def _read_trajectory(self, message: MultiDOFJointTrajectory) -> ReferencePoints:
        self._frames.world.check("reference", "frame_id", message.header.frame_id)
        if list(message.joint_names) not in ([], [self._frames.base.name]):
            raise SignalError(
                f"reference: joint_names are {listed(message.joint_names)}; must be ['{self._frames.base.name}']"
            )
        if not message.points or any(len(point.transforms) != 1 for point in message.points):
            raise SignalError("reference: needs points with one transform each")
        poses = [(t.translation, t.rotation) for t in (point.transforms[0] for point in message.points)]
        since_ns = np.array([nanoseconds(point.time_from_start) for point in message.points], dtype=np.int64)
        velocities, accelerations = (self._twists(message, field) for field in ("velocities", "accelerations"))
        return ReferencePoints(
            nanoseconds(message.header.stamp),
            since_ns,
            Outputs(self._picked(_outputs(poses)), velocities, accelerations),
        )

    def _twists(self, message: MultiDOFJointTrajectory, field: str) -> Array | None:
        lists = [getattr(point, field) for point in message.points]
        if not any(lists):
            return None
        for number, twists in enumerate(lists):
            if len(twists) != 1:
                raise SignalError(
                    f"reference: point {number} has {len(twists)} {field}; either every point has one, or none has"
                )
        return self._picked(np.array([[t.linear.x, t.linear.y, t.linear.z, t.angular.z] for (t,) in lists]))

    def _picked(self, outputs: Array) -> Array:
        """The robot's flat outputs (K, m) among positions and yaw (K, 4)."""
        return np.ascontiguousarray(outputs[:, list(self.output_columns)])

    def _all(self, outputs: Array) -> Array:
        """Positions and yaw (K, 4), or their rates; 0 where the robot's flat outputs (K, m) have none."""
        every = np.zeros((len(outputs), _OUTPUTS))
        every[:, list(self.output_columns)] = outputs
        return every

    def _read_path(self, message: Path) -> ReferencePoints:
        self._frames.world.check("path", "frame_id", message.header.frame_id)
        if not message.poses:
            raise SignalError("path: no poses")
        stamps = np.array([nanoseconds(pose.header.stamp) for pose in message.poses], dtype=np.int64)
        if len(stamps) > 1 and not np.all(np.diff(stamps) > 0):
            raise SignalError(
                "path: every pose needs a stamp, the time to be there, later than that of the pose before"
            )
        poses = [(pose.pose.position, pose.pose.orientation) for pose in message.poses]
        return ReferencePoints(int(stamps[0]), stamps - stamps[0], Outputs(self._picked(_outputs(poses)), None, None))

    def reference(self, stamp_ns: int, since_s: Array, points: Outputs) -> MultiDOFJointTrajectory:
        message = MultiDOFJointTrajectory(joint_names=[self._frames.base.name])
        message.header.stamp, message.header.frame_id = time_message(stamp_ns), self._frames.world.name
        rates = [
            (field, self._all(values))
            for field, values in (("velocities", points.velocities), ("accelerations", points.accelerations))
            if values is not None
        ]
        for k, y in enumerate(self._all(points.positions)):
            turned = quaternion_message(rotation.from_yaw(y[3]))
            point = MultiDOFJointTrajectoryPoint(
                transforms=[Transform(translation=vector_message(y[:3]), rotation=turned)],
                time_from_start=duration_message(float(since_s[k])),
            )
            for field, values in rates:
                setattr(point, field, [_twist(values[k])])
            message.points.append(point)
        return message


def _outputs(poses: list[tuple[Any, Any]]) -> Array:
    """Positions and yaw, (K, 4)."""
    attitudes = np.array([[r.w, r.x, r.y, r.z] for _, r in poses])
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(attitudes, axis=1)
    if not np.all(np.abs(norms - 1.0) <= NORM_TOLERANCE):  # also false for NaN
        worst = int(np.argmax(np.nan_to_num(np.abs(norms - 1.0), nan=np.inf)))
        raise SignalError(
            f"reference: point {worst} has a rotation of norm {norms[worst]:.4g}; allowed: 1 ± {NORM_TOLERANCE}"
        )
    return np.concatenate([np.array([[p.x, p.y, p.z] for p, _ in poses]), rotation.yaw(attitudes)[:, None]], axis=1)


def _twist(rates: Array) -> Twist:
    """Rates (4,) of position and yaw as a message."""
    return Twist(linear=vector_message(rates[:3]), angular=vector_message(np.array([0.0, 0.0, rates[3]])))
