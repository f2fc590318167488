# SPDX-License-Identifier: Apache-2.0
"""Records every topic to a rosbag2 folder: messages as received, stamped with the node's clock.

In a namespace it records the topics below it, and those that belong to no robot: `/clock`, `/diagnostics`, `/tf`.

It is a separate process, so that a disk error does not affect control. On SIGINT and SIGTERM the bag is completed. A
killed process leaves a readable bag without its last fraction of a second.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_or_service_is_hidden import topic_or_service_is_hidden
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import status_message
from metarl_robot.ros_nodes.interface import ExternalTopic, Interface, ReportTopic, interface_of
from metarl_robot.ros_nodes.managed import ROBOT_KIND, ManagedNode, NodeParameters
from metarl_robot.ros_nodes.message_options import SensorParameters, message_options
from metarl_robot.ros_nodes.message_schema import SchemaError, message_definition
from metarl_robot.ros_nodes.named_series import TABLE_TYPE, NamedSeries
from metarl_robot.ros_nodes.parameters import Declarer, fixed
from metarl_robot.ros_nodes.recording import Recording
from metarl_robot.ros_nodes.runtime import run

_LOOK_S = 0.1  # period of the search for new topics
_FLUSH_S = 1.0
_DEPTH = 1000  # messages that a topic may queue for the disk


class RecorderParameters(NodeParameters, SensorParameters):
    """Parameters of the recorder node."""

    robot: str = fixed(
        "panda", description="name of the robot, or the folder of its description; it sets the expected topics"
    )
    robot_kind: str = fixed("", description=ROBOT_KIND)
    path: str = fixed(
        "runs/%Y-%m-%d_%H-%M-%S/recording",
        min_length=1,
        description="folder to write (a rosbag2 bag); date and time are filled in as by strftime",
    )


def declared(parameters: Declarer) -> tuple[RecorderParameters, Robot]:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(RecorderParameters)
    return own, load_robot(own.robot, check_model=False, of_kind=own.robot_kind)


class RecorderNode(ManagedNode):
    """Records all topics; see the module's docstring."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self._own, self._robot = declared(self.parameters)
        self._recording: Recording | None = None
        self._inputs: dict[str, Subscription] = {}
        self._series: dict[str, NamedSeries] = {}
        self._unknown: set[str] = set()
        self._reported = False
        self.start(self._own.autostart)

    def configure(self) -> None:
        self._recording = Recording(Path(datetime.now().strftime(self._own.path)))
        self._timers_made = (self.every(_LOOK_S, self._look), self.every(_FLUSH_S, self._flush))
        self._complain(self._recording)

    def activate(self) -> None:
        if self._recording is None:
            return
        interface = interface_of(self._robot, message_options(self._own, self.get_namespace()))
        for topic, (type_name, qos) in {**topics.RECORDED, **expected_topics(interface)}.items():
            deep = _deep(qos.reliability, qos.durability)
            self._record(self._recording, self.resolve_topic_name(topic), type_name, deep, [qos])
        self._look()
        self.get_logger().info(f"recording to {self._recording.path}")

    def cleanup(self) -> None:
        for timer in self._timers_made:
            self.destroy_timer(timer)
        for subscription in self._inputs.values():
            self.destroy_subscription(subscription)
        self._inputs.clear()
        self._series.clear()
        self.close()

    def close(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.close()
            self._complain(recording)
            if not recording.failure:
                self.get_logger().info(
                    f"{recording.messages} messages of {len(recording.topics)} topics in {recording.path}"
                )

    def diagnose(self) -> list[DiagnosticStatus]:
        recording = self._recording
        if recording is None:
            return []
        values = {
            "file": str(recording.path),
            "topics": len(recording.topics),
            "messages": recording.messages,
            "dropped": recording.dropped,
            "unknown_types": " ".join(sorted(self._unknown)),
        }
        level = DiagnosticStatus.ERROR if recording.failure else DiagnosticStatus.OK
        return [status_message("recorder", level, recording.failure or "recording", values)]

    def _look(self) -> None:
        """Subscribe to new topics."""
        recording = self._recording
        if recording is None or not (self.active or not self._inputs):
            return
        for topic, types in self.get_topic_names_and_types():
            if topic in self._inputs or types[0] in self._unknown or not self._concerns(topic):
                continue
            publishers = self.get_publishers_info_by_topic(topic)
            if publishers:
                offered = [publisher.qos_profile for publisher in publishers]
                self._record(recording, topic, types[0], _matching_qos(offered), offered)

    def _concerns(self, topic: str) -> bool:
        """Whether a topic is below this node's namespace, or at the root and below none; hidden ones, as those of
        actions, are left out, as by rosbag2.
        """
        near = topic.startswith(f"{self.get_namespace().rstrip('/')}/") or topic.count("/") == 1
        return near and not topic_or_service_is_hidden(topic)

    def _record(
        self, recording: Recording, topic: str, type_name: str, qos: QoSProfile, offered: Sequence[QoSProfile]
    ) -> None:
        try:
            definition, message_class = message_definition(type_name), _message_class(type_name)
        except (SchemaError, ImportError, AttributeError) as error:
            self._unknown.add(type_name)
            self.get_logger().warning(f"{topic} is not recorded: {error}")
            return
        recording.add_topic(topic, type_name, definition, [_described(profile) for profile in offered])

        if type_name == TABLE_TYPE:
            self._series[topic] = NamedSeries(topic)

        def write(data: bytes) -> None:
            self._write(topic, data)

        self._inputs[topic] = self.create_subscription(message_class, topic, write, qos, raw=True)

    def _write(self, topic: str, data: bytes) -> None:
        recording = self._recording
        if recording is None or not self.active:
            return
        time_ns = self.get_clock().now().nanoseconds
        recording.write(topic, time_ns, data)
        series = self._series.get(topic)
        named = None if series is None else series.named(data)
        if series is not None and named is not None:
            if series.topic not in recording.topics:
                recording.add_topic(series.topic, series.type_name, series.definition)
            recording.write(series.topic, time_ns, named)

    def _flush(self) -> None:
        if self._recording is not None:
            for topic in self._recording.topics_without_hash:
                hashes = [str(p.topic_type_hash) for p in self.get_publishers_info_by_topic(topic.name)]
                topic.type_hash = next((found for found in hashes if found.startswith("RIHS")), "")
            self._recording.flush()
            self._complain(self._recording)

    def _complain(self, recording: Recording) -> None:
        if recording.failure and not self._reported:
            self._reported = True
            self.get_logger().error(f"recording has stopped, control continues: {recording.failure}")


def expected_topics(interface: Interface) -> dict[str, tuple[str, QoSProfile]]:
    """A robot's own topics to subscribe to before they have a publisher: type and quality of service."""
    below_mpc: list[ReportTopic | ExternalTopic] = [*interface.reports, *interface.external]
    topics_of = [
        *((kind, topic, topics.STATE_OUT) for kind, topic in interface.measurements),
        (Float64MultiArray, interface.commands, topics.COMMAND),
        (interface.gate_command_type, topics.GATE_COMMAND, topics.COMMAND),
        *((kind, topic, topics.REFERENCE_QOS) for kind, topic, _ in interface.references()),
        (interface.setpoint_type, topics.SETPOINT, topics.REPORT),
        (interface.plan_type, topics.PLAN, topics.REPORT),
        *((each.type, topics.report(each.name), topics.REPORT) for each in below_mpc),
    ]
    return {topic: (_type_name(kind), qos) for kind, topic, qos in topics_of}


def _type_name(message_class: Any) -> str:
    """Name of a message's type: 'sensor_msgs/msg/JointState'."""
    return f"{message_class.__module__.partition('.')[0]}/msg/{message_class.__name__}"


def _deep(reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=_DEPTH, reliability=reliability, durability=durability)


def _matching_qos(offered: Sequence[QoSProfile]) -> QoSProfile:
    """Reliable if all publishers are; transient local if all publishers are."""
    reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in offered)
    latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in offered)
    return _deep(
        ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _described(qos: QoSProfile) -> dict[str, Any]:
    """A quality of service in rosbag2's names."""
    return {
        "history": qos.history.name.lower(),
        "depth": qos.depth,
        "reliability": qos.reliability.name.lower(),
        "durability": qos.durability.name.lower(),
        "deadline": _duration(qos.deadline),
        "lifespan": _duration(qos.lifespan),
        "liveliness": qos.liveliness.name.lower(),
        "liveliness_lease_duration": _duration(qos.liveliness_lease_duration),
        "avoid_ros_namespace_conventions": bool(qos.avoid_ros_namespace_conventions),
    }


def _duration(duration: Duration) -> dict[str, int]:
    seconds, nanoseconds = divmod(duration.nanoseconds, NANOSECONDS)
    return {"sec": seconds, "nsec": nanoseconds}


def _message_class(type_name: str) -> Any:
    package, _, name = type_name.partition("/msg/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the recorder node."""
    return run(RecorderNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
