# SPDX-License-Identifier: Apache-2.0
"""The controller's node in a running system: references, parameters, change of controller in motion; and the recording
of it all.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel, Message
from mcap.stream_reader import StreamReader
from mcap_ros2.reader import read_ros2_messages
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from metarl_robot.control.factory import load_config
from metarl_robot.core.robot import load_robot
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.arm.interface import JointInterface
from metarl_robot.ros_nodes.joint_trajectories import trajectory_message
from metarl_robot.trajectories.flat_outputs import Outputs

ROBOT = load_robot("planar2")
PERIOD_NS = round(ROBOT.control_period_s * 1e9)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run") / "recording" / "recording_0.mcap"


@pytest.fixture(scope="module")
def arm(start: Callable, recording: Path) -> object:
    """Driven by the test: the launch file's own reference is left out, so the arm is held until told otherwise."""
    arguments = {
        "robot": "planar2",
        "controller": "computed_torque",
        "lockstep": "true",
        "reference": "none",
        "payload_mass_kg": "0.8",
    }
    session = start(**arguments, payload_attach_s="0.0", record="true", record_file=f"{recording.parent}.mcap")
    session.probe.wait_state("passing")
    session.setpoints = []
    session.probe.listen(JointState, topics.SETPOINT, session.setpoints.append)
    session.references = session.probe.node.create_publisher(
        JointTrajectory, JointInterface.reference_topic, topics.REFERENCE_QOS
    )
    session.probe.wait(lambda: session.references.get_subscription_count() > 0 and session.setpoints, "the controller")
    return session


def move(arm, q: np.ndarray, seconds: float = 2.0, names: tuple[str, ...] = ROBOT.channel_names) -> None:
    """Send a trajectory that starts now and ends at q."""
    rest = np.zeros((1, len(q)))
    message = trajectory_message(names, 0, np.array([seconds]), Outputs(q[None], rest, rest))
    arm.references.publish(message)


def setpoint(arm) -> np.ndarray:
    return np.array(arm.setpoints[-1].position)


def test_without_a_reference_the_robot_is_held_where_it_is(arm) -> None:
    assert np.allclose(setpoint(arm), ROBOT.home, atol=1e-6)


def test_a_reference_is_followed_whatever_the_order_of_its_joints(arm) -> None:
    target = np.array([0.2, 1.4])
    move(arm, target[::-1], names=ROBOT.channel_names[::-1])
    arm.probe.wait(lambda: np.allclose(setpoint(arm), target, atol=1e-6), "the setpoint at the target")
    references = np.array([message.position for message in list(arm.setpoints)])
    assert np.abs(np.diff(references, axis=0)).max() < 0.05  # eased into: no step


@pytest.mark.parametrize(
    ("q", "names", "why"),
    [
        (np.array([9.0, 1.0]), ROBOT.channel_names, "position of joint 'shoulder' reaches 9.0000 rad"),
        (np.array([0.5, -2.9]), ROBOT.channel_names, "allowed: [-2.6000, 2.6000] rad"),
        (np.array([0.5]), ("shoulder",), "joints are ['shoulder']; they must be ['shoulder', 'elbow']"),
        (np.array([0.5, 1.0, 2.0]), ROBOT.channel_names, "point 0 has 3 positions; the robot has 2 joints"),
        (np.array([np.nan, 1.0]), ROBOT.channel_names, "not finite"),
    ],
)
def test_a_bad_reference_is_refused_by_joint_and_range_and_the_old_one_kept(
    arm, q: np.ndarray, names: tuple, why: str
) -> None:
    before, refused = setpoint(arm), arm.probe.count("mpc", "references_refused")
    move(arm, q, names=names)
    arm.probe.wait_count("mpc", "references_refused", refused + 1)
    arm.probe.wait(lambda: arm.said(why), f"'{why}' in the log")
    assert np.allclose(setpoint(arm), before, atol=1e-5)


def pairs(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def commanded(
    arm, frame: str, stamp_s: float, q: np.ndarray, names: tuple[str, ...] = ROBOT.channel_names
) -> tuple[bytes, dict[str, str]]:
    """The node's report on a reference with that header: level and values. The frame is the sender's mark."""
    rest = np.zeros((1, len(q)))
    message = trajectory_message(names, round(stamp_s * 1e9), np.array([1.0]), Outputs(q[None], rest, rest))
    message.header.frame_id = frame
    seen: list[DiagnosticStatus] = []
    arm.probe.listen(DiagnosticStatus, topics.REFERENCE_STATUS, seen.append, topics.EVENTS)
    arm.references.publish(message)

    def mine() -> list[DiagnosticStatus]:
        return [status for status in seen if pairs(status)["id"].endswith(frame)]

    arm.probe.wait(lambda: bool(mine()), f"the status of {frame}")
    return mine()[0].level, pairs(mine()[0])


def test_a_sender_is_told_what_became_of_its_reference(arm) -> None:
    level, values = commanded(arm, "good", 0.0, np.array([0.2, 1.4]))
    assert (level, values["accepted"], values["topic"]) == (DiagnosticStatus.OK, "True", JointInterface.reference_topic)
    assert float(values["ends_s"]) > float(values["begins_s"]) >= float(values["time_s"])  # it is some way off
    level, values = commanded(arm, "bad", 0.0, np.array([9.0, 1.0]))
    assert (level, values["accepted"]) == (DiagnosticStatus.ERROR, "False")
    assert "position of joint 'shoulder' reaches 9.0000 rad" in values["reason"]
    later_s = float(round(arm.probe.time_s)) + 40.0
    level, values = commanded(arm, "later", later_s, np.array([0.2, 1.4]))
    assert (
        values["id"] == f"{later_s:.0f}.000000000 later"
        and values["accepted"] == "True"
        and "it begins in" in values["reason"]
    )
    _, values = commanded(arm, "lost", later_s + 1000.0, np.array([0.2, 1.4]))
    assert values["accepted"] == "False" and "allowed: up to 60 s (max_reference_lead_s)" in values["reason"]


def test_joints_too_many_or_too_few_are_taken_as_the_parameters_say(arm) -> None:
    level, values = commanded(arm, "gripper", 0.0, np.array([0.2, 1.4, 0.04]), (*ROBOT.channel_names, "finger"))
    assert (level, values["accepted"]) == (DiagnosticStatus.WARN, "True") and "joints ['finger'] are ignored" in values[
        "reason"
    ]
    assert arm.probe.set_parameter("mpc", "ignore_extra_joints", False).successful
    _, values = commanded(arm, "strict", 0.0, np.array([0.2, 1.4, 0.04]), (*ROBOT.channel_names, "finger"))
    assert values["accepted"] == "False" and "ignore_extra_joints" in values["reason"]
    _, values = commanded(arm, "whole", 0.0, np.array([1.2]), ("elbow",))
    assert values["accepted"] == "False" and "allow_partial_joints_goal" in values["reason"]
    assert arm.probe.set_parameter("mpc", "allow_partial_joints_goal", True).successful
    shoulder = setpoint(arm)[0]
    _, values = commanded(arm, "part", 0.0, np.array([1.2]), ("elbow",))
    assert values["accepted"] == "True" and "joints ['shoulder'] hold" in values["reason"]
    arm.probe.wait(
        lambda: np.allclose(setpoint(arm), [shoulder, 1.2], atol=1e-2),
        "the elbow at its target, the shoulder as it was",
    )
    for name, value in (("ignore_extra_joints", True), ("allow_partial_joints_goal", False)):
        assert arm.probe.set_parameter("mpc", name, value).successful


def test_out_of_range_parameters_are_refused_with_the_range(arm) -> None:
    result = arm.probe.set_parameter("mpc", "controller_config.kp", -1.0)
    assert not result.successful and "Min: 0.0, Max: 5000.0" in result.reason
    result = arm.probe.set_parameter("mpc", "controller", "fuzzy")
    assert not result.successful and "Valid: computed_torque" in result.reason
    result = arm.probe.set_parameter("mpc", "controller", "oracle_mpc")
    assert not result.successful and "oracle_mpc" not in result.reason.partition("Valid")[2]
    descriptor = arm.probe.describe("mpc", "controller_config.kp")
    assert descriptor.description and descriptor.floating_point_range[0].to_value == 5000.0


def test_a_tuning_can_be_changed_in_motion(arm) -> None:
    changes = arm.probe.count("mpc", "controller_changes")
    assert arm.probe.set_parameter("mpc", "controller_config.kp", 300.0).successful
    arm.probe.wait_count("mpc", "controller_changes", changes + 1)
    assert arm.probe.parameter("mpc", "controller_config.kp") == 300.0


def test_a_change_of_controller_in_motion_makes_no_jump(arm) -> None:
    changes = arm.probe.count("mpc", "controller_changes")
    move(arm, np.array([1.0, 0.4]), seconds=6.0)
    arm.probe.wait_until(arm.probe.time_s + 1.0)
    arm.probe.clear()
    assert arm.probe.set_parameter("mpc", "controller", "pid").successful
    arm.probe.wait_count("mpc", "controller_changes", changes + 1)
    arm.probe.wait_until(arm.probe.time_s + 1.0)
    sent = {table.stamp_ns: table.values[0] for table in list(arm.probe.commands)}
    stamps = sorted(sent)
    steps = np.array(
        [np.abs(sent[b] - sent[a]) for a, b in zip(stamps, stamps[1:], strict=False) if b - a == PERIOD_NS]
    )
    assert len(steps) > 200 and steps.max() < 1.0  # Nm; the two controllers are apart by the weight of the payload
    assert arm.probe.parameter("mpc", "controller") == "pid"
    shipped = load_config(ROBOT, "pid").model_dump()["ki"]  # which computed_torque does not have
    assert arm.probe.parameter("mpc", "controller_config.ki") == shipped
    arm.probe.wait(lambda: arm.said("pid has taken over"), "the change in the log")


def switched(arm, **values: object) -> object:
    """Result of ~/switch_controller for these parameters."""
    parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    request = SetParametersAtomically.Request(parameters=parameters)
    return arm.probe.call(SetParametersAtomically, "/mpc/switch_controller", request).result


@pytest.mark.parametrize("name", ["offset_free_mpc", "computed_torque"])
def test_the_switch_service_answers_when_the_new_controller_is_at_work(arm, name: str) -> None:
    """Once it answers, time moves on without another change, and the controller in /diagnostics is the new one."""
    result = switched(arm, controller=name)
    assert result.successful and result.reason.startswith("at work; longest time between two commands")
    assert arm.probe.parameter("mpc", "controller") == name
    now_s = arm.probe.time_s
    arm.probe.wait_until(now_s + 1.0)
    arm.probe.wait(lambda: pairs_of(arm, "mpc").get("controller") == name, "the new controller's name")
    assert pairs_of(arm, "mpc")["building"] == "" and arm.probe.states[-1]["state"] == "passing"


def test_the_switch_service_changes_gains_and_gives_reasons(arm) -> None:
    assert switched(arm, controller="computed_torque").successful  # already: nothing to wait for
    assert switched(arm, **{"controller_config.kp": 250.0}).successful
    assert arm.probe.parameter("mpc", "controller_config.kp") == 250.0
    refused = switched(arm, controller="se3")
    assert not refused.successful and "unknown controller 'se3'" in refused.reason
    assert arm.probe.parameter("mpc", "controller") == "computed_torque"
    assert switched(arm, report_hz=20.0).successful  # builds nothing


def pairs_of(arm, node: str) -> dict[str, str]:
    return {pair.key: pair.value for pair in arm.probe.diagnostics[node].values}


def test_a_world_that_is_reset_starts_anew(arm) -> None:
    before = len(arm.probe.truth)
    assert arm.probe.trigger("/plant/reset_world").success
    arm.probe.wait(lambda: any(0.0 <= table.stamp_s < 0.5 for table in arm.probe.truth[before:]), "time near zero")
    arm.probe.wait_until(1.0)
    arm.probe.wait_state("passing")


def test_the_recording_is_complete_and_readable(arm, recording: Path) -> None:
    assert arm.probe.call(SetBool, "/plant/set_pause", SetBool.Request(data=True)).success
    arm.finish()
    assert (recording.parent / "metadata.yaml").is_file()
    with recording.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None and summary.statistics is not None
    counts = {summary.channels[i].topic: n for i, n in summary.statistics.channel_message_counts.items()}
    expected = {
        "/joint_states", "/effort_controller/commands", "/gate/command", "/gate/state", "/mpc/joint_trajectory",
        "/mpc/setpoint",
        "/mpc/step", "/plant/truth", "/clock", "/diagnostics", "/rosout", "/mpc/step/named", "/plant/truth/named",
    }  # fmt: skip
    assert expected <= set(counts)
    assert counts["/joint_states"] > 500 and counts["/effort_controller/commands"] > 0.9 * counts["/joint_states"], (
        counts
    )
    decoded = list(read_ros2_messages(str(recording), topics=["/joint_states"]))
    assert len(decoded) == counts["/joint_states"]
    assert all(list(message.ros_msg.name) == list(ROBOT.channel_names) for message in decoded)


def test_a_recording_that_was_cut_off_can_be_read_up_to_there(recording: Path, tmp_path: Path) -> None:
    whole = recording.read_bytes()
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(whole[: len(whole) // 2])  # as a process that was killed leaves it: no index, no summary
    found: Counter[str] = Counter()
    channels: dict[int, str] = {}
    with broken.open("rb") as stream, suppress(McapError, struct.error):
        for record in StreamReader(stream).records:
            if isinstance(record, Channel):
                channels[record.id] = record.topic
            elif isinstance(record, Message):
                found[channels[record.channel_id]] += 1
    assert found["/joint_states"] > 200 and found["/effort_controller/commands"] > 200
