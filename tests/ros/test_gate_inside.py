# SPDX-License-Identifier: Apache-2.0
"""mpc and gate in one process (gate:=inside): the same commands as from two, and a stop of a controller that hangs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs the extra [ros] or a ROS 2 installation")

from metarl_robot.core.tables import table_of
from metarl_robot.ros_nodes import thread_link, topics
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface
from metarl_robot.ros_nodes.thread_link import Inbox
from tests.ros.allowed import assert_exactly_allowed

SAME_S = 1.0
HANGING = """
import ctypes
from metarl_robot.control.base import ControllerSpec
from metarl_robot.robots.arm.pid import SPEC as PID

def build(hang):
    def built(*arguments, **options):
        controller = PID.build(*arguments, **options)
        step = controller.step
        def hanging(time_s, state, reference):
            if time_s > 1.0:
                hang()
            return step(time_s, state, reference)
        controller.step = hanging
        return controller
    return built

def spin():
    while True:
        pass

NATIVE = ControllerSpec(PID.config, build(ctypes.CDLL(None).pause), kinds=("arm",))
PYTHON = ControllerSpec(PID.config, build(spin), kinds=("arm",))
"""


def test_of_each_topic_only_the_newest_messages_wait_and_all_are_handled_in_their_order() -> None:
    inbox, seen = Inbox(), []
    inbox.post("lost", 0)  # nobody listens
    inbox.post("state", "kept", keep=True)
    for topic, depth in (("imu", 2), ("odom", 1), ("state", 1)):
        inbox.listen(topic, lambda message, topic=topic: seen.append((topic, message)), depth)
    for topic, message in (("imu", 1), ("odom", 1), ("imu", 2), ("imu", 3), ("odom", 2)):
        inbox.post(topic, message)
    assert not inbox.wait_until_handled(0.0)
    inbox.handle()
    assert seen == [("state", "kept"), ("imu", 2), ("imu", 3), ("odom", 2)] and inbox.wait_until_handled(0.0)
    inbox.leave("odom")
    inbox.post("odom", 3)
    inbox.handle()
    assert seen[-1] == ("odom", 2)


class Forgetful:
    """An executor that loses its first task."""

    def __init__(self) -> None:
        self.tasks: list[Callable] = []

    def create_task(self, task: Callable) -> None:
        self.tasks.append(task)


def test_a_task_that_the_executor_loses_holds_nothing_back_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now, inbox, seen = [10.0], Inbox(), []
    monkeypatch.setattr(thread_link, "monotonic", lambda: now[0])
    executor = Forgetful()
    inbox.open(SimpleNamespace(executor=executor))
    inbox.listen("state", seen.append, 1)
    inbox.post("state", 1)
    inbox.post("state", 2)
    assert len(executor.tasks) == 1  # lost
    now[0] += 1.1 * thread_link.WAKE_AGAIN_S
    inbox.post("state", 3)
    assert len(executor.tasks) == 2
    executor.tasks[1]()
    assert seen == [3]
    inbox.post("state", 4)
    assert len(executor.tasks) == 3


def commands(start: Callable, gate: str) -> dict[str, dict[int, np.ndarray]]:
    """By topic and stamp, the first commands of the controller and of the gate to a quadrotor."""
    arguments = {"robot": "x500", "controller": "nominal_mpc", "reference": "circle", "seed": "4"}
    session = start("quad", lockstep="true", gate=gate, **arguments)
    wanted: list = []
    kind = OdometryInterface.gate_command_type
    session.probe.listen(kind, topics.GATE_COMMAND, lambda message: wanted.append(table_of(message)))
    session.probe.wait_until(SAME_S)
    if gate == "inside":
        assert_exactly_allowed(session.probe.node, "quad", "mpc_with_gate", nodes={"gate"})
    tables = {"wanted": wanted, "sent": session.probe.commands}
    seen = {
        name: {table.stamp_ns: table.values[0] for table in list(given) if table.stamp_s < SAME_S}
        for name, given in tables.items()
    }
    session.finish()
    return seen


def test_both_forms_command_the_same(start: Callable) -> None:
    separate, inside = commands(start, "separate"), commands(start, "inside")
    for topic, given in separate.items():
        shared = given.keys() & inside[topic].keys()
        assert len(shared) > 50
        assert all(np.array_equal(given[stamp], inside[topic][stamp]) for stamp in shared)


@pytest.mark.real_time
@pytest.mark.parametrize("controller", ["native", "python"])
def test_a_controller_that_hangs_brings_the_fallback(
    start: Callable, install: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controller: str
) -> None:
    install(HANGING, "[metarl_robot.controllers]\nnative = other_package:NATIVE\npython = other_package:PYTHON\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    params = tmp_path / "params.yaml"
    params.write_text("/gate:\n  ros__parameters: {realtime_priority: 0}\n", encoding="utf-8")  # it would take a core
    arguments = {"controller": controller, "gate": "inside", "reference": "tracking", "seed": "3"}
    session = start(robot="planar2", params=str(params), **arguments)
    probe = session.probe
    session.expected.add("mpc_with_gate")  # its thread hangs, so that it does not end in order
    probe.wait(lambda: any(state["state"] == "passing" for state in probe.states), "the first command to pass")
    probe.wait_until(1.5)
    probe.wait_state("holding")
    assert "the newest good command is" in probe.states[-1]["reason"]
    held_s = probe.time_s
    probe.wait_until(held_s + 0.5)
    velocity = [probe.truth[-1].value(f"{joint}/velocity_rad_s") for joint in ("shoulder", "elbow")]
    assert np.abs(velocity).max() < 0.05
    assert probe.truth[-1].value("violations") == 0.0
