# SPDX-License-Identifier: Apache-2.0
"""Odometry that is slow or late, by its stamps or not: the IMU bridges it, or the reason is named."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from metarl_robot.control.factory import make_controller
from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2
from metarl_robot.robots.quadrotor.state_predictor import LONGEST_S, StatePredictor
from metarl_robot.robots.quadrotor.trajectories import FigureEight
from metarl_robot.sim.quadrotor.plant import QuadrotorPlant
from tests.noisy_quadrotor import NOISY

X500, EIGHT = load_robot("x500"), FigureEight(np.array([0.0, 0.0, 2.0]))
DT, UP = X500.control_period_s, np.array([0.0, 0.0, GRAVITY_M_S2])


class Odometry(NamedTuple):
    """Odometry every few control periods, late by some, perhaps stamped on arrival; an IMU every few periods."""

    periods: int
    late: int = 0
    on_arrival: bool = False
    imu_periods: int = 1


def moving(t: float) -> tuple[State, Inertial]:
    """State and IMU measurement of a body that swings and turns, at a time."""
    w, turn = np.array([2.0, 3.0, 1.0]), np.array([0.5, -0.7, 0.4])
    p, v, a = np.sin(w * t), w * np.cos(w * t), -w * w * np.sin(w * t)
    attitude = rotation.exp(turn * t)
    return State(np.concatenate([p, attitude]), np.concatenate([v, turn])), Inertial(
        rotation.rotate_back(attitude, a + UP), turn
    )


def predict(
    odometry: Odometry, duration_s: float, bias: float = 0.0, scale: float = 1.0
) -> tuple[StatePredictor, list]:
    """A predictor and its states with their times, from exact measurements with a bias or a scale of the force."""
    made, given = StatePredictor(X500), []
    for k in range(round(duration_s / DT)):
        t = k * DT
        _, inertial = moving(t - 0.5 * DT)  # the mean since the last sample
        force = scale * inertial.specific_force + bias
        if (state := made.inertial(t, replace(inertial, specific_force=force))) is not None:
            given.append((t, state))
        if k % odometry.periods == 0:
            at = t - odometry.late * DT
            made.measured(t if odometry.on_arrival else at, moving(at)[0])
    return made, given


@pytest.mark.parametrize(
    "odometry",
    [Odometry(10), Odometry(4, 10), *(pytest.param(x, marks=pytest.mark.slow) for x in (Odometry(7), Odometry(5, 40)))],
)
def test_predicted_states_are_the_present_ones(odometry: Odometry) -> None:
    """With a bias of the accelerometer of 0.6 m/s² in each axis."""
    _, given = predict(odometry, 8.0, 0.6)
    late = [(t, state) for t, state in given if t > 6.0]
    assert len(late) > 390, "one each control period"
    off = [np.abs(state.q[:3] - moving(t)[0].q[:3]).max() for t, state in late]
    slow = [np.abs(state.v[:3] - moving(t)[0].v[:3]).max() for t, state in late]
    reach_s = (odometry.periods + odometry.late) * DT
    assert max(off) < 0.002 + 0.02 * reach_s and max(slow) < 0.01 + 0.15 * reach_s
    turned = [np.abs(rotation.error(state.q[3:], moving(t)[0].q[3:])).max() for t, state in late]
    assert max(turned) < 0.002


@pytest.mark.parametrize("late", [8, 20, 38])
def test_a_delay_that_stamps_hide_is_found_and_compensated(late: int) -> None:
    made, given = predict(Odometry(4, late, on_arrival=True), 5.0)
    assert made.delay_s == pytest.approx(late * DT, abs=0.006)
    assert f"{1e3 * made.delay_s:.0f} ms of them not in its stamps" in made.words
    assert np.abs(given[-1][1].q[:3] - moving(given[-1][0])[0].q[:3]).max() < 0.03, "0.57 m at 0.19 s uncompensated"


def test_fast_odometry_is_left_as_it_is() -> None:
    made, given = predict(Odometry(2, 2), 3.0)
    assert not given and not made.active and not made.words and made.delay_s == 0.0


@pytest.mark.parametrize(
    ("scale", "named"), [(0.0, "contradicts its velocities"), (-1.0, "contradicts its velocities")]
)
def test_an_accelerometer_that_does_not_measure_predicts_nothing(scale: float, named: str) -> None:
    made, given = predict(Odometry(10), 3.0, scale=scale)
    assert not given and named in made.words


@pytest.mark.parametrize("offset_s", [0.5, -0.3, 1e6])
def test_stamps_of_another_clock_predict_nothing_and_are_named(offset_s: float) -> None:
    made = StatePredictor(X500)
    for k in range(400):
        state, inertial = moving(k * DT)
        assert made.inertial(k * DT, inertial) is None
        assert k % 10 or not made.measured(k * DT - offset_s, state)
    assert "behind the IMU by their stamps" in made.words


def test_without_odometry_or_with_the_same_again_predicted_states_end() -> None:
    for repeated in (False, True):
        made, _ = predict(Odometry(10), 3.0)
        assert made.active
        given, (last, _) = [], moving(2.95)
        made.measured(2.95, last)
        for k in range(600, 800):
            if made.inertial(k * DT, moving(k * DT)[1]) is not None:
                given.append(k * DT)
            if repeated and k % 10 == 0:
                made.measured(k * DT, last)
        assert max(given) == pytest.approx(2.95 + LONGEST_S, abs=0.06)


def test_impossible_messages_do_no_harm() -> None:
    made, rng = StatePredictor(X500), np.random.default_rng(0)
    for _ in range(3000):
        t = rng.choice([0.0, 1.0, np.nan, np.inf, -1.0, 1e9]) + rng.uniform(0.0, 0.5)
        state, inertial = moving(rng.uniform(0.0, 9.0))
        if np.isfinite(t) and (predicted := made.inertial(t, inertial)) is not None:
            assert np.isfinite(predicted.q).all() and np.isfinite(predicted.v).all()
        made.measured(t, replace(state, q=rng.choice([0.0, 1.0, 1.0]) * state.q))


def fly(name: str, odometry: Odometry, duration_s: float, at_rest_s: float = 1.5) -> tuple[np.ndarray, StatePredictor]:
    """Distances from the reference (K,) [m], after a rest, of a quadrotor 15 % heavier than described."""
    plant, law, made = QuadrotorPlant(X500, replace(NOISY, mass_scale=1.15), 1001), make_controller(X500, name), None
    made, rng, history, effort, errors = StatePredictor(X500), np.random.default_rng(3), [], X500.hover_thrust, []
    start = state = plant.reset(EIGHT.sample(np.zeros(1)).q[0])
    for k in range(-round(at_rest_s / DT), round(duration_s / DT)):
        if k < 0:
            noise = 0.02 * rng.standard_normal(6)
            state = State(np.concatenate([start.q[:3] + 0.05 * noise[:3], start.q[3:]]), noise, UP + 5.0 * noise[3:])
        history.append(state)
        used = (
            made.inertial(k * DT, Inertial(state.specific_force, state.v[3:]))
            if k % odometry.imu_periods == 0
            else None
        )
        if k % odometry.periods == 0 and len(history) > odometry.late:
            old, stamp = history[-1 - odometry.late], k - (0 if odometry.on_arrival else odometry.late)
            if not made.measured(stamp * DT, old):
                used = State(old.q, old.v, state.specific_force)
        if k < 0:
            continue
        effort = effort if used is None else law.step(k * DT, used, EIGHT).effort
        state = plant.step(effort, DT)
        errors.append(np.linalg.norm(plant.truth.q[:3] - EIGHT.sample(np.array([plant.time])).q[0, :3]))
    return np.array(errors), made


@pytest.mark.parametrize(
    "odometry",
    [
        *(pytest.param(x, marks=pytest.mark.slow) for x in (Odometry(10, imu_periods=2), Odometry(4, 20))),
        Odometry(4, 20, on_arrival=True),
    ],
)
def test_flight_with_slow_or_late_odometry(odometry: Odometry) -> None:
    """20 Hz was refused in flight, 100 ms by the stamps refused for good, 100 ms on arrival lost."""
    errors, made = fly("meta_mpc", odometry, 2.5)
    assert made.active
    assert errors[300:].max() < 0.03
    assert errors.max() < (0.2 if odometry.on_arrival else 0.04)
