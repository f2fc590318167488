# SPDX-License-Identifier: Apache-2.0
"""`arm.launch.yaml` with every controller: it starts, tracks, meets a payload that nobody told it, and stays within
limits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import InertiaStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.tables import NANOSECONDS, table_of
from metarl_robot.ros_nodes import topics

ATTACH_S = 2.0
MASS_KG = 0.4
# far above any controller's error, far below a broken loop's; `metarl eval` has the real figures
ERROR_RAD = 0.2


def follow(start: Callable, **arguments: str) -> tuple[object, list, list, list]:
    """A started arm, and lists that fill with its setpoints, steps and payload estimates."""
    usual = {"lockstep": "true", "payload_mass_kg": str(MASS_KG), "payload_attach_s": str(ATTACH_S), "seed": "1"}
    session = start(**{**usual, **arguments})
    setpoints: list = []
    steps: list = []
    payloads: list = []

    def on_setpoint(message: JointState) -> None:
        stamp = message.header.stamp
        setpoints.append((stamp.sec * NANOSECONDS + stamp.nanosec, np.array(message.position)))

    session.probe.listen(JointState, topics.SETPOINT, on_setpoint)
    session.probe.listen(Float64MultiArray, topics.STEP, lambda m: steps.append(table_of(m)))
    session.probe.listen(InertiaStamped, topics.report("payload"), payloads.append)
    return session, setpoints, steps, payloads


@pytest.mark.parametrize("controller", ["computed_torque", "meta_mpc", "meta_policy"])
def test_it_tracks_and_meets_the_payload(start: Callable, error_m: Callable, controller: str) -> None:
    """A law, an MPC that learns and a policy; test_swapping.py moves an arm with every controller."""
    learned = controller == "meta_mpc"
    robot = "panda" if controller.startswith("meta") else "planar2"
    session, setpoints, steps, payloads = follow(start, robot=robot, controller=controller)
    probe = session.probe
    probe.wait_until(ATTACH_S + 3.0)
    assert session.launch.poll() and [s["state"] for s in probe.states][-1] == "passing"
    error = error_m(list(probe.truth), list(setpoints))
    before = error[(error[:, 0] > 1.0) & (error[:, 0] < ATTACH_S), 1]
    after = error[error[:, 0] > ATTACH_S + 2.0, 1]
    assert len(before) > 50 and len(after) > 50
    assert before.max() < ERROR_RAD
    assert after.max() < 2 * ERROR_RAD
    assert {table.value("status") for table in steps} == {0.0}
    assert probe.truth[-1].value("payload_mass_kg") == MASS_KG and probe.truth[-1].value("violations") == 0.0
    assert probe.wait_count("mpc", "steps", 100) and probe.count("mpc", "status_failed") == 0
    assert not any(
        probe.count(node, f"state_{why}") for node in ("mpc", "gate") for why in ("names", "not_finite", "stamp_jumped")
    )
    if learned:
        assert abs(payloads[-1].inertia.m - MASS_KG) < 0.3
    session.finish()


def test_lockstep_is_the_same_run_every_time(start: Callable) -> None:
    runs = []
    for _ in range(2):
        arguments = {
            "robot": "planar2",
            "controller": "computed_torque",
            "suite": "heldout",
            "scenario": "friction_step",
            "seed": "2",
        }
        session, _, _, _ = follow(start, **arguments)  # reference `tracking`: begins elsewhere, so it is eased into
        session.probe.wait_until(ATTACH_S + 0.5)
        runs.append(
            {table.stamp_ns: table.values for table in list(session.probe.truth) if table.stamp_s <= ATTACH_S + 0.5}
        )
        session.finish()
    shared = runs[0].keys() & runs[1].keys()
    assert len(shared) > 50  # the last ones stand for all before them
    assert all(np.array_equal(runs[0][stamp], runs[1][stamp]) for stamp in shared)


def test_a_robot_that_compensates_gravity_itself_is_sent_efforts_without_it(start: Callable, error_m: Callable) -> None:
    arguments = {"robot": "planar2", "controller": "pid", "payload_mass_kg": "0.0"}
    session, setpoints, _, _ = follow(start, **arguments, effort_includes_gravity="false")
    probe = session.probe
    probe.wait_until(2.5)
    error = error_m(list(probe.truth), list(setpoints))
    assert error[error[:, 0] > 1.5, 1].max() < ERROR_RAD
    sent = {table.stamp_ns: table.values[0] for table in list(probe.commands)}
    felt = {
        table.stamp_ns: [table.value(f"{joint}/effort_nm") for joint in ("shoulder", "elbow")]
        for table in list(probe.truth)
    }
    gap = [felt[stamp + 5_000_000] - sent[stamp] for stamp in sent if stamp + 5_000_000 in felt]
    assert np.abs(np.mean(gap, axis=0))[0] > 3.0  # Nm of the arm's weight that was not commanded
    session.finish()


@pytest.mark.real_time
def test_real_time_moves_the_clock_and_a_full_disk_stops_nothing(start: Callable, tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "bag_0.mcap").symlink_to("/dev/full")
    bag = str(tmp_path / "bag")
    session = start(robot="planar2", controller="computed_torque", lockstep="false", record="true", record_file=bag)
    probe = session.probe
    probe.wait_until(2.0)
    assert "passing" in {s["state"] for s in probe.states}
    probe.wait_count("recorder", "dropped", 10)
    assert "No space left on device" in probe.diagnostics["recorder"].message
    stopped = probe.time_s
    probe.wait_until(stopped + 1.0)
    probe.wait(
        lambda: session.said(f"recording has stopped, control continues: {bag}: No space left on device"), "complaint"
    )
    assert session.launch.process("recorder").returncode is None
    session.finish()
