# SPDX-License-Identifier: Apache-2.0
"""References that no robot can follow: leaps are not planned for, the way to a far target can be flown; all else stays
as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.control.leaps import without_leaps
from metarl_robot.control.plausible_rates import PlausibleRates
from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Reference, Setpoints
from metarl_robot.robots.quadrotor.approach import LIFT_M_S2, SIDE_M_S2, FlightApproach
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.trajectories import FigureEight, Hover
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask
from metarl_robot.trajectories.flat_outputs import flat_outputs_of

KNOTS_S = 0.05 * np.arange(21)
HEIGHT = np.array([0.0, 0.0, 2.0])


class Leap:
    """A reference that is elsewhere for a while. shift: of the first coordinates."""

    def __init__(self, reference: Reference, shift: np.ndarray, start_s: float, end_s: float) -> None:
        self.reference, self.shift, self.start_s, self.end_s = reference, shift, start_s, end_s

    def sample(self, times: np.ndarray) -> Setpoints:
        points = self.reference.sample(times)
        q = points.q.copy()
        q[(times >= self.start_s) & (times < self.end_s), : len(self.shift)] += self.shift
        return replace(points, q=q)


@pytest.fixture(scope="module")
def x500() -> Quadrotor:
    robot = load_robot("x500")
    assert isinstance(robot, Quadrotor)
    return robot


def test_a_leap_to_come_is_not_planned_for_and_one_that_has_happened_is() -> None:
    eight, largest = FigureEight(HEIGHT), np.ones(3)
    leaping = Leap(eight, np.array([20.0, -30.0, 0.5]), 2.5, 2.7)
    before = without_leaps(leaping.sample(2.0 + KNOTS_S), 0.05, largest)
    smooth = eight.sample(2.0 + KNOTS_S)
    np.testing.assert_allclose(before.q[:, :2], smooth.q[:, :2], atol=0.05)
    assert np.array_equal(before.v, smooth.v) and np.array_equal(before.q[:, 3:], smooth.q[:, 3:])
    after = without_leaps(leaping.sample(2.6 + KNOTS_S), 0.05, largest)
    np.testing.assert_allclose(after.q[:, 0] - eight.sample(2.6 + KNOTS_S).q[:, 0], 20.0, atol=0.05)


@pytest.mark.parametrize("name", ["planar2", "panda", "x500", "crazyflie"])
def test_every_motion_that_can_be_followed_stays_the_same_object(name: str) -> None:
    robot = load_robot(name)
    flat, rng = flat_outputs_of(robot), np.random.default_rng(0)
    spacing_s, largest = (0.05, np.ones(3)) if robot.attitude is not None else (0.02, robot.velocity_limit / 40.0)
    for motion in flat.motion_names:
        reference = flat.motion(motion, rng, 10.0)
        for start_s in np.arange(-1.0, 10.0, 0.1):
            target = reference.sample(start_s + spacing_s * np.arange(21))
            assert without_leaps(target, spacing_s, largest) is target, motion
            rates = PlausibleRates(robot, reference).sample(start_s + spacing_s * np.arange(21))
            assert np.array_equal(rates.v, target.v) and np.array_equal(rates.a, target.a), motion


def test_the_way_to_a_far_target_begins_at_the_quadrotor_and_keeps_to_its_abilities(x500: Quadrotor) -> None:
    approach, rng = FlightApproach(x500, 0.05, 0.8, 0.125), np.random.default_rng(0)
    eight = FigureEight(HEIGHT).sample(KNOTS_S)
    for _ in range(20):
        here = np.concatenate(
            [HEIGHT + rng.uniform(-50.0, 50.0, 3), rotation.IDENTITY, rng.uniform(-5.0, 5.0, 3), np.zeros(7)]
        )
        way = approach.to(here, eight)
        np.testing.assert_allclose(way.v[0, :3], here[7:10], atol=1e-12)
        assert np.linalg.norm(way.q[0, :3] - here[:3]) < 0.5
        assert (
            np.linalg.norm(way.a[:, :2], axis=1).max() < SIDE_M_S2 * 1.001
            and np.abs(way.a[:, 2]).max() < LIFT_M_S2 * 1.001
        )
        np.testing.assert_allclose(np.diff(way.v[:, :3], axis=0), 0.05 * way.a[:-1, :3], atol=1e-9)
    near = np.concatenate([eight.q[0] + 0.3 * np.eye(7)[0], eight.v[0], np.zeros(4)])
    assert approach.to(near, eight) is eight


@pytest.mark.parametrize(("shift", "length_s"), [(100.0, 0.05), (0.9, 0.45), (150.0, 0.4)])
def test_a_reference_that_leaps_far_away_and_back_neither_tips_a_quadrotor_over_nor_brings_it_down(
    x500: Quadrotor, shift: float, length_s: float
) -> None:
    reference = Leap(Hover(HEIGHT), np.full(3, shift), 0.5, 0.5 + length_s)
    plant, controller = simulation(x500).plant(QuadrotorTask(), 0), make_controller(x500, "nominal_mpc")
    state, tilt = plant.reset(Hover(HEIGHT).sample(np.zeros(1)).q[0]), 0.0
    for _ in range(round(4.0 / x500.control_period_s)):
        state = plant.step(controller.step(plant.stamp, state, reference).effort, x500.control_period_s)
        tilt = max(tilt, float(rotation.tilt(plant.truth.q[3:])))
        assert not plant.crashed
    assert tilt < 1.4 and np.linalg.norm(plant.truth.q[:3] - HEIGHT) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.5, 100.0])
def test_a_reference_that_leaps_keeps_an_arm_within_its_velocity_limits(shift: float) -> None:
    robot = load_robot("panda")
    home = flat_outputs_of(robot).hold(robot.home)
    reference = Leap(home, np.full(3, shift), 0.3, 0.6)
    controller = make_controller(robot, "nominal_mpc")
    simulated = simulation(robot)
    plant = simulated.plant(simulated.scenario("nominal", "undisturbed", 0).initial, 0)
    state = plant.reset(robot.home)
    for _ in range(round(1.0 / robot.control_period_s)):
        command = controller.step(plant.stamp, state, reference)
        state = plant.step(command.effort, robot.control_period_s)
        assert np.all(np.abs(plant.truth.v) <= robot.velocity_limit)
