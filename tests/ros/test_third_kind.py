# SPDX-License-Identifier: Apache-2.0
"""A kind of robot from outside is launched over real nodes: its launch file by path, its messages loaded by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from metarl_robot.cli.launch import show_args
from metarl_robot.cli.launch_check import check_start
from metarl_robot.cli.launch_file import evaluate
from metarl_robot.core.errors import UnknownNameError
from metarl_robot.ros_nodes import topics

LAUNCH = Path(__file__).resolve().parents[1] / "point_mass" / "point_mass.launch.yaml"


def test_its_controllers_are_offered_and_no_others(point_mass: Path) -> None:
    assert "'point_pd', 'point_adaptive'" in show_args(str(LAUNCH))
    check_start(LAUNCH, evaluate(LAUNCH, {"robot": str(point_mass), "controller": "point_pd"}))
    with pytest.raises(UnknownNameError, match="'pid'.*point_adaptive, point_pd"):
        check_start(LAUNCH, evaluate(LAUNCH, {"robot": str(point_mass), "controller": "pid"}))


def test_it_follows_its_reference_in_lockstep(point_mass: Path, start: Callable) -> None:
    session = start(LAUNCH, robot=str(point_mass), controller="point_pd")
    probe, setpoints = session.probe, []
    probe.listen(JointState, topics.SETPOINT, lambda m: setpoints.append((m.header.stamp, np.array(m.position))))
    probe.wait_until(6.0)
    assert session.launch.poll() and probe.states[-1]["state"] == "passing"
    places = {t.stamp_ns: np.array([t.value("x/position_m"), t.value("y/position_m")]) for t in list(probe.truth)}
    stamps = [(stamp.sec * 10**9 + stamp.nanosec, q) for stamp, q in list(setpoints)]
    errors = [np.abs(places[ns] - q).max() for ns, q in stamps if ns in places and ns > 2 * 10**9]
    assert len(errors) > 50 and max(errors) < 0.1
    drags = {table.value("ground_drag_n_s_m") for table in list(probe.truth)}
    assert len(drags) == 2  # the ground changed at 5 s
    assert {table.columns for table in probe.commands} <= {("x", "y")}
    session.finish()
