# SPDX-License-Identifier: Apache-2.0
"""Shadow mode: it learns what a robot carries while a stranger's controller moves it, and cannot command anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import InertiaStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from metarl_robot.cli.launch_file import find_launch_file
from metarl_robot.core.robot import load_robot
from metarl_robot.core.tables import Table, table_of
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.arm.interface import JointInterface
from metarl_robot.ros_nodes.convert import nanoseconds
from tests.ros.allowed import assert_exactly_allowed

ARM = load_robot("planar2")
MASS_KG, ATTACH_S, END_S = 0.4, 1.5, 5.0
TOLERANCE_KG = 0.2
"""Errors are 0.05 to 0.1 kg. tests/control/test_shadow.py judges the estimate itself."""
PATIENCE = 20
LEARNED = {"context", "contact", "payload", "external_torque", "external_wrench", "prediction"}
EVERY_NODE_HAS = {"/diagnostics", "/parameter_events", "/rosout", "/shadow/transition_event"}


def beside(folder: Path, launched: str, others: str, **arguments: str) -> Path:
    """A launch file: shadow mode, and the nodes that it is beside."""
    given = {"shadow": "true", "lockstep": "true", **arguments}
    text = "launch:\n" + others + included(launched, **given)
    (folder / "shadow.launch.yaml").write_text(text, encoding="utf-8")
    return folder / "shadow.launch.yaml"


def included(launched: str, **arguments: str) -> str:
    pairs = ", ".join(f"{{name: {name}, value: '{value}'}}" for name, value in arguments.items())
    return f"- include: {{file: {find_launch_file(launched)}, arg: [{pairs}]}}\n"


class Stranger:
    """A controller that knows nothing of this package: plain numbers, one message for each state.

    It is slow: it answers a state when shadow mode has learned from it, or nothing for PATIENCE repetitions, and the
    first ones at once. Otherwise unstamped efforts may be those of a neighbouring sample: errors of 0.22 kg were seen.
    """

    def __init__(self, probe: Any) -> None:
        self._dynamics, self._repeated = ArmDynamics(ARM), 0
        self._stamp_ns = self._learned_ns = -1
        self._answer: Float64MultiArray | None = None
        self._out = probe.node.create_publisher(Float64MultiArray, JointInterface.commands, topics.COMMAND)
        probe.listen(JointState, "shadow/external_torque", self._on_learned)
        probe.listen(JointState, JointInterface.state_topic, self._on_state)

    def _on_state(self, message: JointState) -> None:
        stamp_ns = nanoseconds(message.header.stamp)
        if stamp_ns == self._stamp_ns:  # the plant repeats a state until it is answered
            self._repeated += 1
            self._send()
            return
        self._stamp_ns, self._repeated = stamp_ns, 0
        q, v = np.array(message.position), np.array(message.velocity)
        phase = 2.0 * stamp_ns * 1e-9 + np.array([0.0, 1.0])
        wanted, speed = ARM.home + 0.4 * np.sin(phase) - 0.4 * np.sin([0.0, 1.0]), 0.8 * np.cos(phase)
        effort = self._dynamics.bias(q, v) + 40.0 * (wanted - q) + 4.0 * (speed - v)
        self._answer = Float64MultiArray(data=np.clip(effort, -ARM.effort_limit, ARM.effort_limit).tolist())
        self._send()

    def _on_learned(self, message: JointState) -> None:
        self._learned_ns = nanoseconds(message.header.stamp)
        self._send()

    def _send(self) -> None:
        learned = self._learned_ns in (-1, self._stamp_ns)
        if self._answer is not None and (learned or self._repeated >= PATIENCE):
            self._out.publish(self._answer)
            self._answer = None


@pytest.mark.parametrize("efforts", ["commands", "states"])
def test_it_learns_beside_a_stranger_s_controller_and_cannot_command(
    start: Callable, tmp_path: Path, efforts: str
) -> None:
    values = {
        "robot": "planar2",
        "lockstep": "true",
        "task.payload_mass_kg": MASS_KG,
        "task.payload_attach_s": ATTACH_S,
    }
    parameters = ", ".join(f"{{name: {name}, value: {value}}}" for name, value in values.items())
    plant = f"- node: {{pkg: metarl_robot, exec: plant, name: plant, param: [{parameters}]}}\n"
    session = start(beside(tmp_path, "arm", plant, robot="planar2", efforts=efforts))
    probe = session.probe
    payloads: list[InertiaStamped] = []
    predictions: list[Table] = []
    torques: list[JointState] = []
    probe.listen(InertiaStamped, "shadow/payload", payloads.append)
    probe.listen(Float64MultiArray, "shadow/prediction", lambda m: predictions.append(table_of(m)))
    probe.listen(JointState, "shadow/external_torque", torques.append)
    probe.wait(lambda: session.said("[shadow]: activated"), "shadow mode")
    Stranger(probe)
    probe.wait_until(END_S)

    nodes = set(probe.node.get_node_names())
    assert {"plant", "shadow", "probe"} <= nodes and not nodes & {"gate", "mpc", "reference"}
    published = {name for name, _ in probe.node.get_publisher_names_and_types_by_node("shadow", "/")}
    assert published <= EVERY_NODE_HAS | {f"/shadow/{name}" for name in LEARNED}
    commanders = probe.node.get_publishers_info_by_topic(f"/{JointInterface.commands}")
    assert [end.node_name for end in commanders] == ["probe"]
    assert probe.node.count_publishers(topics.GATE_COMMAND) == 0

    before = next(p for p in payloads if nanoseconds(p.header.stamp) * 1e-9 > ATTACH_S - 0.2).inertia.m
    assert abs(before) < TOLERANCE_KG and abs(payloads[-1].inertia.m - MASS_KG) < TOLERANCE_KG
    late = [table for table in predictions if table.stamp_s > ATTACH_S + 1.5]
    missed = np.array([np.diff(table.values, axis=0)[0] for table in late])
    measured = np.array([table.row("measured") for table in late])
    assert len(late) > 10 and np.sqrt(np.mean(missed**2) / np.mean(measured**2)) < 0.2
    assert torques and tuple(torques[0].name) == ARM.channel_names
    assert probe.wait_count("shadow", "learned", 100)
    assert probe.diagnostics["shadow"].message.startswith("learns beside")
    if efforts == "commands":
        assert_exactly_allowed(probe.node, "arm", "shadow")
    session.finish()


@pytest.mark.parametrize(
    ("launched", "controller", "quantity"), [("quad", "meta_mpc", "payload"), ("ground", "pure_pursuit", "context")]
)
def test_it_learns_beside_this_package_s_own_nodes(
    start: Callable, tmp_path: Path, launched: str, controller: str, quantity: str
) -> None:
    own = included(launched, controller=controller, lockstep="true", **PAYLOADS[launched])
    session = start(beside(tmp_path, launched, own))
    probe, heard = session.probe, []
    kind = InertiaStamped if quantity == "payload" else Float64MultiArray
    probe.listen(kind, f"shadow/{quantity}", heard.append)
    probe.wait_until(4.0)
    probe.wait_count("shadow", "learned", 300)

    def ratio() -> float:
        found = {pair.key: pair.value for pair in probe.diagnostics["shadow"].values}["prediction_error_ratio"]
        return float(found or "inf")

    probe.wait(lambda: ratio() < BETTER, "predictions better than the nominal model's")
    if quantity == "payload":
        assert np.isfinite(heard[-1].inertia.m)
    else:
        assert np.all(np.isfinite(table_of(heard[-1]).values))
    assert_exactly_allowed(probe.node, launched, "shadow")
    session.finish()


QUAD_PAYLOAD_KG = 0.3
BETTER = 0.7
PAYLOADS = {"quad": {"payload_mass_kg": str(QUAD_PAYLOAD_KG), "payload_attach_s": "1.0"}, "ground": {}}
