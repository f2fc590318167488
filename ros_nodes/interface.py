# SPDX-License-Identifier: Apache-2.0
"""Conversions between the nodes' data and the ROS messages of a robot.

A kind of robot names the interface of its messages (`Robot.interface`). It is loaded by name, also from another
package. Interfaces of different kinds differ in their topics, in the messages that form a state and in the form of a
reference. The nodes use the interface only.

Parts for an interface, to inherit from:

    JointStates        states in a JointState                           joint_states.py
    OdometryStates     states in an Odometry, with or without an Imu    odometry.py
    JointTrajectories  references and plans of joints                   joint_trajectories.py
    PoseReferences     references and plans as poses in the world       pose_references.py
    TableCommands      commands to the gate in a named table            table_commands.py

A point on a plane whose flat outputs are its two positions, for example:

    class PointInterface(OdometryStates, PoseReferences, TableCommands):
        commands = "force_controller/commands"
        measures_inertia = False
        output_columns = (0, 1)

A state arrives as its stamp and a function that reads it, because a message that cannot be read also has a stamp. The
function raises UnusableError. With `stamp_on_arrival` the stamp is the node's clock on arrival.

A command to the gate carries its source, a name of the sending process: in a JointState as `header.frame_id`, which
an effort does not use, and in a named table in the first label (core/tables.py). It may be empty.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from metarl_robot.core.errors import RobotError, one_line
from metarl_robot.core.external_force import ExternalForce
from metarl_robot.core.robot import Robot, named
from metarl_robot.core.signals import Context, Inertial, Plan, State
from metarl_robot.ros_nodes.convert import nanoseconds
from metarl_robot.ros_nodes.message_options import MessageOptions, OptionsError
from metarl_robot.safety.refusals import Refusals
from metarl_robot.trajectories.flat_outputs import Outputs

Array = NDArray[np.float64]

OnState = Callable[[int, Callable[[], State]], None]
OnInertial = Callable[[int, Callable[[], Inertial]], None]
MakePublisher = Callable[[Any, str, QoSProfile], Any]
"""Creates a publisher of (type, topic, quality)."""
SOURCE = token_hex(8)  # name of this process in its commands
DEFAULT = MessageOptions()


class ReferencePoints(NamedTuple):
    """A reference as read from a message.

    begin_ns: stamp of its start; 0 means now. since_ns: (K,) times of its points after the start. points: the robot's
    flat outputs there.
    remarks: texts on ignored parts of the message.
    """

    begin_ns: int
    since_ns: NDArray[np.int64]
    points: Outputs
    remarks: tuple[str, ...] = ()


class JointRules(NamedTuple):
    """Joints that a trajectory may name, apart from exactly the robot's.

    partial: some may be missing; they hold. extra: others (a gripper's) may be present; they are ignored.
    """

    partial: bool = False
    extra: bool = False


class GateCommand(NamedTuple):
    """A command as read from a message.

    stamp_ns: -1 if it cannot be read. read: returns the command (nu,); raises UnusableError. source: see the module's
    docstring.
    """

    stamp_ns: int
    read: Callable[[], Array]
    source: str = ""


class ReportTopic(NamedTuple):
    """A report of the adapter's context, published below the mpc node.

    name: of its topic, ~/name. type: of its message. make: message for (robot, stamp_ns, context); None if the context
    holds nothing to report.
    """

    name: str
    type: Any
    make: Callable[[Any, int, Context], Any | None]


class Source(NamedTuple):
    """A further source of the states: its name in /diagnostics, its topic, and refusals of its messages."""

    name: str
    topic: str
    refusals: Refusals


class ObstacleTopic(NamedTuple):
    """Obstacles that a controller avoids, subscribed below the mpc node.

    name: of the topic, ~/name. type: of its message. read: discs (K, 3) x, y, radius [m; world] of a message, which
    replace earlier ones; raises SignalError. make: message of discs, for the simulated perception; None: it sends none.
    """

    name: str
    type: Any
    read: Callable[[Any], Array]
    make: Callable[[Array], Any] | None = None


class ExternalTopic(NamedTuple):
    """A message of the external force, published below the mpc node at each state.

    name: of its topic, ~/name. type: of its message. maker: for a robot, returns the function that makes the message
    for (stamp_ns, measured state, external force). Only the mpc node calls it.
    """

    name: str
    type: Any
    maker: Callable[[Any], Callable[[int, State, ExternalForce], Any]]


class Interface(Protocol):
    """Messages of one robot.

    commands: topic that drives the robot, a named table of efforts. acting: topic with the efforts that a driver's own
    loop made of them, in the same form; empty: none. measurements: types and topics of all its
    measurements. state_topic: of its states. imu_topic: of its IMU; empty without one. reports: see ReportTopic.
    external: see ExternalTopic. obstacles: see ObstacleTopic. sources: see Source; empty before `listen`.
    follows_goals: whether its first reference message is a JointTrajectory, which the action FollowJointTrajectory
    carries.
    """

    commands: str
    acting: str
    state_topic: str
    gate_command_type: Any
    setpoint_type: Any
    plan_type: Any
    reference_type: Any
    reference_topic: str
    reports: tuple[ReportTopic, ...]
    external: tuple[ExternalTopic, ...]
    obstacles: tuple[ObstacleTopic, ...]
    sources: tuple[Source, ...]
    follows_goals: bool

    def __init__(self, robot: Any, options: MessageOptions) -> None: ...

    @property
    def measurements(self) -> tuple[tuple[Any, str], ...]: ...

    @property
    def imu_topic(self) -> str: ...

    def listen(
        self, node: Node, on_state: OnState, lockstep: bool, on_inertial: OnInertial | None = None
    ) -> list[Subscription]:
        """Subscribe to the robot's measurements."""
        ...

    def watch(self, node: Node, on_state: OnState) -> Subscription:
        """Subscribe to position and velocity only, for occasional use."""
        ...

    def listen_to_loads(self, node: Node, take: Callable[[Array], None]) -> list[Subscription]:
        """Subscribe to the load that the robot's driver compensates: inertial parameters (10,)."""
        ...

    def simulate(self, plant: Any) -> None:
        """Take the simulated robot whose measurements `speaker` publishes."""
        ...

    def speaker(self, make: MakePublisher) -> Callable[[int, State, Array], None]:
        """Return a function that publishes the robot's measurements: (stamp_ns, measured state, acting effort)."""
        ...

    def gate_command(self, stamp_ns: int, effort: Array) -> Any:
        """A controller's command (nu,) for the state of that stamp."""
        ...

    def read_gate_command(self, message: Any) -> GateCommand:
        """Read a message of `gate_command`."""
        ...

    def setpoint(self, stamp_ns: int, q: Array, v: Array) -> Any:
        """The reference at a state's stamp, as a message."""
        ...

    def read_setpoint(self, message: Any) -> tuple[int, Array, Array]:
        """Read a message of `setpoint`: stamp, q (nq,), v (dof,)."""
        ...

    def plan(self, stamp_ns: int, plan: Plan) -> Any:
        """The controller's plan as a message."""
        ...

    def read_plan(self, message: Any) -> Array:
        """The positions (K, nq) in a message of `plan`."""
        ...

    def references(
        self, rules: Callable[[], JointRules] = JointRules
    ) -> tuple[tuple[Any, str, Callable[[Any], ReferencePoints]], ...]:
        """Reference messages: type, topic, and a function that reads one or raises SignalError.

        rules: joints that a message may name, evaluated for each message.
        """
        ...

    def reference(self, stamp_ns: int, since_s: Array, points: Outputs) -> Any:
        """A reference as a message: points (K, m) with velocities and accelerations, at times (K,) after the stamp."""
        ...


class Part:
    """A part of an interface: names of the robot's channels, options of its messages.

    takes_localiser: whether it uses MessageOptions.localiser_topic.
    """

    takes_localiser = False
    reports: tuple[ReportTopic, ...] = ()
    external: tuple[ExternalTopic, ...] = ()
    obstacles: tuple[ObstacleTopic, ...] = ()
    sources: tuple[Source, ...] = ()
    follows_goals = False
    acting = ""

    @property
    def imu_topic(self) -> str:
        return ""

    def __init__(self, robot: Any, options: MessageOptions = DEFAULT) -> None:
        self._names, self._options = robot.channel_names, options

    def listen_to_loads(self, node: Node, take: Callable[[Array], None]) -> list[Subscription]:
        """No driver of such a robot compensates a load."""
        return []

    def simulate(self, plant: Any) -> None:
        """Nothing beside the measured state."""


def interface_of(robot: Robot, options: MessageOptions = DEFAULT) -> Interface:
    """The interface of a robot.

    Raises:
        OptionsError: the options name a localiser, and the kind uses none.
        MountingError: the options give the IMU an impossible mounting.
        RobotError: the class that the kind names cannot be loaded.
    """
    try:
        kind: type[Interface] = named(robot.interface)
    except Exception as error:  # anything that another package's module raises
        raise RobotError(
            f"kind of robot '{robot.kind}': interface '{robot.interface}' cannot be loaded: "
            f"{type(error).__name__}: {one_line(error)}; it must name a class as 'module:name'"
        ) from error
    if options.localiser_topic and not getattr(kind, "takes_localiser", False):
        raise OptionsError(
            f"localiser_topic is '{options.localiser_topic}', but robots of kind '{robot.kind}' use no localiser; "
            "leave it empty"
        )
    return kind(robot, options)


Stamp = Callable[[Any], int]
"""Reads the time of a message [ns]."""


def stamp_reader(node: Node, options: MessageOptions) -> Stamp:
    """Stamp function: the message's header, or the node's clock on arrival."""
    if not options.stamp_on_arrival:
        return header_stamp
    clock = node.get_clock()
    return lambda message: int(clock.now().nanoseconds)


def header_stamp(message: Any) -> int:
    """The stamp of a message's header [ns]."""
    return nanoseconds(message.header.stamp)
