# SPDX-License-Identifier: Apache-2.0
"""References of quadrotors: taken over in motion without a jump, along messages that tell much or little."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metarl_robot.core import rotation
from metarl_robot.core.errors import SignalError, UnknownNameError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Reference, Setpoints
from metarl_robot.robots.quadrotor.flat_outputs import FlightFlatOutputs
from metarl_robot.robots.quadrotor.trajectories import Circle, FigureEight
from metarl_robot.robots.quadrotor.trajectory_limits import check_flight
from metarl_robot.trajectories.flat_outputs import Outputs
from metarl_robot.trajectories.reference_manager import ReferenceManager

ROBOT = load_robot("x500")
COURSE = FlightFlatOutputs(ROBOT)
EIGHT = FigureEight(np.array([0.0, 0.0, 2.0]))
ELSEWHERE = Circle(np.array([3.0, 1.0, 2.5]), 1.0, 1.5)


def chunk(reference: Reference, start_s: float, stop_s: float) -> tuple[np.ndarray, Outputs]:
    times = np.arange(round(start_s * 50), round(stop_s * 50) + 1) * 0.02
    return times, COURSE.outputs(reference, times)


def gap(a: Setpoints, b: Setpoints) -> float:
    """Largest difference, attitudes regardless of their sign; angular acceleration may jump."""
    attitude = rotation.error(a.q[:, 3:], b.q[:, 3:])
    parts = (a.q[:, :3] - b.q[:, :3], attitude, a.v - b.v, a.a[:, :3] - b.a[:, :3])
    return max(float(np.abs(part).max()) for part in parts)


@pytest.mark.parametrize("name", FlightFlatOutputs.motion_names)
@pytest.mark.parametrize("robot", ["x500", "crazyflie"])
def test_every_motion_can_be_flown_for_as_long_as_asked(name: str, robot: str) -> None:
    flat = FlightFlatOutputs(load_robot(robot))
    flat.check(flat.motion(name, np.random.default_rng(1), 20.0), 0.0, 20.0)


def test_an_unknown_motion_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="figure_eight"):
        COURSE.motion("loop", np.random.default_rng(0), 1.0)


def test_points_with_derivatives_give_back_the_flight() -> None:
    times = np.linspace(1.003, 5.7, 400)
    again = COURSE.through(*chunk(EIGHT, 1.0, 6.0)).sample(times)
    exact = EIGHT.sample(times)
    assert gap(again, exact) < 1e-4 and np.abs(again.a - exact.a).max() < 0.01


def test_one_point_is_where_it_stands() -> None:
    goal = np.array([[2.0, -1.0, 2.5, 0.5]])
    for derivatives in (None, np.zeros((1, 4))):
        points = COURSE.through(np.array([3.0]), Outputs(goal, derivatives, derivatives)).sample(
            np.array([2.0, 3.0, 3.5, 9.0])
        )
        assert np.allclose(points.q[:, :3], goal[:, :3]) and np.allclose(rotation.yaw(points.q[:, 3:]), 0.5)
        assert not np.any(points.v) and not np.any(points.a)


def test_before_and_after_its_points_it_stands() -> None:
    times, y = chunk(EIGHT, 2.0, 4.0)
    at_rest = Outputs(y.positions[[0, -1]], np.zeros((2, 4)), np.zeros((2, 4)))
    points = COURSE.through(times[[0, -1]], at_rest).sample(np.array([1.0, 5.0]))
    assert np.all(points.v == 0.0) and np.allclose(points.q[:, :3], EIGHT.sample(np.array([2.0, 4.0])).q[:, :3])


@pytest.mark.parametrize("told", [1, 2])
def test_points_that_tell_less_are_passed_smoothly(told: int) -> None:
    times = np.linspace(0.0, 4.0, 5)
    y = np.array([[0.0, 0, 2, 3.0], [1, 0, 2, -3.0], [1, 1, 2.5, -2.9], [0, 1, 2, 3.1], [0, 0, 2, 3.0]])
    v = np.zeros((5, 4)) if told == 2 else None
    reference = COURSE.through(times, Outputs(y, v, None))
    fine = reference.sample(np.arange(0.0, 4.0, 1e-3))
    assert np.allclose(reference.sample(times).q[:, :3], y[:, :3], atol=1e-9)
    assert np.allclose(np.gradient(fine.q[:, :3], 1e-3, axis=0)[1:-1], fine.v[1:-1, :3], atol=1e-3)
    assert np.abs(np.diff(fine.v[:, 3:], axis=0)).max() < 0.1  # attitude moves without jumps, heading the short way
    assert np.abs(fine.v[:, 5]).max() < 2.5  # the long way round would take 6


@pytest.mark.parametrize("order", range(4))
def test_a_fade_takes_up_each_derivative_and_ends_at_none(order: int) -> None:
    gaps = np.zeros((4, 4))
    gaps[order] = [0.3, -0.2, 0.1, 0.2]
    eased = COURSE.eased(COURSE.hold(ROBOT.home), gaps, 1.0, 2.0)
    start = np.stack([*COURSE.outputs(eased, np.array([1.0]))])[:, 0]
    for k in range(3):
        wanted = gaps[k] + (np.array([*ROBOT.home[:3], 0.0]) if k == 0 else 0.0)
        assert np.allclose(start[k], wanted, atol=1e-12)
    assert np.allclose(eased.flat(np.array([1.0])).jerk[0], gaps[3, :3])
    end = eased.flat(np.array([3.0 - 1e-7, 3.0]))
    assert gap(eased.sample(np.array([3.0 - 1e-7])), eased.sample(np.array([3.0]))) < 1e-4
    assert np.abs(end.jerk).max() < 1e-4


def taken_over(switch: Callable[[ReferenceManager], None], now_s: float) -> float:
    """The gap that a switch at now_s makes."""
    references = ReferenceManager(ROBOT)
    references.hold(np.concatenate([[0.5, 0.5, 1.5], rotation.from_yaw(2.0)]))
    for start in (0.0, 1.0, 2.0):
        references.offer(*chunk(EIGHT, start, start + 4.0), start)
    before = references.current.sample(np.array([now_s]))
    switch(references)
    check_flight(ROBOT, references.current, now_s, 3.0)
    return gap(before, references.current.sample(np.array([now_s])))


def test_a_reference_that_jumps_is_eased_into_within_limits() -> None:
    assert taken_over(lambda references: references.offer(*chunk(ELSEWHERE, 2.5, 7.0), 2.5), 2.5) < 1e-6
    times, far = (
        np.array([2.5, 12.0]),
        Outputs(np.array([[6.0, -4.0, 3.0, 1.0]] * 2), np.zeros((2, 4)), np.zeros((2, 4))),
    )
    assert taken_over(lambda references: references.offer(times, far, 2.5), 2.5) < 1e-6


def test_chunks_of_one_motion_join_exactly_and_a_fade_goes_on() -> None:
    references = ReferenceManager(ROBOT)
    references.hold(ROBOT.home)
    references.offer(*chunk(EIGHT, 0.0, 4.0), 0.0)
    times = np.array([1.02, 1.3, 2.0])
    before = references.current.sample(times)
    references.offer(*chunk(EIGHT, 1.0, 5.0), 1.0)
    assert gap(before, references.current.sample(times)) < 1e-9
    assert gap(references.current.sample(np.array([3.9])), EIGHT.sample(np.array([3.9]))) < 1e-3


@pytest.mark.parametrize(
    ("y", "what"),
    [
        ([[0, 0, 2, 0], [9, 0, 2, 0]], "reference: "),
        ([[0, 0, 2, 0], [np.nan, 0, 2, 0]], "not finite"),
    ],
)
def test_what_cannot_be_flown_is_refused_and_the_old_one_kept(y: list, what: str) -> None:
    references = ReferenceManager(ROBOT)
    references.hold(ROBOT.home)
    kept = references.current
    with pytest.raises(SignalError, match=what):
        references.offer(np.array([1.0, 1.5]), Outputs(np.array(y, float), None, None), 1.0)
    assert references.current is kept
