# SPDX-License-Identifier: Apache-2.0
"""The numpy version of a car's steps is the same problem as the compiled one."""

from __future__ import annotations

import numpy as np

from metarl_robot.benchmarks.peers.numpy_car import NumpyCar
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import N_PARAMETERS
from metarl_robot.robots.ground.plan import Samples


def test_the_numpy_car_moves_as_the_compiled_one() -> None:
    robot, rng = load_robot("f1tenth"), np.random.default_rng(1000)
    assert isinstance(robot, Ground)
    states = rng.uniform(-1.0, 1.0, (64, 8)) * [5, 5, 3, 4, 4, 3, 0.4, 1.9]
    inputs = rng.uniform(-1.0, 1.0, (64, 2)) * robot.effort_limit
    compiled = Samples(robot, 64, 0.04).advance(states, inputs, np.zeros(3), np.zeros(N_PARAMETERS))
    plain = NumpyCar(robot, 0.04).advance(states, inputs)
    np.testing.assert_allclose(plain, compiled, atol=2e-5)  # Jacobians by finite differences
    assert np.abs(compiled - states).max() > 0.1
