# SPDX-License-Identifier: Apache-2.0
"""Errors that last are neither changes nor friction, and friction that does not show is not known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.adaptation.unexplained_force import STD_CALIBRATION
from metarl_robot.control.factory import adapter_tuning, make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Context, State
from metarl_robot.robots.ground.adapters import DISTURBANCE_OBSERVER
from metarl_robot.robots.ground.body_filter import FRICTION_S
from metarl_robot.robots.ground.context_names import FRICTION
from metarl_robot.robots.ground.dynamics import GroundDynamics
from metarl_robot.robots.ground.flat_outputs import GroundOutputs
from metarl_robot.robots.ground.lasting_error import MOST
from metarl_robot.sim.ground.oracle import make_oracle
from metarl_robot.sim.kinds import simulation

Array = NDArray[np.float64]

STEPS = 600


@pytest.fixture(scope="module")
def robot() -> Any:
    return load_robot("f1tenth")


@pytest.fixture(scope="module")
def bends(robot: Any) -> tuple[list[State], list[Array]]:
    """True states of a figure eight, and the commands between them."""
    reference = GroundOutputs(robot).motion("figure_eight", np.random.default_rng(0), 8.0)
    room = simulation(robot)
    plant, driver = room.plant(room.nominal_task()), make_controller(robot, DISTURBANCE_OBSERVER.controller)
    state, states, efforts = plant.reset(reference.sample(np.zeros(1)).q[0]), [], []
    for k in range(STEPS):
        states.append(state)
        efforts.append(driver.step(0.01 * k, state, reference).effort)
        state = plant.step(efforts[-1], 0.01)
    return states, efforts


def _filtered(robot: Any, states: list[State], efforts: list[Array]) -> tuple[Any, list[Context]]:
    """The filter after these samples, and its contexts."""
    learner: Any = make_controller(robot, "meta_mpc").inner  # type: ignore[attr-defined]
    contexts = [learner.learn(0.01 * k, state, efforts[max(k - 1, 0)]) for k, state in enumerate(states)]
    return learner.adapter, contexts


def _without_slip(states: list[State]) -> list[State]:
    """As wheels show them: no sideways speed; the yaw rate is wrong by up to 0.4 rad/s for tenths of a second."""
    seen = []
    for k, state in enumerate(states):
        forward = np.array([np.cos(state.q[2]), np.sin(state.q[2])])
        rate = state.v[2] + 0.4 * np.sin(0.01 * k / 0.15)
        seen.append(State(state.q, np.array([*(forward @ state.v[:2] * forward), rate])))
    return seen


def test_velocities_that_are_wrong_for_tenths_of_a_second_are_no_changes(robot: Any, bends: Any) -> None:
    states, efforts = bends
    exact, _ = _filtered(robot, states, efforts)
    wrong, contexts = _filtered(robot, _without_slip(states), efforts)
    assert exact.detections == 0 and exact._noise.level < 2.0
    assert wrong.detections <= 1 and wrong.restarts == 0
    assert 2.0 < wrong._noise.level <= MOST
    mean, std = contexts[-1][FRICTION]
    assert abs(mean) < 2.0 * std, "the nominal friction"


def test_the_observer_of_a_context_that_is_known_keeps_its_levels(robot: Any, bends: Any) -> None:
    """The oracle's grew slow: it was up to nine times as far off as the controller that learns."""
    states, efforts = bends
    known: Any = make_oracle(robot, GroundDynamics(robot), adapter_tuning(robot, "oracle_mpc"))
    for k, state in enumerate(_without_slip(states)):
        known.update(state, efforts[max(k - 1, 0)], 0.01)
    assert known._noise.level == 1.0


def test_a_sudden_force_is_detected_at_once(robot: Any, bends: Any) -> None:
    """The level of exact sensors leaves the alarm as it is."""
    states, efforts = bends
    filter_, _ = _filtered(robot, states[:400], efforts)
    assert filter_.detections == 0
    push = 0.5 * 9.81  # m/s², in the direction of x
    for k in range(400, 410):
        moved = 0.01 * (k - 400) * push
        filter_.update(State(states[k].q, states[k].v + [moved, 0.0, 0.0]), efforts[k - 1], 0.01)
    assert filter_.detections == 1


def test_friction_that_does_not_show_is_forgotten(robot: Any, bends: Any) -> None:
    states, efforts = bends
    filter_, contexts = _filtered(robot, states, efforts)
    known, entry = contexts[-1][FRICTION][1], contexts[-1].names.index(FRICTION)
    still = State(states[-1].q, np.zeros(3))
    filter_.follow(still, np.zeros(2), 0.01)
    for _ in range(500):
        std = filter_.update(still, np.zeros(2), 0.01).std[entry]
    kept = np.exp(-2.0 * 5.0 / FRICTION_S)
    prior = STD_CALIBRATION**2 * filter_._prior.covariance[entry, entry]
    assert std > 1.3 * known
    assert std == pytest.approx(np.sqrt(kept * known**2 + (1.0 - kept) * prior), rel=0.05)


def test_a_context_that_is_held_at_the_prior_is_not_certain(robot: Any, bends: Any) -> None:
    states, efforts = bends
    filter_, contexts = _filtered(robot, states[:200], efforts)
    filter_._start_over(states[200], efforts[199])
    held = filter_.update(states[201], efforts[200], 0.01)
    assert filter_.restarts == 1 and np.all(held.std > 0.0)
    np.testing.assert_allclose(held.mean, filter_._prior.mean)
