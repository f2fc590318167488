# SPDX-License-Identifier: Apache-2.0
"""References with implausible rates: every controller follows the positions, as with the right rates."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from metarl_robot.control.factory import controller_names, make_controller
from metarl_robot.control.plausible_rates import PlausibleRates
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Reference, Setpoints, constraints_of
from metarl_robot.sim.kinds import simulation
from metarl_robot.trajectories.flat_outputs import flat_outputs_of

START_S, END_S, LENGTH_S = 0.5, 0.7, 2.0
MOTIONS = {"panda": "tracking", "x500": "figure_eight", "f1tenth": "oval", "husky": "oval"}


class WrongUnit:
    """A reference whose velocities, and accelerations, are a factor too large for a while."""

    def __init__(self, reference: Reference, factor: float) -> None:
        self.reference, self.factor = reference, factor

    def sample(self, times: np.ndarray) -> Setpoints:
        points = self.reference.sample(times)
        scale = np.where((times >= START_S) & (times < END_S), self.factor, 1.0)[:, None]
        return replace(points, v=scale * points.v, a=scale * points.a)


def motion_of(robot: Robot) -> Reference:
    flat = flat_outputs_of(robot)
    name = MOTIONS[robot.name] if MOTIONS[robot.name] in flat.motion_names else flat.motion_names[-1]
    return flat.motion(name, np.random.default_rng(3), 8.0)


def largest_error(robot: Robot, name: str, reference: Reference, motion: Reference) -> float:
    """Largest distance from the motion's position after the fault begins; of a quadrotor, infinite after a crash."""
    simulated = simulation(robot)
    plant, controller = simulated.plant(simulated.nominal_task(), 0), make_controller(robot, name)
    state, found, m = plant.reset(motion.sample(np.zeros(1)).q[0]), 0.0, robot.position_size
    for _ in range(round(LENGTH_S / robot.control_period_s)):
        state = plant.step(controller.step(plant.stamp, state, reference).effort, robot.control_period_s)
        if plant.time > START_S:
            off = plant.truth.q[:m] - motion.sample(np.array([plant.time])).q[0, :m]
            found = max(found, float(np.linalg.norm(off)))
    return np.inf if plant.crashed else found


@pytest.mark.parametrize("robot_name", MOTIONS)
def test_slopes_are_those_of_the_positions_where_the_rates_are_wrong(robot_name: str) -> None:
    robot = load_robot(robot_name)
    motion, times = motion_of(robot), np.arange(0.0, 1.5, 0.05)
    right, m = motion.sample(times), robot.position_size
    kept = PlausibleRates(robot, WrongUnit(motion, 1e6)).sample(times)
    wrong = (times >= START_S) & (times < END_S)
    assert np.array_equal(kept.q, right.q) and np.array_equal(kept.v[~wrong], right.v[~wrong])
    assert np.abs(kept.v[:, :m] - right.v[:, :m]).max() < 0.02 * max(1.0, np.abs(right.v[:, :m]).max())
    assert np.abs(kept.a[:, :m] - right.a[:, :m]).max() < 0.1 * max(1.0, np.abs(right.a[:, :m]).max())


def test_a_reference_keeps_its_other_attributes() -> None:
    robot = load_robot("f1tenth", check_model=False)
    reference = WrongUnit(motion_of(robot), 1.0)
    reference.constraints = ("wall",)  # type: ignore[attr-defined]
    kept = PlausibleRates(robot, reference)
    assert constraints_of(kept) == ("wall",) and constraints_of(copy.deepcopy(kept)) == ("wall",)
    assert constraints_of(PlausibleRates(robot, WrongUnit(motion_of(robot), 1.0))) == ()


CASES = [
    (robot, name)
    for robot in ("panda", "x500", "f1tenth", "husky")
    for name in controller_names(load_robot(robot, check_model=False).kind)
    if name not in ("oracle_mpc", "l1_mpc", "meta_mpc")  # the same planner as that of nominal_mpc
]


@pytest.mark.slow
@pytest.mark.parametrize(("robot_name", "name"), CASES)
def test_no_controller_is_thrown_off_by_velocities_in_another_unit(robot_name: str, name: str) -> None:
    robot = load_robot(robot_name)
    motion = motion_of(robot)
    usual = largest_error(robot, name, motion, motion)
    assert largest_error(robot, name, WrongUnit(motion, 1e6), motion) < 1.2 * usual + 0.01
