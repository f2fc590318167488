# SPDX-License-Identifier: Apache-2.0
"""The bridge to ros2_control and a stand-in that serves ros2_control's services and topics, in real time.

The stand-in (tests/ros2_control/stand_in.py) is NOT ros2_control: our MuJoCo arm executes the efforts.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint  # noqa: E402

from metarl_robot.core.errors import MetaRLError  # noqa: E402
from metarl_robot.core.robot import load_robot  # noqa: E402
from metarl_robot.ros_nodes import topics  # noqa: E402
from metarl_robot.ros_nodes.messages.provide import provide  # noqa: E402

try:
    provide("controller_manager_msgs")
except MetaRLError as error:
    pytest.skip(f"controller_manager_msgs: {error}", allow_module_level=True)

ROBOT = load_robot("planar2", check_model=False)
EFFORT, HOLDING = "forward_effort_controller", "joint_trajectory_controller"


class StandIn:
    """The stand-in's process. reports: its states, in order."""

    def __init__(self, domain: int, interface: str = "effort") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ros2_control.stand_in", ROBOT.name, interface],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
        )  # fmt: skip
        self.reports: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.reports.append(json.loads(line))

    @property
    def now(self) -> dict[str, Any]:
        return self.reports[-1] if self.reports else {"states": {}}

    @property
    def q(self) -> np.ndarray:
        return np.array(self.now["q"])

    def active(self, name: str) -> bool:
        return bool(self.now["states"].get(name) == "active")

    def off_home(self, since: int) -> float:
        """Largest joint angle from home in the reports since one [rad]."""
        return float(np.abs(np.array([report["q"] for report in self.reports[since:]]) - ROBOT.home).max())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()


class Graph:
    """mpc, gate and bridge as launched, beside the stand-in. phases, words: of the bridge, in order."""

    def __init__(self, start: Callable[..., Any], interface: str = "effort") -> None:
        self.session = start("ros2_control", robot=ROBOT.name, controller="computed_torque")
        self.probe = self.session.probe
        self.arm = StandIn(self.probe.domain, interface)
        self.words: list[str] = []
        self.phases: list[str] = []
        self.probe.listen(DiagnosticStatus, "ros2_control_bridge/state", self._on_state, topics.LATCHED)

    def _on_state(self, message: DiagnosticStatus) -> None:
        self.words.append(message.message)
        self.phases.append(message.values[0].value)

    def wait_phase(self, phase: str) -> None:
        self.probe.wait(lambda: self.phases[-1:] == [phase], f"phase {phase}; {self.words[-3:]}; {self.arm.now}")

    def wait_words(self, text: str) -> None:
        self.probe.wait(lambda: any(text in words for words in self.words), f"'{text}'; {self.words[-3:]}")

    def engage(self) -> None:
        self.probe.wait_state("passing")
        assert self.probe.trigger("ros2_control_bridge/engage").success
        self.wait_phase("engaged")

    def run(self, seconds: float) -> None:
        until_s = self.arm.now["time_s"] + seconds
        self.probe.wait(lambda: self.arm.now["time_s"] > until_s, "time to pass")

    def move_to(self, q: np.ndarray) -> None:
        """Send a trajectory of 2 s."""
        publisher = self.probe.node.create_publisher(JointTrajectory, "mpc/joint_trajectory", topics.REFERENCE_QOS)
        self.probe.wait(lambda: publisher.get_subscription_count() > 0, "a subscriber of references")
        point = JointTrajectoryPoint(positions=q.tolist())
        point.time_from_start.sec = 2
        publisher.publish(JointTrajectory(joint_names=list(ROBOT.channel_names), points=[point]))

    def stop(self) -> None:
        self.session.launch.stop()
        self.arm.stop()


@pytest.fixture
def graph(start: Callable) -> Iterator[Callable[..., Graph]]:
    made: list[Graph] = []

    def make(**arguments: str) -> Graph:
        made.append(Graph(start, **arguments))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.mark.slow
@pytest.mark.real_time
def test_an_arm_is_taken_over_moved_held_and_given_back_when_the_gate_dies(graph: Callable[..., Graph]) -> None:
    """Its effort controller has the joints in another order than we have."""
    one = graph()
    one.wait_words(f"'{EFFORT}' is inactive")
    assert one.arm.active(HOLDING) and not one.arm.now["switches"]
    one.engage()
    taken = len(one.arm.reports)
    one.run(2.0)
    assert one.arm.active(EFFORT) and not one.arm.active(HOLDING)
    takeover = one.arm.off_home(taken - 10)

    goal = ROBOT.home + np.array([0.2, -0.2])
    one.move_to(goal)
    one.probe.wait(lambda: np.abs(one.arm.q - goal).max() < 0.005, f"the goal; {one.arm.now}")
    one.move_to(ROBOT.home)
    one.probe.wait(lambda: np.abs(one.arm.q - goal).max() > 0.05, f"motion; {one.arm.now}")
    one.session.expected.add("gate")
    gate = next(process for process in one.session.launch.processes if process.node == "gate")
    os.kill(gate.popen.pid, signal.SIGKILL)
    killed = len(one.arm.reports)
    one.wait_phase("held")
    one.probe.wait(lambda: one.arm.active(HOLDING), "the holding controller")
    one.run(2.0)
    q = np.array([report["q"] for report in one.arm.reports[killed - 1 :]])
    went = float(np.abs(q - q[0]).max())
    print(f"taken over: {takeover:.4f} rad off; gate killed in motion: {went:.4f} rad on")
    assert "the gate was silent" in one.words[-1] and one.arm.now["switches"] == [EFFORT, HOLDING]
    # it moves at 2 rad/s: 0.1 rad until the gate counts as silent, and as much again to switch and to stop
    assert takeover < 0.04 and went < 0.3 and np.ptp(q[-20:], axis=0).max() < 1e-3


@pytest.mark.slow
@pytest.mark.real_time
def test_an_arm_that_the_gate_has_stopped_is_given_to_the_holding_controller(
    graph: Callable[..., Graph], start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is one whose nodes are asked to end, here in their usual order instead of at once."""
    monkeypatch.setitem(start.__globals__, "AT_ONCE", "NOT_AT_ONCE")
    one = graph()
    one.engage()
    assert one.probe.trigger("gate/estop").success
    one.wait_phase("held")
    one.probe.wait(lambda: one.arm.active(HOLDING), "the holding controller")
    assert "the gate has stopped the arm" in one.words[-1]
    assert one.probe.trigger("gate/rearm").success
    one.engage()
    assert one.probe.trigger("ros2_control_bridge/hold").success
    one.probe.wait(lambda: one.arm.active(HOLDING), "the holding controller")
    one.engage()
    one.session.finish()
    one.run(0.2)
    assert one.arm.active(HOLDING)
    assert one.arm.now["switches"] == 3 * [EFFORT, HOLDING] and one.arm.off_home(0) < 0.04


@pytest.mark.slow
def test_a_controller_of_positions_is_refused_by_name(graph: Callable[..., Graph]) -> None:
    one = graph(interface="position")
    one.wait_words("its interface_name is 'position'; must be 'effort'")
    assert one.arm.active(HOLDING) and not one.arm.now["switches"]
