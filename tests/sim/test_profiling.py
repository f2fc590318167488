# SPDX-License-Identifier: Apache-2.0
"""MuJoCo reads no clock where nobody asks for the time, and moves the same."""

from __future__ import annotations

import mujoco
import numpy as np

from metarl_robot.core.robot import load_robot
from metarl_robot.sim.arm.model import compile_model
from metarl_robot.sim.profiling import profiling


def test_steps_are_not_timed_and_the_same() -> None:
    model = compile_model(load_robot("panda")).model
    plain, timed = mujoco.MjData(model), mujoco.MjData(model)
    mujoco.mj_step(model, plain, 100)
    with profiling():
        mujoco.mj_step(model, timed, 100)
    assert timed.timer.duration.any() and not plain.timer.duration.any()
    np.testing.assert_array_equal(plain.qpos, timed.qpos)
    mujoco.mj_step(model, plain, 1)
    assert not plain.timer.duration.any()
