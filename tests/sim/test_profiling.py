"""MuJoCo reads no clock where nobody asks for the time."""

from __future__ import annotations

import mujoco

from metarl_robot.robot import load_robot
from metarl_robot.sim.model import compile_model


def test_steps_are_not_timed() -> None:
    model = compile_model(load_robot("planar2")).model
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 10)
    assert data.timer[mujoco.mjtTimer.mjTIMER_STEP].number == 10
    assert not data.timer.duration.any()
