# SPDX-License-Identifier: Apache-2.0
"""The gate's process in a running system: emergency stop, re-arming, life cycle, and the controller killed under
motion.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from std_srvs.srv import SetBool

from metarl_robot.core.robot import load_robot

ROBOT = load_robot("planar2")
PERIOD_NS = round(ROBOT.control_period_s * 1e9)


@pytest.fixture(scope="module")
def arm(start: Callable) -> object:
    session = start(robot="planar2", controller="computed_torque", lockstep="true", reference="tracking", seed="3")
    session.probe.wait_state("passing")
    session.probe.wait_until(1.0)
    return session


def velocities(truth: list) -> np.ndarray:
    """(K, n) true joint velocities [rad/s]."""
    return np.array([[table.value(f"{joint}/velocity_rad_s") for joint in ROBOT.channel_names] for table in truth])


def positions(truth: list) -> np.ndarray:
    return np.array([[table.value(f"{joint}/position_rad") for joint in ROBOT.channel_names] for table in truth])


def largest_change(commands: list) -> np.ndarray:
    """(n,) largest change of effort from one control period to the next [Nm]."""
    unique = {table.stamp_ns: table.values[0] for table in commands}
    stamps = sorted(unique)
    steps = [unique[b] - unique[a] for a, b in zip(stamps, stamps[1:], strict=False) if b - a == PERIOD_NS]
    return np.abs(np.array(steps)).max(axis=0)


def step(probe) -> float:
    """Simulated time after one step by hand, taken as soon as the present state has its command."""
    answers = []

    def taken() -> bool:
        answers.append(probe.trigger("/plant/step"))
        return answers[-1].success

    probe.wait(taken, "a step by hand")
    return float(answers[-1].message.split()[2])


def time_now(probe) -> float:
    """Simulated time of the plant: the newest truth that has come here may be long past, and topics are in no order."""
    assert probe.call(SetBool, "/plant/set_pause", SetBool.Request(data=True)).success
    now_s = step(probe)
    assert probe.call(SetBool, "/plant/set_pause", SetBool.Request(data=False)).success
    return now_s


def test_every_state_is_answered_once_and_in_order(arm) -> None:
    arm.probe.clear()
    arm.probe.wait_until(arm.probe.time_s + 1.0)
    stamps = [table.stamp_ns for table in list(arm.probe.truth)]
    assert np.all(np.diff(stamps) == PERIOD_NS)


def test_a_gate_that_passes_cannot_be_deactivated_nor_be_killed_by_an_impossible_transition(arm) -> None:
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    assert not arm.probe.call(ChangeState, "/gate/change_state", request).success
    assert arm.probe.call(GetState, "/gate/get_state").current_state.label == "active"
    arm.probe.wait(
        lambda: arm.said("cannot deactivate: the gate is passing; stop the robot first"), "the reason in the log"
    )


def test_out_of_range_parameters_are_refused_with_the_range(arm) -> None:
    result = arm.probe.set_parameter("gate", "command_timeout_s", 7.0)
    assert not result.successful and "0.002" in result.reason and "1.0" in result.reason
    result = arm.probe.set_parameter("gate", "hold_stiffness_nm_rad", [1.0, 2.0, 3.0])
    assert not result.successful and "planar2 needs none, one or 2" in result.reason
    result = arm.probe.set_parameter("gate", "hold_stiffness_nm_rad", [-1.0, 2.0])
    assert not result.successful and "[0.0, 100000.0] each" in result.reason
    assert not arm.probe.set_parameter("gate", "robot", "panda").successful  # read-only
    assert arm.probe.set_parameter("gate", "command_timeout_s", 0.045).successful
    assert arm.probe.parameter("gate", "command_timeout_s") == 0.045
    descriptor = arm.probe.describe("gate", "command_timeout_s")
    assert descriptor.description and descriptor.floating_point_range[0].to_value == 1.0


def test_emergency_stop_holds_and_latches_until_rearmed(arm) -> None:
    probe = arm.probe
    probe.clear()
    assert probe.trigger("/gate/estop").success
    probe.wait_state("holding", latched=True)
    held = time_now(probe)
    probe.wait_until(held + 1.5)
    truth = [table for table in probe.truth if table.stamp_s > held + 0.5]
    assert np.abs(velocities(truth)).max() < 0.1
    assert probe.states[-1]["latched"] == "True" and probe.states[-1]["reason"] == "emergency stop"
    probe.clear()
    answer = probe.trigger("/gate/rearm")
    assert answer.success, answer.message
    probe.wait_state("passing", latched=False)
    probe.wait_until(probe.time_s + 2.0)
    # 0.2 to 0.48, by where on its way the reference is then
    largest = 0.6 * ROBOT.effort_rate_limit * ROBOT.control_period_s
    assert np.all(largest_change(list(probe.commands)) < largest)  # no jump
    assert probe.count("plant", "violations") == 0


def test_rearming_is_refused_while_the_robot_brakes(arm) -> None:
    probe = arm.probe
    probe.wait_until(probe.time_s + 1.0)
    pause = SetBool.Request(data=True)
    assert probe.call(SetBool, "/plant/set_pause", pause).success  # simulated time stands still
    probe.trigger("/gate/estop")
    step(probe)
    answer = probe.trigger("/gate/rearm")
    assert not answer.success and "not re-armed" in answer.message
    assert probe.call(SetBool, "/plant/set_pause", SetBool.Request(data=False)).success
    probe.wait_state("holding", latched=True)
    assert probe.trigger("/gate/rearm").success
    probe.wait_state("passing")


def test_pause_stops_time_and_step_advances_it_by_one_period(arm) -> None:
    probe = arm.probe
    assert probe.call(SetBool, "/plant/set_pause", SetBool.Request(data=True)).success
    before = step(probe)
    for k in range(1, 4):
        probe.wait(
            lambda k=k: probe.truth[-1].stamp_s >= before + (k - 1) * ROBOT.control_period_s - 1e-9, "the stepped state"
        )
        probe.wait(lambda: probe.commands[-1].stamp_ns == probe.truth[-1].stamp_ns, "its command")
        after = step(probe)
        assert after == pytest.approx(before + k * ROBOT.control_period_s)
    assert probe.call(SetBool, "/plant/set_pause", SetBool.Request(data=False)).success
    probe.wait_until(after + 0.5)
    assert probe.states[-1]["state"] == "passing"


def test_killing_the_controller_under_motion_brakes_within_50_ms_of_simulated_time_and_holds(arm) -> None:
    probe = arm.probe
    assert probe.set_parameter("gate", "command_timeout_s", 0.04).successful
    assert probe.set_parameter("gate", "grace_s", 0.3).successful
    probe.wait(lambda: np.abs(velocities(probe.truth[-1:])).max() > 0.8, "motion")
    probe.clear()
    victim = arm.launch.process("mpc")
    arm.expected.add("mpc")
    victim.popen.send_signal(signal.SIGKILL)
    victim.popen.wait()
    probe.wait_state("holding", latched=True)
    stood = time_now(probe)
    probe.wait_until(stood + 4.0)
    commands = {table.stamp_ns: table.values[0] for table in list(probe.commands)}
    stamps = sorted(commands)
    efforts = np.array([commands[stamp] for stamp in stamps])
    # the last command, held until its deadline
    repeats = np.flatnonzero(np.all(np.diff(efforts, axis=0) == 0.0, axis=1))
    last = stamps[repeats[0]]
    braking = next(
        stamp for stamp, effort in commands.items() if stamp > last and not np.array_equal(effort, commands[last])
    )
    assert (braking - last) * 1e-9 <= 0.05
    truth = list(probe.truth)
    speed = np.abs(velocities(truth)).max(axis=1)
    times = np.array([table.stamp_s for table in truth])
    at_braking = speed[np.searchsorted(times, braking * 1e-9)]
    assert speed[np.searchsorted(times, braking * 1e-9 + 0.3)] < 0.5 * at_braking
    rest = [table for table in truth if table.stamp_s > stood + 3.0]
    assert np.abs(velocities(rest)).max() < 0.02
    assert np.abs(positions(rest) - positions(rest)[-1]).max() < 5e-3
    assert arm.launch.process("gate").returncode is None
    assert probe.count("plant", "violations") == 0


def test_without_a_controller_it_cannot_be_rearmed(arm) -> None:
    answer = arm.probe.trigger("/gate/rearm")
    assert not answer.success and "command" in answer.message
    arm.launch.poll()
    arm.probe.wait(lambda: arm.said("process has died [pid") and arm.said("exit code -9"), "the report of its death")
