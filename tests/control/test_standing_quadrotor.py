# SPDX-License-Identifier: Apache-2.0
"""A quadrotor that stands on the ground learns nothing from it, and takes off with the model from before."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.robots.quadrotor.standing import StandingGuard
from metarl_robot.robots.quadrotor.trajectories import FlatTrajectory, Hover, Steps
from metarl_robot.sim.payload import Payload
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask
from tests.noisy_quadrotor import NOISY

HIGH_M = 0.15
DESCENDS_S, LEAVES_S, FLIES_S, END_S = 0.2, 2.2, 3.3, 3.6
"""Told to stand from about 1.2 s to LEAVES_S; the error is judged from FLIES_S on, one second after lift-off."""
GENTLE = (0.5, 1.0, 10.0, 100.0)
LARGEST_ERROR_M = 0.03


def quadrotor(name: str) -> Quadrotor:
    robot = load_robot(name)
    assert isinstance(robot, Quadrotor)
    return robot


@lru_cache(maxsize=2)
def parts(name: str) -> tuple[Quadrotor, Any]:
    robot = quadrotor(name)
    return robot, make_controller(robot, "meta_mpc")


def laden(robot: Quadrotor, share: float) -> QuadrotorTask:
    """Noise, a payload, and a ground on which landing is no crash."""
    inertia = 1e-3 * share * np.concatenate([np.diag(robot.inertia), np.zeros(3)])
    ball = Payload(share * robot.mass_kg, np.zeros(3), inertia)
    return replace(NOISY, payload=ball, crash_impact_m_s=1.0, crash_tilt_deg=100.0)


def guard(controller: Any) -> StandingGuard:
    inner: Any = controller
    while not isinstance(inner, StandingGuard):
        inner = inner.adapter.inner if hasattr(inner, "adapter") and not hasattr(inner, "inner") else inner.inner
    return inner


def fly(
    robot: Quadrotor, controller: Any, path: FlatTrajectory, plant: QuadrotorPlant, end_s: float, empty_s: float = 1e9
) -> tuple:
    """Times (K,) [s], errors (K,) [m], and whether the guard says that the quadrotor stands (K,).

    empty_s: time at which the payload is dropped.
    """
    controller.reset()
    begin, adapter = path.sample(np.zeros(1)), guard(controller)
    state, period = plant.reset(begin.q[0], begin.v[0]), robot.control_period_s
    times = np.arange(round(end_s / period)) * period
    goals, errors, stands = path.sample(times).q[:, :3], np.zeros(len(times)), np.zeros(len(times), bool)
    for k, time in enumerate(times):
        if time >= empty_s > time - period:
            plant.set_task(replace(plant.task, payload=Payload()))
        errors[k], stands[k] = np.linalg.norm(plant.position - goals[k]), adapter.standing
        state = plant.step(controller.step(plant.stamp, state, path).effort, period)
    return times, errors, stands


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["x500", "crazyflie"])
def test_a_quadrotor_told_to_land_below_the_ground_takes_off_again(name: str, seed: int) -> None:
    robot, controller = parts(name)
    ground_m = 0.5 * float(robot.description.size_m[2]) - (0.008, 0.02)[seed]
    places = np.array([[0.0, 0.0, HIGH_M], [0.0, 0.0, ground_m], [0.0, 0.0, HIGH_M]])
    path = Steps(np.array([DESCENDS_S, DESCENDS_S, LEAVES_S]), places, GENTLE)
    plant = QuadrotorPlant(robot, laden(robot, (0.1, 0.2)[seed]), seed)
    times, errors, stands = fly(robot, controller, path, plant, END_S)
    assert not plant.crashed
    assert not stands[(times < DESCENDS_S) | (times > FLIES_S)].any()
    assert errors[times > FLIES_S].max() < LARGEST_ERROR_M


@pytest.mark.slow
def test_a_hover_in_which_the_payload_is_dropped_is_no_standing() -> None:
    robot, controller = parts("x500")
    plant = QuadrotorPlant(robot, laden(robot, 0.25), 0)
    _, _, stands = fly(robot, controller, Hover(np.array([0.0, 0.0, 2.0])), plant, 2.5, empty_s=1.0)
    assert not stands.any()


class Learner:
    """Stands for a filter, and counts the samples that it learned from, or followed."""

    def __init__(self) -> None:
        self.belief, self.context, self.learned, self.followed = np.zeros(1), None, 0, 0

    def advance(self, *sample: Any) -> None:
        self.learned += 1
        self.belief = self.belief + 1.0

    def follow(self, *sample: Any) -> None:
        self.followed += 1


def after_thrust_fell(held: bool) -> tuple[StandingGuard, Learner, State]:
    """A second of hover, then 0.5 s with 70 % of the thrust: held at rest, or falling."""
    robot, learner = quadrotor("x500"), Learner()
    made, period = StandingGuard(robot, learner), robot.control_period_s  # type: ignore[arg-type]
    v = np.zeros(6)
    for k in range(round(1.5 / period)):
        share = 0.7 if k * period >= 1.0 else 1.0
        v = v + (0.0 if held else (share - 1.0) * GRAVITY_M_S2 * period) * np.eye(6)[2]
        state = State(robot.home, v)
        made.update(state, share * robot.hover_thrust, period)
    return made, learner, state


def test_it_stands_if_it_stays_at_rest_with_too_little_thrust_and_learns_again_when_it_moves() -> None:
    made, learner, state = after_thrust_fell(held=True)
    assert made.standing and learner.followed > 30
    assert float(learner.belief[0]) < 1.01 / quadrotor("x500").control_period_s, "the model from before"
    for _ in range(10):
        made.update(State(state.q, state.v + 0.2), quadrotor("x500").hover_thrust, 0.01)
    assert not made.standing


def test_it_does_not_stand_if_it_falls() -> None:
    made, learner, _ = after_thrust_fell(held=False)
    assert not made.standing and learner.followed == 0


@pytest.mark.parametrize(
    ("per_s", "for_s", "stands"), [(0.25, 1.5, True), (0.01, 20.0, False)], ids=["the ground", "slow change in flight"]
)
def test_at_rest_thrust_that_falls_by_a_quarter_in_a_second_shows_the_ground(
    per_s: float, for_s: float, stands: bool
) -> None:
    robot = quadrotor("crazyflie")
    made, period = StandingGuard(robot, Learner()), robot.control_period_s  # type: ignore[arg-type]
    state = State(robot.home, np.zeros(6))
    for k in range(round((1.0 + for_s) / period)):
        share = 1.0 - per_s * max(k * period - 1.0, 0.0)
        made.update(state, share * robot.hover_thrust, period)
    assert made.standing == stands
