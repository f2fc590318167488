# SPDX-License-Identifier: Apache-2.0
"""While a model is held, a force is compensated only once the robot has moved along it, and never winds up."""

from __future__ import annotations

import numpy as np

from metarl_robot.adaptation.free_force import MOVED_RAD, FreeForce

DT, FORCE = 0.005, np.array([0.0, -4.0, 3.0])


def moved(free: FreeForce, force: np.ndarray, v: np.ndarray, seconds: float) -> np.ndarray:
    for _ in range(round(seconds / DT)):
        compensated = free.update(force, v, DT)
    return compensated


def test_an_obstacle_is_met_without_compensation_while_the_robot_slides_or_stands() -> None:
    free = FreeForce(3)
    for v in (np.zeros(3), np.array([1.0, 0.3, 0.4])):  # the second is at right angles to the force
        assert not moved(free, FORCE, v, 2.0).any()


def test_a_force_is_compensated_once_the_robot_has_moved_along_or_against_it() -> None:
    for sign in (1.0, -1.0):
        free, v = FreeForce(3), sign * FORCE / 50.0  # 0.1 rad/s
        assert not moved(free, FORCE, v, 0.9 * MOVED_RAD / 0.1).any()
        assert np.array_equal(moved(free, FORCE, v, 0.2 * MOVED_RAD / 0.1), FORCE)


def test_the_compensation_never_exceeds_the_largest_force_before() -> None:
    free = FreeForce(3)
    moved(free, FORCE, FORCE, 1.0)
    assert np.allclose(moved(free, 10.0 * FORCE, FORCE, 1.0), FORCE)
    assert np.allclose(moved(free, 0.1 * FORCE, FORCE, 1.0), 0.1 * FORCE)
