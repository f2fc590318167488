# SPDX-License-Identifier: Apache-2.0
"""First tests at `limit_scale:=0.2`: an arm and a quadrotor follow slowed references within scaled limits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.robot import load_robot
from metarl_robot.core.tables import table_of
from metarl_robot.ros_nodes.interface import interface_of

SCALE = 0.2


@pytest.mark.parametrize(
    ("file", "name", "controller"),
    [("arm", "panda", "offset_free_mpc"), ("quad", "x500", "offset_free_mpc"), ("ground", "husky", "nominal_mpc")],
)
def test_a_robot_follows_within_scaled_limits(start: Callable, file: str, name: str, controller: str) -> None:
    robot = load_robot(name)
    session = start(file, robot=name, controller=controller, lockstep="true", limit_scale=str(SCALE))
    probe, sent = session.probe, []
    commands = interface_of(robot).commands
    probe.listen(Float64MultiArray, commands, lambda message: sent.append(table_of(message).values[0]))
    probe.wait_until(6.0)
    assert [state["state"] for state in probe.states][-1] == "passing", probe.states
    truth = list(probe.truth)
    v = np.array([[table.value(column) for column in robot.coordinates.v] for table in truth])
    assert np.max(np.abs(v) / robot.velocity_limit) < 1.2 * SCALE
    assert np.max(np.abs(v[len(v) // 2 :])) > 0.01  # it moves
    assert truth[-1].value("violations") == 0.0 and truth[-1].value("crashed") == 0.0
    efforts = np.array(list(sent))
    assert len(efforts) > 100
    step = SCALE * robot.effort_rate_limit * robot.control_period_s
    assert np.all(np.abs(np.diff(efforts, axis=0)) <= step * (1.0 + 1e-9))
    session.finish()
