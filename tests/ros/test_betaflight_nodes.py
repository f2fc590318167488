# SPDX-License-Identifier: Apache-2.0
"""`betaflight.launch.yaml` with Betaflight's firmware beside the simulated quadrotor, over real nodes in lockstep."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.robot import load_robot
from metarl_robot.core.tables import Table, table_of
from metarl_robot.robots.quadrotor.trajectories import FigureEight
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface
from metarl_robot.sim.quadrotor.betaflight import firmware as betaflight
from metarl_robot.sim.quadrotor.betaflight.flight import loaded_task
from metarl_robot.trajectories.flat_outputs import Outputs

pytestmark = pytest.mark.skipif(bool(betaflight.missing()), reason=betaflight.missing() or "built")

ROBOT = load_robot("x500", of_kind="quadrotor")
INTERFACE = OdometryInterface(ROBOT)
FLIGHT_S, SCORED_FROM_S = 6.0, 2.0


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    """Parameters of the nodes: 30 % of payload and 6 m/s of wind from the start."""
    task = tmp_path / "task.json"
    task.write_text(json.dumps({"initial": loaded_task(ROBOT, seed=0).to_dict()}))
    file = tmp_path / "params.yaml"
    file.write_text(f"/**:\n  ros__parameters:\n    autostart: true\n"
                    f"/**/plant:\n  ros__parameters:\n    task.task_file: {task}\n")  # fmt: skip
    return file


def offer_eight(probe: Any) -> None:
    """A figure eight about home, from now on."""
    times = np.arange(0.0, FLIGHT_S + 3.0, 0.05)
    place, speed, acceleration = FigureEight(ROBOT.home[:3], rate_rad_s=0.6).derivatives(times)[:3]
    publisher = probe.node.create_publisher(INTERFACE.reference_type, INTERFACE.reference_topic, topics.REFERENCE_QOS)
    probe.wait(lambda: publisher.get_subscription_count() > 0, "a subscriber of references")
    publisher.publish(INTERFACE.reference(0, times, Outputs(place, speed, acceleration)))


@pytest.mark.timeout(900)
def test_meta_mpc_flies_a_figure_eight_through_betaflight(start: Callable, parameters: Path) -> None:
    """It arms at the first commands, stands until the motors carry it, then follows within 5 cm."""
    session = start("betaflight", plant="betaflight", lockstep="true", auto_arm="true", reference="none",
                    controller="meta_mpc", params=str(parameters))  # fmt: skip
    probe, acting, setpoints = session.probe, [], {}
    probe.listen(Float64MultiArray, INTERFACE.acting, lambda m: acting.append(table_of(m)))
    probe.listen(Odometry, topics.SETPOINT, lambda m: setpoints.update([INTERFACE.read_setpoint(m)[:2]]))
    probe.wait(lambda: bool(acting) and acting[-1].values.sum() > 20.0, "motors that carry the quadrotor")
    begin_s = acting[-1].stamp_s
    probe.wait_until(begin_s + 1.5)
    offer_eight(probe)
    probe.wait_until(begin_s + 1.5 + FLIGHT_S)
    assert probe.states[-1]["state"] == "passing", session.lines
    errors = error_m(list(probe.truth), setpoints, begin_s + SCORED_FROM_S)
    assert len(errors) > 500
    assert errors.max() <= 0.05
    moved = np.ptp([table.value("position_x_m") for table in list(probe.truth)])
    assert moved > 1.0
    probe.wait(lambda: "betaflight_bridge" in probe.diagnostics, "the bridge's diagnostics")
    assert probe.count("betaflight_bridge", "disarms") == 0
    session.finish()


def error_m(truth: list[Table], setpoints: dict[int, np.ndarray], since_s: float) -> np.ndarray:
    """Distances [m] of true positions from the setpoints at their times."""
    wanted = sorted(setpoints.copy().items())
    stamps = np.array([stamp for stamp, _ in wanted]) * 1e-9
    late = [table for table in truth if max(since_s, stamps[0]) <= table.stamp_s <= stamps[-1]]
    times = np.array([table.stamp_s for table in late])
    places = np.array([[table.value(f"position_{axis}_m") for axis in "xyz"] for table in late])
    reference = np.stack([np.interp(times, stamps, [q[k] for _, q in wanted]) for k in range(3)], axis=1)
    return np.asarray(np.linalg.norm(places - reference, axis=1))
