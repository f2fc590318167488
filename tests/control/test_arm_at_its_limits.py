# SPDX-License-Identifier: Apache-2.0
"""An arm's MPC where efforts, or their rate, do not suffice."""

from __future__ import annotations

import numpy as np

import metarl_robot as mr
from metarl_robot.adaptation.features import Xi
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import nominal_task
from metarl_robot.trajectories.splines import Hold


def test_a_fast_arm_is_stopped_without_oscillation_within_the_effort_rate() -> None:
    """At 1000 Nm/s a change from 87 to -87 Nm takes 0.17 s, as long as a swing to and fro."""
    robot = mr.load_robot("panda")
    controller, plant = mr.make_controller(robot, "nominal_mpc"), ArmPlant(robot, nominal_task(robot))
    v = np.where(np.isin(np.arange(robot.dof), [0, 2]), 2.0, 0.0)
    state = plant.reset(robot.home, v)
    for _ in range(100):
        state = plant.step(controller.step(plant.stamp, state, Hold(robot.home)).effort, robot.control_period_s)
    assert np.abs(state.q - robot.home).max() < 1e-3


def test_slopes_of_planned_efforts_agree_with_differences_however_large_the_friction() -> None:
    """With slopes by velocity of friction, the quadratic programme pushed the arm the wrong way about standstill."""
    robot = mr.load_robot("panda")
    controller = mr.make_controller(robot, "meta_mpc").inner
    knots = controller._config.horizon + 1
    controller.adapter.belief.mean[4 * 7 + 10 : 4 * 7 + 17] = 8.0  # Coulomb friction [Nm]
    q, v, a = np.tile(robot.home, (knots, 1)), np.full((knots, 7), 0.01), np.zeros((knots, 7))
    xi = Xi(q, np.zeros_like(v), a, np.zeros_like(q), np.zeros((2, *q.shape)))
    slopes = controller._dynamics.efforts_jacobian(q, v, a) - controller._residual_jacobian(xi)
    ahead, behind = (controller.effort(q, v + step, a, xi) for step in (1e-6, -1e-6))
    by_velocity = (slopes / controller.effort_gain[:, None])[:, :, 7:14].sum(axis=2)
    np.testing.assert_allclose((ahead - behind) / 2e-6, by_velocity, atol=1e-3)
