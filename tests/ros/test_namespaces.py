# SPDX-License-Identifier: Apache-2.0
"""Two arms and a quadrotor in one graph, each in its namespace: one clock, and each robot by itself in all else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import InertiaStamped
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.tables import Table, table_of
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import nanoseconds

ARMS, DRONE = ("left", "right"), "drone"
ROBOTS = (*ARMS, DRONE)
MASS_KG = {"left": 0.4, "right": 0.4, "drone": 0.15}
ATTACH_S = 3.0
# far above any controller's error, far below a broken loop's
ERROR = {"left": 0.2, "right": 0.2, "drone": 0.3}  # rad, rad, m


class Graph:
    """A running graph, with the messages of each robot and of the clock as they come."""

    def __init__(self, session: object) -> None:
        self.session, self.probe = session, session.probe
        self.clock_ns: list[int] = []
        self.gate: dict[str, dict[str, str]] = {}
        self.truth: dict[str, list[Table]] = defaultdict(list)
        self.setpoints: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
        self.payload: dict[str, InertiaStamped] = {}
        self.names: set[str] = set()
        self.odometry: list[Odometry] = []
        self.probe.listen(Clock, topics.CLOCK, lambda m: self.clock_ns.append(nanoseconds(m.clock)), topics.CLOCK_OUT)
        self.probe.listen(DiagnosticArray, topics.DIAGNOSTICS, lambda m: self.names.update(s.name for s in m.status))
        self.probe.listen(Odometry, "drone/odom", self.odometry.append)
        for robot in ROBOTS:
            self._listen(robot)

    def _listen(self, robot: str) -> None:
        def on_gate(message: DiagnosticStatus) -> None:
            self.gate[robot] = {pair.key: pair.value for pair in message.values}

        def on_setpoint(message: JointState | Odometry) -> None:
            if isinstance(message, Odometry):
                place = message.pose.pose.position
                q = np.array([place.x, place.y, place.z])
            else:
                q = np.array(message.position)
            self.setpoints[robot][nanoseconds(message.header.stamp)] = q

        listen = self.probe.listen
        listen(DiagnosticStatus, f"{robot}/{topics.GATE_STATE}", on_gate, topics.LATCHED)
        listen(Float64MultiArray, f"{robot}/{topics.TRUTH}", lambda m: self.truth[robot].append(table_of(m)))
        listen(Odometry if robot == DRONE else JointState, f"{robot}/{topics.SETPOINT}", on_setpoint)
        listen(InertiaStamped, f"{robot}/{topics.report('payload')}", lambda m: self.payload.update({robot: m}))

    def time_s(self, robot: str) -> float:
        return self.truth[robot][-1].stamp_s if self.truth[robot] else -1.0

    def wait_until(self, time_s: float, robots: tuple[str, ...] = ROBOTS) -> None:
        def reached() -> bool:
            return all(self.time_s(robot) >= time_s for robot in robots)

        self.probe.wait(reached, f"{time_s} s of {robots}; gates: {self.gate}")

    def wait_gate(self, robot: str, state: str) -> None:
        self.probe.wait(lambda: self.gate.get(robot, {}).get("state") == state, f"{robot} {state}; gates: {self.gate}")

    def error(self, robot: str, since_s: float) -> np.ndarray:
        """Largest errors of a robot's joints [rad] or position [m] at each setpoint after a time."""
        first = 7 if robot in ARMS else 10
        truth = {table.stamp_ns: table.values[0][first:] for table in list(self.truth[robot])}
        rows = [
            (truth[at][: len(q)], q)
            for at, q in list(self.setpoints[robot].items())
            if at in truth and at * 1e-9 > since_s
        ]
        return np.array([np.abs(actual - wanted).max() for actual, wanted in rows])

    def speed(self, robot: str) -> float:
        """Largest velocity of a robot at its newest state [rad/s or m/s]."""
        newest = self.truth[robot][-1]
        ends = ("velocity_rad_s",) if robot in ARMS else ("velocity_x_m_s", "velocity_y_m_s", "velocity_z_m_s")
        return max(abs(newest.value(name)) for name in newest.columns if name.endswith(ends))


def start_graph(start: Callable, **arguments: str) -> Graph:
    return Graph(start("several_robots", **{"lockstep": "true", **arguments}))


@pytest.fixture(scope="module")
def graph(start: Callable) -> Graph:
    payload = {
        "payload_mass_kg": str(MASS_KG["left"]),
        "drone_payload_mass_kg": str(MASS_KG[DRONE]),
        "payload_attach_s": str(ATTACH_S),
    }
    made = start_graph(start, **payload)
    made.wait_until(ATTACH_S + 3.0)
    return made


@pytest.mark.parametrize("robot", ROBOTS)
def test_each_robot_tracks_and_adapts_in_a_graph_of_three(graph: Graph, robot: str) -> None:
    assert graph.gate[robot]["state"] == "passing"
    error = graph.error(robot, 1.5)
    assert len(error) > 100 and error.max() < ERROR[robot]
    assert abs(graph.payload[robot].inertia.m - MASS_KG[robot]) < 0.6 * MASS_KG[robot]
    last = graph.truth[robot][-1]
    assert last.value("payload_mass_kg") == MASS_KG[robot] and last.value("violations") == 0.0


def test_time_is_one_and_never_goes_back(graph: Graph) -> None:
    assert graph.probe.node.count_publishers(topics.CLOCK) == 1
    assert len(graph.clock_ns) > 500 and np.all(np.diff(graph.clock_ns) >= 0)
    steps = {robot: np.diff([table.stamp_ns for table in list(graph.truth[robot])]) for robot in ROBOTS}
    assert all(np.all(step >= 0) for step in steps.values())
    now_s = [graph.time_s(robot) for robot in ROBOTS]
    assert max(now_s) - min(now_s) < 0.5  # messages of several topics: the newest of each


def test_all_start_together(graph: Graph) -> None:
    """Each robot's conditions change by its own time, which began with its first command: at 0 for all of them."""
    for robot in ROBOTS:
        attached = next(table for table in graph.truth[robot] if table.value("payload_mass_kg") > 0.0)
        assert abs(attached.stamp_s - ATTACH_S) < 0.02


def test_names_in_diagnostics_and_frames_are_those_of_the_namespace(graph: Graph) -> None:
    wanted = {f"{robot}/{node}" for robot in ROBOTS for node in ("gate", "mpc", "plant")}
    graph.probe.wait(lambda: wanted <= graph.names, f"{wanted}; there are {graph.names}")
    assert not graph.names & {"gate", "mpc", "plant"}
    assert (graph.odometry[-1].header.frame_id, graph.odometry[-1].child_frame_id) == ("drone/odom", "drone/base_link")
    assert {graph.payload[robot].header.frame_id.split("/")[0] for robot in ROBOTS} == set(ROBOTS)
    for topic in ("/gate/command", "/joint_states", "/odom", "/mpc/step", "/effort_controller/commands"):
        assert graph.probe.node.count_publishers(topic) == 0


def test_an_emergency_stop_does_not_touch_the_other_robots(graph: Graph) -> None:
    assert graph.probe.trigger("/left/gate/estop").success
    graph.wait_gate("left", "holding")
    now_s = max(graph.time_s(robot) for robot in ROBOTS)
    graph.wait_until(now_s + 2.0)
    graph.probe.wait(lambda: graph.speed("left") < 0.02, "the left arm to rest")
    assert graph.gate["left"]["latched"] == "True" and graph.gate["left"]["state"] == "holding"
    for robot in ("right", DRONE):
        assert graph.gate[robot]["state"] == "passing"
        assert graph.error(robot, now_s).max() < ERROR[robot]
    assert graph.probe.trigger("/left/gate/rearm").success
    graph.wait_gate("left", "passing")


def test_a_reset_of_one_robot_does_not_turn_back_the_clock(graph: Graph) -> None:
    before_s = graph.time_s("right")
    count = len(graph.clock_ns)
    for robot in ROBOTS:  # the plant that publishes the clock, and those that follow it
        answer = graph.probe.trigger(f"/{robot}/plant/reset_world")
        assert answer.success and "other robots go by this clock" in answer.message
    graph.wait_until(before_s + 1.0)
    assert np.all(np.diff(graph.clock_ns[count - 1 :]) >= 0)
    for robot in ROBOTS:
        graph.probe.wait(lambda robot=robot: passes_again(graph, robot), f"{robot} to go on")


def passes_again(graph: Graph, robot: str) -> bool:
    """Whether commands pass after a reset. Its leap of the position may have stopped the robot: it is armed again."""
    gate = graph.gate[robot]
    if gate["latched"] == "True" and gate["state"] == "holding":
        graph.probe.trigger(f"/{robot}/gate/rearm")
    return gate["state"] == "passing"


def test_when_the_plant_with_the_clock_is_killed_another_one_continues_it(graph: Graph) -> None:
    holder = next(p for p in graph.session.launch.processes if p.node == "plant" and said_holder(graph, p.name))
    robot = ROBOTS[[p.name for p in graph.session.launch.processes if p.node == "plant"].index(holder.name)]
    others = tuple(other for other in ROBOTS if other != robot)
    graph.session.expected.add("plant")
    before_s = max(graph.time_s(other) for other in others)
    holder.popen.kill()
    graph.wait_until(before_s + 2.0, others)
    assert np.all(np.diff(graph.clock_ns) >= 0)
    for other in others:
        assert graph.gate[other]["state"] == "passing"


def said_holder(graph: Graph, process: str) -> bool:
    """Whether a plant's process publishes the clock: the others have said that they follow it."""
    return not any(f"[{process}]" in line and "follows /clock" in line for line in graph.session.lines)
