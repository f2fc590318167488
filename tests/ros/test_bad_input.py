# SPDX-License-Identifier: Apache-2.0
"""Joint states as real drivers send them, and worse. The test is the robot here: it simulates, publishes and reads the
answers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.robot import load_robot
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.arm.interface import JointInterface
from metarl_robot.ros_nodes.joint_states import joint_state
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import nominal_task

ROBOT = load_robot("planar2")
PERIOD_NS = round(ROBOT.control_period_s * 1e9)

LAUNCH = """
launch:
- node: {pkg: metarl_robot, exec: gate, name: gate, param: [
    {name: robot, value: planar2}, {name: lockstep, value: 'true'}, {name: grace_s, value: '1.0'}]}
- node: {pkg: metarl_robot, exec: mpc, name: mpc, param: [
    {name: robot, value: planar2}, {name: lockstep, value: 'true'}, {name: controller, value: computed_torque}]}
"""


class Robot:
    """Joint states out, efforts in, one for each. alter: applied to a joint state on its way."""

    def __init__(self, session: object) -> None:
        self.probe = session.probe
        self.answers: dict[int, np.ndarray] = {}
        self.probe.listen(Float64MultiArray, JointInterface.commands, self._on_command)
        self._out = self.probe.node.create_publisher(JointState, JointInterface.state_topic, topics.STATE_OUT)
        self.stamp_ns = 10**9
        self.restart()

    def _on_command(self, message: Float64MultiArray) -> None:
        self.answers[int(message.layout.dim[0].label.split()[0].replace(".", ""))] = np.array(message.data)

    def restart(self) -> None:
        self.plant = ArmPlant(ROBOT, nominal_task(ROBOT))
        self._measured = self.plant.measure()

    def step(self, alter: Callable[[JointState], None] | None = None) -> np.ndarray:
        """One state, its answer, one control period; returns the answer."""
        self.stamp_ns += PERIOD_NS
        message = joint_state(
            ROBOT.channel_names, self.stamp_ns, self._measured.q, self._measured.v, self.plant.applied_effort
        )
        if alter is not None:
            alter(message)
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        self.answers.pop(stamp, None)

        def answered() -> bool:
            self._out.publish(message)  # again and again, as the plant does
            return stamp in self.answers

        self.probe.wait(answered, f"an answer to the state of {stamp} ns")
        self._measured = self.plant.step(self.answers[stamp], ROBOT.control_period_s)
        return self.answers[stamp]

    def run(self, count: int, alter: Callable[[JointState], None] | None = None) -> np.ndarray:
        return np.array([self.step(alter) for _ in range(count)])


@pytest.fixture(scope="module")
def robot(start: Callable, tmp_path_factory: pytest.TempPathFactory) -> Robot:
    path: Path = tmp_path_factory.mktemp("launch") / "bad.launch.yaml"
    path.write_text(LAUNCH)
    made = Robot(start(path))
    made.run(20)
    made.probe.wait_state("passing")
    return made


@pytest.fixture(autouse=True)
def passing(robot: Robot) -> None:
    """Each test begins with a system that works, independent of the test before."""
    robot.restart()
    robot.run(5)
    if robot.probe.states[-1]["latched"] == "True":
        robot.run(300)
        robot.probe.wait_state("holding", latched=True)
        answer = robot.probe.trigger("/gate/rearm")
        assert answer.success, answer.message
        robot.run(5)
    robot.probe.wait_state("passing")
    robot.run(100)


def reordered_with_strangers(message: JointState) -> None:
    message.name = ["gripper", *reversed(message.name), "tail"]
    message.position = [9.0, *reversed(message.position), -9.0]
    message.velocity = [5.0, *reversed(message.velocity), -5.0]
    message.effort = []


def test_reordered_joints_extra_joints_and_missing_efforts_change_nothing(robot: Robot) -> None:
    robot.run(50, reordered_with_strangers)
    assert robot.probe.states[-1]["state"] == "passing"
    assert np.abs(robot.plant.truth.q - ROBOT.home).max() < 0.05  # as the controller sees it: still where it held it
    assert robot.probe.count("mpc", "state_names") == 0


def nan_position(message: JointState) -> None:
    message.position = [float("nan"), message.position[1]]


def nan_velocity(message: JointState) -> None:
    message.velocity = [message.velocity[0], float("nan")]


def missing_joint(message: JointState) -> None:
    message.name, message.position, message.velocity = ["shoulder"], message.position[:1], message.velocity[:1]


def missing_velocity(message: JointState) -> None:
    message.velocity = []


@pytest.mark.parametrize(
    ("alter", "why"),
    [(nan_position, "not_finite"), (nan_velocity, "not_finite"), (missing_joint, "names"), (missing_velocity, "names")],
)
def test_states_that_cannot_be_used_are_counted_and_the_robot_is_held(robot: Robot, alter: Callable, why: str) -> None:
    before = {node: robot.probe.count(node, f"state_{why}") for node in ("gate", "mpc")}
    good = robot.step()
    bad = robot.run(40, alter)
    robot.probe.wait_state("blind")
    assert robot.probe.wait_count("gate", f"state_{why}", before["gate"] + 40) == before["gate"] + 40
    # the gate did not wait for it: it may have seen fewer
    robot.probe.wait_count("mpc", f"state_{why}", before["mpc"] + 1)
    assert np.all(np.isfinite(bad)) and np.abs(bad - good).max() < 0.5  # Nm: it goes on carrying the arm's weight
    assert np.abs(robot.plant.truth.q - ROBOT.home).max() < 0.1
    robot.run(20)
    robot.probe.wait(lambda: robot.probe.states[-1]["state"] != "blind", "sight")


def test_one_bad_state_is_no_reason_to_stop(robot: Robot) -> None:
    said = len(robot.probe.states)
    robot.step(nan_position)
    robot.run(10)
    assert all(state["state"] == "passing" for state in robot.probe.states[said:])


def shifted(seconds: float) -> Callable[[JointState], None]:
    def alter(message: JointState) -> None:
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec + round(seconds * 1e9)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)

    return alter


@pytest.mark.parametrize(("seconds", "why"), [(1000.0, "stamp_jumped"), (-0.5, "stamp_backwards")])
def test_a_stamp_that_jumps_is_refused_and_counted(robot: Robot, seconds: float, why: str) -> None:
    before = {node: robot.probe.count(node, f"state_{why}") for node in ("gate", "mpc")}
    for _ in range(5):
        robot.run(1, shifted(seconds))
        robot.run(10)
    assert robot.probe.wait_count("gate", f"state_{why}", before["gate"] + 5) == before["gate"] + 5
    # the gate did not wait for it: it may have seen fewer
    robot.probe.wait_count("mpc", f"state_{why}", before["mpc"] + 1)
    assert robot.probe.states[-1]["state"] == "passing"


def test_a_clock_that_was_set_is_believed_after_three_states_and_the_controller_starts_afresh(robot: Robot) -> None:
    robot.stamp_ns += 500 * 10**9
    robot.run(30)
    robot.probe.wait_state("passing")
    assert np.abs(robot.plant.truth.q - ROBOT.home).max() < 0.1


REAL_TIME = """
launch:
- node: {pkg: metarl_robot, exec: gate, name: gate, param: [{name: robot, value: planar2}]}
- node: {pkg: metarl_robot, exec: mpc, name: mpc,
         param: [{name: robot, value: planar2}, {name: controller, value: pid}]}
"""


def test_states_from_another_time_are_refused_on_a_real_robot(start: Callable, tmp_path: Path) -> None:
    path = tmp_path / "real.launch.yaml"
    path.write_text(REAL_TIME)
    probe = start(path).probe
    out = probe.node.create_publisher(JointState, JointInterface.state_topic, topics.STATE_OUT)
    for offset_s, why in ((-2.0, "state_stale"), (2.0, "state_future")):
        for node in ("gate", "mpc"):

            def refused(offset_s: float = offset_s, why: str = why, node: str = node) -> bool:
                stamp_ns = probe.node.get_clock().now().nanoseconds + round(offset_s * 1e9)
                out.publish(joint_state(ROBOT.channel_names, stamp_ns, ROBOT.home, np.zeros(2)))
                return probe.count(node, why) > 0

            probe.wait(refused, f"{node}: {why}")
    assert not probe.commands and probe.states[-1]["state"] == "waiting"
