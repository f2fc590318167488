# SPDX-License-Identifier: Apache-2.0
"""Constraints of references survive every change that is made to a reference on its way to a controller."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from metarl_robot.control.bumpless_transfer import _Approach
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State, constraints_of
from metarl_robot.trajectories.constrained import Constrained, constrained
from metarl_robot.trajectories.flat_outputs import Outputs, flat_outputs_of
from metarl_robot.trajectories.reference_manager import ReferenceManager
from metarl_robot.trajectories.shifted import Shifted
from metarl_robot.trajectories.splines import Hold

ROBOTS = {name: load_robot(name) for name in ("planar2", "x500")}
each_robot = pytest.mark.parametrize("robot", ROBOTS.values(), ids=ROBOTS)


@dataclass(frozen=True)
class Ball:
    """Outside a ball about `centre` (3,) [m; world]."""

    centre: tuple[float, float, float]
    radius_m: float

    def distance(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        away = positions - np.array(self.centre)
        lengths = np.linalg.norm(away, axis=1, keepdims=True)
        return lengths[:, 0] - self.radius_m, away / lengths


BALLS = (Ball((1.0, 0.0, 0.0), 0.2), Ball((0.0, 2.0, 1.0), 0.5))


def moved(robot, now_s: float) -> tuple[np.ndarray, Outputs]:
    """A slow move of the first output that begins 0.5 s from now."""
    flat = flat_outputs_of(robot)
    start = flat.outputs(flat.hold(robot.home), np.zeros(1)).positions[0]
    points = np.stack([start, start + np.eye(len(start))[0] * 0.1])
    return now_s + np.array([0.5, 3.0]), Outputs(points, np.zeros_like(points), np.zeros_like(points))


def test_the_gradient_is_that_of_the_distance() -> None:
    rng, step = np.random.default_rng(0), 1e-6
    at = rng.normal(size=(5, 3))
    for ball in BALLS:
        slopes = [(ball.distance(at + step * e)[0] - ball.distance(at - step * e)[0]) / (2 * step) for e in np.eye(3)]
        np.testing.assert_allclose(ball.distance(at)[1], np.stack(slopes, axis=1), atol=1e-8)


def test_a_reference_without_constraints_stays_itself() -> None:
    hold = Hold(np.zeros(2))
    assert constraints_of(hold) == () and constrained(hold, ()) is hold
    once = constrained(hold, BALLS)
    assert constraints_of(once) == BALLS and constrained(once, BALLS) is once


def test_wrappers_carry_them() -> None:
    motion = Constrained(Hold(np.ones(2)), BALLS)
    assert constraints_of(Shifted(motion, 2.0)) == BALLS
    assert constraints_of(_Approach(0.0, 1.0, np.ones((3, 2))).to(motion)) == BALLS


@each_robot
def test_the_reference_manager_keeps_them_through_easing_holding_and_braking(robot) -> None:
    references = ReferenceManager(robot)
    references.hold(robot.home)
    assert constraints_of(references.current) == ()
    references.offer(*moved(robot, 1.0), 1.0, constraints=BALLS[:1])
    assert constraints_of(references.current) == BALLS[:1]
    references.offer(*moved(robot, 1.2), 1.2, constraints=BALLS[1:])  # begins later: both apply until then
    assert constraints_of(references.current) == BALLS
    references.brake(State(robot.home, np.zeros(robot.dof)), 1.3)
    assert constraints_of(references.current) == BALLS
    references.hold(robot.home)
    assert constraints_of(references.current) == BALLS
    references.offer(*moved(robot, 1.0), 1.8)  # has begun
    assert constraints_of(references.current) == ()


@each_robot
def test_they_change_no_setpoint(robot) -> None:
    free, bound = ReferenceManager(robot), ReferenceManager(robot)
    for references, constraints in ((free, ()), (bound, BALLS)):
        references.hold(robot.home)
        references.offer(*moved(robot, 0.0), 1.0, constraints=constraints)
    times = np.linspace(1.0, 4.0, 31)
    a, b = free.current.sample(times), bound.current.sample(times)
    for name in ("q", "v", "a"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
