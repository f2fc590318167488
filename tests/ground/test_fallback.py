# SPDX-License-Identifier: Apache-2.0
"""A ground vehicle's fallback law on the simulated vehicle: it stops, straight and in time, and holds its place."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.fallback import BrakeStraight, BrakeStraightConfig
from metarl_robot.sim.ground.plant import GroundPlant
from metarl_robot.sim.ground.task import GroundTask

Array = NDArray[np.float64]

DT = 0.01
CONFIG = BrakeStraightConfig()
LEVEL = GroundTask()
HILL_RAD = 0.1


class Stop(NamedTuple):
    """Positions, velocities (N + 1, 3) and efforts (N, 2) of a stop."""

    q: Array
    v: Array
    efforts: Array


@pytest.fixture(scope="module")
def robot() -> Ground:
    made = load_robot("f1tenth")
    assert isinstance(made, Ground)
    return made


def _velocity(twist: Array, yaw: float) -> Array:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([c * twist[0] - s * twist[1], s * twist[0] + c * twist[1], twist[2]])


def _stopped(robot: Ground, task: GroundTask, state: State, duration_s: float, command: Array | None = None) -> Stop:
    """Brake from a state; with a command the vehicle drives by it for 0.2 s before."""
    law, plant = BrakeStraight(robot, CONFIG), GroundPlant(robot, task)
    measured = plant.reset(state.q, state.v)
    if command is not None:
        for _ in range(20):
            law.passed(command, measured, DT)
            measured = plant.step(command, DT)
    law.begin(measured)
    q, v, efforts = [plant.truth.q], [plant.truth.v], []
    for _ in range(round(duration_s / DT)):
        effort = law.effort(measured, DT)
        measured = plant.step(effort, DT)
        q, v, efforts = [*q, plant.truth.q], [*v, plant.truth.v], [*efforts, effort]
    assert plant.violations.command == 0
    return Stop(np.array(q), np.array(v), np.array(efforts))


def _in_body(q: Array, yaw: float) -> tuple[Array, Array]:
    """Way along and across the heading from the first position on, (N,) each [m]."""
    way, c, s = q[:, :2] - q[0, :2], np.cos(yaw), np.sin(yaw)
    return c * way[:, 0] + s * way[:, 1], c * way[:, 1] - s * way[:, 0]


def _allowed_way(speed: float) -> float:
    """Half as much again as the way of the deceleration that the law uses [m]."""
    return 1.5 * speed**2 / (2.0 * CONFIG.brake_grip * GRAVITY_M_S2)


@pytest.mark.parametrize("yaw", [0.0, 2.0])
@pytest.mark.parametrize("speed", [1.0, 3.0, 6.0, -2.0])
def test_it_stops_straight_and_in_time(robot: Ground, speed: float, yaw: float) -> None:
    state = State(np.array([1.0, -2.0, yaw]), _velocity(np.array([speed, 0.0, 0.0]), yaw))
    duration_s = abs(speed) / (CONFIG.brake_grip * GRAVITY_M_S2) + 1.0
    stop = _stopped(robot, LEVEL, state, duration_s)
    along, across = _in_body(stop.q, yaw)
    assert 0.5 * _allowed_way(speed) < np.abs(along).max() < _allowed_way(speed)
    assert np.abs(across).max() < 1e-3 and np.abs(stop.q[:, 2] - yaw).max() < 1e-3
    assert np.linalg.norm(stop.v[-1]) < CONFIG.standstill_m_s


def test_it_does_not_reverse(robot: Ground) -> None:
    stop = _stopped(robot, LEVEL, State(np.zeros(3), np.array([3.0, 0.0, 0.0])), 2.5)
    # at rest it returns by the way rolled below 0.2 m/s at the most, 0.2² / (2 d) = 1 cm
    assert stop.q[:, 0].max() - stop.q[-1, 0] < 0.01
    assert stop.v[:, 0].min() > -CONFIG.standstill_m_s


def test_it_stops_in_time_on_the_worst_ground_expected(robot: Ground) -> None:
    task, speed = replace(LEVEL, friction=1.2 * CONFIG.brake_grip, stiffness_scale=0.6), 4.0
    stop = _stopped(robot, task, State(np.zeros(3), np.array([speed, 0.0, 0.0])), 3.0)
    assert stop.q[-1, 0] < _allowed_way(speed) and np.abs(stop.q[:, 1:]).max() < 1e-3
    assert abs(stop.v[-1, 0]) < CONFIG.standstill_m_s


@pytest.mark.parametrize("heading", [0.0, np.pi, 0.5])
@pytest.mark.parametrize("speed", [0.0, 2.0])
def test_it_holds_on_a_slope(robot: Ground, speed: float, heading: float) -> None:
    task = replace(LEVEL, slope_rad=np.array([HILL_RAD, 0.0]))
    state = State(np.array([0.0, 0.0, heading]), _velocity(np.array([speed, 0.0, 0.0]), heading))
    braking_s = abs(speed) / (CONFIG.brake_grip * GRAVITY_M_S2 - GRAVITY_M_S2 * HILL_RAD) + 0.3
    stop = _stopped(robot, task, state, braking_s + 5.0)
    held = stop.q[round(braking_s / DT) :]
    along, _ = _in_body(held, heading)
    assert np.abs(along).max() < 0.1
    # it stands: over the last second it moves less than 1 cm
    assert np.abs(_in_body(held[-100:], heading)[0]).max() < 0.01


def test_without_the_law_the_vehicle_rolls_down_that_slope(robot: Ground) -> None:
    plant = GroundPlant(robot, replace(LEVEL, slope_rad=np.array([HILL_RAD, 0.0])))
    plant.reset()
    for _ in range(100):
        plant.step(np.zeros(2), DT)
    assert plant.truth.q[0] < -0.3


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_it_stops_out_of_a_turn(robot: Ground, side: float) -> None:
    command, speed = np.array([0.25 * side, 0.3]), 3.0
    stop = _stopped(robot, LEVEL, State(np.zeros(3), np.array([speed, 0.0, 0.0])), 2.5, command)
    assert side * stop.v[0, 2] > 1.0  # it turns when the law begins
    way = np.linalg.norm(np.diff(stop.q[:, :2], axis=0), axis=1).sum()
    assert way < _allowed_way(float(np.hypot(*stop.v[0, :2])))
    assert np.linalg.norm(stop.v[-1]) < CONFIG.standstill_m_s
    # the steering's lag and rate, 0.05 s and 0.1 s, end the turn: less than 0.3 s of the first yaw rate
    assert abs(stop.q[-1, 2] - stop.q[0, 2]) < 0.3 * abs(stop.v[0, 2])


@pytest.mark.parametrize("speed", [2.0, -2.0])
def test_steering_opposes_the_yaw_rate_in_the_direction_of_motion(robot: Ground, speed: float) -> None:
    law = BrakeStraight(robot, CONFIG)
    for rate in (1.0, -1.0):
        effort = law.effort(State(np.zeros(3), np.array([speed, 0.0, rate])), DT)
        # a rolling vehicle turns by v tan(delta) / l
        assert speed * np.tan(effort[0]) * rate < 0.0
        assert effort[1] * speed < 0.0


@pytest.mark.parametrize("speed", [4.0, -1.5])
def test_blind_it_brakes_as_long_as_the_speed_lasts_and_ends_without_torque(robot: Ground, speed: float) -> None:
    law, plant = BrakeStraight(robot, CONFIG), GroundPlant(robot, LEVEL)
    state = plant.reset(np.zeros(3), np.array([speed, 0.0, 0.0]))
    law.passed(np.zeros(2), state, DT)
    law.begin(state)
    needed, torques = abs(speed) / (CONFIG.brake_grip * GRAVITY_M_S2), []
    for _ in range(round(needed / DT) + 50):
        effort = law.blind_effort(None, DT)
        plant.step(effort, DT)
        torques.append(effort[1])
    acting = np.array(torques) != 0.0
    assert abs(acting.sum() * DT - needed) <= 2.0 * DT and np.all(acting[: acting.sum()])
    assert np.all(np.array(torques)[acting] * speed < 0.0) and not np.any(torques[-40:])
    # rolling resistance, 0.015 against 0.25, brakes a little more than wanted
    assert abs(plant.truth.v[0]) < 0.1 * abs(speed)


def test_blind_with_a_gyroscope_it_straightens(robot: Ground) -> None:
    law = BrakeStraight(robot, CONFIG)
    law.begin(State(np.zeros(3), np.array([3.0, 0.0, 1.0])))
    effort = law.blind_effort(Inertial(np.array([0.0, 0.0, GRAVITY_M_S2]), np.array([0.0, 0.0, 1.0])), DT)
    assert effort[0] == pytest.approx(-CONFIG.straighten) and effort[1] < 0.0
    assert law.blind_effort(None, DT)[0] == 0.0


def test_efforts_are_finite_in_any_state(robot: Ground) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        law = BrakeStraight(robot, CONFIG)
        q, v = rng.normal(size=(2, 3)) * 10.0 ** rng.uniform(-6.0, 4.0, (2, 1))
        state, still = State(q, v), State(q, np.zeros(3))
        assert np.all(np.isfinite(law.static_effort)) and np.all(np.isfinite(law.start_effort))
        law.passed(np.zeros(2), None, DT)
        law.passed(np.zeros(2), state, DT)
        law.begin(state)
        efforts = [law.effort(at, dt) for at in (state, still) for dt in (0.0, DT, 1.0)]
        efforts += [law.blind_effort(None, dt) for dt in (0.0, DT, 1e4)]
        efforts.append(law.static_effort)
        assert all(effort.shape == (2,) and np.all(np.isfinite(effort)) for effort in efforts)


def test_at_rest_it_says_so_until_it_is_released(robot: Ground) -> None:
    law, still = BrakeStraight(robot, CONFIG), State(np.zeros(3), np.zeros(3))
    assert not law.at_rest(still) and not law.off
    law.begin(State(np.zeros(3), np.array([2.0, 0.0, 0.0])))
    assert not law.at_rest(State(np.zeros(3), np.array([0.0, -2.0 * CONFIG.standstill_m_s, 0.0])))
    assert law.at_rest(still)
    law.release()
    assert not law.at_rest(still)


def test_overspeed_is_a_danger(robot: Ground) -> None:
    law, (speed, _, rate) = BrakeStraight(robot, CONFIG), CONFIG.overspeed_ratio * robot.velocity_limit
    for k, (limit, what) in enumerate(((speed, "moves"), (speed, "moves"), (rate, "turns"))):
        for sign in (1.0, -1.0):
            v = sign * limit * np.eye(3)[k]
            danger = law.danger(State(np.zeros(3), 1.01 * v))
            assert danger is not None and danger.cause == "overspeed" and what in danger.reason
            assert law.danger(State(np.zeros(3), 0.99 * v)) is None
    assert law.danger(State(np.zeros(3), robot.velocity_limit * [0.7, 0.7, 1.0])) is None


def test_overspeed_does_not_depend_on_the_direction_of_travel(robot: Ground) -> None:
    law, speed = BrakeStraight(robot, CONFIG), 1.1 * CONFIG.overspeed_ratio * robot.velocity_limit[0]
    for yaw in np.linspace(-np.pi, np.pi, 9):
        assert law.danger(State(np.array([0.0, 0.0, yaw]), _velocity(np.array([speed, 0.0, 0.0]), yaw))) is not None


def test_its_settings_can_be_changed(robot: Ground) -> None:
    law, state = BrakeStraight(robot, CONFIG), State(np.zeros(3), np.array([3.0, 0.0, 0.0]))
    before = law.effort(state, DT)
    law.configure(CONFIG.model_copy(update={"brake_grip": 0.5}))
    assert law.effort(state, DT)[1] == pytest.approx(2.0 * before[1])
    assert before[1] == pytest.approx(-robot.mass_kg * robot.wheel_radius_m * 0.25 * GRAVITY_M_S2)
