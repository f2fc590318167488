# SPDX-License-Identifier: Apache-2.0
"""Real nodes in processes of their own, and a probe in the test's process that watches and asks them.

Tests wait for messages over ROS, with a generous limit, and judge by simulated time alone.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rcl_interfaces.msg import Parameter as ParameterMessage  # noqa: E402
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters  # noqa: E402
from rclpy.exceptions import InvalidHandle  # noqa: E402
from rclpy.executors import ExternalShutdownException  # noqa: E402
from rclpy.experimental import EventsExecutor  # noqa: E402
from rclpy.parameter import Parameter, parameter_value_to_python  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from std_msgs.msg import Float64MultiArray  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from metarl_robot.cli.launch import Launch  # noqa: E402
from metarl_robot.cli.launch_process import node_environment  # noqa: E402
from metarl_robot.core.errors import SignalError  # noqa: E402
from metarl_robot.core.tables import Table, table_of  # noqa: E402
from metarl_robot.ros_nodes import topics  # noqa: E402
from metarl_robot.ros_nodes.arm.interface import JointInterface  # noqa: E402
from metarl_robot.ros_nodes.launcher_watch import AT_ONCE  # noqa: E402
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface  # noqa: E402
from metarl_robot.ros_nodes.shared_memory import remove_unfinished_ports  # noqa: E402

WAIT_S = 180.0  # how long to wait for something before giving up; never part of a verdict
CLOSE_S = 30.0  # how long a probe may take to leave
os.environ.update({key: value for key, value in node_environment().items() if "PROFILES" in key})  # for the probe too
_domains = itertools.count(int(os.environ["ROS_DOMAIN_ID"]))
_DEEP = QoSProfile(depth=10000, reliability=ReliabilityPolicy.RELIABLE)


def free_domain() -> int:
    """A ROS domain that nobody on this machine is in: the ports of its first participants are free (DDSI-RTPS 2.5,
    9.6.2).
    """
    remove_unfinished_ports()  # of nodes that earlier tests killed
    for _ in range(100):
        domain = next(_domains) % 101
        try:
            for participant in range(3):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
                    port.bind(("", 7400 + 250 * domain + 10 + 2 * participant))
            return domain
        except OSError:
            continue
    pytest.fail("every ROS domain of this machine is in use")


class Probe:
    """A node of the test's own. states: of the gate, in order; commands, truth: every table since the last
    `clear`.
    """

    def __init__(self, domain: int, problem: Callable[[], str] = str) -> None:
        self._problem, self.domain, self._closing = problem, domain, False
        self._context = rclpy.Context()
        self._context.init(domain_id=domain)
        self.node = rclpy.create_node("probe", context=self._context)
        self.states: list[dict[str, str]] = []
        self.commands: list[Table] = []
        self.truth: list[Table] = []
        self.diagnostics: dict[str, DiagnosticStatus] = {}
        self.listen(DiagnosticStatus, topics.GATE_STATE, lambda m: self.states.append(pairs(m)), topics.LATCHED)
        self.listen(DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics)
        for commands in (JointInterface.commands, OdometryInterface.commands):
            self.listen(Float64MultiArray, commands, self._on_command)
        self.listen(Float64MultiArray, topics.TRUTH, lambda m: self.truth.append(table_of(m)))
        self._executor = EventsExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def listen(self, kind: Any, topic: str, callback: Callable[[Any], Any], qos: QoSProfile = _DEEP) -> None:
        self.node.create_subscription(kind, topic, callback, qos)

    def _spin(self) -> None:
        """A test may destroy a publisher while rclpy waits for it (InvalidHandle): the next look is without it."""
        with suppress(ExternalShutdownException):
            while self._context.ok() and not self._closing:
                with suppress(InvalidHandle):
                    self._executor.spin_once(timeout_sec=0.1)

    def _on_command(self, message: Float64MultiArray) -> None:
        with suppress(SignalError):  # a test's own
            self.commands.append(table_of(message))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.diagnostics.update({status.name: status for status in message.status})

    def close(self) -> None:
        """In a thread, which may be left behind: Fast DDS 2.14 can deadlock when a participant that was killed loses
        its lease at the moment in which another one leaves (PDP::check_remote_participant_liveliness waits for the
        thread
        that, in ResourceEvent::unregister_timer, waits for it)."""
        closing = threading.Thread(target=self._close, daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def _close(self) -> None:
        self._closing = True
        self._thread.join(WAIT_S)
        self._executor.shutdown()
        self._context.try_shutdown()
        self.node.destroy_node()

    def clear(self) -> None:
        self.commands.clear()
        self.truth.clear()

    @property
    def time_s(self) -> float:
        """Simulated time of the newest truth."""
        return self.truth[-1].stamp_s if self.truth else -1.0

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = monotonic() + WAIT_S
        while not condition():
            assert monotonic() < deadline, f"waited {WAIT_S} s for {what}; gate: {self.states[-1:]}"
            problem = self._problem()
            assert not problem, f"while waiting for {what}: {problem}"
            threading.Event().wait(0.005)

    def wait_until(self, time_s: float) -> None:
        """Until simulated time."""
        self.wait(lambda: self.time_s >= time_s, f"simulated time {time_s} s (it is {self.time_s} s)")

    def wait_state(self, state: str, latched: bool | None = None) -> None:
        def reached() -> bool:
            last = self.states[-1] if self.states else {}
            return last.get("state") == state and latched in (None, last.get("latched") == "True")

        self.wait(reached, f"gate state {state}, latched {latched}")

    def wait_count(self, node: str, key: str, least: int = 1) -> int:
        """Until a count in /diagnostics is at least so high; returns it."""
        self.wait(lambda: self.count(node, key) >= least, f"{node}: {key} >= {least}")
        return self.count(node, key)

    def count(self, node: str, key: str) -> int:
        return int(pairs(self.diagnostics[node]).get(key, "0")) if node in self.diagnostics else 0

    def call(self, kind: Any, service: str, request: Any = None) -> Any:
        client = self.node.create_client(kind, service)
        try:
            assert client.wait_for_service(WAIT_S), f"no service {service}"
            future = client.call_async(request or kind.Request())
            self.wait(future.done, f"an answer of {service}")
            return future.result()
        finally:
            self.node.destroy_client(client)

    def trigger(self, service: str) -> Any:
        return self.call(Trigger, service)

    def set_parameter(self, node: str, name: str, value: object) -> Any:
        message = Parameter(name, value=value).to_parameter_msg()
        return self.call(SetParameters, f"/{node}/set_parameters", SetParameters.Request(parameters=[message])).results[
            0
        ]

    def parameter(self, node: str, name: str) -> object:
        values = self.call(GetParameters, f"/{node}/get_parameters", GetParameters.Request(names=[name])).values
        return parameter_value_to_python(values[0])

    def describe(self, node: str, name: str) -> ParameterMessage:
        request = DescribeParameters.Request(names=[name])
        return self.call(DescribeParameters, f"/{node}/describe_parameters", request).descriptors[0]


def pairs(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


@dataclass
class Session:
    """Running nodes, their output, and the probe. expected: nodes that the test kills itself."""

    launch: Launch
    lines: list[str]
    probe: Probe
    expected: set[str]

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def finish(self) -> None:
        """Stop all nodes; each must end in order; otherwise their output is shown."""
        assert self.launch.stop() == 0, "\n".join(self.lines)


Starter = Callable[..., Session]


@pytest.fixture(scope="module")
def sessions() -> Iterator[list[Session]]:
    """Everything that was started, by a fixture of the module or by the present test; stopped afterwards."""
    started: list[Session] = []
    yield started
    _stop(started)


@pytest.fixture(autouse=True)
def ends_what_it_started(sessions: list[Session]) -> Iterator[None]:
    """A test that failed would otherwise leave nodes to its next attempt, and to the tests after it."""
    shared = len(sessions)
    yield
    _stop(sessions[shared:])
    del sessions[shared:]


def _stop(sessions: list[Session]) -> None:
    for session in sessions:
        session.launch.stop()
        session.probe.close()


@pytest.fixture(scope="module")
def start(sessions: list[Session]) -> Starter:
    """Starts a launch file in a ROS domain of its own."""

    def start(file: str | Path = "arm", **arguments: str) -> Session:
        domain = free_domain()
        lines: list[str] = []
        environment: Mapping[str, str] = {"ROS_DOMAIN_ID": str(domain), AT_ONCE: "1"}
        launch = Launch(file, arguments, lambda process, line: lines.append(f"[{process}] {line}"), environment)
        expected: set[str] = set()

        def problem() -> str:
            dead = [p for p in launch.processes if p.failed and p.node not in expected]
            return (
                "\n".join([f"{dead[0].name} has died", *(line for line in lines if dead[0].name in line)])
                if dead
                else ""
            )

        sessions.append(Session(launch, lines, Probe(domain, problem), expected))
        launch.start()  # after the probe, which is to miss nothing
        return sessions[-1]

    return start


@pytest.fixture
def probe_alone() -> Iterator[Callable[[], tuple[int, Probe]]]:
    """Makes a probe in a ROS domain of its own, for nodes that the test starts itself: (domain, probe)."""
    probes: list[Probe] = []

    def make() -> tuple[int, Probe]:
        domain = free_domain()
        probes.append(Probe(domain))
        return domain, probes[-1]

    yield make
    for probe in probes:
        probe.close()


@pytest.fixture
def error_m() -> Callable[[list[Table], list[tuple[int, np.ndarray]]], np.ndarray]:
    """Joint error of the truth against setpoints of the same stamps: rows of (time [s], largest error [rad])."""

    def error(truth: list[Table], setpoints: list[tuple[int, np.ndarray]]) -> np.ndarray:
        positions = {table.stamp_ns: table.values[0][7 : 7 + len(setpoints[0][1])] for table in truth}
        rows = [(stamp * 1e-9, np.abs(positions[stamp] - q).max()) for stamp, q in setpoints if stamp in positions]
        return np.array(rows)

    return error
