# SPDX-License-Identifier: Apache-2.0
"""The bridge to ros2_control and a stand-in that serves ros2_control's services and topics, in real time.

The stand-in (tests/ros2_control/stand_in.py) is NOT ros2_control: our MuJoCo arm executes the efforts.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from metarl_robot.core.errors import MetaRLError  # noqa: E402
from metarl_robot.ros_nodes.messages.provide import provide  # noqa: E402
from tests.ros2_control.running import ROBOT, Graph  # noqa: E402

try:
    provide("controller_manager_msgs")
except MetaRLError as error:
    pytest.skip(f"controller_manager_msgs: {error}", allow_module_level=True)

EFFORT, HOLDING = "forward_effort_controller", "joint_trajectory_controller"


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
