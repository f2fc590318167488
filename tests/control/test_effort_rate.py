# SPDX-License-Identifier: Apache-2.0
"""The effort rate holds per second of the stamps, however often states come."""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.control.bumpless_transfer import BumplessTransfer
from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Setpoints, State

NAMES = {"planar2": ("pid", "computed_torque", "nominal_mpc"), "x500": ("pid", "se3", "nominal_mpc")}


class Hold:
    """At rest at home."""

    def __init__(self, home: np.ndarray, dof: int) -> None:
        self._home, self._dof = home, dof

    def sample(self, times: np.ndarray) -> Setpoints:
        still = np.zeros((len(times), self._dof))
        return Setpoints(np.tile(self._home, (len(times), 1)), still, still)


@pytest.mark.parametrize("rate_hz", [200, 500, 1000])
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in NAMES for name in NAMES[kind]])
def test_the_effort_rate_is_per_second_of_the_stamps(kind: str, name: str, rate_hz: int) -> None:
    """The position jumps to and fro, so commands are at their rate; at 1000 Hz it was five times too fast."""
    robot = load_robot(kind)
    transfer, reference = BumplessTransfer(robot, make_controller(robot, name)), Hold(robot.home, robot.dof)
    axis, efforts = 2 if robot.attitude is not None else 0, []
    for k in range(60):
        if k == 40:
            transfer.switch(transfer.controller)
        q = robot.home.copy()
        q[axis] += 0.1 * (k // 5 % 2)
        efforts.append(transfer.step(k / rate_hz, State(q, np.zeros(robot.dof)), reference).effort)
    fastest = np.abs(np.diff(efforts, axis=0)).max(axis=0) * rate_hz / robot.effort_rate_limit
    assert 0.3 < fastest.max() < 1.0 + 1e-6
