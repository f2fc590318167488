# SPDX-License-Identifier: Apache-2.0
"""States of joints in a sensor_msgs/JointState, matched by name in any order, as a part of an interface.

    topic (as launched)              type                             from → to
    /joint_states                    sensor_msgs/JointState           plant or driver → mpc, gate
    /dynamic_joint_states            control_msgs/DynamicJointState   driver → mpc, gate: instead of /joint_states, with
                                                                      the option dynamic_joint_states
    /mpc/setpoint                    sensor_msgs/JointState           mpc: the reference at each state's stamp

Joint states without any joint of the robot come from another device and are dropped once the robot's own have come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState

from metarl_robot.core.signals import State
from metarl_robot.core.turns import Unwrapped
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import UnusableError, doubles, listed, nanoseconds, time_message
from metarl_robot.ros_nodes.interface import DEFAULT, MakePublisher, OnInertial, OnState, Part, stamp_reader
from metarl_robot.ros_nodes.message_options import MessageOptions
from metarl_robot.ros_nodes.messages.build import Say
from metarl_robot.ros_nodes.messages.provide import provide
from metarl_robot.safety.refusals import Rejection

Array = NDArray[np.float64]

JOINT_STATES, DYNAMIC_JOINT_STATES = "joint_states", "dynamic_joint_states"


class NamesError(UnusableError):
    """A message lacks a joint, or its lists differ in length."""

    def __init__(self, text: str) -> None:
        super().__init__(Rejection.NAMES, text)


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
    """Efforts (n,) of a command to the gate. Raises NamesError."""
    return order.pick(message.name, message.effort, "command, effort")


def measured_effort(message: JointState, order: JointOrder) -> Array:
    """Efforts (n,) of a joint state. Raises NamesError."""
    return order.pick(message.name, message.effort, "joint state, effort")


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
            setattr(message, field, doubles(values))
    return message


def joint_state_of(message: Any, joints: Sequence[str]) -> JointState:
    """A control_msgs/DynamicJointState as a joint state of the given joints; efforts if all of them have one.

    Raises:
        NamesError: a joint is missing, or has no position or velocity.
    """
    names, found = list(message.joint_names), JointState(name=list(joints))
    if len(names) != len(message.interface_values):
        raise NamesError(f"dynamic joint state: {len(message.interface_values)} values for {len(names)} joints")
    values = {
        name: dict(zip(each.interface_names, each.values, strict=False))
        for name, each in zip(names, message.interface_values, strict=True)
    }
    for joint in joints:
        if joint not in values:
            raise NamesError(f"dynamic joint state: no joint '{joint}' among {listed(names)}")
        lacking = [field for field in ("position", "velocity") if field not in values[joint]]
        if lacking:
            raise NamesError(
                f"dynamic joint state: joint '{joint}' has no '{lacking[0]}' among {sorted(values[joint])}"
            )
    for field in ("position", "velocity", "effort"):
        if all(field in values[joint] for joint in joints):
            setattr(found, field, [values[joint][field] for joint in joints])
    found.header = message.header
    return found


def _dynamic_joint_state(say: Say = lambda text: None) -> Any:
    """The class control_msgs/DynamicJointState. say: is told before its package is built."""
    provide("control_msgs", say)
    from control_msgs.msg import DynamicJointState

    return DynamicJointState


class JointStates(Part):
    """Measured states and setpoints of joints, as a part of an interface.

    on_effort: called before each state with a function that reads the measured efforts (n,); None: they are ignored.
    """

    on_effort: Callable[[Callable[[], Array]], None] | None = None

    state_topic = JOINT_STATES
    setpoint_type = JointState

    def __init__(self, robot: Any, options: MessageOptions = DEFAULT) -> None:
        super().__init__(robot, options)
        self._turns = robot.home, robot.endless
        if options.dynamic_joint_states:
            self.state_topic = DYNAMIC_JOINT_STATES
        self._states, self._setpoints, self._efforts = (JointOrder(self._names) for _ in range(3))

    def listen(
        self, node: Node, on_state: OnState, lockstep: bool, on_inertial: OnInertial | None = None
    ) -> list[Subscription]:
        return [self.watch(node, on_state)]

    @property
    def measurements(self) -> tuple[tuple[Any, str], ...]:
        dynamic = ((_dynamic_joint_state(), DYNAMIC_JOINT_STATES),) if self._options.dynamic_joint_states else ()
        return ((JointState, JOINT_STATES), *dynamic)

    def watch(self, node: Node, on_state: OnState) -> Subscription:
        stamp, unwrapped = stamp_reader(node, self._options), Unwrapped(*self._turns)

        def offer(message: Any, names: Sequence[str], joints: Callable[[], JointState]) -> None:
            if self._states.concerns(names):
                if self.on_effort is not None:
                    self.on_effort(lambda: measured_effort(joints(), self._efforts))
                on_state(stamp(message), lambda: unwrapped.state(state_of(joints(), self._states)))

        def take(message: JointState) -> None:
            offer(message, message.name, lambda: message)

        def take_dynamic(message: Any) -> None:
            offer(message, message.joint_names, lambda: joint_state_of(message, self._names))

        if not self._options.dynamic_joint_states:
            return node.create_subscription(JointState, self.state_topic, take, topics.STATE_IN)
        kind = _dynamic_joint_state(node.get_logger().info)
        return node.create_subscription(kind, self.state_topic, take_dynamic, topics.STATE_IN)

    def speaker(self, make: MakePublisher) -> Callable[[int, State, Array], None]:
        out = make(JointState, JOINT_STATES, topics.STATE_OUT)

        def speak(stamp_ns: int, state: State, effort: Array) -> None:
            out.publish(joint_state(self._names, stamp_ns, state.q, state.v, effort))

        return speak

    def setpoint(self, stamp_ns: int, q: Array, v: Array) -> JointState:
        return joint_state(self._names, stamp_ns, q, v)

    def read_setpoint(self, message: JointState) -> tuple[int, Array, Array]:
        state = state_of(message, self._setpoints)
        return nanoseconds(message.header.stamp), state.q, state.v
