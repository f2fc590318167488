# SPDX-License-Identifier: Apache-2.0
"""A reference in reverse is driven, or refused in words: never driven forwards, away from it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Setpoints, Status
from metarl_robot.sim.kinds import simulation

Array = NDArray[np.float64]

SPEED_M_S = 0.8


class Backwards:
    """A straight line along -x, with the vehicle's front towards +x."""

    def sample(self, times: Array) -> Setpoints:
        """Setpoints at times (N,) [s]."""
        along, still = -SPEED_M_S * times, np.zeros_like(times)
        q = np.column_stack([along, still, still])
        return Setpoints(q, np.tile([-SPEED_M_S, 0.0, 0.0], (len(times), 1)), np.zeros((len(times), 3)))


@pytest.mark.parametrize("robot_name", ["f1tenth", "husky"])
@pytest.mark.parametrize("name", ["meta_mpc", "offset_free_mpc", "pure_pursuit", "stanley"])
def test_a_reference_in_reverse_is_followed_or_refused(robot_name: str, name: str) -> None:
    robot = load_robot(robot_name)
    room, controller = simulation(robot), make_controller(robot, name)
    plant, dt = room.plant(room.nominal_task()), robot.control_period_s
    state, furthest = plant.reset(np.zeros(3)), 0.0
    for k in range(round(3.0 / dt)):
        command = controller.step(k * dt, state, Backwards())
        state = plant.step(command.effort, dt)
        furthest = max(furthest, float(state.q[0]))
    assert furthest < 0.05, "forwards"
    refused = command.status is Status.FAILED and "reverse" in command.message
    assert refused == (name in ("pure_pursuit", "stanley"))
    assert refused or state.q[0] < -0.5 * SPEED_M_S * 3.0
