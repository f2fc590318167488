# SPDX-License-Identifier: Apache-2.0
"""A node that observes the others during a fault and sends invalid messages.

Times are the publishers' write times (DDS source timestamps), so a delay of the probe does not change them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from metarl_robot.core.errors import MetaRLError, SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.core.tables import NANOSECONDS, Table, table_of
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import time_message
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.shared_memory import remove_unfinished_ports

Array = NDArray[np.float64]

_DEEP = QoSProfile(depth=10000, reliability=ReliabilityPolicy.RELIABLE)
_SERVICE_S = 20.0
_JUST_AFTER_S = 0.005
_NEW_BASE_NS = 10**8  # stamps that go back by more come from a reset clock
_STRANGER_NS = 777  # marks the probe's stamps: the plant's stamps are whole microseconds
_LABELS = ("²", "9" * 400, "-1.0 effort", "nan effort", "", "1e999 effort")


class Effort(NamedTuple):
    """A command to the plant.

    written_s: time of writing; effort: (nu,); stamp_ns: stamp of the message that it answers.
    """

    written_s: float
    effort: Array
    stamp_ns: int

    @property
    def strange(self) -> bool:
        """Whether it answers one of the probe's commands."""
        return self.stamp_ns % 1000 == _STRANGER_NS


class FaultProbe:
    """Observes the nodes; see the module's docstring.

    efforts: every command to the plant. said: the gate's states in order; said_s: their times [s].
    truth: newest table of the plant.
    """

    def __init__(self, robot: Robot, domain: int) -> None:
        self._interface, self._robot = interface_of(robot), robot
        remove_unfinished_ports()
        self._context = rclpy.Context()
        self._context.init(domain_id=domain)
        self.node = rclpy.create_node("fault_probe", context=self._context)
        self.said: list[dict[str, str]] = []
        self.said_s: list[float] = []
        self.efforts: list[Effort] = []
        self.truth: Table | None = None
        self.diagnostics: dict[str, dict[str, str]] = {}
        self._issued: dict[int, list[float]] = {}
        self._newest_ns = 0
        self._listen()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the probe."""
        self._executor.shutdown()
        self._context.try_shutdown()
        self._thread.join(_SERVICE_S)
        self.node.destroy_node()

    @property
    def gate(self) -> dict[str, str]:
        """The gate's newest state."""
        return self.said[-1] if self.said else {}

    @property
    def time_s(self) -> float:
        """The plant's time."""
        return -1.0 if self.truth is None else self.truth.stamp_s

    def stranger(self, kind: Any, topic: str, quality: QoSProfile | None = None) -> Any:
        """Create a second publisher on a topic of other nodes."""
        return self.node.create_publisher(kind, topic, quality or topics.COMMAND)

    def command(self, effort: Array) -> Any:
        """A foreign command to the gate, stamped just after the newest state."""
        stamp_ns = round(self.time_s * NANOSECONDS)
        return self._interface.gate_command(stamp_ns + _STRANGER_NS, effort)

    def commanding(self, quality: QoSProfile | None = None) -> Any:
        """Create a publisher of commands to the gate."""
        return self.stranger(self._interface.gate_command_type, topics.GATE_COMMAND, quality)

    def garbage(self, rng: np.random.Generator) -> Iterator[tuple[Any, str, Any]]:
        """Invalid values and labels as (type, topic, message)."""
        nu = self._robot.nu
        for value in (np.nan, np.inf, -np.inf, 1e308):
            effort = np.where(rng.random(nu) < 0.5, value, 0.0)
            yield self._interface.gate_command_type, topics.GATE_COMMAND, self.command(effort)
        for label in _LABELS:
            message = Float64MultiArray(data=[0.0] * nu)
            message.layout.dim = [_dimension(label, 1), _dimension("a,b", nu)]
            if self._interface.gate_command_type is Float64MultiArray:
                yield Float64MultiArray, topics.GATE_COMMAND, message
            yield Float64MultiArray, self._interface.commands, message

    def send_clock(self, stamps_ns: Iterator[int] | list[int], pause_s: float) -> None:
        """Publish times on /clock, like a second simulation."""
        out = self.stranger(Clock, topics.CLOCK, topics.CLOCK_OUT)
        for stamp_ns in stamps_ns:
            out.publish(Clock(clock=time_message(stamp_ns)))
            threading.Event().wait(pause_s)
        self.node.destroy_publisher(out)

    def set_parameter(self, node: str, name: str, value: object) -> bool:
        """Set a parameter of a node; returns whether the node accepted it."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        answer = self._call(SetParameters, f"/{node}/set_parameters", request)
        return bool(answer.results[0].successful)

    def cycle(self, node: str) -> None:
        """Deactivate a node and activate it again."""
        for wanted in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
            request = ChangeState.Request()
            request.transition.id = wanted
            self._call(ChangeState, f"/{node}/change_state", request)

    def pause(self, wanted: bool) -> None:
        """Pause or resume the simulation."""
        self._call(SetBool, "/plant/set_pause", SetBool.Request(data=wanted))

    def trigger(self, service: str) -> bool:
        return bool(self._call(Trigger, service, Trigger.Request()).success)

    def _call(self, kind: Any, service: str, request: Any) -> Any:
        client = self.node.create_client(kind, service)
        try:
            if not client.wait_for_service(_SERVICE_S):
                raise MetaRLError(f"faults: no service {service} within {_SERVICE_S:g} s")
            future = client.call_async(request)
            deadline = monotonic() + _SERVICE_S
            while not future.done():
                if monotonic() > deadline:
                    raise MetaRLError(f"faults: {service} gave no answer in {_SERVICE_S:g} s")
                threading.Event().wait(0.005)
            return future.result()
        finally:
            self.node.destroy_client(client)

    def _listen(self) -> None:
        def listen(kind: Any, topic: str, heard: Callable[..., None], qos: QoSProfile) -> None:
            self.node.create_subscription(kind, topic, heard, qos)

        kind = self._interface.gate_command_type
        listen(DiagnosticStatus, topics.GATE_STATE, self._on_gate, topics.LATCHED)
        listen(DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics, _DEEP)
        listen(Float64MultiArray, topics.TRUTH, self._on_truth, _DEEP)
        listen(Float64MultiArray, self._interface.commands, self._on_effort, _DEEP)
        listen(kind, topics.GATE_COMMAND, self._on_command, _DEEP)

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def passed_at(self, time_s: float) -> bool:
        """Whether the gate was passing commands; it writes its state just after its command."""
        index = int(np.searchsorted(self.said_s, time_s + _JUST_AFTER_S)) - 1
        return index >= 0 and self.said[index].get("state") == "passing"

    def _on_gate(self, message: DiagnosticStatus, info: Any) -> None:
        self.said_s.append(info["source_timestamp"] / NANOSECONDS)
        self.said.append({pair.key: pair.value for pair in message.values})

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self.diagnostics[status.name] = {**values, "message": status.message}

    def _on_truth(self, message: Float64MultiArray) -> None:
        with suppress(SignalError):
            self.truth = table_of(message)

    def _on_command(self, message: Any, info: Any) -> None:
        stamp_ns = self._interface.read_gate_command(message).stamp_ns
        if stamp_ns < self._newest_ns - _NEW_BASE_NS:
            self._issued.clear()  # a new time base reuses stamps
        self._newest_ns = stamp_ns
        self._issued.setdefault(stamp_ns, []).append(info["source_timestamp"] / NANOSECONDS)

    def _on_effort(self, message: Float64MultiArray, info: Any) -> None:
        written_s = info["source_timestamp"] / NANOSECONDS
        try:
            answered = table_of(message)
        except SignalError:
            return  # one of the probe's messages
        self.efforts.append(Effort(written_s, answered.values[0], answered.stamp_ns))

    def age_s(self, effort: Effort) -> float | None:
        """Age of the controller's command that an effort answers; None if there was none."""
        issued_s = self._issued.get(effort.stamp_ns, [])
        earlier_s = [time_s for time_s in issued_s if time_s <= effort.written_s]
        return effort.written_s - max(earlier_s) if earlier_s else None


def _dimension(label: str, size: int) -> Any:
    from std_msgs.msg import MultiArrayDimension

    return MultiArrayDimension(label=label, size=size, stride=size)


def odd_quality() -> QoSProfile:
    """A quality of service that differs from that of commands."""
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )
