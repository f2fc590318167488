# SPDX-License-Identifier: Apache-2.0
"""Conversions between ROS messages and arrays.

Joints are matched by name, never by index. A message that does not fit raises SignalError.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import InertiaStamped
from numpy.typing import NDArray
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from metarl_robot.core.errors import SignalError
from metarl_robot.core.signals import Context, Plan, State
from metarl_robot.core.tables import NANOSECONDS, Table
from metarl_robot.safety.refusals import Rejection, shortened
from metarl_robot.trajectories.flat_outputs import Outputs

Array = NDArray[np.float64]

_FIRST_NS, _LAST_NS = -(2**31) * NANOSECONDS, 2**31 * NANOSECONDS - 1  # range of a message's stamp
_MOST_NAMES = 12  # names quoted in a text
_MIN_PAYLOAD_KG = 1e-3  # smallest mass with a meaningful centre of mass

MASS = "payload_mass_kg"
MOMENTS = tuple(f"payload_moment_{axis}_kg_m" for axis in "xyz")
INERTIAS = tuple(f"payload_inertia_{axes}_kg_m2" for axes in ("xx", "yy", "zz", "xy", "xz", "yz"))


class UnusableError(SignalError):
    """A message cannot be used. why: its reason in /diagnostics."""

    def __init__(self, why: Rejection, text: str) -> None:
        super().__init__(text)
        self.why = why


class NamesError(UnusableError):
    """A message lacks a joint, or its lists differ in length."""

    def __init__(self, text: str) -> None:
        super().__init__(Rejection.NAMES, text)


def nanoseconds(stamp: Time | Duration) -> int:
    """A stamp or duration in nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def time_message(stamp_ns: int) -> Time:
    """Nanoseconds as a stamp, clipped to the range of a message."""
    seconds, rest = divmod(min(max(stamp_ns, _FIRST_NS), _LAST_NS), NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def duration_message(seconds: float) -> Duration:
    """Seconds as a duration. Raises SignalError."""
    whole, rest = divmod(stamp_of(seconds), NANOSECONDS)
    return Duration(sec=whole, nanosec=rest)


def stamp_of(seconds: float) -> int:
    """Seconds as nanoseconds, clipped to the range of a message. Raises SignalError."""
    if not isfinite(seconds):
        raise SignalError(f"a time is {seconds}; must be finite [s]")
    if abs(seconds) >= _LAST_NS / NANOSECONDS:
        return _LAST_NS if seconds > 0.0 else _FIRST_NS
    return round(seconds * NANOSECONDS)


def listed(names: Sequence[str]) -> str:
    """A short list of names for a message to the user."""
    quoted = ", ".join(f"'{shortened(str(name), 60)}'" for name in names[:_MOST_NAMES])
    return f"[{quoted}{f', … {len(names)} in all' if len(names) > _MOST_NAMES else ''}]"


class JointOrder:
    """Picks a robot's joints out of messages, in the robot's order.

    It caches the order for the last message's names, which rarely change.
    """

    def __init__(self, joint_names: Sequence[str]) -> None:
        self._joints = tuple(joint_names)
        self._names: list[str] | None = None
        self._order: list[int] = []

    def concerns(self, names: Sequence[str]) -> bool:
        """Whether a message is the robot's.

        It is if it has one of the robot's joints, or if no complete message of the robot has come yet.
        """
        return self._names is None or names == self._names or any(joint in names for joint in self._joints)

    def pick(self, names: Sequence[str], values: Sequence[float], what: str) -> Array:
        """Values in the robot's order, (n,). Raises NamesError."""
        if list(names) != self._names:
            missing = [joint for joint in self._joints if joint not in names]
            if missing:
                raise NamesError(f"{what}: no joint '{missing[0]}' among {listed(names)}")
            if len(set(names)) != len(names):
                raise NamesError(f"{what}: a joint is named twice: {listed(names)}")
            self._order = [list(names).index(joint) for joint in self._joints]
            self._names = list(names)
        if len(values) != len(names):
            raise NamesError(f"{what}: {len(values)} values for {len(names)} joints")
        return np.array(values, dtype=np.float64)[self._order]


def state_of(message: JointState, order: JointOrder) -> State:
    """Position and velocity of a joint state, in the robot's order; ignores extra joints and efforts.

    Raises:
        NamesError: a joint or its velocity is missing.
    """
    q = order.pick(message.name, message.position, "joint state, position")
    return State(q, order.pick(message.name, message.velocity, "joint state, velocity"))


def effort_of(message: JointState, order: JointOrder) -> Array:
    """Efforts (n,) of a command from the mpc node. Raises NamesError."""
    return order.pick(message.name, message.effort, "command, effort")


def joint_state(
    names: Sequence[str],
    stamp_ns: int,
    q: Array | None = None,
    v: Array | None = None,
    effort: Array | None = None,
    frame: str = "",
) -> JointState:
    """A joint state with the given fields."""
    message = JointState(name=list(names))
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), frame
    for field, values in (("position", q), ("velocity", v), ("effort", effort)):
        if values is not None:
            setattr(message, field, _doubles(values))
    return message


def table_message(table: Table) -> Float64MultiArray:
    """A named table as a message; see metarl_robot.core.tables."""
    message = Float64MultiArray(data=_doubles(table.values.ravel()))
    sizes = table.values.shape
    message.layout.dim = [
        MultiArrayDimension(label=table.labels[0], size=sizes[0], stride=sizes[0] * sizes[1]),
        MultiArrayDimension(label=table.labels[1], size=sizes[1], stride=sizes[1]),
    ]
    return message


class JointRules(NamedTuple):
    """Joints that a trajectory may name, apart from exactly the robot's.

    partial: some may be missing; they hold. extra: others (a gripper's) may be present; they are ignored.
    """

    partial: bool = False
    extra: bool = False


EXACTLY = JointRules()


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
        raise SignalError(f"reference: joints are {names}; they must be {expected}, in any order{hint}")


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


def trajectory_message(names: Sequence[str], stamp_ns: int, times: Array, points: Outputs) -> JointTrajectory:
    """Points at `times` (K,) [s after the stamp] as a trajectory message."""
    message = JointTrajectory(joint_names=list(names))
    message.header.stamp = time_message(stamp_ns)
    for k, time in enumerate(times):
        point = JointTrajectoryPoint(
            positions=_doubles(points.positions[k]), time_from_start=duration_message(float(time))
        )
        for field, values in (("velocities", points.velocities), ("accelerations", points.accelerations)):
            if values is not None:
                setattr(point, field, _doubles(values[k]))
        message.points.append(point)
    return message


def plan_message(names: Sequence[str], stamp_ns: int, plan: Plan) -> JointTrajectory:
    """A controller's plan as a message; times relative to the stamp, efforts where the plan has them."""
    message = JointTrajectory(joint_names=list(names))
    message.header.stamp = time_message(stamp_ns)
    start = stamp_ns / NANOSECONDS
    for k, time in enumerate(plan.times):
        point = JointTrajectoryPoint(positions=_doubles(plan.q[k]), velocities=_doubles(plan.v[k]))
        if k < len(plan.effort):
            point.effort = _doubles(plan.effort[k])
        point.time_from_start = duration_message(max(0.0, float(time) - start))
        message.points.append(point)
    return message


def context_table(stamp_ns: int, context: Context) -> Table:
    """The adapter's estimate: rows mean and std, one column for each entry."""
    return Table(stamp_ns, ("mean", "std"), context.names, np.stack([context.mean, context.std]))


def payload_message(frame: str, stamp_ns: int, context: Context) -> InertiaStamped | None:
    """The payload in a context: mass, centre of mass, inertia about the centre of mass, in the payload frame's axes.

    The context holds moments about the frame's origin (mass times centre; inertia). None if it has no payload.
    """
    if MASS not in context.names:
        return None
    mass = context[MASS][0]
    moment = np.array([context[name][0] if name in context.names else 0.0 for name in MOMENTS])
    xx, yy, zz, xy, xz, yz = (context[name][0] if name in context.names else 0.0 for name in INERTIAS)
    com = moment / mass if mass > _MIN_PAYLOAD_KG else np.zeros(3)
    about_origin = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    about_com = about_origin - mass * (com @ com * np.eye(3) - np.outer(com, com))
    message = InertiaStamped()
    message.header.stamp, message.header.frame_id = time_message(stamp_ns), frame
    inertia = message.inertia
    inertia.m = mass
    inertia.com.x, inertia.com.y, inertia.com.z = (float(x) for x in com)
    inertia.ixx, inertia.ixy, inertia.ixz = (float(x) for x in about_com[0])
    inertia.iyy, inertia.iyz, inertia.izz = float(about_com[1, 1]), float(about_com[1, 2]), float(about_com[2, 2])
    return message


def status_message(name: str, level: bytes, text: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """One entry of /diagnostics."""
    pairs = [KeyValue(key=key, value=_text(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=text, values=pairs)


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _doubles(values: Array) -> array[float]:
    return array("d", np.ascontiguousarray(values, dtype=np.float64).tobytes())
